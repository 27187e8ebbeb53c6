#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk of vireo-blkd, and a LUN of vireo-scsid, under UEFI firmware: OVMF's drivers read a file system from it, and write to it."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import fat  # noqa: E402
from guest.cases import Skip, case, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, Drive  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.qemu import QEMU, acceleration  # noqa: E402
from guest.scsi import Host, Scsid  # noqa: E402

FIRMWARE = "/usr/share/ovmf/OVMF.fd"
QUEUES = 4
BOOTED_S = 150  # an emulated machine, on a loaded one; 12 s are usual, 5 of which its shell waits for a key
WRITTEN = b"written by " + b"firmware"  # as it is in no file of ours
SCRIPT = "\r\n".join(["@echo -off", "fs0:", "set -v who firmware", r"echo written by %who% >a fs0:\said.txt", r"type fs0:\said.txt",
                      "reset -s", ""])


def image_made(lab):
    """What --disk takes: a file system with the script, for who can be started at all."""
    need_program(QEMU)
    if not os.path.exists(FIRMWARE):
        raise Skip("OVMF (package ovmf) is not installed")
    fat.made(lab.path("boot.img"), ("STARTUP", "NSH"), SCRIPT.encode())
    return f"boot=file:{lab.path('boot.img')}"


def booted(lab, device):
    """Its shell has found the script, which makes a file, and turns the machine off."""
    argv = [QEMU, "-M", "q35,memory-backend=mem", "-accel", acceleration(), "-m", "128", "-object",
            "memory-backend-memfd,id=mem,size=128M,share=on", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-bios", FIRMWARE, "-serial", f"file:{lab.path('boot.serial')}", *device.arguments(0)]
    child = lab.start(argv, log="boot.qemu")
    wait_until(lambda: child.poll() is not None, BOOTED_S, "the script turns the machine off")
    with open(lab.path("boot.serial"), "rb") as serial:
        said = serial.read()
    expect(WRITTEN in said, f"its shell said: {said[-400:]}")
    with open(lab.path("boot.img"), "rb") as image:
        expect(WRITTEN in image.read(), "the disk does not have what was written")


@case
def ovmf_boots_from_a_disk(lab):
    """Of the disk's queues it starts one."""
    blkd = Blkd(lab, [image_made(lab)], [f"vhost-user:{lab.path('boot')},disk=boot"])
    booted(lab, Drive(lab.path("boot"), QUEUES, {"bootindex": 1}))
    counters = blkd.export("boot")["counters"]
    expect(counters["reads"] and counters["writes"] and not counters["errors"], f"{counters}")
    end_well(blkd)


@case
def ovmf_boots_from_a_lun(lab):
    """It is told to boot from target 0, LUN 0 (QEMU's bootindex says no other), looks for nothing else, and has no event queue."""
    scsid = Scsid(lab, [image_made(lab)], [f"vhost-user:{lab.path('boot')}"], ["0:0=boot"])
    booted(lab, Host(lab.path("boot"), QUEUES, {"bootindex": 1}))
    counters = scsid.export("boot")["counters"]
    expect(counters["in_bytes"] and counters["out_bytes"] and not counters["events"], f"{counters}")
    end_well(scsid)


if __name__ == "__main__":
    main()
