/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/disk.h"
#include "base/util.h"
#include "disk/kind.h"
#include "disk/layer.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512u

/* ---- disks ---- */

static void info_complete(struct disk_info *info, const char *kind)
{
	info->kind = kind;
	if (!info->logical_block_bytes)
		info->logical_block_bytes = SECTOR_BYTES;
	if (info->physical_block_bytes < info->logical_block_bytes)
		info->physical_block_bytes = info->logical_block_bytes;
	if (info->can_discard && !info->discard_granularity_bytes)
		info->discard_granularity_bytes = info->logical_block_bytes;
	info->size_bytes -= info->size_bytes % info->logical_block_bytes;
}

int disk_open(const char *text, const struct disk_config *config, struct disk **ret_disk,
	      char why[DISK_WHY_BYTES])
{
	struct disk_config copy = *config;
	struct disk_spec spec;
	struct disk *disk;
	int err = disk_spec_parse(text, &spec, why);

	if (err)
		return err;
	copy.read_only |= disk_spec_number(&spec, "read-only", 0);
	snprintf(why, DISK_WHY_BYTES, "%s '%.100s': out of memory", spec.kind->name, spec.address);
	err = spec.kind->open(&spec, &copy, &disk, why);
	if (!err) {
		disk->config = copy;
		disk->config.handed_fd = NULL;
		disk->info.read_only |= copy.read_only;
		info_complete(&disk->info, spec.kind->name);
		err = disk_layers_open(&spec, disk, why);
		if (err)
			disk_close(disk);
		else
			*ret_disk = disk;
	}
	disk_spec_free(&spec);
	return err;
}

void disk_close(struct disk *disk)
{
	if (!disk)
		return;
	disk_layers_close(disk);
	disk->ops->close(disk);
}

void disk_info_get(const struct disk *disk, struct disk_info *ret_info)
{
	struct disk_info info;

	/* Field by field it would be forgotten; the size is the only one that moves. */
	memcpy(&info, &disk->info, offsetof(struct disk_info, size_bytes));
	memcpy((char *)&info + offsetof(struct disk_info, logical_block_bytes),
	       (const char *)&disk->info + offsetof(struct disk_info, logical_block_bytes),
	       sizeof(info) - offsetof(struct disk_info, logical_block_bytes));
	info.size_bytes = disk_size(disk);
	*ret_info = info;
}

int disk_zone_get(const struct disk *disk, uint64_t offset, struct disk_zone *ret_zone)
{
	if (!disk->ops->zone_get || !disk->info.zones.zone_bytes)
		return -EOPNOTSUPP;
	if (offset >= disk_size(disk))
		return -EINVAL;
	disk->ops->zone_get(disk, offset, ret_zone);
	return 0;
}

bool disk_size_moves(const struct disk *disk)
{
	return disk->ops->size;
}

int64_t disk_size_below(const struct disk *disk)
{
	int64_t size = disk->ops->size ? disk->ops->size(disk) : (int64_t)disk_size(disk);

	return size < 0 ? size : size - size % disk->info.logical_block_bytes;
}

int disk_refresh(struct disk *disk)
{
	return disk->ops->refresh ? disk->ops->refresh(disk) : 0;
}

int disk_resize(struct disk *disk, uint64_t bytes)
{
	if (!disk->ops->resize)
		return -ENOTSUP;
	if (!bytes || bytes > INT64_MAX || bytes % disk->info.logical_block_bytes)
		return -EINVAL;
	if (disk->info.read_only)
		return -EROFS;
	return disk->ops->resize(disk, bytes);
}

/* ---- disks that change hands ---- */

bool disk_changes_hands(const struct disk *disk)
{
	return disk->changes_hands;
}

int disk_hold(struct disk *disk)
{
	return disk->changes_hands ? disk->ops->hold(disk) : 0;
}

void disk_let_go(struct disk *disk)
{
	if (disk->changes_hands)
		disk->ops->let_go(disk);
}

/* ---- disks that go over to another process ---- */

static const char *handed(const struct disk *disk, int *ret_fd)
{
	*ret_fd = -1;
	if (disk->layers[DISK_LAYER_FORGET])
		return "forget= holds back what is to be read there";
	return disk->ops->hand_over ? disk->ops->hand_over(disk, ret_fd) : "what it holds is in this process alone";
}

const char *disk_hand_over_problem(const struct disk *disk)
{
	int fd;

	return handed(disk, &fd);
}

int disk_handed_fd(const struct disk *disk)
{
	int fd;

	return handed(disk, &fd) ? -1 : fd;
}

void disk_take(struct disk *disk)
{
	if (disk->ops->take)
		disk->ops->take(disk);
}

/* ---- sizes as addresses ---- */

const char *disk_size_problem(const char *address)
{
	uint64_t bytes;

	if (!disk_size_parse(address, &bytes))
		return "expected a size in bytes, as 1073741824, 64M or 2G";
	return bytes % SECTOR_BYTES ? "expected a multiple of 512 bytes" : NULL;
}

uint64_t disk_size_of(const char *address)
{
	uint64_t bytes = 0;
	bool valid = disk_size_parse(address, &bytes);

	assert(valid);
	return bytes;
}

/* ---- queues ---- */

int disk_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue)
{
	struct disk_queue *queue;
	int err;

	if (!depth || depth > DISK_DEPTH_MAX)
		return -EINVAL;
	err = disk->ops->queue_open(disk, depth, &queue);
	if (err)
		return err;
	err = disk_layers_queue(disk, &queue);
	if (err)
		disk_queue_close(queue);
	else
		*ret_queue = queue;
	return err;
}

void disk_queue_close(struct disk_queue *queue)
{
	if (!queue)
		return;
	assert(!queue->pending);
	queue->ops->close(queue);
}

void *disk_queue_room(size_t bytes)
{
	size_t whole = align_up(bytes, CACHE_LINE_BYTES);
	void *room = aligned_alloc(CACHE_LINE_BYTES, whole);

	return room ? memset(room, 0, whole) : NULL;
}

void disk_queue_init(struct disk_queue *queue, const struct disk_queue_ops *ops, struct disk *disk)
{
	queue->ops = ops;
	queue->disk = disk;
	queue->fd = -1;
	queue->in_thread = false;
	queue->pending = 0;
	queue->done = NULL;
	queue->done_end = &queue->done;
}

unsigned disk_queue_done_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	struct disk_request *r = queue->done;
	unsigned count = 0;

	for (; r && count < max; r = r->next)
		ret_done[count++] = r;
	queue->done = r;
	if (!r)
		queue->done_end = &queue->done;
	return count;
}

bool disk_queue_done_arm(struct disk_queue *queue, bool on)
{
	return on && queue->done;
}
