/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_RBD_H
#define DISK_RBD_H

/* Between the files of the kind rbd. */

#include "disk/kind.h"
#include <rados/librados.h>
#include <rbd/librbd.h>

/* ---- rbd_library.c ---- */

#define RBD_LIBRARY(X) \
	X(rbd_open) \
	X(rbd_open_read_only) \
	X(rbd_close) \
	X(rbd_stat) \
	X(rbd_get_size) \
	X(rbd_resize) \
	X(rbd_lock_acquire) \
	X(rbd_lock_release) \
	X(rbd_aio_create_completion) \
	X(rbd_aio_get_return_value) \
	X(rbd_aio_release) \
	X(rbd_aio_read) \
	X(rbd_aio_write) \
	X(rbd_aio_discard) \
	X(rbd_aio_write_zeroes) \
	X(rbd_aio_flush)

#define RBD_LIBRARY_OF_RADOS(X) \
	X(rados_create) \
	X(rados_conf_read_file) \
	X(rados_conf_get) \
	X(rados_conf_set) \
	X(rados_connect) \
	X(rados_shutdown) \
	X(rados_ioctx_create) \
	X(rados_ioctx_set_namespace) \
	X(rados_ioctx_destroy)

/* Each under its own name, with the type that its header gives it. */
struct rbd_library {
#define RBD_LIBRARY_MEMBER(name) __typeof__(&(name)) name;
	RBD_LIBRARY(RBD_LIBRARY_MEMBER)
	RBD_LIBRARY_OF_RADOS(RBD_LIBRARY_MEMBER)
#undef RBD_LIBRARY_MEMBER
};

/*
 * Loaded when it is asked for first, and there till the process ends. NULL, and in `why` (DISK_WHY_BYTES) what is lacking: the next
 * call tries again. Any thread; may wait.
 */
const struct rbd_library *rbd_library(char *why);

/* ---- rbd.c ---- */

#define RBD_LIMITS 2u

struct rbd_disk {
	struct disk disk;
	/* Constant once it is open. */
	const struct rbd_library *library;
	rados_t cluster;
	rados_ioctx_t pool;
	rbd_image_t image;
	bool locked;
	char patience[RBD_LIMITS][24]; /* the cluster's own limits, of which opening has others: rbd.c */
	/* Any thread (atomic). */
	bool unsynced; /* a flush has failed: never again is one done without an error */
};

/* ---- rbd_queue.c ---- */

int rbd_queue_open(struct disk *disk, unsigned depth, struct disk_queue **ret_queue);

#endif
