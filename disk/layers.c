/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of layers, and how they come to lie upon a disk. A new one is a place in kind.h, a line here and its row in a file of its own. */
#include "disk/layer.h"

const struct disk_layer_kind *const disk_layer_kinds[DISK_LAYERS] = {
	[DISK_LAYER_FORGET] = &disk_forgetful,
	[DISK_LAYER_FAIL] = &disk_fail,
	[DISK_LAYER_SLOW] = &disk_slow,
	[DISK_LAYER_THROTTLE] = &disk_throttle,
	[DISK_LAYER_LATENCY] = &disk_latency,
};

int disk_layers_open(const struct disk_spec *spec, struct disk *disk, char *why)
{
	int err = 0;

	for (unsigned i = 0; i < DISK_LAYERS && !err; i++)
		err = disk_layer_kinds[i]->open(spec, disk, &disk->layers[i], why);
	return err;
}

void disk_layers_close(struct disk *disk)
{
	for (unsigned i = DISK_LAYERS; i--;)
		if (disk->layers[i])
			disk_layer_kinds[i]->close(disk->layers[i]);
}

int disk_layers_queue(struct disk *disk, struct disk_queue **queue)
{
	int err = 0;

	for (unsigned i = 0; i < DISK_LAYERS && !err; i++)
		if (disk->layers[i])
			err = disk_layer_kinds[i]->queue_open(disk->layers[i], *queue, queue);
	return err;
}

/* ---- queues ---- */

void layer_queue_init(struct layer_queue *q, const struct disk_queue_ops *ops, struct disk_queue *below)
{
	disk_queue_init(&q->queue, ops, below->disk);
	q->queue.fd = disk_queue_fd(below);
	q->queue.in_thread = below->in_thread;
	q->below = below;
}

void layer_queue_close(struct layer_queue *q)
{
	disk_queue_close(q->below);
}

unsigned layer_queue_reap(struct layer_queue *q, struct disk_request **ret_done, unsigned max)
{
	unsigned count = disk_queue_done_reap(&q->queue, ret_done, max);

	return count + disk_queue_reap(q->below, ret_done + count, max - count);
}

bool layer_queue_arm(struct layer_queue *q, bool on)
{
	bool done = disk_queue_arm(q->below, on);

	return disk_queue_done_arm(&q->queue, on) || done;
}
