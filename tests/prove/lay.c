/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * One descriptor: wherever it says that it lies, and however it lies there, what is laid of it are pieces of the guest's memory that
 * together are as long as it says, in the room that there is; a readable one after a writable one is refused. And an entry of an
 * indirect table that lies in many regions is read inside them.
 * Bounds: ROOM pieces; up to PIECES_AT_ONCE of them for one descriptor; a new map comes once. Not a ring that merely looks ahead
 * (`look`, absent.c).
 */

#include "ring.h"

#define ROOM 3u

void prove_lay_descriptor(void)
{
	struct iovec iov[ROOM];
	unsigned room = nondet_u32(), count;
	bool writable = nondet_bool(), writable_before = nondet_bool();
	struct ring_pieces p;
	uint32_t len = nondet_u32();
	struct ring ring = { 0 };
	uint64_t sum = 0;
	int r;

	assume(room <= ROOM);
	any_memory(&ring);
	ring.size = nondet_u32();
	assume(ring.size <= 32768);
	ring.lazy = nondet_bool();
	stretches_left = 2;
	map_offered = true;
	p = ring_pieces_of(iov, room);
	p.writable_seen = writable_before;
	p.empty_count = nondet_u32();
	r = ring_lay(&ring, &p, nondet_u64(), len, writable);
	assert(r == 0 || r == -EPROTO || r == -ENOBUFS || r == -EFAULT);
	assert(r != -EPROTO || ring.error);
	if (r)
		return;
	count = room - p.room;
	assert(writable || !writable_before);
	assert(count <= room && p.iov == iov + count && (writable ? p.writable_count : p.readable_count) == count);
	assert((writable ? p.readable_count : p.writable_count) == 0);
	for (unsigned i = 0; i < count; i++) {
		assert(iov[i].iov_len && __CPROVER_rw_ok(iov[i].iov_base, iov[i].iov_len));
		sum += iov[i].iov_len;
	}
	assert(sum == len && (writable ? p.writable_bytes : p.readable_bytes) == len);
}

void prove_lay_table_entry(void)
{
	struct ring ring = { 0 };
	struct ring_desc desc;
	int r;

	any_memory(&ring);
	ring.lazy = nondet_bool();
	stretches_left = 2 * sizeof(struct split_desc);
	map_offered = true;
	r = ring_table_read(&ring, nondet_u64(), nondet_u32(), &desc);
	assert(r == 0 || r == -EPROTO || r == -EFAULT);
}
