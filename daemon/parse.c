/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/parse.h"
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_BYTES 65536u /* of an entry; a group's holds its members' names */

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

/* A number is one, and is not asked for as a name: databases of users may be far away, and wait for a network. */
bool parse_group(const char *text, gid_t *ret_group)
{
	struct group entry, *group = NULL;
	unsigned long n;
	char *buffer;

	if (parse_number(text, 0, UINT32_MAX - 1, &n)) {
		*ret_group = (gid_t)n;
		return true;
	}
	buffer = malloc(NAMES_BYTES);
	if (buffer && !getgrnam_r(text, &entry, buffer, NAMES_BYTES, &group) && group)
		*ret_group = group->gr_gid;
	free(buffer);
	return group;
}

bool parse_user(const char *text, uid_t *ret_user)
{
	struct passwd entry, *user = NULL;
	unsigned long n;
	char *buffer;

	if (parse_number(text, 0, UINT32_MAX - 1, &n)) {
		*ret_user = (uid_t)n;
		return true;
	}
	buffer = malloc(NAMES_BYTES);
	if (buffer && !getpwnam_r(text, &entry, buffer, NAMES_BYTES, &user) && user)
		*ret_user = user->pw_uid;
	free(buffer);
	return user;
}
