#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`vireoctl serve`: the page's files, metrics and state over HTTP, and what strangers get who flood, wait, or lie."""
import html.parser
import http.client
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import end_well, root_only, sanitized  # noqa: E402
from guest.disks import Blkd  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.served import FakeDaemon, serve_or_skip  # noqa: E402
from guest.switch import ROOT, Switch, program  # noqa: E402

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
VERSION = {"daemon": "vireo-switchd", "version": "0"}
EVIL = 'x"} 1\n<img src=x onerror=alert(1)>\u202e'
MANY = 1000


def ends_well(served):
    served.child.terminate()
    expect(served.child.wait(20) == 0, f"vireoctl serve ended with {served.child.returncode}")
    expect(served.said().strip() == served.url, f"it has said more than its address: {served.said()}")


class Links(html.parser.HTMLParser):
    """Where a page's parts come from, and what in it a strict policy forbids."""

    def __init__(self, text):
        super().__init__()
        self.paths, self.forbidden, self.inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = tag
        for name, value in attrs:
            if name in ("src", "href"):
                self.paths.append(value)
            if name == "style" or name.startswith("on"):
                self.forbidden.append((tag, name))

    def handle_data(self, data):
        if self.inside in ("script", "style") and data.strip():
            self.forbidden.append((self.inside, data))
        self.inside = None


