# SPDX-License-Identifier: BSD-3-Clause
"""A daemon as its unit starts it, where no systemd runs."""
import ctypes
import glob
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess

from .cases import Skip, expect, need_program
from .lab import tail, wait_until
from .mounts import place_for
from .switch import ROOT, build_folder, program

USER_ID = 64999  # of nobody's
START_S = 20


def unit_text(daemon):
    path = f"{build_folder()}/packaging/vireo-{daemon}.service"
    if not os.path.exists(path):
        raise Skip("the build has no unit (-Dsystemd=false)")
    with open(path) as unit:
        return unit.read()


def settings(text):
    """{key: [values]}"""
    found = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        found.setdefault(key, []).append(value)
    return found


# $1: a folder with passwd and group, in which what has been built, $5, is there for everybody; $2: the folder of the service below /run,
# $3: its user, $4: that folder's mode; what follows is its command.
AS_THE_UNIT = r"""
set -e
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount --bind "$5" "$1/built"
mount --bind "$1/run" /run
install -d -m "$4" -o "$3" -g "$3" "/run/$2"
user=$3
shift 5
umask 0077
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- \
    env -i NOTIFY_SOCKET="$NOTIFY_SOCKET" WATCHDOG_USEC="$WATCHDOG_USEC" RUNTIME_DIRECTORY=/run/vireo "$@"
"""


# $1: the main process, in whose namespaces a command of the unit runs, as that does; $2: the user.
AS_A_COMMAND = r"""
set -e
main=$1 user=$2
shift 2
exec nsenter --target "$main" --mount --net --root --wd=/ -- \
    setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- \
    env -i NOTIFY_SOCKET="$NOTIFY_SOCKET" MAINPID="$main" RUNTIME_DIRECTORY=/run/vireo "$@"
"""
PR_SET_CHILD_SUBREAPER = 36


class Adopted:
    """A process whose parent has ended, and whose parent this one is: as of subprocess.Popen."""

    def __init__(self, pid, log):
        self.pid, self.log, self.returncode, self.args = pid, log, None, [f"process {pid}"]

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=30):
        wait_until(lambda: self.poll() is not None, timeout, f"process {self.pid} ends", step=0.01)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)


