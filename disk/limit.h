/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_LIMIT_H
#define DISK_LIMIT_H

/*
 * How much may be asked of a disk: requests and bytes a second, all of them, or those that read and those that write apart. They are
 * keys of a SPEC, and may be changed while requests are under way. Disks of one group share one set of limits.
 */

#include "disk/disk.h"
#include <pthread.h>

enum disk_limit {
	DISK_LIMIT_IOPS,
	DISK_LIMIT_READ_IOPS,
	DISK_LIMIT_WRITE_IOPS,
	DISK_LIMIT_BPS,
	DISK_LIMIT_READ_BPS,
	DISK_LIMIT_WRITE_BPS,
	DISK_LIMITS,
};

struct disk_limits {
	struct {
		uint64_t rate;  /* a second; 0: none */
		uint64_t burst; /* so much at once after a rest; 0: a tenth of the rate */
	} of[DISK_LIMITS];
};

#define DISK_LIMITS_TEXT_BYTES 512u

/*
 * Changes what the text names: "iops=1000,read-bps=20M,bps-burst=64M"; a value of 0 takes a limit away, and "off" all of them. 0, or -EINVAL and
 * in `why` a phrase, and nothing has changed. Any thread.
 */
int disk_limits_parse(const char *text, struct disk_limits *limits, char why[DISK_WHY_BYTES]);
/* As disk_limits_parse() reads it. */
void disk_limits_write(const struct disk_limits *limits, char text[DISK_LIMITS_TEXT_BYTES]);

struct disk_limits_info {
	struct disk_limits limits;
	const char *group;  /* NULL: the disk's own. As long as the disk is open */
	uint64_t throttled; /* requests that had to wait, of all disks that have these limits */
};

/* Of the control thread. A disk that was never given any has none. */
void disk_limits_get(const struct disk *disk, struct disk_limits_info *ret_info);
/*
 * For all disks of its group. 0, or -errno; 1: queues that are open by now do not know of limits, as the disk had none before:
 * they are to be closed and opened anew.
 */
int disk_limits_set(struct disk *disk, const struct disk_limits *limits);

/* Of all disks that may be in one group with each other; outlives them. */
struct throttle;

struct disk_groups {
	pthread_mutex_t lock;
	struct throttle *first;
};

#define DISK_GROUPS_INIT {PTHREAD_MUTEX_INITIALIZER, NULL}

#endif
