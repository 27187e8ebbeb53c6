/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * No wake-up is lost: every way in which the ring's accesses to what it shares with the driver, a driver's own, and the moments at
 * which a processor's stores become visible can follow each other (order.h: KICK and SIGNAL). The ring is the real one: split.c,
 * packed.c and packed_used.c, compiled in with each atomic access and each fence handed to the explorer below. The driver is a
 * model of one, written from the specification, one access a step.
 *
 * Processors are as x86's: each side has a queue of stores, which are seen by the other in their order, at any time later, and by
 * itself at once. Who has stored as much as fits waits. A fence waits until the queue is empty. A bell is such a store, too, and no
 * barrier.
 *
 * A run goes forward until both sides sleep with no bell rung and nothing on its way: then all chains must have been used, and
 * the driver have seen it. All runs are made: at each access whoever may move is asked for in turn, and the run is made again from
 * its beginning. A state that has been met is not gone on from twice. Its key has all that the device has read, so equal keys are
 * equal states.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void shared_load(void *to, const void *at, size_t bytes);
static void shared_store(void *at, const void *value, size_t bytes);
static void shared_fence(void);

#define __atomic_load_n(at, order) \
	__extension__({ \
		union { \
			__typeof__(*(at)) value; \
			char bytes[sizeof(*(at))]; \
		} seen_; \
		shared_load(seen_.bytes, (at), sizeof(seen_.bytes)); \
		seen_.value; \
	})
#define __atomic_store_n(at, what, order) \
	__extension__({ \
		__typeof__(*(at)) told_ = (what); \
		shared_store((at), &told_, sizeof(told_)); \
	})
#define __atomic_thread_fence(order) shared_fence()

#include "ring/packed.c"
#include "ring/packed_used.c"
#include "ring/ring.c"
#include "ring/split.c"

#undef __atomic_load_n
#undef __atomic_store_n
#undef __atomic_thread_fence

#define SIZE	    2u
#define QUEUE_MAX   8u
#define CHOICES_MAX 512u
#define MET_MAX	    (1u << 17)
#define GUEST_BYTES 64u

enum step { ADD, ADD_FENCE, KICK_CHECK, KICK_RING, LOOK, SIGNALS_ON, SIGNALS_FENCE, LOOK_AGAIN, SLEEP, SIGNALS_OFF, DONE };

/* What may be taken out of the device, to see that it is missed. */
enum fault { NONE, NO_FENCE, NO_SECOND_LOOK };

struct lab_store {
	uint8_t *at;
	uint8_t bytes[8];
	uint8_t count;
};

struct lab_queue {
	struct lab_store stores[QUEUE_MAX];
	uint32_t count;
};

/* All that both sides see, and nothing else. */
struct lab_memory {
	union {
		struct split_desc split[SIZE];
		struct packed_desc packed[SIZE];
	} desc __attribute__((aligned(16)));
	union {
		uint8_t split[6 + 2 * SIZE];
		struct packed_event packed;
	} driver __attribute__((aligned(16)));
	union {
		uint8_t split[6 + 8 * SIZE];
		struct packed_event packed;
	} device __attribute__((aligned(16)));
	uint32_t kick, call; /* bells: 1: rung */
};

struct lab_driver {
	enum step step;
	uint32_t added, used; /* chains, of all */
	uint16_t idx, last_used; /* split: free-running; packed: places on the line, counted from the beginning */
	uint16_t checked; /* up to where a kick has been thought of */
};

struct lab_options {
	bool packed, event_idx;
	bool persistent; /* kicks are never switched off: pop until 0, sleep */
	bool late; /* chains are completed when no more are there, and not one by one */
	uint32_t chains;
	uint32_t batch; /* so many are added before a kick is thought of ... */
	uint32_t window; /* ... and so many before one is waited for */
	enum fault fault;
};

static struct lab {
	struct lab_options opt;
	struct lab_memory memory;
	struct lab_driver driver;
	struct lab_queue device_stores, driver_stores;
	uint64_t history; /* of what the device has read and written */
	struct ring *ring;
	struct ring_setup setup;
	struct map *map;
	/* the explorer */
	uint8_t choices[CHOICES_MAX], options[CHOICES_MAX];
	uint32_t depth, known; /* choices made in this run; of which so many are as in the run before */
	uint64_t *met;
	uint32_t met_count, ends, lost;
	bool running;
	jmp_buf over;
	uint8_t guest[GUEST_BYTES];
} lab;

/* ---- memory ---- */

