# SPDX-License-Identifier: BSD-3-Clause
"""LabGuest: a guest with a newer kernel than this machine may run, and with this machine's own programs and files.

Its root is this machine's /, read-only, shared by virtiofsd. What a job writes goes to file systems in memory, which cover
COVERED and end with the guest; whatever of the machine lies below those is at /run/lab/root. Files that change on the machine
while a guest runs may look old to it.
"""
import base64
import dataclasses
import io
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import tarfile

from . import image, kernels
from .daemon import QUIET_NETWORK
from .kernels import Unavailable
from .lab import Gone, Hung, tail
from .qemu import KERNEL_OPTIONS, LESS_WORK, QEMU, CommandFailed, Guest, Nic, Tap
from .switch import ROOT, build_folder

BOOT_S = 180  # as for other guests, whose kernel is smaller
SUITE = "bookworm-backports"  # its kernel has CUSE, VDUSE, vdpa, vhost, UIO and VFIO as modules; Debian 12's own has no vdpa
MODULES = ["virtio_pci", "virtio_console", "virtiofs"]
COVERED = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp")  # as lab-init.sh does it
# Where scripts/coverage wants to have what clang's counters say, if it does: programs keep them in a folder of the guest's memory.
COUNTS, COUNTS_INSIDE = os.environ.get("VIREO_COUNTS"), "/run/lab/counts"
COUNTS_S = 120
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
# The guest mounts it read-only; that it could not write either is a second lock, where the machine lets us have it.
SHARE = """ulimit -n "$(ulimit -H -n)"
while read -r _ folder _; do
	mount -o remount,bind,ro "$folder" 2>/dev/null
done </proc/self/mounts
exec "$0" "$@"
"""


