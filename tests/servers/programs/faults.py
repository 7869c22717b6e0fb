"""A wire with faults between a machine and this host's own TCP.

faults.py KIND PERCENT BYTES HUSK... SERVER...: in a network namespace of its own, starts the machine on
one tap interface and speaks to its echo server from another. Between them frames are lost, doubled,
held back or damaged. What was sent must come back as it was.
"""

import fcntl
import hashlib
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time

MACHINE, HOST = "machine0", "host0"
MAC = "02:00:00:00:00:07"
ADDRESS = "fe80::ff:fe00:7"
PORT = 7007
TUNSETIFF, TAP, NO_PI, VNET_HDR = 0x400454CA, 2, 0x1000, 0x4000
SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING = 263, 15, 4
HEADER = 10
CONNECTIONS = 4
PATIENCE = 150


def command(*words):
    subprocess.run(words, check=True)


def setting(name, value):
    with open(f"/proc/sys/net/ipv6/conf/{name}", "w") as file:
        file.write(value)


def interfaces():
    # What is seen of interfaces there is that of the namespace.
    command("mount", "-t", "sysfs", "sysfs", "/sys")
    command("ip", "tuntap", "add", MACHINE, "mode", "tap")
    # The host's own stack does not look at the machine's side.
    setting(f"{MACHINE}/disable_ipv6", "1")
    command("ip", "link", "set", MACHINE, "up")
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", HOST.encode(), TAP | NO_PI | VNET_HDR))
    setting(f"{HOST}/accept_dad", "0")
    command("ip", "link", "set", HOST, "up")
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    packets.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    packets.bind((MACHINE, 0))
    packets.setblocking(False)
    return packets, tap


def complete(header, frame):
    """The frame with its checksum, if it is one that can be; else nothing."""
    flags, gso, _, _, start, offset = struct.unpack("<BBHHHH", header)
    if gso:
        return None
    if flags & 1:
        rest = frame[start:] + (b"\0" if (len(frame) - start) % 2 else b"")
        total = sum(struct.unpack(f">{len(rest) // 2}H", rest))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        frame = bytearray(frame)
        frame[start + offset:start + offset + 2] = struct.pack(">H", ~total & 0xFFFF or 0xFFFF)
    return bytes(frame)


class Wire:
    def __init__(self, kind, percent, packets, tap):
        self.kind, self.part = kind, percent / 100
        self.packets, self.tap = packets, tap
        self.random = random.Random(f"{kind} {percent}")
        self.held = []
        self.faults = self.frames = 0

    def chance(self, kind):
        hit = self.kind in (kind, "all") and self.random.random() < self.part
        self.faults += hit
        return hit

    def pass_on(self, send, data):
        self.frames += 1
        header, frame = data[:HEADER], data[HEADER:]
        if self.chance("loss"):
            return
        if self.chance("corruption"):
            whole = complete(header, frame)
            if whole is not None and len(whole) > 54:
                whole = bytearray(whole)
                whole[self.random.randrange(54, len(whole))] ^= 1 << self.random.randrange(8)
                header, frame = bytes(HEADER), bytes(whole)
        if self.chance("reordering"):
            self.held.append((time.monotonic() + 0.004, send, header + frame))
            return
        send(header + frame)
        if self.chance("duplication"):
            send(header + frame)

    def release(self):
        now = time.monotonic()
        due = [one for one in self.held if one[0] <= now]
        self.held = [one for one in self.held if one[0] > now]
        for _, send, data in due:
            send(data)

    def to_machine(self, data):
        try:
            self.packets.send(data)
        except OSError:
            pass  # A full queue loses frames, as a wire does.

    def to_host(self, data):
        try:
            os.write(self.tap, data)
        except OSError:
            pass

    def run(self):
        while True:
            patience = 0.002 if self.held else 1
            ready, _, _ = select.select([self.packets, self.tap], [], [], patience)
            self.release()
            if self.packets in ready:
                data, source = self.packets.recvfrom(1 << 17)
                if source[2] != PACKET_OUTGOING:
                    self.pass_on(self.to_host, data)
            if self.tap in ready:
                self.pass_on(self.to_machine, os.read(self.tap, 1 << 17))


def connect():
    scope = socket.if_nametoindex(HOST)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            peer = socket.socket(socket.AF_INET6)
            peer.settimeout(PATIENCE)
            peer.connect((ADDRESS, PORT, 0, scope))
            return peer
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"no connection: {error}")
            time.sleep(0.1)


def exchange(number, size, failed):
    try:
        data = random.Random(number).randbytes(size)
        peer = connect()

        def send():
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        digest, got = hashlib.sha256(), 0
        while block := peer.recv(1 << 16):
            digest.update(block)
            got += len(block)
        sender.join()
        if digest.digest() != hashlib.sha256(data).digest():
            failed.append(f"connection {number}: {got} of {size} bytes came back, and not the same")
    except OSError as error:
        failed.append(f"connection {number}: {error}")


def main():
    kind, percent, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    split = sys.argv.index("--")
    husk, server = sys.argv[4:split], sys.argv[split + 1:]
    packets, tap = interfaces()
    wire = Wire(kind, percent, packets, tap)
    threading.Thread(target=wire.run, daemon=True).start()
    words = [*husk, "--net", f"tap={MACHINE},ip=fd77::7/64", "--mac", MAC, *server, str(PORT)]
    machine = subprocess.Popen(words)
    started, failed = time.monotonic(), []
    try:
        threads = [threading.Thread(target=exchange, args=(number, size, failed)) for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if machine.poll() is not None:
            failed.append(f"the machine ended with status {machine.returncode}")
    finally:
        machine.terminate()
        machine.wait(20)
    if not wire.faults:
        failed.append("there was not a single fault")
    print("\n".join(failed), file=sys.stderr)
    print(f"faults {wire.faults} of {wire.frames} frames, {time.monotonic() - started:.1f} s")
    sys.exit(bool(failed))


main()
