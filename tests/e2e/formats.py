#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each recipe of docs/formats.md, as it stands there: a driver reads what the image has, and what it has written."""
import contextlib
import http.server
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from guest.cases import case, case_for, expect, main, need_program  # noqa: E402
from guest.daemon import end_well  # noqa: E402
from guest.disks import Blkd  # noqa: E402
from guest.lab import wait_until  # noqa: E402
from guest.sectors import Sectors  # noqa: E402

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "docs", "formats.md")
MIB, READ, AT = 8, 32768, 2048  # bytes of a read, and the sector where something is written
TITLES = {"qcow2": "A qcow2 image", "luks": "Encrypted", "compressed": "Compressed", "snapshot": "A snapshot", "http": "From a web server"}
NEW, READ_ONLY, FORGETS = {"luks"}, {"compressed", "http"}, {"snapshot"}  # NEW: it reads as anything


def recipe(title):
    """(what a shell does, what vireo-blkd is told)"""
    with open(PAGE) as page:
        chapters = page.read().split("\n## ")
    chapter = [text for text in chapters if text.startswith(title)]
    expect(len(chapter) == 1, f"{len(chapter)} chapters begin with {title}")
    block = re.search(r"```sh\n(.*?)```", chapter[0], re.DOTALL).group(1)
    server, daemon = block.rsplit("vireo-blkd", 1)
    return server, daemon


class Image(http.server.BaseHTTPRequestHandler):
    """base.raw, by ranges."""
    data = b""

    def answer(self, body):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = map(int, asked.groups()) if asked else (0, len(self.data) - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.data)}")
        self.end_headers()
        if body:
            self.wfile.write(self.data[first:last + 1])

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def log_message(self, *_):
        pass


def needed(server):
    for name in ("qemu-img", "qemu-nbd", "nbdkit", "xz"):
        if re.search(rf"(^|\n){name}\b", server):
            need_program(name)


class Recipe:
    """Its server, and a daemon with a driver in front."""

    def __init__(self, lab, name, url=""):
        self.server, daemon = recipe(TITLES[name])
        needed(self.server)
        self.lab, self.base = lab, os.urandom(1 << 20) + bytes((MIB - 1) << 20)
        for file, data in (("base.raw", self.base), ("key", b"a key that only this test knows")):
            with open(lab.path(file), "wb") as out:
                out.write(data)
        Image.data = self.base
        self.environment = {**os.environ, "PWD": lab.folder, "URL": url}
        self.shell(self.server)
        words = shlex.split(daemon.replace("$PWD", lab.folder))
        expect(words[0] == "--disk" and words[2] == "--export", f"not a disk and an export: {words}")
        self.blkd = Blkd(lab, [words[1]], [words[3]])
        self.driver = Sectors(lab.path("export.sock"))

    def shell(self, text):
        """Once more where qemu-img could not measure: it asks how long its thread has run, and a clock of ticks says 0 on a busy machine."""
        end = time.monotonic() + 120
        while True:
            done = subprocess.run(["sh", "-e", "-c", text], cwd=self.lab.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
            if b"Unable to get accurate CPU usage" not in done.stdout or time.monotonic() > end:
                break
        expect(done.returncode == 0, f"exit {done.returncode}, {done.stdout.decode(errors='replace').strip()}: of {text}")

    def number(self):
        """What the file says as soon as its line is whole: it is there before."""
        with contextlib.suppress(FileNotFoundError), open(self.lab.path("server.pid")) as file:
            found = re.match(r"\d+\n", file.read())
            return found and found.group()
        return None

    def kill_server(self, number=signal.SIGKILL):
        pid = int(wait_until(self.number, 20, "the server says its number"))
        os.kill(pid, number)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}") or " Z" in state(pid), 20, "the server ends")
        for name in os.listdir(self.lab.folder):
            if name == "server.pid" or (name.startswith("vm") and name.endswith(".sock")):
                os.unlink(self.lab.path(name))

    def start_server(self):
        """The last command, without what makes the image."""
        lines = self.server.replace("\\\n", " ").strip().split("\n")
        self.shell(lines[-1])

    def end(self):
        self.driver.close()
        end_well(self.blkd)
        self.kill_server(signal.SIGTERM)


def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1]
    except OSError:
        return " Z"


def url_of(name):
    """A web server of our own, where that is what the recipe needs."""
    if name != "http":
        return None, ""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Image)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/base.raw"


@case_for({name: (name,) for name in TITLES}, "recipe_{}", shows=["vhost-user"])
def recipe_is_read_and_written(lab, name):
    server, url = url_of(name)
    made = Recipe(lab, name, url)
    child = made.blkd.child
    first = made.driver.read(0, READ, child)
    expect(first and (name in NEW or first == made.base[:READ]), "what is read is not what the image has")
    data = os.urandom(READ)
    if name in READ_ONLY:
        expect(made.driver.write(AT, data, child) != 0, "a write to a read-only image was done")
    else:
        expect(made.driver.write(AT, data, child) == 0 and made.driver.flush(child) == 0, "it was not written")
        expect(made.driver.read(AT, READ, child) == data, "what was written is not read")
    made.kill_server()
    made.start_server()
    again = made.driver.read(AT, READ, child)
    at = AT * 512
    kept = made.base[at:at + READ] if name in READ_ONLY | FORGETS else data
    expect(again == kept, "another server has something else")
    made.end()
    with open(lab.path("base.raw"), "rb") as base:
        expect(base.read() == made.base, "base.raw was changed")
    if server:
        server.shutdown()


@case
def each_recipe_is_run(lab):
    with open(PAGE) as page:
        chapters = page.read().split("\n## ")[1:]
    untested = [text.split("\n")[0] for text in chapters if not any(text.startswith(title) for title in TITLES.values())]
    expect(not untested, f"no test runs {untested}")


if __name__ == "__main__":
    main()
