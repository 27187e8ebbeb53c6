/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_REPORT_H
#define SCSID_REPORT_H

/* What the control socket tells of an export, as JSON. */

#include <jansson.h>

struct export;

json_t *report_host_brief(const struct export *export);
json_t *report_host_full(const struct export *export);

#endif
