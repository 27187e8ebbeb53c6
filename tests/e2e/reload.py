#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A file of settings that changes while the switch runs: what is taken from it, what stays, and what is said."""
import json
import os
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402

STAYING, CHANGING, ROUNDS = 2, 48, 4


def written(lab, *lines):
    with open(lab.path("conf"), "w") as conf:
        conf.writelines(line + "\n" for line in lines)
    return lab.path("conf")


def switch_with(lab, *lines, ports=()):
    return Switch(lab, ports, ["--config", written(lab, *lines)])


def names(switch):
    return [port["name"] for port in switch.ask("port", "list")["ports"]]


def log_of(switch):
    with open(switch.child.log) as log:
        return log.read()


def says(switch, *words):
    wait_until(lambda: all(word in log_of(switch) for word in words), 20, f"the log says {words}")


def socket_of(lab, name, more=""):
    return f"port vhost-user:{lab.path(name)},name={name}{more}"


@case
def what_differs_is_done_and_the_rest_is_not_touched(lab):
    switch = switch_with(lab, *(socket_of(lab, name) for name in "abc"), ports=[f"vhost-user:{lab.path('line')}"])
    switch.ctl("port", "add", f"vhost-user:{lab.path('client')}")
    with Front(lab.path("a")) as a, Front(lab.path("client")) as client:
        written(lab, socket_of(lab, "a"), socket_of(lab, "b", ",queues=2,mtu=1400"), "", "# c has gone", socket_of(lab, "e"))
        expect(switch.ask("reload") == {"added": 2, "removed": 2, "changed": 0, "kept": 2}, "counts")
        expect(sorted(names(switch)) == ["a", "b", "client", "e", "line"], f"{names(switch)}")
        expect(switch.port("b")["mtu"] == 1400 and not os.path.exists(lab.path("c")) and os.path.exists(lab.path("e")), "b, c or e")
        a.send(text_frame(1, None))
        wait_until(lambda: text_frame(1, None) in [frame for _, frame in client.receive(0.2)], 20, "what stays is connected")
    expect(switch.ask("reload") == {"added": 0, "removed": 0, "changed": 0, "kept": 4}, "the same again")
    end_well(switch)


@case
def a_hangup_reloads_as_well(lab):
    switch = switch_with(lab, socket_of(lab, "a"))
    written(lab, socket_of(lab, "b"))
    os.kill(switch.child.pid, signal.SIGHUP)
    says(switch, "reloaded: 1 ports added, 1 removed, 0 changed, 0 kept")
    expect(names(switch) == ["b"], f"{names(switch)}")
    end_well(switch)


@case_for({"unknown_key": ("port null:b,nam=c", ":2:13: port 'null:b,nam=c'"), "unknown_word": ("prot null:b", ":2:1: 'prot'"),
           "twice": ("workers 1\nworkers 1", ":3:1: workers is given twice")}, "a_file_that_makes_no_sense_changes_nothing_{}")
