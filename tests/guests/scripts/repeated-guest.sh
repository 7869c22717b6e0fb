# What would differ between two runs: time, random numbers, interrupts, what devices do, who runs where.
date
cat /proc/uptime
head -c 16 /dev/urandom | od -x
head -c 16 /dev/hwrng | od -x
cat /proc/sys/kernel/random/boot_id
md5sum /dev/vda
mount -t virtiofs folder /mnt
ls -lai /mnt
cat /mnt/* | md5sum
df /mnt
# Both processors, which take turns.
for number in 1 2 3 4; do
    { seq 1 2000 | md5sum; echo "$number: $(cut -d ' ' -f 1 /proc/uptime)"; } &
done
wait
read -r line
echo "guest: heard $line"
sleep 100
cat /proc/uptime /proc/interrupts
echo "guest: done"
poweroff -f
