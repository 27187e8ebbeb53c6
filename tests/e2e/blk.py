#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks of vireo-blkd under Linux's virtio_blk in QEMU guests."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import BACK_S, Blkd, Drive, arguments, drop_caches, sectors  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import QEMU, Guest  # noqa: E402

MIB = 16
QUEUES = 4
PACKED = {"packed": "on"}
ROUNDS = {"split": {}, "packed": PACKED}


def start(lab, properties, mib=MIB, queues=QUEUES, workers=2, more_disks=(), more_exports=(), more_drives=(),
          cpus=QUEUES):
    """A daemon with a disk of one and one of several queues (vda, vdb), and a guest that has them."""
    need_program(QEMU)
    names = ("one", "many")
    blkd = Blkd(lab, [f"{name}=mem:{mib}M" for name in names] + list(more_disks),
                [f"vhost-user:{lab.path(name)},disk={name}" for name in names] + list(more_exports),
                ["--workers", str(workers)])
    drives = [Drive(lab.path("one"), 1, properties), Drive(lab.path("many"), queues, properties), *more_drives]
    return blkd, Guest(lab, "guest", cpus=cpus, extra=arguments(drives)).ready()


def written_by_every_cpu(guest, disk, cpus, mib=1):
    """Each CPU, and so each queue, writes a stretch of its own and reads it back."""
    for cpu in range(cpus):
        guest.check(f"dd if=/dev/urandom of=/tmp/d bs=1M count={mib} 2>/dev/null;"
                    f"taskset {1 << cpu} dd if=/tmp/d of=/dev/{disk} bs=64k seek={cpu * mib * 16} conv=fsync,notrunc 2>/dev/null")
        drop_caches(guest)
        guest.check(f"taskset {1 << cpu} dd if=/dev/{disk} bs=64k skip={cpu * mib * 16} count={mib * 16} 2>/dev/null |"
                    "cmp - /tmp/d")


@case_for({ring: (properties,) for ring, properties in ROUNDS.items()}, "linux_reads_what_it_has_written_{}",
          shows=["vhost-user"])
def linux_reads_what_it_has_written(lab, properties):
    """With one queue and with one for each CPU, that two workers serve."""
    blkd, guest = start(lab, properties)
    for name, disk, queues in (("one", "vda", 1), ("many", "vdb", QUEUES)):
        written_by_every_cpu(guest, disk, QUEUES)
        export = blkd.export(name)
        running = blkd.running(name)
        expect(set(running) == set(range(queues)), f"{name}: the queues {sorted(running)} run")
        expect(all(queue["writes"] for queue in running.values()), f"{name}: {running}")
        expect(export["counters"]["flushes"] and not export["counters"]["errors"], f"{export['counters']}")
        serial = guest.check(f"cat /sys/block/{disk}/serial").strip()
        expect(serial == name, f"serial '{serial}'")
    expect({queue["worker"] for queue in blkd.running("many").values()} == {0, 1}, "one worker serves all queues")
    end_well(blkd)


@case
def a_resize_reaches_the_guest(lab):
    blkd, guest = start(lab, {}, cpus=1)
    expect(sectors(guest, "vda") == MIB << 11, f"{sectors(guest, 'vda')} sectors")
    blkd.ctl("disk", "resize", "one", f"{2 * MIB}M")
    wait_until(lambda: sectors(guest, "vda") == 2 * MIB << 11, BACK_S, "the guest sees a larger disk")
    guest.check(f"dd if=/dev/urandom of=/tmp/d bs=1M count=1 2>/dev/null; dd if=/tmp/d of=/dev/vda bs=1M seek={2 * MIB - 1} conv=fsync,notrunc")
    drop_caches(guest)
    guest.check(f"dd if=/dev/vda bs=1M skip={2 * MIB - 1} 2>/dev/null | cmp - /tmp/d")
    expect(sectors(guest, "vdb") == MIB << 11, "another disk has another size")
    end_well(blkd)


@case
def what_is_discarded_is_gone_and_a_read_only_disk_is_not_written_to(lab):
    blkd, guest = start(lab, {}, cpus=1, more_disks=[f"ro=mem:{MIB}M"],
                        more_exports=[f"vhost-user:{lab.path('ro')},disk=ro,read-only=on"], more_drives=[Drive(lab.path("ro"))])
    guest.check("dd if=/dev/urandom of=/dev/vda bs=1M count=4 conv=fsync 2>/dev/null")
    guest.check("blkdiscard -o 0 -l 2097152 /dev/vda")
    drop_caches(guest)
    guest.check("dd if=/dev/vda bs=1M count=2 2>/dev/null | cmp -n 2097152 - /dev/zero")
    expect(blkd.export("one")["counters"]["discards"], "no discard has come")
    expect(blkd.export("many")["counters"]["discards"] == 0, "a discard has come to the other disk")
    expect(guest.check("cat /sys/block/vdc/ro").strip() == "1", "the guest may write")
    expect(guest.run("dd if=/dev/urandom of=/dev/vdc bs=4k count=1 conv=fsync").status != 0, "it was written to")
    end_well(blkd)


if __name__ == "__main__":
    main()
