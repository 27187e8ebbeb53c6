#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks of vireo-blkd in a QEMU guest with this machine's own programs: fio that verifies, file systems, discards."""
import os
import shutil
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, Drive, arguments, made_file  # noqa: E402
from guest.fio_load import FIO_LOAD  # noqa: E402
from guest.kernels import SYSTEM_PATH  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402

MIB, XFS_MIB = 64, 320  # mkfs.xfs makes none below 300
QUEUES = (1, 4)
DRIVES = {f"{ring}{queues}": (queues, {"packed": "on"} if ring == "packed" else {}) for ring in ("split", "packed") for queues in QUEUES}
PROGRAMS = {"fio": "fio", "mkfs.xfs": "xfsprogs", "xfs_repair": "xfsprogs", "mkfs.ext4": "e2fsprogs", "e2fsck": "e2fsprogs",
            "blkdiscard": "util-linux"}
KILLS = int(os.environ.get("BLK_KILLS", "1"))
JOB_S = 280  # an emulated machine, on a loaded one
WHOLE = "DISKS_WHOLE" in os.environ  # `make disks`: more of everything, and file systems, which User-mode Linux has in `make check`

PRELUDE = r"""set -e
absent() { if grep -E "$@"; then echo "^ in it: $*"; exit 1; fi; }
quiet() { "$@" >/tmp/said 2>&1 || { cat /tmp/said; echo "^ $*"; exit 1; }; }
of() { grep -lsx "$1" /sys/block/vd?/serial | cut -d/ -f4; } # the disk with this serial
complaints() { dmesg >/tmp/dmesg; absent 'BUG:|WARNING:|I/O error|Oops|blocked for more' /tmp/dmesg; }
fresh() { sync; echo 3 >/proc/sys/vm/drop_caches; }
"""

FIO = r"""
jobs=
for name in {names}; do
	disk=$(of $name)
	[ "$(ls -d /sys/block/$disk/mq/* | wc -l)" = ${{name#${{name%?}}}} ]
	jobs="$jobs --name=$name --filename=/dev/$disk"
done
quiet fio --ioengine=libaio --direct=1 --thread --iodepth=16 --rw=randrw --bsrange=4k-64k --size={size}M --io_size={size}M \
	--verify=crc32c --verify_fatal=1 --do_verify=1 --fsync=8 --output-format=normal $jobs
[ $(grep -c 'err= 0' /tmp/said) = {count} ]
complaints"""

ZEROES = r"""
tr '\0' x </dev/zero | dd of=/tmp/x bs=1M count=6 iflag=fullblock 2>/dev/null
for name in {names}; do
	disk=/dev/$(of $name)
	dd if=/tmp/x of=$disk bs=1M oflag=direct 2>/dev/null
	blkdiscard -z -o 1M -l 2M $disk
	blkdiscard -o 4M -l 1M $disk
	fresh
	for at in 1 2 4; do dd if=$disk bs=1M skip=$at count=1 iflag=direct 2>/dev/null | cmp -n 1048576 - /dev/zero; done
	for at in 0 3 5; do dd if=$disk bs=1M skip=$at count=1 iflag=direct 2>/dev/null | cmp -n 1048576 - /tmp/x; done
done
complaints"""

FILES = r"""
mkdir -p /tmp/m
dd if=/dev/urandom of=/tmp/d bs=1M count=4 2>/dev/null
holds() {{ # NAME TYPE MKFS FSCK
	disk=/dev/$(of $1)
	quiet $3 $disk
	mount -t $2 -o discard $disk /tmp/m
	cp /tmp/d /tmp/m/kept
	cp /tmp/d /tmp/m/gone
	sync
	rm /tmp/m/gone
	umount /tmp/m
	quiet $4 $disk
	fresh
	mount -t $2 -o ro $disk /tmp/m
	cmp /tmp/m/kept /tmp/d
	[ ! -e /tmp/m/gone ]
	umount /tmp/m
}}
for name in {names}; do holds $name ext4 'mkfs.ext4 -qF' 'e2fsck -fn'; done
for name in {large}; do holds $name xfs 'mkfs.xfs -qf' 'xfs_repair -n'; done
complaints"""


def need_programs():
    for program, package in PROGRAMS.items():
        if not shutil.which(program, path=SYSTEM_PATH):
            raise Skip(f"{program} (package {package}) is not installed")


def lives_on(guest, blkd, names):
    """The daemon is killed under a load that verifies, on all disks at once."""
    disks = guest.check(PRELUDE + f"for name in {' '.join(names)}; do of $name; done").split()
    words = " ".join(disks)
    guest.check(f"{FIO_LOAD}load_begin {words}\nload_goes_on {words}", JOB_S)
    for kill in range(KILLS):
        time.sleep(0.05 * (kill % 7))  # anywhere in what they do
        blkd.kill_and_come_back(names)
        guest.check(f"{FIO_LOAD}load_goes_on {words}", JOB_S)
        if KILLS > 5:
            print(f"     killed {kill + 1} of {KILLS}", flush=True)
    said = guest.check(f"{PRELUDE}{FIO_LOAD}load_end {words}\ncomplaints", JOB_S)
    print(f"     {KILLS} kills with {' '.join(names)}: {'; '.join(said.strip().splitlines())}")


@case(shows=[("vhost-user", "split"), ("vhost-user", "packed")])
def fio_verifies_every_block_and_what_is_discarded_is_gone(lab):
    """On split and packed rings, with one queue and with four, all at once."""
    need_programs()
    names, large = list(DRIVES), [f"{name}x" for name in ("split4", "packed4")] if WHOLE else []
    drives = {**DRIVES, **{name: DRIVES[name[:-1]] for name in large}}
    for name in drives:
        made_file(lab.path(name), XFS_MIB if name in large else MIB)
    blkd = Blkd(lab, [f"{name}=file:{lab.path(name)}" for name in drives],
                [f"vhost-user:{lab.path(name + '.sock')},disk={name}" for name in drives], ["--workers", "2"])
    extra = arguments([Drive(lab.path(name + ".sock"), queues, properties) for name, (queues, properties) in drives.items()])
    guest = LabGuest(lab, cpus=max(QUEUES), modules=["virtio_blk", "ext4", "xfs"], extra=extra).ready()
    words = {"names": " ".join(names), "large": " ".join(large), "count": len(names), "size": 8 if WHOLE else 1}
    for job in (FIO, ZEROES, *([FILES] if WHOLE else [])):
        guest.check(PRELUDE + job.format(**words), JOB_S)
    for name, (queues, _) in drives.items():
        counters, running = blkd.export(name)["counters"], blkd.running(name)
        expect(set(running) == set(range(queues)), f"{name}: the queues {sorted(running)} run")
        expect(counters["discards"] and counters["flushes"] and not counters["errors"], f"{name}: {counters}")
    expect(all(blkd.export(name)["counters"]["zeroes"] for name in names), "blkdiscard -z has not come as a request of its own")
    lives_on(guest, blkd, names)
    expect(not any(blkd.export(name)["counters"]["errors"] for name in names), "a request has failed")
    end_well(blkd)


if __name__ == "__main__":
    main()
