# SPDX-License-Identifier: BSD-3-Clause
"""QEMU guests with vhost-user devices, and a shell in each."""
import base64
import dataclasses
import fcntl
import functools
import os
import re
import select
import socket
import subprocess
import time

from . import image, kernels, tsc
from .lab import Gone, Hung, Lab, tail

QEMU = "qemu-system-x86_64"
# no_timer_check: whether the old timer ticks is looked at during the boot, and on a loaded machine it may not have by then.
KERNEL_OPTIONS = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off tsc=reliable no_timer_check" + tsc.kernel_option()
DEATH = re.compile(r"(Oops: |BUG: |int3: |Kernel panic).*")  # the first of these lines names the cause
LESS_WORK = "init_on_alloc=0 lsm= randomize_kstack_offset=off audit=0"  # of what nobody looks at, and an emulator is slow at
BOOT_S = 90  # a TCG guest on a loaded machine; 2 to 9 s are usual


NOTED_S = 3600  # so long it is believed what was found out about KVM, until the machine boots again


def _kvm_runs():
    """Whether a guest comes up on /dev/kvm. Where it does not, which is so on emulated machines, this takes 15 s."""
    kernel = kernels.kernel()
    argv = [QEMU, "-M", "q35,accel=kvm", "-cpu", "host", "-m", "160", "-nodefaults", "-no-user-config", "-display", "none",
            "-serial", "stdio", "-no-reboot", "-kernel", kernel + "/vmlinuz", "-initrd", image.initramfs(kernel),
            "-append", "console=ttyS0 quiet panic=-1 vireo.probe"]
    with Lab("vireo-probe-") as lab:
        child = lab.start(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            output = child.communicate(timeout=15)[0]
        except subprocess.TimeoutExpired:
            return False
    return b"vireo-probe-ok" in output


@functools.lru_cache(maxsize=None)
def acceleration():
    """"kvm" if a guest really runs on it, else "tcg". Who asks first finds out, for all of this boot; a note in the cache says it."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError:
        return "tcg"
    with open("/proc/sys/kernel/random/boot_id") as boot:
        boot_id = boot.read().strip()
    with open(os.path.join(kernels.cache_folder(), "kvm"), "a+") as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        note.seek(0)
        noted = note.read().split()
        fresh = time.time() - os.fstat(note.fileno()).st_mtime < NOTED_S
        if fresh and noted in ([boot_id, "kvm"], [boot_id, "tcg"]):
            return noted[1]
        found = "kvm" if _kvm_runs() else "tcg"
        note.truncate(0)
        note.write(f"{boot_id} {found}\n")
    return found


@dataclasses.dataclass
class Nic:
    """One virtio-net device over vhost-user. `server`: QEMU listens and the back end connects."""
    socket: str
    mac: str
    server: bool = False
    queues: int = 1
    properties: dict = dataclasses.field(default_factory=dict)  # of virtio-net-pci: {"packed": "on", "host_mtu": 9000}

    def arguments(self, index):
        mode = "server=on,wait=off" if self.server else "reconnect=1"
        properties = {"disable-legacy": "on", "romfile": "", "mac": self.mac, **self.properties}
        if self.queues > 1:
            properties.update({"mq": "on", "vectors": 2 * self.queues + 2})
        if acceleration() == "tcg":
            # QEMU 7.2 of Debian 12 without KVM ends with SIGSEGV when the guest enables MSI-X vectors of a
            # vhost-user NIC with a control queue. Without vectors the guest takes INTx.
            properties["vectors"] = 0
        extra = "".join(f",{key}={value}" for key, value in properties.items())
        return ["-chardev", f"socket,id=nc{index},path={self.socket},{mode}",
                "-netdev", f"vhost-user,id=nd{index},chardev=nc{index},queues={self.queues}",
                "-device", f"virtio-net-pci,netdev=nd{index}{extra}"]


@dataclasses.dataclass
class Tap:
    """One virtio-net device on a tap interface of the host, or of the namespace that the guest's `wrap` leads into."""
    interface: str
    mac: str
    vhost: bool = False  # by the kernel's vhost-net instead of QEMU
    queues: int = 1
    properties: dict = dataclasses.field(default_factory=dict)

    def arguments(self, index):
        properties = {"disable-legacy": "on", "romfile": "", "mac": self.mac, **self.properties}
        queues = ""
        if self.queues > 1:
            queues = f",queues={self.queues}"
            properties = {"mq": "on", "vectors": 2 * self.queues + 2, **properties}
        extra = "".join(f",{key}={value}" for key, value in properties.items())
        return ["-netdev", f"tap,id=nd{index},ifname={self.interface},script=no,downscript=no,"
                           f"vhost={'on' if self.vhost else 'off'}{queues}",
                "-device", f"virtio-net-pci,netdev=nd{index}{extra}"]


@dataclasses.dataclass
class Result:
    status: int
    output: str


class CommandFailed(Exception):
    pass


class Guest:
    """A guest that boots while you go on; ready() waits for its shell.

    `programs` of the host are there in the guest, too, and `modules` of its kernel beyond those that each has. `wrap`: a command that starts QEMU, as one in another namespace.
    """
    COMMAND_MAX = 60000  # in base64
    CPU = "max,cx16=off"  # where it is emulated

    def __init__(self, lab, name, nics=(), memory_mib=160, cpus=1, extra=(), programs=(), wrap=(), modules=()):
        self.lab, self.name, self.nics, self.boots = lab, name, list(nics), 0
        self.in_initramfs = [*image.MODULES, *modules]
        self.pending, self.results, self.next_id, self.buffer = {}, {}, 0, b""
        self.argv = [*wrap, *self._arguments(memory_mib, cpus, extra, programs)]
        ours, theirs = socket.socketpair()
        self.line = ours
        self.line.setblocking(False)
        argv = [argument.replace("CONTROL-FD", str(theirs.fileno())) for argument in self.argv]
        self.child = lab.start(argv, log=f"{name}.qemu", pass_fds=[theirs.fileno()])
        theirs.close()

    def _arguments(self, memory_mib, cpus, extra, programs):
        kernel = kernels.kernel()
        argv = [*self._board(memory_mib, cpus), "-kernel", kernel + "/vmlinuz",
                "-initrd", image.initramfs(kernel, programs, self.in_initramfs), "-append", KERNEL_OPTIONS]
        for index, nic in enumerate(self.nics):
            argv += nic.arguments(index)
        return argv + list(extra)

    def _board(self, memory_mib, cpus):
        """The machine with the line to the agent, and nothing else."""
        accel = acceleration()
        # Two emulated CPUs, and one patches the code that the other runs: in threads of their own, QEMU 7.2 now and then
        # delivers the breakpoint to a kernel that has forgotten it ("int3: ", as _gone() takes it).
        threads = ",thread=single" if accel == "tcg" and cpus > 1 else ""
        return [QEMU, "-M", "q35,memory-backend=mem", "-accel", accel + threads, "-smp", str(cpus), "-m", str(memory_mib),
                "-cpu", "host" if accel == "kvm" else self.CPU,
                "-object", f"memory-backend-memfd,id=mem,size={memory_mib}M,share=on",
                "-nodefaults", "-no-user-config", "-display", "none",
                "-chardev", f"file,id=console,path={self.lab.path(self.name + '.console')}", "-serial", "chardev:console",
                "-chardev", "socket,id=control,fd=CONTROL-FD", "-device", "virtio-serial-pci",
                "-device", "virtserialport,chardev=control,name=vireo",
                "-monitor", f"unix:{self.lab.path(self.name + '.monitor')},server=on,wait=off"]

    # ---- the line to the agent ----

    def _pump(self, seconds):
        """Reads what comes within `seconds`; returns after the first piece."""
        if not select.select([self.line], [], [], max(seconds, 0))[0]:
            if self.child.poll() is not None:
                raise self._gone()
            return
        try:
            data = self.line.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            raise self._gone()
        self._received(data)

    def _received(self, data):
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace").split())

    def _take(self, words):
        if words[:1] == ["ready"]:
            self.boots += 1
        elif words[:1] == ["out"] and len(words) == 3 and words[1] in self.pending:
            self.pending[words[1]].append(words[2])
        elif words[:1] == ["end"] and len(words) == 3 and words[1] in self.pending:
            output = self._joined(self.pending.pop(words[1]))
            self.results[words[1]] = Result(int(words[2]), output.decode(errors="replace"))

    @staticmethod
    def _joined(pieces):
        return base64.b64decode("".join(pieces))

    def _story(self, what):
        return (f"guest {self.name}: {what}\n{tail(self.lab.path(self.name + '.qemu'))}"
                f"{tail(self.lab.path(self.name + '.console'))}").rstrip()

    def _last_words(self):
        """What QEMU ended with, and what the guest's kernel said it died of: the end of its console is registers then."""
        try:
            words = f"QEMU has ended with {self.child.wait(5)}"
        except subprocess.TimeoutExpired:
            words = "QEMU has closed the line, and goes on"
        try:
            with open(self.lab.path(self.name + ".console"), errors="replace") as console:
                said = DEATH.search(console.read())
        except OSError:
            said = None
        return words + (f" after its kernel said: {said.group().strip()}" if said else "")

    def _gone(self):
        words = self._last_words()
        return Hung(self._story(words)) if "int3: " in words else Gone(self._story(words))

    def _hung(self, what):
        return Hung(self._story(f"{what}; QEMU has used {self._used_s():.1f} s of the processor") + "\n" + self._machine())

    def _used_s(self):
        """Little of it means that this machine had no time for the guest, not that the guest hangs."""
        try:
            with open(f"/proc/{self.child.pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            return 0
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def monitor(self, command, seconds=30):
        """What QEMU's monitor says to a command, when it has carried it out."""
        prompt, answer = b"(qemu) ", b""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(seconds)
            line.connect(self.lab.path(self.name + ".monitor"))
            for data in (b"", command.encode() + b"\n"):
                line.sendall(data)
                answer = b""
                while not answer.endswith(prompt):
                    piece = line.recv(65536)
                    if not piece:
                        raise ConnectionResetError("QEMU has closed its monitor")
                    answer += piece
        return answer[:-len(prompt)].decode(errors="replace").partition("\n")[2]  # without the command's echo

    def _machine(self):
        """What QEMU says of the guest's CPUs and interrupts, for the story of a guest that stands still."""
        lines = []
        try:
            for command in ("info status", "info irq", "info registers -a", "info registers -a"):
                lines += self.monitor(command, 2).splitlines()
        except OSError:
            pass
        told = [line for line in lines if line.startswith(("VM status", "CPU#", "RIP=")) or re.match(r" *\d+: \d+", line)]
        return "\n".join(told)

    def poll(self):
        """Takes in what has come, without waiting."""
        self._pump(0)

    def ready(self, boots=1, seconds=BOOT_S):
        end = time.monotonic() + seconds
        while self.boots < boots:
            if time.monotonic() > end:
                raise self._hung(f"no shell within {seconds:g} s")
            self._pump(0.2)
        return self

    # ---- commands ----

    def begin(self, command, seconds=60):
        """Starts a shell command; the agent carries out one after the other. Returns what finished() and wait() take."""
        self.next_id += 1
        call = str(self.next_id)
        self.pending[call] = []
        text = base64.b64encode(command.encode()).decode()
        if len(text) > self.COMMAND_MAX:
            raise ValueError("command too long for the line to the guest")
        self.line.sendall(f"run {call} {seconds:g} {text}\n".encode())
        return call, time.monotonic() + seconds + 30

    def finished(self, call):
        if call[0] not in self.results:
            self._pump(0)
        return call[0] in self.results

    def wait(self, call):
        while call[0] not in self.results:
            if time.monotonic() > call[1]:
                raise self._hung("the shell does not answer")
            self._pump(0.2)
        return self.results.pop(call[0])

    def run(self, command, seconds=60):
        return self.wait(self.begin(command, seconds))

    def check(self, command, seconds=60):
        """Output of a command that must succeed."""
        result = self.run(command, seconds)
        if result.status:
            raise CommandFailed(f"guest {self.name}: `{command}` ended with {result.status}:\n{result.output[-2000:]}")
        return result.output

    # ---- life ----

    def reboot(self):
        boots = self.boots
        self.begin("reboot -f")
        self.ready(boots + 1)
        self.pending.clear()

    def interface(self, index=0):
        """The kernel's name for NIC `index`."""
        path = self.check(f"grep -il '^{self.nics[index].mac}$' /sys/class/net/*/address")
        return path.strip().split("/")[-2]

    def address(self, ip, index=0, mtu=None):
        """Brings NIC `index` up with an address like 10.7.0.1/24."""
        name = self.interface(index)
        mtu_part = f"ip link set {name} mtu {mtu} && " if mtu else ""
        self.check(f"{mtu_part}ip addr add {ip} dev {name} && ip link set {name} up")
        return name

    def kill(self):
        self.line.close()
        self.lab.kill(self.child)