static bool is_shared(const void *at)
{
	return (uintptr_t)at - (uintptr_t)&lab.memory < sizeof(lab.memory);
}

static void queue_put(struct lab_queue *queue, void *at, const void *value, size_t bytes)
{
	struct lab_store *store = &queue->stores[queue->count++];

	memset(store, 0, sizeof(*store));
	store->at = at;
	store->count = (uint8_t)bytes;
	memcpy(store->bytes, value, bytes);
}

static void queue_drain_one(struct lab_queue *queue)
{
	struct lab_store *first = &queue->stores[0];

	memcpy(first->at, first->bytes, first->count);
	memmove(first, first + 1, (--queue->count) * sizeof(*first));
	memset(&queue->stores[queue->count], 0, sizeof(*first));
}

/* Memory, and over it what the side itself has stored. */
static void queue_load(const struct lab_queue *queue, void *to, const uint8_t *at, size_t bytes)
{
	memcpy(to, at, bytes);
	for (uint32_t i = 0; i < queue->count; i++)
		for (size_t b = 0; b < queue->stores[i].count; b++)
			if ((size_t)(queue->stores[i].at + b - at) < bytes)
				((uint8_t *)to)[queue->stores[i].at + b - at] = queue->stores[i].bytes[b];
}

static uint64_t mixed(uint64_t hash, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 29;
}

/* ---- the driver: one access a step ---- */

static uint16_t driver_load16(const void *at)
{
	uint16_t value;

	queue_load(&lab.driver_stores, &value, at, sizeof(value));
	return le16(value);
}

static void driver_store16(void *at, uint16_t value)
{
	value = le16(value);
	queue_put(&lab.driver_stores, at, &value, sizeof(value));
}

static struct packed_place line_place(uint16_t at)
{
	return (struct packed_place){ .pos = at % SIZE, .wrap = !(at / SIZE % 2) };
}

/* The descriptor lies there before whoever looks can know of it: those stores need no steps. */
static void driver_add(void)
{
	struct split_avail *avail = (void *)lab.memory.driver.split;
	struct lab_driver *d = &lab.driver;
	struct packed_place at = line_place(d->idx);

	if (lab.opt.packed) {
		struct packed_desc *desc = &lab.memory.desc.packed[at.pos];

		desc->addr = le64(0);
		desc->len = le32(1);
		desc->id = le16(at.pos);
		driver_store16(&desc->flags, (uint16_t)(at.wrap ? PACKED_DESC_AVAIL_MASK : PACKED_DESC_USED_MASK));
		d->idx++;
	} else {
		lab.memory.desc.split[d->idx % SIZE] = (struct split_desc){ .len = le32(1) };
		avail->ring[d->idx % SIZE] = le16(d->idx % SIZE);
		driver_store16(&avail->idx, ++d->idx);
	}
	d->added++;
}

/* Like vring_need_event() of the specification, on the line (2.7.10, 2.8.10). */
static bool driver_wants_to_kick(void)
{
	struct split_used *used = (void *)lab.memory.device.split;
	struct lab_driver *d = &lab.driver;
	uint16_t was = d->checked, event;
	uint32_t word;

	d->checked = d->idx;
	if (!lab.opt.packed && !lab.opt.event_idx)
		return !(driver_load16(&used->flags) & SPLIT_USED_F_NO_NOTIFY);
	if (!lab.opt.packed)
		return split_event_passed(driver_load16(split_avail_event(used, SIZE)), d->idx, was);
	queue_load(&lab.driver_stores, &word, (const uint8_t *)&lab.memory.device.packed, sizeof(word));
	word = le32(word);
	if ((word >> 16 & PACKED_EVENT_FLAGS_MASK) != PACKED_EVENT_DESC)
		return (word >> 16 & PACKED_EVENT_FLAGS_MASK) == PACKED_EVENT_ENABLE;
	event = (uint16_t)(d->idx - d->idx % SIZE + (word & PACKED_EVENT_OFFSET_MASK));
	if (!(word & PACKED_EVENT_WRAP_MASK) == line_place(d->idx).wrap)
		event = (uint16_t)(event - SIZE);
	return split_event_passed(event, d->idx, was);
}

static bool driver_finds_used(void)
{
	const struct split_used *used = (const void *)lab.memory.device.split;
	struct packed_place at = line_place(lab.driver.last_used);
	uint16_t flags;

	if (!lab.opt.packed)
		return driver_load16(&used->idx) != lab.driver.last_used;
	flags = driver_load16(&lab.memory.desc.packed[at.pos].flags);
	return (flags & (PACKED_DESC_AVAIL_MASK | PACKED_DESC_USED_MASK)) == packed_used_flags(at.wrap, 0);
}

