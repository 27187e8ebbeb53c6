# SPDX-License-Identifier: BSD-3-Clause
"""A Debian system that runs: this machine's release in a folder, with systemd as its first process, in namespaces of its own.

debootstrap makes the folder once, in $VIREO_CACHE/roots (~/.cache/vireo/roots); what a case changes lies in an overlay that goes with
the case. The mirror is the one of this machine's own apt, and the packages are what vireo's depend on, so nothing else is fetched.
"""
import os
import re
import shlex
import shutil
import subprocess

from guest.cases import Skip
from guest.kernels import cache_folder
from guest.lab import tail, wait_until
from guest.mounts import own_mounts

PACKAGES = ("systemd", "systemd-sysv", "adduser", "libnss-systemd")
MADE = ".vireo-made"  # in a folder when it is whole: what it was made with
NAMESPACES = ("--pid", "--fork", "--ipc", "--uts", "--net", "--cgroup")
MAKE_S, BOOT_S, COMMAND_S = 900, 60, 120

# $1: the folder, $2: where its overlay is, $3: a place to mount it.
BOOT = r"""set -e
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$3"
cd "$3"
mount -t proc none proc
mount -t sysfs -o ro none sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs none tmp
mount -t tmpfs -o mode=755 none dev
for node in null zero full random urandom tty; do : >dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 none dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs none dev/shm
# A root that is no mount cannot be put elsewhere, but can be covered.
if pivot_root . mnt 2>/dev/null; then umount -l /mnt; else mount --move . /; fi
exec chroot . env -i container=vireo PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal --show-status=no
"""


def release():
    with open("/etc/os-release") as text:
        found = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text.read(), re.M))
    if found.get("ID") != "debian" or "VERSION_CODENAME" not in found:
        raise Skip("this machine is no Debian system with a release")
    return found["VERSION_CODENAME"]


def mirror():
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"],
                          capture_output=True, text=True)
    if not done.stdout.split():
        raise Skip("this machine's apt names no Debian mirror")
    return done.stdout.split()[0]


def folder(needed):
    """Where the system lies with `needed` packages in it; made if it is not there, or is another."""
    suite, names = release(), sorted({*PACKAGES, *needed})
    path = os.path.join(cache_folder(), "roots", f"{suite}-service")
    try:
        with open(os.path.join(path, MADE)) as made:
            if made.read().split() == names:
                return path
    except OSError:
        pass
    if not shutil.which("debootstrap"):
        raise Skip("debootstrap is not installed")
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={','.join(names)}", suite, path, mirror()],
                          capture_output=True, text=True, timeout=MAKE_S)
    if done.returncode:
        raise Skip(f"no {suite} to be had from this machine's mirror: {done.stdout[-300:]}{done.stderr[-300:]}")
    os.chmod(path, 0o755)
    for name in "systemd-logind.service", "dbus.service", "systemd-resolved.service":  # a bus is nobody's here
        mask = os.path.join(path, "etc/systemd/system", name)
        if not os.path.lexists(mask):
            os.symlink("/dev/null", mask)
    with open(os.path.join(path, MADE), "w") as made:
        made.write("\n".join(names) + "\n")
    return path


def need_namespaces():
    """Mounts, processes and control groups of its own."""
    if os.geteuid():
        raise Skip("only root can run a system in a folder")
    done = subprocess.run(["unshare", *own_mounts(), *NAMESPACES, "--", "mount", "-t", "cgroup2", "none", "/mnt"], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"no system in namespaces of its own here: {done.stderr.strip()[:100]}")


class System:
    """It has booted when this returns."""

    def __init__(self, lab, needed):
        need_namespaces()
        for name in "upper", "work", "place":
            os.makedirs(lab.path("system/" + name))
        os.chmod(lab.folder, 0o755)
        self.lab = lab
        self.child = lab.start(["unshare", *own_mounts(), *NAMESPACES, "--kill-child", "--", "sh", "-c",
                                BOOT, "boot", folder(needed), lab.path("system"), lab.path("system/place")], log="system.log")
        wait_until(self._first, 20, "the first process of the system", child=self.child)
        wait_until(self._booted, BOOT_S, f"the system has booted: {tail(self.child.log)}", step=0.2, child=self.child)

    def _first(self):
        with open(f"/proc/{self.child.pid}/task/{self.child.pid}/children") as children:
            self.pid = next(iter(children.read().split()), None)
        return self.pid

    def _booted(self):
        with open(f"/proc/{self.pid}/comm") as name:
            if name.read().strip() != "systemd":
                return False
        done = self.run("systemctl is-system-running")
        return done.stdout.strip() in ("running", "degraded")

    def run(self, command, seconds=COMMAND_S):
        argv = ["nsenter", "--target", self.pid, "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--root", "--wd", "env", "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", command]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)

    def check(self, command, seconds=COMMAND_S):
        """What a command says that must succeed, on standard output and then on standard error."""
        done = self.run(command, seconds)
        if done.returncode:
            raise AssertionError(f"`{command}` ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout + done.stderr

    def path(self, name):
        """A file of the system, as this machine reaches it: programs here may connect to its sockets."""
        return f"/proc/{self.pid}/root{name}"

    def put(self, source, name):
        with open(source, "rb") as old, open(self.path(name), "wb") as new:
            shutil.copyfileobj(old, new)

    def append(self, name, lines):
        with open(self.path(name), "a") as file:
            file.write("\n".join(lines) + "\n")

    def main_pid(self, unit):
        return self.check(f"systemctl show --property MainPID --value {shlex.quote(unit)}").strip()
