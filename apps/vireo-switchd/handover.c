/* SPDX-License-Identifier: BSD-3-Clause */
#include "handover.h"
#include "ctl/rpc.h"
#include "daemon/handover.h"
#include "handover_state.h"
#include "mirror_state.h"
#include "port.h"
#include "reload.h"
#include "switch/mirror.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct switch_handover {
	struct ports *ports;
	struct handover *handover;
	bool reopen; /* who takes over opens ports anew that cannot be handed over */
	bool reload; /* has been asked for meanwhile */
};

static void ports_go_on(void *opaque)
{
	const struct switch_handover *h = opaque;

	sw_hold(h->ports->sw);
	for (struct port *p = h->ports->first; p; p = p->next)
		if (p->kind->go_on && !p->closing)
			p->kind->go_on(p);
	sw_release(h->ports->sw);
	sw_mirrors_go_on(h->ports->sw);
}

/* A reload does not wait for ports that are held late. */
static void handover_over(void *opaque)
{
	struct switch_handover *h = opaque;

	if (h->reload)
		reload_begin(h->ports->reload, NULL);
	h->reload = false;
}

/* ---- what cannot be handed over ---- */

static bool handed_over(const struct port *port)
{
	return port->kind->hold || port->kind->nothing_to_hand_over;
}

bool switch_handover_leaves(const struct switch_handover *h, const struct port *port)
{
	return h->reopen && port->kind->opens_anew && !handed_over(port);
}

static const char *port_refused(const struct switch_handover *h, const struct port *port, char why[SPEC_WHY_BYTES])
{
	const char *name = port->spec.at.name;

	if (port->closing)
		snprintf(why, SPEC_WHY_BYTES, "port '%.64s' is being removed: try again", name);
	else if (!handed_over(port) && !switch_handover_leaves(h, port))
		snprintf(why, SPEC_WHY_BYTES, "port '%.64s' cannot be handed over: its type is %s%s", name, port->kind->spec.type,
			 port->kind->opens_anew && handover_version(h->handover) >= SWITCH_HANDOVER_MORE ? "; --reopen closes it, and opens it anew" : "");
	else if (port->kind->hold_refused && port->kind->hold_refused(port))
		snprintf(why, SPEC_WHY_BYTES, "port '%.64s' cannot be handed over: %s", name, port->kind->hold_refused(port));
	else
		return NULL;
	return why;
}

/* What a process of the version before would lose. */
static const char *older_refused(const struct ports *ports)
{
	if (sw_mirror_next(ports->sw, NULL))
		return "a mirror copies frames, and the other process is of a version that does not go on with it: remove it first (vireoctl mirror remove)";
	for (const struct port *p = ports->first; p; p = p->next)
		if (p->kind == &port_bond && p->spec.bond.mode == SW_BOND_LACP)
			return "a bond speaks LACP, and the other process is of a version that does not go on with what its members have agreed on";
	return NULL;
}

/* It would be gone for a moment, and so would be a mirror of it. */
static const char *mirror_refused(const struct switch_handover *h, char why[SPEC_WHY_BYTES])
{
	for (struct sw_mirror *mirror = NULL; (mirror = sw_mirror_next(h->ports->sw, mirror));) {
		struct sw_mirror_status status;

		sw_mirror_status(mirror, &status);
		for (const struct port *p = h->ports->first; p; p = p->next) {
			const char *name = p->spec.at.name;

			if (!switch_handover_leaves(h, p) || (strcmp(name, status.source) != 0 && strcmp(name, status.where) != 0))
				continue;
			snprintf(why, SPEC_WHY_BYTES, "mirror %u is of port '%.64s', or goes to it, which is to be opened anew: remove it first (vireoctl mirror remove)",
				 status.id, name);
			return why;
		}
	}
	return NULL;
}

static const char *refused(void *opaque, char why[SPEC_WHY_BYTES])
{
	const struct switch_handover *h = opaque;
	const struct ports *ports = h->ports;
	const char *text = NULL;

	if (ports->waiting || ports->files.first)
		return "ports are about to be added: try again";
	if (reload_runs(ports->reload))
		return "the settings are being read again: try again";
	if (sw_mirrors_leave(ports->sw))
		return "a mirror that was removed is still writing: try again";
	if (handover_version(h->handover) < SWITCH_HANDOVER_MORE)
		text = older_refused(ports);
	for (const struct port *p = ports->first; p && !text; p = p->next)
		text = port_refused(h, p, why);
	return text ? text : mirror_refused(h, why);
}

/* ---- all are held ---- */

