#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What is stable stays when the power is cut: on disks that forget all that was not flushed."""
import os
import random
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, Drive, arguments, made_file  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import QEMU, Guest  # noqa: E402
from guest.requests import F_FLUSH, FLUSH, IN, OK, OUT, Requests, ScsiRequests  # noqa: E402
from guest.scsi import Scsid  # noqa: E402

SECTORS = 96
CUTS = int(os.environ.get("STABLE_CUTS", "5"))
REQUESTS = 400  # between two cuts


class Witness:
    """A driver with many requests under way, which knows what each sector may hold when the power has been cut."""

    def __init__(self, path, features, front=Requests):
        self.path, self.features, self.front = path, features, front
        self.stamp = 0
        self.stable = {sector: 0 for sector in range(SECTORS)}  # this, or what was written later
        self.written = {sector: [0] for sector in range(SECTORS)}  # in this order, done or not
        self.done = dict(self.stable)

    def run(self, seed, requests):
        """Sectors in any order, one request each; now and then a flush. Leaves what is under way to itself."""
        chance = random.Random(seed)
        with self.front(self.path, features=self.features) as front:
            self.under_way = {}
            for _ in range(requests):
                wait_until(lambda: self.answered(front) < front.depth, 20, "a request is done")
                slot = next(slot for slot in range(front.depth) if slot not in self.under_way)
                if self.features & F_FLUSH and chance.randrange(20) == 0:
                    self.under_way[slot] = dict(self.done)
                    front.ask(slot, FLUSH)
                else:
                    self.write(front, slot, chance.choice(sorted(set(range(SECTORS)) - set(self.sectors()))))
            self.last_words(front)
            return len(self.under_way)

    def last_words(self, front):
        """A write that is done after the last flush: what is lost of all others depends on how fast the daemon is. And as many as may be under way."""
        wait_until(lambda: self.answered(front) < front.depth and not self.flushing(), 20, "the flushes are done")
        sector = self.write_anywhere(front)
        wait_until(lambda: self.answered(front) >= 0 and self.done[sector] == self.stamp, 20, "the last write is done")
        while len(self.under_way) < front.depth:
            self.write_anywhere(front)

    def write_anywhere(self, front):
        """With a free slot, to a sector that no other request is about: which it is."""
        sector = min(set(range(SECTORS)) - set(self.sectors()))
        self.write(front, next(slot for slot in range(front.depth) if slot not in self.under_way), sector)
        return sector

    def flushing(self):
        return any(isinstance(is_about, dict) for is_about in self.under_way.values())

    def sectors(self):
        return [is_about[0] for is_about in self.under_way.values() if isinstance(is_about, tuple)]

    def write(self, front, slot, sector):
        self.stamp += 1
        self.written[sector].append(self.stamp)
        self.under_way[slot] = (sector, self.stamp)
        front.ask(slot, OUT, sector, self.stamp.to_bytes(8, "little") * 64)

    def answered(self, front):
        """Takes what is done. Returns how many are under way."""
        for head, _ in front.ring.used():
            slot = head // 3
            expect(front.status(slot) == OK, f"a request is done with status {front.status(slot)}")
            is_about = self.under_way.pop(slot)
            if isinstance(is_about, dict):
                self.stable.update((sector, max(stamp, self.stable[sector])) for sector, stamp in is_about.items())
            else:
                sector, stamp = is_about
                self.done[sector] = stamp
                if not self.features & F_FLUSH:
                    self.stable[sector] = stamp
        return len(self.under_way)

    def look(self):
        """After a cut. Returns how many sectors have lost what was done."""
        lost = 0
        with self.front(self.path, features=self.features) as front:
            for sector in range(SECTORS):
                expect(front.one(IN, sector) == OK, "a read has failed")
                words = {front.data(0)[i:i + 8] for i in range(0, 512, 8)}
                expect(len(words) == 1, f"sector {sector} is torn: {words}")
                stamp = int.from_bytes(words.pop(), "little")
                may = [0, *self.written[sector]]
                expect(stamp in may and stamp >= self.stable[sector],
                       f"sector {sector} has {stamp}, and {self.stable[sector]} was stable, {self.done[sector]} done")
                lost += stamp < self.done[sector]
                self.stable[sector] = self.done[sector] = stamp  # it was read from a disk that has just begun
                self.written[sector] = [stamp]
        return lost


def blkd_with(lab, disk):
    return Blkd(lab, [disk], [f"vhost-user:{lab.path('d')},disk=d"])


def scsid_with(lab, disk):
    return Scsid(lab, [disk], [f"vhost-user:{lab.path('d')}"], ["0:0=d"])


DRIVERS = {"with_flush": (F_FLUSH, Requests, blkd_with), "without_flush": (0, Requests, blkd_with),
           "of_a_lun": (F_FLUSH, ScsiRequests, scsid_with)}


