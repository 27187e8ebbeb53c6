#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks of vireo-blkd under real drivers: Linux's virtio_blk in QEMU guests, and SeaBIOS."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.bootsector import boot_image  # noqa: E402
from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import BACK_S, Blkd, Drive, Writers, arguments, digest, drop_caches, made_file, sectors, written_by_every_cpu  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import QEMU, Guest, acceleration  # noqa: E402

MIB = 16
QUEUES = 4
PACKED = {"packed": "on"}
ROUNDS = {"split": {}, "packed": PACKED}


def start(lab, properties, kind="file", mib=MIB, queues=QUEUES, workers=2, more_disks=(), more_exports=(), more_drives=(),
          cpus=QUEUES):
    """A daemon with a disk of one and one of several queues (vda, vdb), and a guest that has them."""
    need_program(QEMU)
    names = ("one", "many")
    for name in names:
        made_file(lab.path(name + ".img"), mib)
    spec = {"file": lambda name: f"file:{lab.path(name + '.img')}", "mem": lambda name: f"mem:{mib}M"}[kind]
    blkd = Blkd(lab, [f"{name}={spec(name)}" for name in names] + list(more_disks),
                [f"vhost-user:{lab.path(name)},disk={name}" for name in names] + list(more_exports),
                ["--workers", str(workers)])
    drives = [Drive(lab.path("one"), 1, properties), Drive(lab.path("many"), queues, properties), *more_drives]
    return blkd, Guest(lab, "guest", cpus=cpus, extra=arguments(drives)).ready()


@case_for({ring: (ring, properties) for ring, properties in ROUNDS.items()}, "linux_reads_what_it_has_written_{}",
          shows=["vhost-user"])
def linux_reads_what_it_has_written(lab, ring, properties, kind="file"):
    """With one queue and with one for each CPU, that two workers serve; and the file has it."""
    blkd, guest = start(lab, properties, kind)
    for name, disk, queues in (("one", "vda", 1), ("many", "vdb", QUEUES)):
        for cpu, theirs in written_by_every_cpu(guest, disk, QUEUES).items():
            expect(kind == "mem" or digest(lab.path(name + ".img"), cpu << 20, 1 << 20) == theirs,
                   f"{disk}: the file has something else")
        export = blkd.export(name)
        running = blkd.running(name)
        expect(set(running) == set(range(queues)), f"{name}: the queues {sorted(running)} run")
        expect(all(queue["writes"] for queue in running.values()), f"{name}: {running}")
        expect(export["counters"]["flushes"] and not export["counters"]["errors"], f"{export['counters']}")
        serial = guest.check(f"cat /sys/block/{disk}/serial").strip()
        expect(serial == name, f"serial '{serial}'")
    expect({queue["worker"] for queue in blkd.running("many").values()} == {0, 1}, "one worker serves all queues")
    with open(blkd.child.log, errors="replace") as log:  # firmware, and then Linux with rings of another format: no session is lost
        text = log.read()
    expect(" warning " not in text and " error " not in text, text)
    end_well(blkd)


@case
def a_resize_reaches_the_guest(lab):
    blkd, guest = start(lab, {}, kind="mem", cpus=1)
    expect(sectors(guest, "vda") == MIB << 11, f"{sectors(guest, 'vda')} sectors")
    blkd.ctl("disk", "resize", "one", f"{2 * MIB}M")
    wait_until(lambda: sectors(guest, "vda") == 2 * MIB << 11, BACK_S, "the guest sees a larger disk")
    guest.check(f"dd if=/dev/urandom of=/tmp/d bs=1M count=1 2>/dev/null; dd if=/tmp/d of=/dev/vda bs=1M seek={2 * MIB - 1} conv=fsync,notrunc")
    drop_caches(guest)
    guest.check(f"dd if=/dev/vda bs=1M skip={2 * MIB - 1} 2>/dev/null | cmp - /tmp/d")
    expect(sectors(guest, "vdb") == MIB << 11, "another disk has another size")
    end_well(blkd)


