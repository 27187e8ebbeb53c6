#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU guest moves from one switch to another while it talks (precopy): nothing of its memory is lost, and its network comes along."""
import os
import select
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Failed, case_for, expect, main, need_program  # noqa: E402
from guest.guarded import Guarded  # noqa: E402
from guest.moving import Moving, cpu_share  # noqa: E402
from guest.place import GUEST, HOST, MAC, Place, pinged, said  # noqa: E402
from guest.qemu import Nic  # noqa: E402

HUNG_S = 15  # of no answer at any time
BACK_S = float(os.environ.get("MIGRATE_BACK_S", HUNG_S))  # after a move; `make migrate` asks for less
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


class Machine(Moving):
    """The guest after so many moves, at one switch and the other by turns. It waits for what comes, but for the first, and what `boots`."""

    def __init__(self, lab, moves, properties, pairs=1, boots=False):
        super().__init__(lab, f"guest{moves}", [Nic(lab.path(f"guest{moves % 2}"), MAC, queues=pairs, properties=properties)],
                         way=lab.path(f"way{moves}") if moves and not boots else None, cpus=pairs)


class GuardedMachine(Guarded, Machine):
    pass


def hold(guest, number):
    """Takes bytes and does not read them: they stay where the device has written them."""
    guest.check(f"(nc {HOST} 5001 </dev/null | (until [ -e /tmp/go{number} ]; do sleep 0.1; done; sha256sum >/tmp/held{number})) "
                ">/dev/null 2>&1 &")


def wait_line(place, child, kind):
    """On a loaded machine an emulated guest may have a twentieth of a CPU: so it is given time, unless it stands still."""
    if not select.select([child.stdout], [], [], 120)[0]:
        counters = [{name: value for name, value in switch.port("guest")["counters"].items() if value} for switch in place.switches]
        raise Failed(f"the peer does not say what it has {kind}; the guest's ports: {counters}")
    line = child.stdout.readline().split()
    expect(len(line) == 2 and line[0] == kind, f"the peer says {line}, and not {kind}")
    return line[1]


def move(place, source, target, number):
    """The guest moves. Returns (longest pause in ms, frames by which its switch has announced it, and it itself).

    A pause is of the move if it lies, or ends, between the moment when the guest may go and the one when all that it had sent has come. One
    at another time, when its QEMU gets no CPU, is told, and may be longer.
    """
    peer, pinger = place.script(PEER, HOST, str(SEEN_KIB << 10)), place.pinger()
    source.churns()
    # All of its memory has been copied before the peer sends: what arrives now is there only if it is copied again.
    source.leaves_for(target)
    hold(source, number)
    held = wait_line(place, peer, "held")
    source.check(f"(nc {HOST} 5002 </tmp/sent) >/dev/null 2>&1 &")
    begin, before = time.monotonic(), target.cpu_ms()
    stood_ms = source.arrives(target)
    taken = wait_line(place, peer, "taken")
    end, after = time.monotonic(), target.cpu_ms()
    sent = target.check("sha256sum </tmp/sent").split()[0]
    seen = target.check(f"touch /tmp/go{number}; until [ -s /tmp/held{number} ]; do sleep 0.1; done; cat /tmp/held{number}").split()[0]
    expect(seen == held, f"what the guest had received before it moved is damaged: {seen}, and not {held}")
    expect(taken == sent, f"what the guest sent while it moved is damaged: {taken}, and not {sent}")
    target.check("touch /tmp/still; until [ -e /tmp/rests ]; do sleep 0.1; done; rm -f /tmp/still /tmp/go* /tmp/held*")
    said(peer)
    pings = pinged(pinger)
    longest = pings.longest_ms(begin, end)
    print(f"     moved: no answer for {longest} ms ({pings.longest_ms()} ms at any time), {pings.answered} of {pings.sent} pings answered; "
          f"QEMU says {stood_ms} ms, and got {cpu_share(before, after)} of the CPU it wanted; dropped without a queue: "
          f"{[switch.port('guest')['counters']['tx_no_queue'] for switch in place.switches]}", flush=True)
    expect(pings.answered and longest < 1000 * BACK_S, f"no answer for {longest} ms")
    expect(pings.longest_ms() < 1000 * HUNG_S, f"no answer for {pings.longest_ms()} ms, at another time")
    return longest, pings.announced, pings.itself


