#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks of vireo-blkd and LUNs of vireo-scsid under User-mode Linux: Linux's drivers behind a front end that is neither QEMU nor ours."""
import os
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import libiscsi, uml  # noqa: E402
from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, digest, made_file  # noqa: E402
from guest.scsi import MODULES, Scsid  # noqa: E402

MIB, XFS_MIB = 16, 320  # mkfs.xfs makes none below 300
BLOCK, SCSI = 2, 8  # virtio's numbers of the types
SIZES = {"raw": MIB, "ext4": 4 * MIB, "xfs": XFS_MIB}
PROGRAMS = ("mkfs.ext4", "e2fsck", "mkfs.xfs", "xfs_repair", "blkdiscard")

BLOCK_DISKS = """
raw=vda ext4=vdb xfs=vdc
[ "$(cat /sys/block/vda/serial)" = raw ]
"""

LUNS = """
of() { n=0; until ls /sys/class/scsi_disk/0:0:$1/device/block 2>/dev/null; do n=$((n + 1)); [ $n -lt 300 ] || return 1; sleep 0.1; done; }
raw=$(of 0:0) ext4=$(of 1:7) xfs=$(of 255:0)
"""

JOB = """
fresh() { sync; echo 3 >/proc/sys/vm/drop_caches; }
[ $(cat /sys/block/$raw/size) = %(sectors)d ]
dd if=/dev/urandom of=/tmp/d bs=1M count=2 2>/dev/null
for at in 2 8 12; do dd if=/tmp/d of=/dev/$raw bs=1M seek=$at conv=fsync,notrunc 2>/dev/null; done
fresh
dd if=/dev/$raw bs=1M skip=2 count=2 2>/dev/null | cmp - /tmp/d
/bin/blkdiscard -o 8388608 -l 1048576 /dev/$raw
/bin/blkdiscard -z -o 12582912 -l 1048576 /dev/$raw
fresh
for at in 8 12; do
	dd if=/dev/$raw bs=1M skip=$at count=1 2>/dev/null | cmp -n 1048576 - /dev/zero
	dd if=/dev/$raw bs=1M skip=$((at + 1)) count=1 2>/dev/null >/tmp/rest
	dd if=/tmp/d bs=1M skip=1 2>/dev/null | cmp - /tmp/rest
done
mkdir /tmp/m
holds() { # DISK TYPE MKFS... -- FSCK...
	disk=/dev/$1 type=$2 make=$3 check=$4
	$make $disk >/tmp/said 2>&1 || { cat /tmp/said; return 1; }
	mount -t $type -o discard $disk /tmp/m
	cp /tmp/d /tmp/m/kept
	cp /tmp/d /tmp/m/gone
	sync
	rm /tmp/m/gone
	umount /tmp/m
	$check $disk >/tmp/said 2>&1 || { cat /tmp/said; return 1; }
	fresh
	mount -t $type -o ro $disk /tmp/m
	cmp /tmp/m/kept /tmp/d
	[ ! -e /tmp/m/gone ]
	umount /tmp/m
}
holds $ext4 ext4 'mkfs.ext4 -q' 'e2fsck -fn'
holds $xfs xfs 'mkfs.xfs -q' 'xfs_repair -n'
dmesg | grep -E 'I/O error|Oops|BUG:' && exit 1
echo "digest $(sha256sum </tmp/d)"
"""


def told_by_messages(blkd, name):
    """It has accepted that kicks and calls are messages."""
    with open(blkd.child.log) as log:
        said = [line for line in log if f" {name}: protocol features negotiated" in line]
    return "INBAND_NOTIFICATIONS" in said[-1]


@case_for({"packed": ("",), "split": (",packed=off",), "packed_inband": (",inband=on",), "split_inband": (",packed=off,inband=on",)},
          "user_mode_linux_reads_what_it_has_written_{}", shows=["vhost-user"])
def user_mode_linux_reads_what_it_has_written(lab, keys):
    """It takes packed rings where they are offered, and tells them as if they were split: see packed_is_new() in lib/ring/ring.c."""
    for name, mib in SIZES.items():
        made_file(lab.path(name), mib)
    blkd = Blkd(lab, [f"{name}=file:{lab.path(name)}" for name in SIZES],
                [f"vhost-user:{lab.path(name + '.sock')},disk={name}{keys}" for name in SIZES])
    said = uml.run(lab, "uml", BLOCK_DISKS + JOB % {"sectors": MIB << 11}, [(lab.path(name + ".sock"), BLOCK) for name in SIZES], programs=PROGRAMS)
    theirs = said.partition("digest ")[2].split()[0]
    expect(digest(lab.path("raw"), 2 << 20, 2 << 20) == theirs, "the file has something else")
    for name in SIZES:
        expect(told_by_messages(blkd, name) == ("inband=on" in keys), f"{name}: how are its notifications told?")
        counters = blkd.export(name)["counters"]
        expect(counters["discards"] and counters["flushes"] and not counters["errors"], f"{name}: {counters}")
    end_well(blkd)


