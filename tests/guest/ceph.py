# SPDX-License-Identifier: BSD-3-Clause
"""Ceph: a cluster of one monitor and one storage server on this machine, whose data lies in memory and is gone with it."""
import os
import shutil
import signal
import socket
import subprocess
import uuid

from .cases import Skip
from .lab import wait_until

PROGRAMS = {"ceph-mon": "ceph-mon", "ceph-osd": "ceph-osd", "ceph": "ceph-common", "rbd": "ceph-common", "monmaptool": "ceph-common",
            "ceph-authtool": "ceph-common"}
START_S, COMMAND_S = 60, 30
POOL = "p"

CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{port}]
public network = 127.0.0.1/8
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.$pid.asok
pid file = {folder}/$name.pid
keyring = {folder}/keyring
mon data = {folder}/mon
mon allow pool size one = true
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 268435456
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Ceph:
    def __init__(self, lab):
        for program, package in PROGRAMS.items():
            if not shutil.which(program):
                raise Skip(f"{program} (package {package}) is not installed: `make rbd` does that")
        self.lab, self.folder = lab, lab.path("ceph")
        self.conf = os.path.join(self.folder, "ceph.conf")
        for name in ("mon", "osd"):
            os.makedirs(os.path.join(self.folder, name))
        self.port, fsid, osd = free_port(), str(uuid.uuid4()), str(uuid.uuid4())
        with open(self.conf, "w") as out:
            out.write(CONF.format(fsid=fsid, port=self.port, folder=self.folder))
        keyring, monmap = (os.path.join(self.folder, name) for name in ("keyring", "monmap"))
        self.run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *", conf=False)
        self.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{self.port}]", monmap, conf=False)
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self.mon = lab.start(["ceph-mon", "-c", self.conf, "-i", "a", "-f"], log="ceph-mon.log")
        wait_until(lambda: self.ask("ceph", "-s").returncode == 0, START_S, "the monitor answers", step=0.2, child=self.mon)
        self.run("ceph", "osd", "new", osd)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.osd = lab.start(["ceph-osd", "-c", self.conf, "-i", "0", "-f"], log="ceph-osd.log")
        self.run("ceph", "osd", "pool", "create", POOL, "1", "1")
        wait_until(lambda: b"1 up" in self.ask("ceph", "-s").stdout, START_S, "the storage server is up", step=0.2, child=self.osd)

    def ask(self, *words, conf=True, seconds=COMMAND_S):
        argv = [words[0], *(["-c", self.conf] if conf else []), *words[1:]]
        try:
            return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=seconds)
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(argv, 124, late.stdout or b"", None)

    def run(self, *words, conf=True):
        done = self.ask(*words, conf=conf)
        if done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.returncode}: {done.stdout.decode(errors='replace')}")
        return done.stdout.decode(errors="replace")

    def image(self, name, mib, *options):
        """Makes one, and returns the SPEC of a disk that is it."""
        self.run("rbd", "create", f"{POOL}/{name}", "--size", str(mib), *options)
        return self.spec(name)

    def spec(self, name):
        return f"rbd:{POOL}/{name},conf={self.conf}"

    def stand_still(self, still=True):
        """Its storage server answers nobody."""
        os.kill(self.osd.pid, signal.SIGSTOP if still else signal.SIGCONT)
