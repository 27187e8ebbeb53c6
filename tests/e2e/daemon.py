#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vireo-switchd and vireoctl as programs: what they take, what they say, whom they let in. Sockets and the end: life.py."""
import contextlib
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.daemon import NOBODY, WrappedSwitch, end_well, root_only  # noqa: E402
from guest.front import RX_BUFFERS, TX_BUFFERS, Front, listener, text_frame  # noqa: E402
from guest.lab import listening_sockets, wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402


def run_daemon(lab, *options, control=True, seconds=60, **env):
    """Runs it to its end, which must be soon."""
    given = any(word == "--control" or word.startswith("--control=") for word in options)
    where = ["--control", lab.path("control")] if control and not given else []
    return subprocess.run([program("vireo-switchd"), *where, *options], capture_output=True, text=True, timeout=seconds,
                          cwd=lab.folder, env={**os.environ, **env})


def expect_one_line(done, status, *words):
    """One line, that begins with the program's name or a time, and holds `words`."""
    lines = done.stderr.splitlines()
    expect(done.returncode == status, f"exit status {done.returncode} instead of {status}: {done.stderr}")
    expect(len(lines) == 1, f"{len(lines)} lines: {done.stderr}")
    expect(not done.stdout, f"standard output: {done.stdout}")
    for word in words:
        expect(word in lines[0], f"no '{word}' in: {lines[0]}")


def as_user(lab, name=NOBODY, group=None):
    """The words that make the rest run as another user, who may use the lab's folder and run the binaries."""
    root_only()
    user = pwd.getpwnam(name)
    gid = group if group is not None else user.pw_gid
    words = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={gid}", "--clear-groups"]
    for file in (program("vireo-switchd"), program("vireoctl")):
        if subprocess.run([*words, "test", "-x", file], check=False).returncode:
            raise Skip(f"{name} may not run {file}")
    return words


# ---- the command line ----

