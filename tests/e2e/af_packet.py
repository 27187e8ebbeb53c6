#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces that the host has as ports, by packet sockets: one end of veth pairs whose other ends are hosts. What tap.py asks of TAP interfaces."""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.hosts import Host  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.uplink import no_losses, transfer  # noqa: E402

NAMES = ("left", "right")


def start(lab, queues=1, mtu=1500, keys="", options=()):
    """(switch, host, host): NAME0 is a host's end of a pair, NAME1 the switch's port."""
    if os.geteuid():
        raise Skip("only root may make interfaces")
    pairs = "".join(f"ip link add {name}0 mtu {mtu} type veth peer name {name}1 mtu {mtu} && ip link set {name}1 up && " for name in NAMES)
    if subprocess.run(["unshare", "-n", "sh", "-c", pairs + ":"], capture_output=True).returncode:
        raise Skip("this kernel has no veth pairs")
    wrap = [*QUIET_NETWORK[:-1], QUIET_NETWORK[-1].replace("exec", pairs + "exec")]
    switch = WrappedSwitch(lab, wrap, [f"af_packet:{name}1,name={name},queues={queues}{keys}" for name in NAMES], options)
    hosts = [Host(lab, name) for name in NAMES]
    for number, host in enumerate(hosts, 1):
        host.adopt(switch, f"{host.name}0", number)
    return (switch, *hosts)


def inside(switch, *words):
    return subprocess.run(["nsenter", "-t", str(switch.child.pid), "-n", *words], check=True, capture_output=True, text=True, timeout=10)


def ether(text):
    return re.search(r"link/ether (\S+)", text)[1]


def received(text):
    return int(re.search(r"RX:.*\n *\d+ +(\d+)", text)[1])


@case_for({"": (1, ()), "_with_two_queues_and_workers": (2, ("--workers", "2"))}, "hosts_ping{}")
def hosts_ping(lab, queues, options):
    switch, left, right = start(lab, queues, options=options)
    port = switch.port("left")
    expect(port["session"] == {"driver": "af_packet", "interface": "left1"} and port["state"] == "up", f"what it is: {port}")
    for host, number in ((left, 2), (right, 1)):
        host.ping(f"10.7.0.{number}")
        host.ping(f"10.7.0.{number}", payload=1400)
        host.ping(f"10.7.0.{number}", payload=20000)  # in fragments
    no_losses(switch, *NAMES)
    end_well(switch)


@case_for({"on": ("on",), "off": ("off",)}, "tcp_between_hosts_with_offloads_{}")
def tcp_between_hosts(lab, setting):
    switch, left, right = start(lab)
    left.offloads(setting)
    right.offloads(setting)
    for version in ("10.7.0.", "fd07::"):
        before = switch.port("left")
        transfer(lab, left, right, version + "2", 4)
        after = switch.port("left")
        mean = (after["rx_bytes"] - before["rx_bytes"]) / (after["rx_frames"] - before["rx_frames"])
        expect((mean > 3000) == (setting == "on"), f"frames of {mean:.0f} bytes in the mean, with offloads {setting}")
        transfer(lab, right, left, version + "1", 4)
    no_losses(switch, *NAMES)
    end_well(switch)


@case
def tcp_over_many_queues(lab):
    switch, left, right = start(lab, 4, options=("--workers", "2"))
    transfer(lab, left, right, "10.7.0.2", 4)
    transfer(lab, right, left, "10.7.0.1", 4)
    no_losses(switch, *NAMES)
    end_well(switch)


@case
def jumbo_frames_pass_in_one_piece(lab):
    switch, left, right = start(lab, mtu=9000)
    for host in (left, right):
        host.offloads("off")
    before = switch.port("left")
    left.ping("10.7.0.2", payload=8972, count=5)
    after = switch.port("left")
    octets, frames = after["rx_bytes"] - before["rx_bytes"], after["rx_frames"] - before["rx_frames"]
    expect(octets >= 5 * 9014 and frames < 16, f"{octets} bytes in {frames} frames")
    no_losses(switch, *NAMES)
    end_well(switch)


@case
def a_frame_that_is_too_long_for_the_interface_is_counted(lab):
    switch, left, _ = start(lab, mtu=9000)
    inside(switch, "ip", "link", "set", "right1", "mtu", "1400")
    left.offloads("off")
    left.ping("10.7.0.2", payload=1372)
    left.ping("10.7.0.2", payload=3000, count=2, lost=True)
    refused = sum(queue["too_long"] for queue in switch.port("right")["queue_counters"] if queue["direction"] == "tx")
    expect(refused == 2, f"{refused} of 2 frames are counted as too long")
    end_well(switch)


