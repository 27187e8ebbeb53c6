/* SPDX-License-Identifier: BSD-3-Clause */
/* What all sorts of endpoints have in common: keys, and how one is opened. */
#include "daemon/endpoint.h"
#include "daemon/aside.h"
#include "vireo/device.h"
#include "vireo/endpoint.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys ---- */

static bool ring_feature_set(struct spec *spec, const char *value, unsigned bit)
{
	bool off = !strcmp(value, "off");

	if (off)
		spec->endpoint.ring_features_off |= VIREO_FEATURE(bit);
	else
		spec->endpoint.ring_features_off &= ~VIREO_FEATURE(bit);
	return off || !strcmp(value, "on");
}

bool endpoint_set_packed(struct spec *spec, const char *value)
{
	return ring_feature_set(spec, value, VIREO_F_RING_PACKED_BIT);
}

bool endpoint_set_event_idx(struct spec *spec, const char *value)
{
	return ring_feature_set(spec, value, VIREO_F_RING_EVENT_IDX_BIT);
}

bool endpoint_set_indirect(struct spec *spec, const char *value)
{
	return ring_feature_set(spec, value, VIREO_F_RING_INDIRECT_DESC_BIT);
}

bool endpoint_set_in_order(struct spec *spec, const char *value)
{
	return ring_feature_set(spec, value, VIREO_F_IN_ORDER_BIT);
}

bool endpoint_set_files(struct spec *spec, const char *value)
{
	spec->endpoint.any_files = !strcmp(value, "any");
	return spec->endpoint.any_files || !strcmp(value, "memory");
}

bool endpoint_set_memory_max(struct spec *spec, const char *value)
{
	return parse_size(value, &spec->endpoint.memory_max_bytes);
}

bool endpoint_set_user(struct spec *spec, const char *value)
{
	spec->endpoint.set_user = true;
	return parse_user(value, &spec->endpoint.user);
}

bool endpoint_set_group(struct spec *spec, const char *value)
{
	spec->endpoint.set_group = true;
	return parse_group(value, &spec->endpoint.group);
}

bool endpoint_set_perm(struct spec *spec, const char *value)
{
	size_t len = strlen(value);

	if (len < 3 || len > 4 || strspn(value, "01234567") != len || (len == 4 && *value != '0'))
		return false;
	spec->endpoint.perm = (mode_t)strtoul(value, NULL, 8);
	return spec->endpoint.perm != 0;
}

/* ---- opening ---- */

struct vireo_endpoint_access endpoint_access(const struct spec *spec)
{
	const struct spec_endpoint *e = &spec->endpoint;

	return (struct vireo_endpoint_access){
		.mode = e->perm,
		.set_owner = e->set_user || e->set_group,
		.uid = e->set_user ? e->user : (uid_t)-1,
		.gid = e->set_group ? e->group : (gid_t)-1,
	};
}

const char *endpoint_advice(const struct endpoint_advice *rows, size_t count, int err)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].err == -err)
			return rows[i].advice;
	return strerror(-err);
}

void endpoint_advice_fill(char *text, size_t room, const char *advice, const char *name)
{
	const char *at;
	int n = 0;

	for (; (at = strstr(advice, "%s")) && (size_t)n < room; advice = at + 2) {
		text += n;
		room -= (size_t)n;
		n = snprintf(text, room, "%.*s%.64s", (int)(at - advice), advice, name);
	}
	if ((size_t)n < room)
		snprintf(text + n, room - (size_t)n, "%s", advice);
}

void endpoint_config(const struct spec *spec, struct vireo_endpoint_config *ret_config)
{
	*ret_config = (struct vireo_endpoint_config){
		.size = sizeof(*ret_config),
		.close_aside = aside_run,
		.files = spec->endpoint.any_files ? VIREO_FILES_ANY : VIREO_FILES_MEMORY,
	};
	spec->kind->endpoint->config(spec, ret_config);
}

bool endpoint_held_up(const struct spec *spec)
{
	return spec->kind->endpoint && spec->kind->endpoint->held_up && spec->kind->endpoint->held_up(spec);
}

int endpoint_open(const struct spec *spec, struct vireo_device *device, const struct vireo_endpoint_config *config,
		  struct vireo_endpoint **ret_endpoint, char why[SPEC_WHY_BYTES])
{
	struct vireo_endpoint_config own;
	char address[SPEC_ADDRESS_BYTES + 16];
	int err;

	endpoint_config(spec, &own);
	snprintf(address, sizeof(address), "%s:%s", spec->kind->type, spec->address);
	err = spec->kind->endpoint->permit ? spec->kind->endpoint->permit(spec) : 0;
	if (!err)
		err = vireo_endpoint_open(device, address, config ? config : &own, ret_endpoint);
	if (err)
		spec->kind->endpoint->explain(err, spec, why);
	return err;
}
