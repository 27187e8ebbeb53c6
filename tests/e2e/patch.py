#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""virtio-user ports: the other end of a vhost-user port, so that two switches are patched together. And back ends that lie, or say nothing."""
import mmap
import os
import socket
import struct
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import WrappedSwitch, end_well  # noqa: E402
from guest.interfaces import start  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch  # noqa: E402
from guest.takeover import says  # noqa: E402
from guest.uplink import no_losses, transfer  # noqa: E402


def log_of(switch):
    with open(switch.child.log) as log:
        return log.read()


def patched(lab, queues=1, keys=("", ""), options=()):
    """(switch, switch, host, host): a host at each, by packet sockets."""
    path = lab.path("patch")
    switch, left, right = start(lab, "af_packet", options=("--port", f"vhost-user:{path},name=mem,queues={queues}{keys[0]}", *options))
    switch.ctl("port", "remove", "right")
    other = WrappedSwitch(lab, ["nsenter", "-t", str(switch.child.pid), "-n"],
                          ["af_packet:right1,name=right", f"virtio-user:{path},name=mem,queues={queues}{keys[1]}"], options, name="other")
    both_there(switch, other)
    return switch, other, left, right


def both_there(switch, other):
    wait_until(lambda: switch.port("mem")["state"] == other.port("mem")["state"] == "connected", 20, "both are there")


def passes(left):
    wait_until(lambda: "bytes from" in left.run("sh", "-c", "busybox ping -c 1 -W 2 10.7.0.2 || true"), 20, "a ping passes")


@case_for({"": (1, ()), "_with_two_queues_and_workers": (2, ("--workers", "2"))}, "two_switches_are_patched_together{}")
def two_switches(lab, queues, options):
    switch, other, left, right = patched(lab, queues, options=options)
    passes(left)
    for payload in (1400, 20000):
        left.ping("10.7.0.2", payload=payload)
    session = other.port("mem")["session"]
    expect({"MRG_RXBUF", "HOST_TSO4", "GUEST_TSO4"} <= set(session["features"]) and len(session["rings"]) == 2 * queues, f"{session}")
    for host, peer, address in ((left, right, "10.7.0.2"), (right, left, "10.7.0.1")):
        host.offloads("on")
        before = other.port("mem")
        transfer(lab, host, peer, address, 4)
        after = other.port("mem")
        way = "rx" if host is left else "tx"
        mean = (after[f"{way}_bytes"] - before[f"{way}_bytes"]) / (after[f"{way}_frames"] - before[f"{way}_frames"])
        expect(mean > 3000, f"frames of {mean:.0f} bytes in the mean: large ones go in one piece")
    no_losses(switch, "left", "mem")
    no_losses(other, "right", "mem")
    end_well(other)
    end_well(switch)


@case
def tags_and_the_mtu_go_with_a_patch(lab):
    switch, other, left, _ = patched(lab, keys=(",trunk=all,mtu=1300", ",trunk=all"))
    expect(other.port("mem")["mtu"] == 1300, f"what the other end says: {other.port('mem')}")
    for one, name in ((switch, "left"), (other, "right")):
        one.ctl("port", "set", name, "vlan=10")
    passes(left)
    left.ping("10.7.0.2", payload=1272, count=1)
    other.ctl("port", "set", "right", "vlan=20")
    left.ping("10.7.0.2", count=1, lost=True)
    end_well(other)
    end_well(switch)


@case
def who_comes_back_is_patched_again(lab):
    switch, other, left, _ = patched(lab)
    passes(left)
    frames = other.port("mem")["rx_frames"]
    switch.ctl("port", "remove", "mem")
    wait_until(lambda: other.port("mem")["state"] == "connecting", 20, "nobody is there")
    expect(other.port("mem")["session"] is None, "nobody is there")
    switch.ctl("port", "add", f"vhost-user:{lab.path('patch')},name=mem")
    both_there(switch, other)
    passes(left)
    expect(other.port("mem")["rx_frames"] > frames, "its counters go on")
    other.ctl("port", "remove", "mem")
    wait_until(lambda: switch.port("mem")["state"] == "listening", 20, "it has let go")
    other.ctl("port", "add", f"virtio-user:{lab.path('patch')},name=mem")
    both_there(switch, other)
    passes(left)
    child = other.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "port 'mem' cannot be handed over: its type is virtio-user")
    passes(left)
    end_well(switch)
    wait_until(lambda: other.port("mem")["state"] == "connecting", 20, "nobody is there")
    end_well(other)


def listener(lab):
    server = socket.socket(socket.AF_UNIX)
    server.bind(lab.path("liar"))
    server.listen(4)
    server.settimeout(20)
    return server


@case
def a_back_end_that_says_nothing_keeps_nobody(lab):
    server = listener(lab)
    switch = Switch(lab, ["null:n"])
    spec = f"virtio-user:{lab.path('liar')},name=mute"
    for _ in range(3):
        switch.ctl("port", "add", spec)
        connection = server.accept()[0]
        connection.recv(12)  # it asks, and waits
        expect(switch.port("mute")["state"] == "connecting", "it waits")
        switch.ctl("port", "remove", "mute")
        connection.close()
    switch.ctl("port", "add", spec)
    connection = server.accept()[0]
    end_well(switch)
    connection.close()
    server.close()


