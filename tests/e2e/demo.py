#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`make demo-disk` in a small form: Linux boots from a disk of vireo-blkd, and what it writes outlives the daemon."""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import kernels  # noqa: E402
from guest.cases import case, expect, main, need_program  # noqa: E402
from guest.qemu import QEMU  # noqa: E402
from guest.switch import ROOT, build_folder  # noqa: E402

MIB = 32
DEMO_S = 300


@case
def linux_boots_from_a_disk_that_is_killed_and_resized(lab):
    for name in QEMU, "as", "ld":
        need_program(name)
    kernels.kernel()
    argv = [f"{ROOT}/demo/disk"]
    environment = {**os.environ, "VIREO_BUILD": build_folder(), "VIREO_DEMO_MIB": str(MIB), "TMPDIR": lab.folder}
    done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEMO_S)
    expect(done.returncode == 0, f"{done.returncode}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
    expect("SeaBIOS has booted Linux from the disk boot" in done.stdout, done.stdout)
    expect(len(re.findall("kill -9", done.stdout)) == 2, done.stdout)
    expect(f"{MIB} MiB were written and verified, with 2 kills of the daemon and a resize: all is well." in done.stdout, done.stdout)
    expect(done.stdout.endswith("and nothing is left running.\n"), done.stdout[-200:])
    expect(not os.listdir(lab.folder), f"it has left {os.listdir(lab.folder)}")


if __name__ == "__main__":
    main()
