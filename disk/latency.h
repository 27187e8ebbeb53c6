/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_LATENCY_H
#define DISK_LATENCY_H

/* How long requests take at a disk that was opened with latency=on. Control thread. */

#include "disk/disk.h"

struct disk_latency_info {
	uint64_t count, min_ns, p50_ns, p99_ns, max_ns; /* all 0 if there was none */
};

bool disk_latency_measured(const struct disk *disk);
/* Of all queues that there are and were. 0; -ENOTSUP: it is not measured; -ENOMEM. */
int disk_latency_get(const struct disk *disk, enum disk_op op, struct disk_latency_info *ret_info);

#endif
