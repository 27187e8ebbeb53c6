# SPDX-License-Identifier: BSD-3-Clause
"""A switch with ports at interfaces that the host has: one end of veth pairs whose other ends are hosts."""
import ctypes
import itertools
import os
import re
import socket
import subprocess

from .cases import Skip, expect
from .daemon import QUIET_NETWORK, WrappedSwitch, sanitized
from .hosts import Host
from .switch import program

NAMES = ("left", "right")
KINDS = {"af_packet": "af_packet:{0}1,name={0}", "af_xdp": "af_xdp:{0}1,name={0}", "af_xdp_skb": "af_xdp:{0}1,name={0},mode=skb",
         "macvtap": "macvtap:{0}2,name={0}", "dpdk": "dpdk:net_af_packet_{0},iface={0}1,name={0}"}
# Of macvtap interfaces: /dev/tapN is of all network namespaces together, whose numbers are their own, and goes a moment after them.
NUMBERS = itertools.count(100000 + 200 * (os.getpid() % 100000))


BPF = {"x86_64": 321, "aarch64": 280}  # the number of the call
PRIVILEGES = (12, 13, 39)  # CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF


def may_bpf():
    """Makes a map, as the daemon does. A container may keep even root off."""
    number = BPF.get(os.uname().machine)
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 18)(1, 4, 4, 1)  # BPF_MAP_TYPE_HASH of one entry
    fd = libc.syscall(number, 0, attributes, ctypes.sizeof(attributes)) if number else -1
    if fd >= 0:
        os.close(fd)
    return fd >= 0 or not number


def need_macvtap():
    number = next(NUMBERS)
    node = f"/dev/tap{number}"
    made = (f"ip link add probe0 type veth peer name probe1 && ip link add link probe1 name probe2 index {number} type macvtap mode passthru "
            f"&& test -c {node} && exec 3<>{node}")
    if subprocess.run(["unshare", "-n", "sh", "-c", made], capture_output=True).returncode:
        raise Skip("this kernel, or this container, has no macvtap interfaces")


def need_dpdk():
    if b"dpdk '%.40s': not built in" in open(program("vireo-switchd"), "rb").read():
        raise Skip("dpdk is not built in")
    if sanitized():
        raise Skip("DPDK gives nothing back at its end, which a build with sanitizers calls a leak")


def spec_of(kind, name, queues, keys):
    """DPDK's driver has as many queues as it is told."""
    return KINDS[kind].format(name) + f",queues={queues}{keys}" + (f",qpairs={queues}" if kind == "dpdk" and queues > 1 else "")


def need_kind(kind, pieces=False):
    if kind == "macvtap":
        need_macvtap()
    if kind == "dpdk":
        need_dpdk()
    if "xdp" not in kind:
        return
    if b"af_xdp '%.15s': not built in" in open(program("vireo-switchd"), "rb").read():
        raise Skip("af_xdp is not built in")
    with open("/proc/self/status") as status:
        mine = int(re.search(r"CapEff:\s*(\w+)", status.read())[1], 16)
    if not all(mine >> number & 1 for number in PRIVILEGES) or not may_bpf():
        raise Skip("nobody here may load an XDP program")
    try:
        socket.socket(44, socket.SOCK_RAW).close()  # AF_XDP
    except OSError as error:
        raise Skip(f"this kernel has no AF_XDP: {error}") from None
    version = tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())
    if version < (5, 9) or pieces and version < (6, 6):
        raise Skip(f"Linux {os.uname().release} is too old")


def need_veth(script, what="veth pairs"):
    if os.geteuid():
        raise Skip("only root may make interfaces")
    if subprocess.run(["unshare", "-n", "sh", "-c", script + ":"], capture_output=True).returncode:
        raise Skip(f"this kernel has no {what}")


def start(lab, kind, queues=1, mtu=1500, keys="", options=(), kinds=None, more=()):  # pylint: disable=too-many-arguments
    """(switch, host, host): NAME0 is a host's end of a pair, NAME1 the switch's port. XDP sees what a host sends as it leaves it, with open
    checksums that nothing says are open: a host at such a port closes its own, and one of a real cable has done so. DPDK's driver for packet sockets knows of none as well."""
    kinds = kinds or (kind, kind)
    for each in kinds:
        need_kind(each, mtu > 3800)
    many = f"numrxqueues {queues} numtxqueues {queues}" if queues > 1 else ""
    pairs = "".join(f"ip link add {name}0 mtu {mtu} {many} type veth peer name {name}1 mtu {mtu} {many} && ip link set {name}1 up && "
                    for name in NAMES)
    need_veth(pairs)
    pairs += "".join(f"ip link add link {name}1 name {name}2 index {next(NUMBERS)} type macvtap mode passthru && ip link set {name}2 up && "
                     for name, each in zip(NAMES, kinds) if each == "macvtap")
    wrapped = [*QUIET_NETWORK[:-1], QUIET_NETWORK[-1].replace("exec", pairs + "exec")]
    specs = [spec_of(kind, name, queues, keys) for name, kind in zip(NAMES, kinds)] + list(more)
    switch = WrappedSwitch(lab, wrapped, specs, options)
    hosts = [Host(lab, name) for name in NAMES]
    for number, host in enumerate(hosts, 1):
        host.adopt(switch, f"{host.name}0", number)
        if "xdp" in kinds[number - 1] or kinds[number - 1] == "dpdk":
            host.offloads("off")
    return (switch, *hosts)


def inside(switch, *words):
    return subprocess.run(["nsenter", "-t", str(switch.child.pid), "-n", *words], check=True, capture_output=True, text=True, timeout=30)


def refused(switch, spec, line):
    """In one line, and nobody else is hurt by it."""
    done = switch.ctl_run("port", "add", spec)
    expect(done.returncode in (1, 2) and line in done.stderr and len(done.stderr.splitlines()) == 1, f"{spec}: {done}")
