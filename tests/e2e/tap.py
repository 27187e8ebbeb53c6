#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The host's kernel as a port: TAP interfaces in network namespaces of their own, and a peer that takes no offloads."""
import hashlib
import os
import re
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.hosts import PEER, Host  # noqa: E402
from guest.front import TX, Front, mac, raw  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.packets import UDP, Packet, TcpSink  # noqa: E402
from guest.uplink import CLIENT, MIB, no_losses, transfer  # noqa: E402

GUEST_CSUM = 1 << 1

DATAGRAMS = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
if int(sys.argv[3]): s.setsockopt(17, 103, int(sys.argv[3]))  # SOL_UDP, UDP_SEGMENT
s.sendto(bytes(i & 255 for i in range(int(sys.argv[2]))), (sys.argv[1], 5000))
"""


def start(lab, queues=1, mtu=None, peer=False, options=(), keys=""):
    """(switch, host, host): two hosts whose interfaces are ports of the switch."""
    if os.geteuid():
        raise Skip("only root may make interfaces")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")
    tail = f",queues={queues}" + (f",mtu={mtu}" if mtu else "") + keys
    specs = [f"tap:left0,name=left{tail}", f"tap:right0,name=right{tail}"]
    if peer:
        specs.append(f"vhost-user:{lab.path('peer')},name=peer")
    switch = WrappedSwitch(lab, QUIET_NETWORK, specs, options)
    hosts = [Host(lab, name) for name in ("left", "right")]
    for number, host in enumerate(hosts, 1):
        host.adopt(switch, f"{host.name}0", number)
    return (switch, *hosts)


@case_for({"": (1, ()), "_with_two_queues_and_workers": (2, ("--workers", "2"))}, "hosts_ping{}")
def hosts_ping(lab, queues, options):
    switch, left, right = start(lab, queues, options=options)
    session = switch.port("left")["session"]
    expect((session["driver"], session["interface"]) == ("tun", "left0"), f"what it is: {session}")
    expect(("multi_queue" in session["features"]) == (queues > 1) and "vnet_hdr" in session["features"], f"{session}")
    expect("driver tun, interface left0" in switch.ctl("port", "show", "left"), "for people")
    for host, number in ((left, 2), (right, 1)):
        host.ping(f"10.7.0.{number}")
        host.ping(f"10.7.0.{number}", payload=1400)
        host.ping(f"10.7.0.{number}", payload=20000)  # in fragments
    no_losses(switch, "left", "right")
    end_well(switch)


@case
def an_interfaces_mtu_follows_its_port(lab):
    if os.geteuid() or not os.path.exists("/dev/net/tun"):
        raise Skip("only root may make interfaces, of /dev/net/tun")
    switch = WrappedSwitch(lab, QUIET_NETWORK, ["tap:left0,name=left,mtu=1400"])
    inside = ["nsenter", "-t", str(switch.child.pid), "-n", "ip"]

    def mtu():
        return int(re.search(r" mtu (\d+) ", subprocess.run(inside + ["link", "show", "left0"], capture_output=True, text=True, check=True,
                                                            timeout=30).stdout)[1])
    expect(mtu() == 1400, "as at the start")
    for settings, then in (("mtu=1300", 1300), ("mtu=9000,rate-in=1G", 9000), ("mtu=", 9000)):
        switch.ctl("port", "set", "left", settings)
        expect(mtu() == then, f"{settings}: {mtu()}")
    expect(switch.port("left")["mtu"] is None, "none for the switch")
    subprocess.run(inside + ["link", "set", "left0", "name", "other0"], check=True, timeout=30)
    switch.ctl("port", "set", "left", "mtu=1200")  # the interface is known by what it is, not by what it was called
    done = switch.ctl_run("port", "set", "left", "mtu=65535")
    expect(done.returncode == 1 and "cannot set its MTU" in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
    expect(switch.port("left")["mtu"] == 1200, "as it was")
    end_well(switch)


@case
def a_host_sees_its_port_s_link(lab):
    switch, left, right = start(lab)

    def carrier():
        return "LOWER_UP" in left.run("ip", "link", "show", "left0")
    left.ping("10.7.0.2")
    expect(carrier(), "it has one")
    expect(switch.ask("port", "link", "left", "down")["told"], "it is told")
    expect(not carrier(), "its carrier is gone")
    right.ping("10.7.0.1", count=1, lost=True)
    expect(switch.port("left")["link"] == "down" and switch.port("left")["state"] == "up", "the port is there")
    expect(switch.ask("port", "link", "left", "up")["told"] and carrier(), "it is back")
    wait_until(lambda: "bytes from" in right.run("sh", "-c", "busybox ping -c 1 -W 2 10.7.0.1 || true"), 20, "pings pass again")
    end_well(switch)


@case
def frame_in_memory_that_its_guest_has_never_touched_reaches_the_host(lab):
    """The host's kernel does not have such pages made: write(2) fails with EFAULT until somebody has looked at them."""
    switch, _, _ = start(lab, peer=True)
    with Front(lab.path("peer")) as guest:
        tail = raw.GPA + 0x2000000  # further memory, all of it untouched
        fd = guest.peer.keep(os.memfd_create("sparse"))
        os.ftruncate(fd, MIB)
        expect(not guest.peer.ack(raw.ADD_MEM_REG, struct.pack("=5Q", 0, tail, MIB, tail, 0), [fd]), "region refused")
        head = bytes(12) + b"\xff" * 6 + mac(PEER) + b"\x88\xb5"
        for i in range(8):
            guest.peer.write(TX, head)
            guest.transmit_ring.chain([(raw.GPA + TX, len(head), 0), (tail + i * 8192 + 4000, 200, 0)], 2 * i)
            wait_until(lambda: guest.transmit_ring.used_now() == i + 1, 20, "the frame is taken", step=0.002)
        sent = sum(q["frames"] for q in switch.port("left")["queue_counters"] if q["direction"] == "tx")
        expect(sent >= 8, f"{sent} frames have gone to the host")
        memory = switch.port("peer")["memory"]
        expect(memory["made_max_bytes"] is None or memory["made_bytes"] >= 16 * 4096, f"{memory}")
    no_losses(switch, "left", "right")
    end_well(switch)


