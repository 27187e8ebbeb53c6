/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/dirty.h"
#include "ring/log.h"
#include "ring/place.h"
#include "ring/ring_test_driver.h"
#include <endian.h>
#include <sys/mman.h>
#include <unistd.h>

/* A ring that was stopped in order says so to the next back end, and one whose back end was killed does not. */

#define ADDR	(GUEST_BASE + 0x100)
#define WAITING 3u
#define SIZE	8u

static const struct test_piece piece = { ADDR, 64, true };

static void add(struct test_driver *d, unsigned count)
{
	while (count--)
		assert_true(driver_add(d, &piece, 1, 1, 0) >= 0);
}

static void take(struct test_driver *d, unsigned count)
{
	bool skipped;
	uint32_t len;

	while (count--)
		assert_true(driver_used(d, &len, &skipped) >= 0);
	assert_int_equal(driver_used(d, &len, &skipped), -1);
}

/* As a disk does: what was popped last is done first. */
static void serve(struct test_driver *d, unsigned count)
{
	struct vireo_chain chains[8];

	assert_int_equal(driver_pop(d, chains, count), count);
	while (count--)
		test_push(d->ring, &chains[count], 64);
	ring_publish(d->ring);
}

/* So many have gone round, and the driver has them back. */
static void live(struct test_driver *d, unsigned rounds)
{
	while (rounds--) {
		add(d, 2);
		serve(d, 2);
		take(d, 2);
	}
}

/* Where a ring stands that began at `base` when so many have been used; packed: both halves. */
static uint32_t base_after(struct test_options opt, uint32_t base, uint32_t used)
{
	struct packed_place place = place_decode(base & UINT16_MAX);

	if (!opt.packed)
		return (uint16_t)(base + used);
	return place_encode(place_forward(place, used, opt.size)) * 0x10001u;
}

static int begin_at(const struct test_driver *d, uint32_t base, struct ring **ret_ring)
{
	struct ring_setup setup = driver_setup(d);
	const char *why = "";
	int r;

	setup.base = base;
	r = ring_new(&setup, ret_ring, &why);
	assert_true(!r || strstr(why, "chains were in flight"));
	return r;
}

/* The next back end, which is told `base`; the one before is gone, as if it had been killed. */
static void succeed_at(struct test_driver *d, uint32_t base)
{
	struct ring *next = NULL;

	assert_int_equal(begin_at(d, base, &next), 0);
	assert_int_equal(ring_base(next), base);
	assert_null(ring_remark(next));
	assert_false(ring_base_believed(next));
	ring_free(d->ring);
	d->ring = next;
}

static void refused_at(const struct test_driver *d, uint32_t base)
{
	struct ring *next = NULL;

	assert_int_equal(begin_at(d, base, &next), -EINVAL);
	assert_null(next);
}

/* Chains wait, and it has been stopped. */
static struct test_driver *stopped(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = driver_new(opt);

	live(d, rounds);
	add(d, WAITING);
	ring_rest(d->ring);
	return d;
}

/* Not where a packed ring looks as if it were new. */
static void for_each(void (*check)(struct test_options opt, unsigned rounds))
{
	for (unsigned bits = 0; bits < 4; bits++)
		for (unsigned rounds = 1; rounds <= 12; rounds++)
			if (2 * rounds % (2 * SIZE))
				check((struct test_options){ .packed = bits & 1, .event_idx = bits & 2, .size = SIZE }, rounds);
}

/* ---- what is believed ---- */

static void goes_on(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = stopped(opt, rounds);

	succeed_at(d, ring_base(d->ring));
	serve(d, WAITING);
	take(d, WAITING);
	live(d, 9);
	assert_null(ring_error(d->ring));
	driver_free(d);
}

static void what_waits_in_a_ring_that_was_stopped_is_taken_for_new(void **state)
{
	for_each(goes_on);
}

