# SPDX-License-Identifier: BSD-3-Clause
"""Mount namespaces, also where the root folder is no mount, as below chroot(8): unshare(1) cannot make what lies there private, and refuses; and
where it is root's alone, as a jail's may be: nobody else can run anything there."""
import functools
import os
import subprocess

from .cases import Skip
from .lab import Lab


def _tried(*words):
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)


@functools.lru_cache(maxsize=None)
def own_mounts():
    """unshare(1)'s options for mounts of one's own that nobody else sees."""
    done = _tried("unshare", "--mount", "--", "true")
    if not done.returncode:
        return ("--mount",)
    unchanged = ("--mount", "--propagation", "unchanged")
    with Lab("vireo-mounts-") as lab:
        inside = lab.path("inside")
        tried = _tried("unshare", *unchanged, "--", "sh", "-c", 'mount -t tmpfs none "$0" && touch "$0/inside"', lab.folder)
        if os.path.exists(inside):  # what is mounted there is mounted here, too
            _tried("umount", lab.folder)
            raise Skip("mounts of a namespace would be the machine's, too")
        if tried.returncode:
            raise Skip(f"no mounts of its own here: {done.stderr.strip()[:100]}; {tried.stderr.strip()[:100]}")
    return unchanged


# $0: a folder to be made, in which all is that lies in the root folder; it is root's and everybody may pass through it. Then the command.
PASSABLE = r"""set -e
mkdir -p "$0"
mount -t tmpfs -o mode=755 none "$0"
for entry in /*; do
	if [ -L "$entry" ]; then cp -P "$entry" "$0/"
	elif [ -d "$entry" ]; then mkdir "$0$entry"; mount --rbind "$entry" "$0$entry"
	fi
done
exec chroot "$0" "$@"
"""


@functools.lru_cache(maxsize=None)
def _passable(user_id):
    return not _tried("setpriv", "--reuid", str(user_id), "--regid", str(user_id), "--clear-groups", "--", "true").returncode


def place_for(lab, user_id, *more):
    """A command that runs what follows with mounts of its own (`more` options of unshare), where this user can run programs."""
    words = ["unshare", *own_mounts(), *more, "--"]
    if not _passable(user_id):
        words += ["sh", "-c", PASSABLE, lab.path("passable")]
    done = _tried(*words, "setpriv", "--reuid", str(user_id), "--regid", str(user_id), "--clear-groups", "--", "true")
    if done.returncode:
        raise Skip(f"another user can run nothing here, or not in namespaces of its own: {done.stderr.strip()[:200]}")
    return words
