#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The dashboard and the alert rules in packaging/, asked of a real Prometheus that scrapes daemons under traffic."""
import contextlib
import functools
import http.server
import json
import os
import re
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.browser import Browser  # noqa: E402
from guest.cases import Skip, case, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.prometheus import Prometheus, filled_in  # noqa: E402
from guest.requests import OUT, Requests  # noqa: E402
from guest.served import serve_or_skip  # noqa: E402
from guest.switch import ROOT, Switch  # noqa: E402

DRAWN = os.environ.get("VIREO_DRAWN")  # the folder that tests/dashboard was built into
SCREENS = os.environ.get("VIREO_SCREENS")


class Traffic:
    """Until it is closed: guests that talk, and are dropped for some reasons, and a disk that is read and written and holds back some requests."""

    def __init__(self, fronts, disk):
        self.fronts, self.disk, self.ending = fronts, disk, False
        self.threads = [threading.Thread(target=work) for work in (self._frames, self._requests)]
        for thread in self.threads:
            thread.start()

    def _frames(self):
        a, b, _ = self.fronts
        with contextlib.suppress(TimeoutError):  # the switch has gone
            while not self.ending:
                for _ in range(50):
                    a.send(text_frame(0, 1, bytes(200)))
                    b.send(text_frame(1, 0))
                a.send(text_frame(0, 0))  # to itself
                a.send(text_frame(0, 2))  # which takes none out of its ring
                a.poll()
                b.poll()
                time.sleep(0.01)

    def _requests(self):
        turn = 0
        with contextlib.suppress(AssertionError):
            while not self.ending:
                self.disk.one(OUT if turn % 2 else 0, turn % 64)
                turn += 1
                time.sleep(0.005)

    def close(self):
        self.ending = True
        for thread in self.threads:
            thread.join()


def panels_of(dashboard):
    """(title, expressions with their legends) of each panel that has any."""
    return [(f"{panel['id']} {panel['title']}", [(target["expr"], target.get("legendFormat", "")) for target in panel["targets"]])
            for panel in dashboard["panels"] if panel["type"] != "row"]


def without_limit(expr):
    """A drop that does not happen, or a time that no frame had, is not shown: what is asked without that limit is there all the same."""
    return re.sub(r" >=? 0$", "", expr)


def faults_of(prometheus, dashboard, variables):
    faults = []
    for title, targets in panels_of(dashboard):
        shown = 0
        for expr, legend in targets:
            asked = filled_in(expr, variables)
            shown += len(prometheus.query(asked))
            series = prometheus.query(without_limit(asked))
            if not series:
                faults.append(f"{title}: nothing for {asked}")
            missing = [label for label in re.findall(r"\{\{(\w+)\}\}", legend) if any(label not in labels for labels, _ in series)]
            if missing:
                faults.append(f"{title}: the legend '{legend}' names {missing}, which {asked} has not")
            names = {tuple(labels.get(label) for label in re.findall(r"\{\{(\w+)\}\}", legend)) for labels, _ in series}
            if legend and len(names) < len(series):
                faults.append(f"{title}: several lines are called '{legend}': {asked}")
        if not shown:
            faults.append(f"{title}: no data")
    return faults


def no_faults(prometheus, dashboard, variables):
    """The rates come a scrape or two after the first traffic."""
    found = []

    def none():
        found[:] = faults_of(prometheus, dashboard, variables)
        return not found
    try:
        wait_until(none, 90, "all panels have data", step=0.5)
    except Exception as why:
        raise AssertionError(f"with {variables}:\n" + "\n".join(found)) from why


def choices(prometheus, dashboard, expected):
    """For each variable of the dashboard what Grafana would offer: these, once everybody has been scraped."""
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"}
    expect(variables.keys() == expected.keys(), f"variables: {sorted(variables)}")
    for name, variable in variables.items():
        expect(variable["definition"] == variable["query"]["query"], f"{name}: two questions")
        offered = []

        def whole(name=name, variable=variable, offered=offered):
            offered[:] = sorted(prometheus.label_values(variable["definition"]))
            return offered == sorted(expected[name])
        try:
            wait_until(whole, 60, "all are offered", step=0.2)
        except Exception as why:
            raise AssertionError(f"{name} offers {offered} and not {expected[name]}") from why


def a_choice_counts(prometheus):
    """Port a sends all the time, and c once. A machine that is busy may have scraped too seldom of late for a rate."""
    a, c = (prometheus.query(filled_in("8 * rate(vireo_port_rx_bytes_total{port=~\"$port\"}[$__rate_interval])", {"port": [name]})) for name in "ac")
    return len(a) == len(c) == 1 and a[0][1] > c[0][1]


def frames_stay_for_a_time(prometheus):
    late = prometheus.query(filled_in("histogram_quantile(0.5, sum by (le) (rate(vireo_port_latency_seconds_bucket[$__rate_interval])))", {}))
    return len(late) == 1 and 0 < late[0][1] < 60


def squares(panel):
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def misplaced(panels):
    taken, ids = {}, [panel["id"] for panel in panels]
    yield from (f"two panels are {one}" for one in set(ids) if ids.count(one) > 1)
    for panel in panels:
        if panel["gridPos"]["x"] + panel["gridPos"]["w"] > 24:
            yield f"{panel['id']}: wider than Grafana's 24 columns"
        yield from {f"{panel['id']}: lies over {taken[square]}" for square in squares(panel) & taken.keys()}
        taken.update(dict.fromkeys(squares(panel), panel["id"]))


