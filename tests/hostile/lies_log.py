# SPDX-License-Identifier: BSD-3-Clause
"""Lies about the dirty log: where it is, how long it is, and for how long (vhost-user: Migration)."""
import os
import struct

from bench import lie, only_over
from peer import *
from vhost_user import *

ONLY = only_over('vhost-user', because='a dirty log is taken over vhost-user alone')
BYTES = (GPA + MEMORY_BYTES) // 4096 // 8 + 1
PAGES = BYTES * 8


def log_file(peer, size=BYTES):
    fd = peer.keep(os.memfd_create('log'))
    os.ftruncate(fd, size)
    return fd


def set_log(peer, fd, size=BYTES, offset=0):
    peer.send(SET_LOG_BASE, struct.pack('=QQ', size, offset), [fd])


def features(peer, log):
    return struct.pack('=Q', peer.features | (F_LOG_ALL if log else 0))


def ring_log(peer, ring, gpa, flags=1):
    """0: it is logged there."""
    return peer.ack(SET_VRING_ADDR, vring_addr(ring.index, UADDR + ring.desc, UADDR + ring.device, UADDR + ring.driver, flags, gpa))


def logged(peer, packed=False):
    """A session whose rings run and are logged: (receive, transmit, the log's fd)."""
    rings = peer.ready(packed=packed)
    fd = log_file(peer)
    set_log(peer, fd)
    assert peer.receive()[0] == SET_LOG_BASE
    assert not peer.ack(SET_FEATURES, features(peer, True)), 'LOG_ALL was refused'
    for ring in rings:
        assert not ring_log(peer, ring, GPA + ring.device), 'where a ring is logged was refused'
    return (*rings, fd)


def send_frame(peer, transmit, number):
    data = net_header() + frame(b'logged')
    peer.write(DATA, data)
    transmit.chain([(GPA + DATA, len(data), 0)], number)
    transmit.ring_kick()


@lie
@ONLY
def log_that_is_none(daemon):
    for size, offset in ((0, 0), (BYTES + 1, 0), (BYTES, 1), (2**64 - 1, 0), (2**64 - 4096, 4096), (BYTES, 2**64 - 4096), (BYTES - 2, 0)):
        with daemon.connect() as peer:
            peer.ready()
            set_log(peer, log_file(peer), size, offset)
            assert peer.hung_up(), f'a log of {size} bytes from {offset} on was taken'
    for name in ('/dev/null', '/dev/zero', '/proc/self/status', '/'):
        with daemon.connect() as peer:
            peer.ready()
            set_log(peer, peer.keep(os.open(name, os.O_RDONLY)))
            assert peer.hung_up(), f'{name} was taken for a log'
    with daemon.connect() as peer:
        peer.ready()
        set_log(peer, peer.eventfd())
        assert peer.hung_up(), 'an eventfd was taken for a log'
    with daemon.connect() as peer:
        peer.ready()
        peer.send(SET_LOG_BASE, struct.pack('=QQ', BYTES, 0))
        assert peer.hung_up(), 'a log without a file was taken'


@lie
@ONLY
def log_that_is_cut_short_under_running_rings(daemon):
    for packed in (False, True):
        with daemon.connect() as peer:
            _, transmit, fd = logged(peer, packed)
            os.ftruncate(fd, 0)
            send_frame(peer, transmit, 0)
            assert peer.hung_up(), 'the session goes on without its log'
            daemon.check_honest()


@lie
@ONLY
def ring_that_is_logged_outside_the_log(daemon):
    with daemon.connect() as peer:
        _, transmit, _ = logged(peer)
        for gpa in (PAGES * 4096, PAGES * 4096 - 1, 2**64 - 1, 2**64 - 2048, 2**63):
            assert ring_log(peer, transmit, gpa), f'a ring is logged at {gpa:#x}'
        assert not ring_log(peer, transmit, PAGES * 4096 - 4096)
        send_frame(peer, transmit, 0)
        peer.settle()
    daemon.check_honest()
    with daemon.connect() as peer:
        rings = peer.ready()
        assert not ring_log(peer, rings[1], 2**62)  # before there is a log
        set_log(peer, log_file(peer))
        assert peer.hung_up(), 'a log that does not reach to where a ring is logged was taken'


@lie
@ONLY
def memory_that_grows_beyond_the_log(daemon):
    with daemon.connect() as peer:
        logged(peer)
        more = peer.keep(os.memfd_create('more'))
        os.ftruncate(more, 4096)
        assert peer.ack(ADD_MEM_REG, mem_region(PAGES * 4096, 4096, UADDR * 2, 0), [more]), 'memory that is not logged was taken'
        peer.settle()


@lie
@ONLY
def log_that_comes_and_goes_all_the_time(daemon):
    """Each time a file of its own, with frames in between; some are gone before the ring has looked."""
    for packed in (False, True):
        with daemon.connect() as peer:
            receive, transmit, _ = logged(peer, packed)
            for number in range(few(60)):
                fd = os.memfd_create('log')
                os.ftruncate(fd, BYTES)
                set_log(peer, fd)
                assert peer.receive()[0] == SET_LOG_BASE
                os.close(fd)
                send_frame(peer, transmit, number % 200)
                peer.send(SET_FEATURES, features(peer, number % 3 != 0))
                peer.send(SET_VRING_ADDR, vring_addr(0, UADDR + receive.desc, UADDR + receive.device, UADDR + receive.driver,
                                                     number % 2, GPA + receive.device))
                if number % 5 == 0:
                    peer.send(SET_FEATURES, features(peer, True))
            peer.settle()
        daemon.check_honest()
