/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_RING_TEST_BOTH_H
#define RING_RING_TEST_BOTH_H

/*
 * Rules and lies that are the same for rings of both formats. packed_test.c and split_test.c say which theirs is, TEST_PACKED, and run
 * TESTS_OF_BOTH beside their own.
 */

#include "ring_test_model.h"
#include "ring_test_stress.h"

#define ADDR GUEST_BASE
#define TABLE (GUEST_BASE + 0x2000)

static struct test_driver *open_ring(uint32_t size)
{
	return driver_new((struct test_options){ .packed = TEST_PACKED, .size = size });
}

static struct test_driver *open_indirect(uint32_t size)
{
	return driver_new((struct test_options){ .packed = TEST_PACKED, .size = size, .indirect = true });
}

/* The next pop tells `why`, and the ring stays broken; ends the test. */
static void expect_broken(struct test_driver *d, const char *why)
{
	struct vireo_chain chain;

	assert_int_equal(driver_pop(d, &chain, 1), -EPROTO);
	assert_string_equal(ring_error(d->ring), why);
	assert_int_equal(driver_pop(d, &chain, 1), -EPROTO);
	assert_true(ring_kick_enable(d->ring, true));
	assert_int_equal(ring_available(d->ring), 1);
	driver_free(d);
}

static void expect_no_ring(struct ring_setup setup, const char *expected)
{
	struct ring *ring = NULL;
	const char *why = NULL;

	assert_int_equal(ring_new(&setup, &ring, &why), -EINVAL);
	assert_string_equal(why, expected);
	assert_null(ring);
}

/* Publishes `count` chains at once; was the driver to be signalled? */
static bool publish(struct test_driver *d, unsigned count)
{
	struct test_piece piece = { ADDR, 4, true };
	struct vireo_chain chains[8];
	uint32_t len;
	bool skipped, signal;

	for (unsigned i = 0; i < count; i++)
		driver_add(d, &piece, 1, 1, 0);
	assert_int_equal(driver_pop(d, chains, 8), count);
	for (unsigned i = 0; i < count; i++)
		test_push(d->ring, &chains[i], 0);
	signal = ring_publish(d->ring);
	while (driver_used(d, &len, &skipped) >= 0)
		;
	return signal;
}

static void chains_lost_in_flight_are_popped_again(void **state)
{
	struct test_piece piece = { ADDR, 4, true };
	struct test_driver *d = open_ring(4);
	struct vireo_chain chain;
	struct ring_setup setup;
	const char *why;
	int id = driver_add(d, &piece, 1, 1, 0);

	assert_int_equal(driver_pop(d, &chain, 1), 1);
	ring_free(d->ring); /* a back end dies; the peer names a base of its own */
	setup = driver_setup_in_order(d);
	setup.base = TEST_PACKED ? 0x80008001 : 3;
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	assert_int_equal(driver_pop(d, &chain, 1), 1);
	assert_int_equal(chain.id, id);
	driver_free(d);
}

static void an_empty_ring_gives_nothing(void **state)
{
	struct test_driver *d = open_ring(4);
	struct vireo_chain chain;

	assert_int_equal(driver_pop(d, &chain, 1), 0);
	assert_int_equal(ring_available(d->ring), 0);
	assert_false(ring_publish(d->ring));
	assert_int_equal(ring_base(d->ring), TEST_PACKED ? RING_BASE_PACKED_NEW : 0);
	driver_free(d);
}

static void too_few_iovecs_take_nothing(void **state)
{
	struct test_piece pieces[] = { { ADDR, 1, false }, { ADDR + 1, 1, false } };
	struct test_driver *d = open_ring(8);
	struct vireo_chain chains[4];
	struct iovec iov[5];

	driver_add(d, pieces, 2, 2, 0);
	driver_add(d, pieces, 2, 2, 0);
	driver_add(d, pieces, 2, 2, 0);
	assert_int_equal(ring_pop(d->ring, chains, 4, iov, 1), -ENOBUFS);
	assert_null(ring_error(d->ring));
	assert_int_equal(ring_pop(d->ring, chains, 4, iov, 5), 2);
	assert_int_equal(ring_available(d->ring), TEST_PACKED ? 2 : 1);
	assert_int_equal(ring_pop(d->ring, chains, 4, iov, 5), 1);
	driver_free(d);
}

static void memory_that_is_not_there_breaks_the_ring(void **state)
{
	static const struct test_piece bad[] = { { 0, 1, false },
						 { GUEST_BASE - 1, 2, true },
						 { GUEST_END, 1, false },
						 { GUEST_END - 4, 5, true },
						 { GUEST_BASE, UINT32_MAX, false } };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct test_driver *d = open_ring(4);

		driver_add(d, &bad[i], 1, 1, 0);
		expect_broken(d, "descriptor outside guest memory" RING_SHARE_HINT);
	}
}

static void a_chain_of_hundreds_of_empty_descriptors_breaks_the_ring(void **state)
{
	struct test_piece pieces[258] = { 0 };
	struct test_driver *d = open_ring(1024);
	struct vireo_chain chains[2];

	/* Each costs time, and no room for pieces bounds it. */
	pieces[0] = (struct test_piece){ ADDR, 1, false };
	driver_add(d, pieces, 257, 257, 0);
	assert_int_equal(driver_pop(d, chains, 1), 1);
	assert_int_equal(chains[0].readable_count, 1);
	driver_add(d, pieces, 258, 258, 0);
	expect_broken(d, "chain with hundreds of empty descriptors");
}

static void random_walks_agree_with_the_model(void **state)
{
	model_walks(TEST_PACKED);
}

static void suppression_never_loses_a_wake_up(void **state)
{
	stress_all(TEST_PACKED);
}

/* With EVENT_IDX a driver names the next that it wants to hear of: until it does so again, it has not looked. */
static void a_driver_that_has_looked_awaits_a_signal(void **state)
{
	for (unsigned event_idx = 0; event_idx <= 1; event_idx++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = TEST_PACKED, .size = 8, .event_idx = event_idx });

		for (unsigned i = 0; i < 40; i++) { /* over the end of the ring */
			driver_signals_off(d);
			publish(d, 1 + i % 3);
			assert_false(ring_awaits_signal(d->ring));
			driver_signals_on(d);
			assert_true(ring_awaits_signal(d->ring));
			publish(d, 1 + i % 2);
			assert_int_equal(ring_awaits_signal(d->ring), !event_idx);
		}
		driver_free(d);
	}
}

static void a_broken_ring_awaits_a_signal(void **state)
{
	struct test_driver *d = open_ring(4);

	driver_signals_off(d);
	assert_false(ring_awaits_signal(d->ring));
	ring_break(d->ring, "a lie");
	assert_true(ring_awaits_signal(d->ring));
	driver_free(d);
}

#define TESTS_OF_BOTH \
	cmocka_unit_test(a_driver_that_has_looked_awaits_a_signal), \
	cmocka_unit_test(a_broken_ring_awaits_a_signal), \
	cmocka_unit_test(chains_lost_in_flight_are_popped_again), \
	cmocka_unit_test(an_empty_ring_gives_nothing), \
	cmocka_unit_test(too_few_iovecs_take_nothing), \
	cmocka_unit_test(memory_that_is_not_there_breaks_the_ring), \
	cmocka_unit_test(a_chain_of_hundreds_of_empty_descriptors_breaks_the_ring), \
	cmocka_unit_test(random_walks_agree_with_the_model), \
	cmocka_unit_test(suppression_never_loses_a_wake_up)

#endif
