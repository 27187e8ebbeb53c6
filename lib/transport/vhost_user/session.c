/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "device/iommu.h"
#include "mem/dirty.h"
#include "mem/map.h"
#include "transport/vhost_user/session_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/*
 * Theory of operation: one connection of a front end, as a state machine that never blocks.
 *
 *	RECEIVE -> QUIESCE -> (handle) -> REPLY -> RECEIVE
 *	RECEIVE -> MISS -> RECEIVE	a queue has met an address that its guest's IOMMU has not told (iommu.c)
 *	RECEIVE -> HOLD -> HELD -> RECEIVE	it stands still, to go on here or in another process (hold.c)
 *	   any -> END -> gone
 *
 * RECEIVE collects one message, in whatever pieces it comes. What its row prepares (a map) is made then. QUIESCE
 * waits until the queues that the row names are quiet; the socket is watched for its end alone meanwhile. The handler then runs to
 * its end, and what is complete is started again. REPLY waits for room in the socket; nothing more is read before the reply
 * has gone, so that a front end which does not read its replies fills its own socket and nothing else.
 *
 * A handler that has to wait for what a running queue does (session_again()) is called once more, from QUIESCE, after a moment.
 *
 * A message that postcopy gives another meaning has another row (postcopy.c), and a front end that is to acknowledge something is in
 * RECEIVE like any other.
 *
 * END: the socket is closed at once, so that the peer sees it; the session lives until all queues are
 * quiet. A session fails (session_fail()) for a lie, a lost connection, or when the device says it is
 * broken, which may happen inside a handler: then it is ended when the handler has returned.
 *
 * session_run() is the only place that moves the machine. It handles a bounded number of messages, for a bounded time, and leaves
 * the rest to the next turn of the loop: others are served by the same thread, and a message may be dear (one to an IOTLB that is
 * full makes a map of 2048 windows).
 */

#define MESSAGES_PER_TURN 64u
#define TURN_US		  500u
#define AGAIN_MS	  10u
#define AGAINS_MAX	  500u

static void session_run(struct session *session);

/* It waits for queues, or goes on without them in this turn. */
static bool session_holds(const struct session *session)
{
	return session->state == SESSION_QUIESCE || session->state == SESSION_MISS || session->state == SESSION_HOLD ||
	       session->state == SESSION_HELD;
}

/*
 * While queues are waited for, it is watched for its end alone. Who has only ended what it says may wait for an answer yet, unless it is late: then that
 * wakes who holds a queue.
 */
static uint32_t session_events(const struct session *session)
{
	if (session_holds(session))
		return session->late ? EPOLLRDHUP : 0; /* HUP is always told */
	return session->state == SESSION_REPLY ? EPOLLOUT : EPOLLIN;
}

static void session_readable(void *opaque, uint32_t events)
{
	struct session *session = opaque;

	if (!session_holds(session))
		session_run(session);
	else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		session_end(session);
}

static void session_quiet(void *opaque)
{
	struct session *session = opaque;

	session->quiet = true;
	session_run(session);
}

static int session_watch(struct session *session)
{
	if (session->watch) {
		loop_change(session->watch, session_events(session));
		return 0;
	}
	return loop_add(session->loop, session->fd, session_events(session), session_readable, session, &session->watch);
}

/* Another process may go on with one that is held: then the peer is to see nothing. */
static void session_socket_drop(struct session *session)
{
	if (session->state == SESSION_HELD)
		drop_fd(session->message.drop, &session->fd);
	else
		drop_socket(session->message.drop, &session->fd);
}

static int session_make(struct vireo_device *device, struct loop *loop, int fd, uint64_t offered, enum session_state state,
			void (*ended)(void *opaque, bool fruitful), void *opaque, struct session **ret_session)
{
	struct session *session = calloc(1, sizeof(*session));
	int r;

	if (!session) {
		drop_fd(device_drop_get(device), &fd);
		return -ENOMEM;
	}
	session->message.drop = device_drop_get(device);
	session->device = device;
	session->loop = loop;
	session->fd = fd;
	session->offered = offered;
	session->ended = ended;
	session->opaque = opaque;
	session->channel_fd = -1;
	session->reply.fd = -1;
	session->heard_ms = clock_now_ms();
	session->state = state;
	device_hold(device, state == SESSION_HELD);
	r = session_watch(session);
	if (r) {
		session_socket_drop(session);
		free(session);
		return r;
	}
	*ret_session = session;
	device_session_begin(device);
	return 0;
}

