# Memtest86+, one pass of all its tests.
start memtest </dev/null
hear 'Pass: *1 '
grep -q 'Errors: [1-9]' said.memtest && fail "it has found errors"
kill -9 "$pid"
wait "$pid"
echo "memtest: no errors"
