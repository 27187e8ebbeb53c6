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

static bool group_look_up(const char *name, char *buffer, uint32_t *ret_id)
{
	struct group entry, *group = NULL;

	if (!getgrnam_r(name, &entry, buffer, NAMES_BYTES, &group) && group)
		*ret_id = group->gr_gid;
	return group;
}

static bool user_look_up(const char *name, char *buffer, uint32_t *ret_id)
{
	struct passwd entry, *user = NULL;

	if (!getpwnam_r(name, &entry, buffer, NAMES_BYTES, &user) && user)
		*ret_id = user->pw_uid;
	return user;
}

/* A number is one, and is not asked for as a name: databases of users may be far away, and wait for a network. */
static bool parse_id(const char *text, bool (*look_up)(const char *name, char *buffer, uint32_t *ret_id), uint32_t *ret_id)
{
	unsigned long n;
	char *buffer;
	bool found;

	if (parse_number(text, 0, UINT32_MAX - 1, &n)) {
		*ret_id = (uint32_t)n;
		return true;
	}
	buffer = malloc(NAMES_BYTES);
	found = buffer && look_up(text, buffer, ret_id);
	free(buffer);
	return found;
}

_Static_assert(sizeof(gid_t) == sizeof(uint32_t) && sizeof(uid_t) == sizeof(uint32_t), "ids are as long as these");

bool parse_group(const char *text, gid_t *ret_group)
{
	return parse_id(text, group_look_up, ret_group);
}

bool parse_user(const char *text, uid_t *ret_user)
{
	return parse_id(text, user_look_up, ret_user);
}
