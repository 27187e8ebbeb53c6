/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_REPORT_H
#define STORE_REPORT_H

/* What the control socket tells, as JSON. */

#include "store/disks.h"
#include "store/exports.h"
#include <jansson.h>

json_t *report_disk_brief(const struct store_disk *disk);
json_t *report_disk_full(const struct store_disk *disk);
json_t *report_disks(const struct disks *disks, json_t *(*report)(const struct store_disk *disk));

/* What all exports have; the rest is their kind's. */
json_t *report_export(const struct export *export, const char *disk); /* NULL: it is not of one disk */
void report_export_peer(const struct export *export, json_t *object);
json_t *report_export_memory(const struct export *export);
json_t *report_exports(const struct exports *exports, json_t *(*report)(const struct export *export));

json_t *report_crew(const struct crew *crew);

#endif
