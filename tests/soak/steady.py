# SPDX-License-Identifier: BSD-3-Clause
"""The daemons of a soak that live all through it: tests/hostile's switch with its hostile port, a vireo-blkd and a vireo-scsid; honest pairs that
must lose nothing, and ports where others come and go.

Those have a VLAN of their own: what they flood is not what a lie counts.
"""
import contextlib
import json
import os
import socket
import threading

import bench  # of tests/hostile
from peer import patience

from tally import Holds, given_back

FILES = 4  # ports that the file of settings may name
PAIRS = {"honest": "split rings, one queue", "pair": "packed rings, two queues"}
VISITORS = "vlan=7"


class Control:
    """A connection to a control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(patience(30))
        self.socket.connect(path)
        self.lines = self.socket.makefile("rw")

    def call(self, method, **params):
        self.lines.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}) + "\n")
        self.lines.flush()
        answer = json.loads(self.lines.readline() or '{"error": "the connection has ended"}')
        if "error" in answer:
            raise bench.Failure(f"{method} {params}: {answer['error']}")
        return answer["result"]

    def close(self):
        self.lines.close()
        self.socket.close()


class Steady(bench.Daemon):
    def __init__(self, build, transport, rate, seconds):
        self.pairs, self.base, self.asked = {}, {}, None
        self.settings = threading.RLock()  # of whoever needs ports to keep the settings that they have (maybe of several, one in the other): a reload gives back those that are written
        super().__init__(build, transport, ["--rate", str(rate)], seconds=seconds)
        try:
            self._add_ports(rate)
        except BaseException:
            self.kill()
            raise

    def _start(self, load):
        self.more = ["--workers", "2", "--config", self.written(range(FILES))]
        super()._start(load)

    def path_of(self, name):
        return os.path.join(self.folder, name)

    def control_of_its_own(self):
        return Control(self.control_path)

    @contextlib.contextmanager
    def port_set(self, name, **settings):
        """Nobody reloads meanwhile."""
        with self.settings, super().port_set(name, **settings):
            yield

    def written(self, numbers):
        """The file of settings, with these of its ports."""
        path = self.path_of("switchd.conf")
        with open(path, "w") as conf:
            conf.writelines(f"port vhost-user:{self.path_of(f'file{n}')},name=file{n},{VISITORS}\n" for n in numbers)
        return path

    def _add_ports(self, rate):
        self.pairs["honest"] = self.bench
        self.asked = Control(self.control_path)
        paths = [self.path_of(f"pair{i}") for i in range(2)]
        for i, path in enumerate(paths):
            self.asked.call("port.add", spec=f"vhost-user:{path},name=pair{i},queues=2")
        for name in ("crowd", "silent"):
            self.asked.call("port.add", spec=f"vhost-user:{self.path_of(name)},name={name},{VISITORS}")
        self.pairs["pair"] = self.exchange(*paths, "--rate", str(rate), "--ring", "packed", "--queues", "2", "--ring-size", "1024", "--size", "imix")
        self.wait_for(lambda: self.port("pair1")["tx_frames"] > 50, 20, "the second honest pair passes no frames")
        self.disks()
        self.hosts()

    def daemons(self):
        return {"vireo-switchd": self.process.pid, "vireo-blkd": self.blkd.process.pid, "vireo-scsid": self.scsid.process.pid}

    def resources(self):
        """Others come and go meanwhile: what a lie leaves behind shows when all is quiet."""
        return 0, 0

    def check(self):
        """What holds after each lie: all daemons live, and the honest go on."""
        for others in (self.blkd, self.scsid):
            others.check()
        self.check_honest()
        for name, exchange in self.pairs.items():
            if exchange.poll() is not None:
                raise bench.Failure(f"{name}: vireo-bench has ended with {exchange.returncode}: {exchange.stderr.read()}")

    # ---- what must come out ----

    def frames(self):
        """Delivered to the honest pairs' receivers so far, and lost there for want of a buffer."""
        ports = {port["name"]: port for port in self.asked.call("stats")["ports"]}
        receivers = [ports[f"{name}1"] for name in self.pairs]
        return sum(port["tx_frames"] for port in receivers), sum(map(no_buffer, receivers))

    def look(self):
        """Takes what the daemons hold now for what they may hold. All visitors have gone."""
        self.base = self.now()

    def now(self):
        return {name: Holds(pid) for name, pid in self.daemons().items()}

    def logs(self):
        return [self.path_of(name) for name in ("log", "blkd.log", "scsid.log")]

    def leaks(self, slack):
        return [f"{name}: {more}" for name, pid in self.daemons().items() for more in given_back(pid, self.base[name], slack, patience(20))]

    def account(self, name):
        """Ends an honest pair. Returns (frames received, lost, dropped at a full ring, what else was wrong)."""
        report = self.report_of(self.pairs[name])
        got, missing = report["received"]["frames"], report["lost"]
        dropped = min(missing, no_buffer(self.port(f"{name}1")))
        wrong = [f"{name}: {report[what]} {what}" for what in ("corrupted", "duplicated", "reordered", "bad_headers", "unfinished") if report[what]]
        return got, missing - dropped, dropped, wrong if got else [f"{name}: no frames at all", *wrong]

    def finish(self):
        """They end when asked to, with nothing to complain about; those with a sanitizer look for leaks then."""
        self.asked.close()
        for others in (self.blkd, self.scsid):
            others.finish()
        self.shouter.close()
        self.end()

    def kill(self):
        for exchange in self.pairs.values():
            if exchange.poll() is None:
                exchange.kill()
                exchange.wait()
        super().kill()


def no_buffer(port):
    """Frames that found a receiver's ring empty."""
    return sum(queue["no_buffer"] for queue in port["queue_counters"] if queue["direction"] == "tx")
