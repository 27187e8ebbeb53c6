# SPDX-License-Identifier: BSD-3-Clause
"""Lies while a device is set up and torn down: features, indexes, sizes, order."""
import os
import socket
import struct
import tempfile

from bench import lie, only_over
from peer import *

KERNEL_KEEPS = 'the kernel keeps what a driver sets up, and VDUSE hears of it once, when the driver is ready'


@lie
def features_that_were_not_offered(daemon):
    for features in (1 << 62, 1 << 33, 1 << 25, 0xFFFFFFFFFFFFFFFF):
        with daemon.connect() as peer:
            if features & ~peer.OWN:
                refused(peer, peer.features_set, features | F_VERSION_1)


@lie
def offload_features_without_what_they_need(daemon):
    """GUEST_TSO4 without GUEST_CSUM, HOST_TSO4 without CSUM (virtio 1.3, 5.1.3.1). Its guest has been told FEATURES_OK by then, so
    they are not agreed on, and the session goes on; what uses them all the same is a bad frame (lies_frames)."""
    for features in (1 << 7, 1 << 8, 1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 54, 1 << 56):
        with daemon.connect() as peer:
            peer.asked(peer.features_set, features | F_VERSION_1)
            assert not peer.hung_up(0.05), f'features {features:#x} cost the session'


@lie
@only_over('vhost-user', 'cuse', because='the kernel looks at indexes before VDUSE does')
def queue_index_out_of_range(daemon):
    """All 32 bits count: an index that is right in its low byte only is wrong (CVE-2020-10723)."""
    for index in (8, 9, 128, 255, 256, 0x100, 0x10000, 0x80000000, 0xFFFFFFFF):
        for say in (lambda peer, index=index: (peer.ring_num, index, 1),
                    lambda peer, index=index: (peer.ring_base_set, index, 1),
                    lambda peer, index=index: (peer.ring_enable, index),
                    lambda peer, index=index: (peer.ring_addr, index, 0, 0, 0)):
            with daemon.connect() as peer:
                peer.negotiate().share_memory()
                refused(peer, *say(peer))


@lie
def ring_size_that_cannot_be(daemon):
    for size in (0, 3, 100, 32769, 65536, 0x10001, 0xFFFFFFFF, 2 * daemon.transport.RING_MAX):
        with daemon.connect() as peer:
            peer.negotiate().share_memory()
            try:
                peer.ring(1, num=size)
                peer.run()
            except NO:
                continue
            refused(peer, peer.ring_num, 1, size)