static void driver_signals(bool on)
{
	struct split_avail *avail = (void *)lab.memory.driver.split;
	struct packed_place at = line_place(lab.driver.last_used);
	uint32_t word = PACKED_EVENT_DISABLE << 16;

	if (!lab.opt.packed && !lab.opt.event_idx) {
		driver_store16(&avail->flags, on ? 0 : SPLIT_AVAIL_F_NO_INTERRUPT);
	} else if (!lab.opt.packed) {
		driver_store16(split_used_event(avail, SIZE), (uint16_t)(lab.driver.last_used - !on));
	} else {
		if (on)
			word = lab.opt.event_idx ? place_encode(at) | PACKED_EVENT_DESC << 16 : PACKED_EVENT_ENABLE << 16;
		word = le32(word);
		queue_put(&lab.driver_stores, &lab.memory.driver.packed, &word, sizeof(word));
	}
}

/* A chain has been used, or not. */
static enum step driver_after_look(bool found, enum step otherwise)
{
	struct lab_driver *d = &lab.driver;

	if (!found)
		return otherwise;
	d->last_used++;
	d->used++;
	if (d->used < d->added)
		return LOOK;
	return d->added == lab.opt.chains ? DONE : ADD;
}

/* A kick has been thought of. */
static enum step driver_after_kick(void)
{
	const struct lab_driver *d = &lab.driver;

	return d->added < lab.opt.chains && d->added - d->used < lab.opt.window ? ADD : LOOK;
}

static bool driver_may_step(void)
{
	if (lab.driver_stores.count == QUEUE_MAX)
		return false;
	switch (lab.driver.step) {
	case ADD_FENCE:
	case SIGNALS_FENCE:
		return !lab.driver_stores.count;
	case SLEEP: /* who takes a bell has nothing left in the queue */
		return lab.memory.call && !lab.driver_stores.count;
	case DONE:
		return false;
	default:
		return true;
	}
}

static void driver_step(void)
{
	struct lab_driver *d = &lab.driver;
	const uint32_t rung = 1;

	switch (d->step) {
	case ADD:
		driver_add();
		d->step = d->added % lab.opt.batch && d->added < lab.opt.chains ? ADD : ADD_FENCE;
		break;
	case ADD_FENCE:
	case SIGNALS_FENCE:
		d->step++;
		break;
	case KICK_CHECK:
		d->step = driver_wants_to_kick() ? KICK_RING : driver_after_kick();
		break;
	case KICK_RING:
		queue_put(&lab.driver_stores, &lab.memory.kick, &rung, sizeof(rung));
		d->step = driver_after_kick();
		break;
	case LOOK:
		d->step = driver_after_look(driver_finds_used(), SIGNALS_ON);
		break;
	case SIGNALS_ON:
	case SIGNALS_OFF:
		driver_signals(d->step == SIGNALS_ON);
		d->step = d->step == SIGNALS_ON ? SIGNALS_FENCE : LOOK;
		break;
	case LOOK_AGAIN: /* what is there is taken by LOOK */
		d->step = driver_finds_used() ? SIGNALS_OFF : SLEEP;
		break;
	case SLEEP:
		lab.memory.call = 0;
		d->step = SIGNALS_OFF;
		break;
	default:
		abort();
	}
}

/* ---- the explorer ---- */

enum move { DEVICE, DRIVER, DEVICE_STORE, DRIVER_STORE };

static uint64_t lab_key(void)
{
	uint64_t key = mixed(lab.history, &lab.memory, sizeof(lab.memory));

	key = mixed(key, &lab.driver, sizeof(lab.driver));
	key = mixed(key, &lab.driver_stores, sizeof(lab.driver_stores));
	key = mixed(key, &lab.device_stores, sizeof(lab.device_stores));
	return key ? key : 1;
}

/* False: it had been met. */
static bool lab_meets(uint64_t key)
{
	uint32_t at = (uint32_t)(key >> 20) & (MET_MAX - 1);

	for (; lab.met[at]; at = (at + 1) & (MET_MAX - 1))
		if (lab.met[at] == key)
			return false;
	lab.met[at] = key;
	assert_true(++lab.met_count < MET_MAX / 4 * 3);
	return true;
}

