/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRANSPORT_KILLED_TEST_H
#define TRANSPORT_KILLED_TEST_H

/*
 * A device that completes chains in any order, in a process that is killed at any instruction, and a driver beside it that keeps
 * a ledger: each chain comes back once, with what was written to it since it was made available. Whose process it is, and how it
 * is told of the ring, the test of each transport says.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "driver/ring/ring.h"
#include "vireo/cursor.h"
#include "vireo/device.h"
#include "vireo/driver.h"
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLED_SIZE 16u /* of the ring */
#define KILLED_BUFFER_BYTES 64u
#define KILLED_WAIT_MS 60000u

static inline unsigned killed_times(void)
{
	const char *told = getenv("VIREO_KILLS");

	return told ? (unsigned)strtoul(told, NULL, 10) : 10;
}

static inline uint64_t killed_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline unsigned killed_random(uint64_t *seed, unsigned below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(*seed >> 33) % below;
}

/* ---- the driver ---- */

/* Each buffer is asked for by a number of its own, which the device writes behind it. */
struct killed_buffer {
	uint64_t asked, answered;
};

struct killed_driver {
	struct vireo_driver_ring *ring;
	uint8_t *host; /* of KILLED_SIZE buffers */
	uint64_t seed;
	bool out[KILLED_SIZE];
	uint64_t added, returned;
	unsigned kills, out_at_kills;
};

static inline struct killed_buffer *killed_buffer(const struct killed_driver *d, uintptr_t n)
{
	return (struct killed_buffer *)(void *)(d->host + n * KILLED_BUFFER_BYTES);
}

static inline void killed_takes(struct killed_driver *d)
{
	uint32_t bytes;
	void *cookie;
	int r;

	while ((r = vireo_driver_ring_get(d->ring, &cookie, &bytes)) > 0) {
		uintptr_t n = (uintptr_t)cookie - 1;
		struct killed_buffer *buffer = killed_buffer(d, n);

		assert_true(n < KILLED_SIZE && d->out[n]);
		assert_int_equal(bytes, sizeof(buffer->answered));
		assert_int_equal(__atomic_load_n(&buffer->answered, __ATOMIC_RELAXED), buffer->asked);
		d->out[n] = false;
		d->returned++;
	}
	if (r)
		fail_msg("after %u kills the ring is broken: a chain was completed that was not in flight", d->kills);
}

static inline void killed_adds(struct killed_driver *d)
{
	for (uintptr_t n = 0; n < KILLED_SIZE; n++) {
		struct killed_buffer *buffer = killed_buffer(d, n);
		struct iovec iov[] = { { &buffer->asked, sizeof(uint64_t) }, { &buffer->answered, sizeof(uint64_t) } };

		if (d->out[n] || killed_random(&d->seed, 2))
			continue;
		buffer->asked = d->added + 1;
		buffer->answered = 0;
		/* The cookie is only a name. NOLINTNEXTLINE(performance-no-int-to-ptr) */
		if (vireo_driver_ring_add(d->ring, iov, 1, 1, killed_random(&d->seed, 2), (void *)(n + 1)))
			break; /* full: a chain takes one or two */
		d->out[n] = true;
		d->added++;
	}
	vireo_driver_ring_kick(d->ring);
}

static inline unsigned killed_out(const struct killed_driver *d)
{
	return (unsigned)(d->added - d->returned);
}

/* Something comes back, little or much; then it dies. */
static inline void killed_lives_and_dies(struct killed_driver *d, pid_t child)
{
	uint64_t enough = d->returned + 1 + killed_random(&d->seed, 100), end = killed_now_ms() + KILLED_WAIT_MS;
	int status;

	while (d->returned < enough) {
		assert_true(killed_now_ms() < end);
		killed_adds(d);
		killed_takes(d);
	}
	killed_adds(d);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	killed_takes(d); /* what it had shown: the next one's own is what counts there */
	d->kills++;
	d->out_at_kills += killed_out(d);
}

/* The last one: it completes all that there is. */
static inline void killed_ends(struct killed_driver *d, pid_t child)
{
	uint64_t end = killed_now_ms() + KILLED_WAIT_MS;

	while (killed_out(d)) {
		if (killed_now_ms() > end)
			fail_msg("%u chains have been lost in %u kills", killed_out(d), d->kills);
		killed_takes(d);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	killed_takes(d);
	assert_true(d->out_at_kills > 0);
	print_message("           %u kills, %u chains were in flight, %llu came back\n", d->kills, d->out_at_kills,
		      (unsigned long long)d->returned);
}

/* ---- the device, in the child ---- */

struct killed_request {
	struct vireo_chain chain;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(KILLED_SIZE)];
};

struct killed_device {
	struct killed_request held[KILLED_SIZE]; /* the first `count` */
	unsigned order[KILLED_SIZE], count;
	uint64_t seed;
};

static inline struct killed_device *killed_device_new(void)
{
	struct killed_device *dev = calloc(1, sizeof(*dev));

	dev->seed = (uint64_t)getpid();
	for (unsigned i = 0; i < KILLED_SIZE; i++)
		dev->order[i] = i;
	return dev;
}

static inline void killed_completes(struct killed_device *dev, struct vireo_queue *queue, unsigned which)
{
	unsigned slot = dev->order[which];
	const struct vireo_chain *chain = &dev->held[slot].chain;
	struct vireo_cursor in = vireo_chain_readable(chain), out = vireo_chain_writable(chain);
	uint64_t asked = 0;

	if (!vireo_cursor_take(&in, &asked, sizeof(asked)) || !vireo_cursor_put(&out, &asked, sizeof(asked)))
		_exit(4);
	vireo_queue_push(queue, chain, sizeof(asked));
	dev->order[which] = dev->order[--dev->count];
	dev->order[dev->count] = slot;
}

/* Takes what is there, and completes some of it. */
static inline void killed_serves(struct killed_device *dev, struct vireo_queue *queue)
{
	while (dev->count < KILLED_SIZE) {
		struct killed_request *request = &dev->held[dev->order[dev->count]];
		int r = vireo_queue_pop(queue, &request->chain, 1, request->iov, ARRAY_SIZE(request->iov));

		if (r < 0)
			_exit(5);
		if (!r)
			break;
		dev->count++;
	}
	for (unsigned n = killed_random(&dev->seed, dev->count + 2) / 2; n--;) {
		killed_completes(dev, queue, killed_random(&dev->seed, dev->count));
		if (!killed_random(&dev->seed, 3))
			vireo_queue_flush(queue);
	}
	vireo_queue_flush(queue);
}

static inline void killed_gives_back(struct killed_device *dev, struct vireo_queue *queue)
{
	while (dev->count)
		killed_completes(dev, queue, 0);
	vireo_queue_flush(queue);
}

/* ---- the tests ---- */

static void killed_again_and_again(uint64_t features); /* the transport's: a ring with these, and killed_times() processes */

static inline void killed_with_a_split_ring_no_chain_is_lost_and_none_completed_twice(void **state)
{
	killed_again_and_again(VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT));
	killed_again_and_again(VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT));
}

static inline void killed_with_a_packed_ring_no_chain_is_lost_and_none_completed_twice(void **state)
{
	killed_again_and_again(VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) | VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT));
	killed_again_and_again(VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) | VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT));
}

static inline int killed_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_with_a_split_ring_no_chain_is_lost_and_none_completed_twice),
		cmocka_unit_test(killed_with_a_packed_ring_no_chain_is_lost_and_none_completed_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
