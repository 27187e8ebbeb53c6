/* SPDX-License-Identifier: BSD-3-Clause */
#include "spec.h"
#include "base/util.h"
#include "base/visible.h"
#include "daemon/parse.h"
#include "switch/switch.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include "vireo/pci.h"
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE(t) (1u << (t))

static const char *const type_names[] = {
	[SPEC_VHOST_USER] = "vhost-user",
	[SPEC_VDUSE] = "vduse",
	[SPEC_CUSE] = "cuse",
	[SPEC_TAP] = "tap",
	[SPEC_VIRTIO_PCI] = "virtio-pci",
	[SPEC_NULL] = "null",
};

const char *spec_type_name(enum spec_type type)
{
	return type_names[type];
}

static bool is_name(const char *text, const char *key)
{
	const char *value = strstr(text, key);

	return value && !isdigit((unsigned char)value[strlen(key)]);
}

bool spec_has_names(const char *text)
{
	return is_name(text, ",user=") || is_name(text, ",group=");
}

static bool name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= SPEC_NAME_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

/* ---- one function per key: false if the value is not what `expected` says ---- */

static bool set_name(struct spec *spec, const char *value)
{
	if (!name_valid(value))
		return false;
	snprintf(spec->name, sizeof(spec->name), "%s", value);
	spec->name_given = true;
	return true;
}

static bool set_mode(struct spec *spec, const char *value)
{
	spec->client = !strcmp(value, "client");
	return spec->client || !strcmp(value, "server");
}

static bool set_queues(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 1, SW_QUEUES_MAX, &n))
		return false;
	spec->queues = (unsigned)n;
	return true;
}

static bool set_one_queue(struct spec *spec, const char *value)
{
	return set_queues(spec, value) && spec->queues == 1;
}

static bool set_mtu(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 68, 65535, &n))
		return false;
	spec->mtu = (uint16_t)n;
	return true;
}

static bool mac_parse(const char **value, uint8_t mac[6])
{
	const char *at = *value;

	for (unsigned i = 0; i < 6; i++, at += 2) {
		char digits[3];

		if (i && *at++ != ':')
			return false;
		if (!isxdigit((unsigned char)at[0]) || !isxdigit((unsigned char)at[1]))
			return false;
		digits[0] = at[0];
		digits[1] = at[1];
		digits[2] = '\0';
		mac[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	*value = at;
	return !(mac[0] & 1) && memcmp(mac, "\0\0\0\0\0", 6) != 0;
}

/* A, or A+B+... */
static bool set_mac(struct spec *spec, const char *value)
{
	const char *end;

	spec->mac_count = 0;
	do {
		if (spec->mac_count == SPEC_MACS_MAX || !mac_parse(&value, spec->macs[spec->mac_count]))
			return false;
		spec->mac_count++;
		end = value++;
	} while (*end == '+');
	spec->set_mac = true;
	return !*end;
}

static bool set_spoof(struct spec *spec, const char *value)
{
	spec->spoof_given = true;
	spec->spoof_allowed = !strcmp(value, "allow");
	return spec->spoof_allowed || !strcmp(value, "deny");
}

static bool set_user(struct spec *spec, const char *value)
{
	spec->set_user = true;
	return parse_user(value, &spec->user);
}

static bool set_group(struct spec *spec, const char *value)
{
	spec->set_group = true;
	return parse_group(value, &spec->group);
}

static bool set_perm(struct spec *spec, const char *value)
{
	size_t len = strlen(value);

	if (len < 3 || len > 4 || strspn(value, "01234567") != len || (len == 4 && *value != '0'))
		return false;
	spec->perm = (mode_t)strtoul(value, NULL, 8);
	return spec->perm != 0;
}

static bool set_attach(struct spec *spec, const char *value)
{
	static const char *const names[] = {
		[VIREO_ATTACH_NONE] = "none",
		[VIREO_ATTACH_VIRTIO] = "virtio",
		[VIREO_ATTACH_VHOST] = "vhost",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(value, names[i]) != 0)
			continue;
		spec->attach = i;
		return true;
	}
	return false;
}

static bool set_queue_size(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 2, 32768, &n) || (n & (n - 1)))
		return false;
	spec->queue_size = (unsigned)n;
	return true;
}

static bool set_ring_feature(struct spec *spec, const char *value, unsigned bit)
{
	bool off = !strcmp(value, "off");

	if (off)
		spec->ring_features_off |= VIREO_FEATURE(bit);
	else
		spec->ring_features_off &= ~VIREO_FEATURE(bit);
	return off || !strcmp(value, "on");
}

