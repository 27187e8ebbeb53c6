/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_test_guest.h"
#include <string.h>

static void fill(uint8_t *data, size_t bytes, uint8_t first)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(first + i / 3);
}

static void writes_are_read_again(void **state)
{
	static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT, V1 | PACKED | INDIRECT };
	uint8_t data[4096], back[4096];
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i] | F(FLUSH));
		fill(data, sizeof(data), 7);
		assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 8, data, sizeof(data)), BLK_S_OK);
		assert_memory_equal(g.disk + 8 * 512, data, sizeof(data));
		assert_int_equal(guest_read(&g, VIREO_BLK_IN, 8, back, sizeof(back)), BLK_S_OK);
		assert_memory_equal(back, data, sizeof(data));
		assert_int_equal(guest_do(&g, VIREO_BLK_FLUSH, 0, NULL, 0), BLK_S_OK);
		assert_int_equal(g.seen_count, 3);
		guest_stop(&g);
	}
}

static void the_serial_is_told_with_its_zeroes(void **state)
{
	char id[24];
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(guest_read(&g, BLK_T_GET_ID, 0, id, 20), BLK_S_OK);
	assert_memory_equal(id, "vireo-0123456789-abc", 20);
	assert_int_equal(guest_read(&g, BLK_T_GET_ID, 0, id, 24), BLK_S_OK);
	assert_memory_equal(id, "vireo-0123456789-abc\0\0\0\0", 24);
	assert_int_equal(guest_read(&g, BLK_T_GET_ID, 0, id, 5), BLK_S_OK);
	assert_memory_equal(id, "vireo", 5);
	guest_stop(&g);
}

static void requests_end_in_any_order(void **state)
{
	uint8_t data[512];
	struct asked a[3];
	void *cookie;
	struct guest g;

	guest_start_features(&g, V1 | F(FLUSH));
	g.holds = true;
	fill(data, sizeof(data), 1);
	for (unsigned i = 0; i < 3; i++)
		a[i] = guest_ask(&g, 0, VIREO_BLK_OUT, i, data, sizeof(data));
	assert_int_equal(guest_poll(&g, 0), 3);
	assert_int_equal(g.submits, 1);
	assert_int_equal(vireo_blk_in_flight(g.blk, 0), 3);
	held_do(&g, 1);
	held_do(&g, 1);
	assert_int_equal(guest_used(&g, 0, NULL), NOT_USED);
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(guest_used(&g, 0, &cookie), 1);
	assert_ptr_equal(cookie, a[1].status);
	assert_int_equal(guest_used(&g, 0, &cookie), 1);
	assert_ptr_equal(cookie, a[2].status);
	assert_int_equal(*a[0].status, NO_STATUS);
	held_do(&g, 0);
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(guest_used(&g, 0, &cookie), 1);
	assert_int_equal(*a[0].status, BLK_S_OK);
	assert_int_equal(vireo_blk_in_flight(g.blk, 0), 0);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_are_read_again),
		cmocka_unit_test(the_serial_is_told_with_its_zeroes),
		cmocka_unit_test(requests_end_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