# Sends a frame with a tag of VLAN 10 each 50 ms, if it has been given one, and else without; prints the tag of the first frame of type 0x88b5 that comes.
TALKER = """
import select, socket, struct, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind((sys.argv[1], 0)); s.setsockopt(263, 8, 1)  # PACKET_AUXDATA
mine, other = (bytes.fromhex(word) for word in sys.argv[2:4])
frame = other + mine + bytes.fromhex(sys.argv[4]) + bytes.fromhex("88b5") + bytes(50)
while True:
    s.send(frame)
    while select.select([s], [], [], 0.05)[0]:
        data, more, _, address = s.recvmsg(2048, 256)
        if address[1] != 0x88b5 or address[2] == 4: continue  # its own
        status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", more[0][2][:20])
        print("tag %04x %d" % (tpid, tci & 4095) if status & 16 else "no tag", data[6:12].hex(), flush=True)
        s.setblocking(False)
"""


@case
def a_tag_that_the_interface_has_taken_out_is_in_its_frame_again(lab):
    """One port is a trunk, the other is in VLAN 10: tags go and come on the way. The kernel takes tags out of what veth brings."""
    switch, left, right = start(lab, keys=",trunk=all")
    switch.ctl("port", "set", "right", "trunk=,vlan=10")
    addresses = [ether(host.run("ip", "link", "show", f"{host.name}0")).replace(":", "") for host in (left, right)]
    talkers = [lab.start(host.argv(sys.executable, "-c", TALKER, f"{host.name}0", mine, other, tag), stdout=subprocess.PIPE, text=True)
               for host, mine, other, tag in ((left, *addresses, "8100600a"), (right, *reversed(addresses), ""))]
    heard = [talker.stdout.readline().split() for talker in talkers]
    expect(heard == [["tag", "8100", "10", addresses[1]], ["no", "tag", addresses[0]]], f"{heard}")
    places = {(entry["mac"].replace(":", ""), entry["vlan"], entry["port"]) for entry in switch.ask("fdb", "show")["entries"]}
    expect(places >= {(addresses[0], 10, "left"), (addresses[1], 10, "right")}, f"learned: {places}")
    for talker in talkers:
        lab.kill(talker)
        talker.stdout.close()
    no_losses(switch, *NAMES)
    end_well(switch)


@case
def what_the_interface_sends_does_not_come_in(lab):
    """A frame of the host's own goes out of the interface, and is no frame from there."""
    switch, left, _ = start(lab)
    inside(switch, "ip", "addr", "add", "10.9.0.1/24", "dev", "left1")
    own = ether(inside(switch, "ip", "link", "show", "left1").stdout)
    before = received(left.run("ip", "-s", "link", "show", "left0"))
    inside(switch, "sh", "-c", "busybox ping -c 3 -i 0.1 -W 1 10.9.0.77 || true")  # asks who has that address
    expect(received(left.run("ip", "-s", "link", "show", "left0")) > before, "nothing went out")
    left.ping("10.7.0.2")  # what comes after it has come
    expect(own not in [entry["mac"] for entry in switch.ask("fdb", "show")["entries"]], "the host's own frames have come in")
    end_well(switch)


@case
def an_interface_goes_down_and_up_and_goes_away(lab):
    switch, left, right = start(lab)
    left.ping("10.7.0.2")
    inside(switch, "ip", "link", "set", "right1", "down")
    wait_until(lambda: switch.port("right")["state"] == "down", 10, "it is down")
    left.ping("10.7.0.2", count=1, lost=True)
    refused = sum(queue["disabled"] for queue in switch.port("right")["queue_counters"])
    expect(refused >= 1, "what is sent to it is counted")
    inside(switch, "ip", "link", "set", "right1", "up")
    wait_until(lambda: switch.port("right")["state"] == "up", 10, "it is up")
    wait_until(lambda: "bytes from" in left.run("sh", "-c", "busybox ping -c 1 -W 2 10.7.0.2 || true"), 20, "pings pass again")
    inside(switch, "ip", "link", "del", "right1")
    wait_until(lambda: switch.port("right")["state"] == "failed", 10, "it is gone")
    expect(switch.port("right")["session"] is None, "it is gone")
    left.ping("10.7.0.2", count=2, lost=True)
    wait_until(lambda: open(switch.child.log).read().count("the interface is gone") == 1, 10, "one line says so")
    switch.ctl("port", "remove", "right")
    done = switch.ctl_run("port", "add", "af_packet:right1,name=right")
    expect(done.returncode == 1 and "there is no such interface here" in done.stderr, f"{done}")
    done = switch.ctl_run("port", "add", "af_packet:left1,name=again")
    expect(done.returncode == 1 and len(done.stderr.splitlines()) == 1, f"two ports of one interface: {done}")
    end_well(switch)


if __name__ == "__main__":
    main()
