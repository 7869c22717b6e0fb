for module in $modules; do
    insmod "$module" || fail "no $module: is its kernel the nested one?"
done

mkdir small-raw small-qcow2
mount -t tmpfs -o size=4M small small-raw || fail "no small file system"
mount -t tmpfs -o size=4M small small-qcow2 || fail "no small file system"
truncate -s 8M small-raw/disk
qemu-img create -q -f qcow2 small-qcow2/disk 32M || fail "no image"
truncate -s 1M only-read
sha256sum only-read >sums
truncate -s 4M cut
truncate -s 16M limited

# There is nobody else who makes its devices.
export DM_DISABLE_UDEV=1
truncate -s 4M below
losetup /dev/loop0 below || fail "no loop device"
whole="0 8192 linear /dev/loop0 0"
broken="0 2048 linear /dev/loop0 0
2048 2048 error
4096 4096 linear /dev/loop0 4096"
echo "$whole" | dmsetup create faulty || fail "no device mapper"
table() {
    dmsetup suspend faulty && echo "$1" | dmsetup load faulty &&
        dmsetup resume faulty || fail "no other table"
}

# The second half of its tables is nothing at all.
qemu-img create -q -f qcow2 broken.qcow2 64M
qemu-io -f qcow2 -c "write 0 64k" -c "write 32M 64k" broken.qcow2 >/dev/null || fail "no image"
head -c 512 /dev/zero | tr '\0' '\377' >junk
l1=$(($(od -An -tu1 -j40 -N8 broken.qcow2 | awk '{ n = 0; for (i = 1; i <= 8; i++) n = n * 256 + $i; print n }')))
l2=$(($(od -An -tu1 -j$((l1 + 1)) -N7 broken.qcow2 | awk '{ n = 0; for (i = 1; i <= 7; i++) n = n * 256 + $i; print n }')))
dd if=junk of=broken.qcow2 bs=512 seek=$(((l2 + 4096) / 512)) count=1 conv=notrunc 2>/dev/null

disks="--disk small-raw/disk --disk small-qcow2/disk,format=qcow2"
rest="--disk cut --disk /dev/mapper/faulty --disk limited"

# As after: the machine waits for a line.
mkfifo keys
exec 3<>keys
start before $disks --disk only-read,readonly $rest <keys
wait_for() {
    hear "guest: host, $1"
}
wait_for "make room"
prlimit --pid "$pid" --fsize=12582912 || fail "no limit"
mount -o remount,size=16M small-qcow2
echo >&3
wait_for cut
truncate -s 2M cut
echo >&3
wait_for mend
truncate -s 4M cut
echo >&3
wait_for break
table "$broken"
echo 3 >/proc/sys/vm/drop_caches
echo >&3
wait_for repair
table "$whole"
echo >&3
wait_for kill

# A second machine.
for disk in cut small-qcow2/disk,format=qcow2; do
    "$husk" boot --kernel "$kernel" --engine "$engine" --disk $disk 2>said.locked
    echo "second machine: status $?, $(cat said.locked)"
done
murder
echo 3 >/proc/sys/vm/drop_caches
check_image small-qcow2/disk
sha256sum -c sums >/dev/null && echo "only-read: untouched"

start after $disks --disk broken.qcow2,format=qcow2,readonly $rest </dev/null
hear "guest: still there"
finish
check_image small-qcow2/disk
