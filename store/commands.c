/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's side of a command table. All in the control thread. */
#include "store/commands.h"
#include "base/nearest.h"
#include "ctl/rpc.h"
#include "daemon/daemon.h"
#include "daemon/spec_call.h"
#include "disk/forget.h"
#include "disk/limit.h"
#include "store/report.h"
#include "store/store.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- disks ---- */

void serve_disk_list(struct rpc_call *call, void *opaque)
{
	const struct store *store = opaque;

	rpc_call_reply(call, json_pack("{s:o}", "disks", report_disks(&store->disks, report_disk_brief)));
}

static void disk_opened(void *opaque, int err, struct store_disk *disk, const char *why)
{
	struct rpc_call *call = opaque;

	if (err)
		rpc_call_error(call, err == -EEXIST ? RPC_EXISTS : RPC_FAILED, "%s", why);
	else
		rpc_call_reply(call, json_pack("{s:s}", "name", disk->spec.name));
}

void serve_disk_add(struct rpc_call *call, void *opaque)
{
	struct store *store = opaque;
	const char *text = rpc_call_param(call, "spec");
	char why[SPEC_WHY_BYTES] = "";
	struct store_spec spec;
	int err = store_spec_parse(text, &spec, why);

	if (err) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "SPEC %.100s: %s", text, why);
		return;
	}
	if (store_spec_relative(&spec)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "SPEC %.100s: expected an absolute path", text);
		return;
	}
	disks_add_aside(&store->disks, &spec, &store->daemon.control_log, disk_opened, call);
}

struct store_disk *command_disk(struct rpc_call *call, const struct store *store, const char *param)
{
	const char *name = rpc_call_param(call, param);
	struct store_disk *disk = disks_find(&store->disks, name);
	struct nearest nearest = nearest_to(name, strlen(name));
	char hint[NEAREST_HINT_BYTES];

	if (disk)
		return disk;
	for (const struct store_disk *d = store->disks.first; d; d = d->next)
		nearest_offer(&nearest, d->spec.name);
	rpc_call_error(call, RPC_NOT_FOUND, "there is no disk '%.64s'%s", name, nearest_hint(&nearest, hint, ""));
	return NULL;
}

static void disk_removed(void *opaque, int err, struct store_disk *disk, const char *why)
{
	struct rpc_call *call = opaque;

	if (err)
		rpc_call_error(call, RPC_FAILED, "%s", why);
	else
		rpc_call_reply(call, json_object());
}

void serve_disk_remove(struct rpc_call *call, void *opaque)
{
	struct store *store = opaque;
	struct store_disk *disk = command_disk(call, store, "name");

	if (disk)
		disks_remove_aside(&store->disks, disk, &store->daemon.control_log, disk_removed, call);
}

struct resize_call {
	struct store *store;
	struct rpc_call *call;
};

static void disk_resized(void *opaque, int err, struct store_disk *disk, const char *why)
{
	struct resize_call resize = *(struct resize_call *)opaque;

	free(opaque);
	if (err) {
		rpc_call_error(resize.call, RPC_FAILED, "%s", why);
		return;
	}
	resize.store->kind->disk_resized(resize.store, disk);
	rpc_call_reply(resize.call, json_pack("{s:I}", "size_bytes", (json_int_t)store_disk_bytes(disk)));
}

void command_disk_resize(struct rpc_call *call, struct store *store, struct store_disk *disk)
{
	const char *text = rpc_call_param(call, "size");
	struct resize_call *resize;
	uint64_t bytes = 0;

	if (strcmp(text, "now") != 0 && !parse_size(text, &bytes)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "SIZE %.40s: expected a size such as 20G, or now", text);
		return;
	}
	resize = malloc(sizeof(*resize));
	if (!resize) {
		rpc_call_error(call, RPC_FAILED, "out of memory");
		return;
	}
	*resize = (struct resize_call){store, call};
	disks_resize_aside(&store->disks, disk, bytes, disk_resized, resize);
}

void serve_disk_resize(struct rpc_call *call, void *opaque)
{
	struct store *store = opaque;
	struct store_disk *disk = command_disk(call, store, "name");

	if (disk)
		command_disk_resize(call, store, disk);
}

void serve_disk_throttle(struct rpc_call *call, void *opaque)
{
	struct store *store = opaque;
	struct store_disk *disk = command_disk(call, store, "name");
	const char *text = rpc_call_param(call, "limits");
	char why[DISK_WHY_BYTES] = "", limits[DISK_LIMITS_TEXT_BYTES];
	struct disk_limits_info info;
	int err;

	if (!disk)
		return;
	disk_limits_get(disk->disk, &info);
	if (disk_limits_parse(text, &info.limits, why)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "LIMITS %.80s: %s", text, why);
		return;
	}
	err = disk_limits_set(disk->disk, &info.limits);
	if (err < 0) {
		rpc_call_error(call, RPC_FAILED, "disk '%s' gets no limits: %s", disk->spec.name, strerror(-err));
		return;
	}
	if (err)
		store->kind->disk_layered(store, disk);
	disk_limits_write(&info.limits, limits);
	rpc_call_reply(call, json_pack("{s:s}", "limits", limits));
}

