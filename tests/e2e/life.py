#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vireo-switchd from its sockets to its end: who gets a socket, what signals do, and that no peer holds the end up."""
import fcntl
import grp
import json
import os
import pwd
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.daemon import NOBODY, end_well, root_only, sanitized, seconds_to_its_end  # noqa: E402
from guest.front import Front, listener, raw, text_frame  # noqa: E402
from guest.lab import listening_sockets, wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402
from lingering import Lingering  # noqa: E402

END_S = 5 if sanitized() else 1


# ---- sockets ----

@case
def stale_sockets_are_taken_over(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}"])
    switch.kill()
    expect(os.path.exists(lab.path("a")) and os.path.exists(switch.control), "nothing stale is left to take over")
    switch.child = lab.start(switch.argv, log="switchd.log", cwd=lab.folder)  # and not start(), which clears up
    wait_until(switch.listening, 20, "the switch is back", child=switch.child)
    Front(lab.path("a")).close()
    end_well(switch)
    expect(not os.path.exists(lab.path("a")) and not os.path.exists(switch.control), "sockets are left")


@case
def a_jail_without_proc_is_told_what_it_lacks(lab):
    """Its sockets are named by /proc, and "its folder does not exist" was what it said of them."""
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"']
    root_only()
    if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode:
        raise Skip("no mount namespaces here")
    done = subprocess.run([*hidden, program("vireo-switchd"), "--control", lab.path("control"), "--port",
                           f"vhost-user:{lab.path('a')}"], capture_output=True, text=True, timeout=60, check=False)
    lines = done.stderr.splitlines()
    expect(done.returncode == 1 and len(lines) == 1 and "no /proc here" in lines[0] and "mount -t proc" in lines[0],
           f"{done.returncode}: {done.stderr}")


@case_for({"fresh": (False,), "stale": (True,)}, "of_two_daemons_that_take_one_socket_at_once_one_gets_it_{}")
def two_daemons_take_one_socket(lab, stale):
    for number in range(10):
        path, logs = lab.path(f"port{number}"), [f"log{number}-{i}" for i in range(2)]
        if stale:
            listener(path).close()
        children = [lab.start([program("vireo-switchd"), "--control", lab.path(f"control{number}-{i}"), "--port",
                               f"vhost-user:{path}"], log=log) for i, log in enumerate(logs)]

        def ready(child):
            with open(child.log) as log:
                return "ready:" in log.read()
        wait_until(lambda: all(ready(child) or child.poll() is not None for child in children), 20, "both have made up their minds")
        alive = [child for child in children if child.poll() is None]
        expect(len(alive) == 1 and listening_sockets(path) == 1, f"round {number}: {len(alive)} daemons have {path}")
        alive[0].terminate()
        expect(alive[0].wait(20) == 0 and not os.path.exists(path), "how it ended")
        with open((set(children) - set(alive)).pop().log) as log:
            expect("another program answers" in log.read(), "what the other one said")


@case
def a_socket_has_the_mode_that_was_asked_for(lab):
    old = os.umask(0o027)
    try:
        switch = Switch(lab, [f"vhost-user:{lab.path(f'{perm:o}')},perm={perm:04o}" for perm in (0o600, 0o660, 0o666, 0o777)]
                        + [f"vhost-user:{lab.path('default')}"])
    finally:
        os.umask(old)
    for name, mode in (("600", 0o600), ("660", 0o660), ("666", 0o666), ("777", 0o777), ("default", 0o660)):
        seen = os.stat(lab.path(name))
        expect(stat.S_ISSOCK(seen.st_mode) and stat.S_IMODE(seen.st_mode) == mode, f"{name}: {seen.st_mode:o}")
    expect(stat.S_IMODE(os.stat(switch.control).st_mode) & 0o007 == 0, "anybody may connect to the control socket")
    end_well(switch)