@case_for({f"{a}_{b}": (a, b) for a in ("on", "off") for b in ("on", "off")}, "tcp_between_hosts_with_offloads_{}")
def tcp_between_hosts(lab, of_left, of_right):
    switch, left, right = start(lab)
    left.offloads(of_left)
    right.offloads(of_right)
    for version in ("10.7.0.", "fd07::"):
        before = switch.port("left")
        transfer(lab, left, right, version + "2")
        after = switch.port("left")
        mean = (after["rx_bytes"] - before["rx_bytes"]) / (after["rx_frames"] - before["rx_frames"])
        expect((mean > 3000) == (of_left == "on"), f"frames of {mean:.0f} bytes in the mean, with offloads {of_left}")
        transfer(lab, right, left, version + "1")
    no_losses(switch, "left", "right")
    end_well(switch)


@case
def small_segments_become_large_ones(lab):
    """As they come from an uplink without offloads. A receiver that takes no large frames gets them cut again."""
    switch, left, right = start(lab)
    left.offloads("off")
    transfer(lab, left, right, "10.7.0.2")
    expect(switch.port("left")["counters"]["rx_merged"] == 0, "without gro nothing is merged")
    switch.ctl("port", "set", "left", "gro=on")
    for of_right in ("on", "off"):
        right.offloads(of_right)
        for address in ("10.7.0.2", "fd07::2"):
            before = switch.port("left")["counters"]["rx_merged"]
            transfer(lab, left, right, address, 4)
            merged = switch.port("left")["counters"]["rx_merged"] - before
            expect(merged > 0, f"{address}: nothing was merged")
    no_losses(switch, "left", "right")
    end_well(switch)


@case
def tcp_over_many_queues(lab):
    switch, left, right = start(lab, 4, options=("--workers", "2"))
    for _ in range(2):
        transfer(lab, left, right, "10.7.0.2")
        transfer(lab, right, left, "10.7.0.1")
    no_losses(switch, "left", "right")
    end_well(switch)


@case
def jumbo_frames_pass_in_one_piece(lab):
    switch, left, right = start(lab, mtu=9000)
    for host in (left, right):
        expect("mtu 9000" in host.run("ip", "link", "show", host.interface), "the interface has another MTU")
        host.offloads("off")
    before = switch.port("left")
    left.ping("10.7.0.2", payload=8972, count=5)
    after = switch.port("left")
    octets, frames = after["rx_bytes"] - before["rx_bytes"], after["rx_frames"] - before["rx_frames"]
    expect(octets >= 5 * 9014 and frames < 16, f"{octets} bytes in {frames} frames")
    for setting in ("off", "on"):
        left.offloads(setting)
        transfer(lab, left, right, "10.7.0.2")
        transfer(lab, right, left, "10.7.0.1")
    no_losses(switch, "left", "right")
    end_well(switch)


