/* SPDX-License-Identifier: BSD-3-Clause */
#include "handover.h"
#include "base/clock.h"
#include "base/drop.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/parse.h"
#include "base/unix_socket.h"
#include "ctl/rpc.h"
#include "ctl/server.h"
#include "daemon/aside.h"
#include "daemon/daemon.h"
#include "daemon/notify.h"
#include "daemon/parcel.h"
#include "handover_state.h"
#include "port.h"
#include "reload.h"
#include "switch/mirror.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Theory of operation. First nothing is taken any more from any port, then all are held. The loop goes on meanwhile, since their queues'
 * answers come from it; clients of the control socket, and a reload, wait. Once all are held nothing else is done: the control thread
 * hands everything over and waits for the answer, for ANSWER_US at most. A port that answers too late goes on as soon as it does.
 *
 * Both processes know in the end who goes on, whatever is late. This one, to go on, first listens no more: an answer that comes after
 * that has failed for who gives it, and to one that was given before there is room to say HANDOVER_NOT. So who has answered, and then finds the end
 * of the connection without that, knows that this process was killed.
 */

#define HOLD_MS 1000u
#define ANSWER_US 3000000u
#define LAST_US 1000000u /* and for what may as well be lost */

struct handover {
	struct ports *ports;
	struct daemon *daemon;
	struct loop_timer *timer;
	int fd; /* to the successor; -1: none */
	bool reload; /* has been asked for meanwhile */
	unsigned waits; /* ports that are about to be held, and one while they are being asked */
	bool under_way;
	enum { ASKED, SILENCING, HOLDING } phase; /* ASKED: nothing has been done yet, the client is answered first */
	bool given_up; /* whatever is held from here on goes on */
	uint64_t since_us;
	char why[SPEC_WHY_BYTES];
};

static void ports_go_on(const struct handover *h)
{
	sw_hold(h->ports->sw);
	for (struct port *p = h->ports->first; p; p = p->next)
		if (p->kind->go_on && !p->closing)
			p->kind->go_on(p);
	sw_release(h->ports->sw);
}

/*
 * It has been given up. Clients, and a reload, do not wait for ports whose hold ends late or never; only the next hand-over does. From the
 * timer alone: what clients ask for may take away the ports that somebody goes through.
 */
static void handover_over(struct handover *h)
{
	if (!h->waits) {
		fd_close(&h->fd);
		h->under_way = h->given_up = false;
	}
	ctl_server_pause(h->daemon->control, false);
	if (h->reload)
		reload_begin(h->ports->reload, NULL);
	h->reload = false;
}

static void handover_give_up(struct handover *h, const char *why)
{
	if (h->given_up)
		return;
	h->given_up = true;
	shutdown(h->fd, SHUT_RD);
	parcel_send(h->fd, 0, HANDOVER_NOT, why, strlen(why), NULL, 0);
	ports_go_on(h);
	if (h->phase == SILENCING)
		h->waits = 0; /* nobody answers any more */
	log_warning(&h->daemon->log, "not handed over, and going on: %s", why);
	loop_timer_start(h->timer, 0);
}

/* ---- what cannot be handed over ---- */

static const char *port_refused(const struct port *port, char why[SPEC_WHY_BYTES])
{
	const char *name = port->spec.at.name;

	if (port->closing)
		snprintf(why, SPEC_WHY_BYTES, "port '%.64s' is being removed: try again", name);
	else if (!port->kind->hold && !port->kind->nothing_to_hand_over)
		snprintf(why, SPEC_WHY_BYTES, "port '%.64s' cannot be handed over: its type is %s", name, port->kind->spec.type);
	else if (port->kind->hold_refused && port->kind->hold_refused(port))
		snprintf(why, SPEC_WHY_BYTES, "port '%.64s' cannot be handed over: %s", name, port->kind->hold_refused(port));
	else
		return NULL;
	return why;
}

