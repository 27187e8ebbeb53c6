/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/mortal_test.h"

/*
 * What a tenant of witness.h may rely on. The tenant here notes all that it is told, and goes on from there in a successor's
 * place: it is the shape of an in-flight ledger.
 */

#define DESCS 4u /* a chain's, at most */

enum call { POPPED, UNPOPPED, PUSHED, SHOWING, SHOWN };

struct flight {
	uint16_t id, span;
	struct packed_desc descs[DESCS];
};

struct notes {
	struct test_driver *d;
	enum call calls[256];
	unsigned counts[256];
	unsigned call_count;
	struct flight flights[SIZE]; /* in the order of their pop */
	unsigned flight_count;
	struct ring_completion burst[SIZE]; /* named, and not known to be shown */
	unsigned burst_count;
	uint32_t place, place_after;
	bool placed;
	uint64_t bytes_pushed;
	const char *refuses;
};

static void note(struct notes *n, enum call call, unsigned count)
{
	n->calls[n->call_count % ARRAY_SIZE(n->calls)] = call;
	n->counts[n->call_count++ % ARRAY_SIZE(n->counts)] = count;
}

static void flight_drop(struct notes *n, uint16_t id)
{
	unsigned i = 0;

	while (i < n->flight_count && n->flights[i].id != id)
		i++;
	assert_true(i < n->flight_count);
	memmove(&n->flights[i], &n->flights[i + 1], (n->flight_count - i - 1) * sizeof(n->flights[0]));
	n->flight_count--;
}

static void notes_popped(void *self, const struct ring *ring, uint32_t place, const struct vireo_chain *chains,
			 unsigned count)
{
	struct packed_place at = place_decode(place);
	struct notes *n = self;

	note(n, POPPED, count);
	for (unsigned i = 0; i < count; i++) {
		struct flight *f = &n->flights[n->flight_count++];

		assert_true(n->flight_count <= SIZE);
		*f = (struct flight){ .id = chains[i].id, .span = chains[i].span };
		if (!ring->is_packed) {
			assert_int_equal(le16(n->d->avail->ring[(place + i) % SIZE]), f->id);
			continue;
		}
		for (unsigned j = 0; j < f->span; j++, at = place_forward(at, 1, ring->size))
			f->descs[j] = n->d->pdesc[at.pos];
		assert_int_equal(le16(f->descs[f->span - 1].id), f->id);
	}
}

static void notes_unpopped(void *self, const struct ring *ring, const struct vireo_chain *chains, unsigned count)
{
	struct notes *n = self;

	note(n, UNPOPPED, count);
	while (count--) {
		assert_int_equal(n->flights[n->flight_count - 1].id, chains[count].id);
		n->flight_count--;
	}
}

static void notes_pushed(void *self, const struct ring *ring, const struct vireo_chain *chains, const uint32_t *written,
			 unsigned count)
{
	struct notes *n = self;

	note(n, PUSHED, count);
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < chains[i].readable_count + chains[i].writable_count; j++)
			n->bytes_pushed += chains[i].iov[j].iov_len;
}

static bool areas_show(const struct ring *ring, const struct test_driver *d, uint32_t place)
{
	uint16_t flags = le16(d->pdesc[(place & 0x7fff) % SIZE].flags);

	return ring->is_packed ? !packed_is_available(flags, place >> 15) : le16(d->used->idx) != place;
}

static void notes_showing(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct notes *n = self;

	note(n, SHOWING, burst->count);
	assert_false(areas_show(ring, n->d, burst->place));
	if (n->placed)
		assert_int_equal(burst->place, n->place_after);
	memcpy(n->burst, burst->completions, burst->count * sizeof(n->burst[0]));
	n->burst_count = burst->count;
	n->place = burst->place;
	n->place_after = burst->place_after;
	n->placed = true;
}

static void notes_shown(void *self, const struct ring *ring, const struct ring_burst *burst)
{
	struct notes *n = self;

	note(n, SHOWN, burst->count);
	assert_true(areas_show(ring, n->d, burst->place));
	assert_int_equal(burst->count, n->burst_count);
	for (unsigned i = 0; i < burst->count; i++)
		flight_drop(n, burst->completions[i].id);
	n->burst_count = 0;
}

