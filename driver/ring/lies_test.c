/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A device written by hand, byte by byte: what IN_ORDER batches look like, and each lie that breaks the ring.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* after the above: */
#include "driver/ring/ring.h"
#include <cmocka.h>
#include <errno.h>

#define SIZE 8u
#define BUFFER_BYTES 64u

static struct {
	_Alignas(64) uint8_t desc[16 * SIZE], driver[64], device[128], buffers[SIZE * BUFFER_BYTES];
} shared;

static struct vireo_driver_ring *ring_of(bool packed, bool in_order)
{
	struct driver_ring_setup setup = {
		.packed = packed,
		.in_order = in_order,
		.size = SIZE,
		.desc = shared.desc,
		.driver = shared.driver,
		.device = shared.device,
		.memory = { .host = shared.buffers, .gpa = 0x1000, .bytes = sizeof(shared.buffers) },
		.call_fd = -1,
	};
	struct vireo_driver_ring *ring = NULL;

	shared = (typeof(shared)){ 0 };
	assert_int_equal(driver_ring_new(&setup, &ring), 0);
	return ring;
}

/* Buffers of BUFFER_BYTES, writable; the cookie is the count of them. */
static void offer(struct vireo_driver_ring *ring, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct iovec iov = { .iov_base = shared.buffers, .iov_len = BUFFER_BYTES };

		assert_int_equal(
			vireo_driver_ring_add(ring, &iov, 0, 1, false, (void *)(uintptr_t)(ring->added + 1)),
			0);
	}
	vireo_driver_ring_kick(ring);
}

static void split_use(uint16_t slot, uint32_t id, uint32_t len_bytes, uint16_t index)
{
	struct split_used *used = (void *)shared.device;

	used->ring[slot] = (struct split_used_elem){ .id = le32(id), .len = le32(len_bytes) };
	used->idx = le16(index);
}

static void packed_use(uint16_t slot, uint16_t id, uint32_t len_bytes, bool wrap)
{
	struct packed_desc *desc = (struct packed_desc *)(void *)shared.desc + slot;

	desc->id = le16(id);
	desc->len = le32(len_bytes);
	desc->flags = le16(DESC_F_WRITE | (wrap ? PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK : 0));
}

static void expect(struct vireo_driver_ring *ring, uintptr_t cookie, uint32_t len_bytes)
{
	uint32_t got_bytes = UINT32_MAX;
	void *got = NULL;

	assert_int_equal(vireo_driver_ring_get(ring, &got, &got_bytes), 1);
	assert_int_equal((uintptr_t)got, cookie);
	assert_int_equal(got_bytes, len_bytes);
}

static int get(struct vireo_driver_ring *ring)
{
	uint32_t len_bytes = 77;
	void *cookie = &len_bytes;
	int ret = vireo_driver_ring_get(ring, &cookie, &len_bytes);

	if (ret <= 0) { /* outputs are untouched then */
		assert_ptr_equal(cookie, &len_bytes);
		assert_int_equal(len_bytes, 77);
	}
	return ret;
}

/* Broken for good, however well the device behaves from now on. */
static void expect_broken(struct vireo_driver_ring *ring)
{
	struct iovec iov = { .iov_base = shared.buffers, .iov_len = 1 };

	assert_int_equal(get(ring), -EPROTO);
	assert_int_equal(get(ring), -EPROTO);
	assert_int_equal(vireo_driver_ring_add(ring, &iov, 1, 0, false, NULL), -EPROTO);
	assert_false(vireo_driver_ring_kick(ring));
	driver_ring_free(ring);
}

static void split_batch_in_order_gives_back_all_its_buffers(void **state)
{
	struct vireo_driver_ring *ring = ring_of(false, true);

	offer(ring, SIZE);
	split_use(0, 3, 5, 4); /* one entry for four buffers, at the place of the first */
	expect(ring, 1, BUFFER_BYTES);
	assert_true(vireo_driver_ring_signal_enable(ring, true)); /* the batch goes on */
	expect(ring, 2, BUFFER_BYTES);
	expect(ring, 3, BUFFER_BYTES);
	expect(ring, 4, 5);
	assert_int_equal(get(ring), 0);
	split_use(4, 4, 6, 5); /* the next entry is where the next batch begins */
	expect(ring, 5, 6);
	assert_int_equal(vireo_driver_ring_free(ring), 5);
	driver_ring_free(ring);
}

static void packed_batch_in_order_gives_back_all_its_buffers(void **state)
{
	struct vireo_driver_ring *ring = ring_of(true, true);

	offer(ring, SIZE);
	packed_use(0, 3, 5, true);
	expect(ring, 1, BUFFER_BYTES);
	assert_true(vireo_driver_ring_signal_enable(ring, true));
	expect(ring, 2, BUFFER_BYTES);
	expect(ring, 3, BUFFER_BYTES);
	expect(ring, 4, 5);
	assert_int_equal(get(ring), 0);
	packed_use(4, 7, 6, true);
	expect(ring, 5, BUFFER_BYTES);
	expect(ring, 6, BUFFER_BYTES);
	expect(ring, 7, BUFFER_BYTES);
	expect(ring, 8, 6);
	assert_int_equal(vireo_driver_ring_free(ring), SIZE);
	offer(ring, 1); /* the next lap, whose wrap counter is 0 */
	packed_use(0, 0, 7, false);
	expect(ring, 9, 7);
	driver_ring_free(ring);
}

