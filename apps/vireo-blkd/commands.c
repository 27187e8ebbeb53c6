/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's side of the command table. All in the control thread. */
#include "commands.h"
#include "ctl/blkd_commands.h"
#include "base/nearest.h"
#include "ctl/rpc.h"
#include "daemon/daemon.h"
#include "daemon/spec_call.h"
#include "disk/forget.h"
#include "disk/limit.h"
#include "exports.h"
#include "report.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- disks ---- */

static void serve_disk_list(struct rpc_call *call, void *opaque)
{
	const struct exports *exports = opaque;

	rpc_call_reply(call, json_pack("{s:o}", "disks", report_disks(exports->disks, report_disk_brief)));
}

static void disk_opened(void *opaque, int err, struct store_disk *disk, const char *why)
{
	struct rpc_call *call = opaque;

	if (err)
		rpc_call_error(call, err == -EEXIST ? RPC_EXISTS : RPC_FAILED, "%s", why);
	else
		rpc_call_reply(call, json_pack("{s:s}", "name", disk->spec.name));
}

static void serve_disk_add(struct rpc_call *call, void *opaque)
{
	const struct exports *exports = opaque;
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
	disks_add_aside(exports->disks, &spec, &exports->control_log, disk_opened, call);
}

static struct store_disk *disk_named(struct rpc_call *call, const struct exports *exports)
{
	const char *name = rpc_call_param(call, "name");
	struct store_disk *disk = disks_find(exports->disks, name);
	struct nearest nearest = nearest_to(name, strlen(name));
	char hint[NEAREST_HINT_BYTES];

	if (disk)
		return disk;
	for (const struct store_disk *d = exports->disks->first; d; d = d->next)
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

static void serve_disk_remove(struct rpc_call *call, void *opaque)
{
	const struct exports *exports = opaque;
	struct store_disk *disk = disk_named(call, exports);

	if (disk)
		disks_remove_aside(exports->disks, disk, &exports->control_log, disk_removed, call);
}

struct resize_call {
	struct exports *exports;
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
	exports_disk_resized(resize.exports, disk);
	rpc_call_reply(resize.call, json_pack("{s:I}", "size_bytes", (json_int_t)store_disk_bytes(disk)));
}

static void serve_disk_resize(struct rpc_call *call, void *opaque)
{
	struct exports *exports = opaque;
	struct store_disk *disk = disk_named(call, exports);
	const char *text = rpc_call_param(call, "size");
	struct resize_call *resize;
	uint64_t bytes = 0;

	if (!disk)
		return;
	if (strcmp(text, "now") != 0 && !parse_size(text, &bytes)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "SIZE %.40s: expected a size such as 20G, or now", text);
		return;
	}
	resize = malloc(sizeof(*resize));
	if (!resize) {
		rpc_call_error(call, RPC_FAILED, "out of memory");
		return;
	}
	*resize = (struct resize_call){exports, call};
	disks_resize_aside(exports->disks, disk, bytes, disk_resized, resize);
}

static void serve_disk_throttle(struct rpc_call *call, void *opaque)
{
	struct exports *exports = opaque;
	struct store_disk *disk = disk_named(call, exports);
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
		exports_disk_layered(exports, disk);
	disk_limits_write(&info.limits, limits);
	rpc_call_reply(call, json_pack("{s:s}", "limits", limits));
}

static void serve_disk_forget(struct rpc_call *call, void *opaque)
{
	const struct store_disk *disk = disk_named(call, opaque);
	int64_t bytes;

	if (!disk)
		return;
	bytes = disk_forget(disk->disk);
	if (bytes < 0)
		rpc_call_error(call, RPC_FAILED, "disk '%s' forgets nothing: open it with forget=SIZE, as in vireo-blkd(8)",
			       disk->spec.name);
	else
		rpc_call_reply(call, json_pack("{s:I}", "forgotten_bytes", (json_int_t)bytes));
}

static void serve_disk_show(struct rpc_call *call, void *opaque)
{
	const struct store_disk *disk = disk_named(call, opaque);

	if (disk)
		rpc_call_reply(call, json_pack("{s:o}", "disk", report_disk_full(disk)));
}

/* ---- exports ---- */

static void serve_export_list(struct rpc_call *call, void *opaque)
{
	rpc_call_reply(call, json_pack("{s:o}", "exports", report_exports(opaque, report_export_brief)));
}

static void export_add(void *opaque, struct rpc_call *call, const struct spec *spec)
{
	struct exports *exports = opaque;
	char why[SPEC_WHY_BYTES] = "";
	struct export *export;
	int err = exports_add(exports, (const struct export_spec *)spec, &exports->control_log, &export, why);

	if (err)
		rpc_call_error(call, err == -EEXIST ? RPC_EXISTS : RPC_FAILED, "%s", why);
	else
		rpc_call_reply(call, json_pack("{s:s}", "name", export->spec.at.name));
}

static void serve_export_add(struct rpc_call *call, void *opaque)
{
	struct exports *exports = opaque;

	spec_call(&exports->lookups, call, export_add, exports);
}

static struct export *export_named(struct rpc_call *call, const struct exports *exports)
{
	const char *name = rpc_call_param(call, "name");
	struct export *export = exports_find(exports, name);
	struct nearest nearest = nearest_to(name, strlen(name));
	char hint[NEAREST_HINT_BYTES];

	if (export)
		return export;
	for (const struct export *e = exports->first; e; e = e->next)
		if (!e->closing)
			nearest_offer(&nearest, e->spec.at.name);
	rpc_call_error(call, RPC_NOT_FOUND, "there is no export '%.64s'%s", name, nearest_hint(&nearest, hint, ""));
	return NULL;
}

static void export_removed(void *opaque)
{
	rpc_call_reply(opaque, json_object());
}

static void serve_export_remove(struct rpc_call *call, void *opaque)
{
	struct export *export = export_named(call, opaque);

	if (export)
		exports_remove(export, export_removed, call);
}

static void serve_export_show(struct rpc_call *call, void *opaque)
{
	const struct export *export = export_named(call, opaque);

	if (export)
		rpc_call_reply(call, json_pack("{s:o}", "export", report_export_full(export)));
}

/* ---- all ---- */

static void serve_stats(struct rpc_call *call, void *opaque)
{
	const struct exports *exports = opaque;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	rpc_call_reply(call, json_pack("{s:I, s:o, s:o, s:o}", "time_us",
				       (json_int_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, "disks",
				       report_disks(exports->disks, report_disk_full), "exports",
				       report_exports(exports, report_export_full), "workers",
				       report_crew(exports->crew)));
}

static void serve_log_level(struct rpc_call *call, void *opaque)
{
	daemon_serve_log_level(call, &((const struct exports *)opaque)->control_log);
}

static void serve_version(struct rpc_call *call, void *opaque)
{
	daemon_serve_version(call, "vireo-blkd");
}

const struct ctl_command blkd_commands[] = {CTL_BLKD_COMMANDS(CTL_ROW_SERVE)};
const size_t blkd_command_count = sizeof(blkd_commands) / sizeof(blkd_commands[0]);
