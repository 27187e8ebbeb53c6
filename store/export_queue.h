/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_EXPORT_QUEUE_H
#define STORE_EXPORT_QUEUE_H

/* The queues of an export: the device's queue, what answers it, and the worker that serves both. See export_queue.c. */

#include "store/exports.h"
#include "work/worker.h"

#define EXPORT_BURST 32u /* taken from a driver at a time */

struct export_queue;

/* What a daemon knows of a queue. */
struct export_queue_ops {
	/* Control thread. */
	/* What answers it is to be there: 0 or -errno; -EBUSY: soon; -EINPROGRESS: export_queues_settle(), or _held_up(), is called when it is known. */
	int (*open)(struct export_queue *queue);
	void (*close)(struct export_queue *queue);
	void (*closed)(struct export_queue *queue); /* and it is not opened anew at once; may be NULL */
	int (*back_fd)(const struct export_queue *queue); /* of what answers it: readable (edge-triggered) when it has done something */
	int (*kick_fd)(const struct export_queue *queue);
	void (*quiesced)(struct export_queue *queue); /* the device has its queue back */
	void (*renewed)(struct export_queue *queue);
	/* Worker. */
	unsigned (*reap)(struct export_queue *queue);		 /* tells the device what has been done: so much */
	int (*poll)(struct export_queue *queue, unsigned max);	 /* as vireo_blk_poll() */
	void (*flush)(struct export_queue *queue);		 /* as vireo_blk_flush() */
	bool (*idle)(const struct export_queue *queue);		 /* nothing is in flight, with the device or behind it */
	bool (*kept)(struct export_queue *queue);		 /* as vireo_blk_kept() */
	bool (*kick_enable)(struct export_queue *queue, bool on);
	bool (*arm)(struct export_queue *queue, bool on);	 /* as disk_queue_arm() */
	void (*expect)(const struct export_queue *queue);	 /* it is served next; may be NULL */
	void (*hurry)(struct export_queue *queue);		 /* limits are no reason to wait any more */
	void (*cancel)(struct export_queue *queue);		 /* nobody waits for results any more */
};

/* First in what the daemon has of a queue. */
struct export_queue {
	struct crew_member member;
	const struct export_queue_ops *ops;
	struct export *export;
	unsigned index; /* from export_kind.first_queue on */
	/* The worker's. */
	bool ending, broken;
	bool told; /* `ended` is on its way */
	bool renewing;
	bool cancelled; /* atomic: the letter has been delivered */
	/* Control thread. */
	bool running, joined, leaving, stale, stopping;
	bool renew_waits; /* the device waits for an answer: ops->renewed() */
	bool cancel_sent, drained; /* leaving: the letter is on its way; nothing is in flight */
	uint64_t cancel_at_ms;
	unsigned home; /* the worker that it has been given to, plus 1; 0: whichever has the fewest */
	void (*moved)(void *opaque); /* somebody waits for that; or NULL */
	void *moved_opaque;
	struct worker_letter end, cancel, renew;
	struct vireo_letter ended, renewed;
};

static inline struct export_queue *export_queue(const struct export *export, unsigned queue)
{
	return (struct export_queue *)(void *)((char *)export->queues + queue * export->exports->kind->queue_bytes);
}

/* ---- for the device's ops, whose `opaque` is the export: control thread ---- */

void export_queue_started(void *export, unsigned queue);
void export_queue_stop(void *export, unsigned queue);
void export_queue_enabled(void *export, unsigned queue, bool enabled);
int export_queue_renew(void *export, unsigned queue);

/* ---- for the export: control thread ---- */

int export_queues_new(struct export *export);
void export_queues_free(struct export *export); /* all have left */
void export_queues_settle(struct export *export);
void export_queues_held_up(struct export *export, int err); /* those that are to be open, and are not, wait for longer: the errno says what for */
bool export_queues_wanted(const struct export *export);	   /* one is open, or is to be */
void export_queues_reopen(struct export *export); /* those that run are closed and opened, once what is in flight is done */
int export_queue_worker(const struct export *export, unsigned queue); /* its index; -1: it does not run */
/*
 * Gives a queue to a worker, and it is that worker's from then on, also when it stops and runs again. What is in flight is done first, by the worker
 * before; then the queue at the disk is opened anew, and what the driver has asked meanwhile is taken. `moved` is called once, when the worker
 * before has let go of it, maybe from within. -ERANGE: there are fewer workers; -EBUSY: somebody else waits for that: try again.
 */
int export_queue_move(struct export *export, unsigned queue, unsigned worker, void (*moved)(void *opaque), void *opaque);

#endif
