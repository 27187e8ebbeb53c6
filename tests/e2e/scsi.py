#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""LUNs of vireo-scsid under real drivers: Linux's virtio_scsi in QEMU guests, SeaBIOS, sg3-utils and libiscsi's test suite."""
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.bootsector import boot_image  # noqa: E402
from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import BACK_S, Writers, digest, drop_caches, made_file, sectors, written_by_every_cpu  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.moving import Moving  # noqa: E402
from guest.qemu import QEMU, Guest, acceleration  # noqa: E402
from guest.scsi import MODULES, Host, Scsid, addresses, arguments  # noqa: E402

MIB = 16


def start(lab, disks, luns, queues=1, cpus=1, options=(), programs=(), found=None, **more):
    """A daemon with an export "host", and a guest that has found its LUNs."""
    need_program(QEMU)
    scsid = Scsid(lab, disks, [f"vhost-user:{lab.path('host')}"], luns, ["--workers", "2", *options])
    guest = booted(lab, "guest", queues, cpus, programs, len(luns) if found is None else found, **more)
    return scsid, guest


def booted(lab, name, queues=1, cpus=1, programs=(), luns=1, **more):
    guest = Guest(lab, name, cpus=cpus, extra=arguments([Host(lab.path("host"), queues)]), modules=MODULES, programs=programs, **more).ready()
    wait_until(lambda: len(addresses(guest)) >= luns, BACK_S, f"the guest finds {luns} LUNs", child=guest.child)
    return guest


@case_for({"one_queue": (1, 1), "four_queues": (4, 4)}, "linux_reads_what_it_has_written_with_{}")
def linux_reads_what_it_has_written(lab, queues, cpus):
    """At LUNs of three targets, by every CPU."""
    names = ("a", "b", "c")
    for name in names:
        made_file(lab.path(name + ".img"), MIB)
    scsid, guest = start(lab, [f"{name}=file:{lab.path(name + '.img')}" for name in names], ["0:0=a", "0:300=b", "255:0=c"], queues, cpus)
    disks = addresses(guest)
    expect(set(disks) == {"0:0", "0:300", "255:0"}, f"{disks}")
    for address, name in (("0:0", "a"), ("0:300", "b"), ("255:0", "c")):
        expect(sectors(guest, disks[address]) == MIB << 11, f"{address}: {sectors(guest, disks[address])} sectors")
        digests = written_by_every_cpu(guest, disks[address], cpus)
        for cpu, want in digests.items():
            expect(digest(lab.path(name + ".img"), cpu << 20, 1 << 20) == want, f"{address}: what CPU {cpu} wrote is not in the file")
    running = scsid.running("host")
    expect(len(running) == queues, f"{queues} queues, and {running}")
    expect(queues == 1 or {queue["worker"] for queue in running.values()} == {0, 1}, f"one worker has all: {running}")
    end_well(scsid)


@case
def luns_come_grow_and_go_under_load(lab):
    scsid, guest = start(lab, [f"a=mem:{MIB}M", f"b=mem:{MIB}M"], ["0:0=a"], queues=2, cpus=2)
    writers = Writers(guest, addresses(guest)["0:0"])
    for number in (1, 2):
        before = writers.rounds()
        scsid.ctl("lun", "add", f"{number}:{number}=b")
        at = f"{number}:{number}"
        wait_until(lambda: at in addresses(guest), BACK_S, f"the guest finds LUN {at}")
        disk = addresses(guest)[at]
        size = MIB * (number + 1)
        scsid.ctl("lun", "resize", at, f"{size}M")
        wait_until(lambda: sectors(guest, disk) == size << 11, BACK_S, "the guest sees a larger LUN")
        guest.check(f"dd if=/dev/urandom of=/tmp/d bs=1M count=1 2>/dev/null; dd if=/tmp/d of=/dev/{disk} bs=1M seek={size - 1} conv=fsync,notrunc")
        drop_caches(guest)
        guest.check(f"dd if=/dev/{disk} bs=1M skip={size - 1} 2>/dev/null | cmp - /tmp/d")
        scsid.ctl("lun", "remove", at)
        wait_until(lambda: at not in addresses(guest), BACK_S, f"the guest forgets LUN {at}")
        expect(scsid.ask("disk", "show", "b")["disk"]["exports"] == 0, "the disk is in use")
        writers.go_on(before + 1, scsid.child)
    counters = scsid.export("host")["counters"]
    expect(counters["events"] >= 6 and not counters["events_lost"], f"{counters}")
    writers.end()
    end_well(scsid)


