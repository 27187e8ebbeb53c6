# SPDX-License-Identifier: BSD-3-Clause
"""`vireoctl serve`, and who asks it."""
import dataclasses
import http.client
import json
import socket
import subprocess
import threading
import time

from .cases import Skip
from .front import listener
from .lab import wait_until
from .switch import program


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()


class Served:
    """The server before the daemon at `control`."""

    def __init__(self, lab, control, *options, listen="0", name="serve", daemon="switchd"):
        argv = [program("vireoctl"), "-s", control, "--daemon", daemon, "serve", f"--listen={listen}", *options]
        self.child = lab.start(argv, log=name + ".log", cwd=lab.folder)
        wait_until(lambda: self.said().endswith("\n"), 20, "the server says where it is", step=0.01, child=self.child)
        self.url = self.said().strip()
        self.path = self.url.removeprefix("unix:") if self.url.startswith("unix:") else None
        self.port = None if self.path else int(self.url.rstrip("/").rpartition(":")[2])

    def said(self):
        with open(self.child.log) as log:
            return log.read()

    def connect(self, seconds=20, unread_bytes=None):
        """`unread_bytes`: about so much the kernel takes for us."""
        connection = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        connection.settimeout(seconds)
        if unread_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread_bytes)
        connection.connect(self.path or ("127.0.0.1", self.port))
        return connection

    def ask(self, path="/", method="GET", headers=None, body=None, seconds=20):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        client.sock = self.connect(seconds)
        try:
            client.request(method, path, body, headers or {})
            answer = client.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            client.close()

    def raw(self, request, seconds=20):
        """What comes until the server closes."""
        answer = b""
        with self.connect(seconds) as connection:
            try:
                connection.sendall(request)
                while more := connection.recv(65536):
                    answer += more
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may close before it has read everything
        return answer

    def state(self):
        return json.loads(self.ask("/state.json").body)


def serve_or_skip(lab, control, *options, **more):
    done = subprocess.run([program("vireoctl"), "-s", lab.path("none"), "serve", "--listen=nowhere"], capture_output=True, text=True, timeout=20)
    if "no HTTP server" in done.stderr:
        raise Skip("this build has no HTTP server")
    return Served(lab, control, *options, **more)


class FakeDaemon:
    """Sits on a control socket and answers each call with answers[method], after delays[method] seconds; a method that is not there is not found,
    and without any it says nothing."""

    def __init__(self, path, answers, delays=None):
        self.answers, self.delays, self.calls, self.server = answers, delays or {}, 0, listener(path)
        self.server.settimeout(None)
        self.open = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection = self.server.accept()[0]
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        lines = connection.makefile("rb")
        try:
            for line in lines:
                call = json.loads(line)
                self.calls += call["method"] == "stats"
                said = {"error": {"code": -32601, "message": "no such method"}}
                if call["method"] in self.answers:
                    said = {"result": self.answers[call["method"]]}
                time.sleep(self.delays.get(call["method"], 0))
                if self.answers:
                    connection.sendall(json.dumps({"jsonrpc": "2.0", "id": call["id"], **said}).encode() + b"\n")
        except OSError:
            pass

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for connection in self.open:
            connection.close()
