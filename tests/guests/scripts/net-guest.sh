ip link set lo up
ip link set eth0 up || echo "guest: no eth0"
mkdir -p /etc /srv
cat >/bin/configure <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/24" dev eth0
ip route add default via "$router"
echo "nameserver $dns" >/etc/resolv.conf
echo "guest: $ip by $router, names from $dns"
END
chmod +x /bin/configure
udhcpc -i eth0 -q -n -s /bin/configure || echo "guest: no address"
echo "guest: mtu $(cat /sys/class/net/eth0/mtu)"
ping -c 1 -W 5 10.0.2.2 >/dev/null && echo "guest: the gateway is there"
wget -q -O /srv/copy http://10.0.2.2:8000/file && echo "guest: fetched $(sha256sum </srv/copy)"
nc -w 20 10.0.2.2 8001 </dev/null 2>&1 | grep -q refused && echo "guest: refused"
nc -w 20 169.254.169.254 80 </dev/null 2>&1 | grep -q refused && echo "guest: no metadata"
httpd -p 80 -h /srv && echo "guest: serving"
read -r line
ip -s link show eth0
echo "guest: done"
poweroff -f
