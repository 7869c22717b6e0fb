# Code in protected mode, which is not that of long mode.
cat >commands <<'END'
info registers eip cr0 cs
x/2i $pc
stepi
print $al
set $eax = 43
stepi
END
hold boot --kernel "$tiny" --engine "$engine" --no-reboot --gdb gdb.socket
session commands
finish