/* NULL: all of it can be handed over, as far as can be known before anything is held. */
static const char *refused(const struct ports *ports, char why[SPEC_WHY_BYTES])
{
	const char *text = NULL;

	if (ports->waiting)
		return "ports are about to be added: try again";
	if (reload_runs(ports->reload))
		return "the settings are being read again: try again";
	if (sw_mirror_next(ports->sw, NULL))
		return "a mirror copies frames: remove it first (vireoctl mirror remove)";
	if (sw_mirrors_there(ports->sw))
		return "a mirror that was removed is still writing: try again";
	for (const struct port *p = ports->first; p && !text; p = p->next)
		text = port_refused(p, why);
	return text;
}

/* ---- all are held ---- */

static int port_give(const struct handover *h, struct port *port, uint64_t until_us)
{
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	int err = port->kind->export(port, &state);

	return err ? err : parcel_send(h->fd, until_us, HANDOVER_PORT, state.data, state.bytes, state.fds, state.fd_count);
}

static int text_give(const struct handover *h, uint64_t until_us, uint32_t kind, char *text, const int *fds, unsigned fd_count)
{
	int err = text ? parcel_send(h->fd, until_us, kind, text, strlen(text), fds, fd_count) : -ENOMEM;

	free(text);
	return err;
}

static int switch_give(const struct handover *h, uint64_t until_us)
{
	int control = ctl_server_fd(h->daemon->control);
	int err = text_give(h, until_us, HANDOVER_SWITCH, handover_state_text(h->ports), &control, 1);

	for (struct port *p = h->ports->first; !err && p; p = p->next)
		if (p->kind->export)
			err = port_give(h, p, until_us);
	return err;
}

static int answer(const struct handover *h, uint64_t until_us)
{
	struct parcel parcel;
	int err = parcel_receive(h->fd, until_us, &parcel);

	if (err)
		return err;
	err = parcel.kind == HANDOVER_READY ? 0 : -EPROTO;
	parcel_free(&parcel);
	return err;
}

/* Nothing is let go of in order: what this process has is the successor's now. */
static void handover_leave(const struct handover *h)
{
	struct ucred peer = {0};
	socklen_t bytes = sizeof(peer);
	char main_pid[32];

	getsockopt(h->fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes);
	log_info(&h->daemon->log, "handed over to process %d, %u ms after the first ring was stopped: ending", (int)peer.pid,
		 (unsigned)((clock_now_us() - h->since_us) / 1000));
	snprintf(main_pid, sizeof(main_pid), "MAINPID=%d", (int)peer.pid);
	notify(main_pid, false);
	text_give(h, clock_now_us() + LAST_US, HANDOVER_LEARNED, handover_state_learned(h->ports), NULL, 0);
	logger_end();
	_exit(0);
}

static void hand_over(struct handover *h)
{
	uint64_t until_us = clock_now_us() + ANSWER_US;
	char why[SPEC_WHY_BYTES];
	int err = switch_give(h, until_us);

	if (!err)
		err = answer(h, until_us);
	if (!err)
		err = parcel_send(h->fd, until_us, HANDOVER_GO, NULL, 0, NULL, 0);
	if (!err)
		handover_leave(h);
	snprintf(why, sizeof(why), "the process that was to take over %s",
		 err == -ETIMEDOUT ? "does not answer" : err == -ECONNRESET || err == -EPIPE ? "has ended" : strerror(-err));
	handover_give_up(h, why);
}

/* ---- to hold them ---- */

static void held_one(struct handover *h)
{
	if (!--h->waits)
		loop_timer_start(h->timer, 0);
}

