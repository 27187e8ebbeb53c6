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
SUITE_S = 420


@case_for({transport: (transport, *modules) for transport, modules in MODULES.items()}, "lies_over_{}")
def lies_over(lab, transport, modules):
    guest = LabGuest(lab, modules=modules, cpus=2).ready()
    done = guest.run(f"VIREO_BUILD={build_folder()} python3 {ROOT}/tests/hostile/run --transport {transport} --slow {SLOWNESS}",
                     seconds=SUITE_S)
    *lines, summary = done.output.splitlines() or ["nothing was said"]
    for line in lines:
        print(re.sub(r"^(ok  |FAIL|skip) ", rf"\1 {transport}: ", line))
    expect(done.status == 0, f"{transport}: status {done.status}: {summary}")


if __name__ == "__main__":
    main()
