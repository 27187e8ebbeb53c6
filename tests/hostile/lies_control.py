# SPDX-License-Identifier: BSD-3-Clause
"""Lies on the control queue (virtio 1.3, 5.1.6.5): refused in the answer, or, without room for one, at the session's cost."""
import os
import select
import struct
import time

from bench import NO_CONTROL_QUEUE, lie
from peer import *
from vhost_user import SET_VRING_ENABLE

ONLY_OVER = ('vhost-user',), NO_CONTROL_QUEUE

CONTROL_QUEUE = 4
ALL = F_CTRL_VQ | F_CTRL_RX | F_CTRL_VLAN | F_MQ | F_CTRL_MAC_ADDR | 1 << 20 | 1 << 21
RX, MAC, VLAN, ANNOUNCE, MULTIQUEUE, GUEST_OFFLOADS, NOTF_COAL = range(7)
TX_SET, RX_SET, VQ_SET, VQ_GET = range(4)
COMMAND, ANSWER, FRAME = 0x300000, 0x308000, 0x310000  # beyond the ring's area
OK, ERR, NONE = 0, 1, 0xEE


class Commands:
    """A control queue with a session around it."""

    def __init__(self, peer, packed, features=ALL):
        self.peer, self.at = peer, 0
        peer.negotiate(features | F_INDIRECT | (F_PACKED if packed else 0)).share_memory()
        self.ring = peer.ring(CONTROL_QUEUE, 64, packed)
        peer.run()

    def say(self, data, pieces=None):
        """Offers a command: its data, or the pieces that it is to be made of."""
        self.peer.write(COMMAND, data)
        self.peer.write(ANSWER, bytes([NONE]))
        self.ring.chain(pieces or [(GPA + COMMAND, len(data), 0), (GPA + ANSWER, 1, WRITE)], self.at)
        self.at = (self.at + 4) % 64

    def answer(self, data, pieces=None):
        self.say(data, pieces)
        end = time.monotonic() + patience(20)
        while self.peer.memory[ANSWER] == NONE:
            assert time.monotonic() < end, f'no answer to {data[:16].hex()}'
            time.sleep(0.001)
        return self.peer.memory[ANSWER]


def refuses(daemon, *commands, features=ALL):
    """Each of them gets ERR, an honest one after each OK; the session goes on."""
    for packed in (False, True):
        with daemon.connect() as peer:
            control = Commands(peer, packed, features)
            for data in commands:
                assert control.answer(data) == ERR, f'{data[:16].hex()} ({len(data)} bytes) was taken'
                assert control.answer(bytes([RX, 0, 1])) == (OK if features & F_CTRL_RX else ERR)
            peer.settle()


def breaks(daemon, pieces, data=bytes([RX, 0, 1])):
    for packed in (False, True):
        with daemon.connect() as peer:
            Commands(peer, packed).say(data, pieces)
            assert peer.hung_up(), 'the command was taken as it is'
            daemon.check_honest()


def tables(unicast, multicast, entries=b''):
    return bytes([MAC, 0]) + struct.pack('<I', unicast) + entries + struct.pack('<I', multicast)


@lie
def commands_that_there_are_not(daemon):
    refuses(daemon, bytes([9, 0, 1]), bytes([RX, 77, 1]), bytes([0xFF, 0xFF]), bytes([MAC, 2]) + bytes(6), bytes([VLAN, 2, 1, 0]))


@lie
def commands_of_the_wrong_length(daemon):
    refuses(daemon, bytes([RX]), bytes([RX, 0]), bytes([RX, 0, 1, 1]), bytes([VLAN, 0, 1]), bytes([VLAN, 0, 1, 0, 0]),
            bytes([MAC, 1]) + bytes(5), bytes([MAC, 1]) + bytes(7), bytes([MULTIQUEUE, 0, 1]), bytes([ANNOUNCE, 0, 1]),
            bytes([RX, 0]) + bytes(4000))


