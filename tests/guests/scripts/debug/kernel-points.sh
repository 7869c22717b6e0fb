# Breakpoints and watchpoints in Husk's own kernel, and its memory changed.
cat >commands <<'END'
rbreak ^guest_linux::start::start::
continue
x/2i $pc
backtrace 2
eval "watch *(unsigned long *) %lu", $rsp - 8
continue
delete
eval "rwatch *(unsigned long *) %lu", $rsp
eval "hbreak *%lu", $pc + 2
continue
info breakpoints
delete
x/2i $pc
stepi
hbreak *0
set $place = $pc
set $before = *(unsigned char *)$pc
set *(unsigned char *)$pc = 0xf4
x/i $place
set *(unsigned char *)$place = $before
continue
END
hold run --engine "$engine" --gdb 0 /bin/busybox sh -c 'exit 9'
session commands "$elf"
finish
