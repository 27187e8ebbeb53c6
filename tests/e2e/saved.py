#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What commands have changed while the switch runs - links, static entries, who serves which queue, names - is in the file that is saved, and a switch
that is started from it is the same."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.switch import Switch, program  # noqa: E402


def written(lab, *lines):
    with open(lab.path("conf"), "w") as conf:
        conf.writelines(line + "\n" for line in lines)
    return lab.path("conf")


def switch_with(lab, *lines):
    return Switch(lab, [], ["--config", written(lab, *lines)])


def shown(switch):
    return switch.ctl("config", "show")


def started_anew(switch, path):
    end_well(switch)
    switch.argv = [program("vireo-switchd"), "--config", path]
    switch.start()


def log_of(switch):
    with open(switch.child.log) as log:
        return log.read()


def static(switch):
    return sorted((entry["mac"], entry["vlan"], entry["port"]) for entry in switch.ask("fdb", "show")["entries"] if entry["static"])


def links(switch):
    return {port["name"]: port["link"] for port in switch.ask("port", "list")["ports"]}


def server_of(switch, port):
    return [worker["worker"] for worker in switch.ask("worker", "list")["workers"] if any((q["port"], q["queue"]) == (port, 0) for q in worker["queues"])]


def passes(sender, receiver, source):
    """Within a moment, or not at all."""
    frame = text_frame(source, None)
    sender.send(frame)
    return any(got == frame for _, got in receiver.receive(1))


def changed_by_hand(lab, switch):
    """All that commands change."""
    for name in "mn":
        os.mkdir(lab.path(name))
        switch.ctl("port", "add", f"vhost-user:{lab.path(name)}/same.sock,vlan=7")
    switch.ctl("port", "remove", "same")
    for words in ("port link b down", "port link null down", "port link a up", "worker move a 2", "worker move a:1 0", "worker move a:3 0",
                  "worker move b 1", "fdb add 02:00:00:00:00:02 same-2", "fdb add 02:00:00:00:00:01 same-2 7", "fdb add 02:00:00:00:00:01 b",
                  "port set c worker=2,rate-in=5M", "port set c isolated=on"):
        switch.ctl(*words.split())


@case
def what_commands_have_changed_is_there_after_a_restart_from_what_is_saved(lab):
    switch = switch_with(lab, "workers 3", f"port vhost-user:{lab.path('a')},queues=4,link=down,worker=1", f"port vhost-user:{lab.path('b')}",
                         f"port vhost-user:{lab.path('c')},worker=0", "port null:null", "fdb 02:00:00:00:00:03 a")
    expect(links(switch)["a"] == "down", "the file says so")
    changed_by_hand(lab, switch)
    text, before = shown(switch), (static(switch), links(switch))
    expect(text.splitlines() == ["workers 3", f"control {switch.control}", f"port vhost-user:{lab.path('a')},queues=4,worker=0:2+1:0+2:2+3:0",
                                 f"port vhost-user:{lab.path('b')},link=down,worker=1",
                                 f"port vhost-user:{lab.path('c')},rate-in=5M,isolated=on,worker=2", "port null:null,link=down",
                                 f"port vhost-user:{lab.path('n')}/same.sock,vlan=7,name=same-2", "fdb 02:00:00:00:00:03 a",
                                 "fdb 02:00:00:00:00:01 b", "fdb 02:00:00:00:00:01 same-2 7", "fdb 02:00:00:00:00:02 same-2 7"], text)
    switch.ctl("save")
    started_anew(switch, lab.path("conf"))
    expect(shown(switch) == text, f"{text}, then {shown(switch)}")
    expect((static(switch), links(switch)) == before, f"{before}, then {static(switch), links(switch)}")
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        wait_until(lambda: (server_of(switch, "a"), server_of(switch, "b")) == ([2], [1]), 20, "workers serve what they served")
        expect(not passes(a, b, 1) and not passes(b, a, 2), "frames pass a port whose link is down")
        switch.ctl("port", "link", "b", "up")
        wait_until(lambda: passes(a, b, 1), 20, "the cable is back")
    expect("link=down" not in [line for line in shown(switch).splitlines() if lab.path("b") in line][0], shown(switch))
    end_well(switch)


@case
def a_saved_file_that_is_saved_again_is_the_same(lab):
    switch = switch_with(lab, f"port vhost-user:{lab.path('a')},link=up,mtu=1400,worker=0,queues=2", "port null:n,link=down",
                         "fdb 02:00:00:00:00:01 n 0")
    texts = []
    for _ in range(3):
        switch.ctl("save")
        with open(lab.path("conf")) as saved:
            texts.append(saved.read())
        expect(switch.ask("reload")["removed"] == 0, "a reload of what was saved takes nothing away")
        started_anew(switch, lab.path("conf"))
    expect(texts[0] == texts[1] == texts[2] and "mtu=1400,queues=2,worker=0\n" in texts[0] and "fdb 02:00:00:00:00:01 n\n" in texts[0], f"{texts}")
    end_well(switch)


# ---- a reload ----