/* What is in flight, but for the burst that is shown again. */
static void notes_owe(const struct notes *n, struct ring_stand *stand)
{
	stand->owed = test_alloc(SIZE * sizeof(*stand->owed));
	stand->owed_descs = test_alloc((size_t)SIZE * DESCS * sizeof(*stand->owed_descs));
	for (unsigned i = 0; i < n->flight_count; i++) {
		const struct flight *f = &n->flights[i];
		bool again = false;

		for (unsigned j = 0; j < n->burst_count; j++)
			again |= n->burst[j].id == f->id;
		if (again)
			continue;
		memcpy(stand->owed_descs + (size_t)i * DESCS, f->descs, sizeof(f->descs));
		stand->owed[stand->owed_count++] = (struct ring_owed){ f->id, f->span, i * DESCS };
	}
}

static const char *notes_begin(void *self, const struct ring_setup *setup, struct ring_stand *stand)
{
	const struct ring as = { .is_packed = setup->packed };
	struct notes *n = self;

	if (n->refuses)
		return n->refuses;
	n->call_count = 0;
	if (n->burst_count && areas_show(&as, n->d, n->place)) {
		for (unsigned i = 0; i < n->burst_count; i++)
			flight_drop(n, n->burst[i].id);
		n->burst_count = 0;
	}
	stand->known = n->placed || n->flight_count;
	stand->place = n->placed && !n->burst_count ? n->place_after : n->place;
	stand->redo = n->burst;
	stand->redo_count = n->burst_count;
	notes_owe(n, stand);
	return NULL;
}

static const struct ring_witness_ops notes_ops = {
	.begin = notes_begin,
	.popped = notes_popped,
	.unpopped = notes_unpopped,
	.pushed = notes_pushed,
	.showing = notes_showing,
	.shown = notes_shown,
};

static struct notes *notes_new(const struct test_options *opt)
{
	struct notes *n = test_alloc(sizeof(*n));

	n->d = driver_new(*opt);
	n->place = opt->packed ? 0x8000 : 0;
	return n;
}

static void notes_free(struct notes *n)
{
	driver_free(n->d);
	free(n);
}

static void notes_succeed(struct notes *n)
{
	succeed(n->d, &(struct ring_witness){ &notes_ops, n });
}

static void for_both(void (*check)(struct notes *n))
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct notes *n = notes_new(&(struct test_options){ .packed = packed, .size = SIZE });

		notes_succeed(n);
		check(n);
		notes_free(n);
	}
}

/* ---- the calls ---- */

static void calls_are(const struct notes *n, const enum call *calls, const unsigned *counts, unsigned count)
{
	assert_int_equal(n->call_count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(n->calls[i], calls[i]);
		assert_int_equal(n->counts[i], counts[i]);
	}
}

static void check_calls(struct notes *n)
{
	static const enum call calls[] = { POPPED, UNPOPPED, PUSHED, PUSHED, SHOWING, SHOWN };
	static const unsigned counts[] = { 4, 1, 1, 2, 3, 3 };
	struct vireo_chain c[4];

	add(n->d, 4);
	assert_int_equal(driver_pop(n->d, c, 4), 4);
	ring_unpop(n->d->ring, &c[3], 1);
	test_push(n->d->ring, &c[2], 5);
	ring_push(n->d->ring, c, NULL, 2);
	assert_int_equal(used_count(n->d), 0);
	assert_int_equal(n->bytes_pushed, 3 * 64);
	ring_publish(n->d->ring);
	assert_false(ring_publish(n->d->ring)); /* there is nothing to tell of */
	calls_are(n, calls, counts, ARRAY_SIZE(calls));
	assert_int_equal(n->burst[0].id, c[2].id);
	assert_int_equal(n->burst[0].written_bytes, 5);
	assert_true(n->burst[0].writable);
	assert_int_equal(used_count(n->d), 3);
	assert_int_equal(driver_pop(n->d, c, 4), 1); /* what was given back comes again, and is told of */
	assert_int_equal(n->calls[n->call_count - 1], POPPED);
}

static void a_witness_is_told_once_a_burst(void **state)
{
	for_both(check_calls);
}

