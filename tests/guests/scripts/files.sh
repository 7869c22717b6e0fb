# The same program on the host's ext4 and, by virtio-fs, in the guest: each line of what it saw must
# be the same, save for those of the guest that stand in `exceptions`, all of which must be seen.
mkdir shared
for module in $modules; do
    insmod "$module" || fail "no $module: is its kernel the nested one?"
done
truncate -s 128M disk
mkfs.ext4 -q -F disk || fail "no file system"
mount -o loop -t ext4 disk shared || fail "no file system"

mkdir shared/native
(cd shared/native && "$programs/files") >shared/native.out 2>&1
cases=$(wc -l <shared/native.out)
echo "$cases cases"
[ "$cases" -gt 100 ] || fail "too few"

start only --volume "$work/shared:data" </dev/null
finish
[ "$(wc -l <shared/guest.out)" = "$cases" ] || fail "the guest has other cases"
grep -vxFf shared/native.out shared/guest.out | sort >seen
grep -v '^#' exceptions | grep . | sort >expected
if ! cmp -s seen expected; then
    echo "seen:" && cat seen
    echo "expected:" && cat expected
    fail "it is not the same"
fi
echo "files: the same, save for the exceptions"
