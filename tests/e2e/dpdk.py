#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's virtio-user at both ends of the switch: every frame is counted, at both ends and in the switch, and none is changed."""
import os
import random
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case_for, expect, main, need_program  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch  # noqa: E402
from guest.testpmd import Testpmd, virtio_user  # noqa: E402

MACS = ("52:54:00:00:01:01", "52:54:00:00:01:02")
TRAFFIC_S = 1
PCAP_FRAMES = 400

SPLIT = {"packed_vq": 0}
PACKED = {"packed_vq": 1}
PLAIN = {"mrg_rxbuf": 0, "in_order": 0}
MERGE = {"mrg_rxbuf": 1, "in_order": 0}
ORDER = {"mrg_rxbuf": 0, "in_order": 1}
MERGE_ORDER = {"mrg_rxbuf": 1, "in_order": 1}
VECTOR = {"mrg_rxbuf": 0, "in_order": 1, "vectorized": 1}

# name: (parameters, queue pairs, the client listens)
DRIVERS = {}
for _format, _ring in (("split", SPLIT), ("packed", PACKED)):
    for _kind, _parameters in (("plain", PLAIN), ("mergeable", MERGE), ("in_order", ORDER),
                               ("mergeable_in_order", MERGE_ORDER), ("vectorized", VECTOR)):
        DRIVERS[f"{_format}_{_kind}"] = ({**_ring, **_parameters}, 1, False)
    DRIVERS[f"{_format}_two_queues"] = ({**_ring, **MERGE}, 2, False)
    DRIVERS[f"{_format}_client_port"] = ({**_ring, **MERGE}, 1, True)


def start(lab, parameters, queues, listens, before=(), after=()):
    """A switch with the ports left and right, and a testpmd that is on both."""
    need_program("dpdk-testpmd")
    mode = ",mode=client" if listens else ""
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name},queues={queues}{mode}" for name in ("left", "right")])
    users = [virtio_user(i, lab.path(name), MACS[i], queues=queues, **parameters, **({"server": 1} if listens else {}))
             for i, name in enumerate(("left", "right"))]
    eal = ["--force-max-simd-bitwidth=512"] if parameters.get("vectorized") else []
    pmd = Testpmd(lab, [*before, *users, *after], queues=queues, eal=eal)
    ports = range(len(before), len(before) + 2)
    wait_until(lambda: all(pmd.link_up(port) for port in ports), 20, "the links come up")
    return switch, pmd


def expect_equal(what, *values):
    expect(len(set(values)) == 1, f"{what}: {' '.join(map(str, values))}")


@case_for(DRIVERS, "no_frame_is_lost_{}", shows=["vhost-user"])
def no_frame_is_lost(lab, parameters, queues, listens):
    switch, pmd = start(lab, parameters, queues, listens)
    pmd.do("set fwd io")
    pmd.do("start tx_first 4")
    time.sleep(TRAFFIC_S)
    pmd.drain()
    ends, left, right = pmd.stats(), switch.port("left"), switch.port("right")
    print(f"     {ends[0]['tx'] + ends[1]['tx']} frames in {TRAFFIC_S} s")
    expect(ends[0]["tx"] > 1000 and ends[1]["tx"] > 1000, f"hardly any frames: {ends}")
    expect_equal("left to right", ends[0]["tx"], left["rx_frames"], right["tx_frames"], ends[1]["rx"])
    expect_equal("right to left", ends[1]["tx"], right["rx_frames"], left["tx_frames"], ends[0]["rx"])
    for port in (left, right):
        expect(port["rx_drops"] == 0 and port["tx_drops"] == 0, f"{port['name']} has drops: {port['counters']}")
    pmd.quit()
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


def write_pcap(path, frames):
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            out.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def read_pcap(path):
    with open(path, "rb") as source:
        data = source.read()
    offset, frames = 24, []
    while offset + 16 <= len(data):
        length = struct.unpack_from("<I", data, offset + 8)[0]
        frames.append(data[offset + 16:offset + 16 + length])
        offset += 16 + length
    return frames


def random_frames(count):
    """Of all sizes, with an EtherType that nobody interprets."""
    source = random.Random(1)
    header = bytes.fromhex(MACS[1].replace(":", "")) + bytes.fromhex(MACS[0].replace(":", "")) + b"\x88\xb5"
    return [header + struct.pack(">I", n) + source.randbytes(source.choice([46, 60, 64, 128, 700, 1400, 1496]) - 4)
            for n in range(count)]


@case_for({name: row for name, row in DRIVERS.items() if row[1] == 1 and not row[2]}, "no_byte_is_changed_{}")
def no_byte_is_changed(lab, parameters, queues, listens):
    frames = random_frames(PCAP_FRAMES)
    write_pcap(lab.path("in.pcap"), frames)
    switch, pmd = start(lab, parameters, queues, listens,
                        before=[f"--vdev=net_pcap0,rx_pcap={lab.path('in.pcap')},tx_pcap={lab.path('unused.pcap')}"],
                        after=[f"--vdev=net_pcap1,tx_pcap={lab.path('out.pcap')}"])
    pmd.do("start")
    wait_until(lambda: pmd.stats()[2]["rx"] >= PCAP_FRAMES, 20, f"{PCAP_FRAMES} frames arrive", step=0.3)
    pmd.do("stop")
    pmd.quit()
    arrived = read_pcap(lab.path("out.pcap"))
    expect(len(arrived) == len(frames), f"{len(frames)} frames were sent, {len(arrived)} arrived")
    wrong = [n for n, (sent, got) in enumerate(zip(frames, arrived)) if sent != got]
    expect(not wrong, f"{len(wrong)} frames were changed or out of order, the first is number {wrong[0] if wrong else 0}")
    expect(switch.stop() == 0, "vireo-switchd did not end cleanly")


if __name__ == "__main__":
    main()
