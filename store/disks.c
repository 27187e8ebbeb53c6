/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/disks.h"
#include "base/log.h"
#include "base/visible.h"
#include "daemon/fault.h"
#include "disk/disk.h"
#include "disk/forget.h"
#include "disk/latency.h"
#include "store/ending.h"
#include "store/sizes.h"
#include "vireo/memory.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- NAME=SPEC ---- */

int store_spec_parse(const char *text, struct store_spec *ret_spec, char why[SPEC_WHY_BYTES])
{
	const char *equals = strchr(text, '=');
	struct store_spec spec = {0};

	if (!equals || equals == text || (size_t)(equals - text) >= sizeof(spec.name)) {
		snprintf(why, SPEC_WHY_BYTES, "expected NAME=TYPE:ADDRESS, with a name of 1 to 63 letters, digits, '.', '_' or '-'");
		return -EINVAL;
	}
	memcpy(spec.name, text, (size_t)(equals - text));
	if (!spec_name_valid(spec.name)) {
		snprintf(why, SPEC_WHY_BYTES, "'%.63s': expected a name of 1 to 63 letters, digits, '.', '_' or '-'", spec.name);
		return -EINVAL;
	}
	if (strlen(equals + 1) >= sizeof(spec.text)) {
		snprintf(why, SPEC_WHY_BYTES, "disk '%s': longer than %u bytes", spec.name, SPEC_ADDRESS_BYTES - 1);
		return -EINVAL;
	}
	memcpy(spec.text, equals + 1, strlen(equals + 1) + 1);
	*ret_spec = spec;
	return disk_spec_check(spec.text, why);
}

bool store_spec_relative(const struct store_spec *spec)
{
	return !strncmp(spec->text, "file:", 5) && spec->text[5] != '/';
}

/* ---- the set of them ---- */

int disks_init(struct disks *disks, const char *user_called)
{
	*disks = (struct disks){.groups = calloc(1, sizeof(*disks->groups)), .user_called = user_called};
	if (!disks->groups)
		return -ENOMEM;
	pthread_mutex_init(&disks->groups->at.lock, NULL);
	disks->groups->users = 1;
	return 0;
}

static struct store_groups *groups_get(struct store_groups *groups)
{
	__atomic_add_fetch(&groups->users, 1, __ATOMIC_RELAXED);
	return groups;
}

