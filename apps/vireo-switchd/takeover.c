/* SPDX-License-Identifier: BSD-3-Clause */
#include "takeover.h"
#include "base/log.h"
#include "bond_state.h"
#include "daemon/daemon.h"
#include "daemon/handover.h"
#include "daemon/takeover.h"
#include "handover.h"
#include "handover_state.h"
#include "mirror_state.h"
#include "switch/mirror.h"
#include "vireo/endpoint.h"

int switch_takeover_port(const struct switch_takeover *t, const struct handover_port *told, const struct vireo_endpoint_state *state,
			 char why[SPEC_WHY_BYTES])
{
	struct port *port;
	int err;

	t->ports->state = state;
	t->ports->number = told->number;
	err = ports_add(t->ports, &told->spec, &t->daemon->log, &port, why);
	t->ports->state = NULL;
	t->ports->number = 0;
	if (!err)
		port_text_set(port, told->text, told->in_settings);
	return err;
}

static int port_make(const struct switch_takeover *t, const struct handover_port *told, const struct vireo_endpoint_state *state)
{
	char why[SPEC_WHY_BYTES];

	return switch_takeover_port(t, told, state, why) ? takeover_complain(t->takeover, why) : 0;
}

static const struct port_kind *kind_of(const struct handover_port *told)
{
	return port_kind_of(&told->spec.at);
}

static int port_take(struct switch_takeover *t, size_t index)
{
	struct handover_port told;
	struct parcel parcel;
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	char why[SPEC_WHY_BYTES];
	int err = handover_state_port(t->state, index, &told, why);

	if (err)
		return takeover_complain(t->takeover, why);
	if (told.anew) {
		t->anew |= kind_of(&told)->opens_anew;
		return kind_of(&told)->opens_anew ? 0 : takeover_complain(t->takeover, "a port is of a type that is not opened anew");
	}
	if (told.endpoint ? !kind_of(&told)->export : !kind_of(&told)->nothing_to_hand_over)
		return takeover_complain(t->takeover, "a port is of a type that is not handed over so");
	if (!told.endpoint)
		return port_make(t, &told, NULL);
	err = takeover_next(t->takeover, HANDOVER_PART, &parcel);
	if (err)
		return err;
	state.data = parcel.data;
	state.bytes = parcel.bytes;
	state.fds = parcel.fds;
	state.fd_count = parcel.fd_count;
	err = port_make(t, &told, &state);
	parcel_free(&parcel);
	return err;
}

/* As their ports, they go on later. */
static int mirrors_take(const struct switch_takeover *t)
{
	const json_t *mirrors = json_object_get(t->state, "mirrors");
	struct parcel parcel = {.kind = HANDOVER_PART};
	char why[SPEC_WHY_BYTES];
	int err = mirror_state_has_parcel(mirrors) ? takeover_next(t->takeover, HANDOVER_PART, &parcel) : 0;

	if (err)
		return err;
	err = mirror_state_take(mirrors, t->ports, parcel.data, parcel.bytes, parcel.fds, parcel.fd_count, why);
	parcel_free(&parcel);
	return err ? takeover_complain(t->takeover, why) : 0;
}

static int switch_take(struct switch_takeover *t)
{
	struct parcel parcel;
	char why[SPEC_WHY_BYTES];
	int err = takeover_state(t->takeover, &parcel);

	if (err)
		return err;
	t->state = handover_state_parse((const char *)parcel.data, parcel.bytes, takeover_version(t->takeover), why);
	parcel_free(&parcel);
	if (!t->state)
		return takeover_complain(t->takeover, why);
	sw_hold(t->ports->sw);
	for (size_t i = 0; !err && i < handover_state_ports(t->state); i++)
		err = port_take(t, i);
	if (sw_release(t->ports->sw) && !err)
		err = takeover_complain(t->takeover, "out of memory");
	if (err)
		return err;
	if (handover_state_take(t->state, t->ports, why))
		return takeover_complain(t->takeover, why);
	return mirrors_take(t);
}

int switch_takeover_begin(struct ports *ports, struct daemon *daemon, bool reopen, struct switch_takeover *ret_takeover)
{
	struct switch_takeover t = {.ports = ports, .daemon = daemon};
	int err;

	sw_fdb_touch(ports->sw); /* while the other one still serves */
	err = takeover_new(daemon, "switchd", "switch", SWITCH_HANDOVER_VERSION, SWITCH_HANDOVER_OLDEST,
			       reopen ? "yes" : NULL, &t.takeover);

	if (!err)
		err = switch_take(&t);
	if (err)
		switch_takeover_free(&t);
	else
		*ret_takeover = t;
	return err;
}

/* Whatever is wrong with them: addresses are learned again, by and by. */
void switch_takeover_learn(const struct switch_takeover *t)
{
	if (t->learned.data)
		handover_state_learn((const char *)t->learned.data, t->learned.bytes, t->ports);
}

int switch_takeover_end(struct switch_takeover *t)
{
	int err = takeover_answer(t->takeover);

	if (err)
		return err;
	sw_hold(t->ports->sw);
	bond_state_take(json_object_get(t->state, "lacp"), t->ports);
	for (struct port *p = t->ports->first; p; p = p->next)
		if (p->kind->go_on)
			p->kind->go_on(p);
	handover_state_bonds(t->state, t->ports);
	sw_mirrors_go_on(t->ports->sw);
	if (sw_release(t->ports->sw))
		log_warning(&t->daemon->log, "out of memory: ports start a little later");
	takeover_gone_on(t->takeover);
	if (!takeover_last(t->takeover, &t->learned))
		switch_takeover_learn(t);
	return 0;
}

void switch_takeover_free(struct switch_takeover *t)
{
	parcel_free(&t->learned);
	takeover_free(t->takeover);
	json_decref(t->state);
}
