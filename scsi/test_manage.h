/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSI_TEST_MANAGE_H
#define SCSI_TEST_MANAGE_H

/* What the tests of task management have in common: tasks that a disk does not answer, and functions whose answers are counted. */

#include "scsi/test_scsi.h"

#define FOREVER "mem:1M,slow-ms=3600000,slow-op=read"

static unsigned answers;

static inline void answered(struct scsi_management *m)
{
	__atomic_fetch_add(&answers, 1, __ATOMIC_RELEASE);
}

static inline struct scsi_management function(unsigned f, uint64_t tag)
{
	struct scsi_management m = {.function = (uint8_t)f, .target = TARGET, .tag = tag, .done = answered};

	scsi_lun_encode(LUN, m.lun);
	answers = 0;
	return m;
}

/* The queue's thread looks. */
static inline unsigned reaped(struct scsi_queue *queue)
{
	struct scsi_task *done[16];

	return scsi_queue_reap(queue, done, 16);
}

/* Some READs that the disk does not answer, with tags 0, 1, ... */
struct hanging {
	struct scsi_task tasks[8];
	uint8_t cdb[10];
	struct iovec iov;
	uint8_t room[BLOCK];
};

static inline struct hanging *hang(struct rig *t, unsigned count)
{
	struct hanging *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	hex("28 00 00000000 00 0001 00", h->cdb);
	h->iov = (struct iovec){h->room, BLOCK};
	for (unsigned i = 0; i < count; i++) {
		struct scsi_task *one = &h->tasks[i];

		rig_fill(t, TARGET, LUN, "", 0, BLOCK);
		*one = t->task;
		one->tag = i;
		one->cdb = h->cdb;
		one->cdb_bytes = 10;
		one->in = &h->iov;
		scsi_queue_submit(t->queue, &one, 1);
	}
	assert_int_equal(reaped(t->queue), 0);
	return h;
}

/* Until all have ended; they are shown. */
static inline void drain(struct rig *t)
{
	for (unsigned i = 0; scsi_queue_pending(t->queue); i++) {
		assert_true(i < 20000);
		if (!reaped(t->queue))
			usleep(1000);
		scsi_queue_shown(t->queue);
	}
}

#endif
