#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a switch has beside its ports' sessions, and ports that are no guest's, when it is replaced by another process (--takeover)."""
import array
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.interfaces import start  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.pcapng import blocks, options, pcap, read_pcapng  # noqa: E402
from guest.switch import Switch, program  # noqa: E402
from guest.takeover import GO, PART, READY, STATE, Old, Pings, Taker, asks, give, parcel, port, says, state, two  # noqa: E402

OLDEST = 3
FIRST_BYTE_IS_9 = "4,48 0 0 14,21 0 1 9,6 0 0 65535,6 0 0 0"  # ether[14] = 9


def mirrors_of(switch):
    return {mirror["id"]: mirror for mirror in switch.ask("mirror", "list")["mirrors"]}


def numbers(packets):
    """Of the frames of guest.takeover.Pings in a mirror of who sends them, in order."""
    return [int.from_bytes(frame[14:22], "little") for _, _, frame in packets if frame[6:12] == text_frame(1, 2)[6:12]]


@case
def mirrors_go_on(lab):
    """To a file, to a port and to who reads a pipe: each frame is copied once, in order, and nobody begins anew."""
    switch, pings = two(lab, "null:n")
    path = lab.path("copy.pcapng")
    switch.ctl("mirror", "add", "a", "--to", lab.path("removed.pcapng"))
    switch.ctl("mirror", "remove", "1")
    switch.ctl("mirror", "add", "a", "--to", path)
    switch.ctl("mirror", "add", "b", "--to", "n", "--snaplen", "64")
    argv = [program("vireoctl"), "-s", switch.control, "mirror", "add", "b", "--to", "-", "--program", FIRST_BYTE_IS_9]
    streamed = lab.start(argv, stdout=subprocess.PIPE)
    wait_until(lambda: len(mirrors_of(switch)) == 3, 20, "the mirrors are there")
    passed = pings.count + 256  # by then one that the filter takes
    what = lambda: [{key: row[key] for key in ("id", "port", "to", "filtered", "snaplen", "state")} for row in mirrors_of(switch).values()]  # noqa: E731
    before = what()
    for _ in range(3):
        frames = {number: mirror["frames"] for number, mirror in mirrors_of(switch).items()}
        switch.hand_over()
        pings.goes_on()
        expect(what() == before, f"{what()} is not {before}")
        expect(all(mirror["frames"] >= frames[number] for number, mirror in mirrors_of(switch).items()), "they have been counted anew")
    expect(switch.port("n")["tx_frames"] > 3, "nothing is copied to the port")
    wait_until(lambda: pings.count > passed or pings.problem, 60, "one has passed the filter")
    pings.end()
    counted, last = mirrors_of(switch), pings.count
    expect(not counted[2]["lost"], f"{counted}")
    for number in counted:
        switch.ctl("mirror", "remove", str(number))
    interface, packets = read_pcapng(open(path, "rb").read())
    expect(interface[2] == b"a" and [kind for kind, _ in blocks(open(path, "rb").read())].count(0x0a0d0d0a) == 1, "it has several heads")
    seen = numbers(packets)
    expect(seen == list(range(seen[0], last)), f"of {last} frames {len(seen)} were copied: {seen[:4]}...")
    data = streamed.communicate(timeout=20)[0]
    expect(streamed.returncode == 0, "who follows the stream has failed")
    nines = numbers(read_pcapng(data)[1])
    expect(nines and nines == [n for n in seen if n & 255 == 9 and n >= nines[0]], "the filter does not go along")
    switch.ctl("mirror", "add", "a", "--to", path)
    expect(list(mirrors_of(switch)) == [5], "a number is given twice")
    switch.hand_over()
    end_well(switch)