@case
def frames_above_the_mtu_of_a_port_are_counted(lab):
    """Not negotiated with anybody here: the sender's kernel is told of a larger MTU."""
    switch, left, right = start(lab, mtu=1400)
    left.run("ip", "link", "set", left.interface, "mtu", "1500")
    left.ping("10.7.0.2", payload=1372)
    drops = switch.port("right")["counters"]["tx_mtu"]
    expect(drops == 0, f"tx_mtu is {drops}, for frames that are just not too long")
    left.ping("10.7.0.2", payload=1373, count=2, lost=True)
    drops = switch.port("right")["counters"]["tx_mtu"]
    expect(drops == 2, f"tx_mtu is {drops}, for 2 frames that are too long")
    end_well(switch)


def with_peer(lab, features):
    switch, left, _ = start(lab, peer=True)
    front = Front(lab.path("peer"), features)
    left.knows_peer()
    return switch, left, front


@case_for({
    "ipv4": (f"10.7.0.{PEER}", raw.F_MRG_RXBUF), "ipv6": (f"fd07::{PEER}", raw.F_MRG_RXBUF),
    "ipv4_without_mrg_rxbuf": (f"10.7.0.{PEER}", 0), "ipv6_without_mrg_rxbuf": (f"fd07::{PEER}", 0),
}, "large_segments_are_cut_for_a_peer_without_offloads_{}")
def large_segments_are_cut(lab, address, features):
    switch, left, front = with_peer(lab, features)
    sink = TcpSink(front.send, 1514, 1440 if ":" in address else 1460)
    client = lab.start(left.argv(sys.executable, "-c", CLIENT, address, str(4 * MIB)), stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 40
    while not sink.finished:
        expect(time.monotonic() < end and client.poll() is None, f"after {sink.bytes} bytes nothing comes any more")
        sink.take(front.receive(0.5))
    sent = client.stdout.readline().strip()
    port = switch.port("peer")
    print(f"     {sink.bytes} bytes in {sink.frames} frames, the longest {sink.longest}; {port['counters']['tx_segmented']} were cut")
    expect(sent == sink.digest.hexdigest(), f"sent {sent}, received {sink.digest.hexdigest()}")
    expect(port["counters"]["tx_segmented"] > 50, f"tx_segmented is {port['counters']['tx_segmented']}")
    expect(sink.longest == 1514, f"the longest frame has {sink.longest} bytes")
    expect(port["counters"]["tx_lost"] == 0, f"{port['queue_counters']}")
    front.close()
    no_losses(switch, "left", "peer")
    end_well(switch)


@case_for({
    "one_ipv4": (f"10.7.0.{PEER}", 1000, 0, 0), "one_ipv6": (f"fd07::{PEER}", 1001, 0, 0),
    "gso_ipv4": (f"10.7.0.{PEER}", 20500, 1000, 0), "gso_ipv6": (f"fd07::{PEER}", 20500, 999, 0),
    "gso_ipv4_csum_agreed": (f"10.7.0.{PEER}", 20500, 1000, GUEST_CSUM),
}, "datagrams_reach_a_peer_without_offloads_whole_{}")
def datagrams_reach_a_peer(lab, address, size, segment, features):
    switch, left, front = with_peer(lab, raw.F_MRG_RXBUF | features)
    try:
        left.run(sys.executable, "-c", DATAGRAMS, address, str(size), str(segment))
    except Exception as error:
        raise Skip(f"this kernel cannot send it: {error}") from None
    payload, end = b"", time.monotonic() + 30
    while len(payload) < size:
        expect(time.monotonic() < end, f"{len(payload)} of {size} bytes came")
        for header, frame in front.receive(0.2):
            if features and header[0] & 1:
                complete_checksum_is_left_open(header, frame)
                payload += frame[42:]
                continue
            packet = Packet(header, frame, 1514)
            if packet.protocol == UDP:
                expect(not segment or len(packet.payload) in (segment, size % segment), f"{len(packet.payload)} bytes in one")
                payload += packet.payload
    expect(hashlib.sha256(payload).digest() == hashlib.sha256(bytes(i & 255 for i in range(size))).digest(), "other bytes")
    print(f"     {switch.port('peer')['counters']['tx_segmented']} frames were cut by the switch")
    front.close()
    no_losses(switch, "left", "peer")
    end_well(switch)


def complete_checksum_is_left_open(header, frame):
    """The header says where the checksum is to go (virtio 1.3, 5.1.6.2): that of UDP over IPv4."""
    start, offset = int.from_bytes(header[6:8], "little"), int.from_bytes(header[8:10], "little")
    expect((start, offset, header[1]) == (34, 6, 0), f"virtio-net header {header.hex()}")


if __name__ == "__main__":
    main()