static void check_broken(struct notes *n)
{
	struct vireo_chain c[2];
	unsigned told;

	add(n->d, 2);
	assert_int_equal(driver_pop(n->d, c, 2), 2);
	told = n->call_count;
	ring_break(n->d->ring, "a test");
	test_push(n->d->ring, &c[0], 0);
	assert_false(ring_publish(n->d->ring));
	assert_int_equal(driver_pop(n->d, c, 2), -EPROTO);
	assert_int_equal(n->call_count, told);
	assert_int_equal(used_count(n->d), 0);
}

static void of_a_broken_ring_no_witness_is_told(void **state)
{
	for_both(check_broken);
}

static void check_refusal(struct notes *n)
{
	struct ring_setup setup = driver_setup(n->d);
	struct ring *ring;
	const char *why;

	n->refuses = "of no use";
	setup.witness = (struct ring_witness){ &notes_ops, n };
	assert_int_equal(ring_new(&setup, &ring, &why), -EINVAL);
	assert_string_equal(why, "of no use");
}

static void a_witness_may_refuse_the_ring(void **state)
{
	for_both(check_refusal);
}

/* A tenant that wants to know of one thing only; the ring has room of its own for what is held back. */
static void check_part(struct notes *n)
{
	const struct ring_witness_ops ops = { .pushed = notes_pushed };
	struct vireo_chain c[2];

	succeed(n->d, &(struct ring_witness){ &ops, n });
	add(n->d, 2);
	assert_int_equal(driver_pop(n->d, c, 2), 2);
	ring_unpop(n->d->ring, &c[1], 1);
	test_push(n->d->ring, &c[0], 7);
	assert_int_equal(used_count(n->d), 0);
	ring_publish(n->d->ring);
	assert_int_equal(used_count(n->d), 1);
}

static void no_call_of_a_witness_is_a_must(void **state)
{
	for_both(check_part);
}

/* ---- what is owed ---- */

/* 0, 1 and 2 are popped, 1 is done, and the process is killed. */
static void check_owed(struct notes *n)
{
	struct vireo_chain c[8], was[3];
	struct test_driver *d = n->d;

	add(d, 3);
	assert_int_equal(driver_pop(d, was, 3), 3);
	test_push(d->ring, &was[1], 0x10);
	ring_publish(d->ring);
	add(d, 1);
	notes_succeed(n);
	assert_true(ring_available(d->ring));
	assert_true(ring_kick_enable(d->ring, true));
	assert_int_equal(driver_pop(d, c, 8), 2); /* what is owed comes alone */
	assert_int_equal(c[0].id, was[0].id);
	assert_int_equal(c[1].id, was[2].id);
	assert_ptr_equal(c[1].iov[0].iov_base, guest_at(d->map, ADDR));
	assert_int_equal(n->call_count, 0); /* it knows of them */
	ring_unpop(d->ring, &c[1], 1);
	assert_true(ring_kick_enable(d->ring, true));
	assert_int_equal(driver_pop(d, &c[1], 8), 1);
	assert_int_equal(c[1].id, was[2].id);
	assert_int_equal(driver_pop(d, &c[2], 8), 1);
	ring_unpop(d->ring, &c[1], 2); /* an owed one, and another */
	assert_int_equal(n->calls[n->call_count - 1], UNPOPPED);
	assert_int_equal(n->counts[n->call_count - 1], 1);
	assert_int_equal(driver_pop(d, &c[1], 8), 1);
	assert_int_equal(c[1].id, was[2].id);
	assert_int_equal(driver_pop(d, &c[2], 8), 1);
	assert_int_equal(driver_pop(d, &c[3], 8), 0);
	assert_false(ring_kick_enable(d->ring, true));
	for (unsigned i = 3; i--;)
		test_push(d->ring, &c[i], 0);
	ring_publish(d->ring);
	assert_int_equal(used_count(d), 4);
	assert_int_equal(d->free_descs, SIZE);
	assert_int_equal(n->flight_count, 0);
}

static void what_is_owed_is_popped_first(void **state)
{
	for_both(check_owed);
}