static int port_give(struct handover *handover, struct port *port)
{
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	int err = port->kind->export(port, &state);

	return err ? err : handover_give(handover, HANDOVER_PART, state.data, state.bytes, state.fds, state.fd_count);
}

static int switch_give(struct handover *handover, void *opaque)
{
	const struct switch_handover *h = opaque;
	int err = handover_give_state(handover, handover_state_text(h->ports, handover_version(handover)));

	for (struct port *p = h->ports->first; !err && p; p = p->next)
		if (p->kind->export)
			err = port_give(handover, p);
	return err ? err : mirror_state_give(h->ports, handover);
}

static char *learned(void *opaque)
{
	return handover_state_learned(((const struct switch_handover *)opaque)->ports);
}

/* ---- to hold them ---- */

static struct handover *handover_of(const struct port *port)
{
	return port->ports->handover ? port->ports->handover->handover : NULL;
}

static void port_held(void *opaque, int err)
{
	struct port *port = opaque;
	struct handover *handover = handover_of(port);
	char why[SPEC_WHY_BYTES];

	if (!handover) { /* the daemon is ending */
		if (!err)
			port->kind->go_on(port);
		return;
	}
	if (err && !handover_given_up(handover)) {
		snprintf(why, sizeof(why), "port '%.64s' cannot be handed over now: %s", port->spec.at.name,
			 err == -EBUSY ? "its line above says why" : strerror(-err));
		handover_give_up(handover, why);
	} else if (!err && handover_given_up(handover)) {
		port->kind->go_on(port);
	}
	handover_rests(handover);
}

/* Whether they rest, or nobody waits for them any more. */
static void mirrors_held(void *opaque)
{
	const struct switch_handover *h = opaque;

	if (handover_given_up(h->handover))
		sw_mirrors_go_on(h->ports->sw);
	handover_rests(h->handover);
}

static void hold_all(struct handover *handover, void *opaque)
{
	struct switch_handover *h = opaque;

	sw_hold(h->ports->sw);
	for (struct port *p = h->ports->first; p && !handover_given_up(handover); p = p->next) {
		if (!p->kind->hold)
			continue;
		handover_waits(handover);
		if (p->kind->hold(p, port_held, p))
			port_held(p, -EIO);
	}
	sw_release(h->ports->sw);
	if (handover_given_up(handover))
		return;
	handover_waits(handover);
	sw_mirrors_hold(h->ports->sw, mirrors_held, h);
}

/*
 * First what peers send is left in their rings, everywhere, and what has been taken is delivered: a frame for a queue that is already
 * being held would be nobody's.
 */
static void port_silent(void *opaque)
{
	struct handover *handover = handover_of(opaque);

	if (handover)
		handover_rests(handover);
}

static void silence_all(struct handover *handover, void *opaque)
{
	const struct switch_handover *h = opaque;

	sw_hold(h->ports->sw);
	for (struct port *p = h->ports->first; p; p = p->next) {
		if (!p->kind->silence)
			continue;
		handover_waits(handover);
		p->kind->silence(p, port_silent);
	}
	sw_release(h->ports->sw);
}

/* ---- the command ---- */

static const struct handover_ops ops = {
	.what = "switch",
	.late = "a port's queues do not come to rest",
	.version = SWITCH_HANDOVER_VERSION,
	.oldest = SWITCH_HANDOVER_OLDEST,
	.refused = refused,
	.silence = silence_all,
	.hold = hold_all,
	.go_on = ports_go_on,
	.give = switch_give,
	.last = learned,
	.over = handover_over,
};

void serve_handover(struct rpc_call *call, void *opaque)
{
	struct switch_handover *h = ((struct ports *)opaque)->handover;
	const char *reopen = rpc_call_param(call, "reopen");

	if (reopen && strcmp(reopen, "yes") != 0) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "reopen '%.40s': expected yes", reopen);
		return;
	}
	if (!handover_busy(h->handover))
		h->reopen = reopen;
	handover_serve(h->handover, call);
}

bool switch_handover_delays_reload(struct switch_handover *handover)
{
	if (!handover || !handover_under_way(handover->handover))
		return false;
	handover->reload = true;
	return true;
}

int switch_handover_open(struct ports *ports, struct daemon *daemon, struct switch_handover **ret_handover)
{
	struct switch_handover *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	h->ports = ports;
	err = handover_new(daemon, &ops, h, &h->handover);
	if (err)
		free(h);
	else
		*ret_handover = h;
	return err;
}

void switch_handover_close(struct switch_handover *handover)
{
	if (!handover)
		return;
	handover_close(handover->handover);
	free(handover);
}
