#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The example entropy device under a QEMU guest: the kernel's own driver fills /dev/hwrng from it."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case_for, expect, main, need_program  # noqa: E402
from guest.lab import listening_sockets, wait_until  # noqa: E402
from guest.qemu import Guest  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KIB = 64


def device(socket, properties):
    extra = "".join(f",{key}={value}" for key, value in properties.items())
    return ["-chardev", f"socket,id=rng,path={socket}", "-device", f"vhost-user-rng-pci,chardev=rng{extra}"]


@case_for({"split": ({},), "packed": ({"packed": "on"},)}, "a_guest_reads_random_bytes_{}", shows=["vhost-user"])
def a_guest_reads_random_bytes(lab, properties):
    need_program("qemu-system-x86_64")
    build = os.environ.get("VIREO_BUILD", os.path.join(ROOT, "build"))
    path = lab.path("rng.sock")
    daemon = lab.start([os.path.join(build, "examples/vireo-rng"), f"vhost-user:{path}"], log="rng.log")
    wait_until(lambda: listening_sockets(path), 20, "the socket of vireo-rng", child=daemon)
    guest = Guest(lab, "guest", extra=device(path, properties)).ready()
    expect("virtio" in guest.check("cat /sys/class/misc/hw_random/rng_current"), "hwrng is not the virtio device")
    sums = set()
    for _ in range(2):
        guest.check(f"dd if=/dev/hwrng of=/tmp/random bs=1024 count={KIB} 2>/dev/null", seconds=120)
        expect(guest.check("wc -c </tmp/random").strip() == str(KIB * 1024), "too few bytes")
        sums.add(guest.check("sha256sum </tmp/random"))
        # Random bytes do not shrink, and zeroes (or a repeated buffer) would.
        packed = int(guest.check("gzip -c </tmp/random | wc -c"))
        expect(packed > KIB * 1000, f"{KIB} KiB shrink to {packed} bytes")
    expect(len(sums) == 2, "the same bytes twice")
    expect(lab.stop(daemon) == 0, "vireo-rng did not end cleanly")


if __name__ == "__main__":
    main()
