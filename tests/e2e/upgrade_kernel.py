#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A switch whose ports are interfaces of the host is replaced by another process (--takeover): the hosts behind them notice nothing."""
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.hosts import Host  # noqa: E402
from guest.interfaces import start  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.takeover import PART, READY, STATE, Old, Pings, Taker, give, head, pauses_told, port, says, state  # noqa: E402
from guest.uplink import no_losses  # noqa: E402

NAMES = ("left", "right")
ROUNDS = int(os.environ.get("VIREO_ROUNDS", 5))
DATAGRAMS_A_SECOND = 200  # so a queue of 1000 frames has room for five seconds: a loaded machine takes its time between two steps

# Numbered datagrams at a steady rate until standard input ends; then how many there were.
SENDER = """
import select, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 5000))
count, begin = 0, time.monotonic()
while not select.select([sys.stdin], [], [], max(0, begin + count / int(sys.argv[2]) - time.monotonic()))[0]:
    s.send(struct.pack('=I', count) + bytes(i & 255 for i in range(count & 1023))); count += 1
print(count, flush=True)
"""
# Those that come, until one that is empty: how many, and what was wrong with their order or their bytes.
RECEIVER = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 5000))
s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE: room for many seconds in which it does not run
print('bound', flush=True)
count, wrong, last = 0, 0, -1
while data := s.recv(2048):
    number = struct.unpack('=I', data[:4])[0]
    wrong += number <= last or data[4:] != bytes(i & 255 for i in range(number & 1023))
    count, last = count + 1, number
print(count, wrong, flush=True)
"""


class Datagrams:
    """From one host to another, each of which is to arrive once, in order and unchanged."""

    def __init__(self, lab, source, target, address):
        self.source, self.address = source, address
        self.receiver = lab.start(target.argv(sys.executable, "-c", RECEIVER, address), stdout=subprocess.PIPE, text=True)
        expect(self.receiver.stdout.readline() == "bound\n", "the receiver is not bound")
        self.sender = lab.start(source.argv(sys.executable, "-c", SENDER, address, str(DATAGRAMS_A_SECOND)), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)

    def end(self, *interfaces):
        """How many there were. What a queue of the kernel had no room for, as its interface tells, may be lost, and nothing else."""
        self.sender.stdin.close()
        sent = int(self.sender.stdout.readline())
        self.source.run(sys.executable, "-c", f"import socket; socket.socket(2, 2).sendto(b'', ('{self.address}', 5000))")
        came, wrong = map(int, self.receiver.stdout.readline().split())
        dropped = sum(int(host.run("cat", "/proc/net/dev").partition(f"{name}:")[2].split()[11]) for host, name in interfaces)
        expect(not wrong and came <= sent <= came + dropped, f"{sent} were sent, {came} came, {wrong} of them wrong, {dropped} dropped")
        expect(came > 20, f"{came} prove nothing")
        return came


def need_tap():
    if os.geteuid():
        raise Skip("only root may make interfaces")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")


def adopt(lab, switch):
    hosts = [Host(lab, name) for name in NAMES]
    for number, host in enumerate(hosts, 1):
        host.adopt(switch, f"{host.name}0", number)
    return hosts


def taps(lab, queues=1, keys="", more=(), options=()):
    """(switch, host, host), whose interfaces are ports."""
    need_tap()
    switch = WrappedSwitch(lab, QUIET_NETWORK, [f"tap:{name}0,name={name},queues={queues}{keys}" for name in NAMES] + list(more), options)
    return (switch, *adopt(lab, switch))


def packets(lab, queues=1, more=(), options=()):
    """The same, behind one end each of a veth pair that the host keeps."""
    if os.geteuid():
        raise Skip("only root may make interfaces")
    pairs = "".join(f"ip link add {name}0 type veth peer name {name}1 && ip link set {name}1 up && " for name in NAMES)
    if subprocess.run(["unshare", "-n", "sh", "-c", pairs + ":"], capture_output=True).returncode:
        raise Skip("this kernel has no veth pairs")
    wrap = [*QUIET_NETWORK[:-1], QUIET_NETWORK[-1].replace("exec", pairs + "exec")]
    switch = WrappedSwitch(lab, wrap, [f"af_packet:{name}1,name={name},queues={queues}" for name in NAMES] + list(more), options)
    return (switch, *adopt(lab, switch))


def macvtaps(lab, queues=1, more=(), options=()):
    return start(lab, "macvtap", queues, more=more, options=options)


@case_for({f"{kind.__name__}_{queues}": (kind, queues) for kind in (taps, packets, macvtaps) for queues in (1, 2)}, "hosts_do_not_notice_{}")
def hosts_do_not_notice(lab, kind, queues):
    """Two kernels that speak to each other, and two front ends beside them."""
    need_program("busybox")
    workers = ("--workers", str(queues))
    switch, left, right = kind(lab, queues, more=[f"vhost-user:{lab.path(name)},name={name}" for name in "ab"], options=workers)
    pings = Pings(*(Front(lab.path(name)) for name in "ab"))
    pings.other.send(text_frame(2, 1))  # it is known from now on
    pings.start()
    left.ping("10.7.0.2")
    datagrams = Datagrams(lab, left, right, "10.7.0.2")
    pinging = lab.start(right.argv("busybox", "ping", "-c", "60", "-i", "0.05", "-W", "20", "10.7.0.1"), stdout=subprocess.PIPE, text=True)
    for _ in range(ROUNDS):
        switch.hand_over(*workers)
        pings.goes_on()
    came = datagrams.end((left, "left0"), (right, "right0"))
    said = pinging.communicate(timeout=60)[0]
    expect("60 packets transmitted, 60 packets received" in said and "duplicates" not in said, said)
    pings.end()
    no_losses(switch, *NAMES)
    right.ping("10.7.0.1", payload=20000)
    print(f"    {ROUNDS} hand-overs, {came} datagrams, {pings.count} pings between front ends, the slowest took {pings.slowest_s * 1000:.1f} ms",
          flush=True)
    end_well(switch)
    pauses_told(switch, ROUNDS)


@case
def interface_stays_as_it_is(lab):
    """Whoever looks after the host may have set it otherwise since the port was made, and its carrier is the port's link."""
    need_program("ethtool")
    switch, left, right = taps(lab, keys=",mtu=1400")
    left.run("ip", "link", "set", "left0", "mtu", "1300")
    left.run("ip", "link", "set", "left0", "down")
    left.run("ip", "link", "set", "left0", "name", "other0")
    left.run("ip", "link", "set", "other0", "up")
    left.run("ethtool", "-K", "other0", "tso", "off")
    switch.ctl("port", "link", "right", "down")

    def seen():
        return [left.run("ip", "link", "show", "other0"), left.run("ethtool", "-k", "other0"), right.run("ip", "link", "show", "right0"),
                switch.port("left")["session"]]
    wait_until(lambda: "NO-CARRIER" in right.run("ip", "link", "show", "right0"), 20, "the kernel has heard of it, which it does aside")
    before = seen()
    switch.hand_over()
    expect(seen() == before, f"{seen()}\nis not\n{before}")
    expect("LOWER_UP" not in before[2], "its carrier was there")
    switch.ctl("port", "link", "right", "up")
    left.interface = "other0"
    left.run("ip", "addr", "replace", "10.7.0.1/24", "dev", "other0")
    wait_until(lambda: "bytes from" in right.run("sh", "-c", "busybox ping -c 1 -W 2 10.7.0.1 || true"), 20, "pings pass again")
    end_well(switch)
    expect("other0" not in left.run("ip", "link"), "the interface is left")


