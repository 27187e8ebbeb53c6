/* SPDX-License-Identifier: BSD-3-Clause */

/* The way to the back end: connect to its socket, or listen on one until it connects. */

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "driver/virtio_user/front.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define RETRY_MS 10

static int connect_address(int fd, const struct sockaddr_un *address, socklen_t length, uint64_t deadline_ms)
{
	struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };

	/* EAGAIN: the listener's backlog is full. */
	while (connect(fd, (const struct sockaddr *)address, length)) {
		if (errno != EAGAIN && errno != EINTR)
			return errno == ENOENT ? -ECONNREFUSED : -errno;
		if (clock_now_ms() >= deadline_ms)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int accept_one(int listener, uint64_t deadline_ms, int *ret_socket)
{
	for (;;) {
		struct pollfd p = { .fd = listener, .events = POLLIN };
		uint64_t now = clock_now_ms();
		int fd;

		if (now >= deadline_ms)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)(deadline_ms - now)) <= 0)
			continue;
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			*ret_socket = fd;
			return 0;
		}
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			return -errno;
	}
}

static int serve_path(const char *path, uint64_t deadline_ms, int *ret_socket)
{
	const struct unix_listen_config config = {
		.path = path,
		.mode = (mode_t)-1,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.backlog = 1,
	};
	struct unix_listener listener;
	int ret = unix_listen(&config, &listener);

	if (ret)
		return ret;
	ret = accept_one(listener.fd, deadline_ms, ret_socket);
	unix_unlisten(&listener, NULL); /* there will be no second back end */
	return ret;
}

static int connect_path(const char *path, uint64_t deadline_ms, int *ret_socket)
{
	struct sockaddr_un address;
	int dir_fd = -1, fd, ret;
	socklen_t length;

	ret = fd_unix_address(path, &address, &length, &dir_fd);
	if (ret)
		return ret == -ENOENT ? -ECONNREFUSED : ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ret = fd < 0 ? -errno : connect_address(fd, &address, length, deadline_ms);
	if (ret)
		fd_close(&fd);
	else
		*ret_socket = fd;
	fd_close(&dir_fd);
	return ret;
}

int front_connect(const struct vireo_front_config *config, uint64_t deadline_ms, int *ret_socket)
{
	int ret;

	if (config->server)
		ret = serve_path(config->path, deadline_ms, ret_socket);
	else
		ret = connect_path(config->path, deadline_ms, ret_socket);
	if (ret)
		log_error(&config->log, "%s: cannot %s: %s", config->path,
			  config->server ? "wait for a back end" : "connect", strerror(-ret));
	return ret;
}
