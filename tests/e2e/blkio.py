#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk of vireo-blkd under libblkio's vhost-user driver, which is in Debian 13 and later: taken from there, and run by its loader."""
import os
import platform
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest import suites  # noqa: E402
from guest.cases import Skip, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd, made_file  # noqa: E402

SUITE, PACKAGES = "trixie", ("libblkio-dev", "libblkio1", "libc6", "libgcc-s1")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "blkio_client.c")
MIB = 16
CLIENT_S = 60


def client(lab):
    """The words that start it."""
    if platform.machine() != "x86_64":
        raise Skip("for x86_64 alone")
    need_program("gcc")
    folder = suites.packages(SUITE, PACKAGES, fetch="VIREO_BLKIO" in os.environ)
    if not folder:
        raise Skip("libblkio of Debian 13 has not been fetched: `make blkio` does that")
    built = lab.path("blkio_client")
    libraries = os.path.join(folder, suites.LIBRARIES)
    done = subprocess.run(["gcc", "-O1", "-Wall", "-I", folder + "/usr/include", "-o", built, SOURCE,
                           os.path.join(libraries, "libblkio.so.1"), "-Wl,--allow-shlib-undefined"], capture_output=True, text=True)
    expect(done.returncode == 0, done.stderr)
    return [*suites.loader(folder), built]


@case_for({"file_one_queue": ("file", 1), "file_four_queues": ("file", 4), "memory_two_queues": ("mem", 2)},
          "libblkio_reads_what_it_has_written_{}", shows=[("vhost-user", "split")])
def libblkio_reads_what_it_has_written(lab, kind, queues):
    """Discarded and zeroed blocks read as zeroes, the others as they were written, by each queue."""
    argv = client(lab)
    spec = f"mem:{MIB}M" if kind == "mem" else f"file:{made_file(lab.path('disk.img'), MIB)}"
    blkd = Blkd(lab, [f"d={spec}"], [f"vhost-user:{lab.path('disk')},disk=d"], ["--workers", "2"])
    done = subprocess.run([*argv, lab.path("disk"), str(queues)], capture_output=True, text=True, timeout=CLIENT_S)
    expect(done.returncode == 0 and f"done capacity {MIB << 20}" in done.stdout, f"{done.returncode}: {done.stdout}{done.stderr}")
    counters = blkd.export("disk")["counters"]
    expect(not counters["errors"] and not counters["refused"], f"{counters}")
    expect(all(counters[name] == 8 * queues for name in ("flushes", "zeroes", "discards")), f"{counters}")
    end_well(blkd)


if __name__ == "__main__":
    main()
