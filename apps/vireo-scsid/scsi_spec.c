/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi_spec.h"
#include "base/util.h"
#include <string.h>

static bool set_initiator(struct spec *spec, const char *value)
{
	if (!spec_name_valid(value))
		return false;
	memcpy(container_of(spec, struct scsi_spec, export.at)->initiator, value, strlen(value) + 1);
	return true;
}

/* clang-format off */
static const struct spec_key vhost_user_keys[] = {
	SPEC_KEY_NAME,
	EXPORT_KEY_QUEUES,
	{"initiator", set_initiator, SPEC_NAME_EXPECTED, "NAME"},
	EXPORT_VHOST_USER_KEYS,
};
/* clang-format on */
static const struct spec_kind vhost_user = ENDPOINT_VHOST_USER(vhost_user_keys);
static const struct spec_kind *const rows[] = {&vhost_user};

unsigned scsi_spec_queues(const struct export_spec *spec)
{
	return spec->queues ? spec->queues : EXPORT_QUEUES_DEFAULT;
}

const struct spec_kinds scsi_spec_kinds = {
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.spec_bytes = sizeof(struct scsi_spec),
};
