#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's VLAN-aware bridge is the judge: the same frames, at random, go where it sends them, with the same tags."""
import json
import os
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.front import Front, mac  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402
from guest.switch import Switch  # noqa: E402

JUDGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vlan_bridge.py")
# An access port, two trunks, a trunk with a native VLAN that lies beside its tagged ones, and one whose native VLAN is tagged.
PORTS = [{"vlan": 10, "trunk": []}, {"vlan": None, "trunk": [10, 20, 30]}, {"vlan": None, "trunk": [10, 11, 12, 13, 30]},
         {"vlan": 10, "trunk": [20]}, {"vlan": 20, "trunk": [20, 30]}]
TYPES = (None, 0x8100, 0x8100, 0x8100, 0x88A8)
VLANS = (0, 10, 10, 20, 20, 30, 11, 1, 99)
ROUNDS, FRAMES, SEED = 40, 12, 20


def spec(lab, index, rule):
    vlan = f",vlan={rule['vlan']}" if rule["vlan"] else ""
    trunk = f",trunk={'+'.join(map(str, rule['trunk']))}" if rule["trunk"] else ""
    return f"vhost-user:{lab.path(f'p{index}')},name=p{index}{vlan}{trunk}"


def frame(chance, source, number):
    """To one of three addresses, or to all; a tag or none, and what may look like another one behind it."""
    target = chance.choice([b"\xff" * 6, mac(1), mac(2), mac(3)])
    tag = chance.choice(TYPES)
    head = b"" if tag is None else tag.to_bytes(2, "big") + (chance.randrange(8) << 13 | chance.choice(VLANS)).to_bytes(2, "big")
    inner = chance.choice([b"", b"", b"\x81\x00\x00\x14"])
    return target + mac(source) + head + inner + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(50)


def rounds():
    """A round's frames are of one port: what two ports send at once has no order."""
    chance, result = random.Random(SEED), []
    for number in range(ROUNDS):
        port = number % len(PORTS)
        result.append([[port, frame(chance, chance.choice([port, port, chance.randrange(4)]), number * FRAMES + i).hex()]
                       for i in range(FRAMES)])
    return result


def vlan_of(frame, rule):
    """In which VLAN a port sees what it has got: frames of one VLAN come in order."""
    tag = bytes.fromhex(frame)[12:16]
    vlan = int.from_bytes(tag[2:], "big") & 0xFFF
    return vlan if tag[:2] == b"\x81\x00" and vlan in rule["trunk"] else rule["vlan"]


def came(front, count):
    """As many frames as are expected, and more if there are."""
    frames = []
    while len(frames) < count:
        more = front.receive(20)
        if not more:
            break
        frames += more
    return [data.hex() for _, data in frames + front.poll()]


def sent(front, frames):
    for _, data in frames:
        front.send(bytes.fromhex(data))
    for _ in range(2000):
        if front.drained():
            return
        front.receive(0.01)


def by_vlan(frames, rule):
    return sorted(frames, key=lambda frame: (vlan_of(frame, rule) or 0))


def judged(lab, work):
    guest = LabGuest(lab, modules=["tun", "bridge"]).ready()
    with open(lab.path("work"), "w") as file:
        file.write(json.dumps(work) + "\n")
    answer = guest.check(f"{sys.executable} {JUDGE} <{lab.path('work')}", seconds=180)
    guest.kill()
    return json.loads(answer.strip().splitlines()[-1])


@case
def frames_go_where_the_kernels_bridge_sends_them(lab):
    work = {"ports": PORTS, "rounds": rounds()}
    right = judged(lab, work)
    switch = Switch(lab, [spec(lab, index, rule) for index, rule in enumerate(PORTS)])
    fronts = [Front(lab.path(f"p{index}")) for index in range(len(PORTS))]
    passed = 0
    for number, (frames, expected) in enumerate(zip(work["rounds"], right)):
        sent(fronts[frames[0][0]], frames)
        for index, rule in enumerate(PORTS):
            got = came(fronts[index], len(expected[index]))
            expect(by_vlan(got, rule) == by_vlan(expected[index], rule),
                   f"round {number}, sent by p{frames[0][0]}: {frames}\np{index} got {got}\nand the bridge gave {expected[index]}")
            passed += len(got)
    refused = sum(switch.port(f"p{index}")["counters"]["rx_vlan"] for index in range(len(PORTS)))
    print(f"     {ROUNDS * FRAMES} frames sent, {passed} came, {refused} refused, as by the bridge", flush=True)
    expect(passed > 200 and refused > 50, "the frames show little")


if __name__ == "__main__":
    main()
