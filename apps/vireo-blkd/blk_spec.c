/* SPDX-License-Identifier: BSD-3-Clause */
#include "blk_spec.h"
#include "base/util.h"
#include <stdlib.h>
#include <string.h>

#define VDUSE_QUEUES_DEFAULT 1u

static struct blk_spec *of(struct spec *spec)
{
	return container_of(spec, struct blk_spec, export.at);
}

/* ---- keys ---- */

static bool set_disk(struct spec *spec, const char *value)
{
	if (!spec_name_valid(value))
		return false;
	memcpy(of(spec)->disk, value, strlen(value) + 1);
	return true;
}

static bool set_read_only(struct spec *spec, const char *value)
{
	of(spec)->use.read_only = !strcmp(value, "on");
	return of(spec)->use.read_only || !strcmp(value, "off");
}

static bool set_writers(struct spec *spec, const char *value)
{
	of(spec)->use.shared = !strcmp(value, "many");
	return of(spec)->use.shared || !strcmp(value, "one");
}

/* What a driver reads is text of 20 bytes. */
static bool set_serial(struct spec *spec, const char *value)
{
	size_t length = strlen(value);

	if (!length || length > BLK_SERIAL_BYTES)
		return false;
	for (size_t i = 0; i < length; i++)
		if (value[i] < '!' || value[i] > '~')
			return false;
	memcpy(of(spec)->serial, value, length + 1);
	return true;
}

/* As eMMC has it: what is left of spare blocks, and how much of SLC and MLC cells has been used. */
static bool set_lifetime(struct spec *spec, const char *value)
{
	struct vireo_blk_lifetime *lifetime = &of(spec)->lifetime;
	uint16_t *const numbers[] = {&lifetime->pre_eol_info, &lifetime->used_a, &lifetime->used_b};
	static const uint16_t most[] = {3, 11, 11};

	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		char *end;
		unsigned long number = strtoul(value, &end, 10);

		if (*value < '0' || *value > '9' || number > most[i] || *end != (i + 1 < ARRAY_SIZE(numbers) ? '/' : '\0'))
			return false;
		*numbers[i] = (uint16_t)number;
		value = end + 1;
	}
	return of(spec)->lifetime_told = true;
}

/* clang-format off */
#define BLK_KEYS \
	SPEC_KEY_NAME, \
	{"disk", set_disk, "the name of a disk", "NAME"}, \
	EXPORT_KEY_QUEUES, \
	{"read-only", set_read_only, "on or off", "on|off"}, \
	{"writers", set_writers, "one or many", "one|many"}, \
	{"serial", set_serial, "1 to 20 letters, digits and signs", "TEXT"}, \
	{"lifetime", set_lifetime, "three numbers up to 3, 11 and 11", "EOL/A/B"}
/* clang-format on */

static const struct spec_key vhost_user_keys[] = {BLK_KEYS, EXPORT_VHOST_USER_KEYS};
static const struct spec_key vduse_keys[] = {BLK_KEYS, EXPORT_VDUSE_KEYS};
static const struct spec_kind vhost_user = ENDPOINT_VHOST_USER(vhost_user_keys), vduse = ENDPOINT_VDUSE(vduse_keys);
static const struct spec_kind *const rows[] = {&vhost_user, &vduse};

static const char *problem(const struct spec *spec)
{
	const struct blk_spec *e = (const struct blk_spec *)spec;

	if (!*e->disk)
		return "expected disk=NAME: which disk is to be seen there";
	if (e->use.shared && e->use.read_only)
		return "writers: expected without read-only=on, which writes nothing";
	return NULL;
}

unsigned blk_spec_queues(const struct export_spec *spec)
{
	if (spec->queues)
		return spec->queues;
	return spec->at.kind == &vduse ? VDUSE_QUEUES_DEFAULT : EXPORT_QUEUES_DEFAULT;
}

const struct spec_kinds blk_spec_kinds = {
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.spec_bytes = sizeof(struct blk_spec),
	.problem = problem,
};