int session_new(struct vireo_device *device, struct loop *loop, int fd, uint64_t offered,
		void (*ended)(void *opaque, bool fruitful), void *opaque, struct session **ret_session)
{
	return session_make(device, loop, fd, offered, SESSION_RECEIVE, ended, opaque, ret_session);
}

int session_new_held(struct vireo_device *device, struct loop *loop, int fd, uint64_t offered,
		     void (*ended)(void *opaque, bool fruitful), void *opaque, struct session **ret_session)
{
	return session_make(device, loop, fd, offered, SESSION_HELD, ended, opaque, ret_session);
}

/* ---- the end ---- */

static void session_gone(struct session *session)
{
	void (*ended)(void *opaque, bool fruitful) = session->ended;
	void *opaque = session->opaque;
	bool fruitful = session->ran;

	session_memory_forget(session);
	device_session_end(session->device);
	inflight_forget(session);
	log_info(device_log(session->device), "%s: disconnected", device_name(session->device));
	free(session);
	ended(opaque, fruitful);
}

static void session_finish(struct session *session)
{
	loop_remove(&session->watch);
	session_socket_drop(session); /* with what the peer has sent, and we have not read */
	inband_free(session->inband);
	session->inband = NULL;
	drop_fd(session->message.drop, &session->channel_fd);
	message_clear(&session->message);
	reply_clear(&session->reply);
	state_forget(session);
	if (session->again_timer)
		loop_timer_free(&session->again_timer);
	map_unref(session->map);
	session->map = NULL;
	dirty_log_unref(session->log);
	session->log = NULL;
	postcopy_forget(session);
	session->state = SESSION_END;
	session->quiet = false;
	device_quiesce(session->device, DEVICE_ALL_QUEUES, session_quiet, session);
}

/*
 * A pending quiesce is waited for, and session_quiet() comes back here. Queues that were only asked to renew, which may last for as long as a disk
 * hangs, are asked back as well: who holds them gives up then what can be given up.
 */
void session_end(struct session *session)
{
	if (session->state == SESSION_END)
		return;
	session->failing = true;
	loop_remove(&session->watch);
	postcopy_wake(session);
	if (session->busy)
		return;
	if (device_quiescing(session->device))
		device_quiesce_rest(session->device);
	else
		session_run(session);
}

/* It waits, and its peer may go meanwhile. There is a watch, so this cannot fail. */
static void session_watch_end(struct session *session)
{
	if (!session->quiet && session->watch)
		session_watch(session);
}

/* The one line that says why. */
static void session_fail(struct session *session, const char *why)
{
	const struct message *message = &session->message;
	const char *name = message_begun(message) ? vu_request_name(message->header.request) : "connection";

	session->failing = true;
	log_error(device_log(session->device), "%s: %s (%u), %u bytes, %u fds: %s; session closed",
		  device_name(session->device), name, message->header.request, message->header.size_bytes,
		  message->fd_count, why);
}

void session_lies(struct session *session, const char *why)
{
	log_error(device_log(session->device), "%s: %s; session closed", device_name(session->device), why);
	session_end(session);
}

/* ---- one message ---- */

/* True: complete. */
static bool session_receive(struct session *session)
{
	uint32_t had_bytes = session->message.have_bytes;
	const char *why = "";
	int r = message_receive(&session->message, session->fd, &why);

	if (session->message.have_bytes != had_bytes)
		session->heard_ms = clock_now_ms();
	if (r >= 0 && drop_waiting(session->message.drop) > DROP_WAITING_MAX) {
		why = "what its peers have handed over cannot be closed, and waits for them already";
		r = -EMFILE;
	}
	if (r == -EPIPE || r == -ECONNRESET)
		session->failing = true; /* gone; no lie in that */
	else if (r < 0)
		session_fail(session, why);
	return r > 0;
}

static uint32_t message_queue(const struct session *session)
{
	uint32_t index;

	if (session->row->quiet == QUIET_FD)
		return session->message.payload[0];
	memcpy(&index, session->message.payload, sizeof(index));
	return index;
}

