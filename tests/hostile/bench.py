# SPDX-License-Identifier: BSD-3-Clause
"""Runs lies against a live vireo-switchd while an honest pair of ports exchanges frames; those to a disk, against a vireo-blkd (disks.py), and those to a
SCSI host against a vireo-scsid (hosts.py).

After each lie: the daemon lives, the honest pair's frames keep arriving, and the daemon's fds, mappings and
threads are what they were before.

The lies are the same over each transport; what a transport has no words for is skipped, and says why. VDUSE and CUSE need
their kernel modules, and root.
"""
import argparse
import contextlib
import functools
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

from cuse import CusePeer
from disks import Disks
from hosts import Hosts
from peer import DATA, GPA, be_patient, few, frame, net_header, patience, pause
from vdpa import VdpaPeer, recent_lines
from vhost_user import VhostUserPeer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TRANSPORTS = {peer.NAME: peer for peer in (VhostUserPeer, VdpaPeer, CusePeer)}
FILES = ['lies_messages', 'lies_fds', 'lies_tables', 'lies_ioctls', 'lies_inflight', 'lies_log', 'lies_iotlb', 'lies_inband', 'lies_setup', 'lies_memory',
         'lies_control', 'lies_state', 'lies_postcopy', 'lies_time', 'lies_rings', 'lies_frames', 'lies_blk', 'lies_zones',
         'lies_scsi']
UNAVAILABLE = 77
BENCH_S = 3600  # longer than all lies take
NO_CONTROL_QUEUE = 'the kernel gives a VDUSE device none, and a vhost device has none: its front end has it'
LIES = []


def lie(function):
    LIES.append(function)
    return function


class Failure(Exception):
    pass


class Skipped(Exception):
    """A lie that cannot be told here, and why."""


def only_over(*transports, because):
    """For lies that the other transports have no words for."""
    def mark(function):
        @functools.wraps(function)
        def told(daemon):
            if daemon.transport.NAME not in transports:
                raise Skipped(because)
            function(daemon)
        return told
    return mark