def misspoken(panel):
    """What Grafana's own defaults would make wrong: it paints a number red from 80 on, and the window of a rate has to grow with the time that is shown."""
    refs = [target["refId"] for target in panel["targets"]]
    if len(refs) > len(set(refs)):
        yield "two queries have one refId"
    if any(of["datasource"] != {"type": "prometheus", "uid": "${DS}"} for of in (panel, *panel["targets"])):
        yield "does not ask the data source that was chosen"
    if any(window != "$__rate_interval" for target in panel["targets"] for window in re.findall(r"\[([^]]+)\]", target["expr"])):
        yield "a rate has a window of its own"
    if "unit" not in panel["fieldConfig"]["defaults"]:
        yield "has no unit"
    if panel["type"] == "stat" and "thresholds" not in panel["fieldConfig"]["defaults"]:
        yield "its colour is left to Grafana"


@case
def the_file_is_what_grafana_imports(_lab):
    with open(f"{ROOT}/packaging/grafana/vireo.json") as file:
        dashboard = json.load(file)
    drawn = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    kinds = {panel["type"] for panel in drawn}
    expect(kinds <= {"timeseries", "stat"}, f"kinds of panel that are not looked at: {kinds}")
    expect(36 <= dashboard["schemaVersion"] <= 42, f"schema {dashboard['schemaVersion']}")
    faults = [*misplaced(dashboard["panels"]), *(f"{panel['id']}: {fault}" for panel in drawn for fault in misspoken(panel))]
    expect(not faults, "\n".join(faults))


@contextlib.contextmanager
def watched(lab):
    """(dashboard, Prometheus, what each variable offers) of a switch and a disk that have something to do."""
    with open(f"{ROOT}/packaging/grafana/vireo.json") as file:
        dashboard = json.load(file)
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in "abc"], options=["--workers", "2"])
    blkd = Blkd(lab, ["d=mem:1M,latency=on,iops=100"], [f"vhost-user:{lab.path('e')},disk=d,name=e"])
    jobs = {"vireo-switchd": serve_or_skip(lab, switch.control).port,
            "vireo-blkd": serve_or_skip(lab, blkd.control, daemon="blkd", name="blkd.serve").port}
    prometheus = Prometheus(lab, jobs, f"{ROOT}/packaging/prometheus/vireo.rules.yml")
    with contextlib.ExitStack() as stack:
        fronts = [stack.enter_context(Front(lab.path(name))) for name in "abc"]
        traffic = Traffic(fronts, stack.enter_context(Requests(lab.path("e"), depth=1)))
        stack.callback(traffic.close)
        fronts[2].send(text_frame(2, None))  # it is known from now on
        yield dashboard, prometheus, {"instance": [f"127.0.0.1:{port}" for port in jobs.values()], "port": list("abc"), "export": ["e"]}
    end_well(switch)
    end_well(blkd)


@case
def each_panel_has_data_from_daemons_under_traffic(lab):
    with watched(lab) as (dashboard, prometheus, offered):
        expect(len(panels_of(dashboard)) >= 20, "the dashboard has fewer panels")
        choices(prometheus, dashboard, offered)
        everything = {variable["name"]: variable["allValue"] for variable in dashboard["templating"]["list"] if variable.get("includeAll")}
        no_faults(prometheus, dashboard, everything)
        no_faults(prometheus, dashboard, {**offered, "port": ["a", "c"]})
        wait_until(lambda: a_choice_counts(prometheus), 60, "what is chosen has its own rate", step=0.5)
        wait_until(lambda: frames_stay_for_a_time(prometheus), 60, "the time in the switch is there", step=0.5)
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        wait_until(lambda: all(rule["health"] == "ok" for group in prometheus.ask("rules")["groups"] for rule in group["rules"]), 30, "each rule is evaluated")
        expect(len(rules) >= 12, f"{len(rules)} rules")
        wait_until(lambda: len(prometheus.query("up == 1")) == len(offered["instance"]), 30, "each server answers")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@contextlib.contextmanager
def pages(folder):
    """The address of a server of what is in `folder`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TITLES = "[...document.querySelectorAll('section[data-testid^=\"data-testid Panel header\"] h2, section h2')].map(title => title.innerText)"
EMPTY = "[...document.querySelectorAll('section')].filter(panel => /No data/.test(panel.innerText)).map(panel => panel.innerText)"


def all_drawn(browser, dashboard):
    missing = {panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"} - set(browser.value(TITLES))
    return not missing and not browser.value(EMPTY) and browser.value("document.querySelectorAll('.u-wrap').length") >= 16


@case
def grafana_s_own_components_draw_each_panel(lab):
    if not DRAWN or not os.path.exists(os.path.join(DRAWN, "index.html")):
        raise Skip("needs packages of npm: make dashboard")
    with watched(lab) as (dashboard, prometheus, _), pages(DRAWN) as address:
        time.sleep(float(os.environ.get("VIREO_DRAWN_SECONDS", "45")))  # a while of rates
        for theme in "dark", "light":
            browser = Browser(lab, width=1400, height=2360)
            browser.go(f"{address}?prometheus={prometheus.url}&theme={theme}&from=now-1m")
            try:
                wait_until(lambda browser=browser: all_drawn(browser, dashboard), 60, "each panel is drawn", step=0.5)
            except Exception as why:
                raise AssertionError(f"drawn: {browser.value(TITLES)}\nempty: {browser.value(EMPTY)}\n" + "\n".join(browser.complaints())) from why
            finally:
                if SCREENS:
                    time.sleep(3)
                    os.makedirs(SCREENS, exist_ok=True)
                    browser.screenshot(os.path.join(SCREENS, f"dashboard-{theme}.png"), whole=False)
            lab.stop(browser.child)


if __name__ == "__main__":
    main()
