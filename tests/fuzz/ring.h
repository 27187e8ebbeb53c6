/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_RING_H
#define FUZZ_RING_H

/*
 * Rings of any content, in the format that the including file asks for (FUZZ_PACKED). The input sets the ring
 * up, lays memory down in stretches, and has chains popped, looked at in full, given back in one way or the
 * other; between the steps memory changes again, as a guest's does.
 */
#include "fuzz.h"
#include "ring/ring.h"
#include <assert.h>

#define CHAINS_MAX 64u
#define STEPS_MAX 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fuzz_memory memory;
static uint32_t sum;

/* Every byte of every piece is read, and every writable one written: the sanitizer sees a piece that lies. */
static void touch(const struct vireo_chain *chain)
{
	uint64_t readable = 0, writable = 0;

	for (uint32_t i = 0; i < chain->readable_count; i++) {
		for (size_t j = 0; j < chain->iov[i].iov_len; j++)
			sum += ((volatile uint8_t *)chain->iov[i].iov_base)[j];
		readable += chain->iov[i].iov_len;
	}
	for (uint32_t i = chain->readable_count; i < chain->readable_count + chain->writable_count; i++) {
		memset(chain->iov[i].iov_base, (int)i, chain->iov[i].iov_len < 64 ? chain->iov[i].iov_len : 64);
		((volatile uint8_t *)chain->iov[i].iov_base)[chain->iov[i].iov_len - 1] = 1;
		writable += chain->iov[i].iov_len;
	}
	assert(readable == chain->readable_bytes && writable == chain->writable_bytes);
}

static void lay_memory(struct fuzz_input *in)
{
	uint8_t stretch[256];
	uint32_t at = fuzz_u16(in), bytes = fuzz_u8(in);

	fuzz_take(in, stretch, bytes);
	fuzz_memory_write(&memory, at, stretch, bytes);
}

static bool step(struct fuzz_input *in, struct ring *ring, uint32_t size)
{
	static struct iovec iov[256 + 1024];
	struct vireo_chain chains[CHAINS_MAX];
	uint8_t action = fuzz_u8(in);
	unsigned back;
	int n;

	n = ring_pop(ring, chains, 1 + action % CHAINS_MAX, iov, ARRAY_SIZE(iov));
	if (n < 0) {
		assert(ring_error(ring));
		return false;
	}
	assert((uint32_t)n <= size);
	for (int i = 0; i < n; i++)
		touch(&chains[i]);
	back = action & 0x40 ? (unsigned)n / 2 : 0;
	ring_unpop(ring, chains + ((unsigned)n - back), back);
	for (int i = 0; i < n - (int)back; i++)
		ring_push(ring, &chains[i], &chains[i].writable_bytes, 1);
	sum += ring_publish(ring);
	sum += ring_kick_enable(ring, action & 0x80);
	sum += ring_available(ring);
	lay_memory(in);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t shape = fuzz_u8(&in), flags = fuzz_u8(&in);
	struct ring_setup setup = {
		.packed = FUZZ_PACKED,
		.indirect = flags & 1,
		.event_idx = flags & 2,
		.in_order = flags & 4,
		.keeps_order = !(flags & 8),
		.size = FUZZ_PACKED ? 1 + shape : 1u << (shape % 9),
		.base = fuzz_u16(&in) | (FUZZ_PACKED ? (uint32_t)fuzz_u16(&in) << 16 : 0),
	};
	const char *why = NULL;
	struct ring *ring;

	if (!memory.map)
		fuzz_memory_init(&memory);
	fuzz_memory_clear(&memory);
	setup.map = memory.map;
	setup.desc = memory.host[0];
	setup.driver = memory.host[0] + 0x2000;
	setup.device = memory.host[0] + 0x3000;
	for (unsigned stretches = fuzz_u8(&in) % 16; stretches; stretches--)
		lay_memory(&in);
	if (ring_new(&setup, &ring, &why) < 0) {
		assert(why);
		return 0;
	}
	for (unsigned i = 0; i < STEPS_MAX && step(&in, ring, setup.size); i++)
		;
	ring_free(ring);
	return 0;
}

#endif