class Daemon:
    """vireo-switchd with a hostile port and an honest pair that vireo-bench keeps busy. `load`: how, in vireo-bench's words; `more`: words of
    the daemon's command line; it ends within `seconds`."""

    def __init__(self, build, transport, load, more=(), seconds=BENCH_S):
        self.more, self.seconds = more, seconds
        self.folder = tempfile.mkdtemp(prefix='vireo-hostile-')
        self.transport, self.build, self.process, self.bench, self.blkd, self.scsid = transport, build, None, None, None, None
        try:
            self._start(load)
        except BaseException:
            self.kill()
            raise

    def _start(self, load):
        build, transport = self.build, self.transport
        self.honest = [os.path.join(self.folder, f'honest{i}.sock') for i in range(2)]
        self.shouting = os.path.join(self.folder, 'shout.sock')
        self.control_path = os.path.join(self.folder, 'control.sock')
        self.log = open(os.path.join(self.folder, 'log'), 'w+')
        self.process = subprocess.Popen(
            [f'{build}/apps/vireo-switchd/vireo-switchd', '--control', self.control_path,
             '--log-level', transport.LOG_LEVEL,
             '--fdb-age', str(self.seconds),  # one of the honest pair only listens: it is heard of at the beginning
             '--fdb-entries', str(few(65536)),  # all of them are listed, which takes an emulated machine 7 s
             '--port', f'{transport.spec(self.folder)},name=hostile,mtu=9000',
             '--port', f'vhost-user:{self.shouting},name=shout,mac=02:73:68:6f:75:74',  # b'\x02shout'
             '--port', f'vhost-user:{self.honest[0]},name=honest0',
             '--port', f'vhost-user:{self.honest[1]},name=honest1', *self.more],
            stderr=self.log, env=dict(os.environ, ASAN_OPTIONS='detect_leaks=1'))
        sockets = [*self.honest, self.control_path]
        self.wait_for(lambda: all(map(os.path.exists, [*sockets, transport.path(self.folder)])), 20,
                      'vireo-switchd does not listen')
        self.control = self._connect_control()
        self.bench = self.exchange(*self.honest, '--ring-size', '1024', *load)
        self.wait_for(lambda: self.honest_frames() > 50, 20, 'the honest pair passes no frames')
        self.shouter = VhostUserPeer(self.shouting)
        self.shouter.ready()
        pause(0.3)
        self.before = self.resources()

    def exchange(self, sender, receiver, *load):
        """A vireo-bench between two sockets, until report_of() ends it."""
        return subprocess.Popen(
            [f'{self.build}/apps/vireo-bench/vireo-bench', 'net', '--from', sender, '--to', receiver, '--seconds', str(self.seconds), '--verify',
             '--json', '--wait', 'event', '--timeout', str(int(patience(10))), *load],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def report_of(self, exchange):
        """What it has seen so far, with which it ends."""
        exchange.send_signal(signal.SIGINT)
        out, err = exchange.communicate(timeout=patience(20))
        if exchange.returncode:
            raise Failure(f'an honest pair: vireo-bench exit {exchange.returncode}: {out}{err}\n{self.tail()}')
        return json.loads(out)

    def wait_for(self, condition, seconds, what):
        end = time.monotonic() + patience(seconds)
        while not condition():
            if self.process.poll() is not None:
                raise Failure(f'vireo-switchd has ended with {self.process.returncode}:\n{self.tail()}')
            if time.monotonic() > end:
                raise Failure(f'{what}\n{self.tail()}')
            time.sleep(0.01)

    def connect(self):
        """A peer at the hostile port."""
        return self.transport.at(self)

    def disks(self):
        """A vireo-blkd, for lies to a disk; from the first of them on."""
        if not self.blkd or not self.blkd.alive():
            self.blkd = Disks(self.build, self.folder, self.transport)
        return self.blkd

    def hosts(self):
        """A vireo-scsid, for lies to a SCSI host; from the first of them on."""
        if not self.scsid or not self.scsid.alive():
            self.scsid = Hosts(self.build, self.folder, self.transport)
        return self.scsid

    def text(self):
        """Of the log."""
        with open(self.log.name, errors='replace') as file:
            return file.read()

    def breaks(self):
        """How often the log says that the hostile port's device is broken, or one of its queues halted. It leaves lines out where there are many."""
        return len(re.findall('hostile(?:: pair 0)?: (?:broken: |queue \\d+ stands still)', self.text()))

    def recent_lines(self, seconds):
        """How many lines the log has had in the last so many seconds."""
        return recent_lines(self.text(), seconds)

    def ended(self):
        """Has the daemon? A sanitizer takes its time to say why."""
        try:
            self.process.wait(patience(2))
        except subprocess.TimeoutExpired:
            return False
        return True

    def tail(self):
        return '\n'.join(self.text().splitlines()[-120:])

    def _connect_control(self):
        control = socket.socket(socket.AF_UNIX)
        control.settimeout(patience(10))
        control.connect(self.control_path)
        return control.makefile('rw')

    def ctl(self, method, **params):
        """What the daemon answers to a method of docs/control-protocol.md."""
        self.control.write(json.dumps({'jsonrpc': '2.0', 'method': method, 'params': params, 'id': 1}) + '\n')
        self.control.flush()
        return json.loads(self.control.readline())['result']

    @contextlib.contextmanager
    def port_set(self, name, **settings):
        """Settings that a port has meanwhile: key_with_underscores='value'."""
        keys = [key.replace('_', '-') for key in settings]
        self.ctl('port.set', name=name, settings=','.join(f'{key}={value}' for key, value in zip(keys, settings.values())))
        try:
            yield
        finally:
            self.ctl('port.set', name=name, settings=','.join(f'{key}=' for key in keys))

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
        self.shout(b'\xff' * 6, count)

    def shout(self, destination, count):
        """So many frames from the shouter."""
        ring = self.shouter.rings[1]
        self.shouter.write(DATA, net_header() + frame(b'hear me', source=b'\x02shout', destination=destination))
        before = self.port('shout')['rx_frames']
        for i in range(count):
            ring.chain([(GPA + DATA, 72, 0)], start=i)
        self.wait_for(lambda: self.port('shout')['rx_frames'] >= before + count, 20, 'the broadcasts were not taken')

    def check(self):
        """What holds after every lie."""
        self.check_honest()
        try:
            self.wait_for(lambda: self.resources() == self.before, 20, 'not given back')
        except Failure as error:
            raise Failure(f'(fds, mappings) were {self.before}, now {self.resources()}: {error}') from error

    def finish(self):
        """Ends everything; the honest pair's account must be without a loss."""
        try:
            for others in filter(None, (self.blkd, self.scsid)):
                others.finish()
            self.shouter.close()
            report = self.report_of(self.bench)
            if report['lost'] or report['corrupted'] or not report['received']['frames']:
                raise Failure(f'the honest pair was disturbed: {report}')
            self.end()
            return report
        finally:
            self.kill()

    def end(self):
        """The daemon ends when asked to. A sanitizer says then what was never given back."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(patience(10)):
            raise Failure(f'vireo-switchd: exit {self.process.returncode}\n{self.tail()}')

    def kill(self):
        for process in (self.bench, self.process):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        for others in filter(None, (self.blkd, self.scsid)):
            others.kill()
        subprocess.run(['rm', '-rf', self.folder], check=False)


def wait_for_more(daemon, port, counters, before, count):
    """Until they are so much more, together. A frame that is counted as received may not have arrived yet where it goes to."""
    def more():
        now = daemon.port(port)['counters']
        return sum(now[key] - before[key] for key in counters) >= count
    daemon.wait_for(more, 20, f'{" + ".join(counters)} of {port} are not {count} more than {before}')


def run(make_daemon, wanted, unspoken):
    passed, skipped, failed = 0, 0, []
    for name, why in unspoken:
        skipped += 1
        print(f'skip {name}: {why}', flush=True)
    daemon = None
    start = time.monotonic()
    try:
        daemon = make_daemon()
        for function in LIES:
            if wanted and not any(word in function.__name__ for word in wanted):
                continue
            begin = time.monotonic()
            try:
                function(daemon)
                daemon.check()
                passed += 1
                print(f'ok   {function.__name__} ({time.monotonic() - begin:.1f} s)', flush=True)
            except Skipped as why:
                skipped += 1
                print(f'skip {function.__name__}: {why}', flush=True)
            except Exception as error:  # a lie that goes through, in whatever way, fails the case
                failed.append(function.__name__)
                print(f'FAIL {function.__name__}: {error!r}', flush=True)
                traceback.print_exc()
                ended = daemon.ended()
                print(daemon.tail(), flush=True)
                if ended:
                    print(f'FAIL {function.__name__}: vireo-switchd has ended with {daemon.process.returncode}', flush=True)
                    daemon.kill()
                    daemon = make_daemon()
        report = daemon.finish()
        passed += 1
        print(f"ok   honest_pair_undisturbed ({report['received']['frames']} frames in "
              f'{time.monotonic() - start:.1f} s, none lost)')
    except Exception as error:  # of a daemon that does not start, too
        name = 'honest_pair_undisturbed' if daemon else 'daemon_starts'
        failed.append(name)
        print(f'FAIL {name}: {error}')
    finally:
        if daemon:
            daemon.kill()
    print(f'{passed} passed, {len(failed)} failed' + (f', {skipped} skipped' if skipped else ''))
    return 1 if failed else 0


def load(transport):
    """Imports the files of lies; returns those (name, why) that this transport has no words for. A file may say which have,
    with ONLY_OVER = (transports, why)."""
    unspoken = []
    for name in FILES:
        transports, why = getattr(importlib.import_module(name), 'ONLY_OVER', (TRANSPORTS, ''))
        if transport.NAME not in transports:
            lies = [function for function in LIES if function.__module__ == name]
            unspoken.append((f'{name} ({len(lies)} lies)', why))
            LIES[:] = [function for function in LIES if function not in lies]
    return unspoken


def arguments():
    parser = argparse.ArgumentParser(prog='run', description='Tells every lie to a vireo-switchd from $VIREO_BUILD.')
    parser.add_argument('--transport', choices=TRANSPORTS, default=VhostUserPeer.NAME, help='of the hostile port (vhost-user)')
    parser.add_argument('--slow', type=float, default=1, metavar='FACTOR',
                        help='this machine is slower by that much (an emulated one): longer waits, fewer repetitions')
    parser.add_argument('name', nargs='*', metavar='NAME', help='only the lies whose name holds one of them')
    return parser.parse_args()


def main():
    options = arguments()
    transport = TRANSPORTS[options.transport]
    if transport.NEEDS and not os.path.exists(transport.NEEDS[0]):
        print(f'skip {transport.NAME}: there is no {transport.NEEDS[0]} here: {transport.NEEDS[1]}')
        sys.exit(UNAVAILABLE)
    be_patient(options.slow)
    build = os.environ.get('VIREO_BUILD', os.path.join(ROOT, 'build'))
    unspoken = load(transport)
    sys.exit(run(lambda: Daemon(build, transport, ['--rate', str(int(1000 / options.slow))]), options.name, [] if options.name else unspoken))