@case
def the_page_is_whole_and_comes_from_nowhere_else(lab):
    switch = Switch(lab, ["null:n"])
    served = serve_or_skip(lab, switch.control)
    page = served.ask("/")
    links = Links(page.text)
    expect(page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8", f"{page}")
    expect(not links.forbidden and {"/page.js", "/page.css"} <= set(links.paths), f"{links.paths} {links.forbidden}")
    types = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    for path in set(links.paths):
        answer = served.ask(path)
        expect(answer.status == 200 and answer.body, f"{path}: {answer.status}")
        for name, value in (("content-security-policy", "default-src 'self';"), ("x-content-type-options", "nosniff"),
                            ("cross-origin-resource-policy", "same-origin"), ("cache-control", "no-store")):
            expect(value in answer.headers.get(name, ""), f"{path}: {name}: {answer.headers}")
        expect("access-control-allow-origin" not in answer.headers, f"{path}: others may read it")
        suffix = os.path.splitext(path)[1]
        expect(suffix not in types or answer.headers["content-type"] == types[suffix], f"{path}: {answer.headers}")
        if suffix in types:
            with open(f"{ROOT}/apps/vireoctl/serve/page{path}", "rb") as file:
                expect(file.read() == answer.body, f"{path} is not the file that it is made of")
    head = served.ask("/", "HEAD")
    expect(head.status == 200 and not head.body and head.headers["content-length"] == page.headers["content-length"], f"{head}")
    expect(served.ask("/../../etc/passwd").status == 404 and served.ask("/page.jsx").status == 404, "what is not there")
    ends_well(served)
    end_well(switch)


@case
def state_and_metrics_are_the_daemon_s(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},name=a", "null:n"])
    served = serve_or_skip(lab, switch.control)
    with Front(lab.path("a")) as front:
        for _ in range(3):
            front.send(text_frame(1, None))
        wait_until(lambda: switch.port("n")["tx_frames"] == 3, 20, "frames pass")
        wait_until(lambda: served.state()["stats"]["ports"][1]["tx_frames"] == 3, 20, "the state has them")
        state = served.state()
        expect(state["version"] == switch.ask("version"), f"{state['version']}")
        expect(state["stats"].keys() == switch.ask("stats").keys(), f"{state['stats'].keys()}")
        metrics = served.ask("/metrics")
        expect(metrics.status == 200 and metrics.headers["content-type"] == OPENMETRICS, f"{metrics.headers}")
        expect('vireo_port_rx_frames_total{port="a"} 3\n' in metrics.text and metrics.text.endswith("# EOF\n"), metrics.text[-300:])
        names = [re.sub(r" \S+$", "", line) for line in metrics.text.splitlines()]
        expect(names == [re.sub(r" \S+$", "", line) for line in switch.ctl("metrics").splitlines()], "`vireoctl metrics` has others")
        plain = served.ask("/metrics", headers={"Accept": "text/plain;version=0.0.4"})
        expect(plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8", f"{plain.headers}")
        expect("# TYPE vireo_port_rx_frames_total counter\n" in plain.text and "# EOF" not in plain.text, plain.text[:500])
        both = served.ask("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
        expect(both.headers["content-type"] == OPENMETRICS, f"{both.headers}")
    ends_well(served)
    end_well(switch)


@case
def who_talks_to_whom_is_counted_for_who_looks(lab):
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in "ab"] + ["null:n"], options=["--workers", "2"])
    served = serve_or_skip(lab, switch.control)
    with Front(lab.path("a")) as a, Front(lab.path("b")) as b:
        for number, front in enumerate((a, b)):
            front.send(text_frame(number, None))
        wait_until(lambda: switch.port("n")["tx_frames"] == 2, 20, "frames pass")
        served.ask("/metrics")
        expect("talk" not in switch.ctl("metrics"), "talk is no metric")
        talk = served.state()["talk"]
        expect(talk["pairs"] == [] and talk["uncounted"] == 0 and talk["since_us"] > 0, f"counted before somebody looked: {talk}")
        there, back = text_frame(0, 1, bytes(100)), text_frame(1, 0)

        def counted():  # who is slow to ask again finds that counting has begun anew
            a.send(there)
            b.send(back)
            pairs = {(pair["from"], pair["to"]): pair for pair in served.state()["talk"]["pairs"]}
            return set(pairs) == {("a", "b"), ("b", "a")} and all(
                pairs[way]["frames"] and pairs[way]["bytes"] == pairs[way]["frames"] * len(frame) for way, frame in ((("a", "b"), there), (("b", "a"), back)))
        wait_until(counted, 20, "both ways have their frames and bytes")
        expect("FRAMES" in switch.ctl("talk", "show"), "a table for people")
    ends_well(served)
    end_well(switch)


def promtool(*words, text=None):
    tool = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not tool:
        raise Skip("promtool is not installed: Debian's prometheus has it, and make page")
    done = subprocess.run([tool, *words], input=text, capture_output=True, text=True, timeout=60)
    expect(done.returncode == 0, f"promtool {' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


@case
def promtool_has_nothing_to_say_of_metrics_and_rules(lab):
    promtool("--version")
    promtool("check", "rules", "--lint=all", "--lint-fatal", f"{ROOT}/packaging/prometheus/vireo.rules.yml")
    promtool("test", "rules", f"{ROOT}/packaging/prometheus/vireo.rules.test.yml")
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},name=a", "null:n"])
    blkd = Blkd(lab, ["d=mem:1M,latency=on"], [f"vhost-user:{lab.path('e')},disk=d"])
    for daemon, kind in ((switch, "switchd"), (blkd, "blkd")):
        served = serve_or_skip(lab, daemon.control, daemon=kind, name=kind + ".serve")
        promtool("check", "metrics", text=served.ask("/metrics", headers={"Accept": "text/plain"}).text)
        ends_well(served)
    end_well(switch)


# What a switch or a disk has said in its metrics: names that a dashboard or a rule asks for are among them.
ASKED = re.compile(r"\bvireo_[a-z0-9_]+")


@case
def dashboard_and_rules_ask_for_what_there_is(lab):
    with open(f"{ROOT}/packaging/grafana/vireo.json") as file:
        dashboard = json.load(file)
    with open(f"{ROOT}/packaging/prometheus/vireo.rules.yml") as file:
        rules = file.read()
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked += re.findall(r"^\s+expr: (.*)$", rules, re.M)
    wanted = {name for expr in asked for name in ASKED.findall(expr)}
    expect(len(dashboard["panels"]) >= 8 and len(wanted) >= 10, f"{sorted(wanted)}")
    switch = Switch(lab, [f"vhost-user:{lab.path('a')},name=a", "null:n"], options=["--workers", "2"])
    blkd = Blkd(lab, ["d=mem:1M,latency=on"], [f"vhost-user:{lab.path('e')},disk=d"])
    there = set()
    with Front(lab.path("a")):
        for daemon in (switch, blkd):
            wait_until(lambda: "busy_percent" in switch.ctl("metrics"), 20, "the workers' load is known")
            there |= {re.split(r"[ {]", line)[0] for line in daemon.ctl("metrics").splitlines() if not line.startswith("#")}
    expect(not wanted - there, f"no daemon tells {sorted(wanted - there)}")
    end_well(switch)


# ---- who may ask, and what ----

@case
def a_page_of_somebody_else_s_name_gets_nothing(lab):
    daemon = FakeDaemon(lab.path("c"), {"stats": {"ports": []}, "version": VERSION})
    served = serve_or_skip(lab, lab.path("c"))
    for host in ("rebound.example", f"rebound.example:{served.port}", "127.0.0.1.rebound.example", "", "a" * 1000):
        for path in ("/", "/metrics", "/state.json", "/page.js"):
            answer = served.ask(path, headers={"Host": host})
            expect(answer.status in (400, 403) and b"ports" not in answer.body, f"Host: {host}: {answer}")
    expect(b" 403 " in served.raw(b"GET /metrics HTTP/1.0\r\n\r\n"), "without a Host header")
    expect(b" 200 " not in served.raw(b"GET /metrics HTTP/1.1\r\n\r\n"), "without a Host header")
    expect(daemon.calls == 0, "the daemon was asked for them")
    for host in ("127.0.0.1", f"localhost:{served.port}", "[::1]"):
        expect(served.ask("/metrics", headers={"Host": host}).status == 200, f"Host: {host}")
    ends_well(served)
    served = serve_or_skip(lab, lab.path("c"), "--hosts=kvm1.example,kvm1", listen="0.0.0.0:0", name="named")
    expect(served.ask("/metrics", headers={"Host": "kvm1.example:80"}).status == 200, "a name that was told")
    expect(served.ask("/metrics", headers={"Host": "rebound.example"}).status == 403, "one that was not")
    ends_well(served)
    daemon.close()


@case
def nothing_can_be_changed(lab):
    daemon = FakeDaemon(lab.path("c"), {"stats": {"ports": []}, "version": VERSION})
    served = serve_or_skip(lab, lab.path("c"))
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "MADE-UP"):
        answer = served.ask("/state.json", method, {"Origin": "http://rebound.example"}, b"{}" if method[0] == "P" else None)
        expect(answer.status == 405 and answer.headers["allow"] == "GET, HEAD", f"{method}: {answer}")
        expect(not [name for name in answer.headers if name.startswith("access-control")], f"{method}: {answer.headers}")
    expect(daemon.calls == 0, "the daemon was asked")
    ends_well(served)
    daemon.close()


