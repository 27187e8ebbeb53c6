/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_RING_TEST_STRESS_H
#define RING_RING_TEST_STRESS_H

/*
 * Two threads that sleep whenever they can: the driver until a chain has been used, the device until one is
 * available. A notification that is suppressed though the other side sleeps leaves both asleep with no bell
 * rung, and that is what the sleepers look for: no timeout, which a busy machine would reach by itself.
 *
 * An eventfd is slow enough to hide a missing barrier, so a bell is a flag: once rung it stays so until it is
 * taken, and nothing between "wake me" and sleep is a full barrier but the ring's own. With a fence of
 * split.c, packed.c or packed_used.c taken out this fails on x86 in most runs.
 */

#include "ring_test_driver.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#define STRESS_RUN_MS 500

/* One side's. Its owner sleeps on it; the other side rings it. All fields atomic. */
struct stress_bell {
	uint32_t rung __attribute__((aligned(64)));
	uint32_t asleep;
	uint32_t gone; /* the owner will never do anything any more */
};

struct stress {
	struct test_driver *d;
	struct stress_bell kick, call;
	bool stop __attribute__((aligned(64))); /* atomic */
	bool persistent; /* the device never switches kicks off: pop until 0, sleep */
	bool device_lost, device_broken;
	uint64_t device_slept, driver_slept, used;
};

static inline void stress_ring(struct stress_bell *bell)
{
	__atomic_store_n(&bell->rung, 1, __ATOMIC_RELEASE);
}

static inline uint64_t stress_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/*
 * Will `other` never ring us? It rings no bell but ours, and only while awake: not rung (that it would see),
 * asleep (all it rang before is visible then), and still our bell is silent. The order of the three loads
 * matters.
 */
static inline bool stress_lost(struct stress_bell *mine, struct stress_bell *other)
{
	if (__atomic_load_n(&other->gone, __ATOMIC_ACQUIRE))
		return true;
	return !__atomic_load_n(&other->rung, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&other->asleep, __ATOMIC_ACQUIRE) &&
	       !__atomic_load_n(&mine->rung, __ATOMIC_ACQUIRE);
}

/* False: nobody will wake us. */
static inline bool stress_sleep(struct stress_bell *mine, struct stress_bell *other)
{
	bool lost = false;

	__atomic_store_n(&mine->asleep, 1, __ATOMIC_RELEASE);
	for (uint32_t spin = 1; !__atomic_load_n(&mine->rung, __ATOMIC_ACQUIRE) && !lost; spin++) {
		if (spin % 4096)
			continue;
		sched_yield();
		lost = stress_lost(mine, other);
	}
	__atomic_store_n(&mine->asleep, 0, __ATOMIC_RELEASE);
	/* Takes the ring; what was rung for is visible from here on. */
	return __atomic_exchange_n(&mine->rung, 0, __ATOMIC_SEQ_CST) || !lost;
}

/* So many loops of nothing: moves one thread's steps against the other's. */
static inline void stress_dawdle(uint64_t loops)
{
	for (volatile uint64_t i = 0; i < loops; i++)
		;
}

/* No assertions of cmocka here: they must not leave a thread. */
static inline void *stress_device(void *opaque)
{
	struct stress *s = opaque;
	struct vireo_chain chains[16];
	struct iovec iov[TEST_PIECES_MAX / 16];

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		int count = ring_pop(s->d->ring, chains, 5, iov, ARRAY_SIZE(iov));

		if (count < 0) {
			s->device_broken = true;
			break;
		}
		stress_dawdle(count ? s->device_slept * 11 % 47 : 0);
		for (int i = 0; i < count; i++)
			test_push(s->d->ring, &chains[i], 0);
		if (ring_publish(s->d->ring))
			stress_ring(&s->call);
		if (count || (!s->persistent && ring_kick_enable(s->d->ring, true)))
			continue;
		s->device_slept++;
		if (!stress_sleep(&s->kick, &s->call)) {
			s->device_lost = true;
			break;
		}
		if (!s->persistent)
			ring_kick_enable(s->d->ring, false);
	}
	__atomic_store_n(&s->kick.gone, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* Takes used chains until `left` are outstanding; sleeps for each that is not there. False: lost a wake-up.
 */
static inline bool stress_await(struct stress *s, uint32_t left)
{
	while (s->d->opt.size - s->d->free_descs > left) {
		uint32_t len;
		bool skipped;

		if (driver_used(s->d, &len, &skipped) >= 0) {
			s->used++;
			continue;
		}
		if (driver_signals_on(s->d))
			continue;
		s->driver_slept++;
		if (!stress_sleep(&s->call, &s->kick))
			return false;
		driver_signals_off(s->d);
	}
	return true;
}

static inline void stress_run(struct test_options opt, bool persistent)
{
	struct stress s = { .d = driver_new(opt) };
	uint64_t end = stress_now_ms() + STRESS_RUN_MS;
	struct test_piece piece = { .gpa = GUEST_BASE, .len = 8 };
	bool driver_lost = false;
	unsigned turn = 0;
	pthread_t thread;

	s.persistent = persistent;
	assert_int_equal(pthread_create(&thread, NULL, stress_device, &s), 0);
	while (!driver_lost && stress_now_ms() < end) {
		unsigned burst = 1 + turn++ * 7 % opt.size;

		stress_dawdle(turn * 13 % 61);
		while (burst-- && driver_add(s.d, &piece, 1, 1, 0) >= 0)
			if (burst % 3 == 0 && driver_should_kick(s.d))
				stress_ring(&s.kick);
		if (driver_should_kick(s.d))
			stress_ring(&s.kick);
		driver_lost = !stress_await(&s, turn % 4 ? 0 : opt.size / 2);
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
	stress_ring(&s.kick);
	pthread_join(thread, NULL);
	printf("# %u entries: %lu used, slept %lu (driver) %lu (device)\n", opt.size, (unsigned long)s.used,
	       (unsigned long)s.driver_slept, (unsigned long)s.device_slept);
	assert_false(s.device_broken);
	assert_false(s.device_lost);
	assert_false(driver_lost);
	assert_true(s.driver_slept > 0 && s.device_slept > 0);
	driver_free(s.d);
}

static inline void stress_all(bool packed)
{
	for (unsigned i = 0; i < 4; i++) {
		struct test_options opt = {
			.packed = packed, .event_idx = i & 1, .in_order = i & 2, .size = 8
		};

		stress_run(opt, i == 1 || i == 2);
	}
}

#endif
