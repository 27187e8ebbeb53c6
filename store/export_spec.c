/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/export_spec.h"

bool export_set_queues(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 1, EXPORT_QUEUES_MAX, &n))
		return false;
	container_of(spec, struct export_spec, at)->queues = (unsigned)n;
	return true;
}
