/* SPDX-License-Identifier: BSD-3-Clause */
#include "reopen.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "ctl/server.h"
#include "daemon/aside.h"
#include "daemon/daemon.h"
#include "daemon/takeover.h"
#include "handover_state.h"
#include "port.h"
#include "takeover.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Theory of operation. First the other process is waited for, by its end of the connection: it hangs up, or ENDED_MS are over. Then
 * ports are opened in their order, one at each turn of the loop. What that process had is given back a moment after it has
 * ended, so one that cannot be opened is tried again until all of them have had REOPEN_US, and gets a line then. Nothing is waited for
 * but in the loop.
 */

#define ENDED_MS  5000u /* it may wait for its service manager */
#define REOPEN_US 3000000u
#define LOOK_MS   5u

struct switch_reopen {
	struct switch_takeover takeover;
	struct loop_watch *watch; /* of the other process; NULL: it has ended */
	struct loop_timer *timer;
	uint64_t since_us, until_us;
	size_t at; /* the port that is next */
	void (*over)(void *opaque);
	void *opaque;
	struct switch_reopen **place;
};

static void clients_pause(const struct switch_reopen *r, bool on)
{
	if (r->takeover.daemon->control)
		ctl_server_pause(r->takeover.daemon->control, on);
}

void switch_reopen_end(struct switch_reopen **reopen)
{
	struct switch_reopen *r = *reopen;

	if (!r)
		return;
	*reopen = NULL;
	loop_remove(&r->watch);
	loop_timer_free(&r->timer);
	switch_takeover_free(&r->takeover);
	free(r);
}

/* What was said of ports that are there by now. */
static void reopen_over(struct switch_reopen *r)
{
	void (*over)(void *opaque) = r->over;
	void *opaque = r->opaque;

	handover_state_hold(r->takeover.state, r->takeover.ports);
	switch_takeover_learn(&r->takeover);
	clients_pause(r, false);
	switch_reopen_end(r->place);
	over(opaque);
}

/* ---- one port ---- */

static bool port_next(struct switch_reopen *r, struct handover_port *ret_told)
{
	char why[SPEC_WHY_BYTES];

	for (; r->at < handover_state_ports(r->takeover.state); r->at++)
		if (!handover_state_port(r->takeover.state, r->at, ret_told, why) && ret_told->anew)
			return true;
	return false;
}

/* 0, -EAGAIN: it is to be tried again, or another negative errno and why. */
static int port_try(const struct switch_reopen *r, const struct handover_port *told, char why[SPEC_WHY_BYTES])
{
	bool again = clock_now_us() < r->until_us;
	int err;

	if (ports_must_wait(&told->spec)) {
		snprintf(why, SPEC_WHY_BYTES, "somebody holds the kernel's lock on network interfaces");
		return again ? -EAGAIN : -EBUSY;
	}
	err = switch_takeover_port(&r->takeover, told, NULL, why);
	return err && again ? -EAGAIN : err;
}

/* Nobody else has the others any more: one that cannot be opened costs a line. */
static void reopen_due(void *opaque)
{
	struct switch_reopen *r = opaque;
	struct handover_port told;
	char why[SPEC_WHY_BYTES] = "";
	int err;

	if (!r->until_us) {
		loop_remove(&r->watch);
		r->until_us = clock_now_us() + REOPEN_US;
	}
	if (!port_next(r, &told)) {
		reopen_over(r);
		return;
	}
	err = port_try(r, &told, why);
	if (err == -EAGAIN) {
		loop_timer_start(r->timer, LOOK_MS);
		return;
	}
	if (err)
		log_error(&r->takeover.daemon->log, "%s: not opened anew: %s: mend that, and let vireoctl reload or port add add it", told.spec.at.name, why);
	else
		log_info(&r->takeover.daemon->log, "%s: opened anew, %u ms after the other process was told to end", told.spec.at.name,
			 (unsigned)((clock_now_us() - r->since_us) / 1000));
	r->at++;
	loop_timer_start(r->timer, 0);
}

static void other_ended(void *opaque, uint32_t events)
{
	struct switch_reopen *r = opaque;

	loop_remove(&r->watch);
	loop_timer_start(r->timer, 0);
}

int switch_reopen_begin(struct switch_takeover *takeover, void (*over)(void *opaque), void *opaque, struct switch_reopen **ret_reopen)
{
	struct loop *loop = takeover->daemon->loop;
	struct switch_reopen *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	err = loop_timer_new(loop, reopen_due, r, &r->timer);
	if (!err)
		err = loop_add(loop, takeover_fd(takeover->takeover), 0, other_ended, r, &r->watch); /* a hang-up is always told */
	if (err) {
		if (r->timer)
			loop_timer_free(&r->timer);
		free(r);
		return err;
	}
	r->takeover = *takeover;
	*takeover = (struct switch_takeover){0};
	r->since_us = clock_now_us();
	r->over = over;
	r->opaque = opaque;
	r->place = ret_reopen;
	*ret_reopen = r;
	clients_pause(r, true);
	loop_timer_start(r->timer, ENDED_MS);
	return 0;
}
