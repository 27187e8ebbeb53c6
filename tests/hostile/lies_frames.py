# SPDX-License-Identifier: BSD-3-Clause
"""Lies in frames and their headers: counted, dropped, and the device goes on (virtio 1.3, 5.1.6)."""
import struct
import time

from bench import lie, only_over, wait_for_more
from peer import *
from vhost_user import SEND_RARP

FEATURES = (F_MRG_RXBUF | F_INDIRECT | F_CSUM | F_HOST_TSO4 | 1 << 12 | 1 << 14 | 1 << 56)


def counted(daemon, data, reason, features=FEATURES, pieces=None):
    """Transmits `data` and expects it to be dropped and counted under `reason`, the session to go on."""
    for packed in (False, True):
        with daemon.connect() as peer:
            _, ring = peer.ready(features, packed)
            before = drops(daemon, reason)
            peer.write(DATA, data)
            ring.chain(pieces or [(GPA + DATA, len(data), 0)])
            daemon.wait_for(lambda: drops(daemon, reason) > before, 20,
                            f'not counted as {reason}: {data[:12].hex()} + {len(data) - 12} bytes')
            peer.settle()


def drops(daemon, reason):
    return sum(queue[reason] for queue in daemon.port('hostile')['queue_counters'] if queue['direction'] == 'rx')


SOURCE = 12 + 6  # where a frame's source address is, behind the header
IPV4_TCP = bytes.fromhex('4500002800000000400600000a0000010a000002') + struct.pack('>HHIIBBHHH', 1, 2, 3, 4, 0x50, 16, 5, 0, 0)


def tcp_frame(payload=b''):
    return frame(IPV4_TCP + payload, ethertype=0x0800)


@lie
def checksum_start_beyond_the_frame(daemon):
    """CVE-2024-11614."""
    for start, offset in ((0xFFFF, 0), (59, 0), (58, 1), (0xFFFF, 0xFFFF), (60, 0), (0, 0xFFFF), (0x8000, 0x8000)):
        counted(daemon, net_header(1, start=start, offset=offset) + frame(), 'bad_offload')


@lie
def segment_size_zero(daemon):
    counted(daemon, net_header(1, 1, 54, 0, 34, 16) + tcp_frame(b'x' * 3000), 'bad_offload')


@lie
def segmentation_of_an_unknown_kind(daemon):
    for kind in (2, 6, 0x7F, 0x82, 0xFF):
        counted(daemon, net_header(1, kind, 54, 1000, 34, 16) + tcp_frame(b'x' * 3000), 'bad_offload')


@lie
@only_over('vhost-user', 'vduse', because='a vhost device is not told which offloads were accepted, and takes all')
def segmentation_that_was_not_accepted(daemon):
    counted(daemon, net_header(1, 1, 54, 1000, 34, 16) + tcp_frame(b'x' * 3000), 'bad_offload',
            features=F_MRG_RXBUF | F_CSUM)
    counted(daemon, net_header(1, start=34, offset=16) + tcp_frame(), 'bad_offload', features=F_MRG_RXBUF)


@lie
def segmentation_without_a_checksum(daemon):
    counted(daemon, net_header(0, 1, 54, 1000) + tcp_frame(b'x' * 3000), 'bad_offload')


@lie
def segmentation_of_the_wrong_family(daemon):
    counted(daemon, net_header(1, 4, 54, 1000, 34, 16) + tcp_frame(b'x' * 3000), 'bad_offload')


@lie
def segmentation_with_headers_that_lie(daemon):
    """The kinds agree but the packet's own lengths do not: whoever segments it in software must notice."""
    for ip in (b'\x4f' + IPV4_TCP[1:], b'\x40' + IPV4_TCP[1:], b'\x65' + IPV4_TCP[1:],
               IPV4_TCP[:32] + b'\xf0' + IPV4_TCP[33:], IPV4_TCP[:32] + b'\x00' + IPV4_TCP[33:]):
        for payload in (b'', b'x' * 3000):
            with daemon.connect() as peer:
                _, ring = peer.ready(FEATURES)
                data = net_header(1, 1, 0xFFFF, 1, 34, 16) + frame(ip + payload, ethertype=0x0800)
                peer.write(DATA, data)
                ring.chain([(GPA + DATA, len(data), 0)])
                pause(0.02)
                peer.settle()


