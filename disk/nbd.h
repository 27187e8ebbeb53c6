/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_NBD_H
#define DISK_NBD_H

/*
 * Between the files of the kind nbd. How it works as a whole stands in nbd_link.c.
 */

#include "disk/kind.h"
#include <pthread.h>

#define NBD_LINKS_MAX 16u
#define NBD_CHUNK_BYTES (256u << 10) /* of reads and writes in one command; what is larger is done piece by piece */
#define NBD_FOREVER UINT64_MAX

struct nbd_handle;
struct nbd_link;
struct nbd_queue;

/* What a server that was gone may have forgotten of what it acknowledged. */
enum nbd_restart {
	NBD_RESTART_REPORT, /* all that was not flushed: flushes fail from then on */
	NBD_RESTART_TRUST,  /* nothing */
	NBD_RESTART_STABLE, /* nothing, for each write is stable before it is acknowledged */
};

/* How to reach it; the texts are owned. */
struct nbd_way {
	char *uri, *certificates, *psk, *user;
	bool tls, verify, read_only;
};

/* What a server says of an export. */
struct nbd_export {
	uint64_t size_bytes;
	uint32_t block_min, block_preferred, block_max;
	bool read_only, rotational, can_flush, can_fua, can_trim, can_zero, multi_conn;
};

struct nbd_disk {
	struct disk disk;
	/* Constant once it is open. */
	struct nbd_way way;
	struct nbd_export export;
	enum nbd_restart restart;
	struct vireo_log log;
	uint32_t chunk_bytes;	  /* of a command that carries data */
	uint64_t timeout_ms;	  /* a server that owes an answer for longer is given up; NBD_FOREVER */
	uint64_t reconnect_ms;	  /* so long a request waits for a server that is away; NBD_FOREVER */
	unsigned link_count;
	/* Under the lock. */
	pthread_mutex_t lock;
	pthread_cond_t renewed;
	struct nbd_handle *handle; /* connected when the disk was opened, for the first link */
	struct nbd_link *links[NBD_LINKS_MAX]; /* made when the first queue is */
	unsigned next_link; /* for queues, one after the other */
	uint64_t written, flushed; /* acknowledged writes, numbered; those up to this one are stable */
	uint64_t epoch;		   /* the server was lost so many times: what an older connection brings is not heard */
	bool unsynced;		   /* it may have forgotten something: never again is a flush done without an error */
	uint64_t size_told;	   /* what the export has now, as the last connection heard it */
	struct nbd_op *fences;	   /* commands that were given up, and may change something yet: nbd_fence.h */
	uint64_t renewals;	   /* each link is to connect anew so many times, to hear of the size */
};

#define NBD_GIVEN_UP_MAX 128u /* of a link: what is given up beyond that is waited for */

/*
 * One command; a queue has as many as it is deep. One that was given up while a server owed its answer is the link's, with its buffer, till that comes: it is in
 * no queue any more.
 */
struct nbd_op {
	struct nbd_queue *queue; /* NULL: it was given up */
	struct nbd_op *next, *prev;
	struct nbd_link *link;
	/* The command. */
	uint8_t op, flags; /* as of a disk_request */
	uint8_t lies;	   /* answers to it that were none */
	uint32_t data_bytes;
	uint64_t offset, bytes;
	uint8_t *data; /* our own: guest memory may vanish, and what is repeated is to be the same */
	uint64_t covers; /* a flush: writes that it makes stable */
	uint64_t since_ms, sent_ms;
	int result;
	uint32_t mark; /* the queue's cancels when its request began */
	/* Under the disk's lock. */
	bool fence;
	struct nbd_op *fence_next;
	/* The queue's. */
	struct disk_request *request;
	uint64_t room_bytes; /* of `data` */
};

/* ---- nbd_library.c ---- */

/*
 * Before anything else of libnbd is called; it stays till the process ends. 0, or -ENOSYS and in `why` (DISK_WHY_BYTES) what is lacking: the next call tries again.
 * Any thread; may wait.
 */
int nbd_library_load(char *why);

/* ---- nbd_connect.c; `why` is DISK_WHY_BYTES ---- */

/* Begins; a name is looked up in here, which may wait. 0, or -errno and why. */
int nbd_way_start(const struct nbd_way *way, struct nbd_handle **ret_handle, char *why);
/* Waits for its next event, or for `stop_fd` (-1: none) to be readable: 1 then; 0; or -errno and why. */
int nbd_way_wait(struct nbd_handle *handle, int stop_fd, uint64_t most_ms, char *why);
/* 1: it is ready, and that is the export. 0: not yet. -errno and why: never. */
int nbd_way_ready(struct nbd_handle *handle, struct nbd_export *ret_export, char *why);
/* All of that. The control thread's, or a helper's. */
int nbd_way_connect(const struct nbd_way *way, uint64_t timeout_ms, struct nbd_handle **ret_handle, struct nbd_export *ret_export,
		    char *why);
/* Lets the server know, without waiting for it. */
void nbd_way_leave(struct nbd_handle *handle);

/* ---- nbd_link.c ---- */

/* `handle` is connected, and the link's from now on; NULL: it connects by itself. */
int nbd_link_new(struct nbd_disk *disk, struct nbd_handle *handle, struct nbd_link **ret_link);
void nbd_link_free(struct nbd_link *link); /* no queue uses it. Takes NULL */
/* Any thread: the ops are linked by `next`. */
void nbd_link_send(struct nbd_link *link, struct nbd_op *first);
/* The queue's thread, nothing of which is under way: the link touches that queue no more. */
void nbd_link_part(struct nbd_link *link);
/* Any thread: it is to look at the disk's renewals and epoch, and at what has been cancelled. */
void nbd_link_wake(struct nbd_link *link);
uint64_t nbd_link_renewals(const struct nbd_link *link); /* under the disk's lock */

/* ---- nbd.c ---- */

/* Any thread: one of the links, which are made if need be. 0 or -errno. */
int nbd_disk_link(struct nbd_disk *disk, struct nbd_link **ret_link);

/* ---- nbd_queue.c ---- */

int nbd_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue);
/* The link's thread: op->result says how. */
void nbd_queue_answered(struct nbd_op *op);
/* The link's thread: nobody needs it any more. */
bool nbd_queue_cancelled(const struct nbd_op *op);
/* Likewise: its request is done with -ECANCELED, and the op is the link's. */
void nbd_queue_given_up(struct nbd_op *op);
void nbd_op_free(struct nbd_op *op); /* takes NULL */

#endif