@case_for(DRIVERS, "a_driver_{}_loses_nothing_that_was_stable", shows=[("vhost-user", "split")])
def a_driver_loses_nothing_that_was_stable(lab, features, front, daemon_with):
    """The daemon is killed with requests in flight, and what it has not flushed goes with it."""
    made_file(lab.path("d.img"), 1)
    blkd = daemon_with(lab, f"d=file:{lab.path('d.img')},forget=1M")
    witness, lost, in_flight = Witness(lab.path("d"), features, front), 0, 0
    for cut in range(CUTS):
        in_flight += witness.run(cut, REQUESTS)
        forget = blkd.ask("disk", "show", "d")["disk"]["forget"]
        expect(forget["passed"] == 0, f"writes went past what can be forgotten: {forget}")
        blkd.kill()
        blkd.start()
        lost += witness.look()
    print(f"     {CUTS} cuts, {witness.stamp} writes: {in_flight} requests were in flight, {lost} sectors were lost that nobody had flushed")
    expect(lost == 0 or features & F_FLUSH, "a write that was done is lost, and the driver has no flush")
    expect(lost or not features & F_FLUSH, "nothing was lost: this shows nothing")
    end_well(blkd)


@case
def the_power_is_cut_by_command(lab):
    blkd = Blkd(lab, ["d=mem:1M,forget=64K", "plain=mem:1M"], [f"vhost-user:{lab.path('d')},disk=d"])
    with Requests(lab.path("d")) as front:
        for sector, value, kind in ((0, 1, OUT), (1, 1, OUT), (0, 0, FLUSH), (1, 2, OUT), (2, 2, OUT)):
            expect(front.one(kind, sector, bytes([value]) * 512 if kind == OUT else None) == OK, "a request has failed")
        expect(blkd.ask("disk", "show", "d")["disk"]["forget"]["held_bytes"] == 4096, "one page is held")
        expect(blkd.ask("disk", "forget", "d") == {"forgotten_bytes": 1024}, "two sectors were not flushed")
        for sector, value in ((0, 1), (1, 1), (2, 0)):
            expect(front.one(IN, sector) == OK and front.data(0) == bytes([value]) * 512, f"sector {sector}: {front.data(0)[:8]}")
    expect(blkd.ask("disk", "show", "d")["disk"]["forget"]["forgotten_bytes"] == 1024, "it was not counted")
    expect(blkd.ask("disk", "show", "plain")["disk"]["forget"] is None, "a disk like any other")
    for name, why in (("plain", "forget=SIZE"), ("dd", "there is no disk 'dd'")):
        done = blkd.ctl_run("disk", "forget", name)
        expect(done.returncode == 1 and why in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
    end_well(blkd)


# ---- a real file system ----

MIB = 16
FILES = 4


def written(guest, folder):
    """Files that the guest has been told are stable, {name: digest}; and one that it has been told nothing of."""
    digests = {}
    for n in range(FILES):
        name = f"file{n}"
        said = guest.check(f"dd if=/dev/urandom of={folder}/{name} bs=64k count=4 conv=fsync 2>/dev/null; sha256sum {folder}/{name}")
        digests[name] = said.split()[0]
    guest.check(f"dd if=/dev/urandom of={folder}/later bs=64k count=4 2>/dev/null")
    return digests


def found(image):
    """What a file system has when its journal has been gone through: {name: digest}."""
    checked = subprocess.run(["e2fsck", "-fy", image], capture_output=True, text=True)
    expect(checked.returncode in (0, 1), f"it is damaged: {checked.stdout}{checked.stderr}")
    digests = {}
    for name in [f"file{n}" for n in range(FILES)]:
        copy = f"{image}.{name}"
        subprocess.run(["debugfs", "-R", f"dump /{name} {copy}", image], capture_output=True, check=True)
        if os.path.exists(copy):
            digests[name] = subprocess.run(["sha256sum", copy], capture_output=True, text=True, check=True).stdout.split()[0]
    return digests


@case(shows=[("vhost-user", "split")])
def a_file_system_loses_nothing_that_was_synced(lab):
    """A guest's ext4, and guest and daemon are killed. A second one beside it sends no flushes (nobarrier), and does lose its files."""
    need_program(QEMU)
    for name in ("mkfs.ext4", "e2fsck", "debugfs"):
        need_program(name)
    names = ("kept", "lost")
    for name in names:
        made_file(lab.path(name + ".img"), MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", lab.path(name + ".img")], check=True, capture_output=True)
    blkd = Blkd(lab, [f"{name}=file:{lab.path(name + '.img')},forget={MIB}M" for name in names],
                [f"vhost-user:{lab.path(name)},disk={name}" for name in names])
    guest = Guest(lab, "guest", extra=arguments([Drive(lab.path(name)) for name in names]), modules=["crc32c_generic", "ext4"]).ready()
    guest.check("mkdir /tmp/kept /tmp/lost; mount -t ext4 -o commit=3600 /dev/vda /tmp/kept;"
                "mount -t ext4 -o commit=3600,nobarrier /dev/vdb /tmp/lost")
    said = {name: written(guest, f"/tmp/{name}") for name in names}
    for name in names:
        expect(blkd.ask("disk", "show", name)["disk"]["forget"]["passed"] == 0, "writes went past what can be forgotten")
    guest.kill()
    blkd.kill()
    expect(found(lab.path("kept.img")) == said["kept"], "a file that was synced is lost, or another")
    lost = found(lab.path("lost.img"))
    expect(lost != said["lost"], "nothing was lost without flushes: this shows nothing")
    print(f"     {FILES} files were synced and kept; without flushes {FILES - len(lost)} of {FILES} were lost")


if __name__ == "__main__":
    main()
