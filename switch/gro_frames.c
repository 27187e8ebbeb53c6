/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/gro_frames.h"
#include "switch/checksum.h"
#include <stdlib.h>
#include <string.h>

/* Unlike assert(), wherever it is built. */
static void must(bool ok)
{
	if (!ok)
		abort();
}

static void put(struct gframe *f, const void *bytes, uint32_t count)
{
	memcpy(f->at + f->bytes, bytes, count);
	f->bytes += count;
}

static uint32_t network_of(const struct gframe *f)
{
	return f->at[12] == 0x81 ? 18 : 14;
}

static bool is_six(const struct gframe *f)
{
	return f->at[network_of(f) - 2] == 0x86;
}

uint32_t gframe_transport(const struct gframe *f)
{
	return network_of(f) + (is_six(f) ? 40 : 20);
}

void gframe_sum(struct gframe *f)
{
	uint8_t *ip = f->at + network_of(f), *tcp = f->at + gframe_transport(f);
	uint32_t bytes = f->bytes - gframe_transport(f);
	bool six = is_six(f);
	uint64_t pseudo = checksum_add(0, ip + (six ? 8 : 12), six ? 32 : 8);
	uint16_t sum;

	store_be16(ip + (six ? 4 : 2), (uint16_t)(bytes + (six ? 0 : 20)));
	if (!six) {
		store_be16(ip + 10, 0);
		sum = checksum_fold(checksum_add(0, ip, 20));
		memcpy(ip + 10, &sum, 2);
	}
	store_be16(tcp + 16, 0);
	pseudo = checksum_add_u16(checksum_add_u16(pseudo, (uint16_t)bytes), 6);
	sum = checksum_fold(checksum_add(pseudo, tcp, bytes));
	memcpy(tcp + 16, &sum, 2);
}

void gframe_make(struct gframe *f, unsigned flow, unsigned number, uint32_t sequence, uint32_t payload)
{
	const bool six = flow & 1, tagged = flow & 2, options = flow & 4;
	uint8_t numbers[8] = {0};

	f->bytes = 0;
	put(f, (uint8_t[]){2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, 12);
	put(f, (uint8_t[]){0x81, 0, 0, 5}, tagged ? 4 : 0);
	put(f, six ? (uint8_t[]){0x86, 0xdd} : (uint8_t[]){8, 0}, 2);
	if (six) {
		put(f, (uint8_t[]){0x60, 0, 0, 1, 0, 0, 6, 64}, 8);
		put(f, (uint8_t[16]){0xfd, 7, [15] = 1}, 16);
		put(f, (uint8_t[16]){0xfd, 7, [15] = 2}, 16);
	} else {
		put(f, (uint8_t[]){0x45, 0, 0, 0, (uint8_t)((0xfff8 + number) >> 8), (uint8_t)(0xfff8 + number), 0x40, 0, 64, 6, 0, 0}, 12);
		put(f, (uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
	}
	put(f, (uint8_t[]){0, 80, (uint8_t)(flow >> 8), (uint8_t)flow}, 4);
	store_be32(numbers, sequence);
	store_be32(numbers + 4, 77);
	put(f, numbers, 8);
	put(f, (uint8_t[]){options ? 0x80 : 0x50, 0x10, 1, 0, 0, 0, 0, 0}, 8);
	put(f, (uint8_t[]){1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 9}, options ? 12 : 0);
	for (uint32_t i = 0; i < payload; i++)
		f->at[f->bytes++] = (uint8_t)((sequence + i) * 31 >> 3);
	gframe_sum(f);
}

/* ---- the check ---- */

struct came {
	struct gframe const *frames;
	unsigned count;
	bool seen[BURST_FRAMES];
};

/* TCP with the same ports, addresses and link header: must stay in order. */
static bool same_flow(const struct gframe *a, const struct gframe *b)
{
	struct headers x, y;
	uint32_t addresses;

	if (!headers_parse(a->at, a->bytes, a->bytes, &x) || !headers_parse(b->at, b->bytes, b->bytes, &y) || x.ip != y.ip ||
	    x.network != y.network || x.fragment || y.fragment || x.protocol != 6 || y.protocol != 6)
		return false;
	addresses = x.network + (x.ip == 6 ? 8 : 12);
	return memcmp(a->at, b->at, x.network) == 0 && memcmp(a->at + addresses, b->at + addresses, x.ip == 6 ? 32 : 8) == 0 && a->bytes >= x.transport + 4u &&
	       b->bytes >= y.transport + 4u && memcmp(a->at + x.transport, b->at + y.transport, 4) == 0;
}

static void give_back(struct came *came, const uint8_t *bytes, uint32_t count)
{
	unsigned i = 0;

	while (i < came->count && (came->seen[i] || came->frames[i].bytes != count || memcmp(came->frames[i].at, bytes, count) != 0))
		i++;
	must(i < came->count);
	came->seen[i] = true;
	for (unsigned before = 0; before < i; before++)
		must(came->seen[before] || !same_flow(&came->frames[before], &came->frames[i]));
}

static void cut(struct came *came, struct offload_arena *arena, const struct vireo_frame *frame)
{
	static uint8_t bytes[OFFLOAD_FRAME_BYTES];
	struct offload_job job;
	const struct vireo_frame *piece = frame;

	if (frame->offload.gso == VIREO_GSO_NONE) {
		offload_linearise(bytes, piece);
		give_back(came, bytes, piece->len_bytes);
		return;
	}
	offload_reset(arena);
	must(!offload_begin(&job, arena, frame));
	must(offload_pieces(&job) > 1);
	while (!job.finished) {
		must(offload_has_slot(arena));
		piece = offload_next(&job);
		offload_linearise(bytes, piece);
		give_back(came, bytes, piece->len_bytes);
	}
}

uint32_t gframe_draw(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % below;
}

/* In up to five pieces, one more than a segment that is joined may have. */
static void scatter(struct vireo_frame *frame, struct iovec *pieces, const struct gframe *from, uint32_t *seed)
{
	uint32_t left = from->bytes, at = 0;

	*frame = (struct vireo_frame){.iov = pieces, .len_bytes = from->bytes};
	while (left) {
		uint32_t bytes = frame->iov_count == 4 || !gframe_draw(seed, 2) ? left : 1 + gframe_draw(seed, left);

		pieces[frame->iov_count++] = (struct iovec){(void *)(uintptr_t)(from->at + at), bytes};
		at += bytes;
		left -= bytes;
	}
	memcpy(frame->head, from->at, min_u32(from->bytes, VIREO_FRAME_HEAD_BYTES));
}

unsigned gburst_check(const struct gburst *burst, struct offload_arena *arena)
{
	static struct vireo_frame frames[BURST_FRAMES];
	static struct iovec pieces[BURST_FRAMES][5];
	static struct gro_room room;
	struct came came = {.frames = burst->frames, .count = burst->count};
	uint32_t seed = burst->pieces_seed;
	unsigned left;

	for (unsigned i = 0; i < burst->count; i++)
		scatter(&frames[i], pieces[i], &burst->frames[i], &seed);
	left = gro_merge(&room, frames, burst->count);
	must(left <= burst->count);
	for (unsigned i = 0; i < left; i++)
		cut(&came, arena, &frames[i]);
	for (unsigned i = 0; i < burst->count; i++)
		must(came.seen[i]);
	return left;
}
