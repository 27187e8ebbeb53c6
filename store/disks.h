/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_DISKS_H
#define STORE_DISKS_H

/* A daemon's disks, by name: what disk/ has opened, and who uses it. Control thread. */

#include "daemon/errand.h"
#include "daemon/logger.h"
#include "daemon/spec.h"
#include "disk/limit.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define DISKS_ASIDE_MAX 32u /* errands at a time */
#define DISKS_HOLDS_MAX 256u

struct disk;
struct disk_opening;
struct store_disk;
struct loop;
struct loop_timer;

/* NAME=SPEC; what may stand in SPEC is disk/'s matter. */
struct store_spec {
	char name[SPEC_NAME_BYTES];
	char text[SPEC_ADDRESS_BYTES];
};

typedef void disk_changed_fn(void *opaque, int err, struct store_disk *disk, const char *why);

enum disk_look { LOOK_IDLE, LOOK_BUSY, LOOK_DONE }; /* what a thread does to know its size: sizes.c */

/* A thread may close a disk when the daemon, and so the rest of this, is gone: whoever has them last frees them. */
struct store_groups {
	struct disk_groups at;
	unsigned users; /* atomic */
};

struct store_disk {
	struct store_disk *next;
	struct store_spec spec;
	struct disk *disk;
	struct store_groups *groups; /* in which its limits may be; it is one of those who have them */
	struct logger logger;
	struct vireo_log log;
	unsigned refs; /* atomic: its owner, and each thread that is at work on it */
	int look; /* enum disk_look; atomic while a thread looks */
	int64_t seen_bytes; /* LOOK_DONE */
	bool resizing; /* a thread has it: it is not to be resized, refreshed or closed */
	bool shrinking; /* and is not to be used by anybody yet */
	bool held; /* it is ours, and not another process's: holding.c */
	bool holding; /* a thread takes it, or lets it go */
	bool awaited; /* a hand-over waits until neither is so */
	struct { /* waits for that thread */
		disk_changed_fn *done; /* NULL: nobody does */
		void *opaque;
		struct vireo_log log;
	} removal;
	unsigned users;	  /* what it is seen by: exports, say */
	unsigned writers; /* of those, that may write */
	bool shared;	  /* by all that write: writers=many */
};

struct disks {
	struct store_disk *first; /* in order of their making */
	struct errands errands; /* what may wait: disks that are opened, resized, closed */
	struct disk_opening *opening;
	struct errands holds; /* that may wait for a lock: each may last for as long as a file server likes */
	bool ending;
	struct store_groups *groups; /* that share limits */
	const char *user_called;   /* "export": what uses them, for the user */
	/* Somebody else has made it larger or smaller; NULL: nobody wants to know. */
	void (*resized)(void *opaque, struct store_disk *disk);
	void *resized_opaque;
	struct loop_timer *sizes; /* looks at them: sizes.c */
	bool sizes_watched;
};

/* How somebody wants to use a disk. */
struct store_use {
	bool read_only;
	bool shared; /* others may write as well: writers=many */
};

/* 0, or -EINVAL and why. Nothing is opened. */
int store_spec_parse(const char *text, struct store_spec *ret_spec, char why[SPEC_WHY_BYTES]);
bool store_spec_relative(const struct store_spec *spec); /* it names a file by a path that depends on the working directory */

int disks_init(struct disks *disks, const char *user_called); /* 0 or -ENOMEM */
/*
 * Nobody uses any. Threads close them, for a file system or a server may let that wait: no longer than this. False: some are not closed
 * yet, and the process has to end with _exit(), with those threads in what is left of them.
 */
bool disks_fini(struct disks *disks, unsigned patience_ms);

/* 0, or a negative errno and why; -EEXIST: the name is taken. */
int disks_add(struct disks *disks, const struct store_spec *spec, const int *handed_fd, const struct vireo_log *log,
	      struct store_disk **ret_disk, char why[SPEC_WHY_BYTES]);
/*
 * The same, by a thread, between disks_aside_init() and disks_aside_end(): `done` is called once, here or from the loop, with the disk or
 * with -errno and why. -EAGAIN: there is no thread. disks_aside_end() tells those that are under way -ECANCELED, and none can be added
 * any more.
 */
typedef void disk_opened_fn(void *opaque, int err, struct store_disk *disk, const char *why);
int disks_aside_init(struct disks *disks, struct loop *loop); /* 0 or -errno */
void disks_add_aside(struct disks *disks, const struct store_spec *spec, const struct vireo_log *log, disk_opened_fn *done,
		     void *opaque);
void disks_aside_end(struct disks *disks);
/*
 * By a thread, too: `done` is called once, here or from the loop. Another size: 0 bytes: looks how large it is; with the disk. Closed:
 * -EBUSY: somebody uses it.
 */
void disks_resize_aside(struct disks *disks, struct store_disk *disk, uint64_t bytes, disk_changed_fn *done, void *opaque);
void disks_remove_aside(struct disks *disks, struct store_disk *disk, const struct vireo_log *log, disk_changed_fn *done, void *opaque);
struct store_disk *disks_find(const struct disks *disks, const char *name);

/* For those who add: a disk that is in no list yet. */
struct store_disk *store_disk_new(struct disks *disks, const struct store_spec *spec); /* NULL: no memory */
/* handed_fd: as of struct disk_config. Any thread; may wait. */
int store_disk_open(struct store_disk *disk, const int *handed_fd, char why[SPEC_WHY_BYTES]);
void store_disk_free(struct store_disk *disk);					       /* likewise */
/*
 * A thread is given work on it (control thread), and is through. Its owner leaves it: it is in no list any more; true: a thread is at work on it, and
 * frees it; else who calls does. Whether the control thread has looked by then what came of that work is all the same.
 */
void store_disk_get(struct store_disk *disk);
void store_disk_put(struct store_disk *disk);
bool store_disk_leave(struct store_disk *disk);
void disks_unlink(struct disks *disks, struct store_disk *disk);
void disks_link(struct disks *disks, struct store_disk *disk, const struct vireo_log *log); /* it is open */

/* May it be used like that as well? One writer, or several that all say so. */
int disk_may_use(const struct disks *disks, const struct store_disk *disk, const struct store_use *use,
		 char why[SPEC_WHY_BYTES]);
void disk_use(struct disks *disks, struct store_disk *disk, const struct store_use *use);
void disk_unuse(struct store_disk *disk, const struct store_use *use);

uint64_t store_disk_bytes(const struct store_disk *disk);
bool store_disk_read_only(const struct store_disk *disk);
void store_disk_report(const struct store_disk *disk, json_t *object);

#endif