BAD_OPTIONS = {
    "unknown": (["--nonsense"], "--nonsense", "expected"),
    "unknown_short": (["-x"], "-x", "expected"),
    "ambiguous": (["--p"], "--p", "expected"),
    "port_without_value": (["--port"], "--port", "expected a value"),
    "value_for_a_flag": (["--poll=yes"], "--poll=yes", "expected no value"),
    "stray_word": (["word"], "'word'", "expected options"),
    "workers_zero": (["--workers", "0"], "workers '0'", "expected a number from 1 to 128"),
    "workers_many": (["--workers", "129"], "workers '129'", "expected"),
    "workers_word": (["--workers", "two"], "workers 'two'", "expected"),
    "workers_negative": (["--workers=-1"], "workers '-1'", "expected"),
    "workers_backwards": (["--workers", "3-1"], "workers '3-1'", "expected"),
    "workers_no_such_cpu": (["--workers", "1022,"], "workers '1022,'", "expected CPUs"),
    "fdb_small": (["--fdb-entries", "15"], "fdb-entries '15'", "expected 16 to"),
    "fdb_age": (["--fdb-age", "0"], "fdb-age '0'", "expected 1 to"),
    "worker_balance": (["--worker-balance", "yes"], "worker-balance 'yes'", "expected on or off"),
    "udp_pacing": (["--udp-pacing", "yes"], "udp-pacing 'yes'", "expected on or off"),
    "reopen_alone": (["--reopen"], "--reopen", "nothing is taken over: say --takeover or --upgrade as well"),
    "spin_us": (["--spin-us", "soon"], "spin-us 'soon'", "expected 0 to"),
    "spin_percent": (["--spin-percent", "101"], "spin-percent '101'", "expected 0 to 100"),
    "log_level": (["--log-level", "loud"], "log-level 'loud'", "expected error, warning, info or debug"),
    "control_group": (["--control-group", "no-such-group"], "no-such-group", "expected a group"),
    "control_empty": (["--control="], "control ''", "expected the path"),
    "config_missing": (["--config", "/nonexistent/file"], "/nonexistent/file", "expected a readable file"),
    "config_folder": (["--config", "/"], "--config '/'", "expected a readable file"),
    "type": (["--port", "ivshmem:x"], "ivshmem:x", "expected vhost-user:PATH|fd:N, vduse:NAME, cuse:NAME, tap:INTERFACE, macvtap:INTERFACE, af_packet:INTERFACE, af_xdp:INTERFACE, dpdk:DEVICE, virtio-pci:ADDRESS, virtio-user:PATH, bond:NAME, pcap-in:FILE, pcap-out:FILE, loop:NAME or null:NAME"),
    "empty_spec": (["--port", ""], "port ''", "expected"),
    "no_address": (["--port", "vhost-user:"], "nothing after the colon"),
    "ends_in_slash": (["--port", "vhost-user:/tmp/"], "/tmp/", "expected the path of a socket"),
    "unknown_key": (["--port", "vhost-user:/tmp/a,colour=red"], "colour", "expected one of: name queues mtu"),
    "key_of_another_type": (["--port", "tap:a,mode=client"], "mode", "expected one of: name queues mtu"),
    "key_without_value": (["--port", "vhost-user:/tmp/a,mtu"], "mtu=", "expected 68 to 65535"),
    "empty_key": (["--port", "vhost-user:/tmp/a,"], "unknown key ''", "expected one of"),
    "mode": (["--port", "vhost-user:/tmp/a,mode=both"], "mode=both", "expected server or client"),
    "queues": (["--port", "vhost-user:/tmp/a,queues=129"], "queues=129", "expected 1 to 128"),
    "queues_sign": (["--port", "vhost-user:/tmp/a,queues=+1"], "queues=+1", "expected 1 to 128"),
    "queues_trail": (["--port", "vhost-user:/tmp/a,queues=1x"], "queues=1x", "expected 1 to 128"),
    "mtu": (["--port", "vhost-user:/tmp/a,mtu=67"], "mtu=67", "expected 68 to 65535"),
    "mac": (["--port", "vhost-user:/tmp/a,mac=01:00:00:00:00:01"], "mac=01:00:00:00:00:01", "expected a unicast address"),
    "mac_short": (["--port", "vhost-user:/tmp/a,mac=52:54:00"], "mac=52:54:00", "expected a unicast address"),
    "user": (["--port", "vhost-user:/tmp/a,user=no-such-user"], "user=no-such-user", "expected a user"),
    "group": (["--port", "vhost-user:/tmp/a,group=no-such-group"], "group=no-such-group", "expected a group"),
    "perm": (["--port", "vhost-user:/tmp/a,perm=0888"], "perm=0888", "expected an octal mode"),
    "perm_of_client": (["--port", "vhost-user:/tmp/a,mode=client,perm=0600"], "perm", "expected only with mode=server"),
    "name": (["--port", "vhost-user:/tmp/a,name=a/b"], "name=a/b", "expected 1 to 63 letters"),
    "name_long": (["--port", "vhost-user:/tmp/a,name=" + "n" * 64], "name=nnn", "expected 1 to 63 letters"),
    "name_twice": (["--port", "vhost-user:/tmp/a,name=x", "--port", "vhost-user:/tmp/b,name=x"], "'x'", "expected another name"),
    "interface_long": (["--port", "tap:sixteen-letters-"], "sixteen-letters-", "1 to 15 characters"),
    "null_name": (["--port", "null:a b"], "a b", "1 to 63 letters"),
    "newline_in_spec": (["--port", "vhost-user:/tmp/a,na\nme=x"], "na\\x0ame", "expected no control characters"),
    "newline_in_path": (["--port", "vhost-user:/tmp/a\nb"], "/tmp/a\\x0ab", "expected no control characters"),
    "newline_in_value": (["--workers", "1\n2"], "workers '1\\x0a2'", "expected no control characters"),
    "c1_in_path": (["--port", "vhost-user:/tmp/a\u009b31m"], r"/tmp/a\xc2\x9b31m", "expected no control characters"),
    "bidi_in_path": (["--port", "vhost-user:/tmp/\u202eabc"], r"/tmp/\xe2\x80\xaeabc", "expected no control characters"),
    "no_utf8_in_path": (["--port", "vhost-user:/tmp/\udcffvm.sock"], r"/tmp/\xffvm.sock", "bytes that are UTF-8"),
    "no_utf8_in_control": (["--control=/tmp/\udcff"], r"control '/tmp/\xff'", "bytes that are UTF-8"),
    "newline_in_word": (["a\nb"], "'a\\x0ab'", "expected options"),
    "newline_in_option": (["--a\nb"], "--a\\x0ab", "expected an option"),
    "newline_in_config": (["--config", "/a\nb"], "/a\\x0ab", "expected a readable file"),
    "address_twice": (["--port", "vhost-user:/tmp/twice", "--port", "vhost-user:/tmp/twice"], "/tmp/twice", "already"),
    "mac_twice": (["--port", "vhost-user:/tmp/m1,mac=02:00:00:00:00:01", "--port", "vhost-user:/tmp/m2,mac=02:00:00:00:00:09+02:00:00:00:00:01"],
                  "'m1'", "mac=02:00:00:00:00:01", "already", "spoof=allow"),
    "control_twice": (["--control", "/a", "--control", "/b"], "--control is given twice: leave one out"),
    "poll_and_adaptive": (["--poll", "--adaptive"], "--adaptive contradicts poll"),
    "key_twice": (["--port", "vhost-user:/tmp/a,name=x,name=y"], "key 'name' is given twice"),
    "name_of_an_option": (["--port", "vhost-user:/tmp/a,name=-a"], "name=-a", "no '-' first"),
    "slip": (["--prot", "null:a"], "did you mean '--port'?"),
    "second_of_two": (["--port", "null:fine", "--workers", "x"], "workers 'x'", "expected"),
}