def mirror_to(switch, fd, **params):
    """mirror.add with a descriptor, as any client may send it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(switch.control)
        request = json.dumps({"jsonrpc": "2.0", "method": "mirror.add", "params": params, "id": 1}).encode() + b"\n"
        client.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        expect("result" in json.loads(client.makefile().readline()), "it is not mirrored")


def whole(data):
    """What there is of whole blocks."""
    at = 0
    while len(data) - at >= 8 and (size := struct.unpack_from("=I", data, at + 4)[0]) <= len(data) - at:
        at += size
    return bytes(data[:at])


@case
def a_reader_that_takes_nothing_holds_up_no_hand_over(lab):
    """What it has not taken of a block comes first afterwards, so that what it reads stays whole."""
    switch, pings = two(lab)
    pings.end()
    sent, data = 0, bytearray()

    def send(size):
        pings.one.send(text_frame(1, 2, sent.to_bytes(8, "little") + bytes(size)), seconds=20)
        pings.other.poll()
        return sent + 1
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    mirror_to(switch, theirs.fileno(), port="a", to="slow")
    theirs.close()
    while not mirrors_of(switch)[1]["lost"] and sent < 4000:
        for _ in range(100):
            sent = send(9000)
    switch.hand_over()
    lost = mirrors_of(switch)[1]["lost"]
    expect(lost > 100, f"{lost} are lost, although the rings were full")
    last, sent = sent, send(0)
    while last not in numbers(read_pcapng(whole(data))[1])[-1:]:
        data += ours.recv(1 << 20)
    switch.ctl("mirror", "remove", "1")
    while part := ours.recv(1 << 20):
        data += part
    expect(len(whole(data)) == len(data), "it does not end with a block")
    seen = numbers(read_pcapng(bytes(data))[1])
    expect(seen == sorted(set(seen)) and len(seen) > 4 and seen[-1] == last, f"{len(seen)} of {sent}")
    for front in (pings.one, pings.other):
        front.close()
    end_well(switch)


MIRROR = {"id": 1, "port": "a", "to": "n", "fd": False, "snaplen": 100, "frames": 1, "bytes": 60, "lost": 0, "rest": 0}


@case
def mirrors_that_lie_are_refused(lab):
    """In what they say, or by descriptors that are none, or bytes that are missing."""
    old, (seen, given) = Old(lab), os.pipe()
    control, ports = [old.server.fileno()], [port("null:a", False), port("null:n", False)]
    to_fd = {**MIRROR, "to": "-", "fd": True}
    without = lambda name: {key: value for key, value in MIRROR.items() if key != name}  # noqa: E731
    lies = [
        *(([without(name)], None, "that says what cannot be") for name in ("id", "snaplen", "frames", "bytes", "lost", "rest")),
        *(([{**MIRROR, **what}], None, "that says what cannot be") for what in (
            {"id": 0}, {"id": -1}, {"id": 1 << 40}, {"snaplen": 13}, {"snaplen": 1 << 20}, {"frames": "1"}, {"lost": -1}, {"rest": 1},
            {"rest": 1 << 30}, {"program": 7}, {"program": ""}, {"program": "1,6 0 0"}, {"program": "1,5 0 0 9"})),
        *(([{**MIRROR, **what}], None, "of a port that there is not") for what in ({"port": "b"}, {"port": 7}, {"to": None}, {"to": "x" * 4097})),
        ([{**MIRROR, "to": "b"}], None, "to a port that there is not"),
        ([{**MIRROR, "to": "a"}], None, "Too many levels"),
        ([MIRROR, MIRROR], None, "that says what cannot be"),
        ([7], None, "that says what cannot be"),
        ([to_fd], (b"", []), "are missing"),
        ([{**to_fd, "rest": 2}], (b"x", [given]), "are missing"),
        ([to_fd], (b"", [seen]), "can be written to"),
        ([to_fd], (b"x", [given]), "more descriptors or bytes"),
        ([to_fd], (b"", [given, given]), "more descriptors or bytes"),
        ([to_fd], None, "does not come"),
    ]
    for mirrors, part, why in lies:
        child = old.start()
        with old.answers(result={}) as taker:
            give(taker, STATE, state(*ports, mirrors=mirrors), control)
            if part:
                give(taker, PART, *part)
            taker.shutdown(socket.SHUT_WR)
            expect(child.wait(30) == 1, f"it has ended well: {why}")
        says(child, "not taken over", why)
    os.close(given)
    expect(os.read(seen, 1) == b"", "something was written before the other one had said that it goes")
    os.close(seen)


@case
def an_older_version_is_taken_over_from_and_handed_to(lab):
    """It knows of no mirrors: it gets a switch without, and gives none."""
    switch, pings = two(lab, "null:n")
    switch.ctl("mirror", "add", "a", "--to", "n")
    expect("of a version that does not go on with it" in asks(switch, lab.path("a"), OLDEST)["error"]["message"], "a mirror is lost")
    switch.ctl("mirror", "remove", "1")
    switch.ctl("port", "add", "bond:up,mode=lacp")
    expect("a bond speaks LACP" in asks(switch, lab.path("a"), OLDEST)["error"]["message"], "it would flap")
    switch.ctl("port", "remove", "up")
    Taker(switch, OLDEST).dies_after(3)
    pings.goes_on()
    pings.end()
    end_well(switch)
    old = Old(lab)
    child = old.start("--reopen")
    message = f"this switch (Vireo 0.1) hands over as version {OLDEST} has it, which is not the other one's"
    for reopen, code, why in (("yes", -32602, "unknown parameters: expected SOCKET VERSION"), (None, -32000, message)):
        client, call = old.asked()  # and it does not connect
        expect(call["params"].get("reopen") == reopen, f"{call}")
        client.sendall(json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": why}}).encode() + b"\n")
    old.version = OLDEST
    with old.answers(result={}) as taker:
        give(taker, STATE, state(port("null:n", False), version=OLDEST), [old.server.fileno()])
        expect(parcel(taker)[0] == READY, "it does not answer")
        give(taker, GO)
    wait_until(lambda: "ready: 1 ports" in open(child.log).read(), 20, "it goes on")
    child.kill()
    child.wait(30)
    old = Old(lab, control="older.control")
    child = old.start()
    with old.answers(error={"code": -32000, "message": message.replace(f"version {OLDEST}", f"version {OLDEST - 1}")}):
        expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", f"hands over as version {OLDEST - 1} has it")


MEMBERS = ("m0", "m1")


@case
def a_bond_that_speaks_lacp_does_not_flap(lab):
    """Neither end of it notices that one is replaced: both links carry all the time, and a system that was chosen at random stays."""
    bonds = [[f"bond:up,mode=lacp,rate=fast,hash=layer3+4{keys}"] for keys in ("", ",system=02:00:00:00:00:99")]
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},name=a", "null:gone", *bonds[0],
                          *(f"vhost-user:{lab.path(name)},name={name},bond=up" for name in MEMBERS)])
    other = Switch(lab, [f"vhost-user:{lab.path('b')},name=b", *bonds[1], *(f"virtio-user:{lab.path(name)},name={name},bond=up" for name in MEMBERS)],
                   name="other")
    switch.ctl("port", "remove", "gone")
    switch.ctl("port", "add", "null:later")  # numbers are not as in a list of those that there are

    def told(one):
        return one.ask("bond", "show", "up")["bond"]

    def carry(one):
        return all(member["carries"] and member["lacp"]["mux"] == "distributing" for member in told(one)["members"])
    wait_until(lambda: all(carry(one) for one in (switch, other)), 30, "both links are agreed on")
    pings = Pings(Front(lab.path("a")), Front(lab.path("b")))
    pings.other.send(text_frame(2, 1))
    pings.start()
    pings.goes_on()
    partner = told(other)["lacp"]["partner"]
    lines = open(other.child.log).read().count("frames go out of")
    for _ in range(3):
        switch.hand_over()
        expect(carry(switch) and carry(other), f"{told(switch)} {told(other)}")
        pings.goes_on()
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() > begin + 3.5, 20, "who is not heard would be given up by now")
    expect(carry(switch) and carry(other), f"{told(switch)} {told(other)}")
    expect(told(other)["lacp"]["partner"] == partner, "it is another system by now")
    text = open(other.child.log).read()
    expect(text.count("frames go out of") == lines and "no member carries" not in text, "it has flapped")
    expect("begins anew" not in open(switch.child.log).read(), "LACP has begun anew")
    pings.end()
    print(f"    3 hand-overs, {pings.count} pings over the bond, the slowest took {pings.slowest_s * 1000:.1f} ms", flush=True)
    end_well(other)
    end_well(switch)


def lacp_lies():
    """What may not be said of LACP: of the bond, and why it is refused."""
    member = {"port": "m", "leads": True, "nobody": False, "machines": [3, 2, 2, 4], "partner": "02:00:00:00:00:05", "said": [1, 2, 3, 4, 63],
              "left": [90000, 30000, -1]}
    bond = {"bond": "up", "system": "02:00:00:00:00:01", "members": [member]}

    def members(*changes):
        return {**bond, "members": [{**member, **change} for change in changes]}
    cannot = [
        {"said": [1, 2, 3, 4, 256]}, {"said": [1, 2, 3, 4]}, {"said": [1 << 16, 2, 3, 4, 63]}, {"partner": "01:00:00:00:00:05"}, {"partner": None},
        {"partner": bond["system"]}, {"machines": [3, 2, 2]}, {"machines": [4, 2, 2, 4]}, {"machines": [3, 3, 2, 4]}, {"machines": [3, 2, 3, 4]},
        {"machines": [3, 2, 2, 5]}, {"machines": [-1, 2, 2, 4]}, {"machines": [3, 2, 2, 3.5]}, {"machines": [3, 2, 1, 4]}, {"machines": [3, 2, 0, 0]},
        {"said": [1, 2, 3, 4, 55]}, {"said": [1, 2, 3, 4, 47]}, {"left": [-2, 0, 0]}, {"left": [90001, 30000, -1]}, {"left": [90000, 30001, -1]},
        {"left": [90000, 1 << 62, -1]}, {"left": [90000, 30000, 0]}, {"left": [-1, 30000, -1]}, {"leads": 1}, {"nobody": None}, {"leads": False},
        {"nobody": True},
    ]
    return bond, [
        *((members(change), "what cannot be, of bond up") for change in cannot),
        *(({**bond, "members": what}, "what cannot be, of bond up") for what in ([7], 7, None, [member] * 17)),
        (members({}, {"port": "m2"}), "what cannot be, of bond up"),  # two lead
        (members({}, {"port": "m2", "leads": False, "said": [1, 3, 3, 4, 63]}), "what cannot be, of bond up"),  # with another aggregator
        (members({}, {"leads": False}), "a member twice, of bond up"),
        *((members({"port": name}), "a port that is none of its members, of bond up") for name in ("n", "none", "up")),
        *(({**bond, "system": what}, "a system that is not its own, of bond up") for what in ("x", "01:00:00:00:00:01", "00:00:00:00:00:00", 7)),
        *(({**bond, "bond": what}, "of a bond that there is not") for what in ("other", "n", "none", 7)),
        ({**bond, "bond": "set"}, "a system that is not its own, of bond set"),
        (7, "of a bond that there is not"),
    ]


@case
def lacp_that_lies_is_refused(lab):
    """Before anybody has decided who goes on: beyond what the protocol has, of timers in the far future, of ports that are nobody's."""
    old, (bond, lies) = Old(lab), lacp_lies()
    control = [old.server.fileno()]
    ports = [port(spec, False) for spec in ("bond:up,mode=lacp", "bond:set,mode=lacp,system=02:00:00:00:00:77", "null:n", "bond:other")]
    ports += [port(f"virtio-user:/nobody/{name},name={name},bond=up", False, anew=True) for name in ("m", "m2")]  # they are not there yet
    for lacp, why in [*(([told], why) for told, why in lies), ([bond, bond], "of a bond twice, of bond up"), (7, "'lacp' is no list")]:
        child = old.start()
        with old.answers(result={}) as taker:
            give(taker, STATE, state(*ports, lacp=lacp), control)
            taker.shutdown(socket.SHUT_WR)
            expect(child.wait(30) == 1, f"it has ended well: {lacp}")
        says(child, "not taken over", why)
    child = old.start("--reopen")
    with old.answers(result={}) as taker:
        give(taker, STATE, state(*ports, lacp=[bond]), control)
        expect(parcel(taker)[0] == READY, "it does not answer")
    child.kill()
    child.wait(30)