@case(shows=["vhost-user"])
def user_mode_linux_has_luns(lab):
    """It asks the back end for the config space, which QEMU does not."""
    for name, mib in SIZES.items():
        made_file(lab.path(name), mib)
    scsid = Scsid(lab, [f"{name}=file:{lab.path(name)}" for name in SIZES], [f"vhost-user:{lab.path('host')}"],
                  ["0:0=raw", "1:7=ext4", "255:0=xfs"])
    said = uml.run(lab, "uml", LUNS + JOB % {"sectors": MIB << 11}, [(lab.path("host"), SCSI)], ("virtio_scsi", "sd_mod"), PROGRAMS)
    theirs = said.partition("digest ")[2].split()[0]
    expect(digest(lab.path("raw"), 2 << 20, 2 << 20) == theirs, "the file has something else")
    expect(scsid.export("host")["counters"]["out_bytes"] > 6 << 20, f"{scsid.export('host')['counters']}")
    end_well(scsid)


# fio's libraries would fill an initramfs: it runs where it lies on this machine, among the devices of this Linux. Its memory is not
# what they reserve, but what they touch.
VERIFIED = """
echo 1 >/proc/sys/vm/overcommit_memory
mkdir /tmp/here
mount -t hostfs -o ro none /tmp/here
for folder in dev proc sys tmp; do mount -o bind /$folder /tmp/here/$folder; done
disk=$(ls /sys/class/scsi_device/0:0:0:0/device/block)
chroot /tmp/here %(fio)s --name=lun --filename=/dev/$disk --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=4k-64k \\
	--size=%(mib)dM --verify=crc32c --verify_fatal=1 --verify_state_save=0 >/tmp/fio.said 2>&1 || { cat /tmp/fio.said; false; }
grep -q 'err= 0' /tmp/fio.said || { cat /tmp/fio.said; false; }
grep -E '^ *(read|write):' /tmp/fio.said
"""


FOUND = """
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ -e /dev/sg%(last)d ] && [ -e /dev/sd%(name)s ] || sleep 0.5; done
"""


def said_of_luns(lab, count, script, programs):
    """What User-mode Linux says of so many LUNs, of a disk each."""
    for program in programs:
        need_program(program)
    names = "abc"[:count]
    scsid = Scsid(lab, [f"{name}=mem:{MIB}M" for name in names], [f"vhost-user:{lab.path('host')}"],
                  [f"0:{number}={name}" for number, name in enumerate(names)], ["--workers", "2"])
    found = FOUND % {"last": count - 1, "name": names[-1]}
    said = uml.run(lab, "luns", found + script, [(lab.path("host"), SCSI)], MODULES, programs)
    end_well(scsid)
    return said


# By the numbers of the LUNs: which is /dev/sda depends on who was found first.
COPY = """
named() { ls /sys/class/scsi_device/0:0:0:$1/device/$2; }
from=/dev/$(named 0 scsi_generic) to=/dev/$(named 1 scsi_generic) other=/dev/$(named 1 block)
dd if=/dev/urandom of=/tmp/d bs=1M count=8 2>/dev/null
dd if=/tmp/d of=/dev/$(named 0 block) bs=1M conv=fsync 2>/dev/null
/bin/sg_xcopy if=$from of=$to bs=512 count=16384 bpt=4096 seek=4096
/bin/sg_xcopy if=$to of=$from bs=512 count=2048 skip=4096 seek=30720 --on_src
echo 3 >/proc/sys/vm/drop_caches
dd if=$other bs=1M skip=2 count=8 2>/dev/null | cmp - /tmp/d
dd if=/dev/$(named 0 block) bs=1M skip=15 count=1 2>/dev/null | cmp -n 1048576 - /tmp/d
"""


@case
def sg_xcopy_copies_from_one_lun_to_the_other_and_back(lab):
    said_of_luns(lab, 2, COPY, ["sg_xcopy"])


@case(shows=["vhost-user"])
def fio_verifies_what_it_has_written_to_a_lun(lab):
    """Each block at a random place, by 16 at a time; then all of them are read, and their checksums hold."""
    need_program("fio")
    said = said_of_luns(lab, 1, VERIFIED % {"fio": shutil.which("fio"), "mib": MIB}, ())
    print("     " + "; ".join(line.split("(")[0].strip() for line in said.splitlines() if "IOPS" in line))


@case
def families_of_libiscsi_pass(lab):
    """LIBISCSI=all: also those that take longer (`make libiscsi`)."""
    everything = os.environ.get("LIBISCSI") == "all"
    families = libiscsi.QUICK + (libiscsi.LONG + libiscsi.SKIPPED if everything else ())
    uml.JOB_S = 600 if everything else uml.JOB_S
    results = libiscsi.came_of(said_of_luns(lab, 1, libiscsi.job(families, "/dev/sda"), [libiscsi.PROGRAM]))
    expect(set(results) == set(families), f"{set(families) - set(results)} has not run")
    for family, (tests, failed) in sorted(results.items() if everything else ()):
        print(f"     {family}: {tests} tests" + "".join(f"; {test}: {libiscsi.KNOWN.get(f'{family}.{test}', 'FAILED')}" for test in failed))
    expect(not libiscsi.surprises(results), f"not as it is known: {', '.join(libiscsi.surprises(results))}")


if __name__ == "__main__":
    main()
