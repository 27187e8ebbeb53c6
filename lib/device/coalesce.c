/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Signals that are held back, so that one tells of many chains: until so many packets have been shown, or so much time has gone since the
 * first of them. What is a packet, the device type says by a counter of its own.
 *
 * Theory of operation. The control thread writes both limits as one word, and tells the ring (ring_signals_later()); the queue's worker reads it
 * when it flushes. From the first flush for which nothing is held on, `held` is set, until the limits are met: then the driver is asked
 * whether it wants a signal for all of that, as its event suppression says by then, and the next flush begins anew.
 *
 *	who looks whether time is over		vireo_queue_flush(), each time
 *						the worker at the time that vireo_queue_signal_look() names, for there may be no other flush
 *	who signals at once, unasked		vireo_queue_quiesced(): the worker has let go, and nobody would look any more. Whether the driver
 *						goes on here, in another process or on another machine, it has been told of all that is used
 *
 * No more is held than the ring has slots: a driver that has no buffer left is to hear of it, whatever it has asked for.
 */

#include "base/clock.h"
#include "base/util.h"
#include "device/device_internal.h"

#define NS_PER_US 1000u

/* Any thread. */
static uint64_t counted(const struct vireo_queue *queue)
{
	return queue->coalesce.counter ? counter_read(queue->coalesce.counter) : 0;
}

/* ---- control thread ---- */

void device_queue_coalesce(struct vireo_device *device, uint32_t index, struct device_coalesce limits)
{
	struct vireo_queue *queue = &device->queues[index];
	bool holds = limits.max_packets && limits.max_us;
	uint64_t word = holds ? (uint64_t)limits.max_packets << 32 | limits.max_us : 0;

	if (!queue->coalesce.limits)
		__atomic_store_n(&queue->coalesce.from, counted(queue), __ATOMIC_RELAXED);
	/* Pairs with limits_of(): what the caller has done before, for signals that are held from now on, is seen by who holds the first. */
	__atomic_store_n(&queue->coalesce.limits, word, __ATOMIC_RELEASE);
	if (queue->running)
		queue_coalesce_begin(queue);
}

void queue_coalesce_begin(struct vireo_queue *queue)
{
	if (__atomic_load_n(&queue->coalesce.limits, __ATOMIC_RELAXED))
		ring_signals_later(queue->ring);
}

void queue_coalesce_end(struct vireo_queue *queue)
{
	if (!queue->coalesce.held)
		return;
	queue->coalesce.held = false;
	queue_signal(queue);
}

void device_queue_counter_set(struct vireo_queue *queue, const uint64_t *counter)
{
	queue->coalesce.counter = counter;
}

/* ---- worker ---- */

static struct device_coalesce limits_of(const struct vireo_queue *queue)
{
	uint64_t word = __atomic_load_n(&queue->coalesce.limits, __ATOMIC_ACQUIRE);

	return (struct device_coalesce){ .max_packets = (uint32_t)(word >> 32), .max_us = (uint32_t)word };
}

/* Of those that are shown and not told of. None takes less than a slot. */
static uint64_t packets(const struct vireo_queue *queue)
{
	uint64_t from = max_u64(queue->coalesce.counted, __atomic_load_n(&queue->coalesce.from, __ATOMIC_RELAXED));
	uint32_t slots = ring_unsignalled(queue->ring);

	return queue->coalesce.counter ? min_u64(counted(queue) - from, slots) : slots;
}

static uint64_t due_ns(const struct vireo_queue *queue, struct device_coalesce limits)
{
	return queue->coalesce.since_ns + (uint64_t)limits.max_us * NS_PER_US;
}

static bool met(const struct vireo_queue *queue, struct device_coalesce limits, uint64_t now_ns)
{
	return packets(queue) >= limits.max_packets || ring_unsignalled(queue->ring) >= queue->size || now_ns >= due_ns(queue, limits);
}

static void tell(struct vireo_queue *queue)
{
	queue->coalesce.held = false;
	queue->coalesce.counted = counted(queue);
	if (ring_wants_signal(queue->ring))
		queue_signal(queue);
}

void queue_signal_later(struct vireo_queue *queue)
{
	uint64_t now_ns = clock_now_ns();

	if (!queue->coalesce.held) {
		queue->coalesce.held = true;
		queue->coalesce.since_ns = now_ns;
	}
	if (met(queue, limits_of(queue), now_ns))
		tell(queue);
}

uint64_t vireo_queue_signal_look(struct vireo_queue *queue)
{
	struct device_coalesce limits;

	if (!queue->coalesce.held)
		return 0;
	limits = limits_of(queue);
	if (!met(queue, limits, clock_now_ns()))
		return due_ns(queue, limits);
	tell(queue);
	return 0;
}

void vireo_queue_signal_now(struct vireo_queue *queue)
{
	if (queue->coalesce.held)
		tell(queue);
}
