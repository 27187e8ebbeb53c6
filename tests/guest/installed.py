# SPDX-License-Identifier: BSD-3-Clause
"""What has been built, installed into a folder, and programs compiled against that as anybody's would be."""
import glob
import os
import subprocess

from .cases import need_program
from .switch import ROOT, build_folder

BUILD_S = 60


def run(argv, **environment):
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=BUILD_S)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


class Installed:
    """An installed tree in the lab's folder."""

    def __init__(self, lab):
        for name in "meson", "pkg-config", "cc":
            need_program(name)
        self.lab, self.root = lab, lab.path("root")
        run(["meson", "install", "-C", build_folder(), "--no-rebuild", "--quiet"], DESTDIR=self.root)
        self.pkgconfig = os.path.dirname(glob.glob(f"{self.root}/**/vireo.pc", recursive=True)[0])

    def flags(self, *words, packages=("vireo",)):
        return run(["pkg-config", *words, *packages], PKG_CONFIG_PATH=self.pkgconfig, PKG_CONFIG_SYSROOT_DIR=self.root).split()

    def compile(self, name):
        """An example, with nothing of the source tree but its own file; the program's path."""
        out = self.lab.path(name)
        run(["cc", "-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-o", out, f"{ROOT}/examples/{name}/main.c",
             *self.flags("--cflags", "--libs"), "-pthread"])
        return out

    def environment(self):
        return {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(self.pkgconfig)}
