/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_LAYER_H
#define DISK_LAYER_H

/*
 * What may lie between a disk and who asks it: limits, faults for tests, measurements. A layer is a row, a file of its own each, in the
 * table of layers.c. A SPEC asks for it by keys, which every kind of disk takes, and it wraps the disk's queues: one that nobody has
 * asked for is not there, and costs nothing. The size and the rest of a disk are its own, whatever lies upon it.
 */

#include "disk/kind.h"

/* What a layer keeps of one disk begins with this. */
struct disk_layer {
	struct disk *disk;
};

struct disk_layer_kind {
	const struct disk_key *keys;
	unsigned key_count;
	/* *ret_layer stays NULL if the SPEC does not ask for it. 0, or -errno and why. */
	int (*open)(const struct disk_spec *spec, struct disk *disk, struct disk_layer **ret_layer, char *why);
	void (*close)(struct disk_layer *layer); /* its queues are closed */
	/* Over `below`, which it owns then. 0 or -errno, and *ret_queue untouched. */
	int (*queue_open)(struct disk_layer *layer, struct disk_queue *below, struct disk_queue **ret_queue);
};

extern const struct disk_layer_kind *const disk_layer_kinds[DISK_LAYERS];

extern const struct disk_layer_kind disk_fail, disk_forgetful, disk_latency, disk_slow, disk_throttle;

/* ---- layers.c ---- */

int disk_layers_open(const struct disk_spec *spec, struct disk *disk, char *why);
void disk_layers_close(struct disk *disk);
/* Puts a queue of each layer that there is upon *queue. -errno: it is as it was, but for layers that are there already. */
int disk_layers_queue(struct disk *disk, struct disk_queue **queue);

/* ---- what queues of layers have in common ---- */

struct layer_queue {
	struct disk_queue queue;
	struct disk_queue *below;
};

void layer_queue_init(struct layer_queue *q, const struct disk_queue_ops *ops, struct disk_queue *below);
void layer_queue_close(struct layer_queue *q); /* the one below, too */

/* What is done here, and then what is done below. */
unsigned layer_queue_reap(struct layer_queue *q, struct disk_request **ret_done, unsigned max);
bool layer_queue_arm(struct layer_queue *q, bool on);

/* Requests on their way down, handed over in bursts. */
#define LAYER_BURST 32u

struct layer_burst {
	struct disk_queue *below;
	unsigned count;
	struct disk_request *requests[LAYER_BURST];
};

static inline void layer_burst_go(struct layer_burst *burst)
{
	if (burst->count)
		disk_queue_submit(burst->below, burst->requests, burst->count);
	burst->count = 0;
}

static inline void layer_burst_add(struct layer_burst *burst, struct disk_request *r)
{
	burst->requests[burst->count++] = r;
	if (burst->count == LAYER_BURST)
		layer_burst_go(burst);
}

/* Requests that wait, linked by `next`. */
struct layer_list {
	struct disk_request *first, **end;
};

static inline void layer_list_init(struct layer_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

static inline void layer_list_add(struct layer_list *list, struct disk_request *r)
{
	r->next = NULL;
	*list->end = r;
	list->end = &r->next;
}

/* There is one. */
static inline struct disk_request *layer_list_take(struct layer_list *list)
{
	struct disk_request *r = list->first;

	list->first = r->next;
	if (!list->first)
		list->end = &list->first;
	return r;
}

#endif
