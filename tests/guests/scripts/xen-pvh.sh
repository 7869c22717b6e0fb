# Xen by its PVH entry, which is for running below another; $second is for the guest that it starts.
start xen --hypervisor xen ${second:+--initrd "$second"} </dev/null
finish