@lie
def commands_whose_numbers_cannot_be(daemon):
    refuses(daemon, bytes([RX, 0, 2]), bytes([RX, 0, 0xFF]), bytes([VLAN, 0]) + struct.pack('<H', 4096),
            bytes([VLAN, 1]) + struct.pack('<H', 0xFFFF), bytes([MAC, 1]) + b'\x01\0\0\0\0\0', bytes([MAC, 1]) + b'\xff' * 6,
            *(bytes([MULTIQUEUE, 0]) + struct.pack('<H', pairs) for pairs in (0, 3, 0x8000, 0xFFFF)))


@lie
def address_tables_whose_counts_lie(daemon):
    refuses(daemon, tables(1, 0), tables(0, 1), tables(2, 0, bytes(6)), tables(0xFFFFFFFF, 0), tables(0, 0xFFFFFFFF),
            tables(0x2AAAAAAB, 0, bytes(2)), tables(0, 0) + b'\0', tables(64, 0, bytes(63 * 6)), bytes([MAC, 0]),
            bytes([MAC, 0, 0, 0]))


@lie
def commands_that_were_not_accepted(daemon):
    refuses(daemon, bytes([RX, 0, 1]), bytes([VLAN, 0, 1, 0]), bytes([MAC, 1]) + bytes(6), bytes([MULTIQUEUE, 0, 1, 0]),
            features=F_CTRL_VQ)


def rss(types=0x1FF, mask=3, unclassified=0, table=(0, 1, 1, 0), transmit=2, key=40, key_says=None, command=1):
    """RSS_CONFIG, right where nothing else is said."""
    return (bytes([MULTIQUEUE, command]) + struct.pack('<IHH', types, mask, unclassified) + struct.pack(f'<{len(table)}H', *table) +
            struct.pack('<HB', transmit, key if key_says is None else key_says) + bytes(range(key)))


@lie
def hashes_and_tables_that_cannot_be(daemon):
    right = rss()
    refuses(daemon, rss(mask=2, table=(0, 1, 1)), rss(mask=127), rss(mask=0xFFFF), rss(mask=7), rss(mask=255, table=(0,) * 256),
            rss(table=(0, 1, 2, 0)), rss(table=(0xFFFF,) * 4), rss(table=(0x8000, 0, 0, 0)), rss(unclassified=2), rss(unclassified=0xFFFF),
            rss(transmit=0), rss(transmit=3), rss(types=0x200), rss(types=0xFFFFFFFF), rss(key=0), rss(key=41), rss(key=255),
            rss(key_says=255), rss(key_says=39), rss(key_says=41), rss(key_says=0), right + b'\0', right + bytes(4000),
            rss(command=2), rss(command=3), *(right[:end] for end in range(2, len(right), 3)), features=ALL | F_RSS | F_HASH_REPORT)
    refuses(daemon, right, rss(mask=0, table=(0,), command=2), features=ALL)
    refuses(daemon, rss(mask=0, table=(0,), command=2), features=ALL | F_RSS)
    with daemon.connect() as peer:
        assert Commands(peer, False, ALL | F_RSS | F_HASH_REPORT).answer(right) == OK


@lie
def tables_without_end(daemon):
    """A driver that does nothing but change its mind holds nobody up."""
    with daemon.connect() as peer:
        control = Commands(peer, False, ALL | F_RSS | F_HASH_REPORT)
        for turn in range(3000):
            assert control.answer(rss(table=(turn & 1,) * 128, mask=127, key=40 - turn % 40)) == OK
        daemon.check_honest()


def offloads(taken):
    return bytes([GUEST_OFFLOADS, 0]) + struct.pack('<Q', taken)


@lie
def offloads_that_cannot_be(daemon):
    """Not accepted, not the driver's to take, none at all, of another length."""
    accepted = F_CTRL_GUEST_OFFLOADS | F_GUEST_CSUM | F_GUEST_TSO4
    refuses(daemon, *(offloads(bit) for bit in (1 << 8, 1 << 9, 1 << 10, 1 << 54, 1 << 55, 1 << 0, 1 << 11, 1 << 2, 1 << 63, (1 << 64) - 1)),
            offloads(F_GUEST_CSUM | 1 << 8), offloads(0)[:9], offloads(0) + b'\0', bytes([GUEST_OFFLOADS, 0]), offloads(0) + bytes(4000),
            bytes([GUEST_OFFLOADS, 1]) + bytes(8), features=ALL | accepted)
    refuses(daemon, offloads(0), offloads(F_GUEST_CSUM), features=ALL | F_GUEST_CSUM)
    refuses(daemon, offloads(F_GUEST_CSUM), features=ALL | F_CTRL_GUEST_OFFLOADS)