static void groups_put(struct store_groups *groups)
{
	if (!groups || __atomic_sub_fetch(&groups->users, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_destroy(&groups->at.lock);
	free(groups);
}

bool disks_fini(struct disks *disks, unsigned patience_ms)
{
	struct disks_end *end = disks->first ? disks_end_new() : NULL;

	sizes_fini(disks);
	while (disks->first) {
		struct store_disk *disk = disks->first;

		disks->first = disk->next;
		if (!store_disk_leave(disk)) /* else a thread has it, which may hang, and which the end of the process ends */
			disks_end_close(end, disk);
	}
	groups_put(disks->groups);
	disks->groups = NULL;
	return disks_end_wait(end, patience_ms);
}

struct store_disk *disks_find(const struct disks *disks, const char *name)
{
	for (struct store_disk *d = disks->first; d; d = d->next)
		if (!strcmp(d->spec.name, name))
			return d;
	return NULL;
}

static void touch(const struct iovec *iov, size_t count)
{
	vireo_memory_touch(iov, count);
}

static const struct disk_guard guard = {.begin = fault_watch, .end = fault_unwatch};

struct store_disk *store_disk_new(struct disks *disks, const struct store_spec *spec)
{
	struct store_disk *disk = calloc(1, sizeof(*disk));

	if (!disk)
		return NULL;
	disk->refs = 1;
	disk->spec = *spec;
	disk->logger = (struct logger){.subject = disk->spec.name};
	disk->groups = groups_get(disks->groups);
	disk->log = logger_log(&disk->logger);
	return disk;
}

int store_disk_open(struct store_disk *disk, const int *handed_fd, char why[SPEC_WHY_BYTES])
{
	const struct disk_config config = {.log = disk->log, .touch = touch, .guard = &guard, .groups = &disk->groups->at, .handed_fd = handed_fd};
	char problem[DISK_WHY_BYTES] = "";
	int err = disk_open(disk->spec.text, &config, &disk->disk, problem);

	if (err)
		snprintf(why, SPEC_WHY_BYTES, "disk '%.63s': %.180s", disk->spec.name, problem);
	return err;
}

void store_disk_free(struct store_disk *disk)
{
	disk_close(disk->disk);
	groups_put(disk->groups);
	free(disk);
}

void store_disk_get(struct store_disk *disk)
{
	__atomic_add_fetch(&disk->refs, 1, __ATOMIC_RELAXED);
}

bool store_disk_leave(struct store_disk *disk)
{
	return __atomic_sub_fetch(&disk->refs, 1, __ATOMIC_ACQ_REL);
}

void store_disk_put(struct store_disk *disk)
{
	if (!store_disk_leave(disk))
		store_disk_free(disk);
}

void disks_link(struct disks *disks, struct store_disk *disk, const struct vireo_log *log)
{
	struct store_disk **end = &disks->first;

	while (*end)
		end = &(*end)->next;
	*end = disk;
	log_info(log, "%s: opened: %s", disk->spec.name, disk->spec.text);
}

int disks_add(struct disks *disks, const struct store_spec *spec, const int *handed_fd, const struct vireo_log *log,
	      struct store_disk **ret_disk, char why[SPEC_WHY_BYTES])
{
	struct store_disk *disk;
	int err;

	if (disks_find(disks, spec->name)) {
		snprintf(why, SPEC_WHY_BYTES, "there is a disk '%s' already: choose another name", spec->name);
		return -EEXIST;
	}
	disk = store_disk_new(disks, spec);
	if (!disk) {
		snprintf(why, SPEC_WHY_BYTES, "out of memory");
		return -ENOMEM;
	}
	err = store_disk_open(disk, handed_fd, why);
	if (err) {
		store_disk_free(disk);
		return err;
	}
	disks_link(disks, disk, log);
	*ret_disk = disk;
	return 0;
}

void disks_unlink(struct disks *disks, struct store_disk *disk)
{
	struct store_disk **at = &disks->first;

	while (*at != disk)
		at = &(*at)->next;
	*at = disk->next;
}

/* ---- who uses it ---- */

static bool writes(const struct store_disk *disk, const struct store_use *use)
{
	return !use->read_only && !store_disk_read_only(disk);
}

int disk_may_use(const struct disks *disks, const struct store_disk *disk, const struct store_use *use, char why[SPEC_WHY_BYTES])
{
	if (disk->shrinking) {
		snprintf(why, SPEC_WHY_BYTES, "disk '%s' is being made smaller: try again when that is done", disk->spec.name);
		return -EBUSY;
	}
	if (!writes(disk, use) || !disk->writers || (disk->shared && use->shared))
		return 0;
	snprintf(why, SPEC_WHY_BYTES,
		 "another %s writes to disk '%s': give this one read-only=on, or both writers=many for a cluster's file system",
		 disks->user_called, disk->spec.name);
	return -EBUSY;
}

void disk_use(struct disks *disks, struct store_disk *disk, const struct store_use *use)
{
	disk->users++;
	sizes_watch(disks);
	if (!writes(disk, use))
		return;
	disk->writers++;
	disk->shared = use->shared;
}

void disk_unuse(struct store_disk *disk, const struct store_use *use)
{
	disk->users--;
	disk->writers -= writes(disk, use);
}

/* ---- what it is ---- */

uint64_t store_disk_bytes(const struct store_disk *disk)
{
	struct disk_info info;

	disk_info_get(disk->disk, &info);
	return info.size_bytes;
}

bool store_disk_read_only(const struct store_disk *disk)
{
	struct disk_info info;

	disk_info_get(disk->disk, &info);
	return info.read_only;
}

static json_t *latency_report(const struct disk *disk)
{
	static const char *const names[DISK_OPS] = {"read", "write", "flush", "discard", "zero", "erase", "zone"};
	json_t *object;

	if (!disk_latency_measured(disk))
		return json_null();
	object = json_object();
	for (unsigned op = 0; op < DISK_OPS; op++) {
		struct disk_latency_info info;

		if (!disk_latency_get(disk, op, &info))
			json_object_set_new(object, names[op],
					    json_pack("{s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)info.count, "min_ns",
						      (json_int_t)info.min_ns, "p50_ns", (json_int_t)info.p50_ns, "p99_ns",
						      (json_int_t)info.p99_ns, "max_ns", (json_int_t)info.max_ns));
	}
	return object;
}

static json_t *forget_report(const struct disk *disk)
{
	struct disk_forget_info info;

	disk_forget_info_get(disk, &info);
	if (!info.max_bytes)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I}", "max_bytes", (json_int_t)info.max_bytes, "held_bytes", (json_int_t)info.held_bytes,
			 "passed", (json_int_t)info.passed, "forgotten_bytes", (json_int_t)info.forgotten_bytes);
}

