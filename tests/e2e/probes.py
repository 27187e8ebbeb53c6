#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Probes: what docs/observing.md says there are is in the programs, each with so many arguments, and nothing else is."""
import os
import re
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.switch import ROOT, build_folder, program  # noqa: E402

OF_THE_SWITCH = {"frame_drop"}


def documented():
    """{name: how many arguments}."""
    with open(os.path.join(ROOT, "docs/observing.md"), encoding="utf-8") as page:
        section = page.read().split("\n## Probes\n")[1].split("\n## ")[0]
    return {name: arguments.count(",") + 1 for name, arguments in re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.M)}


def need_probes():
    with open(os.path.join(build_folder(), "compile_commands.json"), encoding="utf-8") as commands:
        if "-DVIREO_HAS_SDT=1" not in commands.read():
            raise Skip("built without sys/sdt.h")


def notes(path):
    """[(name, how many arguments, address of its semaphore)] of the provider."""
    text = subprocess.run(["readelf", "-n", "--wide", path], capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.findall(r"Provider: (\S+)\s+Name: (\S+)\s+Location: \S+ Base: \S+ Semaphore: (\S+)\s+Arguments:([^\n]*)", text)
    return [(name, len(re.findall(r"-?\d@", arguments)), int(semaphore, 16)) for provider, name, semaphore, arguments in found if provider == "vireo"]


@case
def each_program_has_what_the_page_says(lab):
    need_probes()
    rows = documented()
    expect(len(rows) >= 9, f"{rows}")
    for name in ("vireo-switchd", "vireo-blkd", "vireo-scsid"):
        there = notes(program(name))
        wanted = set(rows) - (set() if name == "vireo-switchd" else OF_THE_SWITCH)
        expect({probe for probe, _, _ in there} == wanted, f"{name}: {sorted(set(there))}")
        for probe, arguments, semaphore in there:
            expect(arguments == rows[probe], f"{name}: {probe} has {arguments} arguments")
            expect(bool(semaphore) == (probe in OF_THE_SWITCH), f"{name}: {probe} has a semaphore at {semaphore}")


def loaded(path, address):
    """The bytes at an address of the program's, which lie in its file or are 0."""
    headers = subprocess.run(["readelf", "-l", "--wide", path], capture_output=True, text=True, timeout=60, check=True).stdout
    for offset, start, file_bytes, all_bytes in re.findall(r"LOAD\s+0x(\w+) 0x(\w+) 0x\w+ 0x(\w+) 0x(\w+)", headers):
        at = address - int(start, 16)
        if 0 <= at < int(all_bytes, 16):
            with open(path, "rb") as file:
                file.seek(int(offset, 16) + at)
                return file.read(2) if at < int(file_bytes, 16) else bytes(2)
    return None


@case
def a_probe_that_nobody_looks_at_is_not_asked_for(lab):
    """Its semaphore lies in memory of the process that can be written, and is 0."""
    need_probes()
    path = program("vireo-switchd")
    semaphores = {semaphore for name, _, semaphore in notes(path) if name == "frame_drop"}
    expect(len(semaphores) == 1, f"{semaphores}")
    expect(struct.unpack("<H", loaded(path, semaphores.pop()) or b"\1\1")[0] == 0, "it is 0")


if __name__ == "__main__":
    main()
