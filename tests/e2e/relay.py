#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Guests that may not reach each other but by the bridge behind an uplink: the Linux bridge, whose port is in hairpin mode."""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main, need_program  # noqa: E402
from guest.daemon import QUIET_NETWORK, WrappedSwitch, end_well  # noqa: E402
from guest.front import Front, mac, text_frame  # noqa: E402
from guest.hosts import Host  # noqa: E402
from guest.lab import wait_until  # noqa: E402

A, B, C, OUTSIDE = 1, 2, 3, 7
STREAM = 60
WAIT_S = 20

# Sends frames as they are, or prints what comes, until a frame that ends so.
SEND = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('far0', 0))
for frame in sys.argv[1:]: s.send(bytes.fromhex(frame))
"""
LISTEN = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5))
s.bind(('far0', 0))
print('listening', flush=True)
while True: print(s.recv(4096).hex(), flush=True)
"""


class Network:
    """A switch with an uplink to a bridge, to which a host is joined, too; and guests A, B and C at ports with these keys."""

    def __init__(self, lab, keys, uplink="", options=()):
        if os.geteuid():
            raise Skip("only root may make interfaces")
        if not os.path.exists("/dev/net/tun"):
            raise Skip("there is no /dev/net/tun")
        need_program("bridge")
        if subprocess.run(["unshare", "-n", "ip", "link", "add", "br0", "type", "bridge"], capture_output=True, timeout=20).returncode:
            raise Skip("this kernel has no bridge")
        specs = [f"vhost-user:{lab.path(f'g{guest}')},name=g{guest}{keys}" for guest in (A, B, C)]
        self.switch = WrappedSwitch(lab, QUIET_NETWORK, [f"tap:up0,name=up,role=uplink{uplink}", *specs], options)
        self.far = Host(lab, "far")
        self.lab = lab
        self.run("ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up && ip link set up0 master br0 up")
        self.run(f"ip link add near0 type veth peer name far0 netns {self.far.holder.pid} && ip link set near0 master br0 up")
        self.far.run("ip", "link", "set", "far0", "up")
        wait_until(lambda: "LOWER_UP" in self.far.run("ip", "link", "show", "far0"), WAIT_S, "the host is joined")
        self.guests = {guest: Front(lab.path(f"g{guest}")) for guest in (A, B, C)}

    def run(self, command):
        done = subprocess.run(["nsenter", "-t", str(self.switch.child.pid), "-n", "sh", "-c", command], capture_output=True, text=True,
                              timeout=30)
        expect(not done.returncode, f"{command}: {done.stderr.strip()}")

    def hairpin(self, state):
        self.run(f"bridge link set dev up0 hairpin {state}")

    def outside_says(self, *frames):
        self.far.run(sys.executable, "-c", SEND, *(frame.hex() for frame in frames))

    def send(self, guest, *frames):
        front = self.guests[guest]
        for frame in frames:
            front.send(frame)
        wait_until(front.drained, WAIT_S, f"the switch has taken the frames of guest {guest}", step=0.002)

    def got(self, guest, text):
        """What a guest has got, up to the first frame with this text, which comes in any case."""
        frames = []
        while not any(text in frame for frame in frames):
            more = self.guests[guest].receive(WAIT_S)
            expect(more, f"guest {guest} has waited for {text} in vain: {frames}")
            frames += [frame for _, frame in more if frame[6:11] == mac(0)[:5]]  # the kernel says things of its own
        return frames

    def until_marker(self, text):
        """What each guest has got before a frame of the host outside, which is sent now."""
        self.outside_says(text_frame(OUTSIDE, None, text))
        return {guest: [frame for frame in self.got(guest, text) if text not in frame] for guest in self.guests}

    def counters(self, port):
        return self.switch.port(port)["counters"]

    def end(self):
        for front in self.guests.values():
            front.close()
        end_well(self.switch)


def introduced(network, hear=0):
    """Each says something: the switch and the bridge know who is where. Each hears of so many others, which the kernel's queues may hold up
    for longer than the marker."""
    for guest in network.guests:
        network.send(guest, text_frame(guest, None, b"hello"))
    heard = network.until_marker(b"introduced")
    for guest, frames in heard.items():
        while len(frames) < hear:
            frames += network.got(guest, b"hello")
    return heard


@case
def guests_talk_by_a_bridge_in_hairpin_mode(lab):
    network = Network(lab, ",vm2vm=hardware")
    network.hairpin("on")
    heard = introduced(network, hear=len(network.guests) - 1)
    for guest in network.guests:
        sources = [frame[6:12] for frame in heard[guest]]
        expect(sorted(sources) == sorted(mac(other) for other in network.guests if other != guest),
               f"guest {guest} hears each other one once, and not itself: {heard[guest]}")
    stream = [text_frame(A, B, b"number %03d" % number) for number in range(STREAM)]
    network.send(A, *stream)
    got = network.got(B, stream[-1][14:24])
    expect(got == stream, f"in order, each once: {len(got)} frames")
    network.send(B, text_frame(B, A, b"answer"))
    expect(len(network.got(A, b"answer")) == 1, "the answer alone")
    heard = network.until_marker(b"end of it")
    expect(not any(heard.values()), f"nobody else has got anything: {heard}")
    expect(network.counters("up")["rx_reflected"] >= STREAM + 4, "all of it came back by the bridge")
    expect(all(network.counters(f"g{guest}")["rx_isolated"] == 0 for guest in network.guests), "nothing was refused")
    network.end()