def a_file_that_makes_no_sense_changes_nothing(lab, line, says_what):
    switch = switch_with(lab, socket_of(lab, "a"))
    written(lab, "port null:c", line)
    done = switch.ctl_run("reload")
    expect(done.returncode == 1 and says_what in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
    os.kill(switch.child.pid, signal.SIGHUP)
    says(switch, "nothing is reloaded", says_what)
    expect(names(switch) == ["a"], f"{names(switch)}")
    end_well(switch)


@case
def a_port_that_cannot_be_opened_is_named_with_its_line(lab):
    switch = switch_with(lab, socket_of(lab, "a"))
    written(lab, socket_of(lab, "a"), f"port vhost-user:{lab.path('nowhere')}/x", socket_of(lab, "b"))
    done = switch.ctl_run("reload")
    expect(done.returncode == 1 and "1 of its ports cannot be opened" in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
    says(switch, lab.path("conf") + ":2: ")
    expect(sorted(names(switch)) == ["a", "b"], f"{names(switch)}")
    end_well(switch)


@case_for({"address": (("", ",name=z"), "has the address"), "name": (("", ",name=x"), "there is a port 'x' already"),
           "mac": ((",name=x,mac=52:54:00:00:00:01", ",name=y,mac=52:54:00:00:00:01"), "has mac=52:54:00:00:00:01 already")},
          "ports_that_are_in_each_others_way_are_found_beforehand_{}")
def ports_that_are_in_each_others_way(lab, more, why):
    """By a check, at the start, and at a reload, which then leaves the working port where it is."""
    one, other = lab.path("x"), lab.path("x" if why == "has the address" else "y")
    lines = [f"port vhost-user:{one}{more[0]}", f"port vhost-user:{other}{more[1]}"]
    done = checked(lab, "vireo-switchd", *lines)
    expect(done.returncode == 2 and why in done.stderr and ":2:6: " in done.stderr, f"{done}")
    switch = switch_with(lab, *(socket_of(lab, name) for name in "xy"))
    written(lab, *lines)
    done = switch.ctl_run("reload")
    expect(done.returncode == 1 and why in done.stderr and names(switch) == ["x", "y"], f"{done}, {names(switch)}")
    end_well(switch)


@case
def what_holds_at_the_start_only_is_said(lab):
    switch = switch_with(lab, socket_of(lab, "a"), "workers 1", "log-level warning")
    written(lab, socket_of(lab, "a"), "workers 2", "worker-balance off", "fdb-age 7", "log-level info")
    switch.ctl("reload")
    says(switch, "workers is written otherwise", "worker-balance is written otherwise", "fdb-age is written otherwise")
    expect(switch.ask("log", "level")["level"] == "info", "the level of the log")
    expect("poll or adaptive" not in log_of(switch), "a setting that is the same")
    end_well(switch)


@case
def without_a_file_there_is_nothing_to_reload(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}"])
    done = switch.ctl_run("reload")
    expect(done.returncode == 1 and "started without --config" in done.stderr, f"{done}")
    end_well(switch)


@case
def a_port_is_back_that_somebody_has_removed(lab):
    switch = switch_with(lab, socket_of(lab, "a"), socket_of(lab, "b"))
    switch.ctl("port", "remove", "b")
    expect(switch.ask("reload") == {"added": 1, "removed": 0, "changed": 0, "kept": 1}, "counts")
    end_well(switch)


@case
def ports_that_stay_lose_no_frame(lab):
    """Four reloads, each of which exchanges 48 ports, beside two that carry frames."""
    stay = [socket_of(lab, name) for name in ("left", "right")]
    switch = switch_with(lab, *stay, *(f"port null:n0-{number}" for number in range(CHANGING)))
    bench = lab.start([program("vireo-bench"), "net", "--json", "--rate", "500", "--ring-size", "4096", "--seconds", "600", "--from", lab.path("left"), "--to",
                       lab.path("right")], stdout=subprocess.PIPE)
    wait_until(lambda: switch.port("right")["tx_frames"] > 50, 20, "frames flow", child=bench)
    for turn in range(1, ROUNDS + 1):
        written(lab, *stay, *(f"port null:n{turn}-{number}" for number in range(CHANGING)))
        expect(switch.ask("reload") == {"added": CHANGING, "removed": CHANGING, "changed": 0, "kept": STAYING}, f"turn {turn}")
        before = switch.port("right")["tx_frames"]
        wait_until(lambda seen=before: switch.port("right")["tx_frames"] > seen + 50, 20, "frames flow on", child=bench)
    left, right = switch.port("left"), switch.port("right")
    expect(not left["rx_drops"] and not right["tx_drops"], f"dropped: {left['counters']}, {right['counters']}")
    bench.send_signal(signal.SIGINT)
    found = json.loads(bench.communicate(timeout=20)[0])
    expect(found["received"]["frames"] > 50 * ROUNDS and not found["lost"] and not found["duplicated"], f"{found}")
    end_well(switch)


# ---- port set ----

def limits(switch, name):
    return switch.port(name)["limits"]


@case
def limits_and_guards_change_under_a_port(lab):
    switch = switch_with(lab, socket_of(lab, "a", ",rate-in=1M,mtu=1400"), socket_of(lab, "b"))
    before = limits(switch, "a")
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        done = switch.ask("port", "set", "a", "rate-in=,frames-in=1/1,ip=10.0.0.5,arp-guard=on")
        expect(done["spec"] == f"vhost-user:{lab.path('a')},name=a,mtu=1400,frames-in=1/1,ip=10.0.0.5,arp-guard=on", f"{done}")
        expect(limits(switch, "a") != before and switch.port("a")["guard"]["arp"], f"{switch.port('a')['guard']}")
        for _ in range(20):
            a.send(text_frame(1, None))
        wait_until(lambda: switch.port("a")["counters"]["rx_rate_limit"] > 0, 20, "frames are over the limit")
        switch.ctl("port", "set", "a", "frames-in=")
        b.receive(0.1)
        a.send(text_frame(7, None))
        wait_until(lambda: text_frame(7, None) in [frame for _, frame in b.receive(0.2)], 20, "and are not any more")
    expect(f"port {switch.ask('port', 'set', 'a', 'ip=10.0.0.6')['spec']}" in shown(switch).splitlines(), "config show")
    end_well(switch)


@case_for({"fixed": ("queues=2", "queues cannot change while the port is there"), "unknown": ("nam=x", "has no key 'nam'"),
           "no_value": ("rate-in", "expected rate-in=VALUE"), "bad_value": ("rate-in=none", "'rate-in=none': expected"), "empty": ("", "has no key ''"),
           "twice": ("rate-in=1M,rate-in=2M", "twice")}, "what_cannot_be_set_is_refused_in_a_line_{}")
def what_cannot_be_set_is_refused_in_a_line(lab, settings, why):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')}"])
    done = switch.ctl_run("port", "set", "a", settings)
    expect(done.returncode == 2 and why in done.stderr and len(done.stderr.splitlines()) == 1, f"{done}")
    expect(shown(switch).splitlines()[-1] == f"port vhost-user:{lab.path('a')}", shown(switch))
    end_well(switch)


@case
def a_reload_changes_what_can_change_and_leaves_the_port_alone(lab):
    switch = switch_with(lab, socket_of(lab, "a", ",frames-in=1"), socket_of(lab, "b"))
    before = limits(switch, "a")
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        written(lab, socket_of(lab, "a", ",frames-in=100000"), socket_of(lab, "b"))
        expect(switch.ask("reload") == {"added": 0, "removed": 0, "changed": 1, "kept": 1}, "counts")
        expect(limits(switch, "a") != before, "the limit")
        a.send(text_frame(1, None))
        wait_until(lambda: text_frame(1, None) in [frame for _, frame in b.receive(0.2)], 20, "the session goes on")
    switch.ctl("port", "set", "a", "frames-in=5")
    expect(switch.ask("reload")["changed"] == 1, "the file holds again")
    end_well(switch)


# ---- config show ----

def shown(switch):
    return switch.ctl("config", "show")


@case
def the_file_that_is_shown_starts_the_same_switch(lab):
    switch = switch_with(lab, socket_of(lab, "a", ",mtu=1400"), socket_of(lab, "b"), "poll", "fdb-age 7", ports=["null:n"])
    switch.ctl("port", "remove", "b")
    switch.ctl("port", "add", f"vhost-user:{lab.path('odd#name')},name=c")
    switch.ctl("log", "level", "debug")
    text = shown(switch)
    lines = text.splitlines()
    expect(lines == ["poll", "fdb-age 7", f"control {switch.control}", "log-level debug", f"port vhost-user:{lab.path('a')},name=a,mtu=1400",
                     "port null:n", f"port vhost-user:{lab.path('odd#name')},name=c"], f"{lines}")
    before = names(switch)
    end_well(switch)
    with open(lab.path("shown"), "w") as file:
        file.write(text)
    switch.argv = [program("vireo-switchd"), "--config", lab.path("shown")]
    switch.start()
    expect(names(switch) == before and shown(switch).splitlines() == lines and switch.port("a")["mtu"] == 1400, f"{shown(switch)}")
    end_well(switch)


SETTINGS = {"workers": "2", "adaptive": "", "spin-us": "7", "spin-percent": "3", "udp-pacing": "off", "fdb-entries": "64", "fdb-age": "9",
            "mcast-snooping": "on", "mcast-querier": "on", "mcast-unknown": "routers", "mcast-interval": "77",
            "log-level": "warning", "control-group": str(os.getgid()), "beneath": "/tmp:/run", "fdb": "52:54:00:00:00:09 full 30"}
VHOST_USER = {"name": "full", "queues": "2", "mtu": "1400", "speed": "2500M/half", "mac": "52:54:00:00:00:01+52:54:00:00:00:02", "spoof": "allow", "flood-max": "7777",
              "vlan": "7", "trunk": "10-12+30", "vlan-tag": "802.1ad", "isolated": "on", "rate-in": "8M/64K", "rate-out": "9M", "frames-in": "1000",
              "frames-out": "1001/20", "storm-broadcast": "1", "storm-multicast": "2/3", "storm-unicast": "4", "priority": "dscp", "ip": "10.0.0.1+fe80::/10",
              "arp-guard": "on", "dhcp-guard": "on", "ra-guard": "on", "mode": "server", "user": str(os.getuid()), "group": str(os.getgid()),
              "perm": "0640", "hello-ms": "1234", "postcopy": "off", "packed": "off", "event-idx": "off", "indirect": "off", "in-order": "off",
              "mcast-router": "off", "fast-leave": "on", "mcast-groups": "9", "files": "any", "memory-max": "64M",
              "link": "down", "worker": "1:1"}
ELSEWHERE = {"tunnel": "on", "bond": "b"}  # the one contradicts trunk, a member of the other has no VLANs, limits and guards of its own
NO_STATE = {"address", "serial", "counters", "queue_counters", "state", "memory"}


def state_of(switch):
    """All that is told of the ports but what passes, and the settings that can be asked for."""
    ports = [{key: value for key, value in switch.port(name).items() if not key.startswith(("rx_", "tx_")) and key not in NO_STATE}
             for name in names(switch)]
    workers = [worker["cpu"] for worker in switch.ask("worker", "list")["workers"]]
    return ports, workers, switch.ask("stats")["fdb"]["capacity"], switch.ask("log", "level")


def with_the_rest(values, found):
    """Beside those values one for each other that the help tells of: what it offers, or a number."""
    values = dict(values)
    for name, offer in found:
        if name not in values and name not in ELSEWHERE:
            choice = offer.split("|")
            expect(len(choice) > 1 or offer in ("", "N", "S", "MS", "US"), f"{name}={offer}: this test needs a value for it")
            values[name] = "off" if "off" in choice else choice[0] if len(choice) > 1 else "8" if offer else ""
    return values


def keys_of_help():
    text = subprocess.run([program("vireo-switchd"), "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    settings = [row for row in re.findall(r"^  --([a-z-]+) ([^ ]*)", text, re.M)
                if row[0] not in {"config", "check", "print-sandbox", "version", "help", "port", "control", "poll", "takeover", "upgrade", "reopen"}]
    own = re.sub(r"\s", "", text[text.index("  vhost-user:"):text.index("  vduse:")])
    return settings, re.findall(r"[\[,]([a-z-]+)=([^,\]]*)", own)


@case
def what_is_shown_makes_the_same_state_whatever_is_given(lab):
    """With every setting and every key of the kind that has most of them, changed since, and saved."""
    settings, keys = keys_of_help()
    expect(len(settings) >= len(SETTINGS) and len(keys) > len(VHOST_USER), f"the help is read: {settings}, {keys}")
    settings, keys = with_the_rest(SETTINGS, settings), with_the_rest(VHOST_USER, keys)
    switch = switch_with(lab, *(f"{name} {value}".strip() for name, value in settings.items()),
                         f"port vhost-user:{lab.path('full')}," + ",".join(f"{key}={value}" for key, value in keys.items()),
                         f"port vhost-user:{lab.path('tunnel')},vlan=9,tunnel=on", "port bond:b,mode=balance,hash=layer3+4",
                         f"port vhost-user:{lab.path('member')},bond=b")
    switch.ctl("port", "set", "full", "rate-out=,frames-in=2000,ip=10.0.0.7")
    switch.ctl("port", "remove", "tunnel")
    switch.ctl("port", "add", f"vhost-user:{lab.path('tunnel')},name=again,vlan=9,tunnel=on")
    switch.ctl("port", "add", "null:n")
    before, text = state_of(switch), shown(switch)
    said = switch.ctl("save")
    expect(said == f"{lab.path('conf')}: {len(text.splitlines())} lines; {lab.path('conf')}~ has what was there before\n", said)
    with open(lab.path("conf")) as new, open(lab.path("conf") + "~") as old:
        expect(new.read() == "# Written by vireoctl save.\n" + text and "tunnel=on" in old.read(), "what is written is what is shown")
    end_well(switch)
    done = subprocess.run([program("vireo-switchd"), "--check", lab.path("conf")], capture_output=True, text=True, timeout=20)
    expect(done.returncode == 0 and not done.stderr, f"{done}")
    switch.argv = [program("vireo-switchd"), "--config", lab.path("conf")]
    switch.start()
    expect(state_of(switch) == before, f"{before}, then {state_of(switch)}")
    expect(shown(switch) == text, f"{text}, then {shown(switch)}")
    end_well(switch)


@case
def what_cannot_be_saved_leaves_what_is_there(lab):
    switch = Switch(lab, ["null:n"])

    def refused(*words):
        done = switch.ctl_run("save", *words)
        expect(done.returncode == 1 and not done.stdout and len(done.stderr.splitlines()) == 1, f"{words}: {done}")
        return done.stderr
    expect("without --config" in refused(), "which file?")
    for path, why in ((lab.path("no/folder"), "No such file"), (lab.folder, "no file"), ("/dev/null", "no file"), ("/proc/self/nothing", "No such file")):
        expect(why in refused(path), path)
    expect(switch.ctl("save", lab.path("new")) == f"{lab.path('new')}: 2 lines\n", "a file that was not there")
    os.chmod(lab.path("new"), 0o600)
    os.symlink(lab.path("new"), lab.path("link"))
    switch.ctl("save", lab.path("link"))
    expect(os.path.islink(lab.path("link")) and os.stat(lab.path("new")).st_mode & 0o777 == 0o600, "a link stays, and who may read it")
    expect(sorted(name for name in os.listdir(lab.folder) if name.startswith("new")) == ["new", "new~"], f"{os.listdir(lab.folder)}")
    switch.ctl("port", "add", f"vhost-user:{lab.path('odd #name')},name=c")
    expect("nothing is written" in refused(lab.path("new")), "a path that no file can say")
    expect(switch.ctl_run("save", "a", "b").returncode == 2, "too much")
    end_well(switch)


@case
def what_the_command_line_contradicts_is_not_shown(lab):
    switch = Switch(lab, ["null:n"], ["--config", written(lab, "poll", "spin-us 5", "log-level warning"), "--adaptive", "--log-level", "info"])
    lines = shown(switch).splitlines()
    expect(sorted(lines) == sorted([f"control {switch.control}", "spin-us 5", "adaptive", "log-level info", "port null:n"]), f"{lines}")
    end_well(switch)


# ---- --check ----

def checked(lab, daemon, *lines):
    return subprocess.run([program(daemon), "--check", written(lab, *lines)], capture_output=True, text=True, timeout=20)


@case
def a_file_is_checked_without_a_port_being_opened(lab):
    done = checked(lab, "vireo-switchd", "workers 2", socket_of(lab, "a"))
    expect(done.returncode == 0 and done.stdout.strip().endswith("nothing is wrong with it") and not done.stderr, f"{done}")
    expect(not os.path.exists(lab.path("a")), "a socket has been made")
    done = checked(lab, "vireo-blkd", "disk a=file:/nonexistent/disk", f"export vhost-user:{lab.path('e')},disk=a")
    expect(done.returncode == 0 and not done.stderr and not os.path.exists(lab.path("e")), f"{done}")


@case
def all_errors_of_a_file_are_told_at_once(lab):
    done = checked(lab, "vireo-switchd", "workers none", "port null:a", "", "prot null:b", "fdb-age 3", "fdb-age 4")
    lines = done.stderr.splitlines()
    expect(done.returncode == 2 and not done.stdout, f"{done}")
    expect([line.split(lab.path("conf"))[1].split(":")[1] for line in lines] == ["1", "4", "6"], f"{lines}")


@case
def more_ports_than_there_can_be_are_refused_in_a_moment(lab):
    done = checked(lab, "vireo-switchd", *(f"port null:n{number}" for number in range(100000)))
    lines = done.stderr.splitlines()
    expect(done.returncode == 2 and len(lines) == 21 and "at most 4096 ports" in lines[0] and ":4097:" in lines[0], f"{lines[:2]}")


if __name__ == "__main__":
    main()
