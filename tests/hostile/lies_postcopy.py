# SPDX-License-Identifier: BSD-3-Clause
"""Postcopy migration with a front end that lies, and one that never brings a page."""
import array
import contextlib
import os
import select
import socket
import struct

from bench import lie
from peer import *
from vhost_user import NEED_REPLY, SET_MEM_TABLE, UADDR, VERSION, mem_table

ONLY_OVER = ('vhost-user',), 'no other transport has messages for it'

P_PAGEFAULT = 1 << 8
ADVISE, LISTEN, END = 28, 29, 30
MSG_BYTES = 32  # struct uffd_msg


@contextlib.contextmanager
def advised(daemon):
    """A session that has its userfaultfd: (peer, fd). The fd is kept for longer than the session, if that hangs up, and closed with the peer."""
    with daemon.connect() as peer:
        peer.negotiate(protocol=P_PAGEFAULT | 1 << 3)
        assert peer.protocol & P_PAGEFAULT, 'PAGEFAULT is not offered'
        peer.send(ADVISE)
        header, ancillary, _, _ = peer.sock.recvmsg(12, 64)
        fds = array.array('i')
        fds.frombytes(ancillary[0][2])
        fd = peer.keep(fds[0])
        assert struct.unpack('=III', header) == (ADVISE, 5, 0), header
        yield peer, fd


@contextlib.contextmanager
def table_told(daemon):
    """The daemon's memory of ours comes late from now on, and all of it is missing."""
    with advised(daemon) as (peer, fd):
        assert peer.ack(LISTEN) == 0
        peer.make_memory()
        peer.send(SET_MEM_TABLE, mem_table([(GPA, len(peer.memory), UADDR, 0)]), [peer.memfd])
        request, data = peer.receive()
        assert request == SET_MEM_TABLE and len(data) == 40
        yield peer, fd


@contextlib.contextmanager
def sleeping(daemon):
    """Somebody in the daemon sleeps in a page of ours."""
    with table_told(daemon) as (peer, fd):
        peer.send(SET_MEM_TABLE, struct.pack('=Q', 0))
        for index in range(2):
            peer.ring(index)
        peer.settle()
        assert select.select([fd], [], [], patience(20))[0], 'nobody has touched a page'
        os.read(fd, MSG_BYTES)
        yield peer


@lie
def pages_that_never_come(daemon):
    """Everybody else is served, for as long as we like, and the session ends when we do."""
    with sleeping(daemon):
        assert daemon.port('hostile')['aside'], 'the port is not served by a thread of its own'
        for _ in range(few(5)):
            daemon.broadcast(8)
            daemon.check_honest()
            pause(0.2)
    daemon.wait_for(lambda: not daemon.port('hostile')['aside'], 20, 'the port has not come back')


@lie
def rings_that_are_stopped_where_pages_never_come(daemon):
    """The stop waits, and hanging up while it does ends it."""
    with sleeping(daemon) as peer:
        peer.send(11, struct.pack('=II', 0, 0))
        for _ in range(3):
            daemon.check_honest()


@lie
def pages_that_never_come_and_an_end(daemon):
    with sleeping(daemon) as peer:
        assert peer.ask_u64(END) == 0
        peer.settle()


@lie
def userfaultfd_that_is_kept(daemon):
    """The copy that we hold keeps nobody asleep when the session has ended."""
    with sleeping(daemon) as peer:
        peer.hang_up()
        with daemon.connect() as another:
            another.ready()


@lie
def userfaultfd_that_is_none(daemon):
    """It is the daemon that makes one: none is taken from a front end, be it one or not."""
    for request in (ADVISE, LISTEN, END):
        for make in (lambda _: os.eventfd(0), lambda _: os.open('/dev/null', os.O_RDWR), os.dup):
            with advised(daemon) as (peer, fd):
                handed = peer.keep(make(fd))
                peer.send(request, b'', [handed])
                assert peer.hung_up(), f'message {request} with an fd was taken'
    daemon.check_honest()


@lie
def table_that_is_never_acknowledged(daemon):
    with table_told(daemon):
        for _ in range(3):
            daemon.check_honest()


@lie
def table_that_is_acknowledged_with_something_else(daemon):
    for request, payload in ((SET_MEM_TABLE, struct.pack('=Q', 1)), (END, b''), (1, b''), (LISTEN, b'')):
        with table_told(daemon) as (peer, _):
            peer.send(request, payload)
            assert peer.hung_up()


@lie
def postcopy_out_of_order(daemon):
    for requests in ((LISTEN,), (END,), (ADVISE, ADVISE), (ADVISE, END), (ADVISE, LISTEN, LISTEN), (ADVISE, LISTEN, END, END)):
        with daemon.connect() as peer:
            peer.negotiate(protocol=P_PAGEFAULT | 1 << 3)
            for request in requests:
                peer.send(request, flags=VERSION | NEED_REPLY)
            assert peer.hung_up()


@lie
def postcopy_that_was_not_negotiated(daemon):
    for request in (ADVISE, LISTEN, END):
        with daemon.connect() as peer:
            peer.negotiate()
            peer.send(request)
            assert peer.hung_up()


@lie
def postcopy_that_is_left_in_the_middle(daemon):
    for how_far in range(3):
        with advised(daemon) as (peer, _):
            if how_far:
                assert peer.ack(LISTEN) == 0
            if how_far == 2:
                peer.sock.shutdown(socket.SHUT_WR)