void serve_disk_forget(struct rpc_call *call, void *opaque)
{
	const struct store *store = opaque;
	const struct store_disk *disk = command_disk(call, store, "name");
	int64_t bytes;

	if (!disk)
		return;
	bytes = disk_forget(disk->disk);
	if (bytes < 0)
		rpc_call_error(call, RPC_FAILED, "disk '%s' forgets nothing: open it with forget=SIZE, as in %s(8)",
			       disk->spec.name, store->kind->program);
	else
		rpc_call_reply(call, json_pack("{s:I}", "forgotten_bytes", (json_int_t)bytes));
}

void serve_disk_show(struct rpc_call *call, void *opaque)
{
	const struct store_disk *disk = command_disk(call, opaque, "name");

	if (disk)
		rpc_call_reply(call, json_pack("{s:o}", "disk", report_disk_full(disk)));
}

/* ---- exports ---- */

void serve_export_list(struct rpc_call *call, void *opaque)
{
	const struct store *store = opaque;

	rpc_call_reply(call, json_pack("{s:o}", "exports", report_exports(&store->exports, store->kind->exports->brief)));
}

struct export_call {
	struct store *store;
	struct rpc_call *call;
};

static void export_free_to_add(void *opaque, int err, const struct spec *spec, const char *said)
{
	struct export_call c = *(struct export_call *)opaque;
	char why[SPEC_WHY_BYTES] = "";
	struct export *export;

	free(opaque);
	if (!err) {
		err = exports_add(&c.store->exports, (const struct export_spec *)spec, &c.store->daemon.control_log, &export, why);
		said = why;
	}
	if (err) {
		rpc_call_error(c.call, err == -EEXIST ? RPC_EXISTS : RPC_FAILED, "%s", said);
		return;
	}
	export_text_set(export, rpc_call_param(c.call, "spec"));
	rpc_call_reply(c.call, json_pack("{s:s}", "name", export->spec->at.name));
}

static void export_add(void *opaque, struct rpc_call *call, const struct spec *spec)
{
	struct store *store = opaque;
	struct export_call *c = malloc(sizeof(*c));

	if (!c) {
		rpc_call_error(call, RPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	*c = (struct export_call){store, call};
	lookups_held_up(&store->exports.lookups, spec, export_free_to_add, c);
}

void serve_export_add(struct rpc_call *call, void *opaque)
{
	struct store *store = opaque;

	spec_call(&store->exports.lookups, call, export_add, store);
}

struct export *command_export(struct rpc_call *call, const struct store *store, const char *name)
{
	struct export *export = exports_find(&store->exports, name);
	struct nearest nearest = nearest_to(name, strlen(name));
	char hint[NEAREST_HINT_BYTES];

	if (export)
		return export;
	for (const struct export *e = store->exports.first; e; e = e->next)
		if (!e->closing)
			nearest_offer(&nearest, e->spec->at.name);
	rpc_call_error(call, RPC_NOT_FOUND, "there is no export '%.64s'%s", name, nearest_hint(&nearest, hint, ""));
	return NULL;
}

static void export_removed(void *opaque)
{
	rpc_call_reply(opaque, json_object());
}

void serve_export_remove(struct rpc_call *call, void *opaque)
{
	struct export *export = command_export(call, opaque, rpc_call_param(call, "name"));

	if (export)
		exports_remove(export, export_removed, call);
}

void serve_export_show(struct rpc_call *call, void *opaque)
{
	const struct store *store = opaque;
	const struct export *export = command_export(call, store, rpc_call_param(call, "name"));

	if (export)
		rpc_call_reply(call, json_pack("{s:o}", "export", store->kind->exports->full(export)));
}

/* ---- all ---- */

void serve_stats(struct rpc_call *call, void *opaque)
{
	const struct store *store = opaque;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	rpc_call_reply(call, json_pack("{s:I, s:o, s:o, s:o}", "time_us",
				       (json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, "disks",
				       report_disks(&store->disks, report_disk_full), "exports",
				       report_exports(&store->exports, store->kind->exports->full), "workers",
				       report_crew(store->exports.crew)));
}

void serve_log_level(struct rpc_call *call, void *opaque)
{
	daemon_serve_log_level(call, &((const struct store *)opaque)->daemon.control_log);
}

void serve_version(struct rpc_call *call, void *opaque)
{
	daemon_serve_version(call, ((const struct store *)opaque)->kind->program);
}
