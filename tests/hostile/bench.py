# SPDX-License-Identifier: BSD-3-Clause
"""Runs lies against a live vireo-switchd while an honest pair of ports exchanges frames.

After each lie: the daemon lives, the honest pair's frames keep arriving, and the daemon's fds, mappings and
threads are what they were before.

VIREO_HOSTILE=vduse: the hostile port is a VDUSE device, and its driver lies through /dev/vhost-vdpa-N; as root, on a kernel
with vduse and vhost_vdpa. What a front end could say about itself has no counterpart there: rings and frames are left.
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from peer import DATA, GPA, Peer, frame, net_header
from vdpa import VdpaPeer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIES = []


def lie(function):
    LIES.append(function)
    return function


class Failure(Exception):
    pass


class Skipped(Exception):
    """A lie that cannot be told here, and why."""


class Daemon:
    """vireo-switchd with a hostile port and an honest pair that vireo-bench keeps busy."""

    def __init__(self, build):
        self.folder = tempfile.mkdtemp(prefix='vireo-hostile-')
        self.hostile = os.path.join(self.folder, 'hostile.sock')
        self.honest = [os.path.join(self.folder, f'honest{i}.sock') for i in range(2)]
        self.shouting = os.path.join(self.folder, 'shout.sock')
        self.control = os.path.join(self.folder, 'control.sock')
        self.build = build
        self.vduse = os.environ.get('VIREO_HOSTILE') == 'vduse'
        hostile = 'vduse:hostile,attach=vhost,queue-size=256' if self.vduse else f'vhost-user:{self.hostile},queues=2'
        self.log = open(os.path.join(self.folder, 'log'), 'w+')
        self.process = subprocess.Popen(
            [f'{build}/apps/vireo-switchd/vireo-switchd', '--control', self.control,
             '--port', f'{hostile},name=hostile,mtu=9000',
             '--port', f'vhost-user:{self.shouting},name=shout',
             '--port', f'vhost-user:{self.honest[0]},name=honest0',
             '--port', f'vhost-user:{self.honest[1]},name=honest1'],
            stderr=self.log, env=dict(os.environ, ASAN_OPTIONS='detect_leaks=1'))
        paths = [*self.honest, self.control, '/dev/vhost-vdpa-0' if self.vduse else self.hostile]
        self.wait_for(lambda: all(map(os.path.exists, paths)), 10, 'vireo-switchd does not listen')
        self.bench = subprocess.Popen(
            [f'{build}/apps/vireo-bench/vireo-bench', 'net', '--from', self.honest[0], '--to', self.honest[1],
             '--rate', '1000', '--ring-size', '1024', '--seconds', '3600', '--verify', '--json'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.wait_for(lambda: self.honest_frames() > 50, 10, 'the honest pair passes no frames')
        self.shouter = Peer(self.shouting)
        self.shouter.ready()
        time.sleep(0.3)
        self.before = self.resources()

    def wait_for(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                raise Failure(f'vireo-switchd has ended with {self.process.returncode}:\n{self.tail()}')
            if time.monotonic() > end:
                raise Failure(f'{what}\n{self.tail()}')
            time.sleep(0.01)

    def connect(self):
        """A peer at the hostile port."""
        return VdpaPeer(self) if self.vduse else Peer(self.hostile)

    def breaks(self):
        """How often the log says that the hostile port's device is broken."""
        with open(self.log.name, errors='replace') as file:
            return file.read().count('hostile: broken: ')

    def tail(self):
        self.log.flush()
        with open(self.log.name, errors='replace') as file:
            return ''.join(file.readlines()[-40:])

    def ctl(self, *words):
        return json.loads(subprocess.run(
            [f'{self.build}/apps/vireoctl/vireoctl', '-s', self.control, '--json', *words],
            check=True, capture_output=True, text=True, timeout=10).stdout)

    def port(self, name):
        return next(port for port in self.ctl('stats')['ports'] if port['name'] == name)

    def honest_frames(self):
        return self.port('honest1')['tx_frames']

    def resources(self):
        """(fds, guest mappings) that the daemon holds."""
        pid = self.process.pid
        fds = len(os.listdir(f'/proc/{pid}/fd'))
        with open(f'/proc/{pid}/maps') as maps:
            shared = sum(1 for line in maps if re.search(r'memfd:lies|\(deleted\)', line) and 'rw-s' in line)
        return fds, shared

    def check_honest(self):
        """The honest pair goes on exchanging frames, right now."""
        frames = self.honest_frames()
        self.wait_for(lambda: self.honest_frames() > frames, 3, 'the honest port has come to a halt')

    def broadcast(self, count=8):
        """Lets `count` broadcasts arrive at the hostile port."""
        ring = self.shouter.rings[1]
        self.shouter.write(DATA, net_header() + frame(b'hear me', source=b'\x02shout'))
        before = self.port('shout')['rx_frames']
        for i in range(count):
            ring.chain([(GPA + DATA, 72, 0)], start=i)
        self.wait_for(lambda: self.port('shout')['rx_frames'] >= before + count, 3, 'the broadcasts were not taken')

    def check(self):
        """What holds after every lie."""
        self.check_honest()
        self.wait_for(lambda: self.resources() == self.before, 3,
                      f'not given back: (fds, mappings) were {self.before}, now {self.resources()}')

    def finish(self):
        """Ends everything; the honest pair's account must be without a loss."""
        try:
            self.shouter.close()
            self.bench.send_signal(signal.SIGINT)  # it reports what it saw so far
            out, err = self.bench.communicate(timeout=20)
            if self.bench.returncode:
                raise Failure(f'the honest pair: vireo-bench exit {self.bench.returncode}: {err}\n{self.tail()}')
            report = json.loads(out)
            if report['lost'] or report['corrupted'] or not report['received']['frames']:
                raise Failure(f'the honest pair was disturbed: {out}')
            self.process.send_signal(signal.SIGTERM)
            if self.process.wait(10):
                raise Failure(f'vireo-switchd: exit {self.process.returncode}\n{self.tail()}')
            return report
        finally:
            self.kill()

    def kill(self):
        for process in (self.bench, self.process):
            if process.poll() is None:
                process.kill()
                process.wait()
        subprocess.run(['rm', '-rf', self.folder], check=False)


