/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/takeover.h"
#include "base/log.h"
#include "daemon/handover.h"
#include "disk/disk.h"
#include "disk/limit.h"
#include "store/handover.h"
#include "store/store.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct store_takeover {
	struct store *store;
	struct takeover *takeover;
	json_t *state;
};

static int state_parse(struct store_takeover *t, const struct parcel *parcel)
{
	char why[SPEC_WHY_BYTES];
	json_error_t error;
	json_int_t version;

	t->state = json_loadb((const char *)parcel->data, parcel->bytes, JSON_REJECT_DUPLICATES, &error);
	version = json_integer_value(json_object_get(t->state, "version"));
	if (!t->state)
		snprintf(why, sizeof(why), "what it says of itself is no JSON: %.80s", error.text);
	else if (version == store_handover_version(t->store) && json_is_array(json_object_get(t->state, "disks")) &&
		 json_is_array(json_object_get(t->state, "exports")))
		return 0;
	else
		snprintf(why, sizeof(why), "what it says of itself is of version %" JSON_INTEGER_FORMAT ", and not of %u", version,
			 store_handover_version(t->store));
	return takeover_complain(t->takeover, why);
}

/* ---- disks ---- */

/* A disk that has had none all the time is not given a layer for them. */
static int limits_take(struct store_disk *disk, const char *told, char why[SPEC_WHY_BYTES])
{
	char text[DISK_LIMITS_TEXT_BYTES];
	struct disk_limits_info info;
	int err;

	disk_limits_get(disk->disk, &info);
	disk_limits_write(&info.limits, text);
	if (!strcmp(text, told))
		return 0;
	err = disk_limits_parse("off", &info.limits, why);
	if (!err)
		err = disk_limits_parse(told, &info.limits, why);
	if (err)
		return err;
	err = disk_limits_set(disk->disk, &info.limits);
	if (err >= 0)
		return 0;
	snprintf(why, SPEC_WHY_BYTES, "disk '%.63s' gets no limits: %s", disk->spec.name, strerror(-err));
	return err;
}

static int disk_make(const struct store_takeover *t, const json_t *told, const int *fd, char why[SPEC_WHY_BYTES])
{
	const char *text = json_string_value(json_object_get(told, "spec")), *limits = json_string_value(json_object_get(told, "limits"));
	json_int_t size = json_integer_value(json_object_get(told, "size"));
	struct store_disk *disk;
	struct store_spec spec;
	int err;

	snprintf(why, SPEC_WHY_BYTES, "a disk without its SPEC or its limits");
	if (!text || !limits)
		return -EINVAL;
	err = store_spec_parse(text, &spec, why);
	if (!err)
		err = disks_add(&t->store->disks, &spec, fd, &t->store->daemon.log, &disk, why);
	if (err)
		return err;
	err = limits_take(disk, limits, why);
	if (!err && (uint64_t)size != store_disk_bytes(disk)) { /* its drivers are to hear of it, from who has told them the other one */
		snprintf(why, SPEC_WHY_BYTES, "disk '%.63s' has another size by now: try again", spec.name);
		err = -EAGAIN;
	}
	return err;
}

static int disk_take_over(const struct store_takeover *t, const json_t *told)
{
	char why[SPEC_WHY_BYTES] = "";
	struct parcel parcel;
	int err;

	if (!json_is_true(json_object_get(told, "fd"))) {
		err = disk_make(t, told, NULL, why);
		return err ? takeover_complain(t->takeover, why) : 0;
	}
	err = takeover_next(t->takeover, HANDOVER_PART, &parcel);
	if (err)
		return err;
	if (parcel.fd_count == 1 && !parcel.bytes) {
		err = disk_make(t, told, parcel.fds, why);
	} else {
		snprintf(why, sizeof(why), "a disk is not handed over so");
		err = -EINVAL;
	}
	parcel_free(&parcel);
	return err ? takeover_complain(t->takeover, why) : 0;
}

/* ---- exports ---- */

static int export_make(const struct store_takeover *t, const char *text, const struct vireo_endpoint_state *state, char why[SPEC_WHY_BYTES])
{
	struct exports *exports = &t->store->exports;
	struct export_spec *spec = malloc(exports->kind->specs->spec_bytes);
	struct export *export;
	int err;

	snprintf(why, SPEC_WHY_BYTES, "out of memory");
	if (!spec)
		return -ENOMEM;
	err = spec_parse(exports->kind->specs, text, &spec->at, why);
	if (!err && spec->at.kind->endpoint != &endpoint_vhost_user) {
		snprintf(why, SPEC_WHY_BYTES, "an export is of a type that is not handed over");
		err = -EINVAL;
	}
	exports->state = state;
	if (!err)
		err = exports_add(exports, spec, &t->store->daemon.log, &export, why);
	exports->state = NULL;
	if (!err)
		export_text_set(export, text);
	free(spec);
	return err;
}

static int export_take_over(const struct store_takeover *t, const json_t *told)
{
	const char *text = json_string_value(json_object_get(told, "spec"));
	struct vireo_endpoint_state state = {.size = sizeof(state)};
	char why[SPEC_WHY_BYTES] = "";
	struct parcel parcel;
	int err;

	if (!text)
		return takeover_complain(t->takeover, "an export without its SPEC");
	err = takeover_next(t->takeover, HANDOVER_PART, &parcel);
	if (err)
		return err;
	state.data = parcel.data;
	state.bytes = parcel.bytes;
	state.fds = parcel.fds;
	state.fd_count = parcel.fd_count;
	err = export_make(t, text, &state, why);
	parcel_free(&parcel);
	return err ? takeover_complain(t->takeover, why) : 0;
}

/* ---- all of it ---- */

static int all_take(struct store_takeover *t)
{
	const json_t *disks, *exports;
	struct parcel parcel;
	int err = takeover_state(t->takeover, &parcel);

	if (err)
		return err;
	err = state_parse(t, &parcel);
	parcel_free(&parcel);
	disks = json_object_get(t->state, "disks");
	exports = json_object_get(t->state, "exports");
	for (size_t i = 0; !err && i < json_array_size(disks); i++)
		err = disk_take_over(t, json_array_get(disks, i));
	for (size_t i = 0; !err && i < json_array_size(exports); i++)
		err = export_take_over(t, json_array_get(exports, i));
	if (!err && t->store->kind->more)
		err = t->store->kind->more->take(t->store, t->takeover, json_object_get(t->state, "more"));
	return err ? err : takeover_answer(t->takeover);
}

static void all_go_on(struct store *store)
{
	for (struct store_disk *d = store->disks.first; d; d = d->next)
		disk_take(d->disk);
	for (struct export *e = store->exports.first; e; e = e->next)
		vireo_endpoint_go_on(e->endpoint);
}

int store_take_over(struct store *store)
{
	struct store_takeover t = {.store = store};
	int err = takeover_new(&store->daemon, store->kind->name, "daemon", store_handover_version(store), 0, NULL, &t.takeover);

	if (!err)
		err = all_take(&t);
	if (!err) {
		store->daemon.taken_fd = takeover_control_fd(t.takeover);
		all_go_on(store);
		takeover_gone_on(t.takeover);
	}
	takeover_free(t.takeover);
	json_decref(t.state);
	return err;
}
