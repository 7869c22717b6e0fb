mount -t virtiofs data /mnt || echo "guest: nothing is mounted"
mkdir /mnt/guest
cd /mnt/guest
files >/mnt/guest.out 2>&1
cd /
umount /mnt
echo "guest: done"
poweroff -f