static bool set_packed(struct spec *spec, const char *value)
{
	return set_ring_feature(spec, value, VIREO_F_RING_PACKED_BIT);
}

static bool set_event_idx(struct spec *spec, const char *value)
{
	return set_ring_feature(spec, value, VIREO_F_RING_EVENT_IDX_BIT);
}

static bool set_indirect(struct spec *spec, const char *value)
{
	return set_ring_feature(spec, value, VIREO_F_RING_INDIRECT_DESC_BIT);
}

static bool set_in_order(struct spec *spec, const char *value)
{
	return set_ring_feature(spec, value, VIREO_F_IN_ORDER_BIT);
}

static bool set_files(struct spec *spec, const char *value)
{
	spec->any_files = !strcmp(value, "any");
	return spec->any_files || !strcmp(value, "memory");
}

static bool set_memory_max(struct spec *spec, const char *value)
{
	return parse_size(value, &spec->memory_max_bytes);
}

static const struct spec_key {
	const char *name;
	unsigned types; /* that take it */
	bool (*set)(struct spec *spec, const char *value);
	const char *expected;
} keys[] = {
	{"name", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE) | TYPE(SPEC_TAP) | TYPE(SPEC_VIRTIO_PCI),
	 set_name,
	 "1 to 63 letters, digits, '.', '_' or '-'"},
	{"mode", TYPE(SPEC_VHOST_USER), set_mode, "server or client"},
	{"queues", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_TAP) | TYPE(SPEC_VIRTIO_PCI), set_queues,
	 "1 to 128"},
	{"queues", TYPE(SPEC_VDUSE), set_one_queue, "1: the kernel takes no control queue, and so no second pair"},
	{"mtu", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE) | TYPE(SPEC_TAP) | TYPE(SPEC_VIRTIO_PCI),
	 set_mtu, "68 to 65535"},
	{"mac", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE), set_mac,
	 "a unicast address such as 52:54:00:12:34:56, or up to 8 with '+' between them"},
	{"spoof", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_VDUSE), set_spoof, "deny or allow"},
	{"user", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE), set_user, "a user's name or number"},
	{"group", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE), set_group, "a group's name or number"},
	{"perm", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE), set_perm, "an octal mode such as 0660"},
	{"attach", TYPE(SPEC_VDUSE), set_attach, "virtio, vhost or none"},
	{"queue-size", TYPE(SPEC_VDUSE), set_queue_size, "a power of two from 2 to 32768"},
	{"packed", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE), set_packed, "on or off"},
	{"event-idx", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE), set_event_idx, "on or off"},
	{"indirect", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE), set_indirect, "on or off"},
	{"in-order", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE), set_in_order, "on or off"},
	{"files", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE), set_files, "memory or any"},
	{"memory-max", TYPE(SPEC_VHOST_USER) | TYPE(SPEC_CUSE) | TYPE(SPEC_VDUSE), set_memory_max,
	 "a size such as 512M, 64G or 2T"},
};

static void keys_of(enum spec_type type, char *list, size_t bytes)
{
	size_t n = 0;

	*list = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if ((keys[i].types & TYPE(type)) && n < bytes)
			n += (size_t)snprintf(list + n, bytes - n, "%s%s", n ? " " : "", keys[i].name);
	if (!n)
		snprintf(list, bytes, "none");
}

static int option_parse(struct spec *spec, char *option, char *why)
{
	char *value = strchr(option, '=');
	char list[160];

	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].name, option) != 0 || !(keys[i].types & TYPE(spec->type)))
			continue;
		if (value && keys[i].set(spec, value))
			return 0;
		snprintf(why, SPEC_WHY_BYTES, "'%.20s=%.60s': expected %s", option, value ? value : "",
			 keys[i].expected);
		return -EINVAL;
	}
	keys_of(spec->type, list, sizeof(list));
	snprintf(why, SPEC_WHY_BYTES, "unknown key '%.40s': expected one of: %s", option, list);
	return -EINVAL;
}