@case
def a_socket_belongs_to_whom_was_asked_for(lab):
    root_only()
    user, group = pwd.getpwnam(NOBODY).pw_uid, grp.getgrgid(1)
    switch = Switch(lab, [f"vhost-user:{lab.path('named')},user={NOBODY},group={group.gr_name},perm=0600",
                          f"vhost-user:{lab.path('numbers')},user=12345,group=54321",
                          f"vhost-user:{lab.path('group')},group={group.gr_name}"])
    owners = {name: (os.stat(lab.path(name)).st_uid, os.stat(lab.path(name)).st_gid) for name in ("named", "numbers", "group")}
    expect(owners == {"named": (user, 1), "numbers": (12345, 54321), "group": (0, 1)}, f"{owners}")
    end_well(switch)


@case
def paths_longer_than_an_address_work(lab):
    folder = lab.path("a" * 100)
    os.mkdir(folder)
    path = os.path.join(folder, "b" * 80)
    switch = Switch(lab, [f"vhost-user:{path},name=server", f"vhost-user:{path}.late,name=client,mode=client"])
    expect(stat.S_IMODE(os.stat(path).st_mode) == 0o660, "its mode")
    os.chdir(folder)
    try:
        sock = listener("b" * 80 + ".late")
        with Front("b" * 80) as left, Front(sock) as right:
            frame = text_frame(1, None, b"long")
            left.send(frame)
            expect([data for _, data in right.receive(30)] == [frame], "the frame")
    finally:
        os.chdir("/")
    end_well(switch)
    expect(not os.path.exists(path), "its socket is left")
    control = os.path.join(folder, "c" * 80)
    child = lab.start([program("vireo-switchd"), "--control", control], log="long.log")
    switch.control, switch.child = control, child
    wait_until(switch.listening, 20, "the long control socket answers", child=child)
    end_well(switch)
    expect(not os.path.exists(control), "the control socket is left")


@case
def relative_paths_are_those_of_the_working_folder(lab):
    switch = Switch(lab, ["vhost-user:relative"])
    expect(os.path.exists(lab.path("relative")), "the daemon's own")
    os.chdir(lab.folder)
    try:
        name = switch.ask("port", "add", "vhost-user:other")["name"]
    finally:
        os.chdir("/")
    expect(name == "other" and os.path.exists(lab.path("other")), "vireoctl's")
    end_well(switch)


