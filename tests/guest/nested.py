# SPDX-License-Identifier: BSD-3-Clause
"""Machines inside the lab's guest: QEMU there, and in it Debian's kernel with the agent of any other guest.

Where a machine is emulated by an emulated one, to boot takes minutes, and to answer a ping does not. So each is booted outside,
without its network driver, suspended into a file, and goes on inside the lab's guest, where it meets its card for the first time.
"""
import shlex

from . import image, kernels, labguest
from .kernels import Unavailable
from .qemu import KERNEL_OPTIONS, LESS_WORK, QEMU, Guest

MEMORY_MIB = 96
COMMAND_S = 270  # 30 to 60 s are usual for the first, on a loaded machine the double
MODULES = ["virtio_pci", "virtio_console", "virtio_net"]
RING_PACKED_BIT, ACCESS_PLATFORM_BIT = 34, 33  # places in what /sys/class/net/eth0/device/features says
LATER = ("failover", "net_failover", "virtio_net")  # the card's driver and what it stands on, in the order of their loading


def arguments(control, console, netdev, card="", iommu=False):
    """The same machine outside and inside, but for what it is connected with.

    Emulated in any case: what one processor has begun another may not know how to go on with. Its clock counts instructions
    (icount): one that follows the real time ticks more often than such a machine can answer, and it does nothing else any more.
    A plain processor, since what a newer one can do costs the emulator more. Without vectors, for the reason that Nic gives.
    """
    first = ["-device", "intel-iommu,intremap=off"] if iommu else []
    return ["-M", "q35,memory-backend=mem", "-accel", "tcg,tb-size=64", "-icount", "shift=3", "-m", str(MEMORY_MIB),
            "-cpu", "qemu64",
            "-object", f"memory-backend-memfd,id=mem,size={MEMORY_MIB}M,share=on",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console",
            "-chardev", control, "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=control,name=vireo",
            *first, *netdev, "-device", f"virtio-net-pci,netdev=n,disable-legacy=on,romfile=,vectors=0{card}"]


class _Outside(Guest):
    def __init__(self, lab, iommu):
        self.iommu = iommu
        super().__init__(lab, "outside")

    def _arguments(self, _memory_mib, _cpus, _extra, _programs):
        kernel = kernels.kernel()
        try:
            initrd = image.initramfs(kernel, modules=MODULES, helpful=(), held_back=LATER)
        except FileNotFoundError as error:
            raise Unavailable(f"not installed: {error}") from error
        return [QEMU, *arguments("socket,id=control,fd=CONTROL-FD", self.lab.path(self.name + ".console"),
                                 ["-netdev", "hubport,id=n,hubid=0"], iommu=self.iommu),
                "-kernel", kernel + "/vmlinuz", "-initrd", initrd,
                "-append", f"{KERNEL_OPTIONS} {LESS_WORK}{' intel_iommu=on iommu.strict=1' if self.iommu else ''}",
                "-monitor", f"unix:{self.lab.path(self.name + '.monitor')},server=on,wait=off"]


def suspended(lab, iommu=False):
    """The path of a file with a machine that waits for its first command. Before the lab's guest, so that it sees the file.

    `iommu`: the machine has one, here and in Nested alike; cards with iommu_platform=on are behind it. It is told of each page
    that is unmapped, at once: of many at a time QEMU 7.2 tells vhost only for cards with ATS, on buses that this machine has not.
    """
    labguest.available()
    path = lab.path("machine")
    machine = _Outside(lab, iommu).ready()
    # Pages of zeroes are not in the file: what the boot has left in free memory need not travel.
    machine.check("free=$(sed -n 's/MemFree: *\\([0-9]*\\).*/\\1/p' /proc/meminfo); "
                  "dd if=/dev/zero of=/tmp/zeroes bs=64k count=$((free / 64 - 100)) 2>/dev/null; rm /tmp/zeroes")
    machine.monitor(f'migrate "exec:cat >{path}"')
    if "completed" not in machine.monitor("info migrate"):
        raise RuntimeError(machine.monitor("info migrate"))
    machine.kill()
    return path


# Commands for agents of machines, and what comes back; all at once.
INSIDE = """inside() { # MACHINE SECONDS COMMAND
	echo "run 1 $2 $(printf %s "$3" | base64 -w 0)" >/run/$1.in
	said=
	while read -r verb id rest; do
		case "$verb $id" in
		"out 1") said=$said$rest ;;
		"end 1") echo "$said" | base64 -d; return "$rest" ;;
		esac
	done </run/$1.out
	return 1 # it has gone
}
"""


class Nested:
    """A machine in `guest` that goes on where the one of the file was suspended.

    `netdev`: QEMU's arguments for its network, with id=n. `card`: more properties of the card, with a comma before each.
    `before`: shell commands for the shell that starts QEMU, such as those that open what it shall find open.
    """

    def __init__(self, guest, name, file, netdev, card="", before=":", iommu=False):
        self.guest, self.name = guest, name
        words = shlex.join([QEMU, *arguments(f"pipe,id=control,path=/run/{name}", f"/run/{name}.console", netdev, card, iommu),
                            "-incoming", "fd:7"])
        guest.check(f"mkfifo /run/{name}.in /run/{name}.out\n{before}\nexec 7<{file}\n{words} >/run/{name}.log 2>&1 &")

    def story(self):
        return self.guest.run(f"cat /run/{self.name}.log /run/{self.name}.console").output


def all_at_once(commands, seconds=COMMAND_S):
    """[(machine, command)]: what each says. All of them must succeed."""
    guest = commands[0][0].guest
    lines = [INSIDE]
    for machine, command in commands:
        lines.append(f"inside {machine.name} {seconds:g} {shlex.quote(command)} >/run/{machine.name}.said 2>&1 & "
                     f"all=\"$all $!\"")
    guest.check("\n".join([*lines, "for one in $all; do wait $one || failed=1; done", "[ -z \"$failed\" ] || cat /run/*.said",
                           "[ -z \"$failed\" ]"]), seconds + 20)
    return [guest.check(f"cat /run/{machine.name}.said") for machine, _ in commands]


def network(mac, address):
    """The command that loads the driver, and gives the interface its addresses: the machine was suspended with another's."""
    load = "; ".join(f"insmod /modules/{name}.ko" for name in LATER)
    return f"set -e; {load}; ip link set eth0 address {mac}; ip addr add {address}/24 dev eth0; ip link set eth0 up"


def reach(address):
    """The command that pings until an answer comes: links that were just set up lose frames."""
    return f"n=0; until ping -c 1 -W 2 {address}; do n=$((n + 1)); [ $n -lt 15 ] || exit 1; done"
