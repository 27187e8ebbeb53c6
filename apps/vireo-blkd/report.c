/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"
#include "export_queue.h"
#include "base/util.h"
#include "vireo/blk.h"
#include "vireo/device.h"
#include "vireo/memory.h"
#include <stddef.h>

struct field {
	const char *name;
	size_t offset;
};

/* clang-format off */
#define FIELD(name) {#name, offsetof(struct vireo_blk_queue_stats, name)}
/* clang-format on */

static const struct field brief_fields[] = {
	FIELD(reads), FIELD(read_bytes), FIELD(writes), FIELD(written_bytes), FIELD(errors),
};
static const struct field fields[] = {
	FIELD(reads),  FIELD(read_bytes), FIELD(writes), FIELD(written_bytes), FIELD(flushes),	 FIELD(discards),
	FIELD(zeroes), FIELD(erases),	  FIELD(errors), FIELD(refused),       FIELD(unsupported), FIELD(no_status),
};

static uint64_t *value(struct vireo_blk_queue_stats *stats, const struct field *field)
{
	return (uint64_t *)(void *)((char *)stats + field->offset);
}

static void add_fields(json_t *object, struct vireo_blk_queue_stats *stats, const struct field *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_object_set_new(object, rows[i].name, json_integer((json_int_t)*value(stats, &rows[i])));
}

static void stats_add(struct vireo_blk_queue_stats *sum, struct vireo_blk_queue_stats *more)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		*value(sum, &fields[i]) += *value(more, &fields[i]);
}

static void export_sum(const struct export *export, struct vireo_blk_queue_stats *sum)
{
	for (unsigned i = 0; i < export->queue_count; i++) {
		struct vireo_blk_queue_stats stats = {.size = sizeof(stats)};

		vireo_blk_queue_stats(export->blk, i, &stats);
		stats_add(sum, &stats);
	}
}

/* ---- exports ---- */

json_t *report_export_brief(const struct export *export)
{
	struct vireo_blk_queue_stats sum = {0};
	json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", export->spec.at.name, "disk", export->spec.disk, "type",
				   export->spec.at.kind->type, "address", export->spec.at.address, "state",
				   export_state(export));
	pid_t peer = export_peer(export);

	export_sum(export, &sum);
	add_fields(object, &sum, brief_fields, ARRAY_SIZE(brief_fields));
	if (peer)
		json_object_set_new(object, "peer_pid", json_integer(peer));
	return object;
}

/* Those that run, or have: of 64 queues a machine of two CPUs starts two. */
static json_t *queue_reports(const struct export *export)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < export->queue_count; i++) {
		struct vireo_blk_queue_stats stats = {.size = sizeof(stats)};
		int worker = export_queue_worker(export, i);
		json_t *object;

		vireo_blk_queue_stats(export->blk, i, &stats);
		if (worker < 0 && !stats.reads && !stats.writes)
			continue;
		object = json_pack("{s:i, s:o}", "queue", (int)i, "worker", worker < 0 ? json_null() : json_integer(worker));
		add_fields(object, &stats, fields, ARRAY_SIZE(fields));
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *memory_report(const struct export *export)
{
	struct vireo_memory_use use;

	vireo_device_memory_use(vireo_blk_device(export->blk), &use);
	return json_pack("{s:I, s:o, s:I, s:I, s:I, s:o}", "mapped_bytes", (json_int_t)use.mapped_bytes, "mapped_max_bytes",
			 json_integer((json_int_t)min_u64(use.mapped_max_bytes, INT64_MAX)), "mappings",
			 (json_int_t)use.mappings, "mappings_max", (json_int_t)use.mappings_max, "made_bytes",
			 (json_int_t)use.made_bytes, "made_max_bytes",
			 use.made_max_bytes == UINT64_MAX ? json_null() : json_integer((json_int_t)use.made_max_bytes));
}

json_t *report_export_full(const struct export *export)
{
	json_t *object = report_export_brief(export), *counters = json_object();
	struct vireo_blk_queue_stats sum = {0};

	export_sum(export, &sum);
	add_fields(counters, &sum, fields, ARRAY_SIZE(fields));
	json_object_set_new(object, "read_only", json_boolean(export_read_only(export)));
	json_object_set_new(object, "writers", json_string(export->spec.use.shared ? "many" : "one"));
	json_object_set_new(object, "queues", json_integer((json_int_t)export->queue_count));
	json_object_set_new(object, "memory", memory_report(export));
	json_object_set_new(object, "counters", counters);
	json_object_set_new(object, "queue_counters", queue_reports(export));
	return object;
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