ANNOUNCED = {"packed": "on", "guest_announce": "off"}  # by the switch; with split rings the guest does it
MOVES = {"split": ({}, 1), "packed": (ANNOUNCED, 1)}
# What is written is at the driver's addresses, and logged where the guest's memory is.
GUARDED = {}
if ROUNDS > 1:
    MOVES.update({"split_pairs": ({}, 2), "packed_pairs": (ANNOUNCED, 2)})
    GUARDED.update({"split": ({}, True), "split_lazy": ({}, False), "packed": (ANNOUNCED, True), "packed_lazy": (ANNOUNCED, False)})


def pairs_carry(machine, pairs):
    """Its driver has them in use."""
    said = machine.check(f"ls -d /sys/class/net/{machine.interface()}/queues/rx-* | wc -l").strip()
    expect(said == str(pairs), f"the driver has {said} queue pairs")


@case_for(MOVES, "guest_moves_with_what_it_has_received_{}", shows=["vhost-user"])
def guest_moves(lab, properties, pairs):
    """`make migrate` does it 20 times, there and back, and with several queue pairs."""
    moves(lab, pairs, lambda n: Machine(lab, n, properties, pairs), "guest_announce" in properties)


@case_for(GUARDED, "guest_moves_with_what_it_has_received_behind_an_iommu_{}", shows=["vhost-user"])
def guest_moves_behind_an_iommu(lab, properties, strict):
    moves(lab, 1, lambda n: GuardedMachine(lab, n, properties, strict=strict), "guest_announce" in properties)


def moves(lab, pairs, make, announces):
    need_program("qemu-system-x86_64")
    place = Place(lab, f",queues={pairs}")
    machine = make(0).ready()
    machine.address(f"{GUEST}/24")
    pairs_carry(machine, pairs)
    expect(not isinstance(machine, Guarded) or machine.is_guarded(), "the driver has not accepted ACCESS_PLATFORM")
    machine.check("echo 600000 600000 600000 >/proc/sys/net/ipv4/tcp_rmem; dd if=/dev/urandom of=/tmp/sent bs=64k count=64 2>&1")
    pauses = []
    for n in range(ROUNDS):
        target = make(n + 1)
        target.waits()
        longest, announced, itself = move(place, machine, target, n)
        pauses.append(longest)
        expect(announced if announces else itself, "nobody has told the network where the guest is")
        machine = target
    pairs_carry(machine, pairs)
    print(f"     {len(pauses)} moves, the longest pause was {max(pauses)} ms", flush=True)
    place.end()


@case_for({ring: MOVES[ring] for ring in ("split", "packed")} if ROUNDS > 1 else {}, "guest_moves_while_it_reboots_{}", shows=["vhost-user"])
def guest_moves_while_it_reboots(lab, properties, pairs):
    """Its rings go and come again while what is written to them is logged, or on the other side."""
    need_program("qemu-system-x86_64")
    place = Place(lab, f",queues={pairs}")
    for number, moment in enumerate((0, 1, 3, 6)):
        machine, target = Machine(lab, 2 * number, properties, boots=True).ready(), Machine(lab, 2 * number + 1, properties)
        machine.address(f"{GUEST}/24")
        target.waits()
        machine.sets_out(target)
        machine.monitor("system_reset")
        time.sleep(moment)
        machine.arrives(target)
        target.ready(2).address(f"{GUEST}/24")
        target.check(f"ping -c 3 -W 5 {HOST}")
        target.kill()
        print(f"     moved {moment} s after its reboot", flush=True)
    place.end()


if __name__ == "__main__":
    main()
