/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands of a link: from its queues to the server, and back. What a server has acknowledged and not flushed is counted by the
 * disk, see nbd_link.c.
 */
#include "base/clock.h"
#include "disk/nbd_fence.h"
#include "disk/nbd_link.h"
#include "disk/nbd_library.h"
#include <errno.h>

#define LIES_MAX 3u /* a request that was answered by nonsense so often is not sent again */

/* ---- to the queues ---- */

/* The op is in no list. */
static void answer(struct nbd_link *link, struct nbd_op *op, int result)
{
	op->result = result;
	pthread_mutex_lock(&link->lock);
	nbd_queue_answered(op);
	pthread_mutex_unlock(&link->lock);
}

void nbd_commands_take(struct nbd_link *link)
{
	struct op_list incoming;
	uint64_t now = clock_now_ms();

	pthread_mutex_lock(&link->lock);
	incoming = link->incoming;
	link->incoming = (struct op_list){0};
	pthread_mutex_unlock(&link->lock);
	for (struct nbd_op *op = incoming.first; op; op = op->next) {
		op->since_ms = now;
		op->lies = 0;
	}
	list_move(&link->pending, &incoming);
}

void nbd_commands_prune(struct nbd_link *link)
{
	const struct nbd_disk *disk = link->disk;
	uint64_t now = clock_now_ms();
	struct nbd_op *next;

	for (struct nbd_op *op = link->pending.first; op; op = next) {
		bool late = link->away && disk->reconnect_ms != NBD_FOREVER && now - op->since_ms >= disk->reconnect_ms;
		bool cancelled = nbd_queue_cancelled(op);

		next = op->next;
		if (!late && !cancelled && op->lies < LIES_MAX)
			continue;
		list_remove(&link->pending, op);
		answer(link, op, cancelled ? -ECANCELED : -EIO);
	}
}

/* ---- what is given up ---- */

void nbd_commands_give_up(struct nbd_link *link)
{
	for (struct nbd_op *op = link->sent.first; op && link->given_up < NBD_GIVEN_UP_MAX; op = op->next) {
		if (!op->queue || !nbd_queue_cancelled(op))
			continue;
		link->given_up++;
		if (nbd_op_changes(op))
			nbd_fence_raise(link->disk, op);
		pthread_mutex_lock(&link->lock);
		nbd_queue_given_up(op);
		pthread_mutex_unlock(&link->lock);
	}
}

/* In no list any more: the server has answered it, or never will. */
static void forget(struct nbd_link *link, struct nbd_op *op)
{
	bool fence = op->fence;

	if (fence)
		nbd_fence_drop(link->disk, op);
	link->given_up--;
	nbd_op_free(op);
	if (fence && link->started)
		nbd_links_wake_others(link);
}

static void list_forget(struct nbd_link *link, struct op_list *list)
{
	struct nbd_op *next;

	for (struct nbd_op *op = list->first; op; op = next) {
		next = op->next;
		if (op->queue)
			continue;
		list_remove(list, op);
		forget(link, op);
	}
}

/* ---- answers ---- */

/* libnbd's callback, from within its own calls. */
static int op_heard(void *opaque, int *error)
{
	struct nbd_op *op = opaque;

	op->result = -*error;
	list_remove(&op->link->sent, op);
	list_append(&op->link->heard, op);
	return 1;
}

/* What it means for what is stable. False: the server was lost meanwhile, so that it is no answer. */
static bool account(struct nbd_link *link, struct nbd_op *op)
{
	struct nbd_disk *disk = link->disk;
	bool valid;

	pthread_mutex_lock(&disk->lock);
	valid = link->epoch == disk->epoch;
	if (valid && op->op == DISK_FLUSH) {
		disk->unsynced |= op->result != 0;
		if (!op->result && op->covers > disk->flushed)
			disk->flushed = op->covers;
		if (disk->unsynced)
			op->result = -EIO;
	} else if (valid && !op->result && op->op != DISK_READ && op->op != DISK_DISCARD && !(op->flags & DISK_FUA)) {
		disk->written++;
	}
	pthread_mutex_unlock(&disk->lock);
	return valid;
}

static int result_of(int err)
{
	return err == -ENOSPC || err == -ENOMEM || err == -EINVAL || !err ? err : -EIO;
}

/* ENOTCONN and ESHUTDOWN: it did not do it. The order in which they are repeated does not matter: all were under way. */
void nbd_commands_hear(struct nbd_link *link)
{
	while (link->heard.first) {
		struct nbd_op *op = link->heard.first;

		list_remove(&link->heard, op);
		link->shutdown |= op->result == -ESHUTDOWN;
		if (op->result == -ENOTCONN || op->result == -ESHUTDOWN || !account(link, op))
			list_append(&link->sent, op); /* until the connection is let go, in a moment */
		else if (!op->queue)
			forget(link, op);
		else
			answer(link, op, result_of(op->result));
	}
}

/* ---- commands ---- */

static int64_t command(struct nbd_handle *h, struct nbd_op *op, nbd_completion_callback done)
{
	uint32_t fua = op->flags & DISK_FUA ? LIBNBD_CMD_FLAG_FUA : 0;

	switch (op->op) {
	case DISK_READ:
		return nbd_aio_pread(h, op->data, op->bytes, op->offset, done, 0);
	case DISK_WRITE:
		return nbd_aio_pwrite(h, op->data, op->bytes, op->offset, done, fua);
	case DISK_ZERO:
		return nbd_aio_zero(h, op->bytes, op->offset, done, fua | (op->flags & DISK_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE));
	case DISK_DISCARD:
		return nbd_aio_trim(h, op->bytes, op->offset, done, 0);
	default:
		return nbd_aio_flush(h, done, 0);
	}
}

static void send_one(struct nbd_link *link, struct nbd_op *op, uint64_t now)
{
	nbd_completion_callback done = {.callback = op_heard, .user_data = op};

	list_remove(&link->pending, op);
	list_append(&link->sent, op);
	op->link = link;
	op->sent_ms = now;
	if (op->op == DISK_FLUSH) {
		pthread_mutex_lock(&link->disk->lock);
		op->covers = link->disk->written;
		pthread_mutex_unlock(&link->disk->lock);
	}
	if (command(link->handle, op, done) >= 0 || nbd_link_gone(link))
		return;
	list_remove(&link->sent, op);
	answer(link, op, -EIO); /* the handle would not have it */
}

void nbd_commands_send(struct nbd_link *link)
{
	uint64_t now = clock_now_ms();
	struct nbd_op *next;

	for (struct nbd_op *op = link->pending.first; op && !nbd_link_gone(link); op = next) {
		next = op->next;
		if (!nbd_fence_holds(link->disk, op))
			send_one(link, op, now);
	}
	nbd_commands_hear(link);
}

/* ---- without a connection ---- */

void nbd_commands_again(struct nbd_link *link)
{
	struct op_list rest;

	nbd_commands_forget(link);
	rest = link->pending;
	link->pending = (struct op_list){0};
	list_move(&link->pending, &link->heard);
	list_move(&link->pending, &link->sent);
	list_move(&link->pending, &rest);
}

void nbd_commands_forget(struct nbd_link *link)
{
	list_forget(link, &link->heard);
	list_forget(link, &link->sent);
}
