/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_BLK_LOAD_H
#define BENCH_BLK_LOAD_H

#include "base/histogram.h"
#include "vireo/driver.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LOAD_DEPTH_MAX 256u

struct load;
struct load_slot; /* a request that may be under way: its header, its status, its bytes, in the front end's memory */

/* How a request and its answer look, by the type of the device. Both lie in one piece of memory, the answer behind the request. */
struct load_format {
	uint32_t first_ring;	/* of the device, that carries requests */
	uint32_t head_bytes;	/* of both, in cache lines */
	uint32_t request_bytes, answer_at, answer_bytes;
	bool answer_first;	/* before the bytes that are read */
	uint64_t features;	/* that it is asked for */
	/* Of so many sectors, from that one on. */
	void (*request_put)(uint8_t *head, bool write, uint64_t sector, uint32_t sectors);
	bool (*answer_good)(const uint8_t *answer);
	int (*sectors_find)(struct vireo_front *front, const struct load *load, uint64_t *ret_sectors); /* before load_start() */
};

extern const struct load_format load_blk, load_scsi;

/* What one window asks for. */
struct load_job {
	bool write, polling; /* polling: never sleeps, and wants no signals */
	unsigned depth;
	uint64_t until; /* on clock_now(): nothing is submitted after it */
};

/* One queue, and the thread that fills it. */
struct load {
	const struct load_format *format;
	struct vireo_driver_ring *ring;
	struct load_slot *slots;
	uint8_t *memory; /* load_memory_bytes() of it */
	uint32_t block_bytes;
	uint64_t blocks; /* of the disk */
	bool verify; /* each block that is read or written names itself */
	uint64_t random;
	int cpu; /* -1: any */
	pthread_t thread;
	/* Of the last window. */
	struct load_job job;
	uint64_t done, failed, end; /* end: when the last one came back */
	struct histogram latency; /* ticks of clock_now() */
};

size_t load_memory_bytes(const struct load_format *format, uint32_t block_bytes);

/* 0 or -ENOMEM. The caller has set what stands above `thread`. */
int load_init(struct load *load);
void load_free(struct load *load);

/* One window in a thread of its own: fills the queue until the job's end, and drains it. 0 or a negative errno. */
int load_start(struct load *load, const struct load_job *job);
void load_join(struct load *load);

#endif
