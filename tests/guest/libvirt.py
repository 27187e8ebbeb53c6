# SPDX-License-Identifier: BSD-3-Clause
"""libvirt as an ordinary user has it (qemu:///session): its daemon, its client, and a shell in a guest of its."""
import os
import pwd
import shutil
import socket
import subprocess
import xml.etree.ElementTree as ET

from .cases import Skip, expect, need_program
from .kernels import SYSTEM_PATH
from .lab import wait_until
from .mounts import place_for
from .qemu import Guest

NOBODY = "nobody"  # for root, libvirt's daemon is the machine's
START_S = 60
PROC = 'mount -t proc proc /proc && exec "$0" "$@"'
# What guests' programs leave behind is reaped by the first process of a namespace, with which all of them end.
FIRST = '"$@" & wait'


class Session:
    """The daemon of a user who is in `group` besides, with folders of its own; what it has started ends with it."""

    def __init__(self, lab, group):
        self.lab, self.folder = lab, lab.path("libvirt")
        self.user = pwd.getpwnam(NOBODY)
        for name in ("virsh", "setpriv"):
            need_program(name)
        libvirtd = shutil.which("libvirtd", path=SYSTEM_PATH)
        if not libvirtd:
            raise Skip("libvirtd is not installed")
        self._folders()
        self.env = {"PATH": SYSTEM_PATH, "HOME": self.folder, "LC_ALL": "C.UTF-8",
                    **{f"XDG_{name}": os.path.join(self.folder, name) for name in ("RUNTIME_DIR", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME")}}
        self.identity = ["setpriv", "--reuid", str(self.user.pw_uid), "--regid", str(self.user.pw_gid), "--groups", str(group), "--"]
        self.place = place_for(lab, self.user.pw_uid)
        self.child = lab.start([*place_for(lab, self.user.pw_uid, "--pid", "--fork", "--kill-child"), "sh", "-c", PROC, *self.identity, "bash", "-c", FIRST,
                                "first", libvirtd], log="libvirtd.log", env=self.env, cwd="/")
        place = os.path.join(self.folder, "RUNTIME_DIR/libvirt/libvirt-sock")
        wait_until(lambda: os.path.exists(place), START_S, "libvirtd listens", child=self.child)
        wait_until(lambda: self.virsh_run("version").returncode == 0, START_S, "libvirtd answers", child=self.child)

    def _folders(self):
        for name in ("RUNTIME_DIR", "CONFIG_HOME/libvirt", "CACHE_HOME", "DATA_HOME"):
            os.makedirs(os.path.join(self.folder, name))
        with open(os.path.join(self.folder, "CONFIG_HOME/libvirt/qemu.conf"), "w") as conf:
            conf.write('stdio_handler = "file"\n')  # else another daemon keeps the log
        for at, _, files in os.walk(self.folder):
            for path in (at, *(os.path.join(at, name) for name in files)):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def virsh_run(self, *words, seconds=60):
        return subprocess.run([*self.place, *self.identity, "virsh", "--quiet", "-c", "qemu:///session", *words], env=self.env, cwd="/",
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)

    def virsh(self, *words):
        """What a command says that must succeed."""
        done = self.virsh_run(*words)
        expect(done.returncode == 0, f"virsh {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def given(self, name, source):
        """A file that the user may read."""
        path = self.lab.path(name)
        shutil.copy(source, path)
        os.chmod(path, 0o644)
        return path


class Domain(Guest):
    """A guest that libvirt starts. Of its own beyond the XML it has the line to the agent, and a file with what QEMU says."""

    def __init__(self, session, domain, nics):
        self.session, self.lab, self.nics = session, session.lab, list(nics)
        self.name, self.boots, self.child = domain.findtext("name"), 0, session.child
        self.pending, self.results, self.next_id, self.buffer = {}, {}, 0, b""
        self.socket = os.path.join(session.folder, self.name + ".agent")
        self._channel(domain)
        path = self.lab.path(self.name + ".xml")
        ET.ElementTree(domain).write(path)
        session.virsh("define", path, "--validate")

    def _channel(self, domain):
        channel = ET.SubElement(domain.find("devices"), "channel", type="unix")
        ET.SubElement(channel, "source", mode="bind", path=self.socket)
        ET.SubElement(channel, "target", type="virtio", name="vireo")

    def start(self):
        self.session.virsh("start", self.name)
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(self.socket)
        self.line.setblocking(False)
        return self

    def state(self):
        return self.session.virsh("domstate", self.name).strip()
