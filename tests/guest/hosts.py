# SPDX-License-Identifier: BSD-3-Clause
"""Hosts in network namespaces of their own, whose interfaces are ports of a switch."""
import os
import re
import subprocess

from .cases import expect, need_program
from .front import mac
from .lab import wait_until

PEER = 9


class Host:
    """A network namespace. It lives as long as its process."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.holder = lab.start(["unshare", "-n", "sleep", "1000"])
        mine = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != mine, 20, "a namespace", step=0.01)

    def argv(self, *words):
        return ["nsenter", "-t", str(self.holder.pid), "-n", *words]

    def run(self, *words, seconds=60):
        done = subprocess.run(self.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)
        expect(done.returncode == 0, f"{self.name}: {' '.join(words)[:100]}: {done.stdout.strip()}")
        return done.stdout

    def adopt(self, switch, interface, number):
        """Takes an interface out of the switch's namespace, and gives it the addresses of `number`."""
        subprocess.run(["nsenter", "-t", str(switch.child.pid), "-n", "ip", "link", "set", interface, "netns",
                        str(self.holder.pid)], check=True, timeout=30)
        self.interface = interface
        self.run("ip", "addr", "add", f"10.7.0.{number}/24", "dev", interface)
        self.run("ip", "-6", "addr", "add", f"fd07::{number}/64", "dev", interface, "nodad")
        self.run("ip", "link", "set", interface, "up")

    def knows_peer(self):
        for address in (f"10.7.0.{PEER}", f"fd07::{PEER}"):
            self.run("ip", "neigh", "replace", address, "lladdr", mac(PEER).hex(":"), "nud", "permanent", "dev", self.interface)

    def offloads(self, setting):
        need_program("ethtool")
        self.run("ethtool", "-K", self.interface, "tx", setting, "sg", setting, "tso", setting, "gso", setting, "gro", setting)

    def ping(self, address, payload=56, count=3, lost=False):
        need_program("busybox")
        text = self.run("sh", "-c", f"busybox ping -c {count} -i 0.1 -W {1 if lost else 20} -s {payload} {address} || true")
        received = re.search(r"(\d+) packets received", text)
        expect(received and int(received.group(1)) == (0 if lost else count), text)
