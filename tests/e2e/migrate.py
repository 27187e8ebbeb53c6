#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU guest moves from one switch to another while it talks (precopy): nothing of its memory is lost, and its network comes along."""
import os
import re
import select
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402

MAC, GUEST, HOST = "52:54:00:00:00:01", "10.7.0.1", "10.7.0.2"
BACK_S = float(os.environ.get("MIGRATE_BACK_S", "15"))  # of no answer; `make migrate` asks for less
SEEN_KIB = 256  # fits what a guest takes without reading it
ROUNDS = int(os.environ.get("MIGRATE_ROUNDS", "1"))

# Serves the guest: /hold of known bytes, twice; takes what it sends. What it says: "kind sha256", a line each.
PEER = r"""
import hashlib, random, socket, struct, sys, threading, fcntl, termios
def listening(port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], port)); s.listen(64); return s
def say(*words): print(*words, flush=True)
def hold(c, n):
    data = random.Random(n).randbytes(int(sys.argv[2]))
    c.sendall(data)
    while struct.unpack("i", fcntl.ioctl(c, termios.TIOCOUTQ, bytes(4)))[0]: c.settimeout(60); threading.Event().wait(0.02)
    say("held", hashlib.sha256(data).hexdigest()); c.shutdown(socket.SHUT_WR); c.recv(1); c.close()
def take(c):
    digest = hashlib.sha256()
    while data := c.recv(1 << 18): digest.update(data)
    say("taken", digest.hexdigest()); c.close()
def serve(s, what):
    n = 0
    while True:
        c = s.accept()[0]; n += 1
        threading.Thread(target=what, args=(c, n) if what is hold else (c,), daemon=True).start()
threading.Thread(target=serve, args=(listening(5001), hold), daemon=True).start()
threading.Thread(target=serve, args=(listening(5002), take), daemon=True).start()
say("listening"); sys.stdin.read()
"""

# Pings every 5 ms, and sees who announces itself by RARP. At the end: longest pause in ms, sent, answered, RARP frames of the guest's.
PINGER = r"""
import os, select, socket, struct, sys, time
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data)); total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
rarp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8035)); rarp.bind((sys.argv[2], 0x8035))
mac, sent, answered, announced, longest, last = bytes.fromhex(sys.argv[3].replace(":", "")), 0, set(), 0, 0.0, None
print("pinging", flush=True); due = time.monotonic()
while True:
    now = time.monotonic()
    if now >= due:
        body = struct.pack("!BBHHH", 8, 0, 0, 77, sent & 0xffff) + bytes(56)
        try: icmp.sendto(body[:2] + struct.pack("!H", checksum(body)) + body[4:], (sys.argv[1], 0)); sent += 1
        except OSError: pass
        due = max(due + 0.005, now - 0.1)
    ready = select.select([icmp, rarp, 0], [], [], max(0, due - time.monotonic()))[0]
    if rarp in ready:
        frame = rarp.recv(2048); announced += frame[6:12] == mac
    if icmp in ready:
        data = icmp.recv(2048)[20:]
        if data[0] == 0 and data[4:6] == b"\0M":
            now = time.monotonic(); answered.add(data[6:8])
            if last: longest = max(longest, now - last)
            last = now
    if 0 in ready: break
longest = max(longest, time.monotonic() - last) if last else -1
print("%.0f %d %d %d" % (longest * 1000, sent, len(answered), announced), flush=True)
"""