def holds(served):
    """(fds, resident MiB)"""
    with open(f"/proc/{served.child.pid}/statm") as file:
        return len(os.listdir(f"/proc/{served.child.pid}/fd")), int(file.read().split()[1]) * resource.getpagesize() >> 20


LIES = {
    "a line of 64 KiB": b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a header of 1 MiB": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n",
    "100000 headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 100000 + b"\r\n",
    "no HTTP": bytes(range(256)) * 100,
    "a number as version": b"GET / HTTP/999.999\r\nHost: localhost\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 99999999999999999999\r\n\r\na",
    "a chunk that never ends": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + b"a" * 100000,
    "NUL in a name": b"GET /\0/metrics HTTP/1.1\r\nHost: local\0host\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
}


@case
def who_lies_gets_an_error_and_others_their_answer(lab):
    daemon = FakeDaemon(lab.path("c"), {"stats": {"ports": []}, "version": VERSION})
    served = serve_or_skip(lab, lab.path("c"))
    for lie, request in LIES.items():
        first = served.raw(request + b"\r\n\r\n").split(b"\r\n")[0]
        expect(first == b"" or re.match(rb"HTTP/1\.[01] [45]\d\d ", first), f"{lie}: {first}")
        expect(served.ask("/state.json").status == 200, f"after {lie}")
    expect(holds(served)[1] < 64 or sanitized(), f"it holds {holds(served)} (fds, MiB)")
    ends_well(served)
    daemon.close()


