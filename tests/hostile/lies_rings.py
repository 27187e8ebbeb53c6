# SPDX-License-Identifier: BSD-3-Clause
"""Lies in descriptors and indexes, in both ring formats (virtio 1.3, 2.7 and 2.8)."""
import struct
import threading
import time

from bench import lie
from peer import *

TABLE = 0x300000  # an indirect table, as an offset in the memory
FEATURES = F_MRG_RXBUF | F_INDIRECT
FRAME_BYTES = 12 + 60


def breaks(daemon, tell, packed, queue=1, features=FEATURES, size=256):
    """tell(peer, ring) lies in a running ring; the session must be closed for it."""
    with daemon.connect() as peer:
        rings = peer.ready(features, packed, size)
        peer.write(DATA, net_header() + frame())
        if queue == 0:
            stir(daemon)
        tell(peer, rings[queue])
        assert peer.hung_up(), 'the ring was taken as it is'
        daemon.check_honest()


def survives(daemon, tell, packed, queue=1, features=FEATURES, size=256):
    """tell(peer, ring) does something odd that the specification bears; the session must go on."""
    with daemon.connect() as peer:
        rings = peer.ready(features, packed, size)
        peer.write(DATA, net_header() + frame())
        tell(peer, rings[queue])
        pause(0.05)
        peer.settle()
        daemon.check_honest()


def stir(daemon):
    """Receive rings are looked at when frames come: the honest pair's flooded ones do."""
    daemon.check_honest()


@lie
def a_lie_is_told_in_the_log(daemon):
    """One line, with the port's name."""
    time.sleep(2)  # the log may have left lines out
    before = daemon.breaks()
    breaks(daemon, lambda peer, ring: ring.chain([(0xDEAD0000, 60, 0)]), False)
    daemon.wait_for(lambda: daemon.breaks() > before, 20, 'the log says nothing of it')  # a thread of its own writes it
    assert daemon.breaks() == before + 1, 'the log says it again'


# ---- split ----

@lie
def split_available_index_too_far_ahead(daemon):
    for ahead in (257, 300, 0x8000, 0xFFFF):
        def tell(peer, ring, ahead=ahead):
            ring.descriptor(0, GPA + DATA, FRAME_BYTES)
            ring.offer(0, ahead)
            ring.ring_kick()
        breaks(daemon, tell, False)


@lie
def split_available_index_moves_back(daemon):
    def tell(peer, ring):
        ring.chain([(GPA + DATA, FRAME_BYTES, 0)])
        pause(0.05)
        ring.offer(0, -1)
        ring.offer(0, -1)
        ring.ring_kick()
    breaks(daemon, tell, False)


@lie
def split_head_out_of_range(daemon):
    for head in (256, 257, 0x8000, 0xFFFF):
        def tell(peer, ring, head=head):
            ring.offer(head)
            ring.ring_kick()
        breaks(daemon, tell, False)


@lie
def split_next_out_of_range(daemon):
    for following in (256, 0x8000, 0xFFFF):
        def tell(peer, ring, following=following):
            ring.descriptor(0, GPA + DATA, 12, NEXT, following)
            ring.offer(0)
            ring.ring_kick()
        breaks(daemon, tell, False)


@lie
def split_chain_that_bites_its_tail(daemon):
    for length in (1, 2, 7, 256):
        def tell(peer, ring, length=length):
            for i in range(length):
                ring.descriptor(i, GPA + DATA, 12, NEXT, (i + 1) % length)
            ring.offer(0)
            ring.ring_kick()
        breaks(daemon, tell, False)


@lie
def split_indirect_table_that_bites_its_tail(daemon):
    def tell(peer, ring):
        for i in range(4):
            ring.descriptor(i, GPA + DATA, 12, NEXT, (i + 1) % 4, table=TABLE)
        ring.chain([(GPA + TABLE, 64, INDIRECT)])
    breaks(daemon, tell, False)


@lie
def split_indirect_next_out_of_the_table(daemon):
    def tell(peer, ring):
        ring.descriptor(0, GPA + DATA, 12, NEXT, 4, table=TABLE)
        ring.chain([(GPA + TABLE, 64, INDIRECT)])
    breaks(daemon, tell, False)


