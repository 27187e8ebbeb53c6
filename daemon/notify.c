/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/notify.h"
#include "base/clock.h"
#include "daemon/aside.h"
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct notice {
	int fd;
	struct sockaddr_un addr;
	socklen_t addr_bytes;
	const char *state;
};

static bool notice_open(struct notice *notice, const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;

	*notice = (struct notice){.addr.sun_family = AF_UNIX, .state = state};
	if (len < 2 || len >= sizeof(notice->addr.sun_path) || (*path != '/' && *path != '@'))
		return false;
	memcpy(notice->addr.sun_path, path, len);
	if (*path == '@') /* an abstract address: a NUL first, and no NUL at the end */
		notice->addr.sun_path[0] = '\0';
	notice->addr_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	notice->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return notice->fd >= 0;
}

/* 0, or a negative errno; -EAGAIN: the manager has not read what others have told it. */
static int notice_send(const struct notice *notice, int flags)
{
	ssize_t n = sendto(notice->fd, notice->state, strlen(notice->state), MSG_NOSIGNAL | flags,
			   (const struct sockaddr *)&notice->addr, notice->addr_bytes);

	return n < 0 ? -errno : 0;
}

static void send_aside(void *argument)
{
	struct notice *notice = argument;

	notice_send(notice, 0);
	close(notice->fd);
	free(notice);
}

void notify(const char *state, bool for_certain)
{
	struct notice notice, *late;
	int err;

	if (!notice_open(&notice, state))
		return;
	err = notice_send(&notice, MSG_DONTWAIT);
	late = err == -EAGAIN && for_certain ? malloc(sizeof(*late)) : NULL;
	if (late) {
		*late = notice;
		if (!aside_run(NULL, send_aside, late))
			return;
		free(late);
	}
	close(notice.fd);
}

void notify_main_pid(pid_t pid, unsigned wait_ms)
{
	uint64_t end_ms = clock_now_ms() + wait_ms;
	struct notice notice;
	char state[48];

	snprintf(state, sizeof(state), "MAINPID=%d\nWATCHDOG=1", (int)pid);
	if (!notice_open(&notice, state))
		return;
	while (notice_send(&notice, MSG_DONTWAIT) == -EAGAIN && clock_now_ms() < end_ms)
		poll(NULL, 0, 5); /* a socket that is not connected does not say when there is room */
	close(notice.fd);
}
