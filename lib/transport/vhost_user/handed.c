/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "transport/vhost_user/session_internal.h"
#include "vireo/endpoint.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A socket that the program was handed, by the service manager that started it for example: "fd:N" instead of a path. */

bool handed_is(const char *where)
{
	return !strncmp(where, "fd:", 3);
}

static int handed_number(const char *digits)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)*digits))
		return -EINVAL;
	errno = 0;
	n = strtoul(digits, &end, 10);
	return errno || *end || n > INT_MAX ? -EINVAL : (int)n;
}

static int socket_option(int fd, int option, int *ret_value)
{
	socklen_t bytes = sizeof(*ret_value);

	return getsockopt(fd, SOL_SOCKET, option, ret_value, &bytes) ? -errno : 0;
}

/* A socket of another family may make whoever closes it wait, and carries no fds. */
int handed_check(int fd, bool *ret_listening)
{
	int domain = 0, type = 0, listening = 0;
	struct sockaddr_storage peer;
	socklen_t bytes = sizeof(peer);
	int r = socket_option(fd, SO_DOMAIN, &domain);

	if (!r)
		r = socket_option(fd, SO_TYPE, &type);
	if (!r)
		r = socket_option(fd, SO_ACCEPTCONN, &listening);
	if (r)
		return r;
	if (domain != AF_UNIX || type != SOCK_STREAM)
		return -EPROTONOSUPPORT;
	if (!listening && getpeername(fd, (struct sockaddr *)&peer, &bytes))
		return -errno;
	*ret_listening = listening;
	return 0;
}

int handed_look(const char *where, int *ret_fd, bool *ret_listening)
{
	int fd = handed_number(where + 3);
	int r = fd < 0 ? fd : handed_check(fd, ret_listening);

	if (!r)
		*ret_fd = fd;
	return r;
}

int handed_take(int fd)
{
	int r = fd_nonblocking(fd);

	if (!r && fcntl(fd, F_SETFD, FD_CLOEXEC))
		r = -errno;
	return r;
}
