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

/* As the kernel's targets are called: 8 bytes of an NAA identifier. Letters are small, so that each name is written in one way. */
static bool set_wwpn(struct spec *spec, const char *value)
{
	struct scsi_spec *scsi = container_of(spec, struct scsi_spec, export.at);

	if (strlen(value) + 1 != sizeof(scsi->wwpn) || strncmp(value, "naa.", 4) != 0 || strspn(value + 4, "0123456789abcdef") != 16)
		return false;
	memcpy(scsi->wwpn, value, sizeof(scsi->wwpn));
	return true;
}

static const char *cuse_problem(const struct spec *spec)
{
	return *scsi_spec_of((const struct export_spec *)spec)->wwpn ? NULL : "wwpn: expected with cuse, the name by which QEMU asks for the target (wwpn=naa. and 16 digits)";
}

/* clang-format off */
static const struct spec_key vhost_user_keys[] = {
	SPEC_KEY_NAME,
	EXPORT_KEY_QUEUES,
	{"initiator", set_initiator, SPEC_NAME_EXPECTED, "NAME"},
	EXPORT_VHOST_USER_KEYS,
};
static const struct spec_key cuse_keys[] = {
	SPEC_KEY_NAME,
	EXPORT_KEY_QUEUES,
	{"initiator", set_initiator, SPEC_NAME_EXPECTED, "NAME"},
	{"wwpn", set_wwpn, "naa. and 16 digits 0 to 9 and a to f", "naa.DIGITS"},
	EXPORT_CUSE_KEYS,
};
/* clang-format on */
static const struct spec_kind vhost_user = ENDPOINT_VHOST_USER(vhost_user_keys);
static const struct spec_kind cuse = ENDPOINT_CUSE_AND(cuse_keys, cuse_problem);
static const struct spec_kind *const rows[] = {&vhost_user, &cuse};

unsigned scsi_spec_queues(const struct export_spec *spec)
{
	return spec->queues ? spec->queues : EXPORT_QUEUES_DEFAULT;
}

const struct spec_kinds scsi_spec_kinds = {
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.spec_bytes = sizeof(struct scsi_spec),
};
