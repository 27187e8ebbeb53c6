/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_NBD_FENCE_H
#define DISK_NBD_FENCE_H

/*
 * A command that changes something was given up while a server owed its answer, and the server may carry it out whenever it likes. Whatever is asked
 * of these bytes afterwards, by any link of the disk, is not sent before the answer has come, or the connection is gone: else what was
 * written later might be overwritten by what was written first.
 */

#include "disk/nbd.h"

static inline bool nbd_op_changes(const struct nbd_op *op)
{
	return op->op == DISK_WRITE || op->op == DISK_ZERO || op->op == DISK_DISCARD;
}

static inline void nbd_fence_raise(struct nbd_disk *disk, struct nbd_op *op)
{
	pthread_mutex_lock(&disk->lock);
	op->fence = true;
	op->fence_next = disk->fences;
	__atomic_store_n(&disk->fences, op, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&disk->lock);
}

/* The others are to look again. */
static inline void nbd_fence_drop(struct nbd_disk *disk, struct nbd_op *op)
{
	struct nbd_op **at;

	pthread_mutex_lock(&disk->lock);
	for (at = &disk->fences; *at != op; at = &(*at)->fence_next)
		;
	__atomic_store_n(at, op->fence_next, __ATOMIC_RELAXED);
	op->fence = false;
	pthread_mutex_unlock(&disk->lock);
}

/* A fence was raised before its request was done, so whoever has seen that it is done sees the fence. */
static inline bool nbd_fence_holds(struct nbd_disk *disk, const struct nbd_op *op)
{
	bool holds = false;

	if (!__atomic_load_n(&disk->fences, __ATOMIC_RELAXED) || op->op == DISK_FLUSH)
		return false;
	pthread_mutex_lock(&disk->lock);
	for (const struct nbd_op *f = disk->fences; f && !holds; f = f->fence_next)
		holds = op->offset < f->offset + f->bytes && f->offset < op->offset + op->bytes;
	pthread_mutex_unlock(&disk->lock);
	return holds;
}

#endif
