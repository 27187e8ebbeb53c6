/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/miss.h"
#include <errno.h>

/*
 * A running queue in the hands of its worker. Nothing here is shared with the control thread but what
 * broken.c says.
 */

unsigned vireo_queue_index(const struct vireo_queue *queue)
{
	return queue->index;
}

unsigned vireo_queue_size(const struct vireo_queue *queue)
{
	return queue->size;
}

bool vireo_queue_enabled(const struct vireo_queue *queue)
{
	return __atomic_load_n(&queue->enabled, __ATOMIC_ACQUIRE);
}

void vireo_queue_opaque_set(struct vireo_queue *queue, void *opaque)
{
	queue->opaque = opaque;
}

void *vireo_queue_opaque(const struct vireo_queue *queue)
{
	return queue->opaque;
}

bool vireo_queue_may_wait(const struct vireo_queue *queue)
{
	return device_lazy(queue->device);
}

bool vireo_queue_waits(const struct vireo_queue *queue)
{
	return queue_missed(queue);
}

uint64_t vireo_queue_signals(const struct vireo_queue *queue)
{
	return counter_read(&queue->signals);
}

int vireo_queue_kick_fd(const struct vireo_queue *queue)
{
	return queue->kick_fd;
}

/* What is not in memory yet is not there for the worker either, until the queue is started again. */
static __cold int queue_pop_failed(struct vireo_queue *queue, int r)
{
	const struct vireo_device *device = queue->device;

	if (r == -EPROTO && device->transport->halts && !(ring_carried(queue->ring) && vireo_queue_enabled(queue)))
		queue_lie_raise(queue);
	else if (r == -EPROTO)
		device_break_raise(queue->device, queue, ring_error(queue->ring));
	if (r != -EFAULT)
		return r;
	miss_raise(queue, ring_missed(queue->ring), ring_missed_write(queue->ring));
	return 0;
}

static __cold int queue_too_many_pieces(struct vireo_queue *queue)
{
	return queue_pop_failed(queue, ring_break(queue->ring, "chain has more pieces than the device takes"));
}

/* The device has a bound: what comes before a chain that is beyond it is served, and then that one is a lie. */
static int queue_pop_bounded(struct vireo_queue *queue, const struct vireo_chain *chains, int r, unsigned iov_max)
{
	unsigned bound = queue->device->chain_pieces_max;

	if (r == -ENOBUFS && iov_max >= bound)
		return queue_too_many_pieces(queue);
	for (int i = 0; i < r; i++) {
		if (chains[i].readable_count + chains[i].writable_count <= bound)
			continue;
		if (!i)
			return queue_too_many_pieces(queue);
		ring_unpop(queue->ring, &chains[i], (unsigned)(r - i));
		return i;
	}
	return r < 0 ? queue_pop_failed(queue, r) : r;
}

/* What comes next is not in the map, behind an IOMMU: it is asked for while what has been popped is served. */
static __attribute__((noinline)) int queue_pop_specially(struct vireo_queue *queue, struct vireo_chain *chains, unsigned max,
							 struct iovec *iov, unsigned iov_max)
{
	const struct vireo_device *device = queue->device;
	int r = ring_pop(queue->ring, chains, max, iov, iov_max);

	if (device->patient && ring_misses_next(queue->ring) && r > 0 && (unsigned)r < max)
		miss_near(queue, ring_missed(queue->ring));
	if (device->chain_pieces_max)
		return queue_pop_bounded(queue, chains, r, iov_max);
	return r < 0 ? queue_pop_failed(queue, r) : r;
}

int vireo_queue_pop(struct vireo_queue *queue, struct vireo_chain *chains, unsigned max, struct iovec *iov,
		    unsigned iov_max)
{
	int r;

	if (unlikely(queue->device->pops_specially))
		return queue_pop_specially(queue, chains, max, iov, iov_max);
	r = ring_pop(queue->ring, chains, max, iov, iov_max);
	return unlikely(r < 0) ? queue_pop_failed(queue, r) : r;
}

void vireo_queue_unpop(struct vireo_queue *queue, const struct vireo_chain *chains, unsigned count)
{
	ring_unpop(queue->ring, chains, count);
}

void vireo_queue_push(struct vireo_queue *queue, const struct vireo_chain *chain, uint32_t written_bytes)
{
	ring_push(queue->ring, chain, &written_bytes, 1);
}

void vireo_queue_push_burst(struct vireo_queue *queue, const struct vireo_chain *chains,
			    const uint32_t *written_bytes, unsigned count)
{
	ring_push(queue->ring, chains, written_bytes, count);
}

void vireo_queue_flush(struct vireo_queue *queue)
{
	enum ring_signal wanted = ring_publish(queue->ring);

	if (likely(wanted == RING_QUIET))
		return;
	if (likely(wanted == RING_SIGNAL))
		queue_signal(queue);
	else
		queue_signal_later(queue);
}

bool vireo_queue_kick_enable(struct vireo_queue *queue, bool on)
{
	return ring_kick_enable(queue->ring, on) && likely(!queue_missed(queue));
}

void vireo_queue_expect(const struct vireo_queue *queue)
{
	ring_expect(queue->ring);
}

bool vireo_queue_awaits_signal(const struct vireo_queue *queue)
{
	return queue_missed(queue) || queue->coalesce.held || ring_awaits_signal(queue->ring);
}

unsigned vireo_queue_available(struct vireo_queue *queue)
{
	return likely(!queue_missed(queue)) ? ring_available(queue->ring) : 0;
}
