/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/util.h"
#include "wire/iotlb.h"
#include <cmocka.h>
#include <errno.h>
#include <linux/vhost_types.h>
#include <string.h>

/* IOTLB messages. */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_versions_are_read),
		cmocka_unit_test(layout_is_the_kernels),
		cmocka_unit_test(messages_that_lie_are_refused),
		cmocka_unit_test(sizes_of_32_bit_callers_are_refused_clearly),
		cmocka_unit_test(unknown_versions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
