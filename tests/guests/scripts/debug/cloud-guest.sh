echo 1 >/proc/sys/kernel/printk
for name in do_sys_openat2 linux_banner; do
    grep " $name\$" /proc/kallsyms | while read -r address _ name; do echo "guest: $name $address"; done
done
exec 0</dev/console
read -r line
cat /proc/version >/dev/null
echo "guest: done"
poweroff -f