@case(shows=[("vhost-user", "split")])
def a_guest_moves_with_its_lun_under_load(lab):
    """From one daemon to another that has the same file, as two hosts have it; nothing that it has written is lost. QEMU keeps no memory for what
    is in flight in these rings, and in that for events buffers wait, one of which has been used: events come here and there."""
    need_program(QEMU)
    made_file(lab.path("d.img"), MIB)
    here, there = (Scsid(lab, [f"d=file:{lab.path('d.img')},lock=off", f"e=mem:{MIB}M"], [f"vhost-user:{lab.path(name)},initiator=vm"], ["0:0=d,serial=D"],
                         name="scsid-" + name) for name in ("here", "there"))
    guest = Moving(lab, "guest", extra=arguments([Host(lab.path("here"))]), modules=MODULES).ready()
    wait_until(lambda: addresses(guest), BACK_S, "the guest finds its LUN", child=guest.child)
    load = Writers(guest, "sda")
    load.go_on(0, here.child)
    here.ctl("lun", "add", "1:1=e")
    wait_until(lambda: "1:1" in addresses(guest), BACK_S, "the guest finds a LUN")
    here.ctl("lun", "remove", "1:1")
    wait_until(lambda: "1:1" not in addresses(guest), BACK_S, "the guest forgets it")
    target = Moving(lab, "target", way=lab.path("way"), extra=arguments([Host(lab.path("there"))]), modules=MODULES)
    target.waits()
    guest.sets_out(target)
    before = load.rounds()
    guest.arrives(target)
    load.guest = target
    load.go_on(before + 2, there.child)
    expect(there.running("there") and not here.running("here"), "who serves it?")
    there.ctl("lun", "add", "1:1=e")
    wait_until(lambda: "1:1" in addresses(target), BACK_S, "the guest finds a LUN where it is now", child=there.child)
    load.end()
    expect(there.export("there")["counters"]["errors"] == 0, "a command has failed")
    end_well(here)
    end_well(there)


TARGETS, LUNS = 255, 3
ASKED_MAX = 30  # commands of a scan for each logical unit; 27 are usual
SCAN_S = 300  # virtio_scsi scans before its insmod ends: 4 s on a quiet machine, 12 on a loaded one


@case
def linux_finds_many_luns(lab):
    """Of 255 targets, by a scan at its boot. How long that takes is printed: the clock of a guest on a loaded machine proves nothing."""
    need_program(QEMU)
    places = [f"{target}:{lun}" for target in range(TARGETS) for lun in range(LUNS)]
    scsid = Scsid(lab, [f"d{number}=null:1M" for number in range(len(places))], [f"vhost-user:{lab.path('host')}"],
                  [f"{place}=d{number}" for number, place in enumerate(places)])
    guest = Guest(lab, "guest", extra=arguments([Host(lab.path("host"))]), modules=("virtio_scsi",)).ready(seconds=SCAN_S)
    wait_until(lambda: guest.check("ls /sys/class/scsi_device | wc -l").strip() == str(len(places)), 2 * BACK_S,
               f"the guest finds {len(places)} LUNs", child=guest.child)
    found = guest.check("ls /sys/class/scsi_device").split()
    expect(sorted(found) == sorted(f"0:0:{place}" for place in places), f"{found}")
    times = guest.check("dmesg | sed -n -e 's/^\\[ *\\([0-9.]*\\)\\] scsi host0: .*/\\1/p' -e "
                        "'s/^\\[ *\\([0-9.]*\\)\\] scsi 0:0:[0-9:]*: Direct-Access .*/\\1/p'").split()
    counters = scsid.export("host")["counters"]
    print(f"     {len(places)} LUNs of {TARGETS} targets in {float(times[-1]) - float(times[0]):.2f} s by the guest's clock, "
          f"{counters['commands']} commands")
    expect(counters["commands"] <= ASKED_MAX * len(places), f"{counters}")
    end_well(scsid)


