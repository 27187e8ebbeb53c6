/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/handover.h"
#include "base/util.h"
#include "daemon/endpoint.h"
#include "daemon/handover.h"
#include "disk/disk.h"
#include "disk/limit.h"
#include "store/commands.h"
#include "store/holding.h"
#include "store/store.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- what cannot be handed over ---- */

static const char *disk_refused(const struct store_disk *disk, char why[SPEC_WHY_BYTES])
{
	const char *problem = disk_hand_over_problem(disk->disk);

	if (problem)
		snprintf(why, SPEC_WHY_BYTES, "disk '%.63s' cannot be handed over: %s", disk->spec.name, problem);
	else if (disk->resizing || disk->shrinking || disk->removal.done)
		snprintf(why, SPEC_WHY_BYTES, "disk '%.63s' is being resized or removed: try again", disk->spec.name);
	else
		return NULL;
	return why;
}

/* The number of an fd is this process's own. */
static const char *export_refused(const struct export *export, char why[SPEC_WHY_BYTES])
{
	const struct spec *at = &export->spec->at;
	const char *problem = NULL;

	if (at->kind->endpoint != &endpoint_vhost_user) {
		snprintf(why, SPEC_WHY_BYTES, "export '%.63s' cannot be handed over: its type is %s", at->name, at->kind->type);
		return why;
	}
	if (export->closing)
		problem = "it is being removed: try again";
	else if (export->lost)
		problem = "it has failed";
	else if (endpoint_handed_fd(at) >= 0)
		problem = "its socket has no path";
	else if (!export->text)
		problem = "out of memory";
	if (problem)
		snprintf(why, SPEC_WHY_BYTES, "export '%.63s' cannot be handed over: %s", at->name, problem);
	return problem ? why : NULL;
}

static const char *refused(void *opaque, char why[SPEC_WHY_BYTES])
{
	const struct store *store = opaque;
	const char *text = store->disks.opening ? "a disk is being opened: try again" : NULL;

	for (const struct store_disk *d = store->disks.first; d && !text; d = d->next)
		text = disk_refused(d, why);
	for (const struct export *e = store->exports.first; e && !text; e = e->next)
		text = export_refused(e, why);
	return text || !store->kind->more ? text : store->kind->more->refused(store, why);
}

/* ---- to hold them ---- */

static void export_goes_on(struct export *export)
{
	if (!vireo_endpoint_go_on(export->endpoint))
		export->held = false;
}

static void exports_go_on(void *opaque)
{
	struct store *store = opaque;

	disk_holds_given_up(store);
	for (struct export *e = store->exports.first; e; e = e->next)
		if (e->held && !e->closing)
			export_goes_on(e); /* one that is not held yet does when it is */
}

static void export_held(void *opaque, int err)
{
	struct export *export = opaque;
	struct handover *handover = export->exports->store->handover;
	char why[SPEC_WHY_BYTES];

	if (err)
		export->held = false;
	if (!handover) { /* the daemon is ending */
		if (!err)
			export_goes_on(export);
		return;
	}
	if (err && !handover_given_up(handover)) {
		snprintf(why, sizeof(why), "export '%.63s' cannot be handed over now: %s", export->spec->at.name,
			 err == -EBUSY ? "its line above says why" : strerror(-err));
		handover_give_up(handover, why);
	} else if (!err && handover_given_up(handover)) {
		export_goes_on(export);
	}
	handover_rests(handover);
}

static void hold_all(struct handover *handover, void *opaque)
{
	struct store *store = opaque;

	disk_holds_await(store);
	for (struct export *e = store->exports.first; e && !handover_given_up(handover); e = e->next) {
		handover_waits(handover);
		e->held = true;
		if (vireo_endpoint_hold(e->endpoint, export_held, e))
			export_held(e, -EIO);
	}
}

/* ---- to tell ---- */

static json_t *disk_json(const struct store_disk *disk)
{
	struct disk_limits_info info;
	char limits[DISK_LIMITS_TEXT_BYTES];

	disk_limits_get(disk->disk, &info);
	disk_limits_write(&info.limits, limits);
	return json_pack("{s:o, s:s, s:I, s:b}", "spec", json_sprintf("%s=%s", disk->spec.name, disk->spec.text), "limits", limits, "size",
			 (json_int_t)store_disk_bytes(disk), "fd", disk_handed_fd(disk->disk) >= 0);
}

/* As it was given; with its name, if that came from the address: by now it could be another one. */
static json_t *export_json(const struct export *export)
{
	const struct spec *at = &export->spec->at;
	json_t *spec = at->name_given ? json_string(export->text) : json_sprintf("%s,name=%s", export->text, at->name);

	return json_pack("{s:o}", "spec", spec);
}

static bool more_said(const struct store *store, json_t *json)
{
	const struct store_more *more = store->kind->more;

	return json && (!more || !json_object_set_new(json, "more", more->tell(store)));
}

unsigned store_handover_version(const struct store *store)
{
	return store->kind->more ? store->kind->more->version : STORE_HANDOVER_VERSION;
}

/* NULL: some of it could not be said. */
static char *state_text(const struct store *store)
{
	json_t *disks = json_array(), *exports = json_array(), *json = NULL;
	bool said = disks && exports;
	char *text;

	for (const struct store_disk *d = store->disks.first; said && d; d = d->next)
		said = !json_array_append_new(disks, disk_json(d));
	for (const struct export *e = store->exports.first; said && e; e = e->next)
		said = !json_array_append_new(exports, export_json(e));
	if (said)
		json = json_pack("{s:i, s:O, s:O}", "version", (int)store_handover_version(store), "disks", disks, "exports", exports);
	text = more_said(store, json) ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	json_decref(disks);
	json_decref(exports);
	return text;
}

static int export_give(struct handover *handover, const struct export *export)
{
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	int err = vireo_endpoint_export(export->endpoint, &state);

	return err ? err : handover_give(handover, HANDOVER_PART, state.data, state.bytes, state.fds, state.fd_count);
}

static int give(struct handover *handover, void *opaque)
{
	const struct store *store = opaque;
	int err = handover_give_state(handover, state_text(store));

	for (const struct store_disk *d = store->disks.first; d && !err; d = d->next) {
		int fd = disk_handed_fd(d->disk);

		if (fd >= 0)
			err = handover_give(handover, HANDOVER_PART, NULL, 0, &fd, 1);
	}
	for (const struct export *e = store->exports.first; e && !err; e = e->next)
		err = export_give(handover, e);
	return err || !store->kind->more ? err : store->kind->more->give(store, handover);
}

/* ---- the command ---- */

int store_handover_open(struct store *store)
{
	store->handover_ops = (struct handover_ops){
		.what = "daemon",
		.late = "an export's queues do not come to rest: its disk has not answered",
		.version = store_handover_version(store),
		.refused = refused,
		.hold = hold_all,
		.go_on = exports_go_on,
		.give = give,
	};
	return handover_new(&store->daemon, &store->handover_ops, store, &store->handover);
}

void serve_store_handover(struct rpc_call *call, void *opaque)
{
	handover_serve(((struct store *)opaque)->handover, call);
}