static void check_room(struct notes *n)
{
	struct test_piece pieces[3] = { { ADDR, 4, false }, { ADDR + 64, 4, false }, { ADDR + 128, 4, true } };
	struct vireo_chain c[2];
	struct iovec iov[4];

	for (unsigned i = 0; i < 2; i++)
		driver_add(n->d, pieces, 3, 3, 0);
	assert_int_equal(driver_pop(n->d, c, 2), 2);
	notes_succeed(n);
	assert_int_equal(ring_pop(n->d->ring, c, 2, iov, 2), -ENOBUFS);
	assert_int_equal(ring_pop(n->d->ring, c, 2, iov, 4), 1);
	assert_int_equal(ring_pop(n->d->ring, &c[1], 1, iov, 4), 1);
	assert_int_equal(c[1].readable_count, 2);
	assert_int_equal(c[1].writable_bytes, 4);
	ring_push(n->d->ring, c, NULL, 2);
	ring_publish(n->d->ring);
	assert_int_equal(used_count(n->d), 2);
}

static void what_is_owed_waits_for_room(void **state)
{
	for_both(check_room);
}

/* The memory of an owed chain is not mapped yet: it stays, as any other would. */
static void check_miss(struct notes *n)
{
	struct ring_setup setup = driver_setup(n->d);
	struct map *map = n->d->map;
	struct vireo_chain c[2];
	unsigned regions = map->count;
	const char *why;

	add(n->d, 2);
	assert_int_equal(driver_pop(n->d, c, 2), 2);
	setup.witness = (struct ring_witness){ &notes_ops, n };
	setup.lazy = true;
	ring_free(n->d->ring);
	assert_int_equal(ring_new(&setup, &n->d->ring, &why), 0);
	map->count = 0;
	assert_int_equal(driver_pop(n->d, c, 2), -EFAULT);
	assert_int_equal(ring_missed(n->d->ring), ADDR);
	map->count = regions;
	assert_int_equal(driver_pop(n->d, c, 2), 2);
}

static void what_is_owed_waits_for_memory(void **state)
{
	for_both(check_miss);
}

/* A copy of descriptors comes from somebody's memory, too. */
static void a_lie_in_what_is_owed_breaks_the_ring(void **state)
{
	static const struct packed_desc lies[][2] = {
		{ { .addr = 0, .len = 4 }, { .addr = ADDR, .len = 4 } },
		{ { .addr = ADDR, .len = 4, .flags = DESC_F_WRITE }, { .addr = ADDR, .len = 4 } },
		{ { .addr = ADDR, .len = 16, .flags = DESC_F_INDIRECT }, { .addr = ADDR, .len = 4 } },
		{ { .addr = UINT64_MAX, .len = 4 }, { .addr = ADDR, .len = 4 } },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct notes *n = notes_new(&(struct test_options){ .packed = true, .size = SIZE, .indirect = true });
		struct vireo_chain c;

		n->flight_count = 1;
		n->flights[0] = (struct flight){ .span = 2, .descs = { lies[i][0], lies[i][1] } };
		notes_succeed(n);
		assert_int_equal(driver_pop(n->d, &c, 1), -EPROTO);
		assert_non_null(ring_error(n->d->ring));
		notes_free(n);
	}
}

/* ---- killed at any moment ---- */

static void killed_at_any_moment_none_is_lost_and_none_completed_twice(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct test_options opt = { .packed = seed & 1, .size = SIZE, .indirect = seed & 2, .event_idx = seed & 4,
					    .in_order = seed & 8 };
		struct notes *n = notes_new(&opt);

		a_life_with_kills(n->d, (struct ring_witness){ &notes_ops, n }, NULL, seed, opt.in_order || seed & 16);
		assert_int_equal(n->flight_count, 0);
		notes_free(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_witness_is_told_once_a_burst),
		cmocka_unit_test(of_a_broken_ring_no_witness_is_told),
		cmocka_unit_test(a_witness_may_refuse_the_ring),
		cmocka_unit_test(no_call_of_a_witness_is_a_must),
		cmocka_unit_test(what_is_owed_is_popped_first),
		cmocka_unit_test(what_is_owed_waits_for_room),
		cmocka_unit_test(what_is_owed_waits_for_memory),
		cmocka_unit_test(a_lie_in_what_is_owed_breaks_the_ring),
		cmocka_unit_test(killed_at_any_moment_none_is_lost_and_none_completed_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
