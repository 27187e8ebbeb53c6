/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_retry.h"
#include "base/util.h"
#include "daemon/parse.h"
#include "port_spec.h"

#define DELAY_US_MAX 100000u

static struct sw_retry *of(struct spec *spec)
{
	return &container_of(spec, struct port_spec, at)->retry;
}

static bool parse(const char *value, unsigned long most, unsigned *ret)
{
	unsigned long n;

	if (!parse_number(value, 1, most, &n))
		return false;
	*ret = (unsigned)n;
	return true;
}

bool port_set_rx_retry(struct spec *spec, const char *value)
{
	return parse(value, SW_RETRY_LOOKS_MAX, &of(spec)->looks);
}

bool port_set_rx_retry_delay(struct spec *spec, const char *value)
{
	return parse(value, DELAY_US_MAX, &of(spec)->delay_us);
}

const char *port_retry_problem(const struct port_spec *spec)
{
	if (spec->retry.delay_us && !spec->retry.looks)
		return "rx-retry-delay: expected with rx-retry=, which says how often it is waited so long";
	return NULL;
}

struct sw_retry port_retry_settings(const struct port_spec *spec)
{
	struct sw_retry retry = spec->retry;

	if (retry.looks && !retry.delay_us)
		retry.delay_us = PORT_RETRY_DELAY_US;
	return retry;
}

json_t *port_retry_report(const struct port_spec *spec)
{
	struct sw_retry retry = port_retry_settings(spec);

	return retry.looks ? json_pack("{s:i, s:i}", "looks", (int)retry.looks, "delay_us", (int)retry.delay_us) : json_null();
}
