#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk that completes requests in any order is killed under a QEMU guest: QEMU keeps what was in flight, and nothing is lost."""
import os
import re
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main, need_program  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import Guest, acceleration  # noqa: E402
from guest.switch import build_folder  # noqa: E402

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
    def __init__(self, lab, name):
        self.lab, self.name, self.socket, self.image = lab, name, lab.path(f"{name}.sock"), lab.path(f"{name}.img")
        self.lives = self.was_owed = 0
        self.binary = os.path.join(build_folder(), "tests/daemon/shuffled")
        if not os.path.exists(self.binary):
            raise Skip("the disk has not been built")
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_BYTES)
        self.start()

    def start(self):
        self.lives += 1
        self.child = self.lab.start([self.binary, f"vhost-user:{self.socket}", self.image], log=self._log())

    def _log(self):
        return f"{self.name}{self.lives}.log"

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


@case(shows=[("vhost-user", ring) for ring in RINGS])
def disks_killed_with_requests_in_flight_lose_none(lab):
    """`make killings` does it INFLIGHT_KILLS times."""
    need_program("qemu-system-x86_64")
    kills = int(os.environ.get("INFLIGHT_KILLS", "2"))
    disks = [Disk(lab, ring) for ring in RINGS]
    for disk in disks:
        wait_until(lambda: os.path.exists(disk.socket), 10, "the disk's socket", child=disk.child)
    guest = Guest(lab, "guest", extra=sum(map(device, disks), [])).ready()
    for disk, name in zip(disks, ("vda", "vdb")):
        begin_to_write(guest, disk, name)
    for disk in disks:
        goes_on(guest, disk, 0)
    for n in range(kills):
        before = [rounds(guest, disk) for disk in disks]
        time.sleep(0.05 * (n % 7))  # anywhere in what they do
        for disk in disks:
            disk.kill_and_restart(n % 2)
        for disk, was in zip(disks, before):
            goes_on(guest, disk, was)
        expect(not guest.run("cat /tmp/failed 2>/dev/null").output, "what was read is not what was written")
        if kills > 5:
            print(f"     killed {n + 1} of {kills}, in flight were {[disk.owed() for disk in disks]}", flush=True)
    guest.check("touch /tmp/stop")
    wait_until(lambda: guest.run("ls /tmp/done* | wc -l").output.strip() == str(WRITERS * len(disks)), BACK_S, "the writers end")
    said = guest.run("cat /tmp/failed 2>/dev/null; dmesg | grep -E 'I/O error|is not a head'").output
    expect(not said, said)
    print(f"     {kills} kills, in flight were {[disk.owed() for disk in disks]}")
    expect(all(disk.owed() for disk in disks), "nothing was in flight in any of the kills: this shows nothing")


if __name__ == "__main__":
    main()
