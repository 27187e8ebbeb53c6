/* SPDX-License-Identifier: BSD-3-Clause */
#include "export_spec.h"
#include "base/util.h"
#include "daemon/endpoint.h"
#include <string.h>

#define QUEUES_DEFAULT 64u /* QEMU asks for one for each CPU of its machine, and takes no less */
#define VDUSE_QUEUES_DEFAULT 1u

static struct export_spec *of(struct spec *spec)
{
	return container_of(spec, struct export_spec, at);
}

/* ---- keys ---- */

static bool set_disk(struct spec *spec, const char *value)
{
	if (!spec_name_valid(value))
		return false;
	memcpy(of(spec)->disk, value, strlen(value) + 1);
	return true;
}

static bool set_queues(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 1, EXPORT_QUEUES_MAX, &n))
		return false;
	of(spec)->queues = (unsigned)n;
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

	if (!length || length > EXPORT_SERIAL_BYTES)
		return false;
	for (size_t i = 0; i < length; i++)
		if (value[i] < '!' || value[i] > '~')
			return false;
	memcpy(of(spec)->serial, value, length + 1);
	return true;
}

/* clang-format off */
#define EXPORT_KEYS \
	SPEC_KEY_NAME, \
	{"disk", set_disk, "the name of a disk", "NAME"}, \
	{"queues", set_queues, "1 to 256", "N"}, \
	{"read-only", set_read_only, "on or off", "on|off"}, \
	{"writers", set_writers, "one or many", "one|many"}, \
	{"serial", set_serial, "1 to 20 letters, digits and signs", "TEXT"}
/*
 * Of daemon/endpoint.h's: all but in-order, since disks complete requests in any order; and postcopy and files, by which a worker
 * may have to wait for a peer's memory: a disk has no thread of its own for that.
 */
#define RING_KEYS \
	{"packed", endpoint_set_packed, "on or off", "on|off"}, \
	{"event-idx", endpoint_set_event_idx, "on or off", "on|off"}, \
	{"indirect", endpoint_set_indirect, "on or off", "on|off"}, \
	{"memory-max", endpoint_set_memory_max, "a size such as 512M, 64G or 2T", "SIZE"}
/* clang-format on */

static const struct spec_key vhost_user_keys[] = {
	EXPORT_KEYS,
	{"mode", endpoint_set_mode, "server or client", "server|client"},
	ENDPOINT_ACCESS_KEYS,
	{"hello-ms", endpoint_set_hello_ms, "1 to 3600000", "MS"},
	{"inband", endpoint_set_inband, "on or off", "on|off"},
	RING_KEYS,
};
static const struct spec_key vduse_keys[] = {
	EXPORT_KEYS,
	{"attach", endpoint_set_attach, "virtio, vhost or none", "virtio|vhost|none"},
	{"queue-size", endpoint_set_queue_size, "a power of two from 2 to 32768", "N"},
	RING_KEYS,
};
static const struct spec_kind vhost_user = ENDPOINT_VHOST_USER(vhost_user_keys), vduse = ENDPOINT_VDUSE(vduse_keys);
static const struct spec_kind *const rows[] = {&vhost_user, &vduse};

static const char *problem(const struct spec *spec)
{
	const struct export_spec *e = (const struct export_spec *)spec;

	if (!*e->disk)
		return "expected disk=NAME: which disk is to be seen there";
	if (e->use.shared && e->use.read_only)
		return "writers: expected without read-only=on, which writes nothing";
	return NULL;
}

unsigned export_spec_queues(const struct export_spec *spec)
{
	if (spec->queues)
		return spec->queues;
	return spec->at.kind == &vduse ? VDUSE_QUEUES_DEFAULT : QUEUES_DEFAULT;
}

const struct spec_kinds export_kinds = {
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.spec_bytes = sizeof(struct export_spec),
	.problem = problem,
};
