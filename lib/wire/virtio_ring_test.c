/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/virtio_ring.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void fields_lie_where_the_specification_has_them(void **state)
{
	assert_int_equal(offsetof(struct split_desc, len), 8);
	assert_int_equal(offsetof(struct split_desc, flags), 12);
	assert_int_equal(offsetof(struct split_desc, next), 14);
	assert_int_equal(offsetof(struct split_avail, idx), 2);
	assert_int_equal(offsetof(struct split_avail, ring), 4);
	assert_int_equal(offsetof(struct split_used, ring), 4);
	assert_int_equal(offsetof(struct packed_desc, len), 8);
	assert_int_equal(offsetof(struct packed_desc, id), 12);
	assert_int_equal(offsetof(struct packed_desc, flags), 14);
	assert_int_equal(offsetof(struct packed_event, flags), 2);
}

static void event_fields_end_their_areas(void **state)
{
	static uint64_t avail[1024], used[1024];

	for (uint32_t size = 1; size <= 512; size *= 2) {
		uint16_t *used_event = split_used_event((struct split_avail *)avail, size);
		uint16_t *avail_event = split_avail_event((struct split_used *)used, size);

		assert_int_equal((char *)(used_event + 1) - (char *)avail, split_avail_bytes(size));
		assert_int_equal((char *)(avail_event + 1) - (char *)used, split_used_bytes(size));
	}
	assert_int_equal(split_desc_bytes(RING_SIZE_MAX), 16 * 32768);
	assert_int_equal(packed_desc_bytes(RING_SIZE_MAX), 16 * 32768);
}

/* By counting, instead of by the specification's formula. */
static int passed_by_counting(uint16_t event, uint16_t now, uint16_t was)
{
	for (uint16_t i = was; i != now; i++)
		if (i == event)
			return 1;
	return 0;
}

static void event_passes_when_its_entry_is_added(void **state)
{
	static const uint16_t bases[] = { 0, 1, 100, 32767, 32768, 65530, 65535 };

	for (unsigned b = 0; b < 7; b++) {
		for (unsigned step = 0; step < 40; step++) {
			for (int ahead = -45; ahead < 45; ahead++) {
				uint16_t was = bases[b], now = (uint16_t)(was + step),
					 event = (uint16_t)(was + ahead);

				assert_int_equal(split_event_passed(event, now, was),
						 passed_by_counting(event, now, was));
			}
		}
	}
}

static void values_are_little_endian_in_memory(void **state)
{
	uint16_t v16 = le16(0x0102);
	uint32_t v32 = le32(0x01020304);
	uint64_t v64 = le64(UINT64_C(0x0102030405060708));

	assert_memory_equal(&v16, "\2\1", 2);
	assert_memory_equal(&v32, "\4\3\2\1", 4);
	assert_memory_equal(&v64, "\10\7\6\5\4\3\2\1", 8);
	assert_int_equal(le16(v16), 0x0102);
	assert_int_equal(le32(v32), 0x01020304);
	assert_int_equal(le64(v64), UINT64_C(0x0102030405060708));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_lie_where_the_specification_has_them),
		cmocka_unit_test(event_fields_end_their_areas),
		cmocka_unit_test(event_passes_when_its_entry_is_added),
		cmocka_unit_test(values_are_little_endian_in_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
