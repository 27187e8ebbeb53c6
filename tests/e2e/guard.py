#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The host's own kernel tries to speak for others: through TAP ports with guards and limits, from network namespaces."""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.hosts import Host  # noqa: E402
from guest.lab import wait_until  # noqa: E402

GUARD = "ip=10.7.0.1+fd07::1+fe80::/10,dhcp-guard=on,ra-guard=on"

# A frame as it is, by a packet socket: what the kernel itself would not send.
RAW = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for frame in sys.argv[2:]: s.send(bytes.fromhex(frame))
"""


def start(lab, keys):
    """(switch, left, right, third): left's port has the keys."""
    if os.geteuid():
        raise Skip("only root may make interfaces")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")
    switch = WrappedSwitch(lab, QUIET_NETWORK, [f"tap:left0,name=left,{keys}", "tap:right0,name=right", "tap:third0,name=third"])
    hosts = [Host(lab, name) for name in ("left", "right", "third")]
    for number, host in enumerate(hosts, 1):
        host.adopt(switch, f"{host.name}0", number)
    return (switch, *hosts)


def counter(switch, name):
    return switch.port("left")["counters"][name]


def refused(switch, reason, act):
    """The act has frames refused for this reason; on a machine that is busy, if need be when it is done again."""
    before = counter(switch, reason)

    def done():
        act()
        return counter(switch, reason) > before
    wait_until(done, 20, f"{reason}: nothing is counted")


def neighbours(host):
    return host.run("ip", "neigh", "show", "dev", host.interface)


def link_address(host):
    return re.search(r"link/ether (\S+)", host.run("ip", "link", "show", host.interface))[1]


@case
def the_kernel_speaks_for_no_address_but_its_own(lab):
    switch, left, right, _ = start(lab, GUARD)
    left.ping("10.7.0.2")
    left.ping("fd07::2")
    right.ping("10.7.0.1")
    before = neighbours(right)
    # It takes its neighbour's addresses as well, and says so as soon as it has something to send.
    left.run("ip", "addr", "add", "10.7.0.66/24", "dev", "left0")
    left.run("ip", "-6", "addr", "add", "fd07::66/64", "dev", "left0", "nodad")
    refused(switch, "rx_spoofed_ip", lambda: left.run("sh", "-c", "for from in 1 66; do busybox ping -c 1 -W 1 -I 10.7.0.$from 10.7.0.2; done || true"))
    left.run("ip", "neigh", "flush", "dev", "left0")
    refused(switch, "rx_spoofed_arp", lambda: left.run("sh", "-c", "busybox ping -c 1 -W 1 -I 10.7.0.66 10.7.0.2 || true"))
    refused(switch, "rx_spoofed_arp", lambda: left.run("sh", "-c", "busybox arping -A -c 2 -I left0 10.7.0.66 || true"))
    # And is asked for them.
    right.run("sh", "-c", "busybox ping -c 1 -W 1 10.7.0.66 || true")
    refused(switch, "rx_spoofed_ip", lambda: right.run("sh", "-c", "busybox ping -c 1 -W 1 fd07::66 || true"))
    expect(link_address(left) not in "".join(line for line in neighbours(right).splitlines() if "66" in line.split()[0][-2:]),
           f"right believes left: {before} / {neighbours(right)}")
    left.ping("10.7.0.2")
    end_well(switch)


@case
def what_the_kernel_would_not_send_is_refused_too(lab):
    switch, left, _, _ = start(lab, GUARD)
    head = "ffffffffffff" + link_address(left).replace(":", "")
    offer = head + "0800" + "4500002400000000401100000a070001ffffffff" + "0043004400100000" + "00" * 8
    advertisement = ("333300000001" + head[12:] + "86dd" + "6000000000103aff" + "fe80" + "00" * 13 + "01" + "ff02" + "00" * 13 + "01"
                     + "86000000400007080000000000000000")
    neighbour = ("333300000001" + head[12:] + "86dd" + "6000000000203aff" + "fe80" + "00" * 13 + "01" + "ff02" + "00" * 13 + "01"
                 + "8800000020000000" + "fd07" + "00" * 12 + "0066" + "0201" + head[12:])
    send = [sys.executable, "-c", RAW, "left0"]
    refused(switch, "rx_dhcp_server", lambda: left.run(*send, offer))
    refused(switch, "rx_router", lambda: left.run(*send, advertisement))
    refused(switch, "rx_spoofed_nd", lambda: left.run(*send, neighbour))
    refused(switch, "rx_unreadable", lambda: left.run(*send, head + "81000005" * 4 + "0806" + "00" * 40))
    reply = "0806" + "0001080006040002" + head[12:] + "0a070042" + "ffffffffffff" + "0a070002"
    for tags in ("", "81000005", "88a80005" + "81000006"):
        refused(switch, "rx_spoofed_arp", lambda: left.run(*send, head + tags + reply))
    left.ping("10.7.0.2")
    end_well(switch)


@case
def a_broadcast_storm_is_cut_off_and_pings_go_on(lab):
    switch, left, right, third = start(lab, "storm-broadcast=20/20")
    frame = "ffffffffffff" + link_address(left).replace(":", "") + "88b5" + "00" * 46
    for_ever = RAW.replace("for frame in sys.argv[2:]:", "while frame := sys.argv[2]:")
    storm = lab.start(left.argv(sys.executable, "-c", for_ever, "left0", frame))
    wait_until(lambda: counter(switch, "rx_storm_broadcast") > 1000, 20, "no storm is counted")
    right.ping("10.7.0.3", count=10)
    third.ping("10.7.0.2", count=10)
    lab.kill(storm)
    got = switch.port("right")["counters"]["tx_frames"]
    expect(got < counter(switch, "rx_storm_broadcast"), f"{got} frames came through")
    end_well(switch)


if __name__ == "__main__":
    main()
