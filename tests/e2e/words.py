#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What the programs say to people, whatever others have made them say it, and whoever does not listen."""
import json
import os
import re
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import listener, raw  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402


QUESTIONS = 2000  # more than a pipe and the switch's queue of lines hold, one line each


def answering(lab, **how):
    """A daemon that says what it is asked, and that answers on its control socket."""
    path = lab.path("control")
    child = lab.start([program("vireo-switchd"), "--control", path, "--log-level", "debug", "--port",
                       f"vhost-user:{lab.path('a')}"], **how)

    def answers():
        return subprocess.run([program("vireoctl"), "-s", path, "version"], capture_output=True, timeout=20).returncode == 0
    wait_until(answers, 20, "the control socket answers")
    return child, answers


def with_deaf_reader(lab):
    """A daemon that has said more than anybody has read, which has not made it wait; and who could read it."""
    reader, writer = os.pipe()
    child, answers = answering(lab, stderr=writer)
    os.close(writer)
    with raw.VhostUserPeer(lab.path("a"), 20) as peer:
        for _ in range(QUESTIONS):
            peer.ask(raw.GET_FEATURES)
    expect(answers(), "the control socket does not answer")
    return child, reader


@case
def a_log_that_nobody_reads_holds_up_nobody(lab):
    """What is read later tells how much is missing."""
    child, reader = with_deaf_reader(lab)
    text = b""
    while b"lines lost here" not in text:
        part = os.read(reader, 65536)
        expect(part, f"the log ends after {len(text)} bytes")
        text += part
    child.terminate()
    while part := os.read(reader, 65536):
        text += part
    expect(child.wait(20) == 0, f"exit status {child.returncode}")
    lines = text.decode().splitlines()
    lost = sum(int(found[1]) for found in (re.search(r" (\d+) lines lost here", line) for line in lines) if found)
    said = sum("GET_FEATURES" in line for line in lines)
    expect(said < QUESTIONS <= said + lost <= QUESTIONS + 20, f"{said} of {QUESTIONS} lines were written, and {lost} lost ones counted")
    expect(any("signal 15: ending" in line for line in lines[-4:]), f"the last lines: {lines[-4:]}")
    os.close(reader)


@case
def a_signal_ends_a_switch_whose_log_nobody_reads(lab):
    child, reader = with_deaf_reader(lab)
    child.terminate()
    expect(child.wait(20) == 0, f"exit status {child.returncode}")
    expect(not os.path.exists(lab.path("control")) and not os.path.exists(lab.path("a")), "its sockets are left")
    os.close(reader)


# ---- how often ----

def control_call(stream, method, **params):
    stream.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\n")
    stream.flush()
    expect("result" in json.loads(stream.readline()), f"{method} {params}")


