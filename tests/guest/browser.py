# SPDX-License-Identifier: BSD-3-Clause
"""A headless Chromium, spoken to by its DevTools protocol over two pipes: fds 3 and 4 of its, a NUL after each message."""
import base64
import json
import os
import select
import shutil
import time

from .lab import tail

PROGRAMS = "chromium-headless-shell", "chromium"


class BrowserError(Exception):
    pass


class NoBrowser(BrowserError):
    """None is installed, or it does not come up here: a stub, libraries that are missing, too little shared memory."""


class Browser:
    def __init__(self, lab, width=1280, height=900, dark=False):
        found = next((path for path in map(shutil.which, PROGRAMS) if path), None)
        if not found:
            raise NoBrowser(f"no browser is installed: {' or '.join(PROGRAMS)}")
        ours, theirs = os.pipe(), os.pipe()  # what it reads, what it writes

        argv = [found, "--headless", "--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={lab.path('browser')}", f"--window-size={width},{height}",
                "--hide-scrollbars", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking", "about:blank"]
        shell = f'exec 3<&{ours[0]} 4>&{theirs[1]}; exec "$0" "$@"'
        self.child = lab.start(["bash", "-c", shell, *argv], log="browser.log", pass_fds=(ours[0], theirs[1]))
        os.close(ours[0])
        os.close(theirs[1])
        self.to, self.of, self.left, self.number, self.events = ours[1], theirs[0], b"", 0, []
        self.session = self._attach()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    session = None

    def _attach(self):
        try:
            target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
            return self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        except (BrowserError, OSError, StopIteration) as why:
            raise NoBrowser(f"the browser does not come up: {why}".splitlines()[0]) from why

    def _message(self, end):
        while b"\0" not in self.left:
            if not select.select([self.of], [], [], max(0, end - time.monotonic()))[0]:
                raise BrowserError("the browser does not answer")
            more = os.read(self.of, 1 << 20)
            if not more:
                raise BrowserError(f"the browser has ended: {tail(self.child.log)}")
            self.left += more
        message, self.left = self.left.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, seconds=60, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + seconds
        while True:
            answer = self._message(end)
            if answer.get("id") != self.number:
                self.events.append(answer)
                continue
            if "error" in answer:
                raise BrowserError(f"{method}: {answer['error']}")
            return answer["result"]

    def go(self, url):
        self.call("Page.navigate", url=url)

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def complaints(self):
        """What it has said of the page: exceptions, violations of its policy, requests that failed."""
        self.value("1")
        found = [e["params"]["exceptionDetails"] for e in self.events if e["method"] == "Runtime.exceptionThrown"]
        entries = [e["params"]["entry"] for e in self.events if e["method"] == "Log.entryAdded"]
        return [str(one) for one in found] + [f"{entry['text']} {entry.get('url', '')}" for entry in entries]

    def requests(self):
        """The addresses that it has asked for."""
        return {e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"}

    def screenshot(self, path, whole=True):
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))