static void stops_near_the_end(struct test_options opt, unsigned before)
{
	struct test_driver *d = driver_new(opt);

	live(d, opt.size / 2 - 3);
	for (unsigned i = 0; i < 6 - before; i++) {
		add(d, 1);
		serve(d, 1);
		take(d, 1);
	}
	add(d, WAITING);
	if (before || !opt.packed) /* a packed one looks new at the beginning of a lap */
		refused_at(d, ring_base(d->ring));
	ring_rest(d->ring);
	succeed_at(d, ring_base(d->ring));
	serve(d, WAITING);
	take(d, WAITING);
	driver_free(d);
}

/* In a packed ring of more than 16384 our offset differs from the place by 1 alone, and the last one's is 0. */
static void a_ring_of_any_size_is_at_rest_anywhere(void **state)
{
	static const uint32_t sizes[] = { 8, 256, 16384, 32768 };

	for (unsigned bits = 0; bits < 4; bits++)
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
			for (unsigned before = 0; before < 6; before++)
				stops_near_the_end((struct test_options){ .packed = bits & 1, .event_idx = bits & 2, .size = sizes[i] },
						   before);
}

/* Its driver reads the mark of a packed ring in the place of a wish for kicks. */
static void a_driver_that_reads_the_mark_kicks(void **state)
{
	for (unsigned on = 0; on < 2; on++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = true, .event_idx = true, .size = SIZE });

		live(d, 3);
		ring_kick_enable(d->ring, on);
		add(d, 1);
		ring_rest(d->ring);
		driver_should_kick(d);
		add(d, 1);
		assert_true(driver_should_kick(d));
		/* As Linux and DPDK read it: all 16 bits. */
		assert_int_not_equal(le16toh(d->device_event->flags), PACKED_EVENT_DISABLE);
		assert_int_not_equal(le16toh(d->device_event->flags), PACKED_EVENT_DESC);
		succeed_at(d, ring_base(d->ring));
		assert_int_equal(le16toh(d->device_event->flags), PACKED_EVENT_DESC);
		serve(d, 2);
		driver_free(d);
	}
}

/* Also of a worker that polled. */
static void a_ring_is_at_rest_whether_kicks_were_wanted_or_not(void **state)
{
	for (unsigned bits = 0; bits < 4; bits++) {
		struct test_driver *d = driver_new((struct test_options){ .packed = bits & 1, .event_idx = bits & 2, .size = SIZE });

		live(d, 3);
		ring_kick_enable(d->ring, false);
		add(d, WAITING);
		ring_rest(d->ring);
		succeed_at(d, ring_base(d->ring));
		serve(d, WAITING);
		take(d, WAITING);
		driver_free(d);
	}
}

static void unused(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = stopped(opt, rounds);
	struct ring_setup setup = driver_setup(d);
	struct ring_absence absent[4];
	uint32_t base = ring_base(d->ring);
	struct ring *next = NULL;
	unsigned soon;

	setup.base = base;
	assert_int_equal(ring_absent(&setup, absent, 4, 4, &soon), 0); /* pops them, and takes nothing */
	assert_int_equal(begin_at(d, base, &next), 0);
	ring_unused(next);
	ring_free(next);
	succeed_at(d, base);
	serve(d, WAITING);
	take(d, WAITING);
	add(d, WAITING);
	ring_unused(d->ring); /* it is not true of this one */
	refused_at(d, ring_base(d->ring));
	driver_free(d);
}

static void a_ring_that_was_begun_and_not_used_is_still_at_rest(void **state)
{
	for_each(unused);
}

/* A ring that goes on in the same process, as when QEMU stops and goes on, takes its own mark away. */
static void sure(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = stopped(opt, rounds);
	struct ring_setup setup = driver_setup(d);
	struct vireo_chain chains[WAITING];
	const char *why;

	setup.base = ring_base(d->ring);
	setup.sure = true;
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	assert_int_equal(driver_pop(d, chains, WAITING), WAITING);
	refused_at(d, setup.base);
	driver_free(d);
}

static void a_ring_that_goes_on_is_not_at_rest(void **state)
{
	for_each(sure);
}

/* ---- the driver runs on while nobody serves the ring ---- */