@lie
def offloads_without_end(daemon):
    """No lie but its number: a driver that gives up and takes offloads as fast as it can, and nobody else loses a frame."""
    with daemon.connect() as peer:
        control = Commands(peer, True, ALL | F_CTRL_GUEST_OFFLOADS | F_GUEST_CSUM | F_GUEST_TSO4)
        for turn in range(1000):
            assert control.answer(offloads((0, F_GUEST_CSUM, F_GUEST_CSUM | F_GUEST_TSO4, F_GUEST_TSO4)[turn % 4])) == OK
        daemon.check_honest()


def held(command, packets, usecs, queue=None):
    """How long signals may be held back: of all queues of a direction, or of one."""
    return bytes([NOTF_COAL, command]) + (b'' if queue is None else struct.pack('<HH', queue, 0xBEEF)) + struct.pack('<II', packets, usecs)


@lie
def limits_of_queues_that_are_not_there(daemon):
    """Data queues that the driver has not set up, the control queue, none at all; of another length; not accepted."""
    both = F_NOTF_COAL | F_VQ_NOTF_COAL
    refuses(daemon, *(held(VQ_SET, 1, 1, queue) for queue in (0, 1, 2, 3, 4, 5, 0x8000, 0xFFFF)),
            *(bytes([NOTF_COAL, VQ_GET]) + struct.pack('<HH', queue, 0) for queue in (0, 4, 5, 0xFFFF)),
            held(RX_SET, 1, 1)[:9], held(TX_SET, 1, 1) + b'\0', held(VQ_SET, 1, 1, 0)[:13], held(VQ_SET, 1, 1, 0) + b'\0', bytes([NOTF_COAL, RX_SET]),
            bytes([NOTF_COAL, 4]) + bytes(8), held(RX_SET, 1, 1) + bytes(4000), features=ALL | both)
    refuses(daemon, held(RX_SET, 1, 1), held(TX_SET, 1, 1), features=ALL | F_VQ_NOTF_COAL)
    refuses(daemon, held(VQ_SET, 1, 1, 0), bytes([NOTF_COAL, VQ_GET, 0, 0, 0, 0]), features=ALL | F_NOTF_COAL)


def signalled(ring):
    """How often since it was asked last."""
    return os.eventfd_read(ring.call) if select.select([ring.call], [], [], 0)[0] else 0


@lie
def signals_that_are_held_for_ever(daemon):
    """A driver that lets its signals be held for an hour, and changes its mind without end: it hears of its frames, and nobody else waits."""
    hour, data = 3600 * 10**6, net_header() + frame()
    for packed in (False, True):
        with daemon.connect() as peer:
            control = Commands(peer, packed, ALL | F_NOTF_COAL | F_VQ_NOTF_COAL | F_MRG_RXBUF)
            ring = peer.ring(1, 64, packed)
            peer.write(FRAME, data)
            daemon.wait_for(lambda ring=ring: signalled(ring), 20, 'no signal of its beginning')
            before = daemon.port('hostile')['rx_frames']
            assert control.answer(held(VQ_SET, 2, hour, 1)) == OK
            ring.chain([(GPA + FRAME, len(data), 0)], 1)
            daemon.wait_for(lambda before=before: daemon.port('hostile')['rx_frames'] > before, 20, 'its frame is not taken')
            assert not signalled(ring), 'it is told of one frame'
            ring.chain([(GPA + FRAME, len(data), 0)], 2)
            daemon.wait_for(lambda ring=ring: signalled(ring), 20, 'no signal for the second frame')
            assert control.answer(held(TX_SET, 0xFFFFFFFF, hour)) == OK
            ring.chain([(GPA + FRAME, len(data), 0)], 3)
            assert control.answer(held(TX_SET, 0xFFFFFFFF, 1)) == OK
            daemon.wait_for(lambda ring=ring: signalled(ring), 20, 'no signal by a limit that was changed')
            for turn in range(500):
                assert control.answer(held((TX_SET, RX_SET)[turn % 2], 0xFFFFFFFF, (0xFFFFFFFF, 0, 1)[turn % 3])) == OK
            daemon.check_honest()