GET_FEATURES, SET_MEM_TABLE, SET_VRING_NUM, SET_VRING_ADDR, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL = 1, 5, 8, 9, 11, 12, 13
GET_PROTOCOL_FEATURES, SET_BACKEND_REQ_FD, GET_CONFIG = 15, 21, 24
FEATURES = 1 << 32 | 1 << 15  # VERSION_1, MRG_RXBUF
REPLIES = {GET_FEATURES: struct.pack("=Q", FEATURES), GET_VRING_BASE: bytes(8)}


class Liar:
    """A back end that gives back what nobody gave it, as soon as the rings run."""

    def __init__(self, connection, used, replies=None):
        self.connection, self.used, self.calls, self.kicked = connection, used, {}, set()
        self.replies = replies or REPLIES

    def run(self):
        while True:
            head, fds, _, _ = socket.recv_fds(self.connection, 12, 8)
            if len(head) < 12:
                return
            request, _, size = struct.unpack("=III", head)
            payload = self.connection.recv(size, socket.MSG_WAITALL) if size else b""
            self.take(request, payload, fds)
            if request in self.replies:
                self.answer(request, self.replies[request])

    def answer(self, request, payload):
        self.connection.sendall(struct.pack("=III", request, 5, len(payload)) + payload)

    def take(self, request, payload, fds):
        if request == SET_MEM_TABLE:
            _, size, self.user, offset = struct.unpack_from("=QQQQ", payload, 8)
            self.memory = mmap.mmap(fds[0], size + offset)
            self.user -= offset
        elif request == SET_VRING_ADDR and not struct.unpack_from("=I", payload)[0]:
            self.ring = struct.unpack_from("=QQ", payload, 8)[1] - self.user
        elif request == SET_VRING_CALL:
            self.calls[payload[0]] = os.dup(fds[0])
        elif request == SET_VRING_KICK:
            self.kicked.add(payload[0])
        for fd in fds:
            os.close(fd)
        if self.used and self.kicked == {0, 1} and {0, 1} <= set(self.calls):
            self.lie()

    def lie(self):
        index, entry, length = self.used
        struct.pack_into("=II", self.memory, self.ring + 4, entry, length)
        struct.pack_into("=H", self.memory, self.ring + 2, index)
        self.kicked = set()
        os.write(self.calls[0], struct.pack("=Q", 1))


@case_for({"entry_that_is_none": (1, 60000, 64), "entry_that_is_not_out": (3, 0, 64), "number_of_entries": (400, 0, 64), "length": (1, 0, 0xffffffff)},
          "a_back_end_that_lies_about_its_{}_is_left")
def a_back_end_that_lies(lab, index, entry, length):
    server = listener(lab)
    switch = Switch(lab, ["null:n", f"virtio-user:{lab.path('liar')},name=liar"])
    for times in (1, 2):  # it comes again, and so does the lie
        connection = server.accept()[0]
        thread = threading.Thread(target=Liar(connection, (index, entry, length)).run, daemon=True)
        thread.start()
        wait_until(lambda: log_of(switch).count("the back end breaks the rules of its rings") >= times, 20, "it is found out")
        thread.join(20)
        expect(not thread.is_alive(), "it is left")
        connection.close()
    server.close()
    end_well(switch)


class Hesitant(Liar):
    """Tells of another part of its config space than it has been asked for, and then answers nothing: the first question that waits is `asked`."""

    def __init__(self, connection):
        replies = {GET_FEATURES: struct.pack("=Q", FEATURES | 1 << 30 | 1 << 3), GET_PROTOCOL_FEATURES: struct.pack("=Q", 1 << 5 | 1 << 9),  # MTU; BACKEND_REQ, CONFIG
                   GET_CONFIG: struct.pack("=IIIH", 0, 2, 0, 1500)}
        super().__init__(connection, None, replies)
        self.asked, self.requests = threading.Event(), set()

    def take(self, request, payload, fds):
        super().take(request, payload, fds)
        self.requests.add(request)
        if request == GET_VRING_BASE:
            self.asked.set()


def still_there(connection):
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True


@case
def who_waits_for_a_liars_answer_is_not_the_one_who_serves(lab):
    """Else nobody would be answered while the connection is open. On a slow machine it may have ended by then: it comes again."""
    server = listener(lab)
    switch = Switch(lab, ["null:n", f"virtio-user:{lab.path('liar')},name=liar"])
    for times in range(20):
        connection = server.accept()[0]
        liar = Hesitant(connection)
        threading.Thread(target=liar.run, daemon=True).start()
        expect(liar.asked.wait(20), "it is asked to stop")
        expect(SET_BACKEND_REQ_FD not in liar.requests, "a channel that nobody reads is not handed out")
        switch.ctl("version")
        if still_there(connection):
            break
        connection.close()
    else:
        expect(False, "nobody is served while the liar is waited for")
    end_well(switch)
    connection.close()
    server.close()


if __name__ == "__main__":
    main()
