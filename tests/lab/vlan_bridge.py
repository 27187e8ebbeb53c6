#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel's VLAN-aware bridge makes of frames: runs inside a guest of the lab, as root.

Reads one line of JSON: {"ports": [{"vlan": N or null, "trunk": [N...]}...], "rounds": [[[port, frame in hex]...]...]}. Prints
for each round a list with, for each port, what came out there, in order.
"""
import fcntl
import json
import os
import select
import struct
import subprocess
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
QUIET_S = 0.5  # nothing more comes


def sh(command):
    subprocess.run(command, shell=True, check=True)


def port(index, rule):
    name = f"p{index}"
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    sh(f"ip link set {name} master br0 up && bridge vlan del dev {name} vid 1")
    if rule["vlan"]:
        tagged = "" if rule["vlan"] in rule["trunk"] else "untagged"
        sh(f"bridge vlan add dev {name} vid {rule['vlan']} pvid {tagged}")
    for vlan in rule["trunk"]:
        if vlan != rule["vlan"]:
            sh(f"bridge vlan add dev {name} vid {vlan}")
    return fd


def drain(fds):
    came = [[] for _ in fds]
    while True:
        ready = select.select(fds, [], [], QUIET_S)[0]
        if not ready:
            return came
        for fd in ready:
            came[fds.index(fd)].append(os.read(fd, 4096).hex())


def main():
    work = json.loads(sys.stdin.readline())
    sh("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")
    sh("ip link add br0 type bridge vlan_filtering 1 vlan_default_pvid 1 mcast_snooping 0 stp_state 0 && ip link set br0 up")
    fds = [port(index, rule) for index, rule in enumerate(work["ports"])]
    drain(fds)
    result = []
    for frames in work["rounds"]:
        for index, frame in frames:
            os.write(fds[index], bytes.fromhex(frame))
        result.append(drain(fds))
    print(json.dumps(result))


main()
