#!/bin/sh
# The first process of the nested environment: makes it ready, runs the one command, reports its
# status on the console and ends the machine. The console is ttyS0; the command itself says that
# it writes to ttyS1 and ttyS2, so that this shell's own messages about it stay on the console.
export PATH=/bin

# As a mount of its own the root can be pivoted away by what runs here; the first one cannot.
if [ "$1" != moved ]; then
    mount --bind / /root
    cd /root
    mount --move . /
    exec chroot . /init moved
fi

end() {
    reboot -f
}

chmod 755 /
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs shm /dev/shm
ip link set lo up
for module in /modules/*; do
    insmod "$module"
done
if [ ! -c /dev/kvm ]; then
    echo "no /dev/kvm after loading $(ls /modules)"
    end
fi

# Setting a line, here and below, waits until all that was written to it is out.
set_lines() {
    stty -F /dev/ttyS1 115200 raw -echo
    stty -F /dev/ttyS2 115200 raw -echo
}
set_lines
cd /tmp
sh /nested/command
status=$?
set_lines
# From here on only a panic may write into the line with the status.
dmesg -n 1
printf '\nnested-kvm status: %s\n' "$status"
stty -F /dev/ttyS0 115200
end
