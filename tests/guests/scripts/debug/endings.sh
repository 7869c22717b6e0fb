# A debugger that goes, one that ends the machine, one that comes when it runs, and peers that are none.
say() { printf '%s\n' "$@" >commands; }

say "stepi" "detach"
hold run --engine "$engine" --gdb gdb.socket /bin/busybox sh -c 'exit 3'
session commands
finish

say "stepi" "kill"
hold run --engine "$engine" --gdb gdb.socket /bin/busybox sh -c 'exit 3'
session commands
finish

say "kill"
hold boot --kernel "$tiny" --engine "$engine" --gdb gdb.socket
session commands
finish

# Whoever sends what is no protocol is turned away, and the machine waits on.
hold run --engine "$engine" --gdb gdb.socket /bin/busybox sleep 12
tell() { timeout 5 nc "local:$where" >said.peer 2>/dev/null; }
head -c 100000 /dev/urandom | tell
printf '$m0,4' | tell
(printf '$m0,ffffffffffffffff#'; head -c 10 /dev/zero) | tell
(printf '$'; head -c 1000000 /dev/zero | tr '\000' a) | tell
printf '$m0,ffffffffffffffff#59$g#67$vCont;s#b8$vCont;c:7f#ab' | tell
printf '\003\003\003+-' | tell
kill -0 "$pid" && echo "peers: it waits on"
say "stepi" "detach"
session commands
sleep 1
# It runs; one more that is none does not stop it for long, and a debugger finds it.
printf '$m0,4#00' | tell
say "info threads" "detach"
session commands
finish
"$husk" run --engine paravirt --gdb 0 /bin/true
echo "paravirt: status $?"
touch there
"$husk" run --engine "$engine" --gdb there /bin/true
echo "there: status $?"
