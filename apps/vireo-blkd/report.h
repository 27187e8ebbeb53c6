/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_REPORT_H
#define BLKD_REPORT_H

/* What the control socket tells of an export, as JSON. */

#include <jansson.h>

struct export;

json_t *report_blk_brief(const struct export *export);
json_t *report_blk_full(const struct export *export);

#endif
