/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLK_TEST_GUEST_H
#define BLK_TEST_GUEST_H

/*
 * For tests: a block device, with a guest in front of it (model/test_guest.h) and an application behind it that has a disk in memory.
 */

#include "model/blk/blk_internal.h"
#include "model/test_guest.h"

#define GUEST_MEMORY_BYTES (24u << 20)
/* Memory that can be taken away: nothing lies there. */
#define GUEST_DIMM { .gpa = GUEST_GPA + (UINT64_C(1) << 32), .size_bytes = 4096, .uaddr = GUEST_UADDR + (UINT64_C(1) << 32) }
#define GUEST_HELD_MAX 300u

#define DISK_BYTES (UINT64_C(1) << 20)
#define DISK_SECTORS (DISK_BYTES / 512)

#define F(name) VIREO_FEATURE(VIREO_BLK_F_##name##_BIT)
#define V1 VIREO_FEATURE(VIREO_F_VERSION_1_BIT)
#define PACKED VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)
#define INDIRECT VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT)

#define NOT_USED (-1) /* a status: the driver has not got it back */
#define NO_STATUS 0xee /* a status: nobody has written it */

/* What the application saw of a request. */
struct seen {
	uint32_t type, flags;
	uint64_t offset_bytes, bytes;
	uint32_t iov_count, queue;
};

struct guest {
	struct test_guest at; /* first */
	struct vireo_blk *blk;

	/* The application. */
	uint8_t *disk;
	bool holds; /* it keeps requests, until the test completes them */
	bool refuses_renewal;
	int result; /* of what it does not hold */
	struct vireo_blk_request *held[GUEST_HELD_MAX];
	void (*submitted)(struct guest *g); /* called first in each submit; may be NULL */
	unsigned got_back; /* the test's own, in there */
	unsigned held_count, submits, stops, starts, renewals, memories;
	struct seen seen[GUEST_HELD_MAX]; /* the last ones, from the first on */
	unsigned seen_count;
	bool stop_waits; /* it answers queue_stop later */
	int writeback; /* as it was told last; -1: it was not */
	uint64_t negotiated;
	unsigned resets, connects;
};

struct guest_config {
	uint64_t features; /* as the driver accepts them */
	unsigned queue_size; /* 0: 128 */
	const struct vireo_blk_config *blk; /* ops and opaque are the guest's; NULL: a plain disk */
	bool disabled;
};

/* A request in guest memory, as it is handed over: header, data and status in one stretch each. */
struct asked {
	struct virtio_blk_header *header;
	uint8_t *data;
	uint8_t *status;
};

void guest_start(struct guest *g, const struct guest_config *config);
void guest_start_features(struct guest *g, uint64_t features); /* of a disk that offers everything */
void guest_stop(struct guest *g);
void guest_quiesce(struct guest *g); /* begins; g->quiet says whether it is over */
void guest_set_up(struct guest *g, unsigned queue, bool enabled);
struct vireo_blk_config guest_disk(void); /* one that offers everything */

void *guest_alloc(struct guest *g, size_t bytes); /* zeroed, in guest memory */
uint64_t guest_gpa(const struct guest *g, const void *p);
void guest_add(struct guest *g, unsigned queue, struct iovec *iov, unsigned readable, unsigned writable, void *cookie);

/* Adds a request of three pieces (two where it has no data) and shows it to the device. */
struct asked guest_ask(struct guest *g, unsigned queue, uint32_t type, uint64_t sector, const void *data, size_t bytes);
struct asked guest_ask_read(struct guest *g, unsigned queue, uint32_t type, uint64_t sector, size_t bytes);
int guest_poll(struct guest *g, unsigned queue);
/* What the driver gets back next: its length, or NOT_USED. ret_cookie may be NULL; of guest_ask() it is the status. */
int guest_used(struct guest *g, unsigned queue, void **ret_cookie);
/* Asks, polls, and returns the status. */
int guest_do(struct guest *g, uint32_t type, uint64_t sector, const void *data, size_t bytes);
int guest_read(struct guest *g, uint32_t type, uint64_t sector, void *data, size_t bytes);
int guest_ranges(struct guest *g, uint32_t type, const struct virtio_blk_range *ranges, unsigned count);

void disk_do(struct guest *g, struct vireo_blk_request *request); /* carries it out, and completes it */
void held_do(struct guest *g, unsigned number); /* so with the nth that is held; the order of the others stays */
void held_do_all(struct guest *g);

struct vireo_blk_queue_stats guest_stats(struct guest *g);

#endif
