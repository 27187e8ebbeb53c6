#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Programs that have names of their own, linked with the installed libraries by what pkg-config says: shared and static."""
import glob
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.installed import Installed, run  # noqa: E402
from guest.lab import listening_sockets, wait_until  # noqa: E402
from guest.switch import ROOT  # noqa: E402

NAMES = "tests/e2e/linked_names.c"


def linked(tree, name, sources, packages, static):
    flags = tree.flags(*["--static"] * static, "--cflags", "--libs", packages=packages)
    run(["cc", "-Wall", "-Werror", "-o", tree.lab.path(name), *[os.path.join(ROOT, source) for source in sources], *flags])
    return tree.lab.path(name)


@case_for({"shared": (False,), "static": (True,)}, "an_application_has_names_of_its_own_beside_the_{}_libraries")
def names_of_its_own(lab, static):
    tree = Installed(lab)
    for path in glob.glob(f"{tree.root}/**/*.so*", recursive=True) if static else ():
        os.unlink(path)
    device = linked(tree, "device", ["examples/vireo-rng/main.c", NAMES], ["vireo"], static)
    front = linked(tree, "front", ["tests/e2e/linked_front.c", NAMES], ["vireo", "vireo-driver"], static)
    expect(("libvireo" in run(["ldd", device])) != static, "the library is linked the other way")
    socket = lab.path("rng.sock")
    daemon = lab.start([device, f"vhost-user:{socket}"], log="device.log", env=tree.environment())
    wait_until(lambda: listening_sockets(socket), 20, "the socket of vireo-rng", child=daemon)
    expect(run([front, socket], **tree.environment()).startswith("256 bytes"), "the device has not filled the buffer")
    expect(lab.stop(daemon) == 0, "vireo-rng did not end cleanly")


@case
def each_public_header_has_an_installed_man_page(lab):
    tree = Installed(lab)
    headers = {os.path.basename(path)[:-2] for path in glob.glob(f"{tree.root}/**/include/vireo/*.h", recursive=True)}
    pages = {os.path.basename(path)[:-2] for path in glob.glob(f"{tree.root}/**/man3/*.3", recursive=True) if not os.path.islink(path)}
    expect(pages == {"vireo" if name == "vireo" else f"vireo_{name}" for name in headers}, f"{headers}, {pages}")


if __name__ == "__main__":
    main()
