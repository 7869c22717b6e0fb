# Each instruction of a range, with what it did.
"$husk" boot --kernel "$tiny" --engine "$engine" --no-reboot --trace-instructions 100000-100fff
echo "trace: status $?"
"$husk" boot --kernel "$tiny" --engine "$engine" --no-reboot --trace-instructions 0-ff >said 2>&1
echo "elsewhere: status $?, $(wc -l <said) lines"
"$husk" boot --kernel "$tiny" --engine kvm --no-reboot --trace-instructions all
echo "kvm: status $?"