static void runs_on(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = driver_new(opt);
	struct vireo_chain chains[WAITING];
	uint32_t base;

	live(d, rounds);
	ring_rest(d->ring); /* nothing waits */
	add(d, WAITING);
	base = ring_base(d->ring);
	succeed_at(d, base);
	assert_int_equal(driver_pop(d, chains, WAITING), WAITING);
	refused_at(d, base); /* killed */
	ring_unpop(d->ring, chains, WAITING);
	serve(d, WAITING);
	take(d, WAITING);
	live(d, 9);
	driver_free(d);
}

static void chains_that_come_after_an_empty_ring_was_stopped_are_taken_for_new(void **state)
{
	for_each(runs_on);
}

/* Begun twice in vain meanwhile: before they came, and after. */
static void unused_while_it_runs_on(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = driver_new(opt);
	uint32_t base;

	live(d, rounds);
	ring_rest(d->ring);
	base = ring_base(d->ring);
	for (unsigned i = 0; i < 2; i++) {
		struct ring *next;

		assert_int_equal(begin_at(d, base, &next), 0);
		ring_unused(next);
		ring_free(next);
		add(d, i ? 1 : WAITING - 1);
	}
	succeed_at(d, base);
	serve(d, WAITING);
	take(d, WAITING);
	driver_free(d);
}

static void an_empty_ring_that_was_begun_and_not_used_is_still_at_rest(void **state)
{
	for_each(unused_while_it_runs_on);
}

/* All used entries are the driver's yet: it takes them, and makes chains available with them. */
static void a_driver_that_has_taken_nothing_yet_runs_on(void **state)
{
	for (unsigned bits = 0; bits < 4; bits++)
		for (unsigned rounds = 1; rounds < 6; rounds++) {
			struct test_driver *d = driver_new((struct test_options){ .packed = bits & 1, .event_idx = bits & 2, .size = SIZE });

			live(d, rounds);
			add(d, SIZE);
			serve(d, SIZE);
			ring_rest(d->ring);
			take(d, SIZE);
			add(d, WAITING);
			if (!(bits & 2))
				assert_true(driver_should_kick(d));
			succeed_at(d, ring_base(d->ring));
			serve(d, WAITING);
			take(d, WAITING);
			driver_free(d);
		}
}

static void marked_from(uint16_t base)
{
	struct test_driver *d = driver_new((struct test_options){ .event_idx = true, .size = SIZE, .base = base });

	for (uint16_t idx = base; idx != (uint16_t)(base + 600); idx++) {
		uint16_t flags;

		ring_rest(d->ring);
		flags = le16toh(d->used->flags);
		assert_true(flags > SPLIT_USED_F_NO_NOTIFY && !(flags & SPLIT_USED_F_NO_NOTIFY));
		add(d, 1);
		d->used->idx = htole16((uint16_t)(idx - 1));
		if (idx != 1) /* a ring that has carried nothing is in no doubt */
			refused_at(d, (uint16_t)(idx - 1));
		d->used->idx = htole16(idx);
		succeed_at(d, idx);
		assert_int_equal(d->used->flags, 0);
		serve(d, 1);
		take(d, 1);
	}
	driver_free(d);
}

/* Whatever the index: reserved bits alone, and none of the neighbour's. */
static void the_flags_of_an_empty_split_ring_say_where_it_stands(void **state)
{
	marked_from(0);
	marked_from(INT16_MAX - 300);
	marked_from(UINT16_MAX - 300);
}

/* ---- what is not ---- */

static void killed(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = stopped(opt, rounds);
	uint32_t base = ring_base(d->ring);
	struct vireo_chain chains[WAITING];

	succeed_at(d, base);
	refused_at(d, base); /* killed before it popped: nothing says that it had not */
	assert_int_equal(driver_pop(d, chains, WAITING), WAITING);
	refused_at(d, base);
	test_push(d->ring, &chains[1], 64);
	ring_publish(d->ring);
	refused_at(d, base);
	if ((2 * rounds + 1) % (2 * SIZE))
		refused_at(d, base_after(opt, base, 1));
	driver_free(d);
}

static void a_ring_whose_back_end_was_killed_is_not_at_rest(void **state)
{
	for_each(killed);
}

