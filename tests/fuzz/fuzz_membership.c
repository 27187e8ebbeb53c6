/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What frames of any content say of groups: nothing beyond them is looked at, how much of a frame is there changes no verdict, but for
 * "more", and a report that has been looked at can be read to its end.
 */
#include "fuzz.h"
#include "switch/membership.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX 2048u

static bool is_mcast(const struct mcast_address *group)
{
	return group->family == 4 ? group->bytes[0] >> 4 == 0xe : group->family == 6 && group->bytes[0] == 0xff;
}

static void read_report(const uint8_t *bytes, struct membership *report)
{
	struct mcast_address group;
	unsigned records = 0;

	while (membership_next(bytes, report, &group)) {
		assert(is_mcast(&group));
		assert(++records <= UINT16_MAX);
		mcast_is_local(&group);
	}
	assert(!membership_next(bytes, report, &group));
}

static enum membership_kind ask(const uint8_t *bytes, uint32_t have, uint32_t len, uint32_t type_at, bool summed)
{
	uint8_t *exact = malloc(have); /* whose end the sanitizer knows */
	enum membership_kind kind;
	struct membership m = {.records = 0};

	if (!exact)
		abort();
	memcpy(exact, bytes, have);
	kind = membership_look(exact, have, len, type_at, summed, &m);
	assert(!m.to.family || is_mcast(&m.to));
	if (kind == MEMBERSHIP_QUERY)
		assert(!m.group.family || is_mcast(&m.group));
	if (kind == MEMBERSHIP_REPORT)
		read_report(exact, &m);
	free(exact);
	return kind;
}

/* What stands at the front of most messages, so that the fuzzer need not find it. */
static void seed(uint8_t *bytes, uint32_t at, uint8_t kind)
{
	static const uint8_t igmp[] = {8, 0, 0x46, 0xc0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 5, 224, 0, 0, 1, 0x94, 4, 0, 0};
	static const uint8_t mld[] = {0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 0, 1, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5,
				      0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 58, 0, 5, 2, 0, 0, 1, 0};

	if (kind % 3 == 1)
		memcpy(bytes + at, igmp, sizeof(igmp));
	else if (kind % 3 == 2)
		memcpy(bytes + at, mld, sizeof(mld));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	static uint8_t bytes[FRAME_BYTES_MAX];
	uint8_t kind = fuzz_u8(&in), flags = fuzz_u8(&in);
	uint32_t len = 14 + fuzz_u16(&in) % (FRAME_BYTES_MAX - 14), have = 14 + fuzz_u16(&in) % (len - 13);
	uint32_t type_at = flags & 1 ? 16 : 12, head = type_at + (kind % 3 == 1 ? 26 : 50);
	enum membership_kind whole, part;

	memset(bytes, 0, sizeof(bytes));
	seed(bytes, type_at, kind);
	if (flags & 2)
		head = 0;
	if (flags & 4) { /* the length that it has */
		uint32_t at = type_at + (kind % 3 == 1 ? 4 : 6), ip = len > type_at + 42 ? len - type_at - (kind % 3 == 1 ? 2 : 42) : 0;

		bytes[at] = (uint8_t)(ip >> 8);
		bytes[at + 1] = (uint8_t)ip;
	}
	if (head < len)
		fuzz_take(&in, bytes + head, in.left < len - head ? in.left : len - head);
	whole = ask(bytes, len, len, type_at, flags & 8);
	part = ask(bytes, have, len, type_at, flags & 8);
	assert(whole != MEMBERSHIP_MORE);
	assert(part == whole || (part == MEMBERSHIP_MORE && have < len));
	return 0;
}
