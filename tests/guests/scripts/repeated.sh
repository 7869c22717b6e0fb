# The same machine several times, beside each other: all that it says, and all that it is in the end.
pid=
mkdir folder
for number in 3 1 2; do
    echo "file $number" >"folder/$number"
    touch -d "2026-01-01 12:00" "folder/$number"
done
head -c 300000 /dev/urandom >disk
truncate -s 1M disk

# Whichever engine is asked for: it is one that does not interpret, or this one.
run() {
    name=$1
    shift
    "$husk" boot --kernel "$kernel" --initrd "$initrd" --append "$append" --memory 256M --no-reboot \
        --cpus 2 --disk disk,readonly --volume folder:folder:ro --engine emulate --deterministic \
        --stats="$name.json" "$@" <input >"$name.out" 2>&1
    echo "$name: status $?"
}
state() {
    grep -E '"(instructions|virtual_ns|state_sha256)"' "$1.json"
}
echo "a line" >input
run one &
run two &
wait
# Made anew: files with the same contents and times of modification, and nothing else.
mkdir folder2
for number in 1 2 3; do
    cp -p "folder/$number" folder2
done
mv folder folder1
mv folder2 folder
run again &
run other --seed 1 &
wait
cat one.out
cmp one.out two.out && cmp one.out again.out && echo "repeated: the same is said"
[ "$(state one)" = "$(state two)" ] && [ "$(state one)" = "$(state again)" ] &&
    [ -n "$(state one)" ] && echo "repeated: the same state"
cmp -s one.out other.out || echo "repeated: another seed differs"