@case
def a_file_that_is_written_goes_on(lab):
    """With each frame once, one head and one end that counts them all; its lock is never free. And the old one goes on if that is how it ends."""
    path, other = lab.path("out.pcapng"), lab.path("other.pcapng")
    switch, pings = two(lab, f"pcap-out:{path},name=p", f"pcap-out:{other},name=q")
    sent = 0

    def send(count):
        nonlocal sent
        for _ in range(count):
            pings.other.send(text_frame(2, None, b"n" + sent.to_bytes(8, "little")), seconds=20)
            sent += 1
    for number in range(6):
        send(20)
        if number % 2:
            Taker(switch).dies_after((0, 3, 5)[number // 2])
            pings.goes_on()
        else:
            switch.hand_over()
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                raise AssertionError("its lock is free")
            except BlockingIOError:
                pass
    send(20)
    wait_until(pings.other.drained, 20, "all are taken: who is removed before that gets no more")
    expect(all(switch.port(name)["tx_frames"] >= 40 for name in "pq"), "they are written")
    pings.end()
    for name in "pq":
        switch.ctl("port", "remove", name)
    for name in (path, other):
        data = open(name, "rb").read()
        kinds = [kind for kind, _ in blocks(data)]
        expect(kinds.count(0x0a0d0d0a) == kinds.count(1) == kinds.count(5) == 1 and kinds[-1] == 5, f"{kinds[:3]} {kinds[-3:]}")
        frames = [frame for _, _, frame in read_pcapng(data)[1]]
        ours = [int.from_bytes(frame[15:23], "little") for frame in frames if frame[14:15] == b"n"]
        expect(ours == list(range(sent)), f"{len(ours)} of {sent} frames are in it")
        end = options([body for kind, body in blocks(data) if kind == 5][0][12:])
        expect(struct.unpack("=Q", end[4])[0] == len(frames) and struct.unpack("=Q", end[5])[0] == 0, f"{end}")
    end_well(switch)


@case
def a_file_that_lies_is_refused(lab):
    """In what is said of it, or by a descriptor of something else."""
    def told(written=0, received=2, lost=1, magic=b"vireopco", version=1, zero=0):
        return magic + struct.pack("=IIQQQ", version, zero, written, received, lost)
    old, path = Old(lab), lab.path("out.pcapng")
    switch = Switch(lab, [f"pcap-out:{path},name=p"])
    end_well(switch)
    size = os.path.getsize(path)
    good = os.open(path, os.O_RDWR)
    os.lseek(good, 0, os.SEEK_END)
    begin, locked, read = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR), os.open(path, os.O_RDONLY)
    foreign = os.open(lab.path("foreign"), os.O_RDWR | os.O_CREAT)
    os.write(foreign, b"x" * size)
    for fd in (locked, read):
        os.lseek(fd, 0, os.SEEK_END)
    lies = [
        (b"", [good], "it is cut short"), (told(size)[:-1], [good], "it is cut short"), (told(size) + b"x", [good], "what is not known"),
        (told(size, magic=b"vireokrn"), [good], "no state of such a port"), (told(size, version=2), [good], "version is not known"),
        (told(size, zero=1), [good], "what is not known"), (told(size, received=0), [good], "what is not known"),
        (told(size), [], "its file was not handed over"), (told(size), [good, good], "its file was not handed over"),
        (told(size), [read], "of no file that can be written"), (told(size), [old.server.fileno()], "of no file that can be written"),
        (told(size + 1), [good], "not as long as is said"), (told(size), [begin], "not as long as is said"),
        (told(size), [foreign], "none that such a port has written")]
    for data, fds, why in [*lies, (told(size), [good], "is locked by somebody else")]:
        if "locked" in why:
            fcntl.flock(locked, fcntl.LOCK_EX)
        child = old.start()
        with old.answers(result={}) as taker:
            give(taker, STATE, state(port(f"pcap-out:{path},name=p", True)), [old.server.fileno()])
            give(taker, PART, data, fds)
            taker.shutdown(socket.SHUT_WR)
            expect(child.wait(30) == 1, f"it has ended well: {why}")
        says(child, "not taken over", why)
    expect(os.path.getsize(path) == size, "it is not what it was")
    for fd in (good, begin, locked, read, foreign):
        os.close(fd)


# ---- what is closed, and opened anew ----


class Stream(threading.Thread):
    """Numbered frames from one front end to another, each few milliseconds, of which some may be lost."""

    def __init__(self, one, other):
        super().__init__(daemon=True)
        self.one, self.other, self.over, self.came, self.sent, self.gap_s, self.last_s = one, other, False, 0, 0, 0.0, time.monotonic()

    def run(self):
        while not self.over:
            self.one.send(text_frame(1, 2, struct.pack("<Q", self.sent)), seconds=20)
            self.sent += 1
            for _ in self.other.receive(0.002):
                self.came += 1
                self.gap_s, self.last_s = max(self.gap_s, time.monotonic() - self.last_s), time.monotonic()

    def goes_on(self):
        before = self.came
        wait_until(lambda: self.came > before + 20, 20, "frames arrive")


def opened_anew(switch, name):
    def said():
        with open(switch.child.log) as log:
            return re.search(rf" {name}: opened anew, (\d+) ms after", log.read())
    return int(wait_until(said, 20, f"{name} is opened anew", child=switch.child)[1])


@case
def a_patch_is_closed_and_opened_anew_where_that_is_asked_for(lab):
    """And refused where it is not. What the switch knows of the port stays."""
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in ("a", "patch")])
    other = Switch(lab, [f"vhost-user:{lab.path('b')},name=b", f"virtio-user:{lab.path('patch')},name=up", "null:n"], name="other")
    stream = Stream(Front(lab.path("a")), Front(lab.path("b")))
    stream.other.send(text_frame(2, 1))
    stream.start()
    stream.goes_on()
    child = other.successor()
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "port 'up' cannot be handed over: its type is virtio-user; --reopen closes it, and opens it anew")
    other.ctl("mirror", "add", "up", "--to", "n")
    child = other.successor("--reopen")
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "mirror 1 is of port 'up', or goes to it, which is to be opened anew: remove it first")
    other.ctl("mirror", "remove", "1")
    expect("not handed over" not in open(other.child.log).read(), "something was stopped")
    other.ctl("port", "set", "up", "rate-in=1G")
    other.ctl("fdb", "add", "52:54:00:00:09:09", "up")
    config, gaps = other.ctl("config", "show"), []
    for _ in range(3):
        other.hand_over("--reopen")
        stream.goes_on()
        gaps.append(opened_anew(other, "up"))
        expect(sorted(other.ctl("config", "show").splitlines()) == sorted(config.splitlines()), f"{other.ctl('config', 'show')}\nis not\n{config}")
    stream.over = True
    stream.join(30)
    print(f"    opened anew {gaps} ms after, {stream.sent - stream.came} of {stream.sent} frames lost, the longest gap was {stream.gap_s * 1000:.0f} ms",
          flush=True)
    end_well(other)
    end_well(switch)


