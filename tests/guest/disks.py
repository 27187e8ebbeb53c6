# SPDX-License-Identifier: BSD-3-Clause
"""vireo-blkd, and the disks of a QEMU guest that it serves."""
import dataclasses
import hashlib
import os

from .lab import wait_until
from .qemu import acceleration
from .switch import Switch, program

BACK_S = 60  # a guest on a loaded machine goes on


class Blkd(Switch):
    """A vireo-blkd. `disks` and `exports`: lists of what --disk and --export take."""

    def __init__(self, lab, disks=(), exports=(), options=(), name="blkd"):
        more = [word for disk in disks for word in ("--disk", disk)]
        more += [word for export in exports for word in ("--export", export)]
        super().__init__(lab, (), [*options, *more], name)

    def start(self):
        self.argv[0] = program("vireo-blkd")
        super().start()

    def ctl_run(self, *words):
        return super().ctl_run("--daemon", "blkd", *words)

    def export(self, name):
        return self.ask("export", "show", name)["export"]

    def running(self, name):
        """The queues of an export that a driver has started, by number."""
        return {queue["queue"]: queue for queue in self.export(name)["queue_counters"] if queue["worker"] is not None}


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


# ---- load whose data are looked at ----

# Each writer has a stretch of its own; what it reads back comes from the disk, and not from the guest's memory.
WRITER = """
n=0
while [ ! -e /tmp/stop ]; do
	dd if=/dev/urandom of=/tmp/data%(name)s bs=64k count=%(blocks)d 2>/dev/null
	dd if=/tmp/data%(name)s of=/dev/%(disk)s bs=64k seek=%(at)d conv=fsync,notrunc 2>/dev/null || echo "write" >>/tmp/failed
	echo 3 >/proc/sys/vm/drop_caches
	dd if=/dev/%(disk)s bs=64k skip=%(at)d count=%(blocks)d 2>/dev/null | cmp - /tmp/data%(name)s >>/tmp/failed 2>&1
	n=$((n + 1))
	echo $n >/tmp/rounds%(name)s
done
echo done >/tmp/done%(name)s
"""


class Writers:
    """`count` loops in a guest that write to a disk's first mebibytes, each to 4 of its own, and read it back."""

    def __init__(self, guest, disk, count=2, blocks=4):
        self.guest, self.disk, self.count = guest, disk, count
        for w in range(count):
            script = WRITER % {"name": f"{disk}{w}", "disk": disk, "at": w * 64, "blocks": blocks}
            guest.check(f"cat >/tmp/writer{disk}{w} <<'END'\n{script}\nEND\n"
                        f"sh /tmp/writer{disk}{w} </dev/null >/dev/null 2>&1 &")

    def rounds(self):
        return sum(map(int, self.guest.run(f"cat /tmp/rounds{self.disk}? 2>/dev/null").output.split()))

    def go_on(self, before, child=None):
        """More rounds than `before`, and each read was what was written."""
        wait_until(lambda: self.rounds() > before, BACK_S, f"the writes to {self.disk} go on", child=child)
        failed = self.guest.run("cat /tmp/failed 2>/dev/null").output
        if failed:
            raise AssertionError(f"what was read is not what was written: {failed}")

    def end(self):
        self.guest.check("touch /tmp/stop")
        wait_until(lambda: self.guest.run(f"ls /tmp/done{self.disk}? | wc -l").output.strip() == str(self.count), BACK_S,
                   "the writers end")
        said = self.guest.run("cat /tmp/failed 2>/dev/null; dmesg | grep -E 'I/O error|is not a head'").output
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
