/* SPDX-License-Identifier: BSD-3-Clause */
#include "serve/serve.h"
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define NAME_BYTES 256u

/* "name:80" and "[::1]:80" without what is not the name. False: it is too long, or no name. */
static bool name_of(const char *host, char name[NAME_BYTES])
{
	bool bracket = *host == '[';
	size_t count = bracket ? strcspn(host, "]") : strcspn(host, ":");
	const char *rest = host + count + (bracket && host[count] == ']');

	host += bracket;
	count -= bracket;
	if (!count || count >= NAME_BYTES || (bracket && rest[-1] != ']'))
		return false;
	if (*rest && (*rest != ':' || rest[1 + strspn(rest + 1, "0123456789")]))
		return false;
	memcpy(name, host, count);
	name[count] = 0;
	return true;
}

static bool is_number(const char *name)
{
	struct in6_addr address;

	return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

static bool is_among(const char *name, const char *names)
{
	size_t count = strlen(name), len;

	for (; names && *names; names += len + (names[len] == ',')) {
		len = strcspn(names, ",");
		if (len == count && !strncasecmp(names, name, len))
			return true;
	}
	return false;
}

bool serve_host_is_ours(const char *host, const char *names)
{
	char name[NAME_BYTES];

	if (!host || !name_of(host, name))
		return false;
	return is_number(name) || !strcasecmp(name, "localhost") || is_among(name, names);
}