@lie
def indirect_inside_indirect(daemon):
    """Split: forbidden (2.7.5.3.1). Packed: of the flags in a table only WRITE counts, the rest is ignored (2.8.8)."""
    def tell(peer, ring):
        ring.descriptor(0, GPA + TABLE + 4096, 16, INDIRECT, table=TABLE)
        ring.descriptor(0, GPA + DATA, FRAME_BYTES, 0, table=TABLE + 4096)
        ring.chain([(GPA + TABLE, 16, INDIRECT)])
    breaks(daemon, tell, False)
    survives(daemon, tell, True)


@lie
def indirect_table_of_odd_length(daemon):
    for packed in (False, True):
        for length in (0, 1, 15, 17, 24, 0xFFFFFFFF, 0xFFFFFFF0, 16 * 65536):
            def tell(peer, ring, length=length):
                ring.descriptor(0, GPA + DATA, FRAME_BYTES, 0, table=TABLE)
                ring.chain([(GPA + TABLE, length, INDIRECT)])
            breaks(daemon, tell, packed)


@lie
def indirect_without_having_accepted_it(daemon):
    for packed in (False, True):
        def tell(peer, ring):
            ring.descriptor(0, GPA + DATA, FRAME_BYTES, 0, table=TABLE)
            ring.chain([(GPA + TABLE, 16, INDIRECT)])
        breaks(daemon, tell, packed, features=F_MRG_RXBUF)


@lie
def indirect_and_next_at_once(daemon):
    for packed in (False, True):
        def tell(peer, ring):
            ring.descriptor(0, GPA + DATA, FRAME_BYTES, 0, table=TABLE)
            ring.chain([(GPA + TABLE, 16, INDIRECT), (GPA + DATA, 16, 0)])
        breaks(daemon, tell, packed)


@lie
def indirect_table_that_is_not_memory(daemon):
    for packed in (False, True):
        for address in (0, GPA + MEMORY_BYTES, GPA + MEMORY_BYTES - 16, 2**64 - 16):
            def tell(peer, ring, address=address):
                ring.descriptor(0, GPA + DATA, 12, NEXT, 1, table=MEMORY_BYTES - 16)  # its end is not there
                ring.chain([(address, 64, INDIRECT)])
            breaks(daemon, tell, packed)


@lie
def writable_before_readable(daemon):
    for packed in (False, True):
        def tell(peer, ring):
            ring.chain([(GPA + DATA, 64, WRITE), (GPA + DATA, 64, 0)])
        breaks(daemon, tell, packed)


@lie
def buffer_that_is_not_memory(daemon):
    for packed in (False, True):
        for address, length in ((0, 64), (GPA - 1, 64), (GPA + MEMORY_BYTES, 64), (GPA + MEMORY_BYTES - 32, 64),
                                (2**64 - 32, 64), (2**64 - 1, 0xFFFFFFFF), (GPA, 0xFFFFFFFF)):
            def tell(peer, ring, address=address, length=length):
                ring.chain([(address, length, 0)])
            breaks(daemon, tell, packed)


@lie
def second_buffer_that_is_not_memory(daemon):
    for packed in (False, True):
        def tell(peer, ring):
            ring.chain([(GPA + DATA, 12, 0), (0xDEAD0000, 60, 0)])
        breaks(daemon, tell, packed)


@lie
def chain_of_more_than_four_gigabytes(daemon):
    """The sum of the lengths must not wrap in 32 bits."""
    with daemon.connect() as peer:
        peer.negotiate()
        peer.share_memory(2 << 30)
        ring = peer.ring(1)
        peer.run()
        ring.chain([(GPA, 0x7FFFFFFF, 0), (GPA, 0x7FFFFFFF, 0), (GPA, 100, 0)])
        assert peer.hung_up()


