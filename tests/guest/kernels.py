# SPDX-License-Identifier: BSD-3-Clause
"""Kernels for guests, from Debian's packages, without installing any of them.

The cache ($VIREO_CACHE, else ~/.cache/vireo) holds one folder per kernel package and version: `vmlinuz`, `modules/` (what
/lib/modules/RELEASE would be) and `lib/modules/RELEASE`, the same for modprobe -d.
"""
import fcntl
import functools
import glob
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time

META_PACKAGE = "linux-image-cloud-amd64"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Unavailable(Exception):
    """This machine cannot run such a guest, and why: a test says skipped."""


def cache_folder():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.environ.get("VIREO_CACHE") or os.path.join(home, "vireo")
    os.makedirs(folder, exist_ok=True)
    return folder


def say(text):
    print(text, file=sys.stderr, flush=True)


def output_of(argv, **keywords):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                          **keywords).stdout


class Apt:
    """apt, as any user; with lists in a folder of its own where the machine has none, and with one `source` there
    (a line of a sources.list) instead of the machine's where it does not list the suite."""

    def __init__(self, own_lists=None, source=None):
        self.options = ["-o", f"APT::Sandbox::User={pwd.getpwuid(os.getuid()).pw_name}", "-o", "Debug::NoLocking=1"]
        if own_lists:
            for sub in ("lists/partial", "cache/archives/partial"):
                os.makedirs(os.path.join(own_lists, sub), exist_ok=True)
            self.options += ["-o", f"Dir::State::Lists={own_lists}/lists", "-o", f"Dir::Cache={own_lists}/cache"]
            if source:
                self.options += self._only(own_lists, source)
            output_of(["apt-get", *self.options, "update"])

    @staticmethod
    def _only(folder, source):
        """What is installed does not count either: it would win over a suite that is asked only by name."""
        path = os.path.join(folder, "sources.list")
        with open(path, "w") as out:
            out.write(source + "\n")
        return ["-o", f"Dir::Etc::sourcelist={path}", "-o", "Dir::Etc::sourceparts=/dev/null",
                "-o", "Dir::State::status=/dev/null", "-o", "APT::Update::Error-Mode=any"]

    def kernel_package(self):
        """(name, version) of the real package behind the meta package, or None."""
        depends = output_of(["apt-cache", *self.options, "depends", META_PACKAGE])
        names = re.findall(r"Depends: (linux-image-\S+)", depends)
        if not names:
            return None
        shown = output_of(["apt-cache", *self.options, "show", "--no-all-versions", names[0]])
        version = re.search(r"^Version: (\S+)", shown, re.M)
        return (names[0], version.group(1)) if version else None

    def download(self, name, folder):
        output_of(["apt-get", *self.options, "download", name], cwd=folder)
        return glob.glob(os.path.join(folder, name + "_*.deb"))[0]


def _mirror():
    """Where this machine has Debian's packages from."""
    rows = output_of(["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"])
    for label, uri in (row.split("|", 1) for row in rows.splitlines()):
        # Without lists apt knows the address, but not yet the label.
        if label == "Debian" or (label.startswith("$(") and uri.rstrip("/").endswith("/debian")):
            return uri
    raise Unavailable("apt's configuration names no mirror of Debian")


def _unpack(deb, target, index):
    """Keeps the kernel and its modules, with modprobe's index if asked to; target appears whole or not at all."""
    cache = os.path.dirname(target)
    work = tempfile.mkdtemp(prefix="unpack-", dir=cache)
    try:
        output_of(["dpkg", "-x", deb, work])
        os.makedirs(work + "/out/lib/modules")
        shutil.move(glob.glob(work + "/boot/vmlinuz-*")[0], work + "/out/vmlinuz")
        modules = (glob.glob(work + "/lib/modules/*") + glob.glob(work + "/usr/lib/modules/*"))[0]
        release = os.path.basename(modules)
        shutil.move(modules, work + "/out/lib/modules")
        os.symlink("lib/modules/" + release, work + "/out/modules")
        if index:
            depmod = shutil.which("depmod", path=SYSTEM_PATH)
            if not depmod:
                raise Unavailable("depmod (package kmod) is not installed")
            output_of([depmod, "-b", work + "/out", release])
        os.rename(work + "/out", target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch(download, package, cache, target, index=False):
    """`download`: function of the package's name and a folder."""
    name, version = package
    if os.path.exists(target + "/vmlinuz"):
        return
    say(f"Fetching a guest kernel, {name} {version} (once; kept in {cache})")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        _unpack(download(name, folder), target, index)


@functools.lru_cache(maxsize=None)
def kernel(suite=None):
    """Folder of the kernel that this machine's release has for the cloud, or that Debian's `suite` has.

    A suite's kernel stays what it was when it was first fetched; `modprobe -d FOLDER` finds its modules. Raises Unavailable
    where it cannot be fetched.
    """
    cache = cache_folder()
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _kernel_of_suite(cache, suite) if suite else _kernel_of_today(cache)


def _noted(note):
    """The kernel's folder that a note beside it names, or None."""
    try:
        with open(note) as text:
            folder = os.path.join(os.path.dirname(note), text.read().strip())
    except OSError:
        return None
    return folder if os.path.exists(folder + "/vmlinuz") else None


def _note(note, folder):
    with open(note, "w") as out:
        out.write(os.path.basename(folder) + "\n")
    return folder


def apt_of(suite):
    """apt with the packages of this suite alone."""
    signed = f"[signed-by={KEYRING}] " if os.path.exists(KEYRING) else ""
    return Apt(os.path.join(cache_folder(), "apt-" + suite), f"deb {signed}{_mirror()} {suite} main")


def _kernel_of_suite(cache, suite):
    note = os.path.join(cache, "kernel-" + suite)
    folder = _noted(note)
    if folder:
        return folder
    try:
        say(f"Reading the package lists of {suite} (once)")
        apt = apt_of(suite)
        package = apt.kernel_package()
        if not package:
            raise Unavailable(f"{suite} has no {META_PACKAGE}")
        target = _target(cache, package, suite + "_")
        _fetch(apt.download, package, cache, target, index=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        why = re.search(r"^E: (.*)", said, re.M)  # the first is the cause, others follow from it
        raise Unavailable(f"the kernel of {suite} cannot be fetched: {why.group(1) if why else said.strip()}") from error
    return _note(note, target)


def _target(cache, package, prefix=""):
    return os.path.join(cache, f"{prefix}{package[0]}_{package[1].replace(':', '%3a')}")


def _kernel_of_today(cache):
    """Asks apt, which takes a second or more, at most once a day."""
    note = os.path.join(cache, "kernel")
    folder = _noted(note)
    if folder and time.time() - os.path.getmtime(note) < 24 * 3600:
        return folder
    return _note(note, _kernel_of_apt(cache))


def _newest_cached(cache):
    found = sorted(glob.glob(os.path.join(cache, "linux-image-*", "vmlinuz")), key=os.path.getmtime)
    return os.path.dirname(found[-1]) if found else None


def _kernel_of_apt(cache):
    apt = Apt()

    def download(name, folder):
        try:
            return apt.download(name, folder)
        except subprocess.CalledProcessError:  # lists older than the archive
            return Apt(own_lists=os.path.join(cache, "apt")).download(name, folder)

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
    target = _target(cache, package)
    _fetch(download, package, cache, target)
    return target
