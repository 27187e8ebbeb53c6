/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/parse.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

bool parse_number(const char *text, unsigned long min, unsigned long max, unsigned long *ret_number)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n < min || n > max)
		return false;
	*ret_number = n;
	return true;
}

bool parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	const char *unit = NULL;
	char digits[21];
	unsigned long n;
	size_t len = strlen(text);
	unsigned shift = 0;

	if (len)
		unit = strchr(units, text[len - 1]);
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		len--;
	}
	if (len >= sizeof(digits))
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (!parse_number(digits, 1, ULONG_MAX >> shift, &n))
		return false;
	*ret_bytes = (uint64_t)n << shift;
	return true;
}
