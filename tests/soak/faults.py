# SPDX-License-Identifier: BSD-3-Clause
"""What befalls the steady daemons besides lies, mixed at random: a crowd of front ends, and an operator who does not sit still.

Each kind is a function with @crowd or @operator, of an Actor. None of them may cost an honest pair a frame.
"""
import contextlib
import random
import socket
import struct
import threading
import traceback

import vhost_user as raw  # of tests/hostile
from peer import DATA, GPA, NO, frame, net_header, patience

from steady import FILES, PAIRS, VISITORS

ENDED = (*NO, OSError)  # a peer that is not wanted any more; a socket's timeout is one, too
SILENT_MAX = 8
CROWD, OPERATOR = [], []


def crowd(function):
    CROWD.append(function)
    return function


def operator(function):
    OPERATOR.append(function)
    return function


class Actor(threading.Thread):
    """Does one thing after the other, `pause_s` apart, until it is ended. It can be told to rest, and has let go of everything then."""

    def __init__(self, steady, tally, kinds, seed, pause_s):
        super().__init__(daemon=True)
        self.steady, self.tally, self.kinds, self.pause_s = steady, tally, kinds, pause_s
        self.dice, self.kept = random.Random(seed), []
        self.ended, self.may, self.rests = threading.Event(), threading.Event(), threading.Event()
        self.begun, self.visitors, self.control = set(), {}, None
        self.may.set()
        self.start()

    def run(self):
        while not self.ended.is_set():
            if not self.may.is_set():
                self._alone(let_go)
                self.rests.set()
                self.may.wait()
                continue
            left = [kind for kind in self.kinds if kind not in self.begun]  # each of them once, first
            self._alone(self.dice.choice(left or self.kinds))
            self.ended.wait(self.pause_s)
        self._alone(let_go)

    def _alone(self, kind):
        self.begun.add(kind)
        try:
            kind(self)
        except Exception as error:  # whatever it is: nothing of this may fail
            traceback.print_exc()
            self.tally.complain(f"{kind.__name__}: {error!r}")

    def rest(self, seconds=60):
        self.rests.clear()
        self.may.clear()
        if not self.rests.wait(patience(seconds)):
            self.tally.complain(f"{self.kinds[0].__name__} and its like do not come to an end")

    def go_on(self):
        self.may.set()

    def end(self):
        self.ended.set()
        self.may.set()
        self.join(patience(60))

    def call(self, method, **params):
        if not self.control:
            self.control = self.steady.control_of_its_own()
        return self.control.call(method, **params)

    def keep(self, peer):
        """Until there are too many of them."""
        self.kept.append(peer)
        while len(self.kept) > SILENT_MAX:
            self.kept.pop(0).close()


def let_go(actor):
    while actor.kept:
        actor.kept.pop().close()
    for number in list(actor.visitors):
        leaves(actor, number)
    if actor.kinds is OPERATOR:
        reads_file(actor, range(FILES))  # as it was in the beginning
    if actor.control:
        actor.control.close()
        actor.control = None


# ---- the crowd ----

