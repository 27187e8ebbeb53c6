/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/membership_frames.h"
#include "switch/checksum.h"
#include <stdbool.h>
#include <string.h>

static bool is_six(const struct mframe *f)
{
	return f->bytes[12] == 0x86;
}

void store16(struct mframe *f, uint32_t at, uint16_t value)
{
	f->bytes[at] = (uint8_t)(value >> 8);
	f->bytes[at + 1] = (uint8_t)value;
}

void mframe_lengths(struct mframe *f)
{
	if (is_six(f))
		store16(f, 14 + 4, (uint16_t)(f->count - 14 - 40));
	else
		store16(f, 14 + 2, (uint16_t)(f->count - 14));
}

struct mframe *mframe_sum(struct mframe *f)
{
	uint32_t bytes = f->count - f->message;
	uint64_t sum = 0;
	uint16_t folded;

	store16(f, f->message + 2, 0);
	if (is_six(f))
		sum = checksum_add_u16(checksum_add_u16(checksum_add(0, f->bytes + 14 + 8, 32), (uint16_t)bytes), 58);
	folded = checksum_fold(checksum_add(sum, f->bytes + f->message, bytes));
	memcpy(f->bytes + f->message + 2, &folded, 2);
	return f;
}

static void put(struct mframe *f, const void *bytes, uint32_t count)
{
	memcpy(f->bytes + f->count, bytes, count);
	f->count += count;
}

static void put_group(struct mframe *f, uint8_t group)
{
	uint8_t four[4] = {239, 1, 1, group}, six[16] = {0xff, 5, [15] = group};

	if (!group) {
		memset(four, 0, sizeof(four));
		memset(six, 0, sizeof(six));
	}
	put(f, is_six(f) ? six : four, is_six(f) ? 16 : 4);
}

static void begin4(struct mframe *f, uint8_t protocol, uint8_t group, bool to_all)
{
	memset(f, 0, sizeof(*f));
	put(f, (uint8_t[]){1, 0, 0x5e, to_all ? 0 : 1, to_all ? 0 : 1, to_all ? 1 : group}, 6);
	put(f, (uint8_t[]){2, 0, 0, 0, 0, 0, 8, 0}, 8);
	put(f, (uint8_t[]){0x46, 0xc0, 0, 0, 0, 0, 0, 0, 1, protocol, 0, 0, 10, 0, 0, 5}, 16);
	put(f, to_all ? (uint8_t[]){224, 0, 0, 1} : (uint8_t[]){239, 1, 1, group}, 4);
	put(f, (uint8_t[]){0x94, 4, 0, 0}, 4);
	f->message = f->count;
}

static void begin6(struct mframe *f, uint8_t next, uint8_t group, bool to_all)
{
	const uint8_t all[16] = {0xff, 2, [15] = 1}, one[16] = {0xff, 5, [15] = group}, from[16] = {0xfe, 0x80, [15] = 5};

	memset(f, 0, sizeof(*f));
	put(f, (uint8_t[]){0x33, 0x33, 0, 0, 0, to_all ? 1 : group}, 6);
	put(f, (uint8_t[]){2, 0, 0, 0, 0, 0, 0x86, 0xdd}, 8);
	put(f, (uint8_t[]){0x60, 0, 0, 0, 0, 0, next, 1}, 8);
	put(f, from, 16);
	put(f, to_all ? all : one, 16);
	if (!next)
		put(f, (uint8_t[]){58, 0, 5, 2, 0, 0, 1, 0}, 8);
	f->message = f->count;
}

static void end(struct mframe *f)
{
	mframe_lengths(f);
	mframe_sum(f);
}

void igmp(struct mframe *f, uint8_t type, uint8_t code, uint8_t group)
{
	begin4(f, 2, group, !group);
	put(f, (uint8_t[]){type, code, 0, 0}, 4);
	put_group(f, group);
	end(f);
}

static void put_sources(struct mframe *f, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		put(f, (uint8_t[16]){10, 1, 1, (uint8_t)i}, is_six(f) ? 16 : 4);
}

void igmp3_query(struct mframe *f, uint8_t code, unsigned sources)
{
	igmp(f, 0x11, code, sources ? 7 : 0);
	put(f, (uint8_t[]){2, 125, 0, (uint8_t)sources}, 4);
	put_sources(f, sources);
	end(f);
}

static void put_records(struct mframe *f, const char *records, unsigned count)
{
	for (; count; count--, records += 4) {
		uint8_t sources = (uint8_t)records[2];

		put(f, (uint8_t[]){(uint8_t)records[0], (uint8_t)records[1], 0, sources}, 4);
		put_group(f, (uint8_t)records[3]);
		put_sources(f, sources);
		f->count += (uint8_t)records[1] * 4u;
	}
}

void igmp3(struct mframe *f, const char *records, unsigned count)
{
	begin4(f, 2, 22, false);
	put(f, (uint8_t[]){0x22, 0, 0, 0, 0, 0, 0, (uint8_t)count}, 8);
	put_records(f, records, count);
	end(f);
}

void mld(struct mframe *f, uint8_t type, uint16_t code, uint8_t group)
{
	begin6(f, 0, group, !group);
	put(f, (uint8_t[]){type, 0, 0, 0, (uint8_t)(code >> 8), (uint8_t)code, 0, 0}, 8);
	put_group(f, group);
	end(f);
}

void mld2_query(struct mframe *f, uint16_t code, unsigned sources)
{
	mld(f, 130, code, sources ? 7 : 0);
	put(f, (uint8_t[]){2, 125, 0, (uint8_t)sources}, 4);
	put_sources(f, sources);
	end(f);
}

void mld2(struct mframe *f, const char *records, unsigned count)
{
	begin6(f, 0, 22, false);
	put(f, (uint8_t[]){143, 0, 0, 0, 0, 0, 0, (uint8_t)count}, 8);
	put_records(f, records, count);
	end(f);
}

static void put_udp(struct mframe *f)
{
	put(f, (uint8_t[]){0x12, 0x34, 0x56, 0x78, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 16);
	mframe_lengths(f);
}

void udp4(struct mframe *f, uint8_t group)
{
	begin4(f, 17, group, false);
	put_udp(f);
}

void udp6(struct mframe *f, uint8_t group)
{
	begin6(f, 17, group, false);
	put_udp(f);
}