def run(build, wanted):
    passed, skipped, failed = 0, 0, []
    daemon = Daemon(build)
    start = time.monotonic()
    try:
        for function in LIES:
            if wanted and not any(word in function.__name__ for word in wanted):
                continue
            try:
                function(daemon)
                daemon.check()
                passed += 1
                print(f'ok   {function.__name__}', flush=True)
            except Skipped as why:
                skipped += 1
                print(f'skip {function.__name__}: {why}', flush=True)
            except Exception as error:  # a lie that goes through, in whatever way, fails the case
                failed.append(function.__name__)
                print(f'FAIL {function.__name__}: {error!r}', flush=True)
                traceback.print_exc()
                print(daemon.tail(), flush=True)
                if daemon.process.poll() is not None:
                    daemon.kill()
                    daemon = Daemon(build)
        report = daemon.finish()
        passed += 1
        print(f"ok   honest_pair_undisturbed ({report['received']['frames']} frames in "
              f'{time.monotonic() - start:.1f} s, none lost)')
    except Failure as error:
        failed.append('honest_pair_undisturbed')
        print(f'FAIL honest_pair_undisturbed: {error}')
    finally:
        daemon.kill()
    print(f'{passed} passed, {len(failed)} failed' + (f', {skipped} skipped' if skipped else ''))
    return 1 if failed else 0


def main():
    import lies_messages  # noqa: F401  (registers its lies)
    if os.environ.get('VIREO_HOSTILE') == 'vduse':
        LIES.clear()  # they are vhost-user's own
    else:
        import lies_memory  # noqa: F401
        import lies_time  # noqa: F401
    import lies_rings  # noqa: F401
    import lies_frames  # noqa: F401
    sys.exit(run(os.environ.get('VIREO_BUILD', os.path.join(ROOT, 'build')), sys.argv[1:]))
