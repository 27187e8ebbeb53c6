/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/loop.h"
#include "transport/vhost_user/acks.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

/*
 * Notifications as messages, in the place of eventfds (vhost-user: "In-band notifications"): for machines that run in simulated time.
 * Whoever works on a ring knows nothing of it. A ring whose front end has named no fd gets eventfds of ours, and at their
 * other end is this:
 *
 *	VRING_KICK	from the front end: raises the kick fd. The first one of a ring gives it that fd, and so starts it
 *	VRING_CALL	to the front end: a worker has raised the call fd
 *	VRING_ERR	to the front end: the err fd has been raised
 *
 * What the front end names by SET_VRING_KICK, CALL and ERR has precedence, be it an fd or that there is none.
 *
 * The specification wants an answer asked for each time, and who notifies to wait for it. Nobody waits here: of each ring one message
 * of a kind is on its way at most, and what is raised meanwhile is told with the next one, as an eventfd does it. Answers come
 * in the order of the messages. One that finds no room in the channel is told a moment later.
 */

#define ROOM_MS 10u

struct teller {
	struct inband *inband;
	uint32_t request, index; /* BACKEND_VRING_CALL or _ERR */
	int fd; /* -1: no eventfd of ours */
	struct loop_watch *watch; /* NULL while an answer, or room, is awaited */
	bool told; /* the front end has named an fd, or that there is none */
	bool unanswered;
};

struct inband {
	struct session *session;
	struct acks *acks; /* NULL: no channel */
	struct loop_timer *timer; /* looks whether there is room */
	unsigned count; /* of rings */
	int *kicks; /* for each: an eventfd of ours, or -1 */
	/* Of those that are on their way, in their order: a ring buffer, with room for all of them. */
	struct teller **sent;
	unsigned sent_first, sent_count;
	struct teller tellers[]; /* for each ring: call, err */
};

static struct teller *teller_of(struct inband *inband, uint32_t index, bool error)
{
	return &inband->tellers[index * 2 + error];
}

/* ---- to the front end ---- */

static void teller_raised(void *opaque, uint32_t events);

static void teller_watch(struct teller *teller)
{
	struct session *session = teller->inband->session;

	if (teller->fd >= 0 && !teller->watch && !teller->unanswered)
		loop_add(session->loop, teller->fd, EPOLLIN, teller_raised, teller, &teller->watch);
}

static void tellers_watch(void *opaque)
{
	struct inband *inband = opaque;

	for (unsigned i = 0; i < inband->count * 2; i++)
		teller_watch(&inband->tellers[i]);
}

/* The message stands for all that has been raised before it, and for nothing that is raised once the front end may have seen it. */
static int teller_tell(struct teller *teller)
{
	struct inband *inband = teller->inband;
	const uint32_t state[] = { teller->index, 0 };
	int r;

	fd_event_clear(teller->fd);
	r = channel_ask(inband->session, teller->request, state, sizeof(state));
	if (r) {
		fd_event_raise(teller->fd);
		return r;
	}
	teller->unanswered = true;
	inband->sent[(inband->sent_first + inband->sent_count++) % (inband->count * 2)] = teller;
	return 0;
}

static void teller_raised(void *opaque, uint32_t events)
{
	struct teller *teller = opaque;
	struct inband *inband = teller->inband;

	if (teller->unanswered) {
		loop_remove(&teller->watch); /* its answer looks again */
		return;
	}
	if (teller_tell(teller) == 0)
		return;
	loop_remove(&teller->watch); /* no room, or no channel: a new one looks again */
	if (inband->acks)
		loop_timer_start(inband->timer, ROOM_MS);
}

static bool teller_is_raised(const struct teller *teller)
{
	return teller->fd >= 0 && poll(&(struct pollfd){ .fd = teller->fd, .events = POLLIN }, 1, 0) > 0;
}

/* ---- answers ---- */

static void acks_told(void *opaque, uint32_t request, uint64_t value)
{
	struct inband *inband = opaque;
	struct session *session = inband->session;
	struct teller *teller = inband->sent_count ? inband->sent[inband->sent_first] : NULL;

	if (!teller || teller->request != request) {
		session_lies(session, "an answer on the channel to the front end, to nothing that was asked");
		return;
	}
	inband->sent_first = (inband->sent_first + 1) % (inband->count * 2);
	inband->sent_count--;
	teller->unanswered = false;
	if (value)
		log_debug(device_log(session->device), "%s: the front end did not take message %u of ring %u",
			  device_name(session->device), request, teller->index);
	teller_watch(teller);
}

static void acks_lost(void *opaque, const char *why)
{
	struct inband *inband = opaque;

	if (why)
		session_lies(inband->session, why);
	else
		channel_drop(inband->session);
}

static const struct acks_ops acks_ops = { acks_told, acks_lost };

/* What was on its way on the one before has no answer any more, and is told again. */
int inband_channel_set(struct inband *inband, int fd)
{
	struct session *session = inband->session;

	acks_free(inband->acks);
	inband->acks = NULL;
	for (; inband->sent_count; inband->sent_count--) {
		struct teller *teller = inband->sent[inband->sent_first];

		teller->unanswered = false;
		if (teller->fd >= 0)
			fd_event_raise(teller->fd);
		inband->sent_first = (inband->sent_first + 1) % (inband->count * 2);
	}
	if (fd < 0)
		return 0;
	tellers_watch(inband);
	return acks_new(session->loop, session->message.drop, fd, &acks_ops, inband, &inband->acks);
}

