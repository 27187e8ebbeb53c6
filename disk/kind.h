/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_KIND_H
#define DISK_KIND_H

/*
 * What a kind of disk is made of: a row, a file of its own each, in the table of kinds.c. A row owns its keys; nothing else
 * knows what its address means.
 */

#include "disk/disk.h"
#include "disk/spec.h"
#include <errno.h>
#include <time.h>

/*
 * What a queue's thread copies by itself in one call, or has the kernel copy, at most: its other queues wait meanwhile. Of a turn's calls each has so much:
 * what completes (reap), each burst that is submitted (of blk_export.c up to EXPORT_BURST requests, or the next range of each of its zeroes), and what completes then.
 */
#define DISK_TURN_BYTES (1u << 20)

/* In the order in which they lie upon each other, the lowest first. */
enum disk_layer_place {
	DISK_LAYER_FORGET,
	DISK_LAYER_FAIL,
	DISK_LAYER_SLOW,
	DISK_LAYER_THROTTLE,
	DISK_LAYER_LATENCY,
	DISK_LAYERS,
};

struct disk_layer;

struct disk_ops {
	int (*queue_open)(struct disk *disk, unsigned depth, struct disk_queue **ret_queue);
	int64_t (*size)(const struct disk *disk);	   /* as it is below now, or -errno; any thread. NULL: nobody else changes it */
	int (*refresh)(struct disk *disk);		   /* NULL: it never changes */
	int (*resize)(struct disk *disk, uint64_t bytes); /* NULL: -ENOTSUP */
	void (*zone_get)(const struct disk *disk, uint64_t offset, struct disk_zone *ret_zone); /* NULL: there are none */
	int (*hold)(struct disk *disk);			   /* NULL, and let_go as well: it never changes hands */
	void (*let_go)(struct disk *disk);
	/* Of disk_hand_over_problem(): NULL, and the fd (-1: none); or why not. NULL: what it has lies in this process. */
	const char *(*hand_over)(const struct disk *disk, int *ret_fd);
	void (*take)(struct disk *disk); /* NULL: nothing */
	void (*close)(struct disk *disk);
};

/* What every kind's disk begins with. */
struct disk {
	const struct disk_ops *ops;
	struct disk_layer *layers[DISK_LAYERS]; /* upon it (disk/layer.h); NULL: not this one */
	struct disk_config config;
	bool changes_hands; /* constant */
	struct disk_info info; /* constant once it is open, but for size_bytes (atomic) */
};

struct disk_kind {
	const char *name;    /* what stands before the colon */
	const char *address; /* in the help: what stands behind it */
	const struct disk_key *keys;
	unsigned key_count;
	const char *(*address_problem)(const char *address); /* NULL: it is fine; or what is expected */
	int (*keys_problem)(const struct disk_spec *spec, char *why); /* of keys together: 0, or -EINVAL and why. NULL: all of them go together */
	/* The disk is zeroed but for `config` and info.read_only; what is not said in `info` gets defaults afterwards. */
	int (*open)(const struct disk_spec *spec, const struct disk_config *config, struct disk **ret_disk, char *why);
};

extern const struct disk_kind *const disk_kinds[];
extern const unsigned disk_kind_count;

extern const struct disk_kind disk_file, disk_mem, disk_nbd, disk_null, disk_rbd;

static inline uint64_t disk_size(const struct disk *disk)
{
	return __atomic_load_n(&disk->info.size_bytes, __ATOMIC_RELAXED);
}

static inline void disk_size_set(struct disk *disk, uint64_t bytes)
{
	__atomic_store_n(&disk->info.size_bytes, bytes, __ATOMIC_RELAXED);
}

static inline uint64_t disk_now_ns(const struct disk *disk)
{
	struct timespec now;

	if (unlikely(disk->config.now_ns != NULL))
		return disk->config.now_ns();
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A size that a user has given, for the kinds that make what they are asked for. */
const char *disk_size_problem(const char *address);
uint64_t disk_size_of(const char *address); /* it has no problem */

/* ---- queues ---- */

/*
 * Memory for a queue, or for what belongs to one: all zero, and in cache lines of its own, for what lies beside it is another worker's as a rule.
 * free() gives it back. NULL: there is none.
 */
void *disk_queue_room(size_t bytes);
void disk_queue_init(struct disk_queue *queue, const struct disk_queue_ops *ops, struct disk *disk);

/* For the kinds that have done a request when they have submitted it: its ops but `submit`. */
unsigned disk_queue_done_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max);
bool disk_queue_done_arm(struct disk_queue *queue, bool on);

static inline void disk_queue_done(struct disk_queue *queue, struct disk_request *r, int result)
{
	r->result = result;
	r->next = NULL;
	*queue->done_end = r;
	queue->done_end = &r->next;
}

/* All of a list that is linked by `next` and has its results. */
static inline void disk_queue_done_all(struct disk_queue *queue, struct disk_request *list)
{
	while (list) {
		struct disk_request *r = list;

		list = r->next;
		disk_queue_done(queue, r, r->result);
	}
}

/* Zones have their own ways, and what goes around their pointers is not for them. To erase is not for every disk. */
static inline int disk_other_ops_problem(const struct disk *disk, const struct disk_request *r)
{
	bool zoned = disk->info.zones.zone_bytes;

	if (r->op == DISK_ERASE && !disk->info.can_erase)
		return -EOPNOTSUPP;
	if (r->op == DISK_ZONE || (r->op == DISK_WRITE && r->flags & DISK_APPEND))
		return zoned ? 0 : -EOPNOTSUPP;
	return zoned && r->op != DISK_READ ? -EOPNOTSUPP : 0;
}

/* Does it fit the disk as it is now? 0, or what it is done with. */
static inline int disk_request_problem(const struct disk *disk, const struct disk_request *r)
{
	uint64_t size = disk_size(disk);

	if (r->op == DISK_FLUSH)
		return 0;
	if (unlikely(r->op >= DISK_OPS || r->offset > size || r->bytes > size - r->offset))
		return -EINVAL;
	if (unlikely((r->offset | r->bytes) & (disk->info.logical_block_bytes - 1)))
		return -EINVAL;
	if (unlikely(disk->info.read_only) && r->op != DISK_READ)
		return -EROFS;
	if (unlikely(r->op > DISK_WRITE || r->flags & DISK_APPEND))
		return disk_other_ops_problem(disk, r);
	return 0;
}

#endif