static void port_held(void *opaque, int err)
{
	struct port *port = opaque;
	struct handover *h = port->ports->handover;
	char why[SPEC_WHY_BYTES];

	if (!h) { /* the daemon is ending */
		if (!err)
			port->kind->go_on(port);
		return;
	}
	if (err && !h->given_up) {
		snprintf(why, sizeof(why), "port '%.64s' cannot be handed over now: %s", port->spec.at.name,
			 err == -EBUSY ? "its line above says why" : strerror(-err));
		handover_give_up(h, why);
	} else if (!err && h->given_up) {
		port->kind->go_on(port);
	}
	held_one(h);
}

static void hold_all(struct handover *h)
{
	h->phase = HOLDING;
	h->waits = 1;
	loop_timer_start(h->timer, HOLD_MS);
	sw_hold(h->ports->sw);
	for (struct port *p = h->ports->first; p && !h->given_up; p = p->next) {
		if (!p->kind->hold)
			continue;
		h->waits++;
		if (p->kind->hold(p, port_held, p))
			port_held(p, -EIO);
	}
	sw_release(h->ports->sw);
	held_one(h);
}

/*
 * First what peers send is left in their rings, everywhere, and what has been taken is delivered: a frame for a queue that is already
 * being held would be nobody's.
 */
static void port_silent(void *opaque)
{
	const struct port *port = opaque;

	if (port->ports->handover)
		held_one(port->ports->handover);
}

static void silence_all(struct handover *h)
{
	h->phase = SILENCING;
	h->waits = 1;
	h->since_us = clock_now_us();
	ctl_server_pause(h->daemon->control, true);
	loop_timer_start(h->timer, HOLD_MS);
	sw_hold(h->ports->sw);
	for (struct port *p = h->ports->first; p; p = p->next) {
		if (!p->kind->silence)
			continue;
		h->waits++;
		p->kind->silence(p, port_silent);
	}
	sw_release(h->ports->sw);
	held_one(h);
}

static void handover_due(void *opaque)
{
	struct handover *h = opaque;
	char why[SPEC_WHY_BYTES];
	const char *text = !h->given_up && h->phase == ASKED ? refused(h->ports, why) : NULL; /* by now: clients have been served since */

	if (h->given_up)
		handover_over(h);
	else if (text)
		handover_give_up(h, text);
	else if (h->phase == ASKED)
		silence_all(h);
	else if (h->phase == SILENCING && !h->waits)
		hold_all(h);
	else if (h->waits)
		handover_give_up(h, "a port's queues do not come to rest");
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

static bool version_known(const char *text)
{
	unsigned long version;

	return parse_number(text, HANDOVER_VERSION, HANDOVER_VERSION, &version);
}

void serve_handover(struct rpc_call *call, void *opaque)
{
	struct handover *h = ((struct ports *)opaque)->handover;
	char why[SPEC_WHY_BYTES];
	const char *text = h->under_way ? "another process is taking over already" : refused(h->ports, why);
	int err;

	if (text) {
		rpc_call_error(call, RPC_FAILED, "%s", text);
		return;
	}
	if (!version_known(rpc_call_param(call, "version"))) {
		rpc_call_error(call, RPC_FAILED, "this switch (Vireo " VIREO_VERSION ") hands over as version %d has it, which is not the other one's",
			       HANDOVER_VERSION);
		return;
	}
	err = successor_connect(rpc_call_param(call, "socket"), &h->fd);
	if (err) {
		rpc_call_error(call, RPC_FAILED, "SOCKET: %s", err == -EPERM ? "it belongs to another user" : strerror(-err));
		return;
	}
	h->under_way = true;
	h->phase = ASKED;
	rpc_call_reply(call, json_object());
	loop_timer_start(h->timer, 0);
}

bool handover_delays_reload(struct handover *handover)
{
	if (!handover || !handover->under_way || handover->given_up)
		return false;
	handover->reload = true;
	return true;
}

int handover_open(struct ports *ports, struct daemon *daemon, struct handover **ret_handover)
{
	struct handover *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	h->ports = ports;
	h->daemon = daemon;
	h->fd = -1;
	err = loop_timer_new(ports->loop, handover_due, h, &h->timer);
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