/* NULL: it has none. */
static json_t *zones_report(const struct disk *disk, const struct disk_info *info)
{
	static const char *const names[DISK_ZONE_STATES] = {
		[DISK_ZONE_CONVENTIONAL] = "conventional", [DISK_ZONE_EMPTY] = "empty",	 [DISK_ZONE_OPENED_BY_WRITE] = "opened_by_write",
		[DISK_ZONE_OPENED] = "opened",		   [DISK_ZONE_CLOSED] = "closed", [DISK_ZONE_FULL] = "full",
		[DISK_ZONE_READ_ONLY] = "read_only",	   [DISK_ZONE_OFFLINE] = "offline",
	};
	uint64_t counts[DISK_ZONE_STATES] = {0}, count = 0;
	struct disk_zone zone;
	json_t *states;

	if (!info->zones.zone_bytes)
		return json_null();
	for (uint64_t at = 0; !disk_zone_get(disk, at, &zone); at = zone.start_bytes + zone.length_bytes, count++)
		counts[zone.state]++;
	states = json_object();
	for (unsigned i = 0; i < DISK_ZONE_STATES; i++)
		json_object_set_new(states, names[i], json_integer((json_int_t)counts[i]));
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "model", "host-managed", "zone_bytes", (json_int_t)info->zones.zone_bytes, "count",
			 (json_int_t)count, "open_max", (json_int_t)info->zones.open_max, "active_max",
			 (json_int_t)info->zones.active_max, "states", states);
}

void store_disk_report(const struct store_disk *disk, json_t *object)
{
	struct disk_limits_info limits;
	struct disk_info info;

	disk_info_get(disk->disk, &info);
	json_object_set_new(object, "kind", json_string(info.kind));
	json_object_set_new(object, "logical_block_bytes", json_integer(info.logical_block_bytes));
	json_object_set_new(object, "physical_block_bytes", json_integer(info.physical_block_bytes));
	json_object_set_new(object, "read_only", json_boolean(info.read_only));
	json_object_set_new(object, "volatile_cache", json_boolean(info.volatile_cache));
	json_object_set_new(object, "rotational", json_boolean(info.rotational));
	json_object_set_new(object, "discard", json_boolean(info.can_discard));
	json_object_set_new(object, "secure_erase", json_boolean(info.can_erase));
	disk_limits_get(disk->disk, &limits);
	json_object_set_new(object, "throttle_group", limits.group ? json_string(limits.group) : json_null());
	json_object_set_new(object, "throttled", json_integer((json_int_t)limits.throttled));
	json_object_set_new(object, "resizing", json_boolean(disk->resizing));
	json_object_set_new(object, "latency", latency_report(disk->disk));
	json_object_set_new(object, "forget", forget_report(disk->disk));
	json_object_set_new(object, "zones", zones_report(disk->disk, &info));
}