static int address_check(const struct spec *spec, char *why)
{
	const char *problem = NULL;

	if (!*spec->address)
		problem = "nothing after the colon";
	else if (spec->type == SPEC_TAP &&
		 (strlen(spec->address) >= IFNAMSIZ || strpbrk(spec->address, "/ %:")))
		problem = "an interface's name has 1 to 15 characters, no '/', ':', '%' or blank";
	else if (spec->type == SPEC_VDUSE && (!name_valid(spec->address) || !isalnum((unsigned char)*spec->address) ||
					      !strcmp(spec->address, "control")))
		problem = "a device's name has 1 to 63 letters, digits, '.', '_' or '-', begins with one of the "
			  "first two, and is not control";
	else if (spec->type == SPEC_VIRTIO_PCI && !vireo_pci_address_valid(spec->address))
		problem = "expected the address of a PCI function such as 0000:00:04.0";
	else if (spec->type == SPEC_NULL && !name_valid(spec->address))
		problem = "a name has 1 to 63 letters, digits, '.', '_' or '-'";
	else if (spec->type == SPEC_CUSE && (!name_valid(spec->address) || *spec->address == '.'))
		problem = "a name has 1 to 63 letters, digits, '.', '_' or '-', and does not begin with '.'";
	else if (spec->type == SPEC_VHOST_USER && spec->address[strlen(spec->address) - 1] == '/')
		problem = "expected the path of a socket, this ends in '/'";
	if (!problem)
		return 0;
	snprintf(why, SPEC_WHY_BYTES, "address '%.60s': %s", spec->address, problem);
	return -EINVAL;
}

/* /run/vm1.sock -> vm1; what a name cannot hold becomes '-'. */
static void name_derive(struct spec *spec)
{
	const char *slash = strrchr(spec->address, '/');
	const char *base = slash && spec->type == SPEC_VHOST_USER ? slash + 1 : spec->address;
	size_t len = strlen(base);

	if (spec->type == SPEC_VHOST_USER && len > 5 && !strcmp(base + len - 5, ".sock"))
		len -= 5;
	if (len >= SPEC_NAME_BYTES - 5) /* room for "-4096" */
		len = SPEC_NAME_BYTES - 6;
	memcpy(spec->name, base, len);
	spec->name[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)spec->name[i]) && !strchr("._-", spec->name[i]))
			spec->name[i] = '-';
}

static int type_parse(const char *text, struct spec *spec, const char **ret_rest, char *why)
{
	for (unsigned t = 0; t < ARRAY_SIZE(type_names); t++) {
		size_t len = strlen(type_names[t]);

		if (strncmp(text, type_names[t], len) != 0 || text[len] != ':')
			continue;
		spec->type = (enum spec_type)t;
		*ret_rest = text + len + 1;
		return 0;
	}
	snprintf(why, SPEC_WHY_BYTES,
		 "'%.60s': expected vhost-user:PATH, vduse:NAME, cuse:NAME, tap:INTERFACE, virtio-pci:ADDRESS or null:NAME",
		 text);
	return -EINVAL;
}

static int parts_parse(struct spec *spec, char *parts, char *why)
{
	char *rest = parts;
	const char *address = strsep(&rest, ",");

	if (strlen(address) >= sizeof(spec->address)) {
		snprintf(why, SPEC_WHY_BYTES, "address '%.40s...': longer than %u bytes", address,
			 SPEC_ADDRESS_BYTES - 1);
		return -EINVAL;
	}
	memcpy(spec->address, address, strlen(address) + 1);
	while (rest) {
		int err = option_parse(spec, strsep(&rest, ","), why);

		if (err)
			return err;
	}
	return address_check(spec, why);
}

int spec_parse(const char *text, struct spec *ret_spec, char why[SPEC_WHY_BYTES])
{
	struct spec spec = {.queues = 1, .attach = VIREO_ATTACH_VIRTIO};
	const char *rest;
	char *parts;
	int err;

	if (!visible_is(text)) { /* it goes into logs and tables, and into JSON, which knows UTF-8 only */
		snprintf(why, SPEC_WHY_BYTES, "expected no control characters, and bytes that are UTF-8");
		return -EINVAL;
	}
	err = type_parse(text, &spec, &rest, why);
	if (err)
		return err;
	parts = strdup(rest);
	if (!parts) {
		snprintf(why, SPEC_WHY_BYTES, "out of memory");
		return -EINVAL;
	}
	err = parts_parse(&spec, parts, why);
	free(parts);
	if (err)
		return err;
	if (!spec.name_given)
		name_derive(&spec);
	if (spec.client && (spec.set_user || spec.set_group || spec.perm)) {
		snprintf(why, SPEC_WHY_BYTES, "user, group and perm: expected only with mode=server");
		return -EINVAL;
	}
	if (spec.spoof_given && !spec.set_mac) {
		snprintf(why, SPEC_WHY_BYTES, "spoof: expected only with mac=, which says what addresses the port may use");
		return -EINVAL;
	}
	*ret_spec = spec;
	return 0;
}
