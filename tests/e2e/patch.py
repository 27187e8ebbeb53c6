#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""virtio-user ports: the other end of a vhost-user port, so that two switches are patched together. And back ends that lie, or say nothing."""
import contextlib
import fcntl
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time

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


@case
def two_switches_are_patched_together(lab, queues=2):
    switch, other, left, right = patched(lab, queues, options=("--workers", "2"))
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
    says(child, "not taken over", "port 'mem' cannot be handed over: its type is virtio-user; --reopen")
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


def open_yet(connection):
    """The port has not hung up."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return not poll.poll(0)


GET_FEATURES, SET_MEM_TABLE, SET_VRING_ADDR, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL = 1, 5, 9, 11, 12, 13
GET_PROTOCOL_FEATURES, SET_BACKEND_REQ_FD, GET_CONFIG = 15, 21, 24
FEATURES, PACKED, PROTOCOL_FEATURES, MTU = 1 << 32 | 1 << 15, 1 << 34, 1 << 30, 1 << 3  # VERSION_1, MRG_RXBUF
REPLY_ACK, BACKEND_REQ, CONFIG = 1 << 3, 1 << 5, 1 << 9  # of the protocol
NEED_REPLY = 1 << 3


class Liar(threading.Thread):
    """A back end that answers what `replies` has an answer to, and does nothing with the rings."""

    def __init__(self, connection, replies=()):
        super().__init__(daemon=True)
        self.connection, self.requests, self.kick, self.call = connection, set(), -1, -1
        self.replies = {GET_FEATURES: struct.pack("=Q", FEATURES), GET_VRING_BASE: bytes(8), **dict(replies)}
        self.start()

    def run(self):
        with contextlib.suppress(OSError):  # it may be hung up on at any time
            while self.step():
                pass

    def step(self):
        ready = select.select([self.connection] + ([self.kick] if self.kick >= 0 else []), [], [])[0]
        if self.kick not in ready:
            return self.serve()
        self.kicked()
        return True

    def serve(self):
        head, fds, _, _ = socket.recv_fds(self.connection, 12, 8)
        if len(head) < 12:
            return False
        request, flags, size = struct.unpack("=III", head)
        payload = self.connection.recv(size, socket.MSG_WAITALL) if size else b""
        self.take(request, payload, fds)
        for fd in fds:
            os.close(fd)
        reply = self.replies.get(request, bytes(8) if flags & NEED_REPLY else None)
        if reply is not None:
            self.answer(struct.pack("=III", request, 5, len(reply)) + reply)
        return True

    def answer(self, message):
        self.connection.sendall(message)

    def take(self, request, payload, fds):
        self.requests.add(request)

    def kicked(self):
        pass


class Mute(Liar):
    def answer(self, message):
        pass


class Dripping(Liar):
    """A byte at a time, and never the last one."""

    def answer(self, message):
        for byte in message[:-1]:
            self.connection.sendall(bytes([byte]))
            time.sleep(0.01)


@case_for({"says_nothing": (Mute,), "drips": (Dripping,)}, "a_back_end_that_{}_keeps_nobody")
def a_back_end_keeps_nobody(lab, kind):
    """While the port waits for it everybody is served. Where the machine is so slow that the port has given up by then, it comes again."""
    server = listener(lab)
    switch = Switch(lab, ["null:n"])
    spec = f"virtio-user:{lab.path('liar')},name=liar"
    for _ in range(3):
        switch.ctl("port", "add", spec)
        for times in range(20):
            connection = server.accept()[0]
            liar = kind(connection)
            wait_until(lambda: GET_FEATURES in liar.requests, 20, "it asks, and waits")  # pylint: disable=cell-var-from-loop
            expect(switch.port("liar")["state"] == "connecting", "it waits")
            if open_yet(connection):
                break
            connection.close()
        else:
            expect(False, "nobody is served while it waits")
        switch.ctl("port", "remove", "liar")
    switch.ctl("port", "add", spec)
    connection = server.accept()[0]
    end_well(switch)
    connection.close()
    server.close()


class Hesitant(Liar):
    """Tells of another part of its config space than it has been asked for, and then answers nothing: the first question that waits is `asked`."""

    def __init__(self, connection):
        self.asked = threading.Event()
        super().__init__(connection, {GET_FEATURES: struct.pack("=Q", FEATURES | PROTOCOL_FEATURES | MTU),
                                      GET_PROTOCOL_FEATURES: struct.pack("=Q", BACKEND_REQ | CONFIG), GET_CONFIG: struct.pack("=IIIH", 0, 2, 0, 1500)})
        del self.replies[GET_VRING_BASE]

    def take(self, request, payload, fds):
        super().take(request, payload, fds)
        if request == GET_VRING_BASE:
            self.asked.set()


@case
def who_waits_for_a_liars_answer_is_not_the_one_who_serves(lab):
    """Else nobody would be answered while the connection is open. On a slow machine it may have ended by then: it comes again."""
    server = listener(lab)
    switch = Switch(lab, ["null:n", f"virtio-user:{lab.path('liar')},name=liar"])
    for _ in range(20):
        connection = server.accept()[0]
        liar = Hesitant(connection)
        expect(liar.asked.wait(20), "it is asked to stop")
        expect(SET_BACKEND_REQ_FD not in liar.requests, "a channel that nobody reads is not handed out")
        switch.ctl("version")
        if open_yet(connection):
            break
        connection.close()
    else:
        expect(False, "nobody is served while the liar is waited for")
    end_well(switch)
    server.close()


class RingLiar(Liar):
    """Gives back what nobody gave it, as soon as the ring is kicked."""

    def __init__(self, connection, packed, used):
        self.packed, self.used = packed, used
        super().__init__(connection, {GET_FEATURES: struct.pack("=Q", FEATURES | (PACKED if packed else 0))})

    def take(self, request, payload, fds):
        super().take(request, payload, fds)
        if request == SET_MEM_TABLE:
            _, size, self.user, offset = struct.unpack_from("=QQQQ", payload, 8)
            self.memory = mmap.mmap(fds[0], size + offset)
            self.user -= offset
        elif request == SET_VRING_ADDR and not struct.unpack_from("=I", payload)[0]:
            self.ring = struct.unpack_from("=QQ", payload, 8)[0 if self.packed else 1] - self.user
        elif request == SET_VRING_CALL and not payload[0]:
            self.call = os.dup(fds[0])
        elif request == SET_VRING_KICK and not payload[0]:
            self.kick = os.dup(fds[0])

    def kicked(self):
        os.read(self.kick, 8)
        index, entry, length = self.used
        if self.packed:
            struct.pack_into("=IHH", self.memory, self.ring + 8, length, entry, 1 << 1 | 1 << 7 | 1 << 15)  # of the first round: written to, used
        else:
            struct.pack_into("=II", self.memory, self.ring + 4, entry, length)
            struct.pack_into("=H", self.memory, self.ring + 2, index)
        os.write(self.call, struct.pack("=Q", 1))


@case_for({"entry_that_is_none": (False, 1, 60000, 64), "entry_that_is_not_out": (False, 3, 0, 64), "number_of_entries": (False, 400, 0, 64),
           "length": (False, 1, 0, 0xffffffff), "packed_entry_that_is_none": (True, 1, 60000, 64), "packed_length": (True, 1, 0, 0xffffffff)},
          "a_back_end_that_lies_about_its_{}_is_left")
def a_back_end_that_lies(lab, packed, *used):
    server = listener(lab)
    switch = Switch(lab, ["null:n", f"virtio-user:{lab.path('liar')},name=liar"])
    for times in (1, 2) if used == (1, 60000, 64) else (1,):  # it comes again, and so does the lie
        connection = server.accept()[0]
        liar = RingLiar(connection, packed, used)
        wait_until(lambda: log_of(switch).count("the back end breaks the rules of its rings") >= times, 20, "it is found out")  # pylint: disable=cell-var-from-loop
        liar.join(20)
        expect(not liar.is_alive(), "it is left")
        connection.close()
    server.close()
    end_well(switch)


class Filled(Liar):
    """Lets a write(2) to a kick wait, before it says that it has the eventfd."""

    def __init__(self, connection):
        super().__init__(connection, {GET_FEATURES: struct.pack("=Q", FEATURES | PROTOCOL_FEATURES), GET_PROTOCOL_FEATURES: struct.pack("=Q", REPLY_ACK)})

    def take(self, request, payload, fds):
        super().take(request, payload, fds)
        if request == SET_VRING_KICK:
            fcntl.fcntl(fds[0], fcntl.F_SETFL, 0)
            os.write(fds[0], struct.pack("=Q", (1 << 64) - 2))


@case
def a_kick_that_would_wait_keeps_no_worker(lab):
    server = listener(lab)
    switch = Switch(lab, ["null:n", f"virtio-user:{lab.path('liar')},name=liar"])
    connection = server.accept()[0]
    liar = Filled(connection)
    wait_until(lambda: switch.port("liar")["state"] == "connected", 20, "it is connected")
    switch.ctl("port", "remove", "liar")
    liar.join(20)
    expect(not liar.is_alive(), "the workers have let go")
    server.close()
    end_well(switch)


if __name__ == "__main__":
    main()
