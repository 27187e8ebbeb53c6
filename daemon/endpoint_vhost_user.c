/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user:PATH, a UNIX socket, or vhost-user:fd:N, one that the daemon was handed. */
#include "base/unix_socket.h"
#include "daemon/endpoint.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

bool endpoint_set_mode(struct spec *spec, const char *value)
{
	spec->endpoint.mode_given = true;
	spec->endpoint.client = !strcmp(value, "client");
	return spec->endpoint.client || !strcmp(value, "server");
}

static bool address_is_handed(const char *address)
{
	return !strncmp(address, "fd:", 3);
}

/* 0 to 2 are the daemon's input and output, whatever they are. */
static int handed_number(const char *address)
{
	unsigned long n;

	return parse_number(address + 3, 3, INT_MAX, &n) ? (int)n : -1;
}

int endpoint_handed_fd(const struct spec *spec)
{
	bool handed = spec->kind->endpoint == &endpoint_vhost_user && address_is_handed(spec->address);

	return handed ? handed_number(spec->address) : -1;
}

bool endpoint_set_hello_ms(struct spec *spec, const char *value)
{
	unsigned long n;

	if (!parse_number(value, 1, 3600000, &n))
		return false;
	spec->endpoint.hello_ms = (unsigned)n;
	return true;
}

bool endpoint_set_postcopy(struct spec *spec, const char *value)
{
	spec->endpoint.postcopy = !strcmp(value, "on");
	return spec->endpoint.postcopy || !strcmp(value, "off");
}

bool endpoint_set_inband(struct spec *spec, const char *value)
{
	spec->endpoint.inband = !strcmp(value, "on");
	return spec->endpoint.inband || !strcmp(value, "off");
}

const char *endpoint_path_problem(const char *address)
{
	if (address_is_handed(address))
		return handed_number(address) < 0 ? "expected fd: and the number of a socket, from 3 on, or a path ./fd:..." : NULL;
	return address[strlen(address) - 1] == '/' ? "expected the path of a socket, this ends in '/'" : NULL;
}

const char *endpoint_vhost_user_problem(const struct spec *spec)
{
	const struct spec_endpoint *e = &spec->endpoint;

	if (address_is_handed(spec->address) && (e->mode_given || e->set_user || e->set_group || e->perm))
		return "mode, user, group and perm: expected only with a path; the socket that fd:N is has its own";
	if (e->client && (e->set_user || e->set_group || e->perm || e->hello_ms))
		return "user, group, perm and hello-ms: expected only with mode=server";
	return NULL;
}

static void config(const struct spec *spec, struct vireo_endpoint_config *ret)
{
	ret->vhost_user.client = spec->endpoint.client;
	ret->vhost_user.hello_ms = spec->endpoint.hello_ms;
	ret->vhost_user.postcopy = spec->endpoint.postcopy;
	ret->vhost_user.inband = spec->endpoint.inband;
	ret->vhost_user.access = endpoint_access(spec);
}

/*
 * What a service manager hands over stays open across exec, and what the daemon has opened itself does not: by that its own
 * sockets, the control socket and its clients' among them, are told apart. The endpoint marks what it takes.
 */
static int permit(const struct spec *spec)
{
	int fd = endpoint_handed_fd(spec), flags = fd < 0 ? 0 : fcntl(fd, F_GETFD);

	return flags < 0 || (flags & FD_CLOEXEC) ? -EBADF : 0;
}

static bool held_up(const struct spec *spec)
{
	return !spec->endpoint.client && !address_is_handed(spec->address) && unix_listen_waits(spec->address);
}

#define NO_FOLDER "its folder does not exist: make it first"
#define NO_SOCKET "something that is no socket is there: remove it, or choose another path"

static const struct endpoint_advice path_advices[] = {
	{EMFILE, ENDPOINT_NO_FDS},
	{EROFS, "its folder's file system is read-only: choose another path"},
	{EADDRINUSE, "another program answers on it: choose another path"},
	{ENOENT, NO_FOLDER},
	{ENOTDIR, NO_FOLDER},
	{EACCES, "no permission there: choose a folder that this user may read and write"},
	{EPERM, "not permitted: only root may give a socket to another user or group"},
	{EEXIST, NO_SOCKET},
	{ENOTSOCK, NO_SOCKET},
	{EBUSY, "somebody holds a lock on its folder (lslocks): end that, or choose another folder"},
	{ENAMETOOLONG, "its last part is too long: at most 80 bytes after the last '/'"},
};

static const struct endpoint_advice handed_advices[] = {
	{EBADF, "the daemon was not handed it, or a port has had it already: hand it over anew, and start the daemon"},
	{ENOTSOCK, "it is no UNIX stream socket: hand one over"},
	{EPROTONOSUPPORT, "it is no UNIX stream socket: hand one over"},
	{ENOTCONN, "it neither listens nor is connected: call listen(2) before it is handed over"},
};

static void explain(int err, const struct spec *spec, char *why)
{
	const char *advice = endpoint_handed_fd(spec) >= 0 ?
				     endpoint_advice(handed_advices, ARRAY_SIZE(handed_advices), err) :
				     endpoint_advice(path_advices, ARRAY_SIZE(path_advices), err);

	snprintf(why, SPEC_WHY_BYTES, "vhost-user socket '%.100s': %s", spec->address, advice);
}

static const char *waiting(const struct spec *spec)
{
	return spec->endpoint.client ? "connecting" : "listening";
}

const struct endpoint_kind endpoint_vhost_user = {
	.what = "socket",
	.permit = permit,
	.held_up = held_up,
	.config = config,
	.explain = explain,
	.waiting = waiting,
};