@case
def a_thousand_silent_connections_keep_nobody_out(lab):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY + 200:
        raise Skip(f"no more than {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY + 200), hard))
    switch = Switch(lab, ["null:n"])
    before = len(os.listdir(f"/proc/{switch.child.pid}/fd"))
    served = serve_or_skip(lab, switch.control)
    silent = []
    try:
        for i in range(MANY):
            silent.append(served.connect())
            silent[-1].sendall((b"", b"GET / HT", b"GET /state.json HTTP/1.1\r\nHost: localhost\r\n")[i % 3])
            if i % 250 == 249:
                expect(served.ask("/state.json").status == 200, f"beside {i + 1} of them")
        fds, mib = holds(served)
        expect(fds < 256 and (mib < 64 or sanitized()), f"it holds {fds} fds and {mib} MiB")
        expect(len(os.listdir(f"/proc/{switch.child.pid}/fd")) <= before + 4, "the daemon has connections of theirs")
        expect(switch.ask("stats")["ports"][0]["name"] == "n", "the daemon answers")
    finally:
        for connection in silent:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: holds(served)[0] < 32, 20, f"what it held is given back: {holds(served)}")
    ends_well(served)
    end_well(switch)


@case
def who_never_reads_holds_up_nobody(lab):
    ports = [{"name": f"p{i}", "counters": {f"rx_{j}": j for j in range(200)}} for i in range(150)]
    daemon = FakeDaemon(lab.path("c"), {"stats": {"time_us": 1, "ports": ports}, "version": VERSION})
    served = serve_or_skip(lab, lab.path("c"))
    deaf = []
    expect(len(served.ask("/state.json").body) > 300000, "an answer that no socket takes whole")
    for _ in range(200):
        deaf.append(served.connect(unread_bytes=4096))
        deaf[-1].sendall(b"GET /state.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
    expect(served.ask("/state.json").status == 200 and served.ask("/").status == 200, "beside them")
    fds, mib = holds(served)
    expect(64 < fds < 256 and (mib < 64 or sanitized()), f"it holds {fds} fds and {mib} MiB")
    for connection in deaf:
        connection.close()
    wait_until(lambda: holds(served)[0] < 32, 20, f"what it held is given back: {holds(served)}")
    ends_well(served)
    daemon.close()


def begin_to_read(served, path, headers):
    """No more than the head: (connection, answer)."""
    client = http.client.HTTPConnection("localhost", timeout=20)
    client.sock = served.connect()
    client.request("GET", path, headers=headers)
    return client, client.getresponse()


def read_whole(answer):
    try:
        return len(answer.read()) == int(answer.headers["content-length"])
    except (http.client.IncompleteRead, ConnectionResetError):
        return False


@case
def slow_readers_keep_no_more_than_eight_answers(lab):
    with open("/proc/sys/net/core/wmem_default") as file:
        kept = int(file.read())  # by the kernel, for who does not read
    ports = [{"name": f"p{i}", "counters": {f"rx_{j}": j for j in range(200)}} for i in range(max(100, kept // 1600))]
    daemon = FakeDaemon(lab.path("c"), {"stats": {"time_us": 1, "ports": ports}, "version": VERSION})
    served = serve_or_skip(lab, lab.path("c"), listen=f"unix:{lab.path('page.sock')}")
    slow, begin = [], time.monotonic()
    while len(slow) < 10:  # each has an answer of its own
        seen = daemon.calls
        wait_until(lambda: served.ask("/metrics", "HEAD").status == 200 and daemon.calls > seen, 20, "a new answer")
        for form in ({}, {"Accept": "text/plain"}, None):
            client, answer = begin_to_read(served, "/state.json" if form is None else "/metrics", form or {})
            if answer.status == 200:
                expect(int(answer.headers["content-length"]) > kept, f"it fits into a socket: {answer.headers}")
                slow.append((client, answer))
    whole, seconds = [read_whole(answer) for _, answer in slow], time.monotonic() - begin
    expect(not any(whole[:-8]), f"who has read an answer to its end: {whole}")
    expect(all(whole[-3:]) or seconds > 8, f"who has read an answer to its end, within {seconds:.1f} s: {whole}")  # ten silent seconds end one, too
    for client, _ in slow:
        client.close()
    ends_well(served)
    daemon.close()


@case
def a_flood_costs_the_daemon_two_answers_a_second(lab):
    daemon = FakeDaemon(lab.path("c"), {"stats": {"time_us": 1, "ports": []}, "version": VERSION})
    served = serve_or_skip(lab, lab.path("c"))
    begin = time.monotonic()
    for _ in range(300):
        expect(served.ask("/state.json").status in (200, 503), "an answer")  # 503: on a loaded machine this daemon is slow
    seconds = time.monotonic() - begin
    expect(1 <= daemon.calls <= 2 * seconds + 1, f"{daemon.calls} calls within {seconds:.1f} s")
    ends_well(served)
    daemon.close()


# ---- the daemon ----

@case
def a_daemon_may_go_and_come_back(lab):
    served = serve_or_skip(lab, lab.path("switchd.control"))
    for path in ("/state.json", "/metrics"):
        answer = served.ask(path)
        expect(answer.status == 503 and b"vireo-switchd" in answer.body, f"{path}: {answer}")
    expect(served.ask("/").status == 200, "the page is there before the daemon is")
    switch = Switch(lab, ["null:n"])
    wait_until(lambda: served.ask("/state.json").status == 200, 20, "the daemon has come")
    switch.kill()
    wait_until(lambda: served.ask("/metrics").status == 503, 20, "the daemon has gone")
    switch.start()
    wait_until(lambda: served.ask("/metrics").status == 200, 20, "the daemon is back")
    ends_well(served)
    end_well(switch)


@case
def a_daemon_that_hangs_costs_an_answer_and_not_the_server(lab):
    daemon = FakeDaemon(lab.path("c"), {})
    served = serve_or_skip(lab, lab.path("c"))
    answer = served.ask("/state.json")
    expect(answer.status == 503 and "does not answer" in json.loads(answer.body)["error"], f"{answer}")
    daemon.answers = {"stats": {"time_us": 1, "ports": []}, "version": VERSION}
    wait_until(lambda: served.ask("/state.json").status == 200, 20, "it goes on")
    ends_well(served)
    daemon.close()


@case
def a_slow_daemon_has_one_time_for_all_questions(lab):
    answers = {"stats": {"time_us": 1, "ports": []}, "version": VERSION, "talk.show": {"pairs": []}}
    daemon = FakeDaemon(lab.path("c"), answers, delays={"stats": 0.6, "version": 0.6})
    served = serve_or_skip(lab, lab.path("c"), "--timeout=1")
    answer = served.ask("/state.json")
    expect(answer.status == 503 and "does not answer" in json.loads(answer.body)["error"], f"each question had a second: {answer}")
    daemon.delays = {"talk.show": 600}
    answers = []
    wait_until(lambda: answers.append(served.ask("/state.json")) or answers[-1].status == 200, 60, "it answers without what comes too late")
    expect("talk" not in served.state() and "stats" in json.loads(answers[-1].body), f"{answers[-1]}")
    daemon.delays = {}
    wait_until(lambda: served.state().get("talk") == {"pairs": []}, 60, "all is there in time again")
    ends_well(served)
    daemon.close()


@case
def what_a_daemon_says_stays_text(lab):
    port = {"name": EVIL, "type": EVIL, "state": EVIL, "link": "up", "rx_frames": 7, "counters": {EVIL: 8}}
    daemon = FakeDaemon(lab.path("c"), {"stats": {"time_us": 1, "ports": [port]}, "version": VERSION})
    served = serve_or_skip(lab, lab.path("c"))
    name = served.state()["stats"]["ports"][0]["name"]
    expect(name.isprintable() and "<img" in name and "\\xe2\\x80\\xae" in name, f"{name!r}")
    for line in served.ask("/metrics").text.splitlines():
        expect(line.startswith("#") or re.fullmatch(r'vireo_[a-z_]+(\{[a-z_]+="([^"\\]|\\.)*"(,[a-z_]+="([^"\\]|\\.)*")*\})? [0-9]+', line), line)
    ends_well(served)
    daemon.close()


# ---- where it listens, and what it may do ----

@case
def only_loopback_and_unix_sockets_unless_told_otherwise(lab):
    serve_or_skip(lab, lab.path("c"), name="first").child.kill()

    def refused(where, *options):
        return subprocess.run([program("vireoctl"), "-s", lab.path("c"), "serve", f"--listen={where}", *options], capture_output=True, text=True, timeout=20)
    for where in ("0.0.0.0:0", "[::]:0", "192.0.2.1:80"):
        done = refused(where)
        expect(done.returncode == 2 and "--hosts" in done.stderr and done.stderr.count("\n") == 1, f"{where}: {done}")
    for where in ("", "x", "65536", "-1", "localhost:80", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:80x", "unix:", "[::1]", "::1"):
        done = refused(where)
        expect(done.returncode == 2 and "expected PORT" in done.stderr and done.stderr.count("\n") == 1, f"{where!r}: {done}")
    path = lab.path("page.sock")
    served = serve_or_skip(lab, lab.path("c"), listen=f"unix:{path}", name="unix")
    expect(served.url == f"unix:{path}" and served.ask("/", headers={"Host": "any.example"}).status == 200, served.url)
    done = refused(f"unix:{path}")
    expect(done.returncode == 1 and "cannot listen" in done.stderr, f"{done}")
    served.child.kill()
    served.child.wait()
    served = serve_or_skip(lab, lab.path("c"), listen=f"unix:{path}", name="unix2")  # what a dead one has left is no hindrance
    ends_well(served)
    served = serve_or_skip(lab, lab.path("c"), name="port")
    done = refused(f"127.0.0.1:{served.port}")
    expect(done.returncode == 1 and "in use" in done.stderr, f"{done}")
    ends_well(served)


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


# What the filter refuses is tried one by one in apps/vireoctl/serve/sandbox_test.c.
@case
def it_gives_away_what_it_does_not_need(lab):
    if sanitized():
        raise Skip("a build with a sanitizer has no sandbox")
    root_only()
    served = serve_or_skip(lab, lab.path("c"))
    status, ours = status_of(served.child.pid), status_of(os.getpid())
    expect(all(int(status[kind], 16) in (0, 2) for kind in ("CapPrm", "CapEff", "CapInh")) and status["NoNewPrivs"] == "1", f"{status}")
    ends_well(served)
    if "Seccomp_filters" not in status:
        raise Skip("no filter of system calls here")
    with open(program("vireoctl"), "rb") as file:
        filters = b"libseccomp.so" in file.read()
    expect(int(status["Seccomp_filters"]) == int(ours["Seccomp_filters"]) + filters, f"{status['Seccomp_filters']} filters, and we have {ours['Seccomp_filters']}")


if __name__ == "__main__":
    main()
