# SPDX-License-Identifier: BSD-3-Clause
"""Programs and libraries of another release of Debian, unpacked into the cache and not installed, and run by that release's own loader."""
import fcntl
import os
import re
import shutil
import subprocess
import tempfile

from . import kernels
from .kernels import Unavailable, cache_folder, output_of, say

LOADER = "lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def packages(suite, names, fetch):
    """A folder that holds what these packages hold; None if it is not there, and is not to be fetched. What they depend on has
    to be named as well."""
    cache = cache_folder()
    target = os.path.join(cache, f"{suite}_{'+'.join(names)}")
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(target):
            if not fetch:
                return None
            _fetch(suite, names, cache, target)
    return target


def _fetch(suite, names, cache, target):
    say(f"Fetching {', '.join(names)} of {suite} (once; kept in {cache})")
    work = tempfile.mkdtemp(prefix="unpack-", dir=cache)
    try:
        apt = kernels.apt_of(suite)
        os.mkdir(work + "/out")
        for name in names:
            output_of(["dpkg", "-x", apt.download(name, work), work + "/out"])
        os.rename(work + "/out", target)
    except (OSError, IndexError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        why = re.search(r"^E: (.*)", said, re.M)
        raise Unavailable(f"packages of {suite} cannot be fetched: {why.group(1) if why else said.strip()}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def loader(folder):
    """What runs a program with the libraries of such a folder: words before its path."""
    for at in (LOADER, "usr/" + LOADER, LIBRARIES + "/ld-linux-x86-64.so.2"):
        path = os.path.join(folder, at)
        if os.path.exists(path):
            return [path, "--library-path", os.path.join(folder, LIBRARIES)]
    raise Unavailable("that release has no loader for this machine")