class Place:
    """A network namespace with two switches, each with a port for the guest and an interface on one bridge, whose address is the peer's."""

    def __init__(self, lab):
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
            subprocess.run([*self.inside, "ip", *words.split()], check=True, timeout=10)

    def _ports(self, number):
        return [f"vhost-user:{self.lab.path(f'guest{number}')},name=guest", f"tap:tap{number},name=out"]

    def script(self, text, *words):
        child = self.lab.start([*self.inside, sys.executable, "-c", text, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
        expect(child.stdout.readline().strip() in ("listening", "pinging"), "the peer does not start")
        return child


def said(child):
    """What a script says when it is told to end."""
    child.stdin.close()
    text = child.stdout.read()
    child.wait(10)
    return text


class Machine(Guest):
    """The guest after so many moves, at one switch and the other by turns. But for the first it waits for what comes."""

    def __init__(self, lab, moves, properties):
        self.way = lab.path(f"way{moves}")
        super().__init__(lab, f"guest{moves}", [Nic(lab.path(f"guest{moves % 2}"), MAC, properties=properties)],
                         extra=["-incoming", f"unix:{self.way}"] if moves else [])

    def _board(self, memory_mib, cpus):
        """QEMU before 9.0 misses what an emulated guest writes while it takes in its dirty bitmap by whole words, which it does where
        memory is a multiple of 256 KiB (cpu_physical_memory_sync_dirty_bitmap()): this one is 8 KiB larger."""
        size = f"{memory_mib * 1024 + 8}K"
        return [{f"{memory_mib}": size}.get(word, word.replace(f"size={memory_mib}M", f"size={size}"))
                for word in super()._board(memory_mib, cpus)]

    def migration(self):
        return dict(re.findall(r"^([A-Za-z ]+?) ?: ?(.*?)\r?$", self.monitor("info migrate"), re.M))

    def passes(self):
        found = re.search(r"\d+", self.migration().get("dirty sync count", "0"))
        return int(found.group()) if found else 0


def hold(guest, number):
    """Takes bytes and does not read them: they stay where the device has written them."""
    guest.check(f"(nc {HOST} 5001 </dev/null | (until [ -e /tmp/go{number} ]; do sleep 0.1; done; sha256sum >/tmp/held{number})) "
                ">/dev/null 2>&1 &")


def wait_line(child, kind):
    expect(select.select([child.stdout], [], [], 30)[0], f"the peer does not say what it has {kind}")
    line = child.stdout.readline().split()
    expect(len(line) == 2 and line[0] == kind, f"the peer says {line}, and not {kind}")
    return line[1]


def move(place, source, target, number):
    """The guest moves. Returns (longest pause in ms, frames of RARP)."""
    peer, pinger = place.script(PEER, HOST, str(SEEN_KIB << 10)), place.script(PINGER, GUEST, "br0", MAC)
    # More is written to than goes over the line, until it may.
    source.check("(until [ -e /tmp/still ]; do dd if=/dev/urandom of=/tmp/churn bs=64k count=32 conv=notrunc; done) >/dev/null 2>&1 &")
    for command in ("migrate_set_parameter max-bandwidth 20M", "migrate_set_parameter downtime-limit 1", f"migrate -d unix:{target.way}"):
        source.monitor(command)
    # All of its memory has been copied before the peer sends: what arrives now is there only if it is copied again.
    wait_until(lambda: source.passes() >= 2, 60, f"all memory has been copied once: {source.monitor('info migrate')}")
    hold(source, number)
    held = wait_line(peer, "held")
    source.check(f"(nc {HOST} 5002 </tmp/sent) >/dev/null 2>&1 &")
    source.monitor("migrate_set_parameter max-bandwidth 4G")
    source.monitor("migrate_set_parameter downtime-limit 300")
    wait_until(lambda: "completed" in source.migration().get("Migration status", ""), 60,
               f"the guest has moved: {source.monitor('info migrate')}")
    source.kill()
    target.boots = 1
    taken = wait_line(peer, "taken")
    sent = target.check("sha256sum </tmp/sent").split()[0]
    seen = target.check(f"touch /tmp/go{number}; until [ -s /tmp/held{number} ]; do sleep 0.1; done; cat /tmp/held{number}").split()[0]
    expect(seen == held, f"what the guest had received before it moved is damaged: {seen}, and not {held}")
    expect(taken == sent, f"what the guest sent while it moved is damaged: {taken}, and not {sent}")
    target.check("touch /tmp/still; sleep 0.5; rm -f /tmp/still /tmp/go* /tmp/held*")
    said(peer)
    longest, pings, answered, announced = map(int, said(pinger).split())
    print(f"     moved: no answer for {longest} ms, {answered} of {pings} pings answered", flush=True)
    expect(0 <= longest < 1000 * BACK_S, f"no answer for {longest} ms")
    return longest, announced


@case_for({"split": ({},), "packed": ({"packed": "on", "guest_announce": "off"},)}, "guest_moves_with_what_it_has_received_{}",
          shows=["vhost-user"])
def guest_moves(lab, properties):
    """`make migrate` does it 20 times, there and back. With packed rings the switch announces it, with split ones the guest does."""
    need_program("qemu-system-x86_64")
    place = Place(lab)
    machine = Machine(lab, 0, properties).ready()
    machine.address(f"{GUEST}/24")
    machine.check("echo 600000 600000 600000 >/proc/sys/net/ipv4/tcp_rmem; dd if=/dev/urandom of=/tmp/sent bs=64k count=64 2>&1")
    pauses = []
    for n in range(ROUNDS):
        target = Machine(lab, n + 1, properties)
        wait_until(lambda: os.path.exists(target.way), 30, "the other side waits for the guest", child=target.child)
        longest, announced = move(place, machine, target, n)
        pauses.append(longest)
        expect(announced or "guest_announce" not in properties, "nobody has told the network where the guest is")
        machine = target
    print(f"     {len(pauses)} moves, the longest pause was {max(pauses)} ms", flush=True)
    for switch in place.switches:
        expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


if __name__ == "__main__":
    main()
