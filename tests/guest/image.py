# SPDX-License-Identifier: BSD-3-Clause
"""An initramfs for guests, kept beside the kernels, one per content."""
import glob
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile

from .kernels import SYSTEM_PATH, cache_folder, output_of

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = ["virtio_pci", "virtio_console", "virtio_net", "virtio-rng", "virtio_blk"]
PROGRAMS = ["ethtool"]  # copied in with their libraries where the machine has them


def _module_bytes(path):
    with open(path, "rb") as module:
        data = module.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def modules_in_order(folder, wanted):
    """[(name, bytes)], each after those it depends on. Names that are built in or unknown are left out."""
    paths = {}
    for path in glob.glob(folder + "/kernel/**/*.ko*", recursive=True):
        paths[os.path.basename(path).split(".")[0].replace("-", "_")] = path
    ordered, seen = [], set()

    def add(name):
        name = name.replace("-", "_")
        if name in seen or name not in paths:
            return
        seen.add(name)
        data = _module_bytes(paths[name])
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in (depends.group(1).decode().split(",") if depends else []):
            add(other)
        ordered.append((name, data))

    for name in wanted:
        add(name)
    return ordered


class Cpio:
    """Writes the "newc" format, which needs neither root nor a tool."""

    def __init__(self):
        self.parts, self.inode, self.folders = [], 0, {""}

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        header = "070701" + "".join(f"{value:08x}" for value in (
            self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0))
        for part in (header.encode() + encoded, data):
            self.parts.append(part + b"\0" * (-len(part) % 4))

    def folder(self, name):
        name = name.strip("/")
        if name not in self.folders:
            self.folder(os.path.dirname(name))
            self.folders.add(name)
            self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o755):
        self.folder(os.path.dirname(name.strip("/")))
        self._entry(name.strip("/"), stat.S_IFREG | mode, data)

    def device(self, name, major, minor):
        self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def link(self, name, target):
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        return b"".join(self.parts)


def _read(path):
    with open(path, "rb") as source:
        return source.read()


def _is_static(data):
    """An ELF64 program without an interpreter (program header PT_INTERP)."""
    table, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    return all(struct.unpack_from("<I", data, table + size * index)[0] != 3 for index in range(count))


def _busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path) and _is_static(_read(path)):
            return path
    raise FileNotFoundError("a static busybox (package busybox-static)")


def _libraries(program):
    """What ldd names, by the path it is looked for."""
    try:
        listed = output_of(["ldd", program])
    except subprocess.CalledProcessError:
        return []
    return re.findall(r"(?:=> )?(/\S+) \(0x", listed)


def initramfs(kernel_folder, programs=(), modules=MODULES, init="init.sh", helpful=PROGRAMS, held_back=()):
    """Path of a busybox initramfs with `modules`, `init` as the first process, and `programs`, which must be there. Modules
    that are `held_back` are there, and are not loaded."""
    cpio = Cpio()
    for folder in ("bin", "dev", "proc", "sys", "tmp", "etc", "modules"):
        cpio.folder(folder)
    cpio.device("dev/console", 5, 1)
    cpio.link("sbin", "bin")
    cpio.file("bin/busybox", _read(_busybox()))
    cpio.link("bin/sh", "busybox")
    cpio.file("init", _read(os.path.join(HERE, init)))
    names = []
    for name, data in modules_in_order(kernel_folder + "/modules", modules):
        cpio.file(f"modules/{name}.ko", data, 0o644)
        if name not in held_back:
            names.append(name)
    cpio.file("modules/order", "".join(name + "\n" for name in names).encode(), 0o644)
    copied = set()
    for program in [*helpful, *programs]:
        path = shutil.which(program, path=SYSTEM_PATH)
        if not path:
            if program in programs:
                raise FileNotFoundError(f"{program}, which the guests need")
            continue
        cpio.file("bin/" + os.path.basename(program), _read(path))
        for library in _libraries(path):
            if library not in copied:
                copied.add(library)
                cpio.file(library, _read(library))
    return _store(cpio.bytes())


def _store(data):
    path = os.path.join(cache_folder(), f"initramfs-{hashlib.sha256(data).hexdigest()[:16]}")
    if not os.path.exists(path):
        with tempfile.NamedTemporaryFile(dir=cache_folder(), delete=False) as new:
            new.write(data)
        os.rename(new.name, path)
    return path