@case
def ports_by_xdp_are_closed_and_opened_anew(lab):
    """Guests beside them notice nothing. One that cannot be opened costs a line, and nobody else has what else there is."""
    switch, left, _ = start(lab, "af_xdp", more=[f"vhost-user:{lab.path(name)},name={name}" for name in "ab"])
    pings = Pings(*(Front(lab.path(name)) for name in "ab"))
    pings.other.send(text_frame(2, 1))
    pings.start()
    left.ping("10.7.0.2")
    keeper = lab.start(["nsenter", "-t", str(switch.child.pid), "-n", "sleep", "1000"])
    wait_until(lambda: os.readlink(f"/proc/{keeper.pid}/exe").endswith("sleep"), 20, "somebody keeps the namespace")

    def successor(*options, wrapped=()):
        switch.successors += 1
        argv = [*wrapped, program("vireo-switchd"), "--control", switch.control, "--takeover", *options]
        return lab.start(argv, log=f"switchd.{switch.successors}.log", cwd=lab.folder)
    inside, plain, gaps = ["nsenter", "-t", str(keeper.pid), "-n"], switch.successor, []
    switch.successor = lambda *options: successor(*options, wrapped=inside)
    for _ in range(2):
        switch.hand_over("--reopen")
        pings.goes_on()
        gaps.append([opened_anew(switch, name) for name in ("left", "right")])
        wait_until(lambda: "bytes from" in left.run("sh", "-c", "busybox ping -c 1 -W 1 10.7.0.2 || true"), 20, "pings pass again")
    switch.successor = plain
    switch.hand_over("--reopen")  # in another network namespace
    wait_until(lambda: open(switch.child.log).read().count("not opened anew: ") == 2, 20, "it says so")
    pings.goes_on()
    pings.end()
    expect({each["name"] for each in switch.ask("port", "list")["ports"]} == {"a", "b"}, "who is there")
    print(f"    opened anew {gaps} ms after; {pings.count} pings between front ends, the slowest took {pings.slowest_s * 1000:.1f} ms", flush=True)
    end_well(switch)


