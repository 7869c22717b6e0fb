# Linux with two processors, from its first instruction on, interrupted, and looked at by virtual addresses.
mkfifo keys commands
exec 3<>keys 5<>commands
command() { printf '%s\n' "$@" >&5; }
hold boot --kernel "$kernel" --initrd "$initrd" --append "$append nokaslr" --engine "$engine" \
    --memory 256M --no-reboot --cpus 2 --gdb gdb.socket <&3
gdb -nx -q <commands >said.gdb 2>&1 &
gdb=$!
command "set pagination off" "set confirm off" "set remotetimeout 60" "target remote $where" \
    'printf "begins in %d bits\n", sizeof($rip) * 8' "info threads"
hear said.gdb "begins in 64 bits"
hear said.gdb "waits to be started"
[ "$points" = yes ] && command "hbreak *0x1000000" "continue" "x/i \$pc" "delete"
[ "$points" = yes ] && hear said.gdb "0x0000000001000000 in"
command "continue"
hear said.husk "guest: linux_banner f"
place=$(sed -n 's/.*guest: do_sys_openat2 \([0-9a-f]*\).*/\1/p' said.husk)
banner=$(sed -n 's/.*guest: linux_banner \([0-9a-f]*\).*/\1/p' said.husk)
kill -INT $gdb
hear said.gdb "SIGINT"
command "info threads" "x/s 0x$banner" "thread 2" "monitor translate 0x$banner" "monitor registers 1" "thread 1"
hear said.gdb "virtual CPU 1, 64 bits"
[ "$points" = yes ] && command "break *0x$place" "continue"
[ "$points" = yes ] || command "continue"
echo >&3
if [ "$points" = yes ]; then
    hear said.gdb "Breakpoint .*, 0x$place in"
    command "info threads" "delete" "stepi" "continue"
fi
hear said.gdb "exited"
command "quit"
wait $gdb
cat said.gdb
finish
