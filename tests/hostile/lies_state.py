# SPDX-License-Identifier: BSD-3-Clause
"""Lies about the device's state on its way to another device (vhost-user: Migrating back-end state)."""
import array
import os
import random
import socket
import struct

from bench import lie
from peer import *
from vhost_user import *

ONLY_OVER = ('vhost-user',), "the state is vhost-user's own to carry"
HEADER = 24
SAVE, LOAD = 0, 1


def refuses(peer, data):
    try:
        assert not peer.load_state(data), f'{len(data)} bytes were taken: {data[:64].hex()}'
    except BrokenPipeError:  # it has heard enough
        assert peer.ask_u64(CHECK_DEVICE_STATE) != 0


@lie
def state_that_is_cut_short_or_too_long(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        honest = peer.save_state()
        for length in (0, 1, HEADER - 1, HEADER, HEADER + 19, len(honest) - 1):
            refuses(peer, honest[:length])
        refuses(peer, honest + b'\0')
        refuses(peer, honest + bytes(1 << 20))
        assert peer.load_state(honest), 'the honest one is refused as well'


@lie
def state_of_another_kind(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        honest = peer.save_state()
        for at, value in ((0, b'V'), (8, b'\2'), (12, b'\2'), (16, b'\xff\xff\xff\xff'), (20, b'\1'), (HEADER, b'\2'), (HEADER + 2, b'\xff'),
                          (HEADER + 6, b'\1'), (HEADER + 12, b'\0\0'), (HEADER + 12, b'\xff\xff'), (HEADER + 14, b'\xff\xff'),
                          (HEADER + 16, b'\x41\0'), (HEADER + 18, b'\x80'), (HEADER + 19, b'\1')):
            refuses(peer, honest[:at] + value + honest[at + len(value):])
        dice = random.Random(11)
        for _ in range(few(50)):
            refuses(peer, bytes(dice.randrange(256) for _ in range(len(honest))))


@lie
def state_that_never_ends(daemon):
    """Whoever holds the channel holds nobody up, and no more of it is kept than a state has."""
    with daemon.connect() as peer:
        peer.negotiate()
        fd = peer.keep(peer.transfer(LOAD))
        os.write(fd, b'vireodev')
        peer.settle()
        daemon.check_honest()
        assert peer.ask_u64(CHECK_DEVICE_STATE) != 0, 'a state without an end was taken'
        fd = peer.keep(peer.transfer(LOAD))
        try:
            for _ in range(1000):
                os.write(fd, bytes(65536))
        except (BrokenPipeError, ConnectionResetError):
            daemon.check_honest()
            return
        raise AssertionError('megabytes were taken')


@lie
def state_that_nobody_reads(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        for _ in range(100):
            os.close(peer.transfer(SAVE))
        peer.keep(peer.transfer(SAVE))
        daemon.check_honest()


@lie
def state_with_fds_in_it(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        fd = peer.transfer(LOAD)
        with socket.socket(fileno=fd) as channel:
            channel.sendmsg([b'v'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [peer.eventfd()] * 50))])
            assert peer.ask_u64(CHECK_DEVICE_STATE) != 0, 'a state with fds was taken'


@lie
def state_while_rings_run(daemon):
    with daemon.connect() as peer:
        peer.ready()
        assert peer.transfer(SAVE) is None and peer.transfer(LOAD) is None, 'rings run'
        peer.settle()


@lie
def transfers_that_there_are_not(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        for direction, phase in ((2, 0), (0, 1), (1, 1), (0xFFFFFFFF, 0xFFFFFFFF)):
            assert peer.transfer(direction, phase) is None, f'direction {direction} in phase {phase}'
        assert peer.ask_u64(CHECK_DEVICE_STATE) != 0, 'there is nothing to be checked'


@lie
def hanging_up_in_the_middle_of_a_state(daemon):
    for direction in (SAVE, LOAD):
        for _ in range(few(20)):
            with daemon.connect() as peer:
                peer.negotiate()
                fd = peer.keep(peer.transfer(direction))
                if direction == LOAD:
                    os.write(fd, struct.pack('=8sII', b'vireodev', 1, 1))