@lie
def signals_that_are_held_when_their_ring_leaves(daemon):
    """A receive ring that may hold its signals for an hour is taken out of use, by fewer pairs or disabled, and runs on: it hears of its frames."""
    for packed, pairs in ((False, True), (False, False), (True, True)):
        with daemon.connect() as peer:
            control = Commands(peer, packed, ALL | F_NOTF_COAL | F_VQ_NOTF_COAL)
            ring = peer.ring(2, 64, packed)
            for i in range(32):
                ring.chain([(GPA + FRAME, 2048, WRITE)], i)
            assert control.answer(held(VQ_SET, 0xFFFFFFFF, 3600 * 10**6, 2)) == OK
            assert control.answer(bytes([MULTIQUEUE, 0, 2, 0])) == OK
            daemon.wait_for(lambda ring=ring: signalled(ring), 20, 'no signal of its beginning')
            before = daemon.port('hostile')['tx_frames']
            daemon.broadcast(4)
            daemon.wait_for(lambda before=before: daemon.port('hostile')['tx_frames'] >= before + 4, 20, 'the frames have not come')
            assert not signalled(ring), 'it is told of four frames'
            if pairs:
                assert control.answer(bytes([MULTIQUEUE, 0, 1, 0])) == OK
            else:
                peer.tell(SET_VRING_ENABLE, struct.pack('=II', 2, 0))
            daemon.wait_for(lambda ring=ring: signalled(ring), 20, 'no signal from a ring that nobody serves')
            daemon.check_honest()


@lie
def command_without_room_for_its_answer(daemon):
    breaks(daemon, [(GPA + COMMAND, 3, 0)])
    breaks(daemon, [(GPA + COMMAND, 3, 0), (GPA + ANSWER, 0, WRITE)])


@lie
def command_that_is_not_memory(daemon):
    breaks(daemon, [(0xDEAD0000, 3, 0), (GPA + ANSWER, 1, WRITE)])
    breaks(daemon, [(GPA + COMMAND, 3, 0), (0xDEAD0000, 1, WRITE)])


@lie
def answer_before_the_command(daemon):
    breaks(daemon, [(GPA + ANSWER, 1, WRITE), (GPA + COMMAND, 3, 0)])


@lie
def command_of_an_answer_only(daemon):
    for packed in (False, True):
        with daemon.connect() as peer:
            assert Commands(peer, packed).answer(b'', [(GPA + ANSWER, 1, WRITE)]) == ERR


@lie
def command_in_bytes(daemon):
    """No lie at all: framing is the driver's affair (2.7.4.3)."""
    data = tables(1, 0, b'\x02\0\0\0\0\x01')
    for packed in (False, True):
        with daemon.connect() as peer:
            pieces = [(GPA + COMMAND + i, 1, 0) for i in range(len(data))] + [(GPA + ANSWER, 1, WRITE)]
            assert Commands(peer, packed).answer(data, pieces) == OK


@lie
def command_that_changes_while_it_is_read(daemon):
    """Counts and data are read once: whatever the answer, there is one, and the session goes on."""
    with daemon.connect() as peer:
        control = Commands(peer, False)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            control.say(tables(3, 1, bytes(18)) + bytes(6))
            last = time.monotonic() + patience(20)
            while peer.memory[ANSWER] == NONE:
                for count in (0xFFFFFFFF, 3):
                    peer.write(COMMAND + 2, struct.pack('<I', count))
                assert time.monotonic() < last, 'no answer'
            assert peer.memory[ANSWER] in (OK, ERR)
        peer.settle()
