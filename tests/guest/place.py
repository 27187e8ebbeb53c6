# SPDX-License-Identifier: BSD-3-Clause
"""Where a guest moves from one switch to another: both on one bridge, and somebody who pings it and sees who announces it."""
import dataclasses
import math
import os
import subprocess
import sys

from guest.cases import Skip, expect
from guest.daemon import QUIET_NETWORK, WrappedSwitch

MAC, GUEST, HOST = "52:54:00:00:00:01", "10.7.0.1", "10.7.0.2"

# Pings every 5 ms, and sees who announces itself; if nobody has when it is told to end, it waits for a while. At the end: pings sent,
# answered, and of the guest's frames those of RARP, as its switch sends for it, and those of ARP that ask for its own address, as it sends
# by itself. Then the times without an answer, in seconds of the monotonic clock: since-until.
PINGER = r"""
import os, select, socket, struct, sys, time
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data)); total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
rarp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8035)); rarp.bind((sys.argv[2], 0x8035))
arp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)); arp.bind((sys.argv[2], 0x0806))
mac, sent, answered, announced, itself, pauses, end = bytes.fromhex(sys.argv[3].replace(":", "")), 0, set(), 0, 0, [], None
print("pinging", flush=True); due = last = time.monotonic()
while True:
    now = time.monotonic()
    if now >= due:
        body = struct.pack("!BBHHH", 8, 0, 0, 77, sent & 0xffff) + bytes(56)
        try: icmp.sendto(body[:2] + struct.pack("!H", checksum(body)) + body[4:], (sys.argv[1], 0)); sent += 1
        except OSError: pass
        due = max(due + 0.005, now - 0.1)
    ready = select.select([icmp, rarp, arp] + [0] * (end is None), [], [], max(0, due - time.monotonic()))[0]
    if rarp in ready:
        frame = rarp.recv(2048); announced += frame[6:12] == mac
    if arp in ready:
        frame = arp.recv(2048); itself += frame[6:12] == mac and frame[28:32] == frame[38:42]
    if icmp in ready:
        data = icmp.recv(2048)[20:]
        if data[0] == 0 and data[4:6] == b"\0M":
            now = time.monotonic(); answered.add(data[6:8])
            if now - last > 0.02: pauses.append((last, now))
            last = now
    if 0 in ready: end = time.monotonic() + 20
    if end and (announced or itself or time.monotonic() > end): break
pauses.append((last, time.monotonic()))
print(sent, len(answered), announced, itself, *("%.4f-%.4f" % pause for pause in pauses), flush=True)
"""


@dataclasses.dataclass
class Pinged:
    """What a pinger has seen. `announced`: by the guest's switch; `itself`: by the guest. `pauses`: (since, until), by time.monotonic()."""
    sent: int
    answered: int
    announced: int
    itself: int
    pauses: list

    def longest_ms(self, begin=0.0, end=math.inf):
        """The longest time without an answer of those that lie there, or reach into it."""
        return round(1000 * max((until - since for since, until in self.pauses if until > begin and since < end), default=0))


class Place:
    """A network namespace with two switches, each with a port for the guest (`options`: of it) and an interface on one bridge, whose address
    is the peer's."""

    def __init__(self, lab, options=""):
        self.options = options
        if os.geteuid():
            raise Skip("only root may make interfaces")
        if not os.path.exists("/dev/net/tun"):
            raise Skip("there is no /dev/net/tun")
        self.lab = lab
        self.switches = [WrappedSwitch(lab, QUIET_NETWORK, self._ports(0), name="here")]
        self.inside = ["nsenter", "-t", str(self.switches[0].child.pid), "-n"]
        self.switches.append(WrappedSwitch(lab, self.inside, self._ports(1), name="there"))
        if subprocess.run([*self.inside, "ip", "link", "add", "br0", "type", "bridge"], capture_output=True).returncode:
            raise Skip("this kernel has no bridges")
        for words in (f"addr add {HOST}/24 dev br0", "link set tap0 master br0 up", "link set tap1 master br0 up", "link set br0 up"):
            subprocess.run([*self.inside, "ip", *words.split()], check=True, timeout=30)

    def _ports(self, number):
        return [f"vhost-user:{self.lab.path(f'guest{number}')},name=guest{self.options}", f"tap:tap{number},name=out"]

    def end(self):
        for switch in self.switches:
            expect(switch.stop() == 0, "vireo-switchd did not end cleanly")

    def pinger(self):
        return self.script(PINGER, GUEST, "br0", MAC)

    def script(self, text, *words):
        child = self.lab.start([*self.inside, sys.executable, "-c", text, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
        expect(child.stdout.readline().strip() in ("listening", "pinging"), "the peer does not start")
        return child


def pinged(pinger):
    """It is told to end."""
    counts, pauses = (words := said(pinger).split())[:4], words[4:]
    return Pinged(*map(int, counts), [tuple(map(float, pause.split("-"))) for pause in pauses])


def said(child):
    """What a script says when it is told to end."""
    child.stdin.close()
    text = child.stdout.read()
    child.wait(30)
    return text