/* One of `count` moves: the one that is due in this run. */
static uint32_t lab_choose(uint32_t count)
{
	uint32_t at = lab.depth;

	assert_true(at < CHOICES_MAX);
	if (at >= lab.known) {
		if (!lab_meets(lab_key()))
			longjmp(lab.over, 1);
		lab.choices[at] = 0;
		lab.options[at] = (uint8_t)count;
		lab.known = at + 1;
	}
	assert_int_equal(lab.options[at], count);
	lab.depth++;
	return lab.choices[at];
}

/* Lets the others move until it is the device's turn. False: it may not (it sleeps, or waits), and nobody else may any more. */
static bool lab_turn(bool (*device_may)(void))
{
	for (;;) {
		enum move moves[4], move;
		uint32_t count = 0;

		if (device_may())
			moves[count++] = DEVICE;
		if (driver_may_step())
			moves[count++] = DRIVER;
		if (lab.device_stores.count)
			moves[count++] = DEVICE_STORE;
		if (lab.driver_stores.count)
			moves[count++] = DRIVER_STORE;
		if (!count)
			return false;
		move = count == 1 ? moves[0] : moves[lab_choose(count)];
		if (move == DEVICE)
			return true;
		if (move == DRIVER)
			driver_step();
		else
			queue_drain_one(move == DEVICE_STORE ? &lab.device_stores : &lab.driver_stores);
	}
}

/* The next run differs in the last choice that has something left. False: there is none. */
static bool lab_next(void)
{
	while (lab.known && lab.choices[lab.known - 1] + 1 == lab.options[lab.known - 1])
		lab.known--;
	if (!lab.known)
		return false;
	lab.choices[lab.known - 1]++;
	return true;
}

/* ---- the device: the ring's accesses ---- */

static bool always(void)
{
	return true;
}

static bool queue_has_room(void)
{
	return lab.device_stores.count < QUEUE_MAX;
}

static bool queue_is_empty(void)
{
	return !lab.device_stores.count;
}

static bool kick_is_rung(void)
{
	return lab.memory.kick && !lab.device_stores.count;
}

static void shared_load(void *to, const void *at, size_t bytes)
{
	if (!lab.running || !is_shared(at)) {
		memcpy(to, at, bytes);
		return;
	}
	lab_turn(always);
	queue_load(&lab.device_stores, to, at, bytes);
	lab.history = mixed(lab.history + 1, to, bytes);
}

static void shared_store(void *at, const void *value, size_t bytes)
{
	if (!lab.running || !is_shared(at)) {
		memcpy(at, value, bytes);
		return;
	}
	lab_turn(queue_has_room);
	queue_put(&lab.device_stores, at, value, bytes);
	lab.history = mixed(lab.history + 2, value, bytes);
}

static void shared_fence(void)
{
	if (lab.running && lab.opt.fault != NO_FENCE)
		lab_turn(queue_is_empty);
}

static void device_complete(const struct vireo_chain *chain)
{
	const uint32_t rung = 1;

	ring_push(lab.ring, chain, NULL, 1);
	if (ring_publish(lab.ring))
		shared_store(&lab.memory.call, &rung, sizeof(rung));
}

/* Pops until nothing is there, and sleeps until it is kicked; for ever. */
static void device_run(void)
{
	for (;;) {
		struct vireo_chain chains[SIZE + 1];
		struct iovec iov[SIZE + 1][4];
		uint32_t held = 0;
		bool more;
		int got;

		while ((got = ring_pop(lab.ring, &chains[held], 1, iov[held], 4)) == 1)
			if (lab.opt.late)
				held++;
			else
				device_complete(&chains[held]);
		assert_int_equal(got, 0);
		more = !lab.opt.persistent && ring_kick_enable(lab.ring, true) && lab.opt.fault != NO_SECOND_LOOK;
		for (uint32_t i = 0; i < held; i++)
			device_complete(&chains[i]);
		if (more)
			continue;
		if (!lab_turn(kick_is_rung))
			return;
		lab.memory.kick = 0;
		lab.history = mixed(lab.history, "awake", 5);
		if (!lab.opt.persistent)
			ring_kick_enable(lab.ring, false);
	}
}

static void run_begin(const struct lab_memory *memory, const struct ring *ring)
{
	lab.memory = *memory;
	*lab.ring = *ring;
	memset(&lab.driver, 0, sizeof(lab.driver));
	if (!lab.opt.packed)
		lab.driver.idx = lab.driver.last_used = lab.driver.checked = (uint16_t)lab.setup.base;
	memset(&lab.device_stores, 0, sizeof(lab.device_stores));
	memset(&lab.driver_stores, 0, sizeof(lab.driver_stores));
	lab.history = 0;
	lab.depth = 0;
}