@case
def a_read_only_lun_is_not_written_to(lab):
    made_file(lab.path("ro.img"), MIB)
    scsid, guest = start(lab, [f"ro=file:{lab.path('ro.img')}"], ["0:0=ro,read-only=on"])
    expect(guest.check("cat /sys/block/sda/ro").strip() == "1", "the guest may write")
    expect(guest.run("dd if=/dev/urandom of=/dev/sda bs=4k count=1 conv=fsync").status != 0, "it was written to")
    end_well(scsid)


@case
def seabios_boots_from_a_lun(lab):
    need_program(QEMU)
    boot_image(lab.path("boot.img"), "booted from vireo\r\n", MIB)
    scsid = Scsid(lab, [f"boot=file:{lab.path('boot.img')}"], [f"vhost-user:{lab.path('host')}"], ["0:0=boot"])
    argv = [QEMU, "-M", "q35,memory-backend=mem", "-accel", acceleration(), "-m", "64", "-object",
            "memory-backend-memfd,id=mem,size=64M,share=on", "-nodefaults", "-no-user-config", "-display", "none",
            "-serial", f"file:{lab.path('boot.serial')}", *Host(lab.path("host"), 1, {"bootindex": 1}).arguments(0)]
    child = lab.start(argv, log="boot.qemu")

    def said():
        with open(lab.path("boot.serial"), errors="replace") as serial:
            return "booted from vireo" in serial.read()
    wait_until(lambda: os.path.exists(lab.path("boot.serial")) and said(), BACK_S, "the boot sector's words", child=child)
    end_well(scsid)


# ---- those who know SCSI ----

ANSWERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scsi_answers.txt")
TOOLS = ("sg_inq /dev/sda", "sg_vpd -a /dev/sda", "sg_readcap -l /dev/sda", "sg_opcodes -a /dev/sda", "sg_luns /dev/sda",
         "sg_rtpg -e /dev/sda", "sg_persist -c /dev/sda", "sg_modes -a /dev/sda", "sg_get_lba_status --lba=0 /dev/sda",
         "sg_unmap --force --lba=8 --num=8 /dev/sda", "sg_write_same --16 --lba=16 --num=8 /dev/sda",
         "sg_compare_and_write --in=/tmp/zero --lba=0 --num=1 /dev/sda", "sg_verify --lba=0 --count=8 /dev/sda", "sg_sync /dev/sda",
         "sg_copy_results -p /dev/sda", "sg_xcopy if=/dev/sg0 of=/dev/sg0 bs=512 skip=1024 seek=2048 count=128 list_id=9 id_usage=hold",
         "sg_copy_results -s --list_id=9 /dev/sda", "sg_xcopy if=/dev/sg0 of=/dev/sg0 bs=512 seek=32700 count=69 list_id=8 id_usage=hold",
         "sg_reset -d /dev/sda", "sg_turs -v /dev/sda", "sg_turs -v /dev/sda")


@case
def the_tools_of_sg3_utils_hear_what_the_golden_file_says(lab):
    """SCSI_ANSWERS=new makes it anew."""
    programs = sorted({tool.split()[0] for tool in TOOLS})
    for name in programs:
        need_program(name)
    scsid, guest = start(lab, [f"a=mem:{MIB}M"], ["0:0=a,serial=VIREO-1"], programs=programs)
    guest.check("dd if=/dev/zero of=/tmp/zero bs=1k count=1; dd if=/dev/urandom of=/tmp/random bs=64k count=1; "
                "dd if=/tmp/random of=/dev/sda bs=64k seek=8 conv=fsync")
    said = guest.check("".join(f"echo '$ {tool}'; {tool} 2>&1; echo \"-> $?\"\n" for tool in TOOLS), seconds=120)
    copied = guest.run("blockdev --flushbufs /dev/sda; dd if=/dev/sda bs=64k skip=16 count=1 2>/dev/null | cmp - /tmp/random")  # by sg_xcopy
    said = re.sub(r"[ \t]+$", "", said, flags=re.M)
    if os.environ.get("SCSI_ANSWERS") == "new":
        with open(ANSWERS, "w") as file:
            file.write(said)
    with open(ANSWERS) as file:
        wanted = file.read()
    for line, (was, now) in enumerate(zip(wanted.splitlines(), said.splitlines()), 1):
        expect(was == now, f"scsi_answers.txt:{line}: '{was}' was '{now}'")
    expect(wanted == said, "one of them is longer")
    expect(copied.status == 0, "what sg_xcopy has copied is not there")
    end_well(scsid)


if __name__ == "__main__":
    main()