static void unfinished(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = driver_new(opt);
	struct vireo_chain chains[WAITING];
	uint32_t base;

	live(d, rounds);
	base = ring_base(d->ring);
	add(d, WAITING);
	assert_int_equal(driver_pop(d, chains, WAITING), WAITING);
	ring_rest(d->ring);
	refused_at(d, base);
	ring_push(d->ring, chains, NULL, WAITING);
	ring_rest(d->ring); /* done, and not shown */
	refused_at(d, base);
	driver_free(d);
}

static void a_ring_with_chains_in_flight_is_not_at_rest(void **state)
{
	for_each(unfinished);
}

static void owing(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = driver_new(opt);
	void *region = test_alloc(ring_ledger_bytes(opt.packed, SIZE));
	struct ring_setup setup = driver_setup(d);
	struct vireo_chain chains[WAITING];
	struct ring_ledger *ledger;
	struct ring *next;
	const char *why;
	uint32_t base;

	live(d, rounds);
	base = ring_base(d->ring);
	assert_int_equal(ring_ledger_new(region, opt.packed, SIZE, &ledger), 0);
	setup.base = base;
	setup.witness = ring_ledger_witness(ledger);
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	add(d, WAITING);
	assert_int_equal(driver_pop(d, chains, 2), 2);
	assert_int_equal(ring_new(&setup, &next, &why), 0); /* a successor, which is stopped before it has served what is owed */
	assert_int_equal(ring_owes(next), 2);
	ring_rest(next);
	ring_free(next);
	refused_at(d, base);
	/* The region decides, whatever the ring says. */
	ring_push(d->ring, chains, NULL, 2);
	ring_publish(d->ring);
	ring_rest(d->ring);
	assert_int_equal(ring_new(&setup, &next, &why), 0);
	assert_int_equal(ring_owes(next), 0);
	assert_int_equal(ring_base(next), base_after(opt, base, 2));
	ring_free(next);
	driver_free(d);
	ring_ledger_free(ledger);
	free(region);
}

static void a_ring_that_owes_chains_is_not_at_rest(void **state)
{
	for_each(owing);
}

static void broken(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = driver_new(opt);
	uint64_t bytes = ring_area_bytes(opt.packed, opt.size).device_bytes;
	uint8_t *before = test_alloc(bytes);

	live(d, rounds);
	add(d, WAITING);
	memcpy(before, d->areas[2], bytes);
	ring_break(d->ring, "it lies");
	ring_rest(d->ring);
	assert_memory_equal(before, d->areas[2], bytes);
	free(before);
	driver_free(d);
}

static void a_broken_ring_is_left_as_it_is(void **state)
{
	for_each(broken);
}

static void ordered(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = driver_new(opt);
	uint64_t bytes = ring_area_bytes(opt.packed, opt.size).device_bytes;
	struct ring_setup setup = driver_setup_in_order(d);
	uint8_t *before = test_alloc(bytes);
	const char *why;

	live(d, rounds);
	add(d, WAITING);
	setup.base = ring_base(d->ring);
	ring_free(d->ring);
	assert_int_equal(ring_new(&setup, &d->ring, &why), 0);
	memcpy(before, d->areas[2], bytes);
	ring_rest(d->ring);
	ring_unused(d->ring);
	assert_memory_equal(before, d->areas[2], bytes);
	free(before);
	driver_free(d);
}

static void a_ring_of_a_device_that_keeps_order_is_left_as_it_is(void **state)
{
	for_each(ordered);
}

/* The next entry is the oldest that the driver has not taken. */
static void used_entries_that_the_driver_has_not_taken_stay(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++)
		for (unsigned rounds = 0; rounds < 6; rounds++) {
			struct test_driver *d = driver_new((struct test_options){ .packed = packed, .size = SIZE });

			live(d, rounds);
			add(d, SIZE);
			serve(d, SIZE);
			ring_rest(d->ring);
			take(d, SIZE); /* it knows a buffer that it has not given */
			succeed_at(d, ring_base(d->ring));
			live(d, 5);
			driver_free(d);
		}
}

