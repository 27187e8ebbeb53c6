/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/drop.h"
#include "base/fd.h"
#include "device/device_internal.h"
#include "mem/late.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/*
 * Memory that comes late (mem/late.h), and how queues start there.
 *
 * A ring is looked into when it begins: where does it stand, are kicks wanted? The pages for that may be missing, for as long
 * as the peer likes, and the control thread waits for nobody. So a queue whose ring is complete is begun by a thread that the program
 * lends:
 *
 *	set up -> beginning (a helper is in ring_new()) -> running
 *	             \-> set up: a quiesce has been asked for meanwhile, and is granted when the helper has come back
 *
 * The helper touches the job alone; the queue stays as it is, for whatever changes it asks for quiet first. Of what both use
 * the last one frees it: the device may be gone when the helper lays down its pen.
 *
 * Control queues are served in the control thread, by code that looks into buffers. They wait until nothing comes late any more.
 */
struct queue_begin {
	unsigned refs; /* atomic: the queue's and the helper's */
	int event_fd; /* the device's, dup'd */
	struct ring_setup setup; /* the map is a reference; what else it points to stays as long as the queue is beginning */
	/* The helper's, then (acquire by done) the queue's. */
	struct ring *ring;
	const char *why;
	int err;
	bool done; /* atomic */
};

static void begin_unref(struct queue_begin *begin)
{
	if (__atomic_fetch_sub(&begin->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	fd_close(&begin->event_fd);
	free(begin);
}

static void begin_work(void *argument)
{
	struct queue_begin *begin = argument;

	begin->err = ring_begin(&begin->setup, &begin->ring, &begin->why);
	if (!begin->err)
		ring_kick_enable(begin->ring, true);
	__atomic_store_n(&begin->done, true, __ATOMIC_RELEASE); /* pairs with begins_act() */
	fd_event_raise(begin->event_fd);
	begin_unref(begin);
}

static struct queue_begin *begin_new(const struct vireo_queue *queue, const struct ring_setup *setup)
{
	struct queue_begin *begin = calloc(1, sizeof(*begin));

	if (!begin)
		return NULL;
	begin->event_fd = fcntl(queue->device->event_fd, F_DUPFD_CLOEXEC, 0);
	if (begin->event_fd < 0) {
		free(begin);
		return NULL;
	}
	begin->refs = 2;
	begin->setup = *setup;
	begin->why = "no memory for the ring";
	map_ref(setup->map);
	return begin;
}

int queue_begin_aside(struct vireo_queue *queue, const struct ring_setup *setup, const char **why)
{
	struct vireo_device *device = queue->device;
	struct queue_begin *begin = begin_new(queue, setup);
	int err;

	*why = "no memory, or no file descriptor, to set the ring up aside";
	if (!begin)
		return -ENOMEM;
	err = drop_lend(device->faults.drop, begin_work, begin);
	if (!err) {
		queue->begin = begin;
		return 0;
	}
	*why = "no thread to set the ring up in, where memory comes late";
	map_unref(begin->setup.map);
	begin->refs = 1;
	begin_unref(begin);
	return err;
}

/* The helper has come back. */
static void queue_begun(struct vireo_queue *queue)
{
	struct queue_begin *begin = queue->begin;
	bool wanted = !queue->quiesced && queue->device->session && !queue->device->broken;

	queue->begin = NULL;
	queue->ring = begin->ring;
	if (wanted && !begin->err)
		queue_run_begun(queue, begin->setup.map);
	else
		queue_run_not(queue, begin->err, wanted ? begin->why : NULL);
	map_unref(begin->setup.map);
	begin_unref(begin);
}

/* The number of quiesces that have waited for it. */
unsigned begins_act(struct vireo_device *device)
{
	unsigned waited = 0;

	for (unsigned i = 0; i < device->queue_count; i++) {
		struct vireo_queue *queue = &device->queues[i];

		if (!queue->begin || !__atomic_load_n(&queue->begin->done, __ATOMIC_ACQUIRE))
			continue;
		queue_begun(queue);
		waited += queue->quiesced && !queue->running;
		if (!queue->running)
			queue->quiesced = false;
	}
	return waited;
}

bool device_beginning(const struct vireo_device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		if (device->queues[i].begin)
			return true;
	return false;
}

/* ---- late, and not any more ---- */

bool device_late(const struct vireo_device *device)
{
	return device->faults.late;
}

int device_late_set(struct vireo_device *device, struct late *late)
{
	struct late *before = device->faults.late;
	int err = 0;

	if (late == before)
		return 0;
	if (late && !device->faults.drop)
		return -EOPNOTSUPP;
	if (!late != !before && device->ops.postcopy)
		err = device->ops.postcopy(device->opaque, late);
	if (err && late)
		return err;
	device->faults.late = late_ref(late);
	if (before)
		late_end(before);
	late_unref(before);
	return 0;
}
