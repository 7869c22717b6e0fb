"""Sends, and ends at once: leave.py MANNER END ADDRESS PORT BYTES COUNT.

MANNER says how bytes go out: on streams that it opens, on streams that others open, as datagrams, or
on a stream as far as they go. END says how the process ends then.
"""

import os
import select
import signal
import socket
import sys
import threading
import time

manner, end, address, port, size, count = sys.argv[1:]
port, size, count = int(port), int(size), int(count)
data = (bytes(range(251)) * (size // 251 + 1))[:size]


def call():
    for stream in [socket.create_connection((address, port)) for _ in range(count)]:
        stream.sendall(data)
        kept.append(stream)


def serve(asks=True):
    listener = socket.create_server((address, port))
    print("ready", flush=True)
    for _ in range(count):
        stream, _ = listener.accept()
        if asks:
            assert stream.recv(3) == b"go\n"
        else:
            select.select([stream], [], [])
        kept.append(stream)
    for stream in kept:
        # What its threads do when it ends must not matter.
        threading.Thread(target=stream.recv, args=(1,), daemon=True).start()
        stream.sendall(data)
    threading.Thread(target=lambda: all(iter(int, 1)), daemon=True).start()


def datagrams():
    family = socket.getaddrinfo(address, port)[0][0]
    for _ in range(2):
        kept.append(socket.socket(family, socket.SOCK_DGRAM))
    for number in range(count):
        kept[number % 2].sendto(b"%d" % number, (address, port))


def stuff():
    """Until nothing was taken for a while."""
    stream = socket.create_connection((address, port))
    kept.append(stream)
    stream.setblocking(False)
    sent, stuck = 0, 0
    while stuck < 20:
        try:
            sent, stuck = sent + stream.send(data[sent % 251 :]), 0
        except BlockingIOError:
            stuck += 1
            time.sleep(0.05)
    print("sent", sent, flush=True)


kept = []
{
    "call": call,
    "serve": serve,
    "ignore": lambda: serve(asks=False),
    "datagrams": datagrams,
    "stuff": stuff,
}[manner]()
{
    "exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "abort": os.abort,
    "stay": lambda: time.sleep(600),
}[end]()
