# A guest whose own driver, DHCP client, wget and httpd talk through the user network.
ip link set lo up 2>/dev/null
mkdir www
head -c 8000000 /dev/urandom >www/file
sum=$(sha256sum <www/file)
httpd -f -p 127.0.0.1:8000 -h www &
server=$!
trap 'kill $server' EXIT

# The machine waits for a line.
mkfifo keys
exec 3<>keys
start only --cpus 2 --net user --publish 127.0.0.1:8080:80 --allow-net all --allow-net host \
    --mac 02:00:00:00:00:0f <keys
hear "guest: serving"
grep -q "fetched $sum" said.only && echo "net: fetched intact"
wget -q -O back http://127.0.0.1:8080/copy || fail "the published port does not answer"
cmp back www/file && echo "net: served intact"
callers=
for number in 1 2 3 4 5 6 7 8; do
    wget -q -O "back.$number" http://127.0.0.1:8080/copy &
    callers="$callers $!"
done
wait $callers
for number in 1 2 3 4 5 6 7 8; do
    cmp "back.$number" www/file || fail "caller $number got something else"
done
echo "net: eight at once"
echo >&3
finish
