/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_MISS_H
#define DEVICE_MISS_H

/* What a queue waits for: see miss.c, which alone writes it. */

#include "device/device_internal.h"

struct queue_miss {
	/* The worker's while the queue runs, then the control thread's. */
	bool missed; /* any thread reads it (atomic): it has stopped at `gpa`, which was not in memory */
	bool write;
	uint64_t gpa;
	uint64_t maps; /* device->maps_set at that time */
	bool looked; /* ahead, since it missed something or device_misses_look() */

	/* The worker's: what it has raised `near` for. */
	uint64_t near_gpa, near_maps;
	bool near; /* any thread (atomic): it goes on, and what comes next is to be looked for */

	/* Control thread, of a patient device. */
	bool gone; /* something has been taken away while it ran */
	unsigned ahead_count, ahead_awaited; /* it does not start without the first `awaited` ones */
	bool ahead_old; /* it has waited since the last device_misses_settle() */
	bool ahead_settled; /* some of them have not come: it waits for none until they have */
	struct ring_absence ahead[DEVICE_MISSES_MAX - 1];
};

/* For all queues of a device, which have been made: -ENOMEM. And back: takes one without. */
int misses_new(struct vireo_device *device);
void misses_free(struct vireo_device *device);

/* Any thread: it stands still, for what it has missed. */
static inline bool queue_missed(const struct vireo_queue *queue)
{
	return __atomic_load_n(&queue->miss->missed, __ATOMIC_RELAXED);
}

/* Worker, or of a queue that cannot start: its ring has stopped at `gpa`, which is to be read or written. */
void miss_raise(struct vireo_queue *queue, uint64_t gpa, bool write);
/* Of a queue that is to start. True: it waits, or (not patient) the device is broken. */
bool miss_remains(struct vireo_queue *queue); /* for what it has missed before */
bool miss_areas(struct vireo_queue *queue, bool packed); /* for a part of its ring */
bool miss_ahead(struct vireo_queue *queue, const struct ring_setup *setup); /* for what lies ready in it */
void miss_come(struct vireo_queue *queue); /* of one that runs: what it will miss is looked for in the map, which may be a new one */
/* Worker: the ring goes on, but not beyond `gpa`. */
void miss_near(struct vireo_queue *queue, uint64_t gpa);
void miss_forget(struct vireo_queue *queue);

#endif