@case_for(BAD_OPTIONS, "one_line_and_exit_2_for_option_{}")
def one_line_and_exit_2_for_option(lab, options, *words):
    done = run_daemon(lab, *options)
    expect_one_line(done, 2, *words)
    expect(done.stderr.startswith("vireo-switchd: "), done.stderr)
    expect(not os.path.exists(lab.path("control")), "it has left its control socket")


@case
def a_line_that_fails_in_the_environment_is_named(lab):
    config = lab.path("settings")
    folder = lab.path("no/folder")
    for line, status, *words in ((f"port vhost-user:{folder}", 1, "folder does not exist"), (f"control {folder}", 1, "folder does not exist")):
        with open(config, "w") as file:
            file.write(f"# first\nworkers 1\n\n{line}\nlog-level error\n")
        done = run_daemon(lab, "--config", config, control=not line.startswith("control"))
        expect_one_line(done, status, f"{config}:4: ", folder, *words)
        done = run_daemon(lab, "--log-level", "error", *("--" + line).split())
        expect_one_line(done, status, folder, *words)
        expect(config not in done.stderr, f"no line of a file is meant: {done.stderr}")
    with open(config, "w") as file:
        file.write(f"control {folder}\nlog-level error\n")
    done = run_daemon(lab, "--config", config, "--control", lab.path("missing/too"))
    expect_one_line(done, 1, lab.path("missing/too"))
    expect(config not in done.stderr, f"the command line holds: {done.stderr}")


@case
def what_root_does_for_a_tap_is_told_in_full(lab):
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")
    os.chmod(lab.folder, 0o777)
    for keys, words in ((",queues=2,mtu=1400", ["user NAME multi_queue && ip link set dev vqtap0 mtu 1400 up"]),
                        ("", ["mode tap user NAME && ip link set dev vqtap0 up"])):
        done = subprocess.run([*as_user(lab), program("vireo-switchd"), "--log-level", "error", "--control", lab.path("control"), "--port",
                               f"tap:vqtap0{keys}"], capture_output=True, text=True, timeout=20, check=False)
        expect_one_line(done, 1, "CAP_NET_ADMIN", "ip tuntap add dev vqtap0", *words)


BAD_LINES = {
    "unknown_word": ("colour red", "'colour'", "expected one of:"),
    "dashes": ("--poll", "'--poll'", "expected one of:"),
    "no_value": ("workers", "workers ''", "expected a number"),
    "bad_value": ("workers many", "workers 'many'", "expected a number"),
    "value_for_a_flag": ("poll yes", "poll 'yes'", "expected nothing after"),
    "bad_spec": ("port null:", "port 'null:'", "nothing after the colon"),
    "config_in_config": ("config other", "'config'", "expected one of:"),
}


@case_for(BAD_LINES, "one_line_and_exit_2_for_config_line_{}")
def one_line_and_exit_2_for_config_line(lab, line, *words):
    with open(lab.path("conf"), "w") as conf:
        conf.write(f"# a comment\n\nport null:fine\n{line}\nport null:other\n")
    expect_one_line(run_daemon(lab, "--config", lab.path("conf")), 2, f"{lab.path('conf')}:4:", *words)


@case
def help_and_version_are_printed(lab):
    done = run_daemon(lab, "--version")
    expect(done.returncode == 0 and done.stdout.startswith("vireo-switchd ") and not done.stderr, f"{done}")
    done = run_daemon(lab, "--help")
    expect(done.returncode == 0 and not done.stderr, f"{done}")
    for word in ("--port SPEC", "--config FILE", "--workers", "--log-level", "vhost-user:PATH", "tap:", "null:"):
        expect(word in done.stdout, f"no {word} in the help")


@case
def a_config_file_holds_and_the_command_line_holds_over_it(lab):
    with open(lab.path("conf"), "w") as conf:
        conf.write(f"# comment\nworkers 2 # two\n\tfdb-entries\t1024  \nport vhost-user:{lab.path('a#b')},name=first\r\n"
                   "port null:second\nadaptive\nfdb-age 7")
    switch = Switch(lab, ["null:third"], ["--workers", "3", "--config", lab.path("conf")])
    names = [port["name"] for port in switch.ask("port", "list")["ports"]]
    expect(names == ["first", "second", "third"], f"ports {names}")
    expect(os.path.exists(lab.path("a#b")), "a # within a word begins no comment")
    stats = switch.ask("stats")
    expect(len(stats["workers"]) == 3 and stats["fdb"]["capacity"] >= 1024, f"{stats['workers']} {stats['fdb']}")
    expect(stats["fdb"]["capacity"] < 65536, f"{stats['fdb']}")
    end_well(switch)


# ---- the environment ----

