/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * null:SIZE: every request succeeds at once and nothing is kept. What is read is not even written to: what all that
 * stands before a disk costs is measured with it.
 */
#include "disk/kind.h"
#include <stdlib.h>

static void null_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		disk_queue_done(queue, requests[i], disk_request_problem(queue->disk, requests[i]));
}

static void null_queue_close(struct disk_queue *queue)
{
	free(queue);
}

static const struct disk_queue_ops null_queue_ops = {
	.submit = null_submit,
	.reap = disk_queue_done_reap,
	.arm = disk_queue_done_arm,
	.close = null_queue_close,
};

static int null_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue)
{
	struct disk_queue *queue = disk_queue_room(sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	disk_queue_init(queue, &null_queue_ops, disk);
	queue->in_thread = true;
	*ret_queue = queue;
	return 0;
}

static int null_resize(struct disk *disk, uint64_t bytes)
{
	disk_size_set(disk, bytes);
	return 0;
}

static void null_close(struct disk *disk)
{
	free(disk);
}

static const char *null_hand_over(const struct disk *disk, int *ret_fd)
{
	return NULL;
}

static const struct disk_ops null_ops = {
	.queue_open = null_queue_open,
	.resize = null_resize,
	.hand_over = null_hand_over,
	.close = null_close,
};

static int null_open(const struct disk_spec *spec, const struct disk_config *config, struct disk **ret_disk, char *why)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		return -ENOMEM;
	disk->ops = &null_ops;
	disk->info = (struct disk_info){.size_bytes = disk_size_of(spec->address), .can_discard = true, .can_erase = true, .zero_unmaps = true};
	*ret_disk = disk;
	return 0;
}

const struct disk_kind disk_null = {
	.name = "null",
	.address = "SIZE",
	.address_problem = disk_size_problem,
	.open = null_open,
};
