/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"
#include "base/util.h"
#include "blk_export.h"
#include "store/export_queue.h"
#include "store/report.h"
#include "vireo/blk.h"
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
	FIELD(zone_commands),
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

		vireo_blk_queue_stats(blk_export_of(export)->blk, i, &stats);
		stats_add(sum, &stats);
	}
}

json_t *report_blk_brief(const struct export *export)
{
	json_t *object = report_export(export, blk_spec_of(export->spec)->disk);
	struct vireo_blk_queue_stats sum = {0};

	export_sum(export, &sum);
	add_fields(object, &sum, brief_fields, ARRAY_SIZE(brief_fields));
	report_export_peer(export, object);
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

		vireo_blk_queue_stats(blk_export_of(export)->blk, i, &stats);
		if (worker < 0 && !stats.reads && !stats.writes)
			continue;
		object = json_pack("{s:i, s:o}", "queue", (int)i, "worker", worker < 0 ? json_null() : json_integer(worker));
		add_fields(object, &stats, fields, ARRAY_SIZE(fields));
		json_array_append_new(list, object);
	}
	return list;
}

json_t *report_blk_full(const struct export *export)
{
	json_t *object = report_blk_brief(export), *counters = json_object();
	struct vireo_blk_queue_stats sum = {0};

	export_sum(export, &sum);
	add_fields(counters, &sum, fields, ARRAY_SIZE(fields));
	json_object_set_new(object, "read_only", json_boolean(blk_export_read_only(export)));
	json_object_set_new(object, "writers", json_string(blk_spec_of(export->spec)->use.shared ? "many" : "one"));
	json_object_set_new(object, "queues", json_integer((json_int_t)export->queue_count));
	json_object_set_new(object, "memory", report_export_memory(export));
	json_object_set_new(object, "counters", counters);
	json_object_set_new(object, "queue_counters", queue_reports(export));
	return object;
}
