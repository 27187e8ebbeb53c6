#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The live page in a headless browser: `make page`. VIREO_SCREENS: a folder for what it looks like, light and dark."""
import contextlib
import os
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.browser import Browser, NoBrowser  # noqa: E402
from guest.cases import Skip, case, case_for, expect, main  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd  # noqa: E402
from guest.front import Front, text_frame  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.served import FakeDaemon, serve_or_skip  # noqa: E402
from guest.switch import Switch  # noqa: E402

SCREENS = os.environ.get("VIREO_SCREENS")
NAMES = ("web", "database", "mail", "build-7", "router")
EVIL = "<img src=x onerror=document.title='owned'>"


def browser_or_skip(lab, **more):
    """Who has asked for screens wants to know why there are none."""
    try:
        return Browser(lab, **more)
    except NoBrowser as why:
        if SCREENS:
            raise
        raise Skip(f"{why}: make page") from why


def text(browser, selector):
    return browser.value(f"(document.querySelector({selector!r}) || {{innerText: ''}}).innerText")


def shown(browser, selector, words, seconds=30):
    wait_until(lambda: all(word in text(browser, selector) for word in words), seconds, f"{selector} says {words}: {text(browser, selector)[:500]}", step=0.2)


def nothing_amiss(browser, served):
    complaints = [said for said in browser.complaints() if not ("status of 503" in said and said.endswith("/state.json"))]  # a loaded machine's daemon
    expect(not complaints, f"the browser complains: {complaints}")
    strangers = [url for url in browser.requests() if not url.startswith((served.url, "about:"))]
    expect(not strangers, f"it has asked others: {strangers}")


def keep(browser, name):
    if SCREENS:
        os.makedirs(SCREENS, exist_ok=True)
        browser.screenshot(os.path.join(SCREENS, name + ".png"))


class Talk:
    """Guests that send to one another until this is closed, each pair at a pace of its own."""
    PAIRS = ((0, 1, 8), (1, 0, 5), (2, 4, 3), (4, 2, 2), (0, 4, 4), (3, 4, 1))

    def __init__(self, fronts):
        self.fronts, self.ending = fronts, False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        with contextlib.suppress(TimeoutError):  # the switch has gone
            self._talk()

    def _talk(self):
        for i, front in enumerate(self.fronts):
            front.send(text_frame(i, None))
        while not self.ending:
            for source, target, count in self.PAIRS:
                for _ in range(count):
                    self.fronts[source].send(text_frame(source, target, bytes(80 * count)))
            self.fronts[3].send(text_frame(3, 3))  # to itself: dropped
            for front in self.fronts:
                front.poll()
            time.sleep(0.005)

    def close(self):
        self.ending = True
        self.thread.join()


@case_for({"light": (False,), "dark": (True,)}, "the_switch_s_page_is_alive_when_{}")
def the_page_is_alive(lab, dark):
    browser = browser_or_skip(lab, dark=dark)
    switch = Switch(lab, [f"vhost-user:{lab.path(name)},name={name}" for name in NAMES] + [f"vhost-user:{lab.path('i')},name=idle", "null:sink"],
                    options=["--workers", "2"])
    served = serve_or_skip(lab, switch.control)
    with contextlib.ExitStack() as stack:
        fronts = [stack.enter_context(Front(lab.path(name))) for name in NAMES]
        switch.ctl("port", "link", "sink", "down")
        stack.callback(Talk(fronts).close)
        browser.go(served.url)
        shown(browser, "#live", ["live"])
        shown(browser, "#ports tbody", [*NAMES, "idle", "sink", "link down", "/s"])
        shown(browser, "#drops", ["build-7", "behind the sender itself"])
        shown(browser, "#workers tbody", ["%"])
        wait_until(lambda: browser.value("document.querySelectorAll('#picture .node').length") == len(NAMES) + 2, 30, "a node for each port")
        wait_until(lambda: browser.value("document.querySelectorAll('#picture .flow').length") >= len(Talk.PAIRS), 30, "a line for each pair that talks")
        expect(browser.value("document.documentElement.scrollWidth <= window.innerWidth"), "it is wider than the window")
        if SCREENS:
            time.sleep(12)  # a while of rates
        keep(browser, "switch-dark" if dark else "switch")
        nothing_amiss(browser, served)
        switch.kill()
        shown(browser, "#live", ["does not answer"])
        switch.start()
        shown(browser, "#live", ["live"])
    end_well(switch)


@case
def a_disk_s_page_is_alive(lab):
    browser = browser_or_skip(lab)
    blkd = Blkd(lab, ["root=mem:64M,latency=on", "data=mem:1G"], [f"vhost-user:{lab.path('e')},disk=root,name=vm1", f"vhost-user:{lab.path('f')},disk=data,name=vm2"])
    served = serve_or_skip(lab, blkd.control, daemon="blkd")
    browser.go(served.url)
    shown(browser, "#disks tbody", ["root", "data", "64.0 MiB", "1.00 GiB"])
    shown(browser, "#exports tbody", ["vm1", "vm2", "listening"])
    expect(browser.value("document.querySelector('#ports').hidden && document.querySelector('#talk').hidden"), "it shows ports of a disk's daemon")
    keep(browser, "disks")
    nothing_amiss(browser, served)


@case
def names_are_text(lab):
    browser = browser_or_skip(lab)
    def answers(seconds, name):
        port = {"name": name, "type": EVIL, "state": EVIL, "link": "up", "rx_frames": 7, "tx_frames": 0, "counters": {EVIL: 8}}
        return {"stats": {"time_us": seconds * 1000000, "ports": [port], "fdb": {"entries": 0, "capacity": 1}, "workers": []},
                "version": {"daemon": EVIL, "version": EVIL}}
    daemon = FakeDaemon(lab.path("c"), answers(1, EVIL))
    served = serve_or_skip(lab, lab.path("c"))
    browser.go(served.url)
    shown(browser, "#ports tbody", [EVIL])
    expect(browser.value("document.querySelectorAll('main img').length") == 0, "a name has become an element")
    expect("owned'" in browser.value("document.title") and browser.value("document.title") != "owned", "a name has been obeyed")
    for seconds, name in ((2, "passing"), (3, "staying")):
        daemon.answers = answers(seconds, name)
        shown(browser, "#ports tbody", [name])
    kept = browser.value("[...history.keys()].filter(name => name.startsWith('port ')).join()")
    expect(kept == "port staying", f"rates are kept of ports that have gone: {kept}")
    nothing_amiss(browser, served)
    daemon.close()


if __name__ == "__main__":
    main()
