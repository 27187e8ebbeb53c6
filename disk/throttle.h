/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_THROTTLE_H
#define DISK_THROTTLE_H

/* Between the files of the layer that holds a disk to its limits. */

#include "base/bucket.h"
#include "disk/layer.h"
#include "disk/limit.h"
#include "disk/wake.h"

/* ---- limit.c ---- */

#define DISK_LIMIT_KEYS (2 * DISK_LIMITS + 1)

extern const struct disk_key disk_limit_keys[DISK_LIMIT_KEYS];

/* Changes those that the SPEC names. False: it names none. */
bool disk_limits_given(const struct disk_spec *spec, struct disk_limits *ret_limits);
int disk_limits_problem(const struct disk_limits *limits, char *why); /* 0, or -EINVAL and why */

/* ---- throttle.c: the set of limits that a disk has, or a group of disks shares ---- */

struct throttle {
	struct throttle_bucket {
		struct bucket bucket;
	} __attribute__((aligned(CACHE_LINE_BYTES))) of[DISK_LIMITS];
	/* Written by who changes the limits, read by all queues (atomic). */
	uint32_t generation; /* of the limits */
	bool limited;	     /* there is one */
	/* Under the lock; taken by who opens, closes, changes or asks, never by who submits. */
	pthread_mutex_t lock;
	struct disk_limits limits;
	struct throttle_queue *queues;
	uint64_t throttled; /* by queues that are closed */
	/* Under the lock of the groups. */
	unsigned users;
	struct throttle *next;
	struct disk_groups *groups; /* NULL: a disk's own */
	char *name;
};

/* The group of that name, which is made if need be; NULL: one of no group. -EEXIST: it is there, and has other limits. */
int throttle_get(struct disk_groups *groups, const char *name, const struct disk_limits *limits, struct throttle **ret_throttle);
void throttle_put(struct throttle *throttle);
void throttle_set(struct throttle *throttle, const struct disk_limits *limits, uint64_t now_ns);
uint64_t throttle_count(struct throttle *throttle); /* requests that have waited */

/* ---- throttle_queue.c ---- */

struct throttle_queue {
	struct layer_queue layer;
	struct throttle *throttle;
	struct wake wake;
	bool hurry;
	uint32_t generation; /* of the limits by which its requests wait */
	unsigned waiting;
	struct throttle_lane {
		struct layer_list list;
		uint64_t due_ns; /* of the first */
	} lanes[2];		 /* what reads, what writes */
	uint64_t throttled;	 /* a counter */
	/* Under the throttle's lock. */
	struct throttle_queue *next;
};

int throttle_queue_open(struct throttle *throttle, struct disk_queue *below, struct disk_queue **ret_queue);

#endif