@case
def what_is_discarded_or_zeroed_is_gone(lab):
    blkd, guest = start(lab, {}, cpus=1)
    for disk in ("vda", "vdb"):
        guest.check(f"dd if=/dev/urandom of=/dev/{disk} bs=1M count=4 conv=fsync 2>/dev/null")
    before = os.stat(lab.path("one.img")).st_blocks
    guest.check("blkdiscard -o 0 -l 2097152 /dev/vda")  # busybox's does not know -z
    after = os.stat(lab.path("one.img")).st_blocks
    expect(after <= before - 4000, f"{before} blocks of the file before the discard, {after} after it")
    drop_caches(guest)
    guest.check("dd if=/dev/vda bs=1M count=2 2>/dev/null | cmp -n 2097152 - /dev/zero")
    expect(blkd.export("one")["counters"]["discards"], "no discard has come")
    expect(blkd.export("many")["counters"]["discards"] == 0, "a discard has come to the other disk")
    end_well(blkd)


@case
def a_read_only_disk_is_not_written_to(lab):
    made_file(lab.path("ro.img"), MIB)
    blkd, guest = start(lab, {}, kind="mem", cpus=1, more_disks=[f"ro=file:{lab.path('ro.img')}"],
                        more_exports=[f"vhost-user:{lab.path('ro')},disk=ro,read-only=on"], more_drives=[Drive(lab.path("ro"))])
    expect(guest.check("cat /sys/block/vdc/ro").strip() == "1", "the guest may write")
    expect(guest.run("dd if=/dev/urandom of=/dev/vdc bs=4k count=1 conv=fsync").status != 0, "it was written to")
    expect(digest(lab.path("ro.img"), 0, 4096) == digest(lab.path("one.img"), 0, 4096), "it has changed")
    end_well(blkd)


@case(shows=[("vhost-user", ring) for ring in ROUNDS])
def a_guest_goes_on_after_kill_9_of_its_daemon_under_load(lab):
    """And no request is lost: a guest waits for ever for one. `make killings` does it 100 times."""
    kills = int(os.environ.get("BLK_KILLS", "3"))
    made_file(lab.path("packed.img"), MIB)
    blkd, guest = start(lab, {}, cpus=2, queues=2, more_disks=[f"packed=file:{lab.path('packed.img')}"],
                        more_exports=[f"vhost-user:{lab.path('packed')},disk=packed"],
                        more_drives=[Drive(lab.path("packed"), 2, PACKED)])
    writers = [Writers(guest, "vdb"), Writers(guest, "vdc")]
    for n in range(kills):
        time.sleep(0.05 * (n % 7))  # anywhere in what they do
        blkd.kill_and_come_back(("one", "many", "packed"))
        before = [w.rounds() for w in writers]
        for w, was in zip(writers, before):
            w.go_on(was + w.count, blkd.child)  # each of them may have had only its count left to write
        if kills > 5:
            print(f"     killed {n + 1} of {kills}", flush=True)
    for w in writers:
        w.end()
    end_well(blkd)


@case
def seabios_boots_from_a_disk(lab):
    """By a driver that negotiates no flush."""
    need_program(QEMU)
    boot_image(lab.path("boot.img"), "booted from vireo\r\n", MIB)
    blkd = Blkd(lab, [f"boot=file:{lab.path('boot.img')}"], [f"vhost-user:{lab.path('boot')},disk=boot"])
    argv = [QEMU, "-M", "q35,memory-backend=mem", "-accel", acceleration(), "-m", "64", "-object",
            "memory-backend-memfd,id=mem,size=64M,share=on", "-nodefaults", "-no-user-config", "-display", "none",
            "-serial", f"file:{lab.path('boot.serial')}", *Drive(lab.path("boot"), 1, {"bootindex": 1}).arguments(0)]
    child = lab.start(argv, log="boot.qemu")

    def said():
        with open(lab.path("boot.serial"), errors="replace") as serial:
            return "booted from vireo" in serial.read()
    wait_until(lambda: os.path.exists(lab.path("boot.serial")) and said(), BACK_S, "the boot sector's words", child=child)
    expect(blkd.export("boot")["counters"]["reads"] >= 2, "who has read it?")
    end_well(blkd)


if __name__ == "__main__":
    main()