/* Of a place that is not the base, or half of a mark. */
static void elsewhere(struct test_options opt, unsigned rounds)
{
	struct test_driver *d = stopped(opt, rounds);
	struct split_used_elem *elem = &d->used->ring[2 * rounds % SIZE], mark = *elem;
	uint32_t base = ring_base(d->ring);

	for (unsigned bit = 0; bit < (opt.packed ? 32 : 64); bit++) {
		if (opt.packed)
			((uint8_t *)d->device_event)[bit / 8] ^= 1 << bit % 8;
		else
			((uint8_t *)elem)[bit / 8] ^= 1 << bit % 8;
		refused_at(d, base);
		ring_rest(d->ring);
	}
	if (!opt.packed) { /* the driver says that it is one further, as if another chain had been used */
		elem[0] = (struct split_used_elem){ 0 };
		d->used->ring[(2 * rounds + 1) % SIZE] = mark;
		d->used->idx = htole16((uint16_t)(2 * rounds + 1));
		refused_at(d, base + 1);
	}
	driver_free(d);
}

static void a_mark_of_another_place_is_none(void **state)
{
	for_each(elsewhere);
}

/* QEMU does when it is about to look; and it may turn them on. */
static void a_mark_is_gone_when_somebody_turns_kicks_off(void **state)
{
	for (unsigned event_idx = 0; event_idx < 2; event_idx++)
		for (unsigned rounds = 1; rounds < 8; rounds++)
			for (unsigned flags = 0; flags < 3; flags++) {
				struct test_driver *d =
					stopped((struct test_options){ .packed = true, .event_idx = event_idx, .size = SIZE }, rounds);

				d->device_event->flags = htole16((uint16_t)flags);
				if (flags == PACKED_EVENT_DESC)
					d->device_event->off_wrap = htole16((uint16_t)ring_base(d->ring));
				refused_at(d, ring_base(d->ring));
				driver_free(d);
			}
}

/* A driver that sets its ring up anew need not clear used entries: one has the mark of an index that comes again. */
static void a_mark_of_the_rings_former_life_is_not_found_later(void **state)
{
	for (unsigned rounds = 1; rounds < SIZE / 2 - 1; rounds++) {
		struct test_options opt = { .size = SIZE };
		struct test_driver *d = stopped(opt, rounds), *anew = driver_new(opt);
		struct vireo_chain chains[2];

		memcpy(anew->used->ring, d->used->ring, SIZE * sizeof(d->used->ring[0]));
		serve(d, WAITING);
		ring_rest(d->ring);
		anew->used->flags = d->used->flags;
		driver_free(d);
		succeed_at(anew, 0);
		live(anew, rounds);
		add(anew, 2);
		assert_int_equal(driver_pop(anew, chains, 2), 2);
		refused_at(anew, 2 * rounds); /* killed */
		driver_free(anew);
	}
}

/* He has what was in flight served again: by his own device. */
static void a_driver_that_forges_the_mark_misleads_nobody_else(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct test_options opt = { .packed = packed, .size = SIZE };
		struct test_driver *d = stopped(opt, 2);
		struct split_used_elem mark = d->used->ring[4];
		struct packed_event event = *d->device_event;
		uint32_t base = ring_base(d->ring);
		struct vireo_chain chains[WAITING];

		succeed_at(d, base);
		assert_int_equal(driver_pop(d, chains, WAITING), WAITING);
		if (packed)
			*d->device_event = event;
		else
			d->used->ring[4] = mark;
		succeed_at(d, base);
		serve(d, WAITING);
		take(d, WAITING);
		refused_at((add(d, 1), d), base_after(opt, base, WAITING));
		driver_free(d);
	}
}

/* ---- the dirty log ---- */

#define LOG_BYTES  64u
#define DESC_GPA   UINT64_C(0x8000)
#define DEVICE_GPA UINT64_C(0x3000)