/* What needs no quiet is done first; what is refused then needs none either. */
static bool session_prepare(struct session *session)
{
	const struct message_row *row = session->row;

	session->prepared = 0;
	session->calm = false;
	session->prepared_why = "refused";
	if (row->prepare)
		session->prepared = row->prepare(session, &session->message, &session->prepared_why);
	if (!session->prepared && row->quiet == QUIET_MEMORY)
		session->prepared = memory_check(session, &session->prepared_why);
	if (session->prepared || row->quiet == QUIET_NONE)
		return true;
	if (row->quiet == QUIET_IOTLB)
		return !session->revokes;
	return row->quiet == QUIET_MEMORY ? !session_memory_takes_away(session, session->map) : session->calm;
}

static void session_ask_quiet(struct session *session, uint32_t queue)
{
	if (session->row->quiet == QUIET_IOTLB)
		iommu_change(session->iommu, session_quiet, session);
	else if (session->row->quiet == QUIET_MEMORY)
		session_memory_change(session, session_quiet);
	else if (session->row->tells)
		device_quiesce_to_tell(session->device, queue, session_quiet, session);
	else
		device_quiesce(session->device, queue, session_quiet, session);
}

/* Asks for what the row wants quiet. The answer comes through session_quiet(), here or later. */
static void session_quiesce(struct session *session)
{
	uint32_t queue = DEVICE_ALL_QUEUES;

	session->state = SESSION_QUIESCE;
	session->quiet = session_prepare(session);
	if (session->row->quiet == QUIET_STATE || session->row->quiet == QUIET_FD) {
		queue = message_queue(session);
		if (queue >= device_queue_count(session->device))
			session->quiet = true; /* no such queue, as the verb will say */
	}
	if (!session->quiet)
		session_ask_quiet(session, queue);
	session_watch_end(session);
}

static void session_take(struct session *session)
{
	const struct message *message = &session->message;
	const char *why = "";

	session->row = message_row(session, message, &why);
	if (!session->row) {
		session_fail(session, why);
		return;
	}
	log_debug(device_log(session->device), "%s: %s, %u bytes, %u fds%s", device_name(session->device),
		  vu_request_name(message->header.request), message->header.size_bytes, message->fd_count,
		  message->header.flags & VU_FLAG_NEED_REPLY ? ", wants an answer" : "");
	session_quiesce(session);
}

/* REPLY_ACK: 0 is yes. Where nobody waits for an answer, a refusal ends the session. */
static void session_acknowledge(struct session *session, int r, const char *why)
{
	bool ack = (session->message.header.flags & VU_FLAG_NEED_REPLY) && !session->row->replies &&
		   session_accepted(session, VU_PROTO_REPLY_ACK_BIT);

	if (r == -EPROTO || (r && !ack)) {
		session_fail(session, why);
		return;
	}
	if (r)
		log_warning(device_log(session->device), "%s: %s refused: %s", device_name(session->device),
			    vu_request_name(session->message.header.request), why);
	if (ack)
		reply_u64(session, r ? 1 : 0);
}

static void session_again_due(void *opaque)
{
	struct session *session = opaque;

	if (session->state == SESSION_QUIESCE && !device_quiescing(session->device))
		session_ask_quiet(session, message_queue(session));
}

bool session_again(struct session *session)
{
	if (session->agains++ == AGAINS_MAX ||
	    (!session->again_timer && loop_timer_new(session->loop, session_again_due, session, &session->again_timer))) {
		log_warning(device_log(session->device), "%s: queue %u is stopped before what was in flight in it has been served",
			    device_name(session->device), message_queue(session));
		return false;
	}
	session->again = true;
	return true;
}

/* The state stays QUIESCE. */
static void session_wait_again(struct session *session)
{
	session->again = session->quiet = false;
	loop_remove(&session->watch);
	loop_timer_start(session->again_timer, AGAIN_MS);
}

static void session_handle(struct session *session)
{
	const char *why = session->prepared_why;
	message_handler *handle = absent_ring(session) ? handle_absent_ring : session->row->handle;
	int r = session->prepared ? session->prepared : handle(session, &session->message, &why);

	if (session->row->quiet != QUIET_NONE && r != -EPROTO)
		device_resume(session->device);
	if (session->again) {
		session_wait_again(session);
		return;
	}
	session->messages++;
	session->agains = 0;
	if (session->iommu)
		iommu_look(session->iommu);
	session->ran = session->ran || device_running(session->device);
	if (!session->failing)
		session_acknowledge(session, r, why);
	channel_tell(session);
	if (session->inband && session->row->quiet != QUIET_NONE && !session->calm)
		inband_settle(session->inband);
	message_clear(&session->message);
	session->state = SESSION_REPLY;
}

