# Machines in the hands of gdb. Given: husk, engine, kernel, initrd, tiny, elf, append, work.

fail() {
    echo "FAILED: $*"
    cat said.husk said.gdb 2>/dev/null
    exit 1
}

# Waits until a file says something.
hear() {
    left=2000
    until grep -q "$2" "$1" 2>/dev/null; do
        left=$((left - 1))
        [ $left = 0 ] && fail "$1 has not said: $2"
        sleep 0.1
    done
}

# Starts husk, which waits for a debugger; $pid is its, $where is where.
hold() {
    rm -f said.husk
    # What runs in the background has no standard input unless it is a number that is given.
    exec 4<&0
    "$husk" "$@" >said.husk 2>&1 <&4 &
    pid=$!
    hear said.husk "waits for a debugger"
    where=$(sed -n 's/.*target remote \(.*\))/\1/p' said.husk)
}

# Runs gdb with the commands of a file, and other arguments of gdb's.
session() {
    commands=$1
    shift
    timeout 100 gdb -nx -batch -ex "set pagination off" -ex "set confirm off" \
        -ex "set remotetimeout 60" -ex "target remote $where" -x "$commands" "$@" >said.gdb 2>&1
    echo "gdb: status $?"
    cat said.gdb
}

# Waits for husk's end.
finish() {
    wait "$pid"
    echo "husk: status $?"
    cat said.husk
}

PATH=$PATH:/usr/bin:/usr/sbin:/sbin
cd "$work" || fail "no place to work in"