def environment(lab):
    """What fails: {name: (options, words)}."""
    with open(lab.path("file"), "w") as file:
        file.write("precious")
    lab.taken = listener(lab.path("taken"))
    port = "vhost-user:" + lab.folder
    return {
        "port_folder_missing": (["--port", f"{port}/no/folder"], "no/folder", "folder does not exist"),
        "port_is_a_file": (["--port", f"{port}/file"], "file", "no socket"),
        "port_is_served": (["--port", f"{port}/taken"], "taken", "another program answers"),
        "port_folder_is_a_file": (["--port", f"{port}/file/a"], "file/a"),
        "control_folder_missing": (["--control", lab.path("no/folder")], "no/folder", "folder does not exist"),
        "control_is_a_file": (["--control", lab.path("file")], "file", "no socket"),
        "control_is_served": (["--control", lab.path("taken")], "taken", "another daemon answers"),
        "port_name_too_long": (["--port", f"{port}/{'n' * 100}"], "nnn", "at most"),
        "control_name_too_long": (["--control", lab.path("n" * 100)], "nnn", "at most"),
    }


@case
def one_line_and_exit_1_when_the_environment_fails(lab):
    for name, (options, *words) in environment(lab).items():
        try:
            expect_one_line(run_daemon(lab, "--log-level", "error", *options), 1, *words)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
        expect(not os.path.exists(lab.path("control")), f"{name}: it has left its control socket")
        expect(not os.path.exists(lab.path("twice")), f"{name}: it has left its port's socket")
    with open(lab.path("file")) as file:
        expect(file.read() == "precious", "a file in the way was changed")
    expect(os.path.exists(lab.path("taken")), "a socket in use was removed")


@case
def a_second_daemon_disturbs_nothing(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}"])
    done = run_daemon(lab, "--log-level", "error", "--control", switch.control, "--port", f"vhost-user:{lab.path('a')}")
    expect_one_line(done, 1, "another daemon answers")
    done = run_daemon(lab, "--log-level", "error", "--port", f"vhost-user:{lab.path('a')}")
    expect_one_line(done, 1, "another program answers")
    with Front(lab.path("a")):
        expect(switch.port("a")["state"] == "connected", "the first daemon's port")
    end_well(switch)


# ---- users ----

@case
def an_unprivileged_user_runs_a_switch(lab):
    words = as_user(lab)
    os.chmod(lab.folder, 0o777)
    paths = [lab.path(name) for name in ("left", "right")]
    switch = WrappedSwitch(lab, words, [f"vhost-user:{path},perm=0600" for path in paths])
    uid = pwd.getpwnam(NOBODY).pw_uid
    expect({os.stat(path).st_uid for path in (*paths, switch.control)} == {uid}, "whose sockets are they?")
    with open(f"/proc/{switch.child.pid}/status") as status:
        expect("CapEff:\t0000000000000000" in status.read(), "it has privileges")
    done = subprocess.run([*words, program("vireo-bench"), "net", "--from", paths[0], "--to", paths[1], "--seconds", "0.5",
                           "--verify", "--json"], capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0 and json.loads(done.stdout)["received"]["frames"] > 100, f"{done}")
    done = switch.ctl_run("port", "add", f"tap:vno{os.getpid()}")
    expect(done.returncode == 1 and len(done.stderr.splitlines()) == 1, f"{done}")
    done = switch.ctl_run("port", "add", f"vhost-user:{lab.path('given')},user=root")
    expect(done.returncode == 1 and "only root may" in done.stderr, f"{done}")
    expect(not os.path.exists(lab.path("given")), "the socket of a port that was refused is left")
    end_well(switch)


@case
def the_default_control_socket_is_that_of_the_user(lab):
    words = as_user(lab)
    home = lab.path("runtime")
    os.mkdir(home)
    os.chmod(lab.folder, 0o755)
    os.chown(home, pwd.getpwnam(NOBODY).pw_uid, -1)
    env = {**os.environ, "XDG_RUNTIME_DIR": home}
    child = lab.start([*words, program("vireo-switchd"), "--port", "null:n"], log="switchd.log", env=env)
    wait_until(lambda: listening_sockets(f"{home}/vireo/switchd.sock"), 20, "its control socket", child=child)
    done = subprocess.run([*words, program("vireoctl"), "port", "list"], env=env, capture_output=True, text=True, timeout=20)
    expect(done.returncode == 0 and " null " in done.stdout, f"{done}")
    child.terminate()
    expect(child.wait(30) == 0 and not os.path.exists(f"{home}/vireo/switchd.sock"), "how it ended")
    del env["XDG_RUNTIME_DIR"]
    done = subprocess.run([*words, program("vireo-switchd"), "--log-level", "error"], env=env, capture_output=True, text=True,
                          timeout=20)
    expect_one_line(done, 1, "XDG_RUNTIME_DIR")


def told(lab, path):
    """What another user is told who connects and asks."""
    user = pwd.getpwnam(NOBODY)
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            with socket.socket(socket.AF_UNIX) as sock, open(lab.path("told"), "wb") as out:
                sock.settimeout(20)
                sock.connect(path)
                while data := sock.recv(4096):
                    out.write(data)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    with open(lab.path("told"), "rb") as text:
        return text.read()


