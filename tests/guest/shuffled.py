# SPDX-License-Identifier: BSD-3-Clause
"""A disk that completes requests in any order (tests/daemon/shuffled), and a guest that writes to it and reads what it has written."""
import os
import re
import signal

from guest.cases import Skip
from guest.lab import wait_until
from guest.qemu import acceleration
from guest.switch import build_folder

RINGS = {"split": {}, "packed": {"packed": "on"}}  # a disk each: vda, vdb
WRITERS, BLOCKS = 2, 4  # of each disk; of 64 KiB
IMAGE_BYTES = WRITERS * 4 << 20
BACK_S = 60

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


class Disk:
    """`beside`: another daemon with that one's image, for a guest that moves."""
    def __init__(self, lab, name, beside=None):
        self.lab, self.name, self.at = lab, name, name + "-there" * bool(beside)
        self.socket, self.image = lab.path(f"{self.at}.sock"), beside.image if beside else lab.path(f"{name}.img")
        self.lives = self.was_owed = 0
        self.binary = os.path.join(build_folder(), "tests/daemon/shuffled")
        if not os.path.exists(self.binary):
            raise Skip("the disk has not been built")
        if not beside:
            with open(self.image, "wb") as image:
                image.truncate(IMAGE_BYTES)
        self.start()
        wait_until(lambda: os.path.exists(self.socket), 10, "the disk's socket", child=self.child)

    def start(self):
        self.lives += 1
        self.child = self.lab.start([self.binary, f"vhost-user:{self.socket}", self.image], log=self._log())

    def _log(self):
        return f"{self.at}{self.lives}.log"

    def says(self, text):
        with open(self.lab.path(self._log())) as log:
            return re.findall(text, log.read())

    def owed(self):
        """In all its lives."""
        return self.was_owed + sum(map(int, self.says(r"(\d+) chains were in flight")))

    def serves(self):
        return len(self.says("features negotiated")) > 0

    def kill_and_restart(self, busy):
        """At any moment, or when it has requests in flight of which some are done (`busy`)."""
        if busy:
            self.child.send_signal(signal.SIGUSR1)
            self.child.wait(BACK_S)
        self.lab.kill(self.child)
        self.was_owed = self.owed()
        self.start()


def device(disk):
    properties = {"num-queues": 1, "disable-legacy": "on", **RINGS[disk.name]}
    if acceleration() == "tcg":
        properties["vectors"] = 0  # see guest/qemu.py
    extra = "".join(f",{key}={value}" for key, value in properties.items())
    return ["-chardev", f"socket,id={disk.name},path={disk.socket},reconnect=1",
            "-device", f"vhost-user-blk-pci,chardev={disk.name}{extra}"]


def rounds(guest, disk):
    return sum(map(int, guest.run(f"cat /tmp/rounds{disk.name}* 2>/dev/null").output.split()))


def begin_to_write(guest, disk, device_name):
    for w in range(WRITERS):
        script = WRITER % {"name": f"{disk.name}{w}", "disk": device_name, "at": w * (IMAGE_BYTES // WRITERS >> 16), "blocks": BLOCKS}
        name = f"/tmp/writer{disk.name}{w}"
        guest.check(f"cat >{name} <<'END'\n{script}\nEND\nsh {name} </dev/null >/dev/null 2>&1 &")


def goes_on(guest, disk, before):
    wait_until(lambda: disk.serves() and rounds(guest, disk) > before, BACK_S, f"the guest's writes to {disk.name} go on",
               child=disk.child)


def ends(guest, disks):
    """The writers end, and all that was read was what had been written."""
    guest.check("touch /tmp/stop")
    wait_until(lambda: guest.run("ls /tmp/done* | wc -l").output.strip() == str(WRITERS * len(disks)), BACK_S, "the writers end")
    return guest.run("cat /tmp/failed 2>/dev/null; dmesg | grep -E 'I/O error|is not a head'").output
