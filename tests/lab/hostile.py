#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The lies of tests/hostile/ told to a VDUSE device and to a vhost character device, under a real kernel: a line for each."""
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case_for, expect, main  # noqa: E402
from guest.labguest import LabGuest  # noqa: E402
from guest.switch import ROOT, build_folder  # noqa: E402

MODULES = {"vduse": (["vduse", "vhost_vdpa"],), "cuse": (["cuse"],)}
SLOWNESS = 4  # of an emulated machine
SUITE_S = 540
CUT_OFF = (124, 137)  # as timeout(1) says it
LAST_LINES = 12


@case_for({transport: (transport, *modules) for transport, modules in MODULES.items()}, "lies_over_{}")
def lies_over(lab, transport, modules):
    guest, said = LabGuest(lab, modules=modules, cpus=2).ready(), bytearray()
    guest.sink = said.extend
    status = None
    try:
        status = guest.run(f"VIREO_BUILD={build_folder()} python3 {ROOT}/tests/hostile/run --transport {transport} "
                           f"--slow {SLOWNESS}", seconds=SUITE_S).status
    finally:
        lines = said.decode(errors="replace").splitlines() or ["nothing was said"]
        if status is None:  # the case may be run once more, and each lie's line is to be there once
            print(f"---- the suite over {transport} ended with\n  " + "\n  ".join(lines[-LAST_LINES:]))
    for line in lines[:None if status in CUT_OFF else -1]:
        print(re.sub(r"^(ok  |FAIL|skip) ", rf"\1 {transport}: ", line))
    expect(status not in CUT_OFF, f"{transport}: cut off after {SUITE_S} s, behind: {' | '.join(lines[-3:])}")
    expect(status == 0, f"{transport}: status {status}: {lines[-1]}")


if __name__ == "__main__":
    main()