@case
def only_the_daemons_user_root_and_the_control_group_may_connect(lab):
    words = as_user(lab)
    os.chmod(lab.folder, 0o755)
    member = as_user(lab, group=54321)
    switch = Switch(lab, ["null:n"], ["--control-group", "54321"])
    found = os.stat(switch.control)
    expect((found.st_gid, stat.S_IMODE(found.st_mode)) == (54321, 0o660), f"{found}")
    done = subprocess.run([*words, program("vireoctl"), "-s", switch.control, "version"], capture_output=True, text=True)
    expect(done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "ermission" in done.stderr, f"{done}")
    done = subprocess.run([*member, program("vireoctl"), "-s", switch.control, "version"], capture_output=True, text=True)
    expect(done.returncode == 0, f"a member of the control group: {done}")
    os.chmod(switch.control, 0o666)  # the mode is not all there is
    done = subprocess.run([*words, program("vireoctl"), "-s", switch.control, "version"], capture_output=True, text=True)
    expect(done.returncode == 1 and len(done.stderr.splitlines()) == 1, f"another user: {done}")
    os.chmod(lab.folder, 0o777)
    answer = told(lab, switch.control)
    expect(answer.endswith(b"\n") and json.loads(answer)["error"]["code"] == -32001, f"another user: {answer}")
    end_well(switch)


# ---- vireoctl ----

def endless(sock):
    """Answers the first who comes, and never ends."""
    much = b" " * (1 << 20)
    with sock.accept()[0] as connection, contextlib.suppress(OSError):
        while True:
            connection.sendall(much)


@case
def an_answer_without_an_end_is_given_up_in_one_line(lab):
    with listener(lab.path("control")) as sock:
        threading.Thread(target=endless, args=[sock], daemon=True).start()
        done = subprocess.run([program("vireoctl"), "-s", lab.path("control"), "--timeout", "60", "version"], capture_output=True,
                              text=True, timeout=100)
    expect_one_line(done, 1, "vireoctl: ", lab.path("control"), "longer than 128 MiB", "--socket")


