# The host does something, and says so.
host() {
    echo "guest: host, $1"
    read -r _ </dev/console
}

# Blocks of a device, by `sweep`; and its flush.
write() {
    sweep write "/dev/$1" "$2" "$3" "$4"
    sweep sync "/dev/$1"
}

check() {
    sweep check "/dev/$1" "$2" "$3" "$4"
}

case $stage in
before)
    # vda: raw, on a file system with room for 1024 blocks.
    write vda 0 1088 1
    check vda 0 1088 1
    # vdb: qcow2, on one like it; then with more room.
    write vdb 0 1200 1
    check vdb 0 900 1
    host "make room"
    write vdb 0 1200 2
    check vdb 0 1200 2
    # vdc: read-only.
    write vdc 0 16 1
    check vdc 0 16 0
    blockdev --getro /dev/vdc
    # vdd: cut while it is in use, and made longer again.
    write vdd 0 1024 1
    host "cut"
    check vdd 0 1024 1
    host "mend"
    check vdd 0 1024 1
    write vdd 512 512 3
    # vde: bad sectors in the middle, which come and go.
    write vde 0 1024 1
    host "break"
    check vde 0 1024 1
    write vde 0 1024 2
    host "repair"
    write vde 0 256 2
    # vdf: the monitor may not write past block 3071.
    write vdf 3000 136 1
    check vdf 3000 136 1
    host "kill"
    ;;
after)
    check vda 0 1024 1
    check vdb 0 1200 2
    check vdd 0 512 1
    check vdd 512 512 3
    check vde 0 256 2
    check vde 256 256 1
    check vde 512 512 2
    check vdf 3000 72 1
    # vdc: an image with a table that leads nowhere.
    check vdc 0 16 1
    check vdc 8192 16 1
    echo "guest: still there"
    poweroff -f
    ;;
esac