class Service:
    """The unit's user, folders, limits and command line, without systemd: in namespaces of mounts and networks of its own. What is
    said to the manager is in `said`, and who has said it: (pid, text) each."""

    def __init__(self, lab, lines=(), make_folder=True, daemon="switchd"):
        need_program("setpriv")
        if os.geteuid():
            raise Skip("only root can start a service")
        self.place = place_for(lab, USER_ID, "--net")
        self.lab, self.daemon, self.unit, self.said = lab, daemon, settings(unit_text(daemon)), []
        os.chmod(lab.folder, 0o755)
        for folder in "run", "built":
            os.mkdir(lab.path(folder))
        self.users()
        self.state()
        self.config(lines)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.manager.bind(lab.path("notify"))
        os.chmod(lab.path("notify"), 0o777)
        self.start(make_folder)

    def users(self):
        with open(f"{ROOT}/packaging/systemd/vireo.sysusers") as sysusers:
            made = re.findall(r"^u (\S+) ", sysusers.read(), re.M)
        expect(made == self.unit["User"] == self.unit["Group"], f"sysusers makes {made}, the unit wants {self.unit['User']}")
        for name, line in (("passwd", "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin"), ("group", "{0}:x:{1}:")):
            with open(f"/etc/{name}") as old, open(self.lab.path(name), "w") as new:
                kept = [entry for entry in old.read().splitlines() if not entry.startswith(made[0] + ":")]
                new.write("\n".join(kept + [line.format(made[0], USER_ID)]) + "\n")
            os.chmod(self.lab.path(name), 0o644)

    def state(self):
        """What StateDirectory= makes, elsewhere."""
        for name in " ".join(self.unit.get("StateDirectory", [])).split():
            folder = self.lab.path(f"lib/{name}")
            os.makedirs(folder)
            os.chmod(folder, 0o755)
            os.chown(folder, USER_ID, USER_ID)

    def config(self, lines):
        with open(f"{ROOT}/packaging/{self.daemon}.conf") as old, open(self.lab.path(self.daemon + ".conf"), "w") as new:
            new.write(old.read().replace("/var/lib/", self.lab.path("lib/")) + "\n".join(lines) + "\n")
        os.chmod(self.lab.path(self.daemon + ".conf"), 0o644)

    def start(self, make_folder=True):
        words = self.unit["ExecStart"][0].split()
        expect(words[1:2] == ["--config"] and words[2].endswith(f"/vireo/{self.daemon}.conf"), f"ExecStart={words}")
        built = os.path.join("built", os.path.relpath(program("vireo-" + self.daemon), build_folder()))
        words = [self.lab.path(built), "--config", self.lab.path(self.daemon + ".conf"), *words[3:]]
        folder = self.unit["RuntimeDirectory"][0] if make_folder else "another"
        env = {**os.environ, "NOTIFY_SOCKET": self.lab.path("notify"), "WATCHDOG_USEC": "200000"}
        self.child = self.lab.start([*self.place, "bash", "-c", AS_THE_UNIT, "service", self.lab.folder, folder,
                                     str(USER_ID), self.unit["RuntimeDirectoryMode"][0], build_folder(), *words], log="service.log", env=env, cwd="/")

    def listen(self, wait_s=0.1):
        """To one word to the manager, which takes a new main process from any process of the service. False: there is none."""
        self.manager.settimeout(wait_s)
        try:
            data, ancillary, _, _ = self.manager.recvmsg(4096, socket.CMSG_SPACE(12))
        except (socket.timeout, BlockingIOError):
            return False
        said = struct.unpack("=iII", ancillary[0][2])[0], data.decode()
        self.said.append(said)
        found = re.search(r"^MAINPID=(\d+)$", said[1], re.M)
        if found and int(found[1]) != self.child.pid:
            self.become(int(found[1]))
        return True

    def become(self, pid):
        """As systemd does: it is to be a child of the manager's, which has adopted it."""
        with open(f"/proc/{pid}/stat") as stat:
            parent = int(stat.read().rsplit(")", 1)[1].split()[1])
        expect(parent == os.getpid(), f"the new main process {pid} is a child of {parent}: the manager is not told of its end")
        self.child = self.adopted(pid)

    def adopted(self, pid):
        """It is the lab's to end."""
        found = [child for child in self.lab.children if child.pid == pid]
        if not found:
            found = [Adopted(pid, self.child.log)]
            self.lab.children += found
        return found[0]

    def adopt(self, path):
        """Whoever runs the program at `path` and has become a child of this process, whatever the manager has heard of it."""
        for name in glob.glob("/proc/self/task/*/children"):
            with open(name) as children:
                pids = children.read().split()
            for pid in pids:
                with open(f"/proc/{pid}/cmdline") as words:
                    if words.read().split("\0")[0] == path:
                        self.adopted(int(pid))

    def hear(self, what, pid=None):
        def heard():
            self.listen()
            return any(what == text and pid in (None, sender) for sender, text in self.said)
        wait_until(heard, START_S, f"the service says {what}: {tail(self.lab.path('service.log'))}", child=self.child)

    def another_program(self):
        """What a package brings: the same in another file."""
        path = self.lab.path("another-" + self.daemon)
        shutil.copy(program("vireo-" + self.daemon), path)
        os.chmod(path, 0o755)
        return path

    def reload(self, path):
        """ExecReload=, with the daemon's program at `path`: the exit status of the last command, where each could go on."""
        expect(self.unit["NotifyAccess"] == ["all"], "no command of the unit may say anything to the manager")
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        env = {**os.environ, "NOTIFY_SOCKET": self.lab.path("notify")}  # and nothing of the watchdog: systemd tells the main process alone
        status = 0
        for line in self.unit["ExecReload"]:
            words = shlex.split(line.lstrip("-").replace("$MAINPID", str(self.child.pid)))
            if words[0].endswith("/vireo-" + self.daemon):
                words = [path, "--config", self.lab.path(self.daemon + ".conf"), *words[3:]]
            command = self.lab.start(["bash", "-c", AS_A_COMMAND, "command", str(self.child.pid), str(USER_ID), *words], log="service.log", env=env,
                                     cwd="/")
            try:
                status = self.hear_out(command)
            finally:
                self.adopt(path)
            if status and not line.startswith("-"):
                break
        return status

    def hear_out(self, command):
        """Its exit status. The manager listens meanwhile, for its socket takes a few words only; and to all that has been said before it
        looks who has ended."""
        def over():
            self.listen()
            return command.poll() is not None
        wait_until(over, 60, f"the command ends: {tail(command.log)}", step=0)
        while self.listen(0):
            pass
        return command.returncode

    def replaces(self, old):
        """Another process than `old` is the main one, by what has been said, and `old` ends in order."""
        def replaced():
            self.listen()
            return self.child is not old and old.poll() is not None
        wait_until(replaced, START_S, f"the service has a new main process: {tail(old.log)}", step=0)
        expect(old.returncode == 0, f"the old process ended with {old.returncode}")

    def ctl(self, *words):
        return subprocess.run([program("vireoctl"), "-d", self.daemon, "-s", self.lab.path(f"run/vireo/{self.daemon}.sock"), *words], capture_output=True,
                              text=True, timeout=20)