static void area_lay(struct ring_log_area *area, uint64_t gpa, uint64_t bytes)
{
	assert_int_equal(ring_log_area_new(area, gpa, bytes), 0);
	for (unsigned i = 0; i < area->pages; i++)
		area->gpas[i] = gpa + i * DIRTY_PAGE_BYTES;
}

static void is_logged(struct test_options opt, bool late, bool waits)
{
	struct test_driver *d = driver_new(opt);
	int fd = memfd_create("log", 0);
	struct dirty_log *dirty;
	struct ring_log *log;
	const char *why;
	uint8_t *bits;
	unsigned page;

	assert_int_equal(ftruncate(fd, LOG_BYTES), 0);
	assert_int_equal(dirty_log_new(fd, 0, LOG_BYTES, NULL, &dirty, &why), 0);
	bits = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(bits, MAP_FAILED);
	close(fd);
	log = ring_log_new(dirty, d->map);
	assert_non_null(log);
	area_lay(&log->device, DEVICE_GPA, ring_area_bytes(opt.packed, opt.size).device_bytes);
	if (opt.packed)
		area_lay(&log->desc, DESC_GPA, ring_area_bytes(true, opt.size).desc_bytes);
	live(d, 400);
	add(d, waits);
	assert_null(ring_log_offer(d->ring, log));
	if (!late)
		ring_log_settle(d->ring);
	memset(bits, 0, LOG_BYTES);
	ring_rest(d->ring);
	page = (unsigned)(DEVICE_GPA / DIRTY_PAGE_BYTES) + (opt.packed || !waits ? 0 : (4 + 800 * 8) / DIRTY_PAGE_BYTES);
	assert_true(bits[page / 8] >> page % 8 & 1);
	memset(bits, 0, LOG_BYTES);
	ring_rest((ring_break(d->ring, "it lies"), d->ring));
	assert_int_equal(bits[page / 8], 0);
	ring_log_free(log); /* it holds the driver's map */
	driver_free(d);
	dirty_log_unref(dirty);
	munmap(bits, LOG_BYTES);
}

/* What the front end has copied before it is told the base has the mark, or is copied again. */
static void the_mark_is_logged(void **state)
{
	for (unsigned bits = 0; bits < 8; bits++)
		is_logged((struct test_options){ .packed = bits & 1, .size = 1024 }, bits & 2, bits & 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_waits_in_a_ring_that_was_stopped_is_taken_for_new),
		cmocka_unit_test(a_ring_of_any_size_is_at_rest_anywhere),
		cmocka_unit_test(a_driver_that_reads_the_mark_kicks),
		cmocka_unit_test(a_ring_is_at_rest_whether_kicks_were_wanted_or_not),
		cmocka_unit_test(a_ring_that_was_begun_and_not_used_is_still_at_rest),
		cmocka_unit_test(a_ring_that_goes_on_is_not_at_rest),
		cmocka_unit_test(chains_that_come_after_an_empty_ring_was_stopped_are_taken_for_new),
		cmocka_unit_test(an_empty_ring_that_was_begun_and_not_used_is_still_at_rest),
		cmocka_unit_test(a_driver_that_has_taken_nothing_yet_runs_on),
		cmocka_unit_test(the_flags_of_an_empty_split_ring_say_where_it_stands),
		cmocka_unit_test(a_ring_whose_back_end_was_killed_is_not_at_rest),
		cmocka_unit_test(a_ring_with_chains_in_flight_is_not_at_rest),
		cmocka_unit_test(a_ring_that_owes_chains_is_not_at_rest),
		cmocka_unit_test(a_broken_ring_is_left_as_it_is),
		cmocka_unit_test(a_ring_of_a_device_that_keeps_order_is_left_as_it_is),
		cmocka_unit_test(used_entries_that_the_driver_has_not_taken_stay),
		cmocka_unit_test(a_mark_of_another_place_is_none),
		cmocka_unit_test(a_mark_is_gone_when_somebody_turns_kicks_off),
		cmocka_unit_test(a_mark_of_the_rings_former_life_is_not_found_later),
		cmocka_unit_test(a_driver_that_forges_the_mark_misleads_nobody_else),
		cmocka_unit_test(the_mark_is_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
