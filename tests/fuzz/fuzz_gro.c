/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Bursts of TCP segments with any bytes of them changed, in any pieces: what is joined is cut again, and each comes out as it went in, none
 * before another of its flow.
 */
#include "fuzz.h"
#include "switch/gro_frames.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void change(struct gframe *f, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);

	for (unsigned i = 0; i < how % 4u; i++)
		f->at[fuzz_u16(in) % f->bytes] = fuzz_u8(in);
	if (how & 0x10)
		f->bytes = 14 + fuzz_u16(in) % (f->bytes - 13);
	if (how & 0x20 && f->at[12] == 8 && f->bytes > 60)
		gframe_sum(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct offload_arena *arena;
	static struct gburst b;
	struct fuzz_input in = {data, size};
	uint32_t sequence[8] = {0}, number[8] = {0};

	if (!arena && offload_arena_new(BURST_FRAMES, 128u * 1024, &arena))
		abort();
	b.count = 1 + fuzz_u8(&in) % BURST_FRAMES;
	b.pieces_seed = fuzz_u16(&in);
	for (unsigned i = 0; i < b.count; i++) {
		uint8_t what = fuzz_u8(&in), flow = what & 7;
		uint32_t payload = what & 0x20 ? fuzz_u16(&in) % 1400 : 100;

		gframe_make(&b.frames[i], flow, number[flow], sequence[flow], payload);
		if (what & 0x40)
			change(&b.frames[i], &in);
		if (what & 0x80)
			continue; /* the same once more */
		sequence[flow] += payload;
		number[flow]++;
	}
	gburst_check(&b, arena);
	return 0;
}
