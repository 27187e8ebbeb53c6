# SPDX-License-Identifier: BSD-3-Clause
"""User-mode Linux (Debian's package user-mode-linux): a kernel that is a program of this machine, with devices over vhost-user.

It carries out one script, and ends. What it needs of the machine is ptrace, and a tmpfs for its memory.
"""
import glob
import os
import shutil
import subprocess
import sys

from . import image
from .kernels import Unavailable

UML = "linux.uml"
MODULES = "/usr/lib/uml/modules"
MEMORY_MIB = 128
DONE = "the-job-is-done"  # as uml-init.sh says it
JOB_S = 150  # on a loaded machine; 3 s are usual

# Its kernel 6.1 has room for the registers of processors up to AVX-512. Of one that has more (AMX) it reads what fits, and cannot
# write that back: the first program in it dies. Told that there are no such registers it keeps those of SSE, and then no
# program in it may use others.
LARGE_REGISTERS = "amx_tile"
SMALL_ONES = [sys.executable, "-B", os.path.join(os.path.dirname(os.path.abspath(__file__)), "uml_registers.py")]
PROGRAMS_WITHOUT = "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-AVX_Fast_Unaligned_Load"


def has_large_registers():
    with open("/proc/cpuinfo") as info:
        return any(LARGE_REGISTERS in line.split() for line in info if line.startswith("flags"))


def modules_folder(lab):
    """What image.py takes for a kernel's folder."""
    found = sorted(glob.glob(MODULES + "/*/modules.dep"))
    if not shutil.which(UML) or not found:
        raise Unavailable("User-mode Linux (package user-mode-linux) is not installed")
    folder = lab.path("uml")
    os.makedirs(folder, exist_ok=True)
    if not os.path.lexists(folder + "/modules"):
        os.symlink(os.path.dirname(found[-1]), folder + "/modules")
    return folder


def initramfs(lab, name, script, modules, programs):
    """Two archives, one behind the other, are one: the second has the script."""
    try:
        path = image.initramfs(modules_folder(lab), programs, modules, "uml-init.sh", helpful=())
    except FileNotFoundError as error:
        raise Unavailable(f"not installed: {error}") from error
    job = image.Cpio()
    job.file("job", script.encode())
    with open(path, "rb") as file, open(lab.path(name + ".initramfs"), "wb") as out:
        out.write(file.read() + job.bytes())
    return out.name


def said_by(lab, name, script, devices, modules, programs):
    """What it said, and how it ended."""
    argv = [UML, f"mem={MEMORY_MIB}M", f"initrd={initramfs(lab, name, script, modules, programs)}", "root=/dev/ram0", "quiet",
            "con=null", "con0=null,fd:1", f"umid={name}", f"uml_dir={lab.folder}"]
    argv += [f"virtio_uml.device={path}:{kind}:{index}" for index, (path, kind) in enumerate(devices)]
    if has_large_registers():
        argv = [*SMALL_ONES, *argv, PROGRAMS_WITHOUT]
    child = lab.start(argv, log=name + ".uml")
    try:
        child.wait(JOB_S)
        ended = f"ended with {child.returncode}"
    except subprocess.TimeoutExpired:
        ended = f"has not ended within {JOB_S} s"
    lab.kill(child)
    with open(child.log, errors="replace") as log:
        return log.read(), ended


def run(lab, name, script, devices, modules=("virtio_blk",), programs=()):
    """What the script said; each of its commands has to succeed. `devices`: (socket, virtio's number of the type).
    `programs`: of this machine, which are there with their libraries."""
    said, ended = said_by(lab, name, script, devices, modules, programs)
    if DONE not in said:
        alone, how = said_by(lab, name + "-alone", "true", (), (), ())
        if DONE not in alone:
            raise Unavailable(f"User-mode Linux does not run here, without devices either: it {how}: {alone.strip()[-300:]}")
        raise AssertionError(f"User-mode Linux {name} {ended}:\n{said[-3000:]}")
    return said
