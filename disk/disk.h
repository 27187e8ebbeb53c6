/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_DISK_H
#define DISK_DISK_H

/*
 * Where block requests end: a file, memory, nothing at all.
 *
 * A disk is opened by a SPEC, KIND:ADDRESS[,key=value...]: "file:/srv/vm1.img,direct=on", "mem:1G". It gives a queue to each
 * thread that asks it for something, and there is no lock between the queues of a disk. A queue is used so:
 *
 *	struct disk_request r = {.op = DISK_READ, .offset = 0, .bytes = 4096, .iov = iov, .iov_count = 1}, *one = &r;
 *
 *	disk_queue_submit(queue, &one, 1);       // a burst at once; all of them are taken
 *	n = disk_queue_reap(queue, done, max);   // those that are done, in any order; done[i]->result is 0 or -errno
 *
 * When there is nothing else to do: disk_queue_arm(queue, true), and unless that says that something is done already,
 * sleep until disk_queue_fd() is readable (edge-triggered; nobody reads it); then disk_queue_arm(queue, false) and reap.
 *
 * The caller embeds the request in what it keeps of it, and leaves it and its iovecs alone from submit to reap; so
 * nothing is allocated for a request. A request that does not fit the disk (beyond its end, a write to what is
 * read-only) is done with -EINVAL or -EROFS as any other is done: nothing needs to be checked before.
 *
 * Threads: what begins with disk_queue_ is of the queue's thread, which is the one that submits first and is no other
 * until disk_queue_close(); open, close, refresh and resize may wait (for a file system, for a network) and are of the
 * control thread or a helper of it, one at a time for each disk; disk_info_get(), disk_size() and disk_size_below() are anybody's.
 */

#include "base/util.h"
#include "vireo/base.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#define DISK_WHY_BYTES 256u
#define DISK_DEPTH_MAX 4096u
#define DISK_SECTOR_BYTES 512u

struct disk;
struct disk_groups;
struct disk_queue;

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,   /* what was done before it was submitted is stable when it is done; no bytes */
	DISK_DISCARD, /* what is there is not needed any more: it may read as anything; advice, and done where it can be */
	DISK_ZERO,    /* reads as zeroes afterwards; no iovecs */
	DISK_ERASE,   /* what is there, and copies that the disk made of it, cannot be read again by any means; no iovecs. Not every disk can */
	DISK_ZONE,    /* of a zoned disk: flags is an enum disk_zone_act, offset is where a zone begins; no bytes, no iovecs */
	DISK_OPS,
};

/* Flags of a request. */
#define DISK_FUA 1u   /* DISK_WRITE, DISK_ZERO: it is stable when it is done */
#define DISK_UNMAP 2u /* DISK_ZERO: the blocks may be given back */
#define DISK_APPEND 4u /* DISK_WRITE, of a zoned disk: offset is where a zone begins, and becomes where its data went */

/*
 * A zoned disk is a row of zones of one length, and each of them is written from its beginning on, at its pointer. Zones that are
 * conventional are an exception; they come first. What its zones do not allow is done with -EILSEQ (a write that is not at the pointer),
 * -ETOOMANYREFS (one open zone too many), -EOVERFLOW (one active zone too many) or -EBADRQC (the rest).
 */
enum disk_zone_act {
	DISK_ZONE_OPEN,
	DISK_ZONE_CLOSE,
	DISK_ZONE_FINISH,    /* it is full, whatever has been written */
	DISK_ZONE_RESET,     /* it is empty; what is read there from now on the kind of disk says: zeroes, in memory */
	DISK_ZONE_RESET_ALL, /* all of them, whatever the offset; conventional ones stay */
};

enum disk_zone_state {
	DISK_ZONE_CONVENTIONAL, /* written anywhere; it has no pointer */
	DISK_ZONE_EMPTY,
	DISK_ZONE_OPENED_BY_WRITE,
	DISK_ZONE_OPENED, /* by DISK_ZONE_OPEN */
	DISK_ZONE_CLOSED, /* neither empty nor full, and not open */
	DISK_ZONE_FULL,
	DISK_ZONE_READ_ONLY, /* and DISK_ZONE_OFFLINE, which cannot be read either: a device has worn out there */
	DISK_ZONE_OFFLINE,
	DISK_ZONE_STATES,
};

struct disk_zone {
	uint64_t start_bytes, length_bytes;
	uint64_t capacity_bytes; /* so much can be written to it */
	uint64_t pointer_bytes;	 /* on the disk: where the next write has to go; of full ones nothing */
	enum disk_zone_state state;
};

