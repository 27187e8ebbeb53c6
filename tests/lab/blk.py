#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vireo-blkd's disks over VDUSE: block devices of the kernel's own, on virtio_vdpa."""
import os
import shlex
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.fio_load import FIO_LOAD  # noqa: E402
from guest.kernels import SYSTEM_PATH  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402
from guest.switch import program  # noqa: E402

MODULES = ["virtio_blk", "vduse", "virtio_vdpa"]
RINGS = {"split": ("off",), "packed": ("on",)}
MANY_S = 280  # an emulated machine, on a loaded one
KILLS, KILL_S = int(os.environ.get("BLK_KILLS", "3")), 30

PRELUDE = """set -e
start() { $blkd >>/tmp/blkd.log 2>&1 & echo $! >/tmp/blkd.pid; }
stop() { kill "$1" $(cat /tmp/blkd.pid); while [ -e /proc/$(cat /tmp/blkd.pid)/exe ]; do sleep 0.1; done; }
appears() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 300 ] || { cat /tmp/blkd.log; exit 1; }; sleep 0.1; done; }
absent() { if grep -E "$@"; then echo "^ in it: $*"; exit 1; fi; } # what follows a ! never ends a script, whatever set -e says
complaints() {
	absent -i 'broken|error|refused|given it up|lost|does not let go' /tmp/blkd.log
	dmesg >/tmp/dmesg
	absent 'BUG:|WARNING:|I/O error|Oops|blocked for more' /tmp/dmesg
}
larger() { [ $(cat /sys/block/vda/size) = $1 ]; }
""" + FIO_LOAD


def script(packed, disk):
    """What each shell of a guest begins with."""
    argv = [program("vireo-blkd"), "--workers", "2", "--disk", f"d={disk}", "--export",
            f"vduse:d0,disk=d,queues=2,packed={packed}"]
    return f"blkd={shlex.quote(shlex.join(argv))}\nctl='timeout 30 {program('vireoctl')} --daemon blkd'\n{PRELUDE}"


def guest_with(lab, packed, disk, modules=MODULES):
    return LabGuest(lab, modules=modules, cpus=2).ready(), script(packed, disk)


@case_for(RINGS, "the_kernel_has_a_disk_over_{}_rings", shows=["VDUSE virtio"])
def the_kernel_has_a_disk(lab, packed):
    """Of two queues, that two workers serve; it grows, is killed under a load that verifies, BLK_KILLS times, and goes away."""
    if not shutil.which("fio", path=SYSTEM_PATH):
        raise Skip("fio (package fio) is not installed")
    guest, head = guest_with(lab, packed, "file:/tmp/disk.img")
    try:
        guest.check(f"""{head}truncate -s 32M /tmp/disk.img
start
appears test -b /dev/vda
[ "$(ls -d /sys/block/vda/mq/* | wc -l)" = 2 ]
[ "$(cat /sys/block/vda/serial)" = d ]
for cpu in 0 1; do
	dd if=/dev/urandom of=/tmp/d bs=1M count=2 2>/dev/null
	taskset -c $cpu dd if=/tmp/d of=/dev/vda bs=64k seek=$((cpu * 32)) oflag=direct conv=notrunc,fsync 2>/dev/null
	taskset -c $cpu dd if=/dev/vda bs=64k skip=$((cpu * 32)) count=32 iflag=direct 2>/dev/null | cmp - /tmp/d
	dd if=/tmp/disk.img bs=64k skip=$((cpu * 32)) count=32 2>/dev/null | cmp - /tmp/d
done
blkdiscard -o 0 -l 1048576 /dev/vda
blkdiscard -z -o 1048576 -l 1048576 /dev/vda
dd if=/dev/vda bs=1M count=2 iflag=direct 2>/dev/null | cmp -n 2097152 - /dev/zero
$ctl disk resize d 48M
appears larger {48 << 11}
complaints""", MANY_S)
        said = guest.check(f"""{head}load_begin vda
load_goes_on vda
for kill in $(seq {KILLS}); do
	sleep 0.$((kill % 7))
	stop -KILL
	start
	load_goes_on vda
done
load_end vda
[ $(grep -c 'its driver goes on' /tmp/blkd.log) = {KILLS} ]
complaints
stop -TERM
[ ! -e /dev/vduse/d0 ]
[ ! -e /dev/vda ]""", MANY_S + KILL_S * KILLS)
        print(f"     {KILLS} kills: {said.strip().splitlines()[-1]}")
    except Exception:
        print(guest.run("tail -n 60 /tmp/blkd.log; dmesg | tail -n 30").output)
        raise