PORT = {"name", "type", "address", "state", "link", "rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "rx_drops", "tx_drops"}
PORT_FULL = PORT | {"queues", "mtu", "speed", "vlan", "isolated", "role", "bond", "vm2vm", "gro", "guard", "limits", "priority", "retry", "multicast", "offloads", "aside", "counters", "histograms",
                    "queue_counters"}
PORT_VHOST_USER = {"mode", "memory", "session"}
MEMORY = {"mapped_bytes", "mapped_max_bytes", "mappings", "mappings_max", "made_bytes", "made_max_bytes"}
COUNTERS = {"rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "rx_flooded", "rx_reserved", "rx_hairpin", "rx_bad_source", "rx_vlan", "rx_isolated", "rx_reflected", "rx_spoofed",
            "rx_segment_limit", "rx_flood_limit", "rx_no_destination", "rx_link_down", "rx_lost", "rx_spoofed_ip", "rx_spoofed_arp",
            "rx_spoofed_nd", "rx_dhcp_server", "rx_router", "rx_unreadable", "rx_merged", "rx_paced", "rx_membership", "rx_membership_bad",
            "rx_membership_limit", "rx_membership_full", "rx_no_member", "rx_inactive", "rx_lacp", "rx_lacp_bad", "rx_lacp_limit", "rx_rate_limit", "rx_storm_broadcast", "rx_storm_multicast",
            "rx_storm_unicast", "tx_rate_limit", "tx_segmented", "tx_held", "tx_hold_limit", "tx_retry_limit", "tx_class1", "tx_class2", "tx_class3", "tx_less_urgent", "tx_no_queue", "tx_link_down", "tx_flood_room",
            "tx_mtu", "tx_segment_error", "tx_lost"}
QUEUE = {"direction", "queue", "running", "frames", "bytes", "signals", "disabled", "too_long", "error"}
QUEUE_OF = {"rx": QUEUE | {"kicks", "runt", "bad_offload", "no_buffer"}, "tx": QUEUE | {"no_buffer", "offload_refused", "filtered"}}
WORKER = {"worker", "cpu", "loops", "busy_loops", "sleeps", "wakeups", "frames", "busy_cycles", "relieved", "has_cpu", "busy_percent", "moved_in",
          "moved_out"}
FDB = {"entries", "static", "capacity", "learned", "moved", "aged", "evicted", "refused"}


def fields(what, found, wanted):
    expect(set(found) == wanted, f"{what}: {sorted(set(found) ^ wanted)} are missing or not documented")


def port_is_as_documented(port, full=True):
    fields(port["name"], port, (PORT_FULL | (PORT_VHOST_USER if port["type"] == "vhost-user" else set())) if full else PORT)
    if not full:
        return
    fields("counters", port["counters"], COUNTERS)
    fields("histograms", port["histograms"], {"latency_ns", "burst_frames"})
    for name, histogram in port["histograms"].items():
        fields(name, histogram, {"le", "counts", "sum"})
    if "memory" in port:
        fields("memory", port["memory"], MEMORY)
    for queue in port["queue_counters"]:
        fields(f"queue {queue}", queue, QUEUE_OF[queue["direction"]])
    expect(port["rx_frames"] == port["counters"]["rx_frames"], "rx_frames twice")


@case
def json_is_as_documented(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},queues=2,mtu=1400,mac=52:54:00:00:00:01,spoof=allow", "null:n"])
    version = switch.ask("version")
    fields("version", version, {"daemon", "version", "protocol", "pid"})
    expect((version["daemon"], version["protocol"], version["pid"]) == ("vireo-switchd", 1, switch.child.pid), f"{version}")
    for port in switch.ask("port", "list")["ports"]:
        port_is_as_documented(port, full=False)
    a, n = switch.port("a"), switch.port("n")
    port_is_as_documented(a)
    port_is_as_documented(n)
    expect((a["queues"], a["mtu"], a["mode"], a["state"], len(a["queue_counters"])) == (2, 1400, "server", "listening", 4), f"{a}")
    expect((n["type"], n["address"], n["state"], n["mtu"]) == ("null", "n", "up", None), f"{n}")
    with Front(lab.path("a")) as front:
        front.send(text_frame(1, None))
        wait_until(lambda: switch.port("n")["tx_frames"] == 1, 20, "a frame is at the null port")
        shown = switch.ask("fdb", "show")
        expect([(e["mac"], e["port"]) for e in shown["entries"]] == [("52:54:00:00:02:01", "a")], f"{shown}")
        expect(shown["total"] == 1 and 0 <= shown["entries"][0]["age_s"] <= 5, f"{shown}")
        expect(not shown["entries"][0]["static"], f"{shown}")
        expect(switch.ask("fdb", "flush", "n") == {} and switch.ask("fdb", "show")["total"] == 1, "flushed too much")
        expect(switch.ask("fdb", "flush") == {} and switch.ask("fdb", "show")["total"] == 0, "not flushed")
        front.send(text_frame(1, 1))
        front.send(b"\x01\x80\xc2\0\0\x0e" + text_frame(1, None)[6:])
        front.send(text_frame(1, None)[:6] + b"\x03" + text_frame(1, None)[7:])
        wait_until(front.drained, 20, "four frames are taken, and done with")
        expect(switch.port("a")["rx_frames"] == 4, "and counted")
        counters = switch.port("a")["counters"]
        seen = {name: counters[name] for name in ("rx_reserved", "rx_bad_source")}
        expect(seen == {"rx_reserved": 1, "rx_bad_source": 1}, f"{counters}")
    stats = switch.ask("stats")
    fields("stats", stats, {"time_us", "ports", "workers", "fdb"})
    for port in stats["ports"]:
        port_is_as_documented(port)
    for worker in stats["workers"]:
        fields("worker", worker, WORKER)
    fields("fdb", stats["fdb"], FDB)
    expect(switch.ask("port", "add", "null:m") == {"name": "m"} and switch.ask("port", "remove", "m") == {}, "add and remove")
    watched = switch.ctl("--json", "stats", "--watch", "--count", "2", "--interval", "0.1").splitlines()
    expect(len(watched) == 2 and json.loads(watched[0])["time_us"] < json.loads(watched[1])["time_us"], f"{watched}")
    end_well(switch)


@case
def a_port_with_a_mac_sends_from_no_other_address(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},mac=52:54:00:00:02:02+52:54:00:00:00:09", "null:n"])
    static = [{"mac": mac, "vlan": 0, "port": "a", "age_s": 0, "static": True} for mac in ("52:54:00:00:00:09", "52:54:00:00:02:02")]
    with Front(lab.path("a")) as front:
        front.send(text_frame(1, None))
        wait_until(lambda: switch.port("a")["counters"]["rx_spoofed"] == 1, 20, "a frame is counted as spoofed")
        front.send(text_frame(2, None))
        wait_until(lambda: switch.port("n")["tx_frames"] == 1, 20, "the other is at the null port")
    expect(sorted(switch.ask("fdb", "show")["entries"], key=lambda e: e["mac"]) == static, "only what was given is known")
    expect(switch.ask("stats")["fdb"]["static"] == 2, "two static entries")
    expect("static" in switch.ctl("fdb", "show"), "it is said")
    end_well(switch)


@case
def a_port_floods_as_much_as_its_flood_max_lets_it(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},flood-max=1000", f"vhost-user:{lab.path('b')},flood-max=any", "null:n", "null:m"])

    def flood(name, until):
        """Frames each of which is 16 copies: a busy machine, too, sends more than 1000 of those a second."""
        with Front(lab.path(name)) as front:
            for _ in range(100):
                for _ in range(100):
                    front.send(text_frame(1, None).ljust(16000, b"\0"))
                counters = switch.port(name)["counters"]
                if until(counters):
                    break
        return counters
    limited = flood("a", lambda counters: counters["rx_flood_limit"])
    expect(limited["rx_flood_limit"] and limited["rx_flooded"] >= 8192 // 16, f"as many as a bucket holds: {limited}")
    shown = switch.ctl("port", "show", "a")
    expect("rx_flood_limit" in shown, f"it is shown: {shown}")
    others = flood("b", lambda counters: counters["rx_flooded"] > 2000)
    expect(others["rx_flooded"] > 2000 and not others["rx_flood_limit"], f"no limit: {others}")
    end_well(switch)


@case
def kicks_and_signals_are_counted_for_each_queue(lab):
    """Of a driver that wants to be called, and calls: after a pause each frame is a kick, and a signal on both sides."""
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}", f"vhost-user:{lab.path('b')}"])

    def queues(name):
        return {queue["direction"]: queue for queue in switch.port(name)["queue_counters"]}
    for session in (1, 2):
        with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
            before = queues("a")["rx"]["kicks"]

            def kicked():
                a.send(text_frame(1, None))
                b.receive(0.05)
                return queues("a")["rx"]["kicks"] > before
            wait_until(kicked, 20, f"kicks of session {session} are counted, and those before it are kept")
            told = queues("a")["rx"]["signals"], queues("b")["tx"]["signals"]

            def signalled():
                a.send(text_frame(1, None))
                b.receive(0.05)
                return queues("a")["rx"]["signals"] > told[0] and queues("b")["tx"]["signals"] > told[1]
            wait_until(signalled, 20, "the sender is told that its buffer was used, and the receiver that a frame is there")
            expect("kicks" not in queues("a")["tx"], "nobody waits for buffers")
        wait_until(lambda: switch.port("a")["state"] == switch.port("b")["state"] == "listening", 20, "both have gone")
    heading = [line for line in switch.ctl("port", "show", "a").splitlines() if line.startswith("QUEUE")]
    expect(len(heading) == 1 and "KICKS" in heading[0] and "SIGNALS" in heading[0], f"{heading}")
    end_well(switch)


@case
def port_show_tells_limits_and_guards_in_words(lab):
    switch = Switch(lab, ["null:n", f"vhost-user:{lab.path('a')},rate-in=8M/64K,frames-out=1000,ip=10.0.0.1+fe80::/10,dhcp-guard=on"])
    shown = switch.ctl("port", "show", "a")
    for line in ("guarded: arp dhcp", "may have: 10.0.0.1 fe80::/10"):
        expect(f"\n{line}\n" in shown, f"'{line}': {shown}")
    limits = [line for line in shown.splitlines() if line.startswith("limits: ")]
    expect(len(limits) == 1 and "frames-out 1000 a second" in limits[0] and ", burst 65536" in limits[0], f"{shown}")
    end_well(switch)


@case
def a_guest_is_no_multicast_router_unless_somebody_says_so(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}", f"vhost-user:{lab.path('b')},mcast-router=auto", "null:n"])
    for port, router in (("a", "off"), ("b", "auto"), ("n", "auto")):
        expect(switch.port(port)["multicast"]["router"] == router, f"{port}: {switch.port(port)['multicast']}")


@case
def port_show_tells_what_is_agreed_on_with_the_peer(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}", "null:n"])
    expect(switch.port("a")["session"] is None, "nobody is there")
    expect("session" not in switch.port("n"), "this kind has no peer")
    with open("/proc/self/comm", "rb") as file:
        name = file.read().rstrip(b"\n")
    try:
        with Front(lab.path("a")):
            with open("/proc/self/comm", "wb") as file:
                file.write(b"evil\033\377\n'")
            port = switch.port("a")
            session, shown = port["session"], switch.ctl("port", "show", "a")
    finally:
        with open("/proc/self/comm", "wb") as file:
            file.write(name)
    expect(port["peer_pid"] == os.getpid(), f"the process: {port}")
    expect(session["peer_command"].startswith("evil") and session["peer_command"].isprintable(), f"its name: {session}")
    expect({"MRG_RXBUF", "VERSION_1"} <= set(session["features"]), f"names: {session}")
    expect("CSUM" not in session["features"] and session["ring"] == "split", f"and no others: {session}")
    expect(sorted((ring["direction"], ring["queue"]) for ring in session["rings"]) == [("rx", 0), ("tx", 0)], f"rings: {session}")
    expect(all(ring["size"] in (RX_BUFFERS, TX_BUFFERS) for ring in session["rings"]), f"sizes: {session}")
    expect(sum(region["bytes"] for region in session["memory_regions"]) == port["memory"]["mapped_bytes"], f"memory: {port}")
    expect("guarded" not in shown and "limits:" not in shown, f"what is not there is not told: {shown}")
    for word in ("connected for", "ring format split, 2 rings run", "memory regions: ", " MRG_RXBUF", "by 'evil"):
        expect(word in shown, f"'{word}' is shown: {shown}")
    expect("\033" not in shown, f"nothing that a terminal would obey: {shown!r}")
    wait_until(lambda: switch.port("a")["session"] is None, 20, "its session is forgotten")
    def log():
        with open(lab.path("switchd.log"), encoding="utf-8") as file:
            return file.read()
    wait_until(lambda: "MRG_RXBUF" in log() and "REPLY_ACK" in log(), 20, "the log has the names")
    end_well(switch)


@case
def a_port_that_may_have_files_of_a_disk_is_served_aside(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},files=any", f"vhost-user:{lab.path('b')}"])
    expect((switch.port("a")["aside"], switch.port("b")["aside"]) == (True, False), "by its files=any")
    for _ in range(2):
        with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
            for number in range(20):
                a.send(text_frame(1, None, b"%d" % number))
                b.send(text_frame(2, None, b"%d" % number))
            for front, source in ((a, 2), (b, 1)):
                got = []
                wait_until(lambda: got.extend(data for _, data in front.receive(0.1)) or len(got) >= 20, 20, "the frames are there")
                expect(got == [text_frame(source, None, b"%d" % number) for number in range(20)], "in order")
        wait_until(lambda: switch.port("a")["state"] == "listening", 20, "it listens again")
    end_well(switch)


@case
def commands_print_tables_and_exit_as_documented(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}", "null:n"])
    for words in (["port", "list"], ["port", "show", "a"], ["fdb", "show"], ["stats"], ["version"], ["fdb", "flush"],
                  ["fdb", "flush", "a"], ["help"], ["--help"], ["--version"], ["top", "--count", "1"], ["port", "add", "null:x"],
                  ["port", "remove", "x"], ["port", "add", f"vhost-user:{lab.folder}/sub.sock,name=y"], ["port", "remove", "y"]):
        done = switch.ctl_run(*words)
        expect(done.returncode == 0 and not done.stderr, f"{words}: {done}")
        expect(done.stdout or words[:2] in (["fdb", "flush"], ["port", "remove"]), f"{words}: nothing is printed")
    refused = {
        2: (["nonsense"], ["port"], ["port", "fly"], ["port", "add"], ["port", "show"], ["port", "list", "more"], ["--frames"], [],
            ["port", "add", "null:"], ["port", "add", "tap:a,mode=x"], ["--count", "0", "stats"], ["--interval", "x", "top"], ["--timeout", "0", "stats"],
            ["port", "add", "null:a\nb"], ["port", "show", "a\nb", "c\nd"], ["no\nsense"], ["--no\nsense"],
            ["version", "--watch"], ["port", "remove"], ["fdb", "flush", "a", "b"]),
        1: (["port", "show", "none"], ["port", "show", "no\nne"],
            ["port", "remove", "none"], ["fdb", "flush", "none"], ["port", "add", "null:n"],
            ["port", "add", f"vhost-user:{lab.path('no/folder')}"], ["port", "add", f"vhost-user:{lab.path('a')}"]),
    }
    for status, commands in refused.items():
        for words in commands:
            done = switch.ctl_run(*words)
            expect(done.returncode == status, f"{words}: {done}")
            expect(len(done.stderr.splitlines()) == 1 and done.stderr.startswith("vireoctl: ") and not done.stdout, f"{words}: {done}")
    end_well(switch)
    done = switch.ctl_run("version")
    expect(done.returncode == 1 and "not running" in done.stderr, f"without a daemon: {done}")


@case
def errors_have_the_documented_codes(lab):
    switch = Switch(lab, ["null:n"])
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(switch.control)
    stream = sock.makefile("rw")

    def code(text):
        stream.write(text + "\n")
        stream.flush()
        return json.loads(stream.readline())["error"]["code"]

    def call(method, **params):
        return code(json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}))

    seen = {
        "garbage": code("{"), "no request": code('{"id":1}'), "empty batch": code("[]"), "method": call("port.fly"),
        "missing": call("port.show"), "unknown": call("port.show", name="n", colour="red"), "type": call("port.show", name=[]),
        "spec": call("port.add", spec="null:"), "relative": call("port.add", spec="vhost-user:a"),
        "environment": call("port.add", spec=f"vhost-user:{lab.path('no/folder')}"), "none": call("port.remove", name="x"),
        "exists": call("port.add", spec="null:n"),
    }
    wanted = {"garbage": -32700, "no request": -32600, "empty batch": -32600, "method": -32601, "missing": -32602,
              "unknown": -32602, "type": -32602, "spec": -32602, "relative": -32602, "environment": -32000, "none": -32002,
              "exists": -32003}
    expect(seen == wanted, f"{[(name, seen[name], wanted[name]) for name in seen if seen[name] != wanted[name]]}")
    stream.close()
    sock.close()
    end_well(switch)


if __name__ == "__main__":
    main()