/* ---- rings ---- */

typedef int queue_fd_verb(struct vireo_device *device, uint32_t index, int fd);

/* *fd is an eventfd of ours, and the queue has the same one. */
static int eventfd_share(struct vireo_device *device, uint32_t index, queue_fd_verb *verb, int *fd)
{
	int theirs, r = *fd < 0 ? fd_event_new(fd) : 0;

	if (r)
		return r;
	theirs = fcntl(*fd, F_DUPFD_CLOEXEC, 0);
	r = theirs < 0 ? -errno : verb(device, index, theirs);
	if (r && theirs >= 0)
		fd_close(&theirs);
	return r;
}

static int teller_begin(struct teller *teller, queue_fd_verb *verb)
{
	int r;

	if (teller->told || teller->fd >= 0)
		return 0;
	r = eventfd_share(teller->inband->session->device, teller->index, verb, &teller->fd);
	if (!r)
		teller_watch(teller);
	return r;
}

/* The queue is quiet. */
int inband_ring_ready(struct inband *inband, uint32_t index)
{
	int r = teller_begin(teller_of(inband, index, false), device_queue_call_set);

	return r ? r : teller_begin(teller_of(inband, index, true), device_queue_error_set);
}

/* What is on its way is answered all the same. */
void inband_fd_named(struct inband *inband, uint32_t request, uint32_t index)
{
	struct teller *teller = teller_of(inband, index, request == VU_SET_VRING_ERR);

	if (request == VU_SET_VRING_KICK)
		return;
	teller->told = true;
	loop_remove(&teller->watch);
	fd_close(&teller->fd);
}

static int parse_kick(const struct message *message, struct vu_vring_state *ret, const char **why)
{
	if (vu_parse_vring_state(message->payload, message->header.size_bytes, ret, why))
		return -EPROTO;
	return refuse(ret->num ? -EPROTO : 0, "a reserved field that is not 0", why);
}

/* Only the first one sets something. */
int prepare_vring_kick(struct session *session, struct message *message, const char **why)
{
	struct vu_vring_state state;
	int r = parse_kick(message, &state, why);

	session->calm = !r && device_queue_kickable(session->device, state.index);
	return r;
}

/* A ring that has an fd, or is polled, is not in need of it. */
int handle_vring_kick(struct session *session, struct message *message, const char **why)
{
	struct inband *inband = session->inband;
	struct vu_vring_state state;
	int r = parse_kick(message, &state, why);

	if (r)
		return r;
	if (session->calm) {
		if (inband->kicks[state.index] >= 0)
			fd_event_raise(inband->kicks[state.index]);
		return 0;
	}
	if (state.index >= inband->count)
		return refuse(-EINVAL, "no such ring", why);
	r = eventfd_share(session->device, state.index, device_queue_kick_set, &inband->kicks[state.index]);
	if (!r)
		r = inband_ring_ready(inband, state.index);
	return refuse(r, "no file descriptor for the ring's notifications", why);
}

/* ---- a session's ---- */

/* Rings have stopped: what their workers have raised is told before the front end hears that, and nothing of it later. */
void inband_settle(struct inband *inband)
{
	for (uint32_t i = 0; i < inband->count; i++) {
		struct teller *call = teller_of(inband, i, false);

		if (device_queue_runs(inband->session->device, i) || !teller_is_raised(call))
			continue;
		if (call->unanswered || teller_tell(call)) /* or it is looked at again when it starts */
			fd_event_clear(call->fd);
	}
}

/* The session ends, perhaps for an error of which nobody has been told yet. */
void inband_free(struct inband *inband)
{
	if (!inband)
		return;
	for (unsigned i = 0; i < inband->count * 2; i++) {
		struct teller *teller = &inband->tellers[i];

		if (teller->request == VU_BACKEND_VRING_ERR && teller_is_raised(teller) && !teller->unanswered)
			teller_tell(teller);
		loop_remove(&teller->watch);
		fd_close(&teller->fd);
	}
	for (unsigned i = 0; i < inband->count; i++)
		fd_close(&inband->kicks[i]);
	acks_free(inband->acks);
	if (inband->timer)
		loop_timer_free(&inband->timer);
	free(inband->sent);
	free(inband->kicks);
	free(inband);
}

int inband_new(struct session *session, struct inband **ret_inband)
{
	unsigned count = device_queue_count(session->device);
	struct inband *inband = calloc(1, sizeof(*inband) + 2 * count * sizeof(inband->tellers[0]));
	int r;

	if (!inband)
		return -ENOMEM;
	inband->session = session;
	for (unsigned i = 0; i < 2 * count; i++)
		inband->tellers[i] = (struct teller){
			.inband = inband, .request = i % 2 ? VU_BACKEND_VRING_ERR : VU_BACKEND_VRING_CALL, .index = i / 2, .fd = -1
		};
	inband->sent = calloc(2 * count + 1, sizeof(struct teller *));
	inband->kicks = malloc((count + 1) * sizeof(int));
	r = inband->sent && inband->kicks ? loop_timer_new(session->loop, tellers_watch, inband, &inband->timer) : -ENOMEM;
	if (inband->kicks) {
		inband->count = count;
		for (unsigned i = 0; i < count; i++)
			inband->kicks[i] = -1;
	}
	if (r) {
		inband_free(inband);
		return r;
	}
	*ret_inband = inband;
	return 0;
}