def storm_of_ports(switch):
    """Ports that come and go: 1000 lines, if all were written."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(switch.control)
        stream = sock.makefile("rw")
        for number in range(500):
            control_call(stream, "port.add", spec=f"null:n{number}")
            control_call(stream, "port.remove", name=f"n{number}")


def storm_of_clients(switch):
    """More connections than there may be at a time: each one drops another."""
    held = [socket.socket(socket.AF_UNIX) for _ in range(400)]
    for sock in held:
        sock.connect(switch.control)  # which waits where the backlog is full
    switch.ctl("version")
    for sock in held:
        sock.close()


@case_for({"ports": (storm_of_ports,), "connections": (storm_of_clients,)}, "clients_of_the_control_socket_do_not_fill_the_log_with_{}")
def clients_do_not_fill_the_log(lab, storm):
    switch = Switch(lab, ["null:quiet"])
    begin = time.monotonic()
    storm(switch)
    few = 100 + 5 * (time.monotonic() - begin) + 20  # a burst, and five a second

    def lines():
        with open(switch.child.log) as log:
            return [line for line in log if "control: client" in line or ": added" in line or ": removed" in line]

    def told():
        """A line that is let through tells how many were not."""
        switch.ctl("port", "add", "null:late")
        switch.ctl("port", "remove", "late")
        with open(switch.child.log) as log:
            return re.search(r"control: too many lines: (\d+) were left out", log.read())
    print(f"     {len(lines())} lines")
    expect(len(lines()) < few, f"{len(lines())} lines")
    expect(int(wait_until(told, 20, "it is told how many lines were left out", step=0.3)[1]) > 0, "none was left out")
    end_well(switch)


@case
def a_service_manager_that_is_busy_hears_of_it_later(lab):
    manager, others = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(lab.path("notify"))
    manager.settimeout(20)
    others.setblocking(False)
    try:
        while True:
            others.sendto(b"WATCHDOG=1", lab.path("notify"))
    except BlockingIOError:
        pass
    child, answers = answering(lab, log="switchd.log", env={**os.environ, "NOTIFY_SOCKET": lab.path("notify")})
    expect(answers(), "it does not answer")
    while (news := manager.recv(100)) == b"WATCHDOG=1":
        pass
    expect(news == b"READY=1", f"{news}")
    child.terminate()
    expect(child.wait(20) == 0, f"exit status {child.returncode}")
    manager.close()
    others.close()


# ---- vireoctl ----

EVIL = "\x1b[2J\x1b]0;owned\x07\u009b31m\nline\u202e\x7f"
EVIL_PORT = {"name": "vm" + EVIL, "type": EVIL, "address": EVIL, "state": EVIL, "rx_frames": 1, EVIL: EVIL}
ANSWERS = {
    ("port", "list"): {"ports": [EVIL_PORT]}, ("port", "show", "x"): {"port": dict(EVIL_PORT, counters={EVIL: 1}, offloads=[EVIL])},
    ("fdb", "show"): {"total": 1, "entries": [{"mac": EVIL, "port": EVIL, "age_s": 1}]}, ("port", "add", "null:x"): {"name": EVIL},
    ("stats",): {"time_us": 1, "ports": [EVIL_PORT], "workers": [], "fdb": {}}, ("metrics",): {"ports": [EVIL_PORT]},
    ("version",): {"daemon": EVIL, "version": EVIL},
}


def told_by_a_server(lab, answer, *words):
    """What vireoctl makes of the bytes that a server answers with, or of what it does: answer(connection)."""
    path = lab.path("server")
    with listener(path) as server:
        child = lab.start([program("vireoctl"), "-s", path, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        connection = server.accept()[0]
        connection.recv(65536)
        if callable(answer):
            answer(connection)
        else:
            connection.sendall(answer)
        out, err = child.communicate(timeout=20)
        connection.close()
    os.unlink(path)
    return child.returncode, out, err


def one_line_each(text):
    """Nothing in it is for a terminal to obey."""
    return all(character == "\n" or character.isprintable() for character in text.decode())


@case
def what_a_server_answers_is_shown_and_not_obeyed(lab):
    for words, result in ANSWERS.items():
        for option in ((), ("--json",)):
            answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}, ensure_ascii=False).encode() + b"\n"
            status, out, err = told_by_a_server(lab, answer, *option, *words)
            expect(status == 0 and not err, f"{words}: exit status {status}, {err}")
            expect(one_line_each(out) and b"owned" in out, f"{words}: {out}")
            expect(not option or json.loads(out) == result, f"{words}: the JSON means something else: {out}")
    answer = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": EVIL}}).encode() + b"\n"
    status, out, err = told_by_a_server(lab, answer, "port", "list")
    expect((status, out, err.count(b"\n")) == (1, b"", 1) and one_line_each(err), f"exit status {status}, {out} {err}")


SAMPLE = re.compile(r'vireo_[a-z0-9_]+(\{[a-z_]+="([^"\\]|\\.)*"(,[a-z_]+="([^"\\]|\\.)*")*\})? -?[0-9.]+')


@case
def what_a_server_answers_makes_no_samples_of_its_own(lab):
    lie = 'x"} 1\nvireo_owned{a="\\'
    port = {"name": lie, "state": lie, "link": lie, "rx_frames": 7, lie: 8, "counters": {lie: 9, "rx_bytes": 10}, "queue_counters":
            [{"direction": lie, "queue": lie, "frames": 11, lie: 12}]}
    disk = {"name": lie, "latency": {lie: {"count": 13, "p50_ns": 14}}, "size_bytes": 15}
    result = {"ports": [port, {"name": "without a state", "rx_frames": 16}], "disks": [disk], "fdb": {lie: 17, "entries": 18}}
    answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode() + b"\n"
    status, out, err = told_by_a_server(lab, answer, "metrics")
    lines = out.decode().splitlines()
    expect(status == 0 and not err and lines[-1] == "# EOF", f"exit status {status}, {out} {err}")
    for line in lines[:-1]:
        expect(line.startswith(("# TYPE vireo_", "# HELP vireo_", "# UNIT vireo_")) or SAMPLE.fullmatch(line), f"no sample: {line}")
    values = sorted(int(line.rpartition(" ")[2]) for line in lines if not line.startswith("#") and "." not in line.rpartition(" ")[2])
    expect(values == [0, 0, 1, 1, 7, 10, 11, 13, 15, 16, 18], f"{values}: what keys of its own say is left out")


@case
def a_server_that_never_ends_its_answer_is_given_up(lab):
    def drip(connection):
        end = time.monotonic() + 10
        try:
            while time.monotonic() < end:
                connection.sendall(b" ")
                time.sleep(0.1)
        except OSError:
            pass
    status, out, err = told_by_a_server(lab, drip, "--timeout", "1", "port", "list")
    expect((status, out, err.count(b"\n")) == (1, b"", 1) and b"within 1 s" in err, f"exit status {status}, {out} {err}")


# ---- what is asked for and cannot be printed, and what is mistyped ----

def said(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)


@case
def each_program_helps_with_a_letter(lab):
    for name in ("vireo-switchd", "vireo-blkd", "vireo-scsid", "vireoctl", "vireo-bench"):
        short, long = said(program(name), "-h"), said(program(name), "--help")
        expect((short.returncode, short.stderr) == (0, ""), f"{name} -h: {short}")
        expect(short.stdout == long.stdout and "--help" in short.stdout, f"{name}: -h says something else than --help")
        expect(short.stdout.count("[") == short.stdout.count("]"), f"{name}: something is not told to its end: {short.stdout}")


@case
def what_a_full_disk_does_not_take_is_told(lab):
    """/dev/full takes nothing."""
    switch = Switch(lab, ["null:sink"])
    rows = [[program(name), option] for name in ("vireo-switchd", "vireo-blkd", "vireo-scsid", "vireoctl", "vireo-bench") for option in ("-h", "--version")]
    rows += [[program("vireoctl"), "-s", switch.control, *words.split()] for words in ("port list", "port list --json", "top --count 2 --interval 0.1")]
    rows += [[program(name), "--print-capabilities"] for name in ("vireo-blkd", "vireo-scsid")]
    for words in rows:
        with open("/dev/full", "w") as full:
            done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=20, check=False)
        expect(done.returncode not in (0, 2), f"{words}: exit status {done.returncode}")
        expect(len(done.stderr.splitlines()) == 1 and "not all written" in done.stderr, f"{words}: {done.stderr}")
    end_well(switch)


@case
def a_slip_gets_one_hint(lab):
    switch = Switch(lab, ["null:uplink", "null:sink"])
    for words, hint in (("prot list", "'port list'"), ("stast", "'stats'"), ("port lst", "'port list'"), ("--jsno version", "'--json'"),
                        ("port show upink", "'uplink'"), ("fdb flush snk", "'sink'")):
        done = said(program("vireoctl"), "-s", switch.control, *words.split())
        expect(done.returncode in (1, 2) and f"did you mean {hint}?" in done.stderr, f"{words}: {done}")
        expect(len(done.stderr.splitlines()) == 1 and done.stderr.count("mean") == 1, f"{words}: {done.stderr}")
    for words in ("nonsense", "port show tolnku", "--xyz version"):
        done = said(program("vireoctl"), "-s", switch.control, *words.split())
        expect(done.returncode in (1, 2) and "mean" not in done.stderr, f"{words}: {done}")
    done = said(program("vireoctl"), "-s", switch.control, "po\x1brt", "list")
    expect("\x1b" not in done.stderr and "did you mean 'port list'?" in done.stderr, f"{done}")
    end_well(switch)


@case
def what_is_given_twice_is_refused(lab):
    for words in (("vireoctl", "-s", "/a", "--socket", "/b", "version"), ("vireoctl", "--json", "--json", "version"),
                  ("vireo-bench", "net", "--from", "/a", "--from", "/b"), ("vireo-blkd", "--workers", "1", "--workers", "1")):
        done = said(program(words[0]), *words[1:])
        expect(done.returncode == 2 and "is given twice: leave one out" in done.stderr, f"{words}: {done}")


if __name__ == "__main__":
    main()
