# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd with virtio-user ports: a second, independent driver, without a guest."""
import os
import re
import subprocess
import time

from .lab import wait_until

START_S = 60


def virtio_user(index, path, mac, queues=1, queue_size=1024, **parameters):
    """A --vdev argument. Parameters as in DPDK's virtio guide: packed_vq=1, mrg_rxbuf=0, in_order=0, vectorized=1, server=1."""
    settings = {"path": path, "mac": mac, "queues": queues, "queue_size": queue_size, **parameters}
    return f"--vdev=net_virtio_user{index}," + ",".join(f"{key}={value}" for key, value in settings.items())


class Testpmd:
    """An interactive testpmd. Ports have the order of the vdev arguments; 0 and 1, 2 and 3 forward to each other."""

    def __init__(self, lab, vdevs, queues=1, eal=(), options=(), name="testpmd"):
        cpus = sorted(os.sched_getaffinity(0))[:2]
        if len(cpus) < 2:  # one for commands, one for frames
            cpus = cpus * 2
        argv = ["stdbuf", "-oL", "dpdk-testpmd", "--lcores", f"0@{cpus[0]},1@{cpus[1]}", "--no-huge", "-m", "512", "--no-pci", "--no-telemetry",
                f"--file-prefix={name}", *eal, *vdevs, "--", "-i", "--total-num-mbufs=16384", f"--rxq={queues}",
                f"--txq={queues}", "--no-flush-rx", "--rxd=1024", "--txd=1024", *options]
        self.lab, self.name = lab, name
        self.child = lab.start(argv, log=name + ".pmd", stdin=subprocess.PIPE, cwd=lab.folder,
                               env={**os.environ, "RUNTIME_DIRECTORY": lab.folder})
        self.log = lab.path(name + ".pmd")
        self.offset = 0
        self.prompt(START_S)

    def _new(self):
        with open(self.log, errors="replace") as log:
            log.seek(self.offset)
            return log.read()

    def prompt(self, seconds=20):
        """What came before the next prompt."""
        wait_until(lambda: re.search(r"testpmd> \Z", self._new()), seconds, "testpmd's prompt", child=self.child)
        text = self._new()
        self.offset = os.path.getsize(self.log)
        return text

    def do(self, command, seconds=20):
        self.child.stdin.write(command.encode() + b"\n")
        self.child.stdin.flush()
        return self.prompt(seconds)

    def stats(self):
        """{port: {"rx": frames, "tx": frames}}"""
        found = {}
        for port, body in re.findall(r"NIC statistics for port (\d+) +#+\n(.*?)\n *####", self.do("show port stats all"), re.S):
            numbers = {key: int(value) for key, value in re.findall(r"([RT]X-packets): (\d+)", body)}
            found[int(port)] = {"rx": numbers["RX-packets"], "tx": numbers["TX-packets"]}
        return found

    def drain(self, seconds=5):
        """Takes in what is still under way, until as much has come as was sent, or for so long; nothing new is sent."""
        self.do("stop")
        self.do("set fwd rxonly")
        self.do("start")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ports = self.stats().values()
            if sum(port["rx"] for port in ports) == sum(port["tx"] for port in ports):
                break
            time.sleep(0.2)
        self.do("stop")

    def link_up(self, port):
        return "Link status: up" in self.do(f"show port info {port}")

    def quit(self):
        self.child.stdin.write(b"quit\n")
        self.child.stdin.flush()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            pass
        return self.lab.kill(self.child)
