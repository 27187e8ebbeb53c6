/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_speed.h"
#include "base/util.h"
#include "daemon/parse.h"
#include "port_spec.h"
#include <stdio.h>
#include <string.h>

#define MBITS_MAX 2000000u /* virtio has room for a thousand times of it */
#define DIGITS_MAX 7u

/* N with M, G or T behind it: thousands, as links have them, and not 1024. */
static bool rate_parse(const char *text, size_t bytes, uint32_t *ret_mbits)
{
	static const char letters[] = "MGT";
	const char *letter = bytes ? memchr(letters, text[bytes - 1], sizeof(letters) - 1) : NULL;
	char number[DIGITS_MAX + 1];
	unsigned long n, times = 1;

	if (!letter || bytes - 1 > DIGITS_MAX)
		return false;
	for (; letter > letters; letter--)
		times *= 1000;
	snprintf(number, sizeof(number), "%.*s", (int)(bytes - 1), text);
	if (!parse_number(number, 1, MBITS_MAX / times, &n))
		return false;
	*ret_mbits = (uint32_t)(n * times);
	return true;
}

bool port_set_speed(struct spec *spec, const char *value)
{
	struct port_speed *speed = &container_of(spec, struct port_spec, at)->speed;
	size_t bytes = strcspn(value, "/");

	speed->half = !strcmp(value + bytes, "/half");
	return (speed->half || !value[bytes] || !strcmp(value + bytes, "/full")) && rate_parse(value, bytes, &speed->mbits);
}

json_t *port_speed_report(const struct port_speed *speed)
{
	return speed->mbits ? json_pack("{s:I, s:s}", "mbits", (json_int_t)speed->mbits, "duplex", speed->half ? "half" : "full") : json_null();
}