@case
def a_reload_leaves_alone_what_commands_have_changed_since(lab):
    lines = ["workers 2", f"port vhost-user:{lab.path('a')}", f"port vhost-user:{lab.path('b')},link=down,worker=1", "fdb 02:00:00:00:00:01 a"]
    switch = switch_with(lab, *lines)
    for words in ("port link a down", "port link b up", "worker move b 0", "worker move a 1", "fdb add 02:00:00:00:00:02 a"):
        switch.ctl(*words.split())
    before = shown(switch)
    expect(switch.ask("reload")["changed"] == 0 and shown(switch) == before, "the same file")
    written(lab, *(line + ",rate-in=5M" if lab.path("a") in line else line for line in lines))
    expect(switch.ask("reload")["changed"] == 1, "another key")
    expect(shown(switch) == before.replace(lab.path("a"), lab.path("a") + ",rate-in=5M"), f"{before}, then {shown(switch)}")
    end_well(switch)


@case
def a_reload_takes_what_has_changed_in_the_file(lab):
    switch = switch_with(lab, "workers 2", f"port vhost-user:{lab.path('a')}", f"port vhost-user:{lab.path('b')},link=down,worker=1,vlan=5",
                         "fdb 02:00:00:00:00:01 a", "fdb 02:00:00:00:00:02 b 5")
    switch.ctl("fdb", "add", "02:00:00:00:00:03", "a")
    with Front(lab.path("a")), Front(lab.path("b")):
        wait_until(lambda: server_of(switch, "b") == [1], 20, "a worker serves it")
        written(lab, "workers 2", f"port vhost-user:{lab.path('a')},link=down,worker=1", f"port vhost-user:{lab.path('b')},worker=0,vlan=6",
                "port null:n", "fdb 02:00:00:00:00:02 b", "fdb 02:00:00:00:00:04 n")
        expect(switch.ask("reload") == {"added": 1, "removed": 0, "changed": 2, "kept": 0}, "counts")
        expect(links(switch) == {"a": "down", "b": "up", "n": "up"}, f"{links(switch)}")
        wait_until(lambda: server_of(switch, "b") == [0], 20, "another worker serves it")
    expect(static(switch) == [("02:00:00:00:00:02", 6, "b"), ("02:00:00:00:00:03", 0, "a"), ("02:00:00:00:00:04", 0, "n")], f"{static(switch)}")
    end_well(switch)


@case
def port_set_holds_over_what_was_said_before(lab):
    switch = switch_with(lab, "workers 2", f"port vhost-user:{lab.path('a')}")
    switch.ctl("port", "link", "a", "down")
    switch.ctl("port", "set", "a", "rate-in=5M")
    expect(links(switch) == {"a": "down"}, "another key leaves it alone")
    switch.ctl("port", "set", "a", "link=up,worker=1")
    expect(links(switch) == {"a": "up"} and ",worker=1" in shown(switch), shown(switch))
    switch.ctl("worker", "move", "a", "0")
    switch.ctl("port", "set", "a", "worker=,link=down")
    expect(links(switch) == {"a": "down"} and "worker" not in shown(switch).replace("workers", "") and "link=down" in shown(switch), shown(switch))
    done = switch.ctl_run("port", "set", "a", "worker=2,link=up")
    expect(done.returncode == 1 and "expected a number below 2" in done.stderr and links(switch) == {"a": "down"}, f"{done}")
    end_well(switch)


# ---- what cannot be ----

WRONG = {
    "no_port": ("fdb 02:00:00:00:00:01 b", "conf:3: fdb: there is no port 'b'"),
    "no_vlan": ("fdb 02:00:00:00:00:01 a 5", "conf:3: fdb: port 'a' is not in VLAN 5"),
    "two_ports": ("port null:b\nfdb 02:00:00:00:00:01 a\nfdb 02:00:00:00:00:01 b", "conf:5: fdb: 02:00:00:00:00:01 is static behind another port"),
    "no_worker": ("port vhost-user:b,worker=2", "conf:3: port 'b': worker=2: expected a number below 2"),
}


@case_for(WRONG, "a_start_says_the_line_of_what_cannot_be_{}")
def a_start_says_the_line(lab, line, why):
    child = lab.start([program("vireo-switchd"), "--control", lab.path("ctl"), "--config", written(lab, "workers 2", "port null:a", line)],
                      log="switchd.log", cwd=lab.folder)
    expect(child.wait(20) == 1, f"exit status {child.returncode}")
    with open(child.log) as log:
        said = log.read()
    expect(why in said and said.count("error") <= 1, said)


@case_for(WRONG, "a_reload_says_the_line_of_what_cannot_be_{}")
def a_reload_says_the_line(lab, line, why):
    switch = switch_with(lab, "workers 2", "port null:a")
    written(lab, "workers 2", "port null:a", line)
    done = switch.ctl_run("reload")
    expect(done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "the log says why" in done.stderr, f"{done}")
    wait_until(lambda: why in log_of(switch), 20, f"the log says {why}")
    expect(links(switch)["a"] == "up", "the rest goes on")
    end_well(switch)


if __name__ == "__main__":
    main()