def connect(actor, name):
    """A bare connection. Where those who do not speak have taken all room, there is none for a while."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(1)
    try:
        sock.connect(actor.steady.path_of(name))
    except OSError:
        sock.close()
        actor.tally.count("turned away")
        return None
    return sock


@crowd
def connects_and_disconnects(actor):
    for _ in range(20):
        sock = connect(actor, "crowd")
        if sock:
            sock.close()
            actor.tally.count("connect and disconnect")


@crowd
def says_nothing(actor):
    sock = connect(actor, "silent")
    if sock:
        actor.keep(sock)
        actor.tally.count("silent peer")


@crowd
def says_half_a_message(actor):
    sock = connect(actor, "silent")
    if sock:
        with contextlib.suppress(OSError):
            sock.sendall(struct.pack("=III", raw.SET_MEM_TABLE, raw.VERSION, 40)[:actor.dice.randrange(1, 12)])
        actor.keep(sock)
        actor.tally.count("half a message")


@crowd
def says_a_byte_now_and_then(actor):
    """One of those who are kept."""
    if actor.kept:
        with contextlib.suppress(OSError):
            actor.dice.choice(actor.kept).send(b"\1")
        actor.tally.count("a byte now and then")


@crowd
def asks_and_does_not_listen(actor):
    sock = connect(actor, "crowd")
    if sock:
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(struct.pack("=III", raw.GET_FEATURES, raw.VERSION, 0) * 256)
        sock.close()
        actor.tally.count("asks and does not listen")


@crowd
def comes_sends_and_goes_without_a_word(actor):
    """A whole session, with frames under way and a ring full of buffers; its connection ends without a stop."""
    with contextlib.suppress(*ENDED), raw.VhostUserPeer(actor.steady.path_of("crowd"), 1) as peer:
        _, transmit = peer.ready(packed=actor.dice.random() < 0.5)
        peer.write(DATA, net_header() + frame(b"hello", source=b"\x02crowd"))
        for i in range(actor.dice.randrange(1, 64)):
            transmit.chain([(GPA + DATA, 72, 0)], i)
        actor.tally.count("session without an end")


# ---- the operator ----

@operator
def a_port_comes(actor):
    number = actor.dice.randrange(6)
    if number in actor.visitors:
        return leaves(actor, number)
    name = f"visitor{number}"
    actor.visitors[number] = actor.call("port.add", spec=f"vhost-user:{actor.steady.path_of(name)},name={name},{VISITORS}")["name"]
    actor.tally.count("port added")


def leaves(actor, number):
    actor.call("port.remove", name=actor.visitors.pop(number))
    actor.tally.count("port removed")


@operator
def a_limit_changes(actor):
    """Of a neighbour, or of an honest port, which is far below it."""
    name = actor.dice.choice(["crowd", "silent", *(f"{pair}{i}" for pair in PAIRS for i in range(2))])
    settings = actor.dice.choice(["frames-out=1000000", "rate-in=8G", "flood-max=100000", "flood-max=any"])
    actor.call("port.set", name=name, settings=settings)
    actor.call("port.set", name=name, settings=settings.partition("=")[0] + "=")
    actor.tally.count("port set")


@operator
def a_cable_is_pulled_and_put_back(actor):
    for state in ("down", "up"):
        actor.call("port.link", name=actor.dice.choice(["crowd", "silent"]), state=state)
    for name in ("crowd", "silent"):
        actor.call("port.link", name=name, state="up")
    actor.tally.count("link down and up")


@operator
def queues_go_to_another_worker(actor):
    """Those of honest pairs: frames wait in the queue meanwhile, and none is lost."""
    name = f"{actor.dice.choice(list(PAIRS))}{actor.dice.randrange(2)}"
    actor.call("worker.move", port=name, worker=str(actor.dice.randrange(2)))
    actor.tally.count("worker moved")


@operator
def the_file_of_settings_is_another(actor):
    reads_file(actor, [n for n in range(FILES) if actor.dice.random() < 0.5])


def reads_file(actor, numbers):
    """And has the ports of these numbers then, and no others of the file's."""
    actor.steady.written(numbers)
    with actor.steady.settings:
        answer = actor.call("reload")
    actor.tally.count("reload")
    names = {port["name"] for port in actor.call("port.list")["ports"]}
    expected = {f"file{n}" for n in numbers}
    if {name for name in names if name.startswith("file")} != expected:
        raise AssertionError(f"reload said {answer}, and there are {sorted(names)} instead of {sorted(expected)}")


@operator
def an_address_is_static_for_a_while(actor):
    mac = f"02:aa:00:00:00:{actor.dice.randrange(256):02x}"
    actor.call("fdb.add", mac=mac, port="crowd")
    actor.call("fdb.del", mac=mac)
    actor.tally.count("static address")


@operator
def everything_is_asked_for(actor):
    for method in ("stats", "port.list", "worker.list", "config.show"):
        actor.call(method)
    actor.tally.count("asked for all")


@operator
def a_client_of_the_control_socket_talks_nonsense(actor):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(patience(10))
        sock.connect(actor.steady.control_path)
        with contextlib.suppress(OSError):
            sock.sendall(actor.dice.randbytes(actor.dice.randrange(1, 4096)) + b"\n")
            sock.recv(4096)
    actor.tally.count("nonsense at the control socket")