static void batch_may_be_used_out_of_order_without_in_order(void **state)
{
	struct vireo_driver_ring *ring = ring_of(false, false);

	offer(ring, 3);
	split_use(0, 2, 1, 0);
	split_use(1, 0, 2, 0);
	split_use(2, 1, 3, 3);
	expect(ring, 3, 1);
	expect(ring, 1, 2);
	expect(ring, 2, 3);
	driver_ring_free(ring);
}

static void used_index_too_far_ahead_breaks_the_ring(void **state)
{
	struct vireo_driver_ring *ring = ring_of(false, false);

	offer(ring, 2);
	split_use(0, 0, 0, 3);
	expect_broken(ring);
}

static void used_index_that_goes_back_breaks_the_ring(void **state)
{
	struct vireo_driver_ring *ring = ring_of(false, false);

	offer(ring, 2);
	split_use(0, 0, 0, 1);
	expect(ring, 1, 0);
	split_use(1, 1, 0, 0);
	expect_broken(ring);
}

static void used_id_beyond_the_ring_breaks_it(void **state)
{
	static const uint32_t bad[] = { SIZE, 65536, UINT32_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vireo_driver_ring *ring = ring_of(false, false);

		offer(ring, 2);
		split_use(0, bad[i], 0, 1);
		expect_broken(ring);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct vireo_driver_ring *ring = ring_of(true, false);

		offer(ring, 2);
		packed_use(0, i ? SIZE : UINT16_MAX, 0, true);
		expect_broken(ring);
	}
}

static void used_id_that_is_not_out_breaks_the_ring(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct vireo_driver_ring *ring = ring_of(packed, false);

		offer(ring, 2);
		if (packed)
			packed_use(0, 5, 0, true);
		else
			split_use(0, 5, 0, 1);
		expect_broken(ring);
	}
}

static void buffer_used_twice_breaks_the_ring(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct vireo_driver_ring *ring = ring_of(packed, false);

		offer(ring, 2);
		for (uint16_t i = 0; i < 2; i++) {
			if (packed)
				packed_use(i, 0, 0, true);
			else
				split_use(i, 0, 0, 2);
		}
		expect(ring, 1, 0);
		expect_broken(ring);
	}
}

static void buffer_used_before_it_was_shown_breaks_the_ring(void **state)
{
	struct iovec iov = { .iov_base = shared.buffers, .iov_len = BUFFER_BYTES };

	for (unsigned packed = 0; packed < 2; packed++) {
		struct vireo_driver_ring *ring = ring_of(packed, false);

		offer(ring, 1);
		assert_int_equal(vireo_driver_ring_add(ring, &iov, 0, 1, false, NULL), 0);
		if (packed)
			packed_use(0, 1, 0, true);
		else
			split_use(0, 1, 0, 1);
		expect_broken(ring);
	}
}

static void length_beyond_the_buffer_breaks_the_ring(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct vireo_driver_ring *ring = ring_of(packed, false);

		offer(ring, 1);
		if (packed)
			packed_use(0, 0, BUFFER_BYTES + 1, true);
		else
			split_use(0, 0, BUFFER_BYTES + 1, 1);
		expect_broken(ring);
	}
}

static void batch_beyond_the_used_index_breaks_the_ring(void **state)
{
	struct vireo_driver_ring *ring = ring_of(false, true);

	offer(ring, SIZE);
	split_use(0, 3, 0, 2); /* names the fourth, and counts two */
	expect_broken(ring);
}

static void length_without_written_data_means_nothing_in_a_packed_ring(void **state)
{
	struct vireo_driver_ring *ring = ring_of(true, false);
	struct packed_desc *desc = (void *)shared.desc;

	offer(ring, 1);
	packed_use(0, 0, 12345, true);
	desc->flags &= (uint16_t)~le16(DESC_F_WRITE);
	expect(ring, 1, 0);
	driver_ring_free(ring);
}

static void length_without_the_flag_is_believed_if_it_can_be_one(void **state)
{
	struct vireo_driver_ring *ring = ring_of(true, false);
	struct packed_desc *desc = (void *)shared.desc;

	offer(ring, 1);
	packed_use(0, 0, BUFFER_BYTES, true);
	desc->flags &= (uint16_t)~le16(DESC_F_WRITE); /* as QEMU does */
	expect(ring, 1, BUFFER_BYTES);
	driver_ring_free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_batch_in_order_gives_back_all_its_buffers),
		cmocka_unit_test(packed_batch_in_order_gives_back_all_its_buffers),
		cmocka_unit_test(batch_may_be_used_out_of_order_without_in_order),
		cmocka_unit_test(used_index_too_far_ahead_breaks_the_ring),
		cmocka_unit_test(used_index_that_goes_back_breaks_the_ring),
		cmocka_unit_test(used_id_beyond_the_ring_breaks_it),
		cmocka_unit_test(used_id_that_is_not_out_breaks_the_ring),
		cmocka_unit_test(buffer_used_twice_breaks_the_ring),
		cmocka_unit_test(buffer_used_before_it_was_shown_breaks_the_ring),
		cmocka_unit_test(length_beyond_the_buffer_breaks_the_ring),
		cmocka_unit_test(batch_beyond_the_used_index_breaks_the_ring),
		cmocka_unit_test(length_without_written_data_means_nothing_in_a_packed_ring),
		cmocka_unit_test(length_without_the_flag_is_believed_if_it_can_be_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
