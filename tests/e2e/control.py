#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What Linux's virtio_net says on the control queue of its link, and is told of it, holds at once. User-mode Linux is the guest: its front end
hands the control queue to us, where QEMU and cloud-hypervisor keep it."""
import os
import struct
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import uml  # noqa: E402
from guest.cases import case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, raw  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch  # noqa: E402

NET = 1  # virtio's number of the type
GUEST, WIRE = bytes.fromhex("525400000009"), bytes.fromhex("525400000001")
ARP = b"\x08\x06"
CSUM, HOST_TSO4 = 1 << 0, 1 << 11
SEGMENT, SEGMENTS = 1000, 3
TOGETHER = 8  # frames of which one signal tells

# It says where it is by asking for a neighbour, 10.1.0.STEP, and goes on when it has seen what follows.
JOB = """
rx() { cat /sys/class/net/eth0/statistics/rx_packets; }
say() { ping -c 1 -W 1 10.1.0.$1 >/dev/null || true; }
soon() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 600 ] || { echo "in vain: $*"; return 1; }; sleep 0.1; done; }
has() { ethtool eth0 | grep -q "$1"; }
got() { [ $(rx) -ge $1 ]; }
large() { # STEP FRAMES: how many the large one of then is
	before=$(rx)
	say $1
	soon got $((before + $2))
	sleep 0.3
	echo "step $1: $(($(rx) - before)) frames"
}
ip link set eth0 up
ip addr add 10.1.0.1/24 dev eth0
soon has 'Speed: 10000Mb/s'
soon has 'Duplex: Full'
large 2 1
ethtool -K eth0 rx-gro-hw off
large 3 %(segments)d
ethtool -K eth0 rx-gro-hw on
large 4 1
before=$(rx)
ethtool -C eth0 tx-frames 1 rx-frames %(together)d rx-usecs 600000000 # without tx-frames it would have to be down for that
say 6
soon got $((before + %(together)d))
ethtool -C eth0 tx-frames 1 rx-frames 1000 rx-usecs 3000
say 7
soon got $((before + %(together)d + 1))
ethtool -C eth0 tx-frames 1 rx-frames 0 rx-usecs 0
say 5
soon has 'Speed: 2500Mb/s'
soon has 'Duplex: Half'
"""


def large_frame():
    """TCP, to be cut into SEGMENTS; and its header."""
    payload = SEGMENT * SEGMENTS
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + payload, 7, 0, 64, 6, 0) + bytes([10, 1, 0, 2, 10, 1, 0, 1])
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + ip[12:]
    tcp = struct.pack(">HHIIBBHHH", 4000, 4001, 1, 1, 0x50, 0x10, 1000, 0, 0)
    return GUEST + WIRE + b"\x08\x00" + ip + tcp + bytes(payload), struct.pack("<BBHHHHH", 1, 1, 54, SEGMENT, 34, 16, 0)


class Steps:
    """What the guest asks for, one after the other."""

    def __init__(self, wire, ended):
        self.wire, self.ended, self.seen = wire, ended, set()

    def reached(self, number):
        self.seen |= {frame[41] for _, frame in self.wire.receive(0.3) if frame[12:14] == ARP}
        return self.ended or number in self.seen

    def wait(self, number):
        wait_until(lambda: self.reached(number), uml.JOB_S, f"the guest comes to step {number}")


def run_guest(lab, result):
    try:
        result.append(uml.run(lab, "uml", JOB % {"segments": SEGMENTS, "together": TOGETHER}, [(lab.path("guest"), NET)], modules=("virtio_net",), programs=("ethtool",)))
    except BaseException as error:  # noqa: BLE001 - told by who waits
        result.append(error)


def signals(switch):
    return sum(queue["signals"] for queue in switch.port("guest")["queue_counters"] if queue["direction"] == "tx")


def together(switch, wire, steps):
    """So many frames one by one, of which the guest wants to hear by one signal, and then one, of which it hears a little later. The signals."""
    told = []
    for step, frames in ((6, TOGETHER), (7, 1)):
        steps.wait(step)
        before, there = signals(switch), switch.port("guest")["counters"]["tx_frames"]
        for count in range(1, frames + 1):
            wire.send(GUEST + WIRE + b"\x88\xb5" + bytes(46), bytes(12))
            wait_until(lambda there=there, count=count: steps.ended or switch.port("guest")["counters"]["tx_frames"] >= there + count, uml.JOB_S,
                       "it is with the guest")
            if count == TOGETHER:  # frames are counted before the guest is told of them
                wait_until(lambda before=before: steps.ended or signals(switch) > before, uml.JOB_S, "the guest is told of the last one")
            told.append(signals(switch) - before)
    return told


def serve(switch, wire, steps):
    """What the switch says it takes, and how many frames were cut, at each step with a large frame."""
    said = []
    for step in (2, 3, 4):
        steps.wait(step)
        wire.send(*large_frame())
        wait_until(wire.drained, uml.JOB_S, "the switch has taken it")
        port = switch.port("guest")
        said.append((set(port["offloads"]), port["counters"]["tx_segmented"]))
    told = together(switch, wire, steps)
    steps.wait(5)
    switch.ctl("port", "set", "guest", "speed=2500M/half")
    wait_until(lambda: ends_when_its_link_comes_up(switch, steps), uml.JOB_S, "the guest has seen the new speed")
    return said, told


def ends_when_its_link_comes_up(switch, steps):
    """Linux asks for the speed when its link has come up: it is pulled until the guest has seen that, and is at its end."""
    for says in ("down", "up"):
        switch.ctl("port", "link", "guest", says)
        steps.reached(0)
    return steps.ended


@case_for({"split": (",packed=off",), "packed": ("",)}, "what_linux_says_of_offloads_and_hears_of_its_link_{}", shows=["vhost-user"])
def what_linux_says_of_offloads_and_hears_of_its_link(lab, keys):
    switch = Switch(lab, [f"vhost-user:{lab.path('guest')},mac={GUEST.hex(':')},speed=10G{keys}", f"vhost-user:{lab.path('wire')}"])
    result = []
    thread = threading.Thread(target=run_guest, args=(lab, result), daemon=True)
    thread.start()
    with Front(lab.path("wire"), raw.F_MRG_RXBUF | CSUM | HOST_TSO4) as wire:
        said, told = serve(switch, wire, Steps(wire, result))
        thread.join(uml.JOB_S)
    if isinstance(result[0], BaseException):
        raise result[0]
    counters = switch.port("guest")["counters"], switch.port("guest")["queue_counters"]
    expect([{"tso4", "csum"} <= offloads for offloads, _ in said] == [True, False, True], f"{said}")
    expect([cut for _, cut in said] == [0, 1, 1], f"only the one of then was cut: {said}")
    expect("csum" in said[1][0], f"checksums it takes all the time: {said}")
    expect(told[:TOGETHER] == [0] * (TOGETHER - 1) + [1], f"one signal tells of {TOGETHER} frames: {told}")
    for step, frames in ((2, 1), (3, SEGMENTS), (4, 1)):
        expect(f"step {step}: {frames} frames" in result[0], f"{result[0]}")
    expect(not any(queue.get("offload_refused") for queue in counters[1]), f"{counters}")
    end_well(switch)


if __name__ == "__main__":
    main()
