/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"
#include "base/util.h"
#include "luns.h"
#include "store/report.h"
#include "vireo/scsi.h"
#include <stddef.h>

struct field {
	const char *name;
	size_t offset;
};

/* clang-format off */
#define FIELD(name) {#name, offsetof(struct vireo_scsi_queue_stats, name)}
/* clang-format on */

static const struct field fields[] = {
	FIELD(commands), FIELD(in_bytes), FIELD(out_bytes), FIELD(conditions),
	FIELD(aborted),	 FIELD(errors),	  FIELD(refused),   FIELD(no_status),
};
#define BRIEF_FIELDS 4u

static uint64_t *value(struct vireo_scsi_queue_stats *stats, const struct field *field)
{
	return (uint64_t *)(void *)((char *)stats + field->offset);
}

static void add_fields(json_t *object, struct vireo_scsi_queue_stats *stats, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_object_set_new(object, fields[i].name, json_integer((json_int_t)*value(stats, &fields[i])));
}

static void export_sum(const struct export *export, struct vireo_scsi_queue_stats *sum)
{
	for (unsigned i = 0; i < export->queue_count; i++) {
		struct vireo_scsi_queue_stats stats = {.size = sizeof(stats)};

		vireo_scsi_queue_stats(scsi_export_of(export)->scsi, i, &stats);
		for (size_t f = 0; f < ARRAY_SIZE(fields); f++)
			*value(sum, &fields[f]) += *value(&stats, &fields[f]);
	}
}

json_t *report_host_brief(const struct export *export)
{
	json_t *object = report_export(export, NULL);
	struct vireo_scsi_queue_stats sum = {0};

	json_object_set_new(object, "luns", json_integer((json_int_t)scsi_export_of(export)->lun_count));
	export_sum(export, &sum);
	add_fields(object, &sum, BRIEF_FIELDS);
	report_export_peer(export, object);
	return object;
}

/* Those that run, or have: of 64 queues a machine of two CPUs starts two. */
static json_t *queue_reports(const struct export *export)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < export->queue_count; i++) {
		struct vireo_scsi_queue_stats stats = {.size = sizeof(stats)};
		int worker = export_queue_worker(export, i);
		json_t *object;

		vireo_scsi_queue_stats(scsi_export_of(export)->scsi, i, &stats);
		if (worker < 0 && !stats.commands)
			continue;
		object = json_pack("{s:i, s:o}", "queue", (int)i, "worker", worker < 0 ? json_null() : json_integer(worker));
		add_fields(object, &stats, ARRAY_SIZE(fields));
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *lun_reports(const struct export *export)
{
	json_t *list = json_array();

	for (const struct lun *lun = scsi_export_of(export)->luns; lun; lun = lun->next)
		json_array_append_new(list, lun_report(lun));
	return list;
}

static json_t *counters_report(const struct export *export)
{
	struct vireo_scsi_stats stats = {.size = sizeof(stats)};
	struct vireo_scsi_queue_stats sum = {0};
	json_t *object = json_object();

	export_sum(export, &sum);
	add_fields(object, &sum, ARRAY_SIZE(fields));
	vireo_scsi_stats(scsi_export_of(export)->scsi, &stats);
	json_object_set_new(object, "managements", json_integer((json_int_t)stats.managements));
	json_object_set_new(object, "managements_refused", json_integer((json_int_t)stats.managements_refused));
	json_object_set_new(object, "events", json_integer((json_int_t)stats.events));
	json_object_set_new(object, "events_lost", json_integer((json_int_t)stats.events_lost));
	return object;
}

json_t *report_host_full(const struct export *export)
{
	const struct scsi_spec *spec = scsi_spec_of(export->spec);
	json_t *object = report_host_brief(export);

	json_object_set_new(object, "initiator", json_string(*spec->initiator ? spec->initiator : spec->export.at.name));
	json_object_set_new(object, "queues", json_integer((json_int_t)export->queue_count));
	json_object_set_new(object, "memory", report_export_memory(export));
	json_object_set_new(object, "counters", counters_report(export));
	json_object_set_new(object, "queue_counters", queue_reports(export));
	json_object_set_new(object, "lun_list", lun_reports(export));
	return object;
}