@case
def successor_that_fails_leaves_interfaces_with_the_old_one(lab):
    """However far it has come: nothing was taken away, and the in queues are served again."""
    switch, left, _ = taps(lab, 2)
    left.ping("10.7.0.2")
    for parcels, answer in ((0, b""), (1, b""), (2, b""), (3, b""), (3, b"x" * 64), (3, head(READY, 1 << 31))):
        Taker(switch).dies_after(parcels, answer)
        left.ping("10.7.0.2", count=2)
    wait_until(lambda: open(switch.child.log).read().count("not handed over, and going on") == 6, 20, "it says so each time")
    switch.hand_over()
    left.ping("10.7.0.2")
    end_well(switch)


@case
def an_interface_that_has_gone_keeps_the_old_one(lab):
    """Nothing is stopped for that."""
    switch, left, _ = taps(lab)
    left.run("ip", "link", "del", "left0")
    wait_until(lambda: switch.port("left")["state"] == "failed", 20, "it has gone")
    child = switch.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "port 'left' cannot be handed over: it has failed")
    expect("not handed over" not in open(switch.child.log).read(), "something was stopped")
    switch.ctl("port", "remove", "left")
    switch.hand_over()
    end_well(switch)


# ---- lies ----

TUNSETIFF, TUNSETVNETHDRSZ, TUNSETVNETLE = 0x400454ca, 0x400454d8, 0x400454dc
IFF_TUN, IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 1, 2, 0x100, 0x1000, 0x4000
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_FANOUT = 263, 8, 15, 18
OURS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR


def network_of_its_own():
    """For this process, and those that it starts from here on."""
    expect(not ctypes.CDLL(None).unshare(0x40000000), "no network namespace")  # CLONE_NEWNET


def tap_fd(name, flags=OURS, header=12, little=1, blocking=False):
    fd = os.open("/dev/net/tun", os.O_RDWR | (0 if blocking else os.O_NONBLOCK))
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    if flags & IFF_VNET_HDR:
        fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", header))
        fcntl.ioctl(fd, TUNSETVNETLE, struct.pack("i", little))
    return fd


def packet_fd(interface="lo", header=1, aux=1, group=None):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, header)
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, aux)
        if interface:
            sock.bind((interface, 3))
        if group is not None:
            sock.setsockopt(SOL_PACKET, PACKET_FANOUT, group)
        return sock.detach()