ZONES = """fails() { if "$@" 2>&1; then echo "done all the same: $*"; exit 1; fi; }
start
appears test -b /dev/vda
[ "$(cat /sys/block/vda/queue/zoned)" = host-managed ]
[ $(cat /sys/block/vda/queue/chunk_sectors) = 2048 ]
[ "$(cat /sys/block/vda/queue/max_open_zones) $(cat /sys/block/vda/queue/max_active_zones)" = '3 4' ]
[ $(cat /sys/block/vda/queue/nr_zones) = 16 ]
zone() { blkzone report -o $(($1 * 2048)) -c 1 /dev/vda; }
is() { zone $1 | grep -qF "$2" || { echo "zone $1 is not $2: $(zone $1)"; exit 1; }; }
write() { dd if=/tmp/d of=/dev/vda bs=4k seek=$(($1 * 256 + $2)) count=$3 oflag=direct conv=notrunc 2>/dev/null; }
dd if=/dev/urandom of=/tmp/d bs=4k count=64 2>/dev/null
[ $(blkzone report /dev/vda | wc -l) = 16 ]
is 0 'CONVENTIONAL'
is 15 'zcond: 1(em)'
write 0 7 8
write 2 0 4
is 2 'wptr 0x000020'
is 2 'zcond: 2(oi)'
fails write 2 0 4 >/dev/null
is 2 'wptr 0x000020' # the kernel does not write there again before it has looked where the pointer is
write 2 4 4
dd if=/dev/vda bs=4k skip=$((2 * 256)) count=4 iflag=direct 2>/dev/null | cmp -n 16384 - /tmp/d
blkzone open -o $((3 * 2048)) -l 2048 /dev/vda
is 3 'zcond: 3(oe)'
blkzone close -o $((2 * 2048)) -l 2048 /dev/vda
is 2 'zcond: 4(cl)'
blkzone finish -o $((2 * 2048)) -l 2048 /dev/vda
is 2 'zcond:14(fu)'
fails write 2 8 1 >/dev/null
is 2 'zcond:14(fu)'
for zone in 4 5; do blkzone open -o $((zone * 2048)) -l 2048 /dev/vda; done
fails blkzone open -o $((6 * 2048)) -l 2048 /dev/vda >/dev/null
$ctl disk show d >/tmp/said
for words in '"host-managed"' '"conventional":2' '"opened":3' '"full":1' '"empty":10'; do grep -q "$words" /tmp/said || { cat /tmp/said; exit 1; }; done
blkzone reset -o $((2 * 2048)) -l 2048 /dev/vda
is 2 'zcond: 1(em)'
dd if=/dev/vda bs=4k skip=$((2 * 256)) count=4 iflag=direct 2>/dev/null | empty
blkzone reset /dev/vda
is 3 'zcond: 1(em)'
fio --name=zones --filename=/dev/vda --direct=1 --zonemode=zbd --rw=randwrite --bs=16k --offset=2M --size=14M --io_size=12M \
	--max_open_zones=3 --verify=crc32c --verify_fatal=1 --ioengine=psync >/tmp/fio.log 2>&1 || { tail -n 20 /tmp/fio.log; exit 1; }
"""


ZONED_MEMORY = "mem:16M,zone-size=1M,zone-conventional=2,zone-max-open=3,zone-max-active=4"
# The kernel's own zoned device, of the same zones. What is behind its pointers reads as ones.
ZONED_DEVICE = """mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
mkdir /sys/kernel/config/nullb/nullb0
cd /sys/kernel/config/nullb/nullb0
for said in size=16 memory_backed=1 zoned=1 zone_size=1 zone_nr_conv=2 zone_max_open=3 zone_max_active=4 power=1; do
	echo ${said#*=} >${said%=*}
done
cd /
appears test -b /dev/nullb0
same_at_the_device() {
	blkzone report /dev/vda >/tmp/vda.zones
	blkzone report /dev/nullb0 | cmp - /tmp/vda.zones || { blkzone report /dev/nullb0; cat /tmp/vda.zones; exit 1; }
}
"""


@case(shows=["VDUSE virtio"])
def the_kernel_writes_by_zones(lab):
    """Linux's virtio_blk knows a zoned disk (from 6.3 on): its zones, their states and limits, and what they do not allow.

    First one in memory, then a zoned device of this very kernel, which is passed on, and agrees with what was told of it."""
    for tool, package in (("fio", "fio"), ("blkzone", "util-linux")):
        if not shutil.which(tool, path=SYSTEM_PATH):
            raise Skip(f"{tool} (package {package}) is not installed")
    guest, in_memory = guest_with(lab, "off", ZONED_MEMORY, [*MODULES, "null_blk nr_devices=0"])
    passed_on = script("off", "file:/dev/nullb0")
    for text in (f"{in_memory}empty() {{ cmp -n 16384 - /dev/zero; }}\n{ZONES}stop -TERM\n",
                 f"{passed_on}empty() {{ tr '\\377' '\\000' | cmp -n 16384 - /dev/zero; }}\n{ZONED_DEVICE}{ZONES}same_at_the_device\nstop -TERM\n"):
        done = guest.run(text, MANY_S)
        if done.status:
            print(guest.run("tail -n 60 /tmp/blkd.log /tmp/said; dmesg | tail -n 30").output)
        expect(done.status == 0, done.output)


if __name__ == "__main__":
    main()