/* True: all is sent. */
static bool session_reply(struct session *session)
{
	int r = reply_send(&session->reply, session->fd);

	if (r < 0)
		session->failing = true; /* gone */
	if (r > 0)
		session->state = SESSION_RECEIVE;
	return r > 0;
}

/* What misses something from here on is none of those that are asked for, and is told of again. */
static void session_miss(struct session *session)
{
	session->missed = session->quiet = false;
	session->state = SESSION_MISS;
	device_quiesce(session->device, DEVICE_MISSED_QUEUES, session_quiet, session);
	session_watch_end(session);
}

/* What they have missed may be there by now; what they still wait for is asked for. */
static void session_missed_quiet(struct session *session)
{
	device_resume(session->device);
	if (session->iommu)
		iommu_look(session->iommu);
	session->state = SESSION_RECEIVE;
}

static void session_hold_begin(struct session *session)
{
	session->state = SESSION_HOLD;
	session->quiet = false;
	device_quiesce(session->device, DEVICE_ALL_QUEUES, session_quiet, session);
	session_watch_end(session);
}

/* One step. False: nothing more can be done now. */
static bool session_step(struct session *session)
{
	switch (session->state) {
	case SESSION_RECEIVE:
		if (session->missed) {
			session_miss(session);
			return true;
		}
		if (session->held && !message_begun(&session->message)) {
			session_hold_begin(session);
			return true;
		}
		if (!session_receive(session))
			return false;
		session_take(session);
		return true;
	case SESSION_QUIESCE:
		if (!session->quiet)
			return false;
		session_handle(session);
		return true;
	case SESSION_MISS:
		if (!session->quiet)
			return false;
		session_missed_quiet(session);
		return true;
	case SESSION_HOLD:
		if (session->quiet)
			session_hold_end(session);
		return false;
	case SESSION_REPLY:
		return session_reply(session);
	case SESSION_HELD:
	case SESSION_END:
		break;
	}
	return false;
}

static bool session_waits(const struct session *session)
{
	return session_holds(session) && !session->quiet && !session->late;
}

/* A turn of the loop. Afterwards the session fails, waits for queues, or its socket is watched. */
static void session_turn(struct session *session)
{
	uint64_t enough = session->messages + MESSAGES_PER_TURN, end_us = clock_now_us() + TURN_US;

	while (!session->failing && session->messages < enough)
		if (!session_step(session) || (session->state == SESSION_RECEIVE && clock_now_us() >= end_us))
			break;
	if (session->failing || session_waits(session))
		return;
	session_ask(session);
	if (session_watch(session))
		session_fail(session, "the connection cannot be watched");
}

static void session_run(struct session *session)
{
	if (session->busy)
		return;
	session->busy = true;
	if (session->state != SESSION_END)
		session_turn(session);
	if (session->failing)
		postcopy_wake(session);
	if (session->failing && session->state != SESSION_END && !device_quiescing(session->device))
		session_finish(session);
	session->busy = false;
	if (session->state == SESSION_END && session->quiet)
		session_gone(session);
}

void session_hold(struct session *session, void (*held)(void *opaque, int err))
{
	session->held = held;
	session_run(session);
}

void session_go_on(struct session *session)
{
	assert(session->state == SESSION_HELD);
	session->state = SESSION_RECEIVE;
	session->quiet = false;
	device_hold(session->device, false);
	session->busy = true; /* a ring may be refused now: it ends below */
	device_resume(session->device);
	channel_tell(session);
	session->busy = false;
	session->ran = session->ran || device_running(session->device);
	session_run(session);
}

void session_missed(struct session *session)
{
	session->missed = true;
	session_run(session);
}

uint64_t session_owes_ms(const struct session *session)
{
	bool owes = session->state == SESSION_REPLY || session->postcopy == POSTCOPY_TOLD ||
		    (session_holds(session) && session->late) ||
		    (session->state == SESSION_RECEIVE && (!session->messages || message_begun(&session->message)));

	return owes ? clock_now_ms() - session->heard_ms : 0;
}
