/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/handover.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/parse.h"
#include "base/probe.h"
#include "base/unix_socket.h"
#include "ctl/rpc.h"
#include "ctl/server.h"
#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "daemon/parcel.h"
#include "daemon/signals.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Theory of operation. The loop goes on while things come to rest, since answers come from it; clients of the control socket wait. Once
 * all are held nothing else is done: the control thread hands everything over and waits for the answer, for ANSWER_US at most. What comes
 * to rest too late goes on as soon as it does.
 *
 * Both processes know in the end who goes on, whatever is late. This one, to go on, first listens no more: an answer that comes after
 * that has failed for who gives it, and to one that was given before there is room to say HANDOVER_NOT. So who has answered, and then
 * finds the end of the connection without that, knows that this process was killed.
 */

#define HOLD_MS 1000u
#define ANSWER_US 3000000u
#define LAST_US 1000000u /* and for what may as well be lost */
#define MANAGER_MS 20000u /* nobody waits for this process any more */

struct handover {
	struct daemon *daemon;
	const struct handover_ops *ops;
	void *opaque;
	struct loop_timer *timer;
	int fd; /* to the successor; -1: none */
	unsigned version; /* the successor's */
	unsigned waits; /* what is still to come to rest, and one while it is being asked to */
	bool under_way;
	enum { ASKED, SILENCING, HOLDING } phase; /* ASKED: nothing has been done yet, the client is answered first */
	bool given_up; /* whatever is held from here on goes on */
	uint64_t since_us, until_us;
};

/*
 * It has been given up. Clients do not wait for what is held late or never; only the next hand-over does. From the timer alone: what
 * clients ask for may take away what somebody goes through.
 */
static void handover_over(struct handover *h)
{
	if (!h->waits) {
		fd_close(&h->fd);
		h->under_way = h->given_up = false;
	}
	ctl_server_pause(h->daemon->control, false);
	if (h->ops->over)
		h->ops->over(h->opaque);
}

void handover_give_up(struct handover *h, const char *why)
{
	if (h->given_up)
		return;
	h->given_up = true;
	shutdown(h->fd, SHUT_RD);
	parcel_send(h->fd, 0, HANDOVER_NOT, why, strlen(why), NULL, 0);
	h->ops->go_on(h->opaque);
	if (h->phase == SILENCING)
		h->waits = 0; /* nobody answers any more */
	PROBE1(handover_failed, why);
	log_warning(&h->daemon->log, "not handed over, and going on: %s", why);
	loop_timer_start(h->timer, 0);
}

/* ---- all are held ---- */

int handover_give(struct handover *h, uint32_t kind, const void *data, size_t bytes, const int *fds, unsigned fd_count)
{
	return parcel_send(h->fd, h->until_us, kind, data, bytes, fds, fd_count);
}

static int text_give(struct handover *h, uint32_t kind, char *text, const int *fds, unsigned fd_count)
{
	int err = text ? handover_give(h, kind, text, strlen(text), fds, fd_count) : -ENOMEM;

	free(text);
	return err;
}

int handover_give_state(struct handover *h, char *text)
{
	int control = ctl_server_fd(h->daemon->control);

	return text_give(h, HANDOVER_STATE, text, &control, 1);
}

static int answer(const struct handover *h)
{
	struct parcel parcel;
	int err = parcel_receive(h->fd, h->until_us, &parcel);

	if (err)
		return err;
	err = parcel.kind == HANDOVER_READY ? 0 : -EPROTO;
	parcel_free(&parcel);
	return err;
}

/* Nothing is let go of in order: what this process has is the successor's now. */
static void handover_leave(struct handover *h)
{
	struct ucred peer = {0};
	socklen_t bytes = sizeof(peer);

	getsockopt(h->fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes);
	PROBE1(handed_over, peer.pid);
	log_info(&h->daemon->log, "handed over to process %d, %u ms after the first ring was stopped: ending", (int)peer.pid,
		 (unsigned)((clock_now_us() - h->since_us) / 1000));
	h->until_us = clock_now_us() + LAST_US;
	if (h->ops->last)
		text_give(h, HANDOVER_LAST, h->ops->last(h->opaque), NULL, 0);
	logger_end();
	signals_end_at_once(); /* what this process has copies of, as of disks' locks, is not to be kept from whoever ends the service */
	notify_main_pid(peer.pid, MANAGER_MS); /* before the manager sees that the main process has ended */
	_exit(0);
}