@case
def outside_and_guests_talk_by_the_uplink(lab):
    network = Network(lab, "", options=("--vm2vm", "hardware"))
    network.hairpin("on")
    introduced(network, hear=len(network.guests) - 1)
    listener = lab.start(network.far.argv(sys.executable, "-c", LISTEN), stdout=subprocess.PIPE, text=True)
    expect(listener.stdout.readline() == "listening\n", "the host listens")
    network.send(A, text_frame(A, OUTSIDE, b"to the outside"))
    expect(b"to the outside" in bytes.fromhex(listener.stdout.readline()), "the host outside has got it")
    lab.kill(listener)
    listener.stdout.close()
    network.outside_says(text_frame(OUTSIDE, A, b"to A"))
    expect(len(network.got(A, b"to A")) == 1, "A has got it")
    heard = network.until_marker(b"end of it")
    expect(not any(heard.values()), f"and nobody else: {heard}")
    network.end()


def lies(source, target):
    """What a guest may try, to reach another one behind the bridge's back."""
    def tagged(tag):
        frame = text_frame(source, target, b"lie: tagged")
        return frame[:12] + tag + frame[12:]
    return [text_frame(source, target, b"lie: to it"), text_frame(source, None, b"lie: to all"),
            tagged(bytes.fromhex("81000000")), tagged(bytes.fromhex("8100000a")),
            b"\x01\x00\x5e\x00\x00\x01" + text_frame(source, None, b"lie: to many")[6:],
            b"\x01\x80\xc2\x00\x00\x00" + text_frame(source, None, b"lie: to bridges")[6:],
            text_frame(9, target, b"lie: as nobody"), text_frame(9, None, b"lie: as nobody, to all"),
            text_frame(source, 99, b"lie: to nobody"), text_frame(target, None, b"lie: as it, to all"),
            text_frame(target, source, b"lie: as it, to me"), text_frame(target, target, b"lie: as it, to it")]


@case
def nothing_reaches_another_guest_behind_the_bridge_s_back(lab):
    """The bridge does not send back: then no guest hears of another, whatever it tries."""
    network = Network(lab, ",vm2vm=hardware")
    network.hairpin("off")
    introduced(network)
    for liar, victim in ((A, B), (C, A)):
        network.send(liar, *lies(liar, victim))
    heard = network.until_marker(b"end of lies")
    expect(not any(heard.values()), f"somebody has heard lies: {heard}")
    expect(network.counters("up")["tx_frames"] >= 2 * (len(lies(A, B)) - 3), "the bridge was to decide")
    network.end()


@case
def guests_that_are_off_do_not_meet_whatever_the_bridge_sends_back(lab):
    network = Network(lab, ",vm2vm=off")
    network.hairpin("on")
    heard = introduced(network)
    expect(not any(heard.values()), f"guests hear of each other: {heard}")
    for guest in network.guests:  # whoever said last that an address is his, has it
        network.send(guest, text_frame(guest, None, b"again"))
    network.send(A, *[frame for frame in lies(A, B) if frame[6:12] == mac(A)])
    heard = network.until_marker(b"end of lies")
    expect(not any(heard.values()), f"somebody has heard lies: {heard}")
    expect(network.counters("g1")["rx_isolated"] > 0, "what was sent to a guest is counted")
    network.outside_says(text_frame(OUTSIDE, B, b"to B"))
    expect(len(network.got(B, b"to B")) == 1, "the host outside reaches it")
    network.end()


@case
def each_guest_is_tagged_towards_the_bridge_with_its_own_vlan(lab):
    """The bridge sends tags back as they are: guests of one VLAN reach each other, and guest C, in another one, does not hear of them."""
    network = Network(lab, ",vm2vm=hardware,vlan=1000", uplink=",trunk=1000-1001")
    network.switch.ctl("port", "remove", "g3")
    network.switch.ctl("port", "add", f"vhost-user:{lab.path('c')},name=g3,vm2vm=hardware,vlan=1001")
    network.guests[C].close()
    network.guests[C] = Front(lab.path("c"))
    network.hairpin("on")
    network.send(C, text_frame(C, None, b"C says"))
    network.send(B, text_frame(B, None, b"B says"))
    network.send(A, text_frame(A, None, b"A says"))
    got = network.got(B, b"A says")
    expect([frame[14:20] for frame in got] == [b"A says"], f"B hears of A only: {got}")
    network.send(A, text_frame(A, B, b"A to B"))
    expect(len(network.got(B, b"A to B")) == 1, "by the bridge, in their VLAN")
    network.send(A, text_frame(A, C, b"A to C"))
    network.send(B, text_frame(B, A, b"B to A"))
    expect([frame[14:20] for frame in network.got(A, b"B to A")] == [b"B says", b"B to A"], "and back")
    expect(not network.guests[C].poll(), "C has heard of nobody")
    network.end()


if __name__ == "__main__":
    main()
