# SPDX-License-Identifier: BSD-3-Clause
"""One process takes over from another (--takeover), and both sides of what they say: a successor, and an old one, of a test's own."""
import array
import json
import os
import re
import select
import socket
import statistics
import struct
import threading
import time
from collections import Counter

from .cases import expect
from .front import Front, listener, text_frame
from .lab import wait_until
from .switch import Switch, pauses_ms, program

MAGIC = 0x6c637270  # daemon/parcel.h; kinds: daemon/handover.h
STATE, PART, READY, GO, NOT = 1, 2, 3, 4, 5
VERSION = 4


def is_connected(front):
    return not select.select([front.peer.sock], [], [], 0)[0] or front.peer.sock.recv(1, socket.MSG_PEEK) != b""


class Pings(threading.Thread):
    """Frames from one front end to another, one at a time: each has to arrive, and how long the slowest took is told."""

    def __init__(self, one, other):
        super().__init__(daemon=True)
        self.one, self.other, self.count, self.slowest_s, self.problem, self.over = one, other, 0, 0.0, None, False

    def run(self):
        try:
            while not self.over:
                self.ping(text_frame(1, 2, struct.pack("<Q", self.count)))
        except Exception as problem:  # pylint: disable=broad-except
            self.problem = problem

    def ping(self, frame):
        begin = time.monotonic()
        self.one.send(frame, seconds=20)
        while not any(data == frame for _, data in self.other.receive(1)):
            expect(time.monotonic() - begin < 20, f"frame {self.count} is lost")
        self.slowest_s = max(self.slowest_s, time.monotonic() - begin)
        self.count += 1

    def goes_on(self):
        before = self.count
        wait_until(lambda: self.count > before + 3 or self.problem, 20, "frames arrive")
        expect(not self.problem, f"{self.problem}")

    def end(self):
        self.over = True
        self.join(30)
        expect(not self.problem and not self.is_alive(), f"{self.problem}")
        expect(all(is_connected(front) for front in (self.one, self.other)), "a front end was disconnected")


def two(lab, *more, client=False):
    """A switch with a port for each of two front ends, which speak to each other."""
    listeners = [listener(lab.path(name)) for name in "ab"] if client else []
    mode = ",mode=client" if client else ""
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}{mode}" for name in "ab"] + list(more))
    pings = Pings(*(Front(where) for where in listeners or [lab.path(name) for name in "ab"]))
    pings.other.send(text_frame(2, 1))  # it is known from now on
    pings.start()
    pings.goes_on()
    return switch, pings


def pauses_shown(log, rounds):
    """Each new process has said for how long nothing was served: the daemons' part of what is slowest for who sends and waits. And why some were given up."""
    pauses = pauses_ms(log)
    expect(len(pauses) == rounds, f"{rounds} hand-overs, and these pauses are told: {pauses}")
    print(f"    by the daemons themselves nothing was served for {statistics.median(pauses):.1f} ms at the median, {max(pauses):.1f} at most", flush=True)
    for line, count in Counter(re.findall("not handed over, and going on: .*", log)).items():
        print(f"    {count} times {line}", flush=True)


def pauses_told(daemon, rounds):
    """The same of one that has ended: all of its lines are there."""
    logs = [daemon.lab.path(f"{daemon.name}.{number}.log") for number in range(1, daemon.successors + 1)]
    pauses_shown("".join(open(log, errors="replace").read() for log in [daemon.lab.path(daemon.name + ".log"), *logs]), rounds)


def says(child, *words):
    with open(child.log, errors="replace") as log:
        text = log.read()
    for word in words:
        expect(word in text, f"'{word}' is not in:\n{text}")


def fails(switch, pings, *words):
    """A new one that cannot have it ends, and the old one goes on."""
    child = switch.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", *words)
    pings.goes_on()


def receive(sock, wanted):
    """Bytes, and the fds that come with them are closed."""
    data = b""
    while len(data) < wanted:
        part, ancillary, _, _ = sock.recvmsg(wanted - len(data), socket.CMSG_SPACE(4 * 64))
        for _, _, raw in ancillary:
            fds = array.array("i")
            fds.frombytes(raw[:len(raw) - len(raw) % 4])
            for fd in fds:
                os.close(fd)
        if not part:
            return data
        data += part
    return data


def parcel(sock):
    magic, kind, length, fds = struct.unpack("=IIII", receive(sock, 16))
    expect(magic == MAGIC, "no parcel")
    for _ in range((fds + 63) // 64):
        receive(sock, 1)
    return kind, receive(sock, length)


def asks(switch, path, version=VERSION):
    """As vireo-switchd --takeover does it: the answer."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "handover", "params": {"socket": path, "version": str(version)}}
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(switch.control)
        client.sendall(json.dumps(call).encode() + b"\n")
        return json.loads(client.makefile().readline())


class Taker:
    """A successor of our own."""

    def __init__(self, switch, version=VERSION):
        path = switch.lab.path("taker")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen(1)
            answer = asks(switch, path, version)
            expect("result" in answer, f"{answer}")
            self.sock = server.accept()[0]
        os.unlink(path)

    def dies_after(self, parcels, answer=b""):
        for _ in range(parcels):
            parcel(self.sock)
        try:
            self.sock.sendall(answer)
        except BrokenPipeError:
            pass  # on a slow machine it has been too late
        self.sock.close()


def head(kind, length=0, fds=0):
    return struct.pack("=IIII", MAGIC, kind, length, fds)


# ---- an old one of our own ----


class Old:
    """What a process finds that is to take over from it."""

    def __init__(self, lab, name="vireo-switchd", version=VERSION, control="old.control"):
        self.lab, self.name, self.version, self.control, self.rounds = lab, name, version, lab.path(control), 0
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.control)
        self.server.listen(4)
        self.server.settimeout(30)  # and whoever takes over makes it non-blocking

    def start(self, *options):
        self.rounds += 1
        argv = [program(self.name), "--control", self.control, "--takeover", *options]
        return self.lab.start(argv, log=f"new.{self.rounds}.log", cwd=self.lab.folder)

    def asked(self):
        """The connection to whom has asked, and the call."""
        client = self.server.accept()[0]
        return client, json.loads(client.makefile().readline())

    def answers(self, **what):
        client, call = self.asked()
        expect(call["method"] == "handover" and call["params"]["version"] == str(self.version), f"{call}")
        taker = socket.socket(socket.AF_UNIX)
        taker.connect(call["params"]["socket"])
        client.sendall(json.dumps({"jsonrpc": "2.0", "id": call["id"], **what}).encode() + b"\n")
        client.close()
        return taker


def give(taker, kind, data=b"", fds=()):
    try:
        taker.sendall(head(kind, len(data), len(fds)))
        if fds:
            taker.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        if data:
            taker.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has refused what came before


def state(*ports, version=VERSION, **more):
    return json.dumps({"version": version, "ports": list(ports), **more}).encode()


def port(spec, endpoint, **more):
    return {"spec": spec, "text": spec, "settings": False, "endpoint": endpoint, **more}
