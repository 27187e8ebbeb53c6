# SPDX-License-Identifier: BSD-3-Clause
"""vireo-blkd, and the disks of a QEMU guest that it serves."""
import dataclasses
import hashlib
import os

from . import writers
from .lab import wait_until
from .qemu import acceleration
from .switch import Switch, program
from .writers import BACK_S


class Daemon(Switch):
    """A daemon that serves disks. `disks` and `exports`: lists of what --disk and --export take."""
    PROGRAM = "vireo-blkd"

    def __init__(self, lab, disks=(), exports=(), options=(), name="blkd"):
        more = [word for disk in disks for word in ("--disk", disk)]
        more += [word for export in exports for word in ("--export", export)]
        super().__init__(lab, (), [*options, *more], name)

    def start(self):
        self.argv[0] = program(self.PROGRAM)
        super().start()

    def ctl_run(self, *words):
        return super().ctl_run("--daemon", self.PROGRAM.removeprefix("vireo-"), *words)

    def export(self, name):
        return self.ask("export", "show", name)["export"]

    def running(self, name):
        """The queues of an export that a driver has started, by number."""
        return {queue["queue"]: queue for queue in self.export(name)["queue_counters"] if queue["worker"] is not None}

    def kill_and_come_back(self, names):
        """Until the drivers of these exports have the queues that they had. QEMU 7.2 does not come back from a kill that hits its first words to a
        daemon ("vhost_backend_init failed"): it connects anew, and says nothing any more. So who kills twice waits in between."""
        before = {name: set(self.running(name)) for name in names}
        self.kill()
        self.start()
        for name, queues in before.items():
            wait_until(lambda name=name, queues=queues: set(self.running(name)) == queues, BACK_S, f"the driver of {name} is back", child=self.child)


class Blkd(Daemon):
    """A vireo-blkd."""


@dataclasses.dataclass
class Drive:
    """A vhost-user-blk device of a QEMU guest."""
    socket: str
    queues: int = 1
    properties: dict = dataclasses.field(default_factory=dict)

    def arguments(self, index):
        properties = {"num-queues": self.queues, "disable-legacy": "on", **self.properties}
        if acceleration() == "tcg":
            properties["vectors"] = 0  # see guest/qemu.py
        extra = "".join(f",{key}={value}" for key, value in properties.items())
        return ["-chardev", f"socket,id=drive{index},path={self.socket},reconnect=1",
                "-device", f"vhost-user-blk-pci,chardev=drive{index}{extra}"]


def arguments(drives):
    return [word for index, drive in enumerate(drives) for word in drive.arguments(index)]


def made_file(path, mebibytes):
    """A file of zeroes."""
    with open(path, "wb") as file:
        file.truncate(mebibytes << 20)
    return path


class Writers:
    """`count` loops in a guest that write to a disk's first mebibytes, each to 4 of its own, and read it back."""

    def __init__(self, guest, disk, count=2):
        self.guest, self.disk, self.count = guest, disk, count
        writers.begin(guest, disk, disk, count, apart_blocks=64)

    def rounds(self):
        return writers.rounds(self.guest, self.disk)

    def go_on(self, before, child=None):
        """More rounds than `before`, and each read was what was written."""
        wait_until(lambda: self.rounds() > before, BACK_S, f"the writes to {self.disk} go on", child=child)
        said = writers.failed(self.guest)
        if said:
            raise AssertionError(f"what was read is not what was written: {said}")

    def end(self):
        said = writers.end(self.guest, [self.disk], self.count)
        if said:
            raise AssertionError(said)


def sectors(guest, disk):
    return int(guest.check(f"cat /sys/block/{disk}/size"))


def drop_caches(guest):
    guest.check("sync; echo 3 >/proc/sys/vm/drop_caches")


def digest(path, offset=0, length=None):
    with open(path, "rb") as file:
        file.seek(offset)
        return hashlib.sha256(file.read(os.path.getsize(path) - offset if length is None else length)).hexdigest()


def written_by_every_cpu(guest, disk, cpus, mib=1):
    """Each CPU, and so each queue, writes a stretch of its own and reads it back: {cpu: digest}."""
    digests = {}
    for cpu in range(cpus):
        guest.check(f"dd if=/dev/urandom of=/tmp/d bs=1M count={mib} 2>/dev/null;"
                    f"taskset {1 << cpu} dd if=/tmp/d of=/dev/{disk} bs=64k seek={cpu * mib * 16} conv=fsync,notrunc 2>/dev/null")
        drop_caches(guest)
        theirs = guest.check(f"taskset {1 << cpu} dd if=/dev/{disk} bs=64k skip={cpu * mib * 16} count={mib * 16} 2>/dev/null |"
                             "cmp - /tmp/d && sha256sum /tmp/d")
        digests[cpu] = theirs.split()[0]
    return digests
