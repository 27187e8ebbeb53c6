#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The state of a network device, carried from one daemon to another."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, mac, raw  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch  # noqa: E402
from peer import F_CTRL_MAC_ADDR, F_CTRL_RX, F_CTRL_VLAN, F_CTRL_VQ, WRITE  # noqa: E402

FEATURES = F_CTRL_VQ | F_CTRL_RX | F_CTRL_VLAN | F_CTRL_MAC_ADDR
COMMAND, ANSWER = 0x1F0000, 0x1F8000  # between rings and buffers
CONTROL = 2  # behind one pair
WANTED, OTHER, SENDER = 1, 2, 3


def switch_with(lab, name):
    return Switch(lab, [f"vhost-user:{lab.path(f'{name}-{port}')},name={port}" for port in ("guest", "wire")], name=name)


def says(front, ring, *commands):
    """The driver's commands, one after the other."""
    for number, data in enumerate(commands):
        front.peer.write(COMMAND, data)
        front.peer.write(ANSWER, b"\xee")
        ring.chain([(raw.GPA + COMMAND, len(data), 0), (raw.GPA + ANSWER, 1, WRITE)], 2 * number)
        wait_until(lambda: front.peer.memory[ANSWER] != 0xEE, 20, "an answer of the control queue")
        expect(front.peer.memory[ANSWER] == 0, f"refused: {data.hex()}")


def frame(target, vlan=None):
    tag = b"" if vlan is None else b"\x81\x00" + vlan.to_bytes(2, "big")
    return (mac(target) + mac(SENDER) + tag + b"\x88\xb5" + bytes([vlan or 0])).ljust(60, b"\0")


def arrived(front, wire):
    """Of a frame to each address, with and without a tag, which come to the guest; the last one always does."""
    frames = {"wanted": frame(WANTED), "other": frame(OTHER), "vlan 7": frame(WANTED, 7), "vlan 8": frame(WANTED, 8)}
    marker = frame(WANTED)[:-1] + b"\x99"
    for data in frames.values():
        wire.send(data)
    came, end = [], time.monotonic() + 30
    wire.send(marker)
    while marker not in came and time.monotonic() < end:
        came += [data for _, data in front.receive(0.5)]
    expect(marker in came, "nothing arrives")
    return {name for name, data in frames.items() if data in came}


@case(shows=[("vhost-user", "split")])
def what_a_driver_has_said_goes_with_it_from_daemon_to_daemon(lab):
    everything, said = {"wanted", "other", "vlan 7", "vlan 8"}, {"wanted", "vlan 7"}
    source, target = switch_with(lab, "source"), switch_with(lab, "target")
    with Front(lab.path("source-guest"), raw.F_MRG_RXBUF | FEATURES) as front, Front(lab.path("source-wire")) as wire:
        control = front.peer.ring(CONTROL, 64)
        says(front, control, b"\0\0\0", b"\1\1" + mac(WANTED), b"\2\0\7\0")
        expect(arrived(front, wire) == said, "the filter does not do what it was told")
        for index in range(3):
            front.peer.ring_stop(index)
        state = front.peer.save_state()
    with raw.VhostUserPeer(lab.path("target-guest")) as peer:  # another machine: nothing has been said to it
        peer.negotiate()
        expect(peer.load_state(state), "the state is refused")
        expect(not peer.load_state(state[:-1]), "a state that is cut short is taken")
    for loads, expected in ((False, everything), (True, said)):
        with Front(lab.path("target-guest"), raw.F_MRG_RXBUF | FEATURES) as front, Front(lab.path("target-wire")) as wire:
            for index in range(2):
                front.peer.ring_stop(index)
            if loads:
                expect(front.peer.load_state(state), "the state is refused")
            front.peer.send(raw.SET_FEATURES, front.peer.features.to_bytes(8, "little"))
            front.peer.ring(CONTROL, 64)
            for index in range(2):
                front.peer.ring_go_on(index, 0)
            front.peer.settle()
            expect(arrived(front, wire) == expected, f"loaded: {loads}: not what was said")
    end_well(source)
    end_well(target)


main()
