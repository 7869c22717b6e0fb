# vda: an image; vdb: one over a raw file; vdc: one over another image.
truncate -s 64M base.raw
mkfs.ext4 -q -F base.raw || fail "no file system"
for to in plain base; do
    qemu-img convert -f raw -O qcow2 base.raw $to.qcow2 || fail "no image"
done
qemu-img create -q -f qcow2 -b base.raw -F raw over-raw.qcow2 || fail "no image"
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over-qcow2.qcow2 || fail "no image"
sha256sum base.raw base.qcow2 >sums
set --
for image in plain over-raw over-qcow2; do
    set -- "$@" --disk $image.qcow2,format=qcow2
done

start write "$@" </dev/null
hear "guest: all is synced"
hear "guest: round 2"
murder
for image in plain over-raw over-qcow2; do
    check_image $image.qcow2
done

start find "$@" </dev/null
finish
sha256sum -c sums >/dev/null || fail "a backing file has changed"
echo "backing files: untouched"
for image in plain over-raw over-qcow2; do
    check_image $image.qcow2
    qemu-img convert -O raw $image.qcow2 final.raw || fail "$image cannot be read"
    e2fsck -fn final.raw >said.check 2>&1 || { cat said.check; fail "$image: its ext4"; }
done
echo "all images: consistent"
