#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's bridge at work, in the network namespace that this is started in: see quiet.py.

Makes a bridge with two taps, says so in one line of JSON, and answers each line "window RATE SECONDS" with one: so many frames a
second are written to the one tap and read from the other, and "cpu_percent" is what write(2) and read(2) took of a CPU, the way
through the bridge and being woken included.
"""
import fcntl
import json
import os
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000
MACS = (bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))
FRAME_BYTES = 60
LEARN_S = 0.1


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    run("ip", "link", "set", name, "master", "br0", "up")
    return fd


def taps():
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as setting:
        setting.write("1")  # nobody says anything of his own
    run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    run("ip", "link", "set", "br0", "up")
    return tap("tap0"), tap("tap1")


def frame(to, sender):
    return (MACS[to] + MACS[sender] + b"\x88\xb5").ljust(FRAME_BYTES, b"\0")


class Reader(threading.Thread):
    """Counts what its calls take. Ends with the process."""

    def __init__(self, fd):
        super().__init__(daemon=True)
        self.fd, self.frames, self.cpu_s = fd, 0, 0

    def run(self):
        while True:
            begin = time.thread_time()
            os.read(self.fd, 2048)
            self.cpu_s += time.thread_time() - begin
            self.frames += 1


def window(fd, reader, rate, seconds):
    """Frames that are late are written at once, as by any program that slept too long."""
    data, frames, cpu, begin = frame(1, 0), reader.frames, reader.cpu_s, time.monotonic()
    sent = 0
    while time.monotonic() < begin + seconds:
        while sent < (time.monotonic() - begin) * rate:
            before = time.thread_time()
            os.write(fd, data)
            cpu -= time.thread_time() - before
            sent += 1
        time.sleep(1 / rate)
    took = time.monotonic() - begin
    return {"cpu_percent": (reader.cpu_s - cpu) / took * 100, "sent": sent, "received": reader.frames - frames}


def main():
    left, right = taps()
    os.write(right, frame(0, 1))
    time.sleep(LEARN_S)
    reader = Reader(right)
    reader.start()
    print(json.dumps({"ready": True, "tsc_hz": 0}), flush=True)
    for line in sys.stdin:
        _, rate, seconds = line.split()
        print(json.dumps(window(left, reader, int(rate), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
