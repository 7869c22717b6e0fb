"""A machine on a tap interface, at a place that its command line says.

tap.py HUSK... -- SERVER...: in a network namespace of its own, starts the machine and speaks to its echo
server by both families; then has a program of another machine tell what it finds, and one send
much and end at once.
"""

import socket
import subprocess
import sys
import time

TAP, PORT = "machine0", 7008
PLACE = f"tap={TAP},ip=10.9.0.2/24,gateway=10.9.0.1,dns=10.9.0.53,ip=fd09::2/64,gateway=fd09::1"
TELL = """
import socket
told = open('/etc/resolv.conf').read() + open('/proc/net/route').read().splitlines()[1]
with socket.create_connection(('198.51.100.7', 7009), 10) as wire:
    wire.sendall(told.encode())
"""
LEAVE = """
import os, socket
with socket.create_connection(('198.51.100.7', 7009), 10) as wire:
    wire.sendall(b'x' * 3000000)
    words = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(20):
        words.sendto(b'last words', ('198.51.100.7', 7010))
    os._exit(0)
"""


def command(*words):
    subprocess.run(words, check=True)


def ask(address):
    end = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection((address, PORT), 5) as wire:
                wire.sendall(b"there?" * 1000)
                got = b""
                while len(got) < 6000:
                    part = wire.recv(6000)
                    if not part:
                        break
                    got += part
                assert got == b"there?" * 1000, got
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def run(husk, program):
    """What a program of a machine sends to this host, who sent it, and its end."""
    with socket.create_server(("198.51.100.7", 7009)) as listener:
        listener.settimeout(30)
        machine = subprocess.Popen([*husk, "--net", PLACE, "/usr/bin/python3", "-c", program])
        wire, peer = listener.accept()
        wire.settimeout(30)
        time.sleep(0.3)
        told = b""
        while part := wire.recv(1 << 14):
            told += part
            time.sleep(0.001)
        assert machine.wait() == 0
    return told, peer[0]


def main():
    split = sys.argv.index("--")
    husk, server = sys.argv[1:split], sys.argv[split + 1 :]
    # What is seen of interfaces there is that of the namespace.
    command("mount", "-t", "sysfs", "sysfs", "/sys")
    command("ip", "link", "set", "lo", "up")
    command("ip", "tuntap", "add", TAP, "mode", "tap")
    for address in ["10.9.0.1/24", "198.51.100.7/32"]:
        command("ip", "address", "add", address, "dev", TAP)
    command("ip", "address", "add", "fd09::1/64", "dev", TAP, "nodad")
    command("ip", "link", "set", TAP, "up")
    machine = subprocess.Popen([*husk, "--net", PLACE, *server, str(PORT)])
    try:
        for address in ["10.9.0.2", "fd09::2"]:
            ask(address)
    finally:
        machine.terminate()
        machine.wait()
    told, peer = run(husk, TELL)
    assert peer == "10.9.0.2", peer
    resolvers, _, route = told.decode().partition("\n")
    assert resolvers == "nameserver 10.9.0.53", told
    assert route.split()[:3] in (["eth0", "00000000", "0100090A"], ["eth0", "0000090A", "00000000"]), told
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hears:
        hears.bind(("198.51.100.7", 7010))
        hears.settimeout(1)
        told, _ = run(husk, LEAVE)
        assert len(told) == 3000000, len(told)
        assert all(hears.recv(100) == b"last words" for _ in range(20))
    print("both families, the way out, and the end")


main()
