#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The host's own kernel as members of groups, as who asks for them, and, with a bridge of its own, as who judges who gets what."""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.hosts import Host  # noqa: E402
from guest.lab import wait_until  # noqa: E402

GROUPS = ["239.7.0.1", "ff05::7"]
PORT = 7777

# Is a member of the groups, until it is killed.
MEMBER = """
import socket, struct, sys, time
index = socket.if_nametoindex(sys.argv[1])
four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(sys.argv[2]) + struct.pack("=4xI", index))
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, sys.argv[3]) + struct.pack("=I", index))
time.sleep(1000)
"""

# Writes down which families' datagrams come to the interface, for whomever they are.
WATCH = """
import os, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
s.bind((sys.argv[1], 0))
out = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(out, b"ready ")
while True:
    try: frame, where = s.recvfrom(2048)
    except OSError: continue  # the interface was down for a moment
    if where[2] == 4: continue  # its own
    if frame[12:14] == bytes.fromhex("0800") and frame[23] == 17: os.write(out, frame[42:50] + b"4 ")
    if frame[12:14] == bytes.fromhex("86dd") and frame[20] == 17: os.write(out, frame[62:70] + b"6 ")
"""

SEND = """
import socket, sys
index = socket.if_nametoindex(sys.argv[1])
four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
four.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("0.0.0.0") * 2 + index.to_bytes(4, sys.byteorder))
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
four.sendto(sys.argv[4].encode(), (sys.argv[2], 7777))
six.sendto(sys.argv[4].encode(), (sys.argv[3], 7777))
"""


def need_root():
    if os.geteuid():
        raise Skip("only root may make interfaces")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")


class Watched(Host):
    def watch(self):
        self.seen_at = self.lab.path(f"{self.name}.seen")
        self.lab.start(self.argv(sys.executable, "-c", WATCH, self.interface, self.seen_at))
        wait_until(lambda: os.path.exists(self.seen_at) and self.seen(), 20, f"{self.name} watches")

    def seen(self):
        with open(self.seen_at, encoding="ascii") as log:
            return log.read().split()

    def join(self):
        return self.lab.start(self.argv(sys.executable, "-c", MEMBER, self.interface, *GROUPS))


def hosts_of(lab, before):
    return [Watched(lab, before + name) for name in ("left", "right", "third")]


def start(lab, *options):
    need_root()
    switch = WrappedSwitch(lab, QUIET_NETWORK, [f"tap:{name}0,name={name}" for name in ("left", "right", "third")],
                           ["--mcast-snooping", "on", *options])
    hosts = hosts_of(lab, "")
    for number, host in enumerate(hosts, 1):
        host.adopt(switch, f"{host.name}0", number)
        host.watch()
    return (switch, *hosts)


ROUND = iter(range(10 ** 7, 10 ** 8))  # eight characters each


def who_gets(sender, hosts):
    """The hosts' names, with the families in which a datagram each from the sender has come to them. A broadcast comes after both, and
    to all: when it has come, whatever will come has."""
    tag, end = next(ROUND), next(ROUND)
    sender.run(sys.executable, "-c", SEND, sender.interface, *GROUPS, str(tag))
    sender.run(sys.executable, "-c", "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
               "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.sendto(sys.argv[1].encode(), ('10.7.0.255', 7777))", str(end))
    others = [host for host in hosts if host is not sender]
    for host in others:
        wait_until(lambda h=host: f"{end}4" in h.seen(), 20, f"{host.name}: the broadcast")
    return {(host.name.replace("judge_", ""), family) for host in others for family in "46" if f"{tag}{family}" in host.seen()}


def goes_to(sender, hosts, wanted):
    last = []

    def does():
        last[:] = sorted(who_gets(sender, hosts))
        return set(last) == wanted
    try:
        wait_until(does, 30, "")
    except Exception as failed:
        raise AssertionError(f"{sorted(wanted)} should get it: {last}") from failed


def members(switch, port):
    return sorted(entry["group"] for entry in switch.ask("mdb", "show")["members"] if entry["port"] == port and entry["group"] in GROUPS)


