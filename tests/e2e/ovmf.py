#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk of vireo-blkd under UEFI firmware: OVMF's driver reads a file system from it, and writes to it."""
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

FIRMWARE = "/usr/share/ovmf/OVMF.fd"
QUEUES = 4
BOOTED_S = 150  # an emulated machine, on a loaded one; 12 s are usual, 5 of which its shell waits for a key
WRITTEN = b"written by " + b"firmware"  # as it is in no file of ours
SCRIPT = "\r\n".join(["@echo -off", "fs0:", "set -v who firmware", r"echo written by %who% >a fs0:\said.txt", r"type fs0:\said.txt",
                      "reset -s", ""])


@case
def ovmf_boots_from_a_disk(lab):
    """Its shell finds a script there, which makes a file, and turns the machine off. Of the disk's queues it starts one."""
    need_program(QEMU)
    if not os.path.exists(FIRMWARE):
        raise Skip("OVMF (package ovmf) is not installed")
    fat.made(lab.path("boot.img"), ("STARTUP", "NSH"), SCRIPT.encode())
    blkd = Blkd(lab, [f"boot=file:{lab.path('boot.img')}"], [f"vhost-user:{lab.path('boot')},disk=boot"])
    argv = [QEMU, "-M", "q35,memory-backend=mem", "-accel", acceleration(), "-m", "128", "-object",
            "memory-backend-memfd,id=mem,size=128M,share=on", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-bios", FIRMWARE, "-serial", f"file:{lab.path('boot.serial')}", *Drive(lab.path("boot"), QUEUES, {"bootindex": 1}).arguments(0)]
    child = lab.start(argv, log="boot.qemu")
    wait_until(lambda: child.poll() is not None, BOOTED_S, "the script turns the machine off")
    with open(lab.path("boot.serial"), "rb") as serial:
        said = serial.read()
    expect(WRITTEN in said, f"its shell said: {said[-400:]}")
    with open(lab.path("boot.img"), "rb") as image:
        expect(WRITTEN in image.read(), "the disk does not have what was written")
    counters = blkd.export("boot")["counters"]
    expect(counters["reads"] and counters["writes"] and not counters["errors"], f"{counters}")
    end_well(blkd)


if __name__ == "__main__":
    main()