static void lab_run(const struct lab_memory *memory, const struct ring *ring)
{
	run_begin(memory, ring);
	if (setjmp(lab.over))
		return;
	device_run();
	lab.ends++;
	lab.lost += lab.driver.step != DONE;
}

static void lab_open(struct lab_options opt)
{
	const char *why;

	memset(&lab, 0, sizeof(lab));
	lab.opt = opt;
	lab.met = calloc(MET_MAX, sizeof(*lab.met));
	lab.map = calloc(1, sizeof(*lab.map) + sizeof(lab.map->regions[0]));
	assert_true(lab.met && lab.map);
	lab.map->count = 1;
	lab.map->regions[0] = (struct map_region){ .size_bytes = GUEST_BYTES, .host = lab.guest };
	lab.setup = (struct ring_setup){
		.packed = opt.packed, .event_idx = opt.event_idx, .size = SIZE, .desc = &lab.memory.desc, .driver = &lab.memory.driver,
		.device = &lab.memory.device, .base = opt.packed ? RING_BASE_PACKED_NEW : 0xfffe, .sure = true, .plain = true, .map = lab.map,
	};
	if (!opt.packed) /* its indices pass their end */
		((struct split_avail *)(void *)lab.memory.driver.split)->idx = ((struct split_used *)(void *)lab.memory.device.split)->idx =
			le16(0xfffe);
	assert_int_equal(ring_new(&lab.setup, &lab.ring, &why), 0);
	lab.driver.last_used = opt.packed ? 0 : 0xfffe;
	driver_signals(false); /* so does a driver begin that has not slept yet */
	while (lab.driver_stores.count)
		queue_drain_one(&lab.driver_stores);
}

/* All runs, or those up to the first that ends in a sleep that nobody ends. How many did. */
static uint32_t lab_explore(struct lab_options opt)
{
	static const char *const faults[] = { "", ", without fences", ", without a second look" };
	struct lab_memory memory;
	struct ring ring;
	uint32_t lost;

	lab_open(opt);
	memory = lab.memory;
	ring = *lab.ring;
	lab.running = true;
	do
		lab_run(&memory, &ring);
	while (!lab.lost && lab_next());
	lab.running = false;
	lost = lab.lost;
	print_message("%s, %s, %s, %u chains, %u and %u at a time%s%s: %u states, %u ends, %u of them lost\n", opt.packed ? "packed" : "split",
		      opt.event_idx ? "EVENT_IDX" : "flags", opt.persistent ? "kicks stay on" : "kicks go off and on", opt.chains, opt.batch,
		      opt.window, opt.late ? ", late" : "", faults[opt.fault], lab.met_count, lab.ends, lost);
	assert_true(lab.ends);
	*lab.ring = ring;
	ring_free(lab.ring);
	free(lab.map);
	free(lab.met);
	return lost;
}

/* ---- the tests ---- */

static void no_wake_up_is_lost(bool packed)
{
	static const uint32_t batches[] = { 1, 2, 1 }, windows[] = { 1, 2, 2 };

	for (unsigned i = 0; i < 8 * ARRAY_SIZE(batches); i++) {
		struct lab_options opt = { .packed = packed, .event_idx = i & 1, .persistent = i & 2, .late = i & 4, .chains = 4 };

		opt.batch = batches[i / 8];
		opt.window = windows[i / 8];
		assert_int_equal(lab_explore(opt), 0);
	}
}

static void no_order_of_accesses_loses_a_wake_up_of_a_split_ring(void **state)
{
	no_wake_up_is_lost(false);
}

static void no_order_of_accesses_loses_a_wake_up_of_a_packed_ring(void **state)
{
	no_wake_up_is_lost(true);
}

/* What finds nothing might not look: with one of the two things that hold it together taken out, it does. */
static void what_is_taken_out_is_missed(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct lab_options opt = { .packed = i & 1, .event_idx = i & 2, .chains = 2, .batch = 1, .window = 1 };

		opt.fault = NO_FENCE;
		assert_true(lab_explore(opt) > 0);
		opt.fault = NO_SECOND_LOOK;
		assert_true(lab_explore(opt) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_order_of_accesses_loses_a_wake_up_of_a_split_ring),
		cmocka_unit_test(no_order_of_accesses_loses_a_wake_up_of_a_packed_ring),
		cmocka_unit_test(what_is_taken_out_is_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