@lie
def ring_base_beyond_16_bits(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        refused(peer, peer.ring_base_set, 0, 0x10000)


@lie
@only_over('vhost-user', because='the others keep a ring of their own, or end with its first lie')
def packed_ring_that_fits_no_base(daemon):
    """Where it stands is looked for in it, and what is found there is the driver's."""
    for base in (0, 0x80008000, 0x8001, 0x00050005, 0x800580FF):
        for word in (b'\x80\x00', b'\x00\x80', b'\x80\x80', b'\x84\x00\x80\x80', b'\x81\x00\x00\x80\x80\x00\x01\x80'):
            with daemon.connect() as peer:
                peer.negotiate(F_MRG_RXBUF | F_INDIRECT | F_PACKED)
                peer.share_memory()
                for i in range(256):
                    at = 2 * i % len(word)
                    peer.write(16 * i + 14 + Ring.AREA, word[at:at + 2])
                peer.write(Ring.AREA + 0x40000, struct.pack('<HH', base & 0xFFFF, len(word) % 3))
                ring = peer.ring(1, packed=True, base=base)
                ring.ring_kick()
                pause(0.01)
    daemon.check_honest()


@lie
@only_over('vhost-user', 'cuse', because='the kernel looks at notifiers before VDUSE does')
def notifier_that_is_a_file_or_a_socket(daemon):
    with tempfile.TemporaryFile() as file, socket.socket(socket.AF_UNIX) as sock:
        for bad in (file.fileno(), sock.fileno()):
            for say in (lambda peer: peer.ring_kick, lambda peer: peer.ring_call, lambda peer: peer.ring_err):
                with daemon.connect() as peer:
                    peer.negotiate()
                    refused(peer, say(peer), 0, bad)


@lie
def call_eventfd_that_blocks_and_is_full(daemon):
    """Signalling must not block the worker."""
    with daemon.connect() as peer:
        peer.ready()
        blocking = peer.eventfd(0, 0)
        os.eventfd_write(blocking, 2**64 - 2)
        peer.ring_call(1, blocking)
        peer.settle()
        peer.rings[1].chain([(GPA + DATA, 64, 0)])
        daemon.check_honest()


@lie
def sessions_that_end_before_they_begin(daemon):
    for i in range(few(100)):
        with daemon.connect() as peer:
            if i % 3:
                peer.offered()


@lie
def sessions_that_end_at_every_step(daemon):
    steps = (lambda peer: peer.negotiate(), lambda peer: peer.share_memory(), lambda peer: peer.ring(0),
             lambda peer: peer.ring(1), lambda peer: peer.run(),
             lambda peer: peer.rings[1].chain([(GPA + DATA, 72, 0)]), lambda peer: peer.reset())
    for _ in range(few(8)):
        for last in range(len(steps) + 1):
            with daemon.connect() as peer:
                for step in steps[:last]:
                    step(peer)


@lie
@only_over('vhost-user', 'cuse', because=KERNEL_KEEPS)
def the_same_set_up_a_thousand_times(daemon):
    """What is said again and again leaks nothing (CVE-2019-14818, CVE-2020-10726)."""
    with daemon.connect() as peer:
        peer.negotiate().share_memory()
        event = peer.eventfd()
        fds, mappings = daemon.resources()
        for i in range(few(1000)):
            peer.ring_num(i % peer.QUEUES, 256)
            peer.ring_call(i % peer.QUEUES, event)
            peer.ring_kick(i % peer.QUEUES, event)
            if i % 10 == 0:
                peer.asked(peer.tell_memory)
        peer.settle()
        # What has been replaced is closed by a thread of its own, in its own time.
        daemon.wait_for(lambda: daemon.resources()[0] <= fds + 12 and daemon.resources()[1] <= mappings, 20,
                        f'more than 12 fds beyond {fds} stay, or mappings beyond {mappings}')


@lie
@only_over('vhost-user', 'cuse', because='its driver cannot stop a ring by itself')
def stopping_what_never_started(daemon):
    with daemon.connect() as peer:
        peer.negotiate()
        for _ in range(3):
            assert peer.ring_stop(1) == 0


@lie
@only_over('vhost-user', 'cuse', because='its driver cannot stop a ring by itself')
def start_and_stop_under_traffic(daemon):
    with daemon.connect() as peer:
        _, transmit = peer.ready()
        peer.write(DATA, net_header() + frame())
        for i in range(few(200)):
            transmit.chain([(GPA + DATA, 72, 0)], start=i % 256)
            base = peer.ring_stop(1)
            assert base <= 0xFFFF
            peer.ring_go_on(1, base)
        peer.settle()


@lie
def resets_in_a_flood(daemon):
    with daemon.connect() as peer:
        peer.ready()
        for _ in range(few(150)):
            peer.reset()
        peer.settle()


@lie
def resets_under_traffic(daemon):
    """Each time all is said anew, while frames are on their way."""
    with daemon.connect() as peer:
        for i in range(few(20)):
            receive, transmit = peer.ready(packed=i % 2)
            peer.write(DATA, net_header() + frame())
            receive.chain([(GPA + DATA + 4096, 2048, WRITE)])
            for start in range(20):
                transmit.chain([(GPA + DATA, 72, 0)], start)
            peer.reset()
        peer.settle()