struct disk_zones_info {
	uint64_t zone_bytes;	       /* of all but the last zone; 0: the disk is not zoned */
	uint32_t open_max, active_max; /* zones; active is what is open or closed. 0: no limit */
	uint32_t write_bytes;	       /* what is written to sequential zones is a multiple of; 0: of a logical block */
};

struct disk_request {
	/* The caller's. */
	uint8_t op;	/* enum disk_op */
	uint8_t flags;
	uint32_t iov_count; /* at most IOV_MAX */
	const struct iovec *iov; /* DISK_READ, DISK_WRITE: of `bytes` together */
	uint64_t offset, bytes;
	/* When it is done. */
	int result; /* 0: all of it; or -errno */
	/* The queue's, from submit to reap; the last words of `own` are those of layers (disk/layer.h). */
	struct disk_request *next;
	uint64_t own[6];
};

struct disk_info {
	const char *kind;   /* "file" */
	uint64_t size_bytes; /* a multiple of logical_block_bytes */
	uint32_t logical_block_bytes; /* offset and bytes of each request are multiples of it; 512 or more, a power of two */
	uint32_t physical_block_bytes;
	uint32_t optimal_io_bytes; /* 0: nothing is known */
	bool read_only;
	bool volatile_cache; /* what is written is stable after a flush only */
	bool rotational;
	bool can_discard;
	bool can_erase;
	bool zero_unmaps; /* DISK_ZERO with DISK_UNMAP gives blocks back. DISK_ZERO itself every disk can */
	uint32_t discard_granularity_bytes; /* 0: can_discard is false */
	uint64_t discard_max_bytes, zero_max_bytes; /* of one request; 0: no limit */
	struct disk_zones_info zones; /* a zoned disk does no DISK_DISCARD, DISK_ZERO or DISK_ERASE */
};

/*
 * For files that are mapped: a page that the file lost, or never got, raises SIGBUS in whoever touches it. The program's handler sets
 * *lost, puts a page of zeroes into its place, and the access goes on; who has made it looks at *lost then.
 */
struct disk_guard {
	int (*begin)(void *at, uint64_t bytes, bool *lost); /* whole pages. 0, or -errno: they are not to be touched then. Any thread */
	void (*end)(const void *at);			    /* nobody touches them any more */
};

struct disk_config {
	struct vireo_log log;
	bool read_only; /* as the key read-only=on */
	/*
	 * Makes the kernel's access to guest memory work where it has failed (EFAULT): vireo_memory_touch() of who serves
	 * guests. Any thread. NULL: nothing is to be done.
	 */
	void (*touch)(const struct iovec *iov, size_t count);
	/*
	 * What disk_handed_fd() was in another process, whose disk of the same SPEC this one is to be as well: see
	 * disk_hand_over_problem(). Borrowed, NULL: there is none. -EINVAL: it is not that file, opened as the SPEC says. Kinds that hand
	 * over no fd do not look at it.
	 */
	const int *handed_fd;
	const struct disk_guard *guard; /* outlives the disk. NULL: files are not mapped */
	struct disk_groups *groups; /* of disks that share limits (disk/limit.h), which outlive them; NULL: there are none */
	uint64_t (*now_ns)(void);   /* any thread; NULL: CLOCK_MONOTONIC */
};

/* Is the SPEC one? 0, or -EINVAL and in `why` a phrase that names the culprit. Nothing is opened. Any thread. */
int disk_spec_check(const char *spec, char why[DISK_WHY_BYTES]);
/* All kinds with their keys, for a program's help. */
void disk_spec_help(FILE *out);

/* 0, or -errno and in `why` one phrase that names what did not work, and what to do. */
int disk_open(const char *spec, const struct disk_config *config, struct disk **ret_disk, char why[DISK_WHY_BYTES]);
/* Its queues are closed. Takes NULL. */
void disk_close(struct disk *disk);

void disk_info_get(const struct disk *disk, struct disk_info *ret_info);

/* The zone in which this byte of the disk is. 0; -EINVAL: there is no such byte; -EOPNOTSUPP: the disk has no zones. Any thread. */
int disk_zone_get(const struct disk *disk, uint64_t offset, struct disk_zone *ret_zone);

