/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun_commands.h"
#include "ctl/rpc.h"
#include "luns.h"
#include "scsid.h"
#include "store/commands.h"
#include <errno.h>
#include <string.h>

void serve_lun_list(struct rpc_call *call, void *opaque)
{
	const struct store *store = opaque;
	json_t *list = json_array();

	for (const struct export *e = store->exports.first; e; e = e->next)
		for (const struct lun *lun = e->closing ? NULL : scsi_export_of(e)->luns; lun; lun = lun->next)
			json_array_append_new(list, lun_report(lun));
	rpc_call_reply(call, json_pack("{s:o}", "luns", list));
}

static void added(void *opaque, int err, const struct lun *lun, const char *why)
{
	struct rpc_call *call = opaque;
	char name[LUN_NAME_BYTES];

	if (err)
		rpc_call_error(call, err == -EEXIST ? RPC_EXISTS : err == -ENOENT ? RPC_NOT_FOUND : RPC_FAILED, "%s", why);
	else
		rpc_call_reply(call, json_pack("{s:s}", "name", lun_name(lun, name)));
}

void serve_lun_add(struct rpc_call *call, void *opaque)
{
	struct scsid *scsid = scsid_of(opaque);
	const char *text = rpc_call_param(call, "spec");
	char why[SPEC_WHY_BYTES] = "";
	struct lun_spec spec;
	int err = lun_spec_parse(text, &spec, why);

	if (err)
		rpc_call_error(call, RPC_INVALID_PARAMS, "SPEC %.100s: %s", text, why);
	else
		luns_add_aside(scsid, &spec, &scsid->store.daemon.control_log, added, call);
}

/* NULL: there is none, and the call has been answered. */
static struct lun *lun_named(struct rpc_call *call, const struct scsid *scsid)
{
	const char *text = rpc_call_param(call, "lun");
	char why[SPEC_WHY_BYTES] = "";
	struct lun_address at;
	struct lun *lun;

	if (lun_address_parse(text, strlen(text), &at, why)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "LUN %.100s: %s", text, why);
		return NULL;
	}
	lun = luns_find(scsid, &at, why);
	if (!lun)
		rpc_call_error(call, RPC_NOT_FOUND, "%s", why);
	return lun;
}

static void removed(void *opaque)
{
	rpc_call_reply(opaque, json_object());
}

void serve_lun_remove(struct rpc_call *call, void *opaque)
{
	const struct scsid *scsid = scsid_of(opaque);
	struct lun *lun = lun_named(call, scsid);

	if (lun)
		lun_remove(lun, &scsid->store.daemon.control_log, removed, call);
}

void serve_lun_resize(struct rpc_call *call, void *opaque)
{
	const struct lun *lun = lun_named(call, scsid_of(opaque));

	if (lun)
		command_disk_resize(call, opaque, lun->unit->disk);
}