/* Is there a reason not to that has come meanwhile? What came to rest may have failed, as a last flush. */
static void hand_over(struct handover *h)
{
	char why[HANDOVER_WHY_BYTES];
	const char *text = h->ops->refused(h->opaque, why);
	int err;

	if (text) {
		handover_give_up(h, text);
		return;
	}
	h->until_us = clock_now_us() + ANSWER_US;
	err = h->ops->give(h, h->opaque);
	if (!err)
		err = answer(h);
	if (!err)
		err = handover_give(h, HANDOVER_GO, &h->since_us, sizeof(h->since_us), NULL, 0);
	if (!err)
		handover_leave(h);
	snprintf(why, sizeof(why), "the process that was to take over %s",
		 err == -ETIMEDOUT ? "does not answer" : err == -ECONNRESET || err == -EPIPE ? "has ended" : strerror(-err));
	handover_give_up(h, why);
}

/* ---- to hold them ---- */

void handover_waits(struct handover *h)
{
	h->waits++;
}

void handover_rests(struct handover *h)
{
	if (!--h->waits)
		loop_timer_start(h->timer, 0);
}

bool handover_given_up(const struct handover *h)
{
	return h->given_up;
}

static void phase_begin(struct handover *h, int phase, void (*begin)(struct handover *handover, void *opaque))
{
	h->phase = phase;
	h->waits = 1;
	loop_timer_start(h->timer, HOLD_MS);
	if (begin)
		begin(h, h->opaque);
	if (h->waits)
		handover_rests(h);
}

static void silence(struct handover *h)
{
	h->since_us = clock_now_us();
	ctl_server_pause(h->daemon->control, true);
	phase_begin(h, SILENCING, h->ops->silence);
}

static void handover_due(void *opaque)
{
	struct handover *h = opaque;
	char why[HANDOVER_WHY_BYTES];
	const char *text = !h->given_up && h->phase == ASKED ? h->ops->refused(h->opaque, why) : NULL; /* by now: clients have been served since */

	if (h->given_up)
		handover_over(h);
	else if (text)
		handover_give_up(h, text);
	else if (h->phase == ASKED)
		silence(h);
	else if (h->phase == SILENCING && !h->waits)
		phase_begin(h, HOLDING, h->ops->hold);
	else if (h->waits)
		handover_give_up(h, h->ops->late);
	else
		hand_over(h);
}

/* ---- the command ---- */

static int successor_connect(const char *path, int *ret_fd)
{
	int err = unix_connect(path, NULL, ret_fd);

	if (err)
		return err;
	err = parcel_socket(*ret_fd);
	if (err)
		fd_close(ret_fd);
	return err;
}

static bool version_take(struct handover *h, const char *text)
{
	unsigned long version;

	if (!parse_number(text, h->ops->oldest ? h->ops->oldest : h->ops->version, h->ops->version, &version))
		return false;
	h->version = (unsigned)version;
	return true;
}

/* False: the call has been answered. */
static bool may_begin(struct handover *h, struct rpc_call *call)
{
	char why[HANDOVER_WHY_BYTES];
	const char *text = h->under_way ? "another process is taking over already" : NULL;

	if (!text && !version_take(h, rpc_call_param(call, "version"))) {
		snprintf(why, sizeof(why), HANDOVER_OF_VERSION, h->ops->what, h->ops->version);
		text = why;
	}
	if (!text)
		text = h->ops->refused(h->opaque, why);
	if (text)
		rpc_call_error(call, RPC_FAILED, "%s", text);
	return !text;
}

void handover_serve(struct handover *h, struct rpc_call *call)
{
	int err;

	if (!may_begin(h, call))
		return;
	err = successor_connect(rpc_call_param(call, "socket"), &h->fd);
	if (err) {
		rpc_call_error(call, RPC_FAILED, "SOCKET: %s", err == -EPERM ? "it belongs to another user" : strerror(-err));
		return;
	}
	h->under_way = true;
	h->phase = ASKED;
	rpc_call_reply(call, json_pack("{s:I}", "watchdog_us", (json_int_t)h->daemon->watchdog_us));
	loop_timer_start(h->timer, 0);
}

unsigned handover_version(const struct handover *handover)
{
	return handover->version;
}

bool handover_busy(const struct handover *handover)
{
	return handover->under_way;
}

bool handover_under_way(const struct handover *handover)
{
	return handover && handover->under_way && !handover->given_up;
}

int handover_new(struct daemon *daemon, const struct handover_ops *ops, void *opaque, struct handover **ret_handover)
{
	struct handover *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	*h = (struct handover){.daemon = daemon, .ops = ops, .opaque = opaque, .fd = -1};
	err = loop_timer_new(daemon->loop, handover_due, h, &h->timer);
	if (err)
		free(h);
	else
		*ret_handover = h;
	return err;
}

void handover_close(struct handover *handover)
{
	if (!handover)
		return;
	if (handover->under_way)
		handover_give_up(handover, "this process was asked to end");
	fd_close(&handover->fd);
	loop_timer_free(&handover->timer);
	free(handover);
}
