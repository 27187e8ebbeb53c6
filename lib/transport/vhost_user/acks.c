/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/acks.h"
#include "base/drop.h"
#include "base/fd.h"
#include "base/loop.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * Theory of operation: the channel is watched, until it is readable; then a helper reads what is there, and it is watched no more;
 * then an eventfd says that the helper has done so, what it has read is taken apart, and the channel is watched again. What the helper
 * touches is its own until the eventfd is raised. A helper that hangs outlives the session: who comes last frees it all.
 */

#define ACK_BYTES (VU_HEADER_BYTES + 8u)
#define ACKS_AT_ONCE 16u

struct acks {
	unsigned refs; /* atomic: the session's, and a helper's */
	struct loop *loop;
	struct drop *drop;
	const struct acks_ops *ops;
	void *opaque;
	int fd, done_fd;
	struct loop_watch *watch, *done_watch;
	uint32_t have_bytes;
	/* The helper's between the two watches. */
	struct message fds; /* what has come along */
	uint8_t bytes[ACK_BYTES * ACKS_AT_ONCE];
	ssize_t got;
	const char *why;
	bool done; /* atomic */
};

static void acks_unref(struct acks *acks)
{
	if (__atomic_fetch_sub(&acks->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	message_clear(&acks->fds);
	drop_fd(acks->drop, &acks->fd);
	drop_unref(acks->drop);
	fd_close(&acks->done_fd);
	free(acks);
}

/* In a helper: what is waited for here, it waits for. */
static void acks_read(void *argument)
{
	struct acks *acks = argument;

	acks->got = message_read(&acks->fds, acks->fd, acks->bytes + acks->have_bytes, sizeof(acks->bytes) - acks->have_bytes,
				 &acks->why);
	__atomic_store_n(&acks->done, true, __ATOMIC_RELEASE); /* pairs with acks_done() */
	fd_event_raise(acks->done_fd);
	acks_unref(acks);
}

static void acks_readable(void *opaque, uint32_t events)
{
	struct acks *acks = opaque;

	loop_remove(&acks->watch);
	__atomic_fetch_add(&acks->refs, 1, __ATOMIC_RELAXED);
	drop_call(acks->drop, acks_read, acks);
}

static int acks_watch(struct acks *acks)
{
	return loop_add(acks->loop, acks->fd, EPOLLIN, acks_readable, acks, &acks->watch);
}

/* NULL: an answer. */
static const char *ack_wrong(const uint32_t words[3])
{
	if ((words[1] & VU_VERSION_MASK) != VU_VERSION || !(words[1] & VU_FLAG_REPLY))
		return "what comes on the channel to the front end is no answer";
	return words[2] == ACK_BYTES - VU_HEADER_BYTES ? NULL : "an answer on the channel to the front end that is no u64";
}

/* False: it has been freed, or there is no more to come. */
static bool acks_take(struct acks *acks)
{
	uint32_t taken = 0;

	for (acks->have_bytes += (uint32_t)acks->got; acks->have_bytes - taken >= VU_HEADER_BYTES; taken += ACK_BYTES) {
		uint32_t words[VU_HEADER_BYTES / sizeof(uint32_t)];
		uint64_t value;

		memcpy(words, acks->bytes + taken, sizeof(words));
		acks->why = ack_wrong(words);
		if (acks->why) {
			acks->ops->lost(acks->opaque, acks->why);
			return false;
		}
		if (acks->have_bytes - taken < ACK_BYTES)
			break;
		memcpy(&value, acks->bytes + taken + VU_HEADER_BYTES, sizeof(value));
		acks->ops->told(acks->opaque, words[0], value);
		if (!acks->done_watch)
			return false;
	}
	acks->have_bytes -= taken;
	memmove(acks->bytes, acks->bytes + taken, acks->have_bytes);
	return true;
}

/* Its end is no lie in the middle of an answer either: the front end may have been killed. */
static void acks_done(void *opaque, uint32_t events)
{
	struct acks *acks = opaque;

	fd_event_clear(acks->done_fd);
	if (!__atomic_exchange_n(&acks->done, false, __ATOMIC_ACQUIRE))
		return;
	__atomic_fetch_add(&acks->refs, 1, __ATOMIC_RELAXED); /* until here no callback takes it away */
	if (acks->fds.fd_count)
		acks->ops->lost(acks->opaque, "file descriptors with an answer on the channel to the front end");
	else if (acks->got < 0)
		acks->ops->lost(acks->opaque, acks->got == -EPROTO ? acks->why : NULL);
	else if (acks_take(acks) && acks_watch(acks))
		acks->ops->lost(acks->opaque, "the channel to the front end cannot be watched");
	acks_unref(acks);
}

int acks_new(struct loop *loop, struct drop *drop, int channel_fd, const struct acks_ops *ops, void *opaque,
	     struct acks **ret_acks)
{
	struct acks *acks = calloc(1, sizeof(*acks));
	int r;

	if (!acks)
		return -ENOMEM;
	*acks = (struct acks){ .refs = 1, .loop = loop, .drop = drop_ref(drop), .ops = ops, .opaque = opaque, .done_fd = -1 };
	acks->fds.drop = drop;
	acks->fd = fcntl(channel_fd, F_DUPFD_CLOEXEC, 0);
	r = acks->fd < 0 ? -errno : fd_event_new(&acks->done_fd);
	if (!r)
		r = loop_add(loop, acks->done_fd, EPOLLIN, acks_done, acks, &acks->done_watch);
	if (!r)
		r = acks_watch(acks);
	if (r) {
		acks_free(acks);
		return r;
	}
	*ret_acks = acks;
	return 0;
}

void acks_free(struct acks *acks)
{
	if (!acks)
		return;
	loop_remove(&acks->watch);
	loop_remove(&acks->done_watch);
	acks_unref(acks);
}
