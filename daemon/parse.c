/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/parse.h"
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#define NAMES_BYTES 65536u /* of an entry; a group's holds its members' names */

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