@case
def the_kernels_members_get_their_groups_and_others_do_not(lab):
    switch, left, right, third = start(lab, "--mcast-querier", "on", "--mcast-interval", "2")
    hosts = [left, right, third]
    member = left.join()
    wait_until(lambda: members(switch, "left") == sorted(GROUPS), 20, "left is a member of both groups")
    goes_to(right, hosts, {("left", "4"), ("left", "6")})
    second = third.join()
    wait_until(lambda: members(switch, "third") == sorted(GROUPS), 20, "third is a member, too")
    goes_to(right, hosts, {("left", "4"), ("left", "6"), ("third", "4"), ("third", "6")})
    text = switch.ctl("mdb", "show")
    expect("239.7.0.1" in text and "ff05::7" in text and "this switch" in text, text)
    lab.kill(second)
    wait_until(lambda: not members(switch, "third"), 20, "third has left, and did not answer when it was asked")
    goes_to(right, hosts, {("left", "4"), ("left", "6")})
    lab.kill(member)
    end_well(switch)


@case
def the_kernel_asks_and_its_port_is_a_router(lab):
    switch, left, right, third = start(lab)
    shown = switch.ask("mdb", "show")
    expect(not any(querier["filters"] for querier in shown["queriers"]), f"nobody asks: {shown['queriers']}")
    left.join()
    third.run("sh", "-c", "ip addr flush dev third0; ip link add br0 type bridge mcast_snooping 1 mcast_querier 1 "
              "mcast_query_response_interval 100 mcast_startup_query_interval 100 && "
              "echo 0 >/proc/sys/net/ipv6/conf/br0/accept_dad && ip link set third0 master br0 && ip link set br0 up")

    def asks():
        now = switch.ask("mdb", "show")
        routers = {router["family"] for router in now["routers"] if router["port"] == "third"}
        return routers == {"ipv4", "ipv6"} and sum(querier["filters"] for querier in now["queriers"]) == 2
    wait_until(asks, 30, "third is a router, and who is a member is known")
    wait_until(lambda: members(switch, "left") == sorted(GROUPS), 20, "left has answered")
    # A group that nobody has asked for goes to all; left's goes to it and to the router.
    goes_to(right, [left, right, third], {("left", "4"), ("left", "6"), ("third", "4"), ("third", "6")})
    goes_to(third_in_bridge(third), [left, right, third], {("left", "4"), ("left", "6")})
    end_well(switch)


def third_in_bridge(third):
    """It speaks by its bridge from now on, and what comes is seen on the port below."""
    third.run("ip", "addr", "add", "10.7.0.3/24", "dev", "br0")
    third.run("ip", "-6", "addr", "add", "fd07::3/64", "dev", "br0", "nodad")
    third.interface = "br0"
    return third


@case
def the_kernels_bridge_gives_each_the_same(lab):
    """The same hosts, the same groups, at a bridge of the kernel's: who gets what is the same."""
    switch, left, right, third = start(lab, "--mcast-querier", "on", "--mcast-interval", "2")
    bridge = Host(lab, "bridge")
    made = subprocess.run(bridge.argv("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "1", "mcast_querier", "1",
                                      "mcast_query_response_interval", "100", "mcast_startup_query_interval", "100", "mcast_query_interval", "200"),
                          stderr=subprocess.PIPE, text=True, timeout=20)
    if made.returncode:
        raise Skip(f"the kernel has no such bridge: {made.stderr.strip()}")
    bridge.run("ip", "link", "set", "br0", "up")
    judged = hosts_of(lab, "judge_")
    for number, host in enumerate(judged, 1):
        bridge.run("ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", f"host{number}")
        bridge.run("ip", "link", "set", f"host{number}", "netns", str(host.holder.pid))
        bridge.run("ip", "link", "set", f"port{number}", "master", "br0", "up")
        host.interface = f"host{number}"
        host.run("ip", "addr", "add", f"10.7.0.{number}/24", "dev", host.interface)
        host.run("ip", "-6", "addr", "add", f"fd07::{number}/64", "dev", host.interface, "nodad")
        host.run("ip", "link", "set", host.interface, "up")
        host.watch()
    for host in (left, judged[0]):
        host.join()
    for sender in (1, 2):
        for hosts in (judged, [left, right, third]):
            goes_to(hosts[sender], hosts, {("left", "4"), ("left", "6")})
    for hosts in (judged, [left, right, third]):
        goes_to(hosts[0], hosts, set())
    end_well(switch)


if __name__ == "__main__":
    main()