def told(what=1, offloads=0, version=1, zero=0, magic=b"vireokrn"):
    return magic + struct.pack("=IIII", version, what, offloads, zero)


def each_is_refused(old, spec, rows):
    """A switch that takes over what is told so ends with one line."""
    for data, fds, why in rows:
        child = old.start()
        with old.answers(result={}) as taker:
            give(taker, STATE, state(port(spec, True)), [old.server.fileno()])
            give(taker, PART, data, fds)
            taker.shutdown(socket.SHUT_WR)
            expect(child.wait(30) == 1, f"it has ended well: {why}")
        says(child, "not taken over", why)
    expect(os.path.exists(old.control), "its socket was taken away")


BYTES_THAT_LIE = [
    (b"", "it is cut short"),
    (told()[:-1], "it is cut short"),
    (told(magic=b"vireohnd"), "it is no state of a port at the kernel"),
    (told(version=2), "its version is not known"),
    (told(what=4), "it is a port of another kind's"),
    (told(zero=1), "it says what is not known here"),
    (told(offloads=1 << 31), "it says what is not known here"),
    (told() + b"x", "it says what is not known here"),
]


@case
def tap_state_that_lies_is_refused(lab):
    """In its bytes, or by fds that are no queues of one interface, set as ours are."""
    need_tap()
    network_of_its_own()
    old = Old(lab)
    fds = {name: tap_fd(f"vrlie{number}", *more) for number, (name, more) in enumerate({
        "good": (), "tun": (IFF_TUN | IFF_NO_PI | IFF_VNET_HDR,), "bare": (IFF_TAP | IFF_NO_PI,),
        "many": (OURS | IFF_MULTI_QUEUE,), "others": (OURS | IFF_MULTI_QUEUE,), "short": (OURS, 10), "big": (OURS, 12, 0),
        "blocking": (OURS, 12, 1, True)}.items())}
    with open("/dev/null", "rb") as null, open("/dev/net/tun", "rb") as nobody:
        one = [(data, [fds["good"]], why) for data, why in BYTES_THAT_LIE] + [
            (told(), [], "its queues are not as many as the port's"), (told(), [fds["good"]] * 2, "its queues are not as many as the port's"),
            (told(what=2), [fds["good"]], "it is a port of another kind's"),
            (told(), [null.fileno()], "of no TAP interface"), (told(), [nobody.fileno()], "of no TAP interface"),
            *((told(), [fds[name]], "its interface is of another sort") for name in ("tun", "bare", "many")),
            *((told(), [fds[name]], "a queue is not set as ours are") for name in ("short", "big", "blocking"))]
        each_is_refused(old, "tap:vrlie0", one)
        each_is_refused(old, "tap:vrlie3,queues=2", [
            (told(), [fds["many"]], "its queues are not as many as the port's"), (told(), [fds["good"]] * 2, "its interface is of another sort"),
            (told(), [fds["many"], fds["others"]], "its queues are of several interfaces"),
            (told(), [fds["many"], null.fileno()], "of no TAP interface")])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
            each_is_refused(old, "macvtap:vrlie0", [
                (told(), [fds["good"], asks.fileno()], "it is a port of another kind's"), (told(what=3), [], "its queues are not as many as the port's"),
                (told(what=3), [asks.fileno()], "its queues are not as many as the port's"),
                (told(what=3), [null.fileno(), asks.fileno()], "of no TAP interface"),
                *((told(what=3), [fd, old.server.fileno()], "no socket for that") for fd in (fds["good"], null.fileno())),
                *((told(what=3), [fd, asks.fileno()], "is of no macvtap interface") for fd in (fds["good"], nobody.fileno(), old.server.fileno()))])
    for fd in fds.values():
        os.close(fd)


@case
def packet_state_that_lies_is_refused(lab):
    if os.geteuid():
        raise Skip("only root may have packet sockets")
    network_of_its_own()
    old = Old(lab)
    fds = {"good": packet_fd(), "unbound": packet_fd(None), "header": packet_fd(header=0), "aux": packet_fd(aux=0), "group": packet_fd(group=7 | 1 << 16)}
    with socket.socket() as other:
        one = [(data.replace(told()[8:16], told(what=2)[8:16]), [fds["good"]], why) for data, why in BYTES_THAT_LIE] + [
            (told(what=2), [], "its queues are not as many as the port's"), (told(what=1), [fds["good"]], "it is a port of another kind's"),
            (told(what=2), [other.fileno()], "is no packet socket"), (told(what=2), [fds["unbound"]], "or of one that is gone"),
            *((told(what=2), [fds[name]], "a socket is not set as ours are") for name in ("header", "aux")),
            (told(what=2), [fds["group"]], "what comes is shared with other sockets than its own")]
        each_is_refused(old, "af_packet:lo", one)
        each_is_refused(old, "af_packet:lo,queues=2", [(told(what=2), [fds["good"], fds["group"]], "what comes is shared with other sockets")])
    for fd in fds.values():
        os.close(fd)


if __name__ == "__main__":
    main()