@case
def while_ports_are_to_be_opened_anew_the_control_thread_goes_on(lab):
    """The other process is waited for, which does not end here; a request to end is obeyed meanwhile. A machine that stands still for all that
    time is asked again."""
    old = Old(lab)
    for _ in range(10):
        child = old.start("--reopen")
        with old.answers(result={}) as taker:
            give(taker, STATE, state(port("null:n", False), port(f"virtio-user:{lab.path('nobody')},name=up", False, anew=True)), [old.server.fileno()])
            expect(parcel(taker)[0] == READY, "it does not answer")
            give(taker, GO)
            wait_until(lambda: "ready: 1 ports" in open(child.log).read(), 20, "it goes on", child=child)
            child.send_signal(signal.SIGTERM)
            expect(child.wait(30) == 0, "it has not ended well")
        if "opened anew" not in open(child.log).read():
            return
        old = Old(lab, control=f"old.{old.rounds}.control")
    expect(False, "it did not end before the port was opened")


@case
def what_is_not_opened_anew_keeps_the_old_one(lab):
    """And an older process does not know of it."""
    old = Old(lab)
    child = old.start("--reopen")
    with old.answers(result={}) as taker:
        give(taker, STATE, state(port("tap:vrnone0", True, anew=True)), [old.server.fileno()])
        taker.shutdown(socket.SHUT_WR)
        expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "a port is of a type that is not opened anew")
    with open(lab.path("frames.pcap"), "wb") as file:
        file.write(pcap([(0, text_frame(1, 2))]))
    switch, pings = two(lab, f"pcap-in:{lab.path('frames.pcap')},name=p")
    child = switch.successor("--reopen")
    expect(child.wait(30) == 1, "it has ended well")
    says(child, "not taken over", "port 'p' cannot be handed over: its type is pcap-in")
    pings.goes_on()
    pings.end()
    end_well(switch)


if __name__ == "__main__":
    main()