def asks(switch, method, **params):
    """A connection on which that has been asked."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(switch.control)
    sock.sendall(json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).encode() + b"\n")
    return sock


def answer(sock):
    with sock, sock.makefile("r") as stream:
        return json.loads(stream.readline())


@case
def a_lock_on_a_ports_folder_holds_up_that_port_alone(lab):
    """The daemon waits for it a second, and answers others meanwhile: in one of some tries, of which a busy machine may take a few."""
    switch = Switch(lab)
    folder = lab.path("locked")
    os.mkdir(folder)
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    served = 0
    for _ in range(8):
        adding = asks(switch, "port.add", spec=f"vhost-user:{folder}/a")
        time.sleep(0.05)  # else the other question may be read first
        answer(asks(switch, "version"))
        served += not select.select([adding], [], [], 0)[0]
        told = answer(adding)
        expect(told["error"]["code"] == -32000 and "holds a lock on its folder" in told["error"]["message"], told)
        if served:
            break
    expect(served, "nobody was answered while a port waited for the lock of its folder")
    for _ in range(8):
        adding = asks(switch, "port.add", spec=f"vhost-user:{folder}/a")
        time.sleep(0.05)
        fcntl.flock(lock, fcntl.LOCK_UN)
        told = answer(adding)
        if told.get("result") == {"name": "a"}:
            break
        fcntl.flock(lock, fcntl.LOCK_SH)
    expect(told.get("result") == {"name": "a"}, f"the lock is free, and {told}")
    os.close(lock)
    end_well(switch)


# ---- how it ends ----

def ends_in_time(lab, switch, number, *sockets):
    os.kill(switch.child.pid, number)
    whole, seconds = seconds_to_its_end(switch.child)
    print(f"     ended after {whole * 1000:.0f} ms")
    expect(switch.child.returncode == 0, f"exit status {switch.child.returncode}")
    expect(seconds < END_S, f"it took {seconds:.2f} s of its own, {whole:.2f} s in all")
    for path in (switch.control, *sockets):
        expect(not os.path.exists(path), f"{path} is left")
    end_well(switch)


@case_for({"SIGTERM": (signal.SIGTERM,), "SIGINT": (signal.SIGINT,)}, "{}_ends_an_idle_switch_at_once")
def a_signal_ends_an_idle_switch(lab, number):
    sockets = [lab.path(f"p{i}") for i in range(4)]
    switch = Switch(lab, [f"vhost-user:{path}" for path in sockets]
                    + ["null:n", f"vhost-user:{lab.path('nobody')},mode=client"])
    fronts = [Front(path) for path in sockets[:2]]
    ends_in_time(lab, switch, number, *sockets)
    for front in fronts:
        expect(front.peer.hung_up(), "the front end is still connected")
        front.close()


# A signal that has come before the program begins, and waits for it.
SIGNALLED = ("import os, signal, sys\n"
             "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
             "os.kill(os.getpid(), signal.SIGTERM)\n"
             "os.execv(sys.argv[1], sys.argv[1:])")


@case
def SIGTERM_ends_a_switch_that_is_still_adding_ports(lab):
    with open(lab.path("conf"), "w") as conf:
        conf.writelines(f"port null:n{number}\n" for number in range(500))
    child = lab.start([sys.executable, "-c", SIGNALLED, program("vireo-switchd"), "--control", lab.path("control"), "--config",
                       lab.path("conf")], log="switchd.log")
    expect(child.wait(20) == 0 and not os.path.exists(lab.path("control")), f"exit status {child.returncode}")
    with open(child.log) as log:
        text = log.read()
    expect("signal 15: ending" in text and text.count(": added:") < 2 and "ready:" not in text, f"it went on: {text[:2000]}")


SIGNALS = ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGPIPE", "SIGXFSZ",
           "SIGCHLD", "SIGURG", "SIGWINCH", "SIGCONT", "SIGRTMIN", "SIGRTMAX"]


@case
def signals_that_mean_nothing_to_a_switch_do_not_end_it(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}"])
    with Front(lab.path("a")):
        for name in SIGNALS:
            os.kill(switch.child.pid, getattr(signal, name))
            expect(switch.port("a")["state"] == "connected", name)

        def told():
            with open(switch.child.log) as log:
                text = log.read()
            return re.search(r"there is nothing to reload: the switch was started without --config", text) and "a real-time signal" in text
        wait_until(told, 20, "the log says that there is nothing to reload")
    end_well(switch)


@case_for({"split": ("split", 1), "packed": ("packed", 1), "two_workers": ("split", 2)},
          "SIGTERM_ends_a_switch_under_traffic_within_a_second_{}")
def sigterm_under_traffic(lab, ring, queues):
    paths = [lab.path(name) for name in ("left", "right")]
    switch = Switch(lab, [f"vhost-user:{path},queues={queues}" for path in paths], ["--workers", str(queues)])
    bench = lab.start([program("vireo-bench"), "net", "--from", paths[0], "--to", paths[1], "--seconds", "30", "--ring", ring,
                       "--queues", str(queues)], log="bench.log")
    wait_until(lambda: switch.port("right")["tx_frames"] > 10000, 20, "frames flow", child=bench)
    ends_in_time(lab, switch, signal.SIGTERM, *paths)
    expect(bench.wait(20) == 3, f"vireo-bench ended with {bench.returncode} when its back end went")


@case
def sigterm_ends_it_beside_front_ends_that_never_finish(lab):
    """A header without its payload, a need_reply nobody reads, a ring that was never kicked."""
    paths = [lab.path(f"p{i}") for i in range(4)]
    switch = Switch(lab, [f"vhost-user:{path}" for path in paths])
    silent, half, set_up, deaf = (raw.VhostUserPeer(path) for path in paths)
    half.raw(b"\x01\0\0\0\x01\0")
    set_up.negotiate()
    set_up.share_memory()
    set_up.send(raw.SET_VRING_NUM, (0).to_bytes(4, "little") + (256).to_bytes(4, "little"))
    set_up.settle()
    deaf.sock.setblocking(False)
    try:
        for _ in range(100000):
            deaf.sock.send(b"\x01\0\0\0\x01\0\0\0\0\0\0\0")
    except BlockingIOError:
        pass
    wait_until(lambda: [port["state"] for port in switch.ask("port", "list")["ports"]][:3] == ["occupied"] * 3, 20, "occupied")
    ends_in_time(lab, switch, signal.SIGTERM, *paths)
    for peer in (silent, half, set_up, deaf):
        peer.close()


@case
def sigterm_ends_it_while_what_peers_have_handed_over_cannot_be_closed(lab):
    path = lab.path("port")
    switch = Switch(lab, [f"vhost-user:{path}"])
    them = [Lingering() for _ in range(4)]
    peer = raw.VhostUserPeer(path)
    os.kill(switch.child.pid, signal.SIGSTOP)  # its copies are the last ones when it goes on
    peer.send(raw.GET_FEATURES, b"", [one.fileno() for one in them])
    for one in them:
        one.socket.close()
    os.kill(switch.child.pid, signal.SIGCONT)
    expect(peer.hung_up(), "the message was taken")
    ends_in_time(lab, switch, signal.SIGTERM, path)
    peer.close()
    for one in them:
        one.other.close()


@case
def half_connected_front_ends_disturb_nobody(lab):
    paths = [lab.path(name) for name in ("half", "left", "right")]
    switch = Switch(lab, [f"vhost-user:{path}" for path in paths])
    half = raw.VhostUserPeer(paths[0])
    half.raw(b"\x02\0\0\0\x01\0\0\0\x08\0\0\0\0\0")  # SET_FEATURES, two bytes of eight
    with Front(paths[1]) as left, Front(paths[2]) as right:
        for n in range(20):
            frame = text_frame(1, None, b"%d" % n)
            left.send(frame)
            expect([data for _, data in right.receive(30)] == [frame], f"frame {n}")
        counters = switch.port("half")["counters"]
        expect(counters["tx_no_queue"] == 20, f"{counters}")
    half.raw(bytes(6))
    half.settle()
    begin = time.monotonic()
    switch.ctl("port", "remove", "half")
    expect(time.monotonic() - begin < 8, "removing it takes long")
    expect(half.hung_up(), "it is still connected")
    half.close()
    end_well(switch)


@case
def a_silent_front_end_holds_a_socket_for_as_long_as_its_port_says(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},hello-ms=100", f"vhost-user:{lab.path('b')},name=b,hello-ms=3600000"])
    for name in "ab":
        silent = raw.VhostUserPeer(lab.path(name))
        if name == "b":
            switch.ctl("port", "set", "b", "hello-ms=100")
        begin = time.monotonic()
        with Front(lab.path(name), timeout=60):
            seconds = time.monotonic() - begin
        expect(seconds < 8, f"{name}: {seconds:.1f} s: that is rather the default of 10, or what was said first")
        silent.close()
    end_well(switch)


@case
def a_service_manager_is_told(lab):
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.settimeout(30)
    for address in (lab.path("notify"), f"\0vireo-e2e-{os.getpid()}"):
        if notices.getsockname():
            notices.close()
            notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            notices.settimeout(30)
        notices.bind(address)
        child = lab.start([program("vireo-switchd"), "--control", lab.path("control"), "--port", f"vhost-user:{lab.path('a')}"],
                          log="switchd.log", env={**os.environ, "NOTIFY_SOCKET": address.replace("\0", "@")})
        expect(notices.recv(100) == b"READY=1", "READY=1")
        Front(lab.path("a")).close()  # ready means that it can be used
        child.terminate()
        expect(notices.recv(100) == b"STOPPING=1", "STOPPING=1")
        expect(child.wait(30) == 0, f"exit status {child.returncode}")
    notices.close()


if __name__ == "__main__":
    main()