def in_namespaces(flags, what):
    """`unshare` with these flags, or with a user namespace beside them, whichever this machine allows. `what` needs it."""
    for argv in (["unshare", f"-{flags}"], ["unshare", f"-r{flags}"]):
        try:
            if subprocess.run([*argv, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return argv
        except FileNotFoundError:
            pass
    raise Unavailable(f"{what} needs root with CAP_SYS_ADMIN, or user namespaces (unshare -r{flags} fails)")


def share_wrap():
    if not os.access(VIRTIOFSD, os.X_OK):
        raise Unavailable("virtiofsd (of package qemu-system-common) is not installed")
    return in_namespaces("m", "virtiofsd, which shares this machine's files,")


def available():
    """(modprobe, the kernel's folder), where this machine can run a LabGuest; Unavailable says what is missing."""
    if not shutil.which(QEMU):
        raise Unavailable(f"{QEMU} is not installed")
    modprobe = shutil.which("modprobe", path=kernels.SYSTEM_PATH)
    if not modprobe:
        raise Unavailable("modprobe (package kmod) is not installed")
    share_wrap()
    return modprobe, kernels.kernel(SUITE)


def share_root(lab, name):
    """Starts a virtiofsd for one guest; returns the path of its socket."""
    path, wrap = lab.path(name + ".root"), share_wrap()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        # Its other sandbox, a namespace, cannot take / as the source.
        lab.start([*wrap, "sh", "-c", SHARE, VIRTIOFSD, f"--fd={listener.fileno()}", "-o", "source=/", "-o", "cache=always",
                   "-o", "sandbox=chroot"], log=name + ".share.log", pass_fds=[listener.fileno()])
    return path


# ---- network cards ----

@dataclasses.dataclass
class Hub:
    """A virtio-net card on QEMU's hub of this number: cards on one hub hear each other. No offloads, one queue pair."""
    number: int
    mac: str
    properties: dict = dataclasses.field(default_factory=dict)

    def arguments(self, index):
        properties = {"disable-legacy": "on", "romfile": "", "mac": self.mac, **self.properties}
        extra = "".join(f",{key}={value}" for key, value in properties.items())
        return ["-netdev", f"hubport,id=nd{index},hubid={self.number}", "-device", f"virtio-net-pci,netdev=nd{index}{extra}"]


@dataclasses.dataclass
class Bridged:
    """A virtio-net card with offloads and any number of queue pairs, on a bridge of this name in a network namespace that
    the guest has to itself: cards on one bridge hear each other."""
    bridge: str
    mac: str
    queues: int = 1
    properties: dict = dataclasses.field(default_factory=dict)

    def arguments(self, index):
        return Tap(f"lab{index}", self.mac, queues=self.queues, properties=self.properties).arguments(index)


def bridges(nics):
    """The command that makes what Bridged cards need, and then becomes another; nothing where there are none."""
    lines = ["set -e"]
    for name in sorted({nic.bridge for nic in nics if isinstance(nic, Bridged)}):
        lines.append(f"ip link add {name} type bridge mcast_snooping 0")
        lines.append(f"ip link set {name} up")
    for index, nic in enumerate(nics):
        if isinstance(nic, Bridged):
            multi = " multi_queue" if nic.queues > 1 else ""
            lines.append(f"ip tuntap add lab{index} mode tap vnet_hdr{multi}")
            lines.append(f"ip link set lab{index} master {nic.bridge} up")
    if len(lines) == 1:
        return []
    return [*in_namespaces("n", "a network of its own"), *QUIET_NETWORK[2:], "sh", "-c", "\n".join([*lines, 'exec "$0" "$@"'])]


def card(spec, index):
    """KIND:WHERE[,NAME=VALUE]...: hub:NUMBER, bridge:NAME or vhost-user:SOCKET, then queues=, mac=, and what else QEMU's
    virtio-net-pci takes."""
    where, *rest = spec.split(",")
    kind, _, where = where.partition(":")
    properties = dict(word.split("=", 1) for word in rest)
    mac = properties.pop("mac", f"52:54:00:00:1a:{index + 1:02x}")
    queues = int(properties.pop("queues", "1"))
    if kind == "hub" and queues == 1:
        return Hub(int(where), mac, properties)
    if kind == "bridge":
        return Bridged(where, mac, queues, properties)
    if kind == "vhost-user":
        return Nic(os.path.abspath(where), mac, queues=queues, properties=properties)
    raise ValueError(kind)


# ---- the guest ----

class LabGuest(Guest):
    """`modules`, with their options, are loaded before ready() returns. `iommu`: an emulated one, that VFIO takes; cards need
    {"iommu_platform": "on"} to be behind it. `append`: more kernel options. `show`: folders that are to be seen at their own
    place even if they lie below COVERED, as the project's folder, its build folder, the current one and the lab's always are.

    `sink`, if set, is called with the bytes that commands say, as they come; results hold them only without it. A command has
    ended when its shell has: what it leaves running should write elsewhere.
    """

    # What a newer processor can do costs the emulator more; DPDK wants SSE 4.2.
    CPU = "Nehalem,cx16=off,rdrand=on"

    def __init__(self, lab, name="lab", nics=(), memory_mib=1024, cpus=1, extra=(), modules=(), append="", iommu=False, show=()):
        self.modprobe, self.kernel = available()
        self.modules, self.append, self.iommu, self.sink = list(modules), append, iommu, None
        self.shown, self.show = [], [ROOT, build_folder(), os.getcwd(), lab.folder, self.kernel, *show]
        self.mark = b"\x1e" + secrets.token_hex(8).encode()
        self.root, self.prepared = share_root(lab, name), False
        super().__init__(lab, name, nics, memory_mib, cpus, extra, wrap=bridges(nics))
        if COUNTS:
            lab.before_end.append(self.counts_take)

    def _arguments(self, memory_mib, cpus, extra, _programs):
        try:
            initrd = image.initramfs(self.kernel, modules=MODULES, init="lab-init.sh", helpful=())
        except FileNotFoundError as error:
            raise Unavailable(f"not installed: {error}") from error
        options = f"{KERNEL_OPTIONS} {LESS_WORK} vireo.mark={self.mark[1:].decode()} {self.append}"
        if COUNTS:  # the kernel gives what it does not know to its first process, as environment
            options += f" LLVM_PROFILE_FILE={COUNTS_INSIDE}/%m%c.profraw"
        argv = [*self._board(memory_mib, cpus), "-no-reboot", "-kernel", self.kernel + "/vmlinuz", "-initrd", initrd]
        if self.iommu:
            argv += ["-device", "intel-iommu,intremap=off"]
            options += " intel_iommu=on"
        argv += ["-append", options,
                 "-chardev", f"socket,id=root,path={self.root}", "-device", "vhost-user-fs-pci,chardev=root,tag=root"]
        for index, nic in enumerate(self.nics):
            argv += nic.arguments(index)
        return argv + list(extra)

    def _received(self, data):
        """Output as it comes; in between, lines of the agent's own, which begin with the mark."""
        self.buffer += data
        while self.buffer:
            output, mark, rest = self.buffer.partition(self.mark)
            if not mark:
                begin = output.rfind(self.mark[:1], max(0, len(output) - len(self.mark) + 1))
                begin = len(output) if begin < 0 else begin
                self._said(output[:begin])
                self.buffer = output[begin:]
                return
            self._said(output)
            line, newline, rest = rest.partition(b"\n")
            if not newline:
                self.buffer = mark + line
                return
            self.buffer = rest
            self._take(line.decode(errors="replace").split())

    def _said(self, output):
        if output and self.pending:
            if self.sink:
                self.sink(output)
            else:
                next(iter(self.pending.values())).append(output)

    @staticmethod
    def _joined(pieces):
        return b"".join(pieces)

    def _story(self, what):
        share = tail(self.lab.path(self.name + ".share.log"))
        return super()._story(what) + (f"\n---- virtiofsd\n{share}" if share else "")

    def ready(self, boots=1, seconds=BOOT_S):
        super().ready(boots, seconds)
        if not self.prepared:
            self.prepared, sink, self.sink = True, self.sink, None
            self.check(self._preparation())
            self.sink = sink
        return self

    def _preparation(self):
        """Shows what is covered, and makes modprobe find the modules, also when the kernel calls it."""
        lines, hidden = ["set -e"], tuple(folder + "/" for folder in COVERED)
        if COUNTS:
            lines.append(f"mkdir -p -m 1777 {COUNTS_INSIDE}")
        for folder in sorted(set(map(os.path.realpath, self.show))):
            if folder.startswith(hidden) and not folder.startswith(tuple(shown + "/" for shown in self.shown)):
                path = shlex.quote(folder)
                lines.append(f"mkdir -p {path}; mount --bind /run/lab/root{path} {path}")
                self.shown.append(folder)
        script = f'#!/bin/sh\nexec {self.modprobe} -d {shlex.quote(self.kernel)} "$@"'
        lines.append(f"printf '%s\\n' {shlex.quote(script)} >/run/lab/bin/modprobe; chmod 755 /run/lab/bin/modprobe")
        lines.append("echo /run/lab/bin/modprobe >/proc/sys/kernel/modprobe")
        lines += [f"/run/lab/bin/modprobe {module}" for module in self.modules]
        return "\n".join(lines)

    # ---- counters ----

    def counts_take(self):
        """What the guest's programs have counted comes out before it ends. One that has ended, or stands still, has none."""
        if self.child.poll() is not None or not self.prepared:
            return
        self.sink = None
        try:
            packed = base64.b64decode(self.check(f"cd {COUNTS_INSIDE} && /run/lab/busybox tar -c . | gzip -1 | base64", COUNTS_S))
        except (CommandFailed, Gone, Hung, OSError, ValueError) as error:
            print(f"     {self.name}: its counts are lost: {str(error).splitlines()[0]}", flush=True)
            return
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as files:
            for member in files:
                if member.isfile():
                    with open(os.path.join(COUNTS, f"{secrets.token_hex(8)}-{os.path.basename(member.name)}"), "wb") as out:
                        shutil.copyfileobj(files.extractfile(member), out)

    def kill(self):
        if COUNTS:
            self.counts_take()
        super().kill()
