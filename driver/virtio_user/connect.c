/* SPDX-License-Identifier: BSD-3-Clause */

/* The way to the back end: connect to its socket, or listen on one until it connects. */

#include "base/fd.h"
#include "base/log.h"
#include "driver/virtio_user/front.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS 10

uint64_t front_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int connect_address(int fd, const struct sockaddr_un *address, socklen_t length, uint64_t deadline_ms)
{
	struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };

	/* EAGAIN: the listener's backlog is full. */
	while (connect(fd, (const struct sockaddr *)address, length)) {
		if (errno != EAGAIN && errno != EINTR)
			return errno == ENOENT ? -ECONNREFUSED : -errno;
		if (front_now_ms() >= deadline_ms)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int accept_one(int listener, uint64_t deadline_ms, int *ret_socket)
{
	for (;;) {
		struct pollfd p = { .fd = listener, .events = POLLIN };
		uint64_t now = front_now_ms();
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

/* A socket that nobody listens on any more may be replaced; one that answers may not. */
static int stale_remove(const struct sockaddr_un *address, socklen_t length)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), ret = 0;

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)address, length) || errno == EAGAIN)
		ret = -EADDRINUSE;
	else if (errno == ECONNREFUSED && unlink(address->sun_path))
		ret = -errno;
	close(fd);
	return ret;
}

static int serve_address(int fd, const struct sockaddr_un *address, socklen_t length, uint64_t deadline_ms,
			 int *ret_socket)
{
	int ret = stale_remove(address, length);

	if (ret)
		return ret;
	if (bind(fd, (const struct sockaddr *)address, length))
		return -errno;
	ret = listen(fd, 1) ? -errno : accept_one(fd, deadline_ms, ret_socket);
	unlink(address->sun_path); /* there will be no second back end */
	return ret;
}

int front_connect(const struct vireo_front_config *config, int *ret_socket)
{
	uint64_t deadline_ms = front_now_ms() + config->timeout_ms;
	struct sockaddr_un address;
	int dir_fd = -1, fd, ret;
	socklen_t length;

	ret = fd_unix_address(config->path, &address, &length, &dir_fd);
	if (ret)
		return ret == -ENOENT ? -ECONNREFUSED : ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		ret = -errno;
	} else if (config->server) {
		ret = serve_address(fd, &address, length, deadline_ms, ret_socket);
		close(fd);
	} else {
		ret = connect_address(fd, &address, length, deadline_ms);
		if (ret)
			close(fd);
		else
			*ret_socket = fd;
	}
	fd_close(&dir_fd);
	if (ret)
		log_error(&config->log, "%s: cannot %s: %s", config->path,
			  config->server ? "wait for a back end" : "connect", strerror(-ret));
	return ret;
}
