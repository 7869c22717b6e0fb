# Husk's own kernel, from its first instruction on.
cat >commands <<'END'
info threads
x/2i $pc
stepi
stepi
printf "flags %x\n", $eflags
info registers cr3 efer cs xmm0 fctrl mxcsr
monitor translate 0x701000001504
monitor physical 0 16
print/x *(unsigned int *)_start
set $r15 = 0x123456789abcdef0
printf "r15 %lx\n", $r15
set $xmm3.uint128 = 0x55
printf "xmm3 %lx\n", $xmm3.v2_int64[0]
set $cr4 = 0x220
info registers cr4
set *(unsigned char *)0x701000001000 = *(unsigned char *)0x701000001000
monitor translate 0x10
monitor nothing
continue
END
hold run --engine "$engine" --gdb gdb.socket /bin/busybox sh -c 'echo program: here; exit 7'
ls -l gdb.socket | cut -c 1-10
session commands "$elf"
finish
[ -e gdb.socket ] || echo "socket: gone"