/* Whether somebody else may resize what lies below, so that it is worth while to look now and then. */
bool disk_size_moves(const struct disk *disk);
/* How large it is by now, whole blocks, or -errno. It changes nothing: disk_refresh() does. May wait; any thread. */
int64_t disk_size_below(const struct disk *disk);
/* Looks at the size anew: 1 if it has changed, 0 if not, or -errno. Somebody else may have resized what lies below. */
int disk_refresh(struct disk *disk);
/* Makes it larger or smaller: 0, or -errno. -ENOTSUP: not by us; -EINVAL: no multiple of a block, or none at all. */
int disk_resize(struct disk *disk, uint64_t bytes);

/*
 * Another process may have it meanwhile (file: with lock=running). Each queue holds it while it is open, so to open the first one and to
 * close the last one may wait for a network. Who must not wait has a helper hold it before the first, and let it go after the last. Holds
 * count. disk_hold(): 0; -EBUSY: another process has it; or another -errno. Any thread.
 */
bool disk_changes_hands(const struct disk *disk);
int disk_hold(struct disk *disk);
void disk_let_go(struct disk *disk);

/*
 * Another process is to go on with a disk, while this one still has it: it opens the same SPEC, with the fd. Neither has requests under
 * way until one of the two goes on, and the lock is never free in between: it is that of the open file, which both have. The other one
 * may close its disk without a trace; or it calls disk_take(), and this process ends without closing its own. With lock=running the fd
 * only says which file it is: the other one opens it anew, and the lock is free until one of them goes on.
 */
/* NULL; or why that cannot be done with this disk (static). */
const char *disk_hand_over_problem(const struct disk *disk);
int disk_handed_fd(const struct disk *disk); /* borrowed; -1: none is needed */
void disk_take(struct disk *disk); /* from here on it is this process's alone. Opened without handed_fd: nothing */

/* `depth`: so many requests are under way at once; what is submitted beyond waits in the queue. Any thread. 0 or -errno. */
int disk_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue);
/* Nothing is under way (disk_queue_pending() is 0). May wait. Takes NULL. */
void disk_queue_close(struct disk_queue *queue);

/* ---- the queue's thread ---- */

struct disk_queue_ops {
	void (*submit)(struct disk_queue *queue, struct disk_request *const *requests, unsigned count);
	unsigned (*reap)(struct disk_queue *queue, struct disk_request **ret_done, unsigned max);
	bool (*arm)(struct disk_queue *queue, bool on);
	void (*cancel)(struct disk_queue *queue); /* may be NULL */
	void (*hurry)(struct disk_queue *queue);  /* may be NULL */
	void (*close)(struct disk_queue *queue);
};

/* What every kind's queue begins with. */
struct disk_queue {
	const struct disk_queue_ops *ops;
	struct disk *disk;
	int fd;		  /* -1: none is needed, for what is submitted is done when submit returns */
	bool in_thread;	  /* the data of a request is touched within submit and reap alone: iov may be another one in between */
	unsigned pending; /* submitted and not yet reaped */
	struct disk_request *done, **done_end; /* for who has none better */
};

/* requests[] may be reused at once, the requests themselves when they are reaped. */
static inline void disk_queue_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
	queue->pending += count;
	queue->ops->submit(queue, requests, count);
}

/* Returns how many. */
static inline unsigned disk_queue_reap(struct disk_queue *queue, struct disk_request **ret_done, unsigned max)
{
	unsigned count;

	if (!queue->pending)
		return 0;
	count = queue->ops->reap(queue, ret_done, max);
	queue->pending -= count;
	return count;
}

static inline unsigned disk_queue_pending(const struct disk_queue *queue)
{
	return queue->pending;
}

/* Borrowed; the same as long as the queue is there. -1: see above. */
static inline int disk_queue_fd(const struct disk_queue *queue)
{
	return queue->fd;
}

/* The fd is to tell of what is done from now on (returns true if there is something already), or need not. */
static inline bool disk_queue_arm(struct disk_queue *queue, bool on)
{
	return queue->ops->arm(queue, on);
}

/*
 * Nobody needs the result of what is under way any more: what merely waits is done with -ECANCELED soon. What the kernel has
 * is done when the kernel has done it.
 */
static inline void disk_queue_cancel(struct disk_queue *queue)
{
	if (queue->ops->cancel)
		queue->ops->cancel(queue);
}

/* The queue comes to an end: what merely waits for its time, as limits have it, goes now, and so does what is submitted yet. */
static inline void disk_queue_hurry(struct disk_queue *queue)
{
	if (queue->ops->hurry)
		queue->ops->hurry(queue);
}

#endif