@lie
def buffers_of_length_zero(daemon):
    """Zero-length buffers are odd but no lie; in the batch path, too (CVE-2020-10725)."""
    for packed in (False, True):
        def tell(peer, ring):
            for _ in range(8):
                ring.chain([(0, 0, 0)])
            ring.chain([(0, 0, 0), (GPA + DATA, FRAME_BYTES, 0), (2**64 - 1, 0, 0)])
        with daemon.connect() as peer:
            rings = peer.ready(FEATURES, packed)
            peer.write(DATA, net_header() + frame())
            tell(peer, rings[1])
            pause(0.05)
            daemon.check_honest()


# ---- packed ----

@lie
def packed_buffer_id_out_of_range(daemon):
    for ident in (256, 0x7FFF, 0xFFFF):
        def tell(peer, ring, ident=ident):
            ring.chain([(GPA + DATA, FRAME_BYTES, 0)], ident)
        breaks(daemon, tell, True)


@lie
def packed_chain_without_an_end(daemon):
    def tell(peer, ring):
        for place in range(256):
            ring.descriptor(place, GPA + DATA, 12, ring.flags(NEXT))
        ring.ring_kick()
    breaks(daemon, tell, True)


@lie
def packed_chain_that_ends_in_what_is_not_available(daemon):
    def tell(peer, ring):
        ring.descriptor(0, GPA + DATA, 12, ring.flags(NEXT))
        ring.ring_kick()
    breaks(daemon, tell, True)


@lie
def packed_indirect_longer_than_the_queue(daemon):
    def tell(peer, ring):
        for i in range(257):
            ring.descriptor(i, GPA + DATA, 1, 0, table=TABLE)
        ring.chain([(GPA + TABLE, 16 * 257, INDIRECT)])
    breaks(daemon, tell, True)


@lie
def packed_event_suppression_area_of_nonsense(daemon):
    def tell(peer, ring):
        for flags in (3, 0xFFFF, 2):
            peer.write(ring.driver, struct.pack('<HH', 0xFFFF, flags))
            ring.chain([(GPA + DATA, FRAME_BYTES, 0)])
            pause(0.02)
    survives(daemon, tell, True, features=FEATURES | F_EVENT_IDX)


@lie
def split_used_event_of_nonsense(daemon):
    def tell(peer, ring):
        for event in (0xFFFF, 0x8000, 7):
            peer.write(ring.driver + 4 + 2 * ring.size, struct.pack('<H', event))
            ring.chain([(GPA + DATA, FRAME_BYTES, 0)])
            pause(0.02)
    survives(daemon, tell, False, features=FEATURES | F_EVENT_IDX)


# ---- while we look ----

def flapping(peer, ring, first, second, seconds=1.0):
    """Writes first and second to one descriptor in turn, as fast as Python can, while chains are offered."""
    end = time.monotonic() + seconds
    stop = threading.Event()

    def flap():
        while not stop.is_set():
            first()
            second()

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        while time.monotonic() < end:
            ring.offer(0) if isinstance(ring, SplitRing) else ring.chain([(GPA + DATA, FRAME_BYTES, 0)])
            ring.ring_kick()
            time.sleep(0.0005)
    finally:
        stop.set()
        thread.join()


@lie
def descriptor_that_changes_while_it_is_read(daemon):
    """Each value is right or wrong; the pair must never be mixed (CVE-2026-93683 and its kin)."""
    for wrong in ((GPA + MEMORY_BYTES - 8, FRAME_BYTES), (GPA + DATA, 0xFFFFFFFF), (2**64 - 8, FRAME_BYTES)):
        with daemon.connect() as peer:
            _, ring = peer.ready(FEATURES)
            peer.write(DATA, net_header() + frame())
            flapping(peer, ring, lambda: ring.descriptor(0, GPA + DATA, FRAME_BYTES),
                     lambda wrong=wrong: ring.descriptor(0, *wrong), 0.4)
            daemon.check_honest()


@lie
def indirect_table_that_changes_while_it_is_read(daemon):
    with daemon.connect() as peer:
        _, ring = peer.ready(FEATURES)
        peer.write(DATA, net_header() + frame())
        ring.descriptor(0, GPA + TABLE, 32, INDIRECT)
        ring.descriptor(1, GPA + DATA + 12, 60, 0, table=TABLE)
        flapping(peer, ring, lambda: ring.descriptor(0, GPA + DATA, 12, NEXT, 1, table=TABLE),
                 lambda: ring.descriptor(0, GPA + DATA, 0xFFFFFFF0, INDIRECT, 0xFFFF, table=TABLE), 0.4)
        daemon.check_honest()


