/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_REPORT_H
#define BLKD_REPORT_H

/* What the control socket tells, as JSON. */

#include "exports.h"
#include <jansson.h>

json_t *report_disk_brief(const struct store_disk *disk);
json_t *report_disk_full(const struct store_disk *disk);
json_t *report_export_brief(const struct export *export);
json_t *report_export_full(const struct export *export);

json_t *report_disks(const struct disks *disks, json_t *(*report)(const struct store_disk *disk));
json_t *report_exports(const struct exports *exports, json_t *(*report)(const struct export *export));
json_t *report_crew(const struct crew *crew);

#endif
