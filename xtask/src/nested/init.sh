#!/bin/sh
# The first process of the nested environment: makes it ready, runs the one command, reports its
# status on the console and ends the machine. The console is ttyS0; the command itself says that
# it writes to ttyS1 and ttyS2, so that this shell's own messages about it stay on the console.
# It runs twice, the second time with the root that the command gets; $own is then where the
# first one is, with these programs in it.
own=${2%/}
export PATH=$own/bin

end() {
    reboot -f
}

fail() {
    echo "$1"
    end
}

load() {
    for module in "$1"/*; do
        insmod "$module"
    done
}

# Makes a path of the host visible below one of the fresh folders.
keep() {
    mkdir -p "/fresh$1"
    mount --bind "/mnt$1" "/fresh$1" || fail "the host has no $1"
}

# The host's root, below a file system in memory that takes the changes.
mount_host() {
    load /modules/host
    mkdir /host /changes /fresh /fresh/tmp /fresh/run /mnt
    mount -t virtiofs -o ro host /host || fail "the host's root cannot be mounted"
    mount -t tmpfs -o mode=755 changes /changes
    mkdir /changes/upper /changes/work
    mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work root /mnt ||
        fail "the host's root cannot be overlaid"
    mount -t tmpfs -o mode=1777 tmp /fresh/tmp
    mount -t tmpfs -o mode=755 run /fresh/run
    . /nested/keep
    mount --move /fresh/tmp /mnt/tmp
    mount --move /fresh/run /mnt/run
    mkdir /mnt/run/nested
    mount --bind / /mnt/run/nested
    if [ -d /nested/files ]; then
        cp -a /nested/files/. /mnt
    fi
}

# As a mount of its own the root can be pivoted away by what runs here; the first one cannot. It
# covers the first one, so that what runs here is not in a chroot, which has no user namespaces.
if [ "$1" != moved ]; then
    if [ -e /nested/keep ]; then
        mount_host
        cd /mnt
        own=/run/nested
    else
        mount --bind / /root
        cd /root
        own=/
    fi
    # Before anything runs there: busybox starts itself by this, and the host's is none of ours.
    mount -t proc proc proc
    mount --move . /
    exec chroot . "${own%/}/bin/sh" "${own%/}/init" moved "$own"
fi

[ -n "$own" ] || chmod 755 /
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
ip link set lo up
load "$own/modules/kvm"
[ -c /dev/kvm ] || fail "no /dev/kvm after loading $(ls "$own/modules/kvm")"
chmod 666 /dev/kvm

# Setting a line, here and below, waits until all that was written to it is out.
set_lines() {
    stty -F /dev/ttyS1 115200 raw -echo
    stty -F /dev/ttyS2 115200 raw -echo
}
set_lines
# Somebody who listens, or there would be no interrupts.
stty -F /dev/ttyS3 115200 raw -echo
cat /dev/ttyS3 >/dev/null &
cd /tmp
sh "$own/nested/command"
status=$?
set_lines
# From here on only a panic may write into the line with the status.
dmesg -n 1
printf '\nnested-kvm status: %s\n' "$status"
stty -F /dev/ttyS0 115200
end