@lie
def frame_of_one_byte_segments(daemon):
    """64 KiB cut into segments of one byte each: work is bounded, the honest pair goes on."""
    with daemon.connect() as peer:
        _, ring = peer.ready(FEATURES)
        data = net_header(1, 1, 54, 1, 34, 16) + tcp_frame(b'x' * 60000)
        peer.write(DATA, data)
        for i in range(200):
            ring.chain([(GPA + DATA, len(data), 0)], start=i)
        daemon.check_honest()
        pause(0.2)
        peer.settle()


@lie
def chain_shorter_than_the_header(daemon):
    """CVE-2022-2132."""
    for length in (0, 1, 10, 11, 12, 13, 25):
        counted(daemon, (net_header() + frame())[:length], 'runt',
                pieces=[(GPA + DATA, length, 0)])


@lie
def header_split_over_twelve_descriptors(daemon):
    """No lie at all: framing is the driver's affair (2.7.4.3); the frame must arrive."""
    for packed in (False, True):
        with daemon.connect() as peer:
            _, ring = peer.ready(FEATURES, packed)
            data = net_header() + frame()
            peer.write(DATA, data)
            before = daemon.port('hostile')['rx_frames']
            ring.chain([(GPA + DATA + i, 1, 0) for i in range(len(data))])
            daemon.wait_for(lambda: daemon.port('hostile')['rx_frames'] > before, 20, 'the frame did not arrive')


@lie
def frame_without_readable_parts(daemon):
    for packed in (False, True):
        with daemon.connect() as peer:
            _, ring = peer.ready(FEATURES, packed)
            before = drops(daemon, 'runt')
            ring.chain([(GPA + DATA, 2000, WRITE)])
            daemon.wait_for(lambda: drops(daemon, 'runt') > before, 20, 'not counted')
            peer.settle()


@lie
def frame_longer_than_any_frame(daemon):
    with daemon.connect() as peer:
        _, ring = peer.ready(FEATURES)
        peer.write(DATA, net_header() + frame())
        ring.chain([(GPA, MEMORY_BYTES, 0)] * 64)
        pause(0.05)
        peer.settle()
        daemon.check_honest()


def owner_of(daemon, mac):
    return [entry['port'] for entry in daemon.ctl('fdb.show')['entries'] if entry['mac'] == mac.hex(':')]


def spoofed(daemon):
    return daemon.port('hostile')['counters']['rx_spoofed']


@lie
def source_address_of_another_port(daemon):
    """What is another port's by its mac= is neither forwarded nor learned, and its frames do not come here."""
    for packed in (False, True):
        with daemon.connect() as peer:
            receive, ring = peer.ready(FEATURES, packed)
            before, shout = spoofed(daemon), daemon.port('shout')['tx_frames']
            data = net_header() + frame(source=b'\x02shout', destination=b'\xff' * 6)
            peer.write(DATA, data)
            ring.chain([(GPA + DATA, len(data), 0)])
            daemon.wait_for(lambda: spoofed(daemon) == before + 1, 20, 'not counted as spoofed')
            assert owner_of(daemon, b'\x02shout') == ['shout'], 'the address was learned from a liar'
            assert daemon.port('shout')['tx_frames'] == shout, 'the frames were forwarded'


@lie
@only_over('vhost-user', because='SEND_RARP is a message of vhost-user')
def announcement_of_another_ports_address(daemon):
    with daemon.connect() as peer:
        peer.ready(FEATURES)
        before = spoofed(daemon)
        peer.send(SEND_RARP, b'\x02shout\0\0')
        daemon.wait_for(lambda: spoofed(daemon) > before, 20, 'not counted as spoofed')
        assert owner_of(daemon, b'\x02shout') == ['shout'], 'the address was learned from a liar'


def goes_away(peer, receive):
    pass


def offers_what_no_frame_fits_in(peer, receive):
    for i in range(8):
        receive.chain([(GPA + DATA + 4096, 1, WRITE)], i)


def offers_no_memory(peer, receive):
    receive.chain([(1 << 60, 2048, WRITE)])


def offers_what_is_read_only(peer, receive):
    receive.chain([(GPA + DATA + 4096, 2048, 0)])


