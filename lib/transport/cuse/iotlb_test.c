/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/util.h"
#include "transport/cuse/iotlb.h"
#include <cmocka.h>
#include <errno.h>
#include <linux/vhost_types.h>
#include <stdlib.h>
#include <string.h>

/* IOTLB messages and the table that they make. */

static const struct iotlb_message good = { .type = VHOST_IOTLB_UPDATE,
					   .perm = VHOST_ACCESS_RW,
					   .iova = 0x1000,
					   .uaddr = 0x7000,
					   .size_bytes = 0x1000 };

static int parse(const struct iotlb_message *message, size_t bytes, struct iotlb_message *ret)
{
	uint8_t data[IOTLB_MESSAGE_BYTES + 8] = { 0 };
	const char *why = NULL;
	int r;

	iotlb_build(message, data);
	r = iotlb_parse(data, bytes, ret, &why);
	assert_true(!r == !why);
	return r;
}

static void both_versions_are_read(void **state)
{
	for (int v2 = 0; v2 < 2; v2++) {
		struct iotlb_message message = good, got;

		message.v2 = v2;
		assert_int_equal(parse(&message, IOTLB_MESSAGE_BYTES, &got), 0);
		assert_int_equal(got.v2, v2);
		assert_int_equal(got.iova, 0x1000);
		assert_int_equal(got.uaddr, 0x7000);
		assert_int_equal(got.size_bytes, 0x1000);
		assert_int_equal(got.perm, VHOST_ACCESS_RW);
	}
}

static void layout_is_the_kernels(void **state)
{
	const struct vhost_msg_v2 v2 = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = { .iova = 0x5000, .size = 0x1000, .type = VHOST_IOTLB_INVALIDATE },
	};
	const struct vhost_msg v1 = { .type = VHOST_IOTLB_MSG, .iotlb = v2.iotlb };
	struct iotlb_message got;
	const char *why;

	assert_int_equal(iotlb_parse(&v2, sizeof(v2), &got, &why), 0);
	assert_int_equal(got.iova, 0x5000);
	assert_int_equal(got.type, VHOST_IOTLB_INVALIDATE);
	assert_int_equal(iotlb_parse(&v1, sizeof(v1), &got, &why), 0);
	assert_int_equal(got.iova, 0x5000);
}

static void messages_that_lie_are_refused(void **state)
{
	static const struct {
		uint8_t type, perm;
		uint64_t iova, uaddr, size;
	} bad[] = {
		{ 0, 3, 0, 0, 1 },
		{ VHOST_IOTLB_MISS, 3, 0, 0, 1 },
		{ VHOST_IOTLB_ACCESS_FAIL, 3, 0, 0, 1 },
		{ VHOST_IOTLB_BATCH_BEGIN, 3, 0, 0, 1 },
		{ VHOST_IOTLB_UPDATE, 0, 0, 0, 1 },
		{ VHOST_IOTLB_UPDATE, 4, 0, 0, 1 },
		{ VHOST_IOTLB_UPDATE, 3, 0, 0, 0 },
		{ VHOST_IOTLB_UPDATE, 3, 1, 0, UINT64_MAX },
		{ VHOST_IOTLB_UPDATE, 3, 0, 1, UINT64_MAX },
		{ VHOST_IOTLB_INVALIDATE, 0, 0x1000, 0, 0 },
		{ VHOST_IOTLB_INVALIDATE, 0, UINT64_MAX, 0, 2 },
		{ VHOST_IOTLB_INVALIDATE, 0, UINT64_C(1) << 63, 0, UINT64_MAX },
	};
	struct iotlb_message got;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct iotlb_message message = { .type = bad[i].type,
						       .perm = bad[i].perm,
						       .iova = bad[i].iova,
						       .uaddr = bad[i].uaddr,
						       .size_bytes = bad[i].size };

		if (parse(&message, IOTLB_MESSAGE_BYTES, &got) != -EINVAL)
			fail_msg("message %zu was taken", i);
	}
}

static void sizes_of_32_bit_callers_are_refused_clearly(void **state)
{
	struct iotlb_message message = good, got;

	assert_int_equal(parse(&message, 68, &got), -EINVAL);
	assert_int_equal(parse(&message, 39, &got), -EINVAL);
	assert_int_equal(parse(&message, 0, &got), -EINVAL);
	message.v2 = true;
	assert_int_equal(parse(&message, 39, &got), -EINVAL);
	assert_int_equal(parse(&message, 40, &got), 0);
}