# ---- receive rings ----

def feed_receive(daemon, packed, pieces, broken, features=FEATURES, count=1):
    """Offers receive buffers of that shape, and lets broadcasts arrive at them."""
    with daemon.connect() as peer:
        receive, transmit = peer.ready(features, packed)
        for i in range(count):
            if packed:
                receive.chain(pieces, i)
            else:
                receive.chain(pieces, i * len(pieces))
        daemon.broadcast()
        if broken:
            assert peer.hung_up(), 'the receive ring was taken as it is'
        else:
            pause(0.05)
            peer.settle()
        daemon.check_honest()
        return peer


@lie
def receive_buffer_shorter_than_the_header(daemon):
    """A length that underflows when the header is taken off it (CVE-2026-86566)."""
    for packed in (False, True):
        for features in (FEATURES, F_INDIRECT):
            for length in (0, 1, 10, 11, 12, 13):
                feed_receive(daemon, packed, [(GPA + DATA, length, WRITE)], False, features, few(200))


@lie
def receive_buffer_that_is_readable(daemon):
    for packed in (False, True):
        feed_receive(daemon, packed, [(GPA + DATA, 2048, 0)], False, count=100)


@lie
def receive_buffer_in_crumbs(daemon):
    for packed in (False, True):
        feed_receive(daemon, packed, [(GPA + DATA + i, 1, WRITE) for i in range(100)], False, count=2)


@lie
def receive_buffer_that_is_not_memory(daemon):
    for packed in (False, True):
        for address in (0, GPA + MEMORY_BYTES - 100, 2**64 - 100):
            feed_receive(daemon, packed, [(address, 2048, WRITE)], True)


def came(daemon, before):
    """Frames since then, those that found too little room included."""
    now = daemon.port('hostile')
    return now['tx_frames'] - before['tx_frames'] + now['counters']['tx_flood_room'] - before['counters']['tx_flood_room']


@lie
def receive_buffers_that_are_never_emptied(daemon):
    """What is sent to all leaves some of them for what is sent to this port alone."""
    for packed in (False, True):
        with daemon.connect() as peer:
            receive, transmit = peer.ready(F_MRG_RXBUF, packed)
            for i in range(32):
                receive.chain([(GPA + DATA + 4096, 2048, WRITE)], i)
            peer.write(DATA, net_header() + frame(destination=b'\x02shout'))
            known = daemon.port('hostile')['rx_frames']
            transmit.chain([(GPA + DATA, 72, 0)])
            daemon.wait_for(lambda: daemon.port('hostile')['rx_frames'] > known, 20, 'its frame was not taken')
            before = daemon.port('hostile')
            daemon.broadcast(40)
            daemon.wait_for(lambda before=before: came(daemon, before) >= 40, 20, 'not all of them are counted')
            after = daemon.port('hostile')
            left = after['counters']['tx_flood_room'] - before['counters']['tx_flood_room']
            taken = after['tx_frames'] - before['tx_frames']  # more where seconds pass: what was seen free fades
            # 24, or 16 where the sender has broadcast much in the last second, as the lie before this one may have it do.
            assert 16 <= taken < 32 and left >= 40 - taken, (before, after)
            daemon.shout(b'\x02lies\x01', 32 - taken)
            daemon.wait_for(lambda: daemon.port('hostile')['tx_frames'] == before['tx_frames'] + 32, 20, 'there was no room')


@lie
def receive_buffer_on_top_of_the_ring(daemon):
    """The guest has its own rings overwritten by frames: only its own device may suffer."""
    for packed in (False, True):
        with daemon.connect() as peer:
            receive, _ = peer.ready(FEATURES, packed)
            for i in range(64):
                where = receive.desc if packed else receive.driver
                receive.chain([(GPA + where, 4096, WRITE)], i)
            daemon.broadcast()
            daemon.check_honest()
