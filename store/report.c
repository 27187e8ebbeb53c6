/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/report.h"
#include "base/util.h"
#include "disk/disk.h"
#include "vireo/device.h"
#include "vireo/memory.h"

/* ---- exports ---- */

json_t *report_export(const struct export *export, const char *disk)
{
	const struct spec *at = &export->spec->at;
	json_t *object = json_pack("{s:s, s:s*, s:s, s:s, s:s}", "name", at->name, "disk", disk, "type", at->kind->type, "address",
				   at->address, "state", export_state(export));

	return object;
}

void report_export_peer(const struct export *export, json_t *object)
{
	pid_t peer = export_peer(export);

	if (peer)
		json_object_set_new(object, "peer_pid", json_integer(peer));
}

json_t *report_export_memory(const struct export *export)
{
	struct vireo_memory_use use;

	vireo_device_memory_use(export->device, &use);
	return json_pack("{s:I, s:o, s:I, s:I, s:I, s:o}", "mapped_bytes", (json_int_t)use.mapped_bytes, "mapped_max_bytes",
			 json_integer((json_int_t)min_u64(use.mapped_max_bytes, INT64_MAX)), "mappings",
			 (json_int_t)use.mappings, "mappings_max", (json_int_t)use.mappings_max, "made_bytes",
			 (json_int_t)use.made_bytes, "made_max_bytes",
			 use.made_max_bytes == UINT64_MAX ? json_null() : json_integer((json_int_t)use.made_max_bytes));
}

json_t *report_exports(const struct exports *exports, json_t *(*report)(const struct export *export))
{
	json_t *list = json_array();

	for (const struct export *e = exports->first; e; e = e->next)
		if (!e->closing)
			json_array_append_new(list, report(e));
	return list;
}

/* ---- disks ---- */

json_t *report_disk_brief(const struct store_disk *disk)
{
	char text[DISK_LIMITS_TEXT_BYTES];
	struct disk_limits_info limits;

	disk_limits_get(disk->disk, &limits);
	disk_limits_write(&limits.limits, text);
	return json_pack("{s:s, s:s, s:I, s:i, s:s}", "name", disk->spec.name, "spec", disk->spec.text, "size_bytes",
			 (json_int_t)store_disk_bytes(disk), "exports", (int)disk->users, "limits", text);
}

json_t *report_disk_full(const struct store_disk *disk)
{
	json_t *object = report_disk_brief(disk);

	json_object_set_new(object, "writers", json_integer((json_int_t)disk->writers));
	store_disk_report(disk, object);
	return object;
}

json_t *report_disks(const struct disks *disks, json_t *(*report)(const struct store_disk *disk))
{
	json_t *list = json_array();

	for (const struct store_disk *d = disks->first; d; d = d->next)
		json_array_append_new(list, report(d));
	return list;
}

/* ---- workers ---- */

json_t *report_crew(const struct crew *crew)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < crew_workers(crew); i++) {
		const struct worker *w = crew_worker(crew, i);
		const struct worker_stats *s = &w->stats;

		json_array_append_new(
			list, json_pack("{s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "worker", (int)i, "cpu",
					w->cpu < 0 ? json_null() : json_integer(w->cpu), "loops",
					(json_int_t)counter_read(&s->loops), "busy_loops",
					(json_int_t)counter_read(&s->busy_loops), "wakeups",
					(json_int_t)counter_read(&s->wakeups), "sleeps", (json_int_t)counter_read(&s->sleeps),
					"requests", (json_int_t)counter_read(&s->served), "busy_cycles",
					(json_int_t)counter_read(&s->busy_cycles)));
	}
	return list;
}
