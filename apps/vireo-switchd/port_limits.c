/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_limits.h"
#include "base/util.h"
#include "daemon/parse.h"
#include "port_spec.h"
#include <stdio.h>
#include <string.h>

#define BYTES_MIN  1000u
#define BYTES_MAX  (UINT64_C(1) << 40)
#define FRAMES_MAX 100000000u
#define BURST_MAX  (UINT64_C(1) << 32)
#define VALUE_BYTES 48u

static struct sw_limits *of(struct spec *spec)
{
	return &container_of(spec, struct port_spec, at)->limits;
}

static bool frames_parse(const char *text, uint64_t *ret_frames)
{
	unsigned long n;

	if (!parse_number(text, 1, FRAMES_MAX, &n))
		return false;
	*ret_frames = n;
	return true;
}

static bool bytes_parse(const char *text, uint64_t *ret_bytes)
{
	return parse_size(text, ret_bytes) && *ret_bytes <= BYTES_MAX;
}

/* RATE, or RATE/BURST */
static bool limit_parse(const char *value, bool (*parse)(const char *text, uint64_t *ret), uint64_t least, struct sw_limit *ret)
{
	char text[VALUE_BYTES];
	struct sw_limit limit = {0};
	char *slash;

	if ((size_t)snprintf(text, sizeof(text), "%s", value) >= sizeof(text))
		return false;
	slash = strchr(text, '/');
	if (slash)
		*slash++ = '\0';
	if (!parse(text, &limit.per_second) || limit.per_second < least)
		return false;
	if (slash && (!parse(slash, &limit.burst) || limit.burst > BURST_MAX))
		return false;
	*ret = limit;
	return true;
}

bool port_set_rate_in(struct spec *spec, const char *value)
{
	return limit_parse(value, bytes_parse, BYTES_MIN, &of(spec)->bytes_in);
}

bool port_set_rate_out(struct spec *spec, const char *value)
{
	return limit_parse(value, bytes_parse, BYTES_MIN, &of(spec)->bytes_out);
}

bool port_set_frames_in(struct spec *spec, const char *value)
{
	return limit_parse(value, frames_parse, 1, &of(spec)->frames_in);
}

bool port_set_frames_out(struct spec *spec, const char *value)
{
	return limit_parse(value, frames_parse, 1, &of(spec)->frames_out);
}

bool port_set_storm_broadcast(struct spec *spec, const char *value)
{
	return limit_parse(value, frames_parse, 1, &of(spec)->broadcast);
}

bool port_set_storm_multicast(struct spec *spec, const char *value)
{
	return limit_parse(value, frames_parse, 1, &of(spec)->multicast);
}

bool port_set_storm_unicast(struct spec *spec, const char *value)
{
	return limit_parse(value, frames_parse, 1, &of(spec)->unknown);
}

static const char *const priority_names[] = {[SW_PRIORITY_OFF] = "off", [SW_PRIORITY_PCP] = "pcp", [SW_PRIORITY_DSCP] = "dscp"};

bool port_set_priority(struct spec *spec, const char *value)
{
	for (unsigned i = 0; i < ARRAY_SIZE(priority_names); i++) {
		if (strcmp(value, priority_names[i]) != 0)
			continue;
		of(spec)->priority = (enum sw_priority)i;
		return true;
	}
	return false;
}

const char *port_priority_name(const struct sw_limits *limits)
{
	return priority_names[limits->priority];
}

json_t *port_limits_report(const struct sw_limits *limits)
{
	const struct {
		const char *key;
		const struct sw_limit *limit;
	} rows[] = {
		{"rate-in", &limits->bytes_in},		 {"rate-out", &limits->bytes_out},
		{"frames-in", &limits->frames_in},	 {"frames-out", &limits->frames_out},
		{"storm-broadcast", &limits->broadcast}, {"storm-multicast", &limits->multicast},
		{"storm-unicast", &limits->unknown},
	};
	json_t *object = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct sw_limit *limit = rows[i].limit;

		if (limit->per_second)
			json_object_set_new(object, rows[i].key,
					    json_pack("{s:I, s:o}", "per_second", (json_int_t)limit->per_second, "burst",
						      limit->burst ? json_integer((json_int_t)limit->burst) : json_null()));
	}
	return object;
}
