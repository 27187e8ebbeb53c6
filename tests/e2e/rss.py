#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""RSS and hash report: Linux's virtio_net says how its frames are spread, and gets them so. User-mode Linux is the guest: its front end hands
the control queue to us, where QEMU and cloud-hypervisor keep it."""
import os
import random
import re
import struct
import sys
import threading
from collections import Counter

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import uml  # noqa: E402
from guest.cases import case, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import Guest, Nic  # noqa: E402
from guest.switch import Switch, build_folder  # noqa: E402
from guest.traffic import ping, transfer  # noqa: E402

HASH_REPORT, RSS = 57, 60  # bits
NET = 1  # virtio's number of the type
QUEUES, ROUNDS, FLOWS = 4, 3, 64
GUEST, WIRE = bytes.fromhex("525400000009"), bytes.fromhex("525400000001")
KEY = bytes(random.Random(14).randrange(256) for _ in range(40))
WEIGHTS = (1, 2, 0, 5)
TCP, UDP = 6, 17
TYPES = ["IPv4", "TCPv4", "UDPv4", "IPv6", "TCPv6", "UDPv6"]  # those that Linux knows

# When the guest asks for a neighbour, all has been said.
JOB = """
%(first)s
ip link set eth0 up
ethtool -K eth0 rxhash on
/bin/rxhash eth0 %(frames)d >/tmp/hashes &
listener=$!
n=0; until grep -q ' 0003  *[1-9]' /proc/net/packet; do n=$((n + 1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done  # it is bound
ip addr add 10.1.0.1/24 dev eth0
ping -c 1 -W 1 10.1.0.2 >/dev/null || true
wait $listener
ethtool -k eth0 | grep 'receive-hashing: on'
ethtool -x eth0
ethtool -S eth0
sed 's/^/hash /' /tmp/hashes
"""
ARP = b"\x08\x06"


def toeplitz(data, key):
    bits = int.from_bytes(key, "big")
    hashed = 0
    for at in range(8 * len(data)):
        if data[at // 8] & 0x80 >> at % 8:
            hashed ^= bits >> (8 * len(key) - 32 - at) & 0xFFFFFFFF
    return hashed


def flows():
    """(frame, what of it is hashed; None: nothing)"""
    chance = random.Random(41)
    for i in range(FLOWS):
        ports = struct.pack(">HH", chance.randrange(1024, 65536), 4000 + i)
        protocol = TCP if i % 2 else UDP
        header = ports + bytes(8) + b"\x50" + bytes(7) if protocol == TCP else ports + struct.pack(">HH", 30, 0) + bytes(22)
        if i % 16 == 15:
            yield (GUEST + WIRE + b"\x88\xb5" + bytes([i])).ljust(60, b"\0"), None
        elif i % 4 < 2:
            addresses = bytes([10, 0, chance.randrange(256), i, 10, 1, 0, 1])
            packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(header), i, 0, 64, protocol, 0) + addresses + header
            yield (GUEST + WIRE + b"\x08\x00" + packet).ljust(60, b"\0"), addresses + ports
        else:
            addresses = bytes([0x20, 1, 0xD, 0xB8, *(chance.randrange(256) for _ in range(11)), i]) + bytes([0x20, 1] + [0] * 13 + [1])
            packet = struct.pack(">IHBB", 6 << 28, len(header), protocol, 64) + addresses + header
            yield GUEST + WIRE + b"\x86\xdd" + packet, addresses + ports


def table_of(said):
    """The guest's, as ethtool -x prints it."""
    rows = re.findall(r"^\s*\d+:\s+((?:\d+\s*)+)$", said, re.M)
    return [int(number) for row in rows for number in row.split()]


def key_of(said):
    return bytes.fromhex(re.search(r"^((?:[0-9a-f]{2}:){39}[0-9a-f]{2})$", said, re.M)[1].replace(":", ""))


def run_job(lab, job, result):
    try:
        result.append(uml.run(lab, "uml", job, [(lab.path("guest"), NET)], modules=("virtio_net",),
                              programs=("ethtool", f"{build_folder()}/tests/guest/rxhash")))
    except BaseException as error:  # noqa: BLE001 - told by who waits
        result.append(error)


def asks(wire):
    return any(frame[12:14] == ARP for _, frame in wire.receive(0.2))


def spread(lab, queues, first):
    """What the guest said of all that it was sent, its session, and the frames of each queue."""
    switch = Switch(lab, [f"vhost-user:{lab.path('guest')},mac={GUEST.hex(':')},queues={queues},packed=off",
                          f"vhost-user:{lab.path('wire')}"])
    result, job = [], JOB % {"first": first, "frames": ROUNDS * FLOWS}
    thread = threading.Thread(target=run_job, args=(lab, job, result), daemon=True)
    thread.start()
    with Front(lab.path("wire")) as wire:
        wait_until(lambda: result or asks(wire), uml.JOB_S, "the guest asks for a neighbour")
        session = switch.port("guest")["session"]
        for frame, _ in list(flows()) * (0 if result else ROUNDS):
            wire.send(frame)
        thread.join(uml.JOB_S)
    if isinstance(result[0], BaseException):
        raise result[0]
    frames = [row["frames"] for row in switch.port("guest")["queue_counters"] if row["direction"] == "tx"]
    end_well(switch)
    return result[0], session, frames


def expect_hashes(said):
    """Those of its key; a frame without one may have any of the kernel's own."""
    told = Counter(int(line, 16) for line in re.findall(r"^hash ([0-9a-f]{8})$", said, re.M))
    missing = Counter(ROUNDS * [toeplitz(data, key_of(said)) for _, data in flows() if data]) - told
    expect(not missing and told.total() == ROUNDS * FLOWS, f"{told.total()} frames; hashes that the kernel has not got: {missing}")


@case(shows=["vhost-user"])
def linux_spreads_its_flows_by_the_table_that_it_has_told(lab):
    first = f"ethtool -L eth0 combined {QUEUES}; ethtool -X eth0 hkey {KEY.hex(':')} weight {' '.join(map(str, WEIGHTS))}"
    said, session, frames = spread(lab, QUEUES, first)
    expect(session["steering"] == "rss", f"{session}")
    expect(session["hash_types"] == TYPES and {"RSS", "HASH_REPORT"} <= set(session["features"]), f"{session}")
    table = table_of(said)
    expect(key_of(said) == KEY and [table.count(queue) for queue in range(QUEUES)] == [16, 32, 0, 80], f"its table: {table}")
    wanted = [0] * QUEUES
    for _, data in flows():
        wanted[table[toeplitz(data, KEY) % 128] if data else 0] += ROUNDS
    expect(min(wanted[0], wanted[1], wanted[3]) > 0, f"the flows are spread: {wanted}")
    got = [int(re.search(rf"^ *rx_queue_{queue}_packets: (\d+)$", said, re.M)[1]) for queue in range(QUEUES)]
    expect(got == wanted and frames == wanted, f"queues: {got} in the guest, {frames} told by the switch, {wanted} by the table")
    expect_hashes(said)


@case(shows=["vhost-user"])
def linux_with_one_queue_is_told_hashes(lab):
    said, session, frames = spread(lab, 1, "")
    expect(session["steering"] == "automatic" and session["hash_types"] == TYPES, f"{session}")
    expect("RSS" not in session["features"] and "HASH_REPORT" in session["features"], f"{session}")
    expect(frames == [ROUNDS * FLOWS], f"{frames}")
    expect_hashes(said)


def read_features(guest):
    """Those that the guest's driver has accepted, by bit."""
    bits = guest.check(f"cat /sys/class/net/{guest.interface()}/device/features").strip()
    return {bit for bit, is_set in enumerate(bits) if is_set == "1"}


@case(shows=["vhost-user"])
def qemu_keeps_rss_to_itself_and_its_guest_gets_long_headers_without_hashes(lab):
    need_program("qemu-system-x86_64")
    macs = [f"52:54:00:00:00:{index:02x}" for index in range(3)]
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}{keys}" for name, keys in (("far", ""), ("near", ""), ("off", ",rss=off"))])
    properties = {"rss": "on", "hash": "on"}
    guests = [Guest(lab, "far", [Nic(lab.path("far"), macs[0])]),
              Guest(lab, "near", [Nic(lab.path("near"), macs[1], properties=properties)]),
              Guest(lab, "off", [Nic(lab.path("off"), macs[2], properties=properties)])]
    for index, guest in enumerate(guests):
        guest.ready().address(f"10.8.0.{index + 1}/24")
    for index, (name, reports) in enumerate((("near", True), ("off", False)), start=1):
        guest, session = guests[index], switch.port(name)["session"]
        ping(guest, "10.8.0.1", count=2)
        transfer(guest, f"10.8.0.{index + 1}", guests[0], 1)
        transfer(guests[0], "10.8.0.1", guest, 1)
        expect(("HASH_REPORT" in session["features"]) == reports == (HASH_REPORT in read_features(guest)), f"{name}: {session}")
        expect("RSS" not in session["features"] and RSS not in read_features(guest), f"{name}: {session}")
        expect(session["steering"] == "automatic" and session["hash_types"] == [], f"{name}: {session}")
    end_well(switch)


main()