@lie
@only_over('vhost-user', because='the switch keeps frames alike, whoever brings its buffers')
def frames_wait_for_a_liar(daemon):
    """With rx-retry: so much waits and no more, whatever is offered in the end, and nobody waits with it."""
    for what_it_does, packed in ((goes_away, False), (offers_what_no_frame_fits_in, True), (offers_no_memory, False),
                                 (offers_no_memory, True), (offers_what_is_read_only, True)):
        with daemon.port_set('hostile', rx_retry=10000, rx_retry_delay=1000), daemon.connect() as peer:
            receive, transmit = peer.ready(F_MRG_RXBUF, packed)
            peer.write(DATA, net_header() + frame(destination=b'\x02shout'))
            known, before = daemon.port('hostile')['rx_frames'], daemon.port('hostile')['counters']
            transmit.chain([(GPA + DATA, 72, 0)])
            daemon.wait_for(lambda: daemon.port('hostile')['rx_frames'] > known, 20, 'its frame was not taken')
            for _ in range(4096 // 256 + 1):  # a whole ring each time: long before the first is given up
                daemon.shout(b'\x02lies\x01', 256)
            wait_for_more(daemon, 'hostile', ('tx_hold_limit',), before, 256)
            wait_for_more(daemon, 'hostile', ('tx_held',), before, 4096)
            daemon.check_honest()
            what_it_does(peer, receive)
            daemon.check_honest()
        wait_for_more(daemon, 'hostile', ('tx_lost', 'tx_retry_limit'), before, 4096)  # with the session, or with the setting


TAGS_THAT_LIE = ['8100', '8100e0', '8100e00788a8e0', '8100000781000007810000070800 45e0', '0800 65e0', '86dd 4e0000', '0800', '86dd6e',
                 '0800 45']


@lie
def priorities_that_lie(daemon):
    """Headers that are cut short, or of another version, are not urgent; what says nothing but that it is urgent holds up nobody."""
    for by in ('pcp', 'dscp'):
        with daemon.port_set('shout', priority=by, frames_out='1/20'), daemon.connect() as peer:
            _, ring = peer.ready(FEATURES)
            before = daemon.port('shout')['counters']
            for tag in TAGS_THAT_LIE:
                counted_taken(daemon, peer, ring, net_header() + b'\x02shout\x02lies\x01' + bytes.fromhex(tag))
            urgent = daemon.port('shout')['counters']['tx_class3'] - before['tx_class3']
            assert urgent == (1 if by == 'pcp' else 0), urgent  # a whole tag, and half of the next one
            data = net_header() + b'\x02shout\x02lies\x01' + bytes.fromhex('8100e007 0800 45e00014').ljust(60, b'\0')
            peer.write(DATA, data)
            for _ in range(few(40)):
                taken = daemon.port('hostile')['rx_frames']
                for i in range(64):
                    ring.chain([(GPA + DATA, len(data), 0)], start=i)
                daemon.wait_for(lambda: daemon.port('hostile')['rx_frames'] >= taken + 64, 20, 'its frames are not taken')
            now = daemon.port('shout')['counters']
            assert now['tx_class3'] - before['tx_class3'] > urgent and now['tx_rate_limit'] > before['tx_rate_limit'], (before, now)
            daemon.check_honest()


def counted_taken(daemon, peer, ring, data):
    taken = sum(daemon.port('hostile')[key] for key in ('rx_frames', 'rx_drops'))
    peer.write(DATA, data)
    ring.chain([(GPA + DATA, len(data), 0)])
    daemon.wait_for(lambda: sum(daemon.port('hostile')[key] for key in ('rx_frames', 'rx_drops')) > taken, 20, f'not taken: {data.hex()}')


@lie
def addresses_by_the_hundred_thousand(daemon):
    """A guest that fills the forwarding database evicts only its own addresses."""
    daemon.broadcast(1)  # so that what is sent to the shouter below is not flooded
    with daemon.connect() as peer:
        _, ring = peer.ready(FEATURES)
        for i in range(256):
            ring.descriptor(i, GPA + DATA + 128 * i, 72)
        peer.write(ring.driver + 4, struct.pack('<256H', *range(256)))
        data = bytearray((net_header() + frame(source=b'\x06addr\x01', destination=b'\x02shout')).ljust(128, b'\0') * 256)
        for number in range(0, few(1200) * 256, 256):
            for i in range(256):
                struct.pack_into('>I', data, 128 * i + SOURCE + 1, number + i)
            peer.write(DATA, data)
            ring.avail_index = (ring.avail_index + 256) & 0xFFFF
            peer.write(ring.driver + 2, struct.pack('<H', ring.avail_index))
            ring.ring_kick()
            end = time.monotonic() + patience(20)
            while ring.used_now() != ring.avail_index:
                assert time.monotonic() < end, 'the frames are not taken'
                time.sleep(0)
        entries = daemon.ctl('fdb.show')['entries']
        honest = [entry for entry in entries if entry['port'].startswith('honest')]
        assert len(honest) >= 2, f'the honest addresses are gone, {len(entries)} others are there'
