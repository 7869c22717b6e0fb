mount_all() {
    for disk in vda vdb vdc; do
        mkdir /mnt/$disk
        mount -t ext4 /dev/$disk /mnt/$disk || echo "guest: $disk cannot be mounted"
    done
}

fill() {
    mkdir kept
    dd if=/dev/urandom of=kept/large bs=64k count=32 2>/dev/null
    for n in $(seq 40); do
        echo "file $n on $1" >kept/$n
    done
    ln kept/1 kept/link
    rm kept/2
    find kept -type f | sort | xargs sha256sum >sums
}

# Until the monitor is killed: new clusters, old ones again, freed ones.
go_on() {
    round=0
    while :; do
        round=$((round + 1))
        for disk in vda vdb vdc; do
            rm -f /mnt/$disk/late.$((round % 3))
            dd if=/dev/urandom of=/mnt/$disk/late.$((round % 3)) bs=64k count=24 2>/dev/null
            sync
        done
        echo "guest: round $round"
    done
}

mount_all
case $stage in
write)
    for disk in vda vdb vdc; do
        cd /mnt/$disk && fill $disk
    done
    sync
    echo "guest: all is synced"
    go_on
    ;;
find)
    for disk in vda vdb vdc; do
        cd /mnt/$disk
        sha256sum -c sums >/dev/null && [ "$(cat kept/link)" = "file 1 on $disk" ] &&
            [ ! -e kept/2 ] && echo "guest: $disk has what was synced"
        echo "second life" >second
        cd /
        umount /mnt/$disk
    done
    poweroff -f
    ;;
esac
