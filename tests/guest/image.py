# SPDX-License-Identifier: BSD-3-Clause
"""A kernel and an initramfs for guests, from Debian's packages, without installing any of them.

The cache ($VIREO_CACHE, else ~/.cache/vireo) holds one folder per kernel package and version, and one initramfs per content.
"""
import fcntl
import functools
import glob
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
META_PACKAGE = "linux-image-cloud-amd64"
MODULES = ["virtio_pci", "virtio_console", "virtio_net", "virtio-rng"]
PROGRAMS = ["ethtool"]  # copied in with their libraries where the machine has them


def cache_folder():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.environ.get("VIREO_CACHE") or os.path.join(home, "vireo")
    os.makedirs(folder, exist_ok=True)
    return folder


def say(text):
    print(text, file=sys.stderr, flush=True)


def _run(argv, **keywords):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                          **keywords).stdout


class Apt:
    """apt, as any user; with lists of its own where the machine has none."""

    def __init__(self, own_lists=None):
        self.options = ["-o", f"APT::Sandbox::User={_user_name()}", "-o", "Debug::NoLocking=1"]
        if own_lists:
            for sub in ("lists/partial", "cache/archives/partial"):
                os.makedirs(os.path.join(own_lists, sub), exist_ok=True)
            self.options += ["-o", f"Dir::State::Lists={own_lists}/lists", "-o", f"Dir::Cache={own_lists}/cache"]
            _run(["apt-get", *self.options, "update"])

    def kernel_package(self):
        """(name, version) of the real package behind the meta package, or None."""
        depends = _run(["apt-cache", *self.options, "depends", META_PACKAGE])
        names = re.findall(r"Depends: (linux-image-\S+)", depends)
        if not names:
            return None
        shown = _run(["apt-cache", *self.options, "show", "--no-all-versions", names[0]])
        version = re.search(r"^Version: (\S+)", shown, re.M)
        return (names[0], version.group(1)) if version else None

    def download(self, name, folder):
        _run(["apt-get", *self.options, "download", name], cwd=folder)
        return glob.glob(os.path.join(folder, name + "_*.deb"))[0]


def _user_name():
    import pwd
    return pwd.getpwuid(os.getuid()).pw_name


def _newest_cached(cache):
    found = sorted(glob.glob(os.path.join(cache, "linux-image-*", "vmlinuz")), key=os.path.getmtime)
    return os.path.dirname(found[-1]) if found else None


def _unpack(deb, target):
    """Keeps the kernel and its modules; target appears whole or not at all."""
    cache = os.path.dirname(target)
    work = tempfile.mkdtemp(prefix="unpack-", dir=cache)
    try:
        _run(["dpkg", "-x", deb, work])
        os.mkdir(os.path.join(work, "out"))
        shutil.move(glob.glob(work + "/boot/vmlinuz-*")[0], work + "/out/vmlinuz")
        shutil.move((glob.glob(work + "/lib/modules/*") + glob.glob(work + "/usr/lib/modules/*"))[0], work + "/out/modules")
        os.rename(work + "/out", target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@functools.lru_cache(maxsize=None)
def kernel():
    """Folder with `vmlinuz` and `modules/`: the kernel that this machine's release has for the cloud."""
    cache = cache_folder()
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _kernel_of_today(cache)


def _kernel_of_today(cache):
    """Asks apt, which takes a second or more, at most once a day."""
    note = os.path.join(cache, "kernel")
    try:
        fresh = time.time() - os.path.getmtime(note) < 24 * 3600
        folder = os.path.join(cache, _read(note).decode().strip())
        if fresh and os.path.exists(folder + "/vmlinuz"):
            return folder
    except OSError:
        pass
    folder = _kernel_of_apt(cache)
    with open(note, "w") as out:
        out.write(os.path.basename(folder) + "\n")
    return folder


def _kernel_of_apt(cache):
    apt = Apt()
    try:
        package = apt.kernel_package()
    except (OSError, subprocess.CalledProcessError):
        package = None
    if not package:
        cached = _newest_cached(cache)
        if cached:
            return cached
        say("Reading Debian's package lists (once)")
        apt = Apt(own_lists=os.path.join(cache, "apt"))
        package = apt.kernel_package()
    name, version = package
    target = os.path.join(cache, f"{name}_{version.replace(':', '%3a')}")
    if not os.path.exists(os.path.join(target, "vmlinuz")):
        say(f"Fetching a guest kernel, {name} {version} (once; kept in {cache})")
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            try:
                deb = apt.download(name, folder)
            except subprocess.CalledProcessError:  # lists older than the archive
                deb = Apt(own_lists=os.path.join(cache, "apt")).download(name, folder)
            _unpack(deb, target)
    return target


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
        listed = _run(["ldd", program])
    except subprocess.CalledProcessError:
        return []
    return re.findall(r"(?:=> )?(/\S+) \(0x", listed)


def initramfs(kernel_folder, programs=()):
    """Path of a busybox initramfs with the modules that the guests need, the agent, and `programs`, which must be there."""
    cpio = Cpio()
    for folder in ("bin", "dev", "proc", "sys", "tmp", "etc", "modules"):
        cpio.folder(folder)
    cpio.device("dev/console", 5, 1)
    cpio.link("sbin", "bin")
    cpio.file("bin/busybox", _read(_busybox()))
    cpio.link("bin/sh", "busybox")
    cpio.file("init", _read(os.path.join(HERE, "init.sh")))
    names = []
    for name, data in modules_in_order(kernel_folder + "/modules", MODULES):
        cpio.file(f"modules/{name}.ko", data, 0o644)
        names.append(name)
    cpio.file("modules/order", "".join(name + "\n" for name in names).encode(), 0o644)
    copied = set()
    for program in [*PROGRAMS, *programs]:
        path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if not path:
            if program in programs:
                raise FileNotFoundError(f"{program}, which the guests need")
            continue
        cpio.file("bin/" + program, _read(path))
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