static void unknown_versions_are_refused(void **state)
{
	uint8_t data[IOTLB_MESSAGE_BYTES];
	struct iotlb_message got;
	const char *why;

	for (unsigned version = 0; version < 256; version++) {
		iotlb_build(&good, data);
		data[0] = (uint8_t)version;
		assert_int_equal(iotlb_parse(data, sizeof(data), &got, &why),
				 version == VHOST_IOTLB_MSG || version == VHOST_IOTLB_MSG_V2 ? 0 : -EINVAL);
	}
}

/* ---- the table ---- */

static void update(struct iotlb *iotlb, uint64_t iova, uint64_t bytes)
{
	iotlb_update(iotlb, &(struct map_window){ iova, iova + 0x100000, bytes, MAP_READ | MAP_WRITE });
}

static void windows_are_sorted(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	update(iotlb, 0x3000, 0x1000);
	update(iotlb, 0x1000, 0x1000);
	update(iotlb, 0x2000, 0x1000);
	assert_int_equal(iotlb->count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(iotlb->windows[i].gpa, 0x1000 * (i + 1));
	free(iotlb);
}

static void window_takes_the_place_of_what_it_overlaps(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	update(iotlb, 0x1000, 0x1000);
	update(iotlb, 0x2000, 0x1000);
	update(iotlb, 0x4000, 0x1000);
	update(iotlb, 0x1fff, 0x2);
	assert_int_equal(iotlb->count, 2);
	assert_int_equal(iotlb->windows[0].gpa, 0x1fff);
	assert_int_equal(iotlb->windows[1].gpa, 0x4000);
	free(iotlb);
}

static void invalidate_forgets_whole_windows(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	for (unsigned i = 0; i < 8; i++)
		update(iotlb, 0x1000 * i, 0x1000);
	iotlb_invalidate(iotlb, 0x2fff, 2);
	assert_int_equal(iotlb->count, 6);
	iotlb_invalidate(iotlb, 0x2000, 0x2000); /* nothing is there any more */
	assert_int_equal(iotlb->count, 6);
	iotlb_invalidate(iotlb, 0, UINT64_MAX);
	assert_int_equal(iotlb->count, 0);
	iotlb_invalidate(iotlb, 0, 1);
	free(iotlb);
}

/* 2^64 bytes have no number: their size is told as 0. A range may end with the last byte. */
static void invalidate_reaches_the_top_of_the_address_space(void **state)
{
	static const struct {
		uint64_t iova, size;
		unsigned left;
	} ranges[] = {
		{ 0, 0, 0 },
		{ 0, UINT64_MAX, 0 },
		{ UINT64_C(1) << 63, UINT64_C(1) << 63, 1 },
		{ UINT64_MAX, 1, 2 }, /* no window has it */
		{ UINT64_MAX - 1, 2, 1 },
	};
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		struct iotlb_message message = { .type = VHOST_IOTLB_INVALIDATE,
						 .iova = ranges[i].iova,
						 .size_bytes = ranges[i].size };

		assert_int_equal(parse(&message, IOTLB_MESSAGE_BYTES, &message), 0);
		update(iotlb, 0x1000, 0x1000);
		update(iotlb, UINT64_MAX - 0x1fff, 0x1fff);
		iotlb_invalidate(iotlb, message.iova, message.size_bytes);
		assert_int_equal(iotlb->count, ranges[i].left);
	}
	free(iotlb);
}

static void full_table_forgets_the_oldest(void **state)
{
	struct iotlb *iotlb = calloc(1, sizeof(*iotlb));

	update(iotlb, 0x10000000, 0x1000);
	for (unsigned i = 1; i < IOTLB_WINDOWS_MAX + 1; i++)
		update(iotlb, 0x1000 * i, 0x1000);
	assert_int_equal(iotlb->count, IOTLB_WINDOWS_MAX);
	assert_int_equal(iotlb->windows[IOTLB_WINDOWS_MAX - 1].gpa, 0x1000 * IOTLB_WINDOWS_MAX);
	free(iotlb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_versions_are_read),
		cmocka_unit_test(layout_is_the_kernels),
		cmocka_unit_test(messages_that_lie_are_refused),
		cmocka_unit_test(sizes_of_32_bit_callers_are_refused_clearly),
		cmocka_unit_test(unknown_versions_are_refused),
		cmocka_unit_test(windows_are_sorted),
		cmocka_unit_test(window_takes_the_place_of_what_it_overlaps),
		cmocka_unit_test(invalidate_forgets_whole_windows),
		cmocka_unit_test(invalidate_reaches_the_top_of_the_address_space),
		cmocka_unit_test(full_table_forgets_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
