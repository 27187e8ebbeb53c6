/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits as they are written: the same words in a SPEC and in a command. */
#include "disk/limit.h"
#include "disk/throttle.h"
#include <errno.h>
#include <string.h>

#define IOPS_MAX 10000000u
#define BPS_MAX	 (UINT64_C(1) << 40)

#define IOPS(name) {(name), DISK_KEY_NUMBER, "N", 0, IOPS_MAX}
#define BPS(name)  {(name), DISK_KEY_SIZE, "BYTES", 0, BPS_MAX}

/* Rates in the order of enum disk_limit, then their bursts in the same order. */
const struct disk_key disk_limit_keys[DISK_LIMIT_KEYS] = {
	IOPS("iops"),	    IOPS("read-iops"),	     IOPS("write-iops"),
	BPS("bps"),	    BPS("read-bps"),	     BPS("write-bps"),
	IOPS("iops-burst"), IOPS("read-iops-burst"), IOPS("write-iops-burst"),
	BPS("bps-burst"),   BPS("read-bps-burst"),   BPS("write-bps-burst"),
	{"throttle-group", DISK_KEY_TEXT, "NAME", 0, 0},
};

static uint64_t *limit_of(struct disk_limits *limits, unsigned key)
{
	return key < DISK_LIMITS ? &limits->of[key].rate : &limits->of[key - DISK_LIMITS].burst;
}

bool disk_limits_given(const struct disk_spec *spec, struct disk_limits *ret_limits)
{
	bool given = false;

	for (unsigned i = 0; i < 2 * DISK_LIMITS; i++) {
		uint64_t value = disk_spec_number(spec, disk_limit_keys[i].name, UINT64_MAX);

		if (value != UINT64_MAX) {
			*limit_of(ret_limits, i) = value;
			given = true;
		}
	}
	return given;
}

int disk_limits_problem(const struct disk_limits *limits, char *why)
{
	for (unsigned i = 0; i < DISK_LIMITS; i++) {
		const char *rate = disk_limit_keys[i].name, *burst = disk_limit_keys[i + DISK_LIMITS].name;

		if (limits->of[i].rate || !limits->of[i].burst)
			continue;
		snprintf(why, DISK_WHY_BYTES, "%s: there is no %s that it could be of: give that, too", burst, rate);
		return -EINVAL;
	}
	return 0;
}

int disk_limits_parse(const char *text, struct disk_limits *limits, char why[DISK_WHY_BYTES])
{
	struct disk_limits changed = *limits;
	struct disk_spec spec;
	int err;

	if (!strcmp(text, "off")) {
		memset(limits, 0, sizeof(*limits));
		return 0;
	}
	/* But for the last key: a group is joined when a disk is opened. */
	err = disk_spec_keys_parse(text, disk_limit_keys, 2 * DISK_LIMITS, &spec, why);
	if (err)
		return err;
	disk_limits_given(&spec, &changed);
	disk_spec_free(&spec);
	for (unsigned i = 0; i < DISK_LIMITS; i++) /* its burst goes with a rate */
		if (!changed.of[i].rate && limits->of[i].burst == changed.of[i].burst)
			changed.of[i].burst = 0;
	err = disk_limits_problem(&changed, why);
	if (!err)
		*limits = changed;
	return err;
}

void disk_limits_write(const struct disk_limits *limits, char text[DISK_LIMITS_TEXT_BYTES])
{
	struct disk_limits copy = *limits;
	size_t n = 0;

	for (unsigned i = 0; i < 2 * DISK_LIMITS; i++) {
		uint64_t value = *limit_of(&copy, i);

		if (value && n < DISK_LIMITS_TEXT_BYTES)
			n += (size_t)snprintf(text + n, DISK_LIMITS_TEXT_BYTES - n, "%s%s=%llu", n ? "," : "",
					      disk_limit_keys[i].name, (unsigned long long)value);
	}
	if (!n)
		snprintf(text, DISK_LIMITS_TEXT_BYTES, "off");
}
