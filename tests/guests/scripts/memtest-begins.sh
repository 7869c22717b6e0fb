# Memtest86+ on two processors, until it has left its first tests behind.
start memtest --cpus 2 </dev/null
# On a serial line it shows what it does from time to time, so that a short test may be passed over.
hear '#[3-9] '
grep -q 'SMP: 2T' said.memtest || fail "it has not started the second processor"
grep -q 'Errors: [1-9]' said.memtest && fail "it has found errors"
kill -9 "$pid"
wait "$pid"
echo "memtest: no errors"
