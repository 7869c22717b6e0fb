# Xen, which ends by itself; $second is for the guest that it starts.
gunzip -c "$kernel" >unpacked || fail "no Xen"
kernel=$PWD/unpacked
start xen ${second:+--initrd "$second"} </dev/null
finish
