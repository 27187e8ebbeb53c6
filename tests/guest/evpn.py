# SPDX-License-Identifier: BSD-3-Clause
"""Hosts of an EVPN on one machine: each is a network namespace with FRR's zebra and bgpd, a bridge with a VXLAN device, and a switch whose
uplink is a port of that bridge. As docs/multi-host.md says, with the files of examples/evpn/."""
import os
import shutil
import subprocess

from .cases import Skip
from .daemon import WrappedSwitch
from .hosts import Host
from .lab import wait_until
from .switch import ROOT

EXAMPLE = os.path.join(ROOT, "examples", "evpn")
FRR = "/usr/lib/frr"
FRR_S = 60


def available():
    """Raises Skip, which says what is missing."""
    if os.geteuid():
        raise Skip("only root may make network namespaces and interfaces")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")
    for path in (f"{FRR}/zebra", f"{FRR}/bgpd"):
        if not os.access(path, os.X_OK):
            raise Skip("FRR (package frr) is not installed")
    for name in ("vtysh", "bridge"):
        if not shutil.which(name):
            raise Skip(f"{name} is not installed")
    done = subprocess.run(["unshare", "-n", "sh", "-c", "ip link add br0 type bridge && ip link add vxlan0 type vxlan id 1 dstport 4789 local 127.0.0.1"],
                          capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise Skip(f"this kernel has no bridge or no VXLAN device: {done.stderr.strip()}")


class EvpnHost(Host):
    """`number`: 1 or 2; the other one's is what is left."""

    def __init__(self, lab, name, number):
        super().__init__(lab, name)
        self.self_address, self.peer_address = f"192.0.2.{number}", f"192.0.2.{3 - number}"
        self.folder = lab.path(f"{name}.frr")
        os.mkdir(self.folder)
        shutil.chown(self.folder, "frr", "frr")  # whom its daemons become
        os.chmod(lab.folder, 0o711)

    def network(self):
        """What the host has when the cable to the other one is in."""
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "addr", "add", f"{self.self_address}/24", "dev", "under0")
        self.run("ip", "link", "set", "under0", "up")
        self.run(f"{EXAMPLE}/host", self.self_address)

    def engine(self):
        """FRR's daemons, with sockets and files of their own."""
        for daemon in ("zebra", "bgpd"):
            with open(f"{EXAMPLE}/{daemon}.conf") as example, open(f"{self.folder}/{daemon}.conf", "w") as conf:
                conf.write(example.read().replace("SELF", self.self_address).replace("PEER", self.peer_address))
            child = self.lab.start(self.argv(
                f"{FRR}/{daemon}", "-f", f"{self.folder}/{daemon}.conf", "-i", f"{self.folder}/{daemon}.pid",
                "-z", f"{self.folder}/zserv.api", "--vty_socket", self.folder), log=f"{self.name}.{daemon}.log")
            wait_until(lambda: os.path.exists(f"{self.folder}/{daemon}.vty"), FRR_S, f"{daemon} runs", child=child)

    def asks(self, command):
        """What FRR says."""
        done = subprocess.run(self.argv("vtysh", "--vty_socket", self.folder, "-c", command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=20)
        return done.stdout

    def told_of_peer(self):
        """BGP has come to the other host, and brought what floods: its VXLAN end."""
        return self.peer_address in self.run("bridge", "fdb", "show", "dev", "vxlan0")

    def serve(self, ports):
        """A switch with these ports and an uplink to the bridge."""
        self.switch = WrappedSwitch(self.lab, self.argv(), ["tap:uplink0,name=uplink,role=uplink,mtu=1450,learning-sync=on", *ports],
                                    name=f"{self.name}-switch")
        self.run("ip", "link", "set", "dev", "uplink0", "master", "br0")
        wait_until(lambda: self.synced()["bridge"] == "br0", 30, "the switch tells the bridge")

    def synced(self):
        return self.switch.port("uplink")["learning_sync"]

    def here(self, mac):
        """The bridge has this address behind the switch."""
        return f"{mac} extern_learn" in self.run("bridge", "fdb", "show", "dev", "uplink0")

    def there(self, mac):
        """FRR has told the kernel that this address is behind the other host."""
        return f"{mac} dst {self.peer_address}" in self.run("bridge", "fdb", "show", "dev", "vxlan0")


def fabric(lab, names=("west", "east")):
    """Two hosts, connected, whose FRR knows the other one's."""
    hosts = [EvpnHost(lab, name, number) for number, name in enumerate(names, 1)]
    subprocess.run(["ip", "link", "add", "under0", "netns", str(hosts[0].holder.pid), "type", "veth", "peer", "name", "under0", "netns",
                    str(hosts[1].holder.pid)], check=True, timeout=20)
    for host in hosts:
        host.network()
    for host in hosts:
        host.engine()
    wait_until(lambda: all(host.told_of_peer() for host in hosts), FRR_S, "the hosts know each other by BGP")
    return hosts
