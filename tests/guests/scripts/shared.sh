# Given: husk, engine, patience, kernel, initrd, append, work; memory, unless it is the usual.

fail() {
    echo "FAILED: $*"
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
    exit 1
}

# Starts a machine with our standard input; $pid is its monitor. Its guest finds the first word in
# $stage.
start() {
    stage=$1
    shift
    : >"said.$stage"
    # What runs in the background has no standard input unless it is a number that is given.
    exec 4<&0
    "$husk" boot --kernel "$kernel" ${initrd:+--initrd "$initrd"} \
        --append "$append stage=$stage" --engine "$engine" --memory "${memory:-256M}" --no-reboot \
        "$@" >"said.$stage" 2>&1 <&4 &
    pid=$!
}

# Waits until the machine says something.
hear() {
    left=$patience
    until grep -q "$1" "said.$stage"; do
        left=$((left - 1))
        if [ $left = 0 ] || ! kill -0 "$pid" 2>/dev/null; then
            cat "said.$stage"
            fail "$stage has not said: $1"
        fi
        sleep 1
    done
}

# Waits for the machine's end.
finish() {
    wait "$pid"
    echo "$stage: status $?"
    cat "said.$stage"
}

# Ends the monitor as nothing can that it would notice.
murder() {
    kill -9 "$pid"
    wait "$pid"
    echo "$stage: killed, status $?"
    cat "said.$stage"
}

# An image may have lost space, and nothing else.
check_image() {
    qemu-img check "$1" >said.check 2>&1
    case $? in
    0 | 3) ;;
    *) cat said.check; fail "$1 is corrupt" ;;
    esac
}

# Where the host has its programs, and an ordinary user does not look.
PATH=$PATH:/usr/bin:/usr/sbin:/sbin
cd "$work" || fail "no place to work in"
