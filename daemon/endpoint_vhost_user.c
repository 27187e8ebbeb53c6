/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user:PATH, a UNIX socket. */
#include "daemon/endpoint.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool endpoint_set_mode(struct spec *spec, const char *value)
{
	spec->endpoint.client = !strcmp(value, "client");
	return spec->endpoint.client || !strcmp(value, "server");
}

bool endpoint_set_hello_ms(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 1, 3600000, &n))
		return false;
	spec->endpoint.hello_ms = (unsigned)n;
	return true;
}

const char *endpoint_path_problem(const char *address)
{
	return address[strlen(address) - 1] == '/' ? "expected the path of a socket, this ends in '/'" : NULL;
}

const char *endpoint_vhost_user_problem(const struct spec *spec)
{
	const struct spec_endpoint *e = &spec->endpoint;

	if (e->client && (e->set_user || e->set_group || e->perm || e->hello_ms))
		return "user, group, perm and hello-ms: expected only with mode=server";
	return NULL;
}

static void config(const struct spec *spec, struct vireo_endpoint_config *ret)
{
	ret->vhost_user.client = spec->endpoint.client;
	ret->vhost_user.hello_ms = spec->endpoint.hello_ms;
	ret->vhost_user.access = endpoint_access(spec);
}

static void explain(int err, const struct spec *spec, char *why)
{
	const char *advice;

	if (err == -EADDRINUSE)
		advice = "another program answers on it: choose another path";
	else if (err == -ENOENT || err == -ENOTDIR)
		advice = "its folder does not exist: make it first";
	else if (err == -EACCES)
		advice = "no permission there: choose a folder that this user may read and write";
	else if (err == -EPERM)
		advice = "not permitted: only root may give a socket to another user or group";
	else if (err == -EEXIST || err == -ENOTSOCK)
		advice = "something that is no socket is there: remove it, or choose another path";
	else if (err == -EBUSY)
		advice = "somebody holds a lock on its folder (lslocks): end that, or choose another folder";
	else if (err == -ENAMETOOLONG)
		advice = "its last part is too long: at most 80 bytes after the last '/'";
	else
		advice = strerror(-err);
	snprintf(why, SPEC_WHY_BYTES, "vhost-user socket '%.100s': %s", spec->address, advice);
}

static const char *waiting(const struct spec *spec)
{
	return spec->endpoint.client ? "connecting" : "listening";
}

const struct endpoint_kind endpoint_vhost_user = {
	.what = "socket",
	.config = config,
	.explain = explain,
	.waiting = waiting,
};
