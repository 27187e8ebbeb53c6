/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/takeover.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/unix_socket.h"
#include "base/util.h"
#include "ctl/client.h"
#include "ctl/rpc.h"
#include "daemon/daemon.h"
#include "daemon/handover.h"
#include "daemon/logger.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_US 10000000u /* what the other one says next, or takes, is waited for so long: what it has may be much */
#define LAST_US 2000000u
#define FDS_EXPECTED 16384u /* of a thousand ports; 128 KiB of the kernel's */
#define STOOD_STILL_US_MAX 60000000u /* no hand-over takes so long */

struct takeover {
	struct daemon *daemon;
	const char *what;
	unsigned version, oldest;
	const char *reopen;
	int fd; /* to the one that is there */
	int control_fd;
	uint64_t stopped_us; /* when the first ring was, by clock_now_us(); 0: not told */
};

int takeover_complain(const struct takeover *t, const char *why)
{
	log_error(&t->daemon->log, "not taken over: %s; the %s that runs goes on", why, t->what);
	return -1;
}

/* ---- to ask ---- */

/* The environment of the service is the other one's, or has nothing of it for another process than the first: a manager waits all the same. */
static void watchdog_take(const struct takeover *t, const json_t *result)
{
	const json_t *told = json_object_get(result, "watchdog_us");

	t->daemon->watchdog_us = watchdog_us_taken(t->daemon->watchdog_us, told ? json_integer_value(told) : WATCHDOG_UNTOLD);
}

/* 1: nobody is there, which has been said. */
static int call(const struct takeover *t, const char *socket, json_t **ret_result, struct ctl_failure *failure)
{
	struct ctl_client *client;
	char why[HANDOVER_WHY_BYTES];
	int err = ctl_client_new(t->daemon->control_path, CTL_CLIENT_TIMEOUT_MS, &client);

	if (err) {
		snprintf(why, sizeof(why), "no %s answers at '%.200s': %s", t->what, t->daemon->control_path, strerror(-err));
		takeover_complain(t, why);
		return 1;
	}
	err = ctl_client_call(client, "handover", json_pack("{s:s, s:o, s:s*}", "socket", socket, "version", json_sprintf("%u", t->version), "reopen", t->reopen),
			      ret_result, failure);
	ctl_client_free(client);
	return err;
}

/* True: it has an older version, which this one has, too, and is asked for from now on. */
static bool version_settle(struct takeover *t, int err, const struct ctl_failure *failure)
{
	const char *text = err == -EREMOTEIO && failure->code == RPC_FAILED ? strstr(failure->message, HANDOVER_HAS_VERSION) : NULL;
	unsigned long version = text ? strtoul(text + strlen(HANDOVER_HAS_VERSION), NULL, 10) : 0;

	if (version < t->oldest || version >= t->version)
		return false;
	t->version = (unsigned)version;
	return true;
}

/* True: it is so old that it does not know of `reopen`, and is asked without: it says which of its ports cannot be handed over, if there is one. */
static bool reopen_settle(struct takeover *t, int err, const struct ctl_failure *failure)
{
	bool asked = t->reopen && err == -EREMOTEIO && failure->code == RPC_INVALID_PARAMS;

	if (asked)
		t->reopen = NULL;
	return asked;
}

static int ask(struct takeover *t, const char *socket)
{
	struct ctl_failure failure = {.code = 0};
	char why[HANDOVER_WHY_BYTES];
	json_t *result;
	int err;

	do
		err = call(t, socket, &result, &failure);
	while (reopen_settle(t, err, &failure) || version_settle(t, err, &failure));
	if (!err) {
		watchdog_take(t, result);
		json_decref(result);
	}
	if (err >= 0)
		return -err;
	if (err == -EREMOTEIO && failure.code == RPC_METHOD_NOT_FOUND)
		return takeover_complain(t, "it is of a version that cannot hand over: end it, and start this one without --takeover");
	snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1, err == -EREMOTEIO ? failure.message : strerror(-err));
	return takeover_complain(t, why);
}

static int listen_beside(const struct takeover *t, struct unix_listener *ret_listener)
{
	char path[DAEMON_PATH_BYTES + 32];
	const struct unix_listen_config config = {.path = path, .mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1, .backlog = 1};

	snprintf(path, sizeof(path), "%s.%d", t->daemon->control_path, (int)getpid());
	return unix_listen(&config, ret_listener);
}

/* It has connected before it has answered. */
static int connected(const struct unix_listener *listener)
{
	struct pollfd poll_fd = {.fd = listener->fd, .events = POLLIN};

	return poll(&poll_fd, 1, MESSAGE_US / 1000) > 0 ? accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC) : -1;
}

static int takeover_connect(struct takeover *t)
{
	struct unix_listener listener;
	int err = listen_beside(t, &listener);

	if (err)
		return takeover_complain(t, strerror(-err));
	err = ask(t, listener.path);
	if (!err)
		t->fd = connected(&listener);
	unix_unlisten(&listener, NULL);
	if (!err && t->fd < 0)
		err = takeover_complain(t, "it does not connect");
	else if (!err && parcel_socket(t->fd))
		err = takeover_complain(t, "it belongs to another user");
	return err;
}

/*
 * A table of fds that grows while there are threads waits for all CPUs to have been elsewhere, 5 to 12 ms each time that it is doubled:
 * a hundred ports would make all guests wait for five such times.
 */
static void fds_expect(const struct daemon *daemon)
{
	struct rlimit limit;
	int fd = getrlimit(RLIMIT_NOFILE, &limit) ? -1 : fcntl(loop_fd(daemon->loop), F_DUPFD_CLOEXEC, (int)min_u64(limit.rlim_cur, FDS_EXPECTED) - 1);

	if (fd >= 0)
		fd_close(&fd);
}

int takeover_new(struct daemon *daemon, const char *name, const char *what, unsigned version, unsigned oldest,
		 const char *reopen, struct takeover **ret_takeover)
{
	struct takeover *t = daemon_control_path(daemon, name) ? NULL : calloc(1, sizeof(*t));

	if (!t)
		return -1;
	fds_expect(daemon);
	*t = (struct takeover){.daemon = daemon, .what = what, .version = version, .oldest = oldest ? oldest : version, .reopen = reopen, .fd = -1, .control_fd = -1};
	if (takeover_connect(t)) {
		takeover_free(t);
		return -1;
	}
	*ret_takeover = t;
	return 0;
}

unsigned takeover_version(const struct takeover *takeover)
{
	return takeover->version;
}

/* ---- what is told ---- */

static int told(const struct takeover *t, int err, uint32_t kind, struct parcel *parcel)
{
	char why[HANDOVER_WHY_BYTES];

	if (err) {
		snprintf(why, sizeof(why), "what it hands over does not come: %s", strerror(-err));
		return takeover_complain(t, why);
	}
	if (parcel->kind == kind)
		return 0;
	snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1,
		 parcel->kind == HANDOVER_NOT ? (const char *)parcel->data : "it hands over something else");
	parcel_free(parcel);
	return takeover_complain(t, why);
}

int takeover_next(const struct takeover *t, uint32_t kind, struct parcel *ret_parcel)
{
	return told(t, parcel_receive(t->fd, clock_now_us() + MESSAGE_US, ret_parcel), kind, ret_parcel);
}

static bool listens(int fd)
{
	int domain = 0, listening = 0;
	socklen_t bytes = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) && domain == AF_UNIX &&
	       !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &bytes) && listening;
}

int takeover_state(struct takeover *t, struct parcel *ret_parcel)
{
	if (takeover_next(t, HANDOVER_STATE, ret_parcel))
		return -1;
	if (ret_parcel->fd_count)
		t->control_fd = fd_take(&ret_parcel->fds[0]);
	if (listens(t->control_fd)) {
		logger_hold(true); /* peers wait from here on */
		return 0;
	}
	parcel_free(ret_parcel);
	return takeover_complain(t, "it hands over no control socket");
}

/* ---- the end ---- */

/* It has given up, and has said why. */
static int not_wanted(const struct takeover *t)
{
	struct parcel parcel;

	if (takeover_next(t, HANDOVER_GO, &parcel))
		return -1;
	parcel_free(&parcel);
	return takeover_complain(t, "it does not take an answer");
}

/*
 * Who goes on? The other one does if it says so, or does not say anything in time: this process listens no more then, and looks whether
 * it has been told just before. If the other one has gone without a word, it was killed, and nobody else has what it had.
 */
static int decision(struct takeover *t)
{
	struct parcel parcel;
	int err = parcel_receive(t->fd, clock_now_us() + MESSAGE_US, &parcel);

	if (err == -ETIMEDOUT && !shutdown(t->fd, SHUT_RD)) {
		err = parcel_receive(t->fd, 0, &parcel);
		if (err == -ECONNRESET)
			err = -ETIMEDOUT;
	}
	if (err == -ECONNRESET) {
		log_warning(&t->daemon->log, "the %s that handed over ended before its last word: taking over", t->what);
		return 0;
	}
	err = told(t, err, HANDOVER_GO, &parcel);
	if (err)
		return err;
	if (parcel.bytes == sizeof(t->stopped_us))
		memcpy(&t->stopped_us, parcel.data, sizeof(t->stopped_us));
	parcel_free(&parcel);
	return 0;
}

int takeover_answer(struct takeover *t)
{
	if (daemon_ending(t->daemon))
		return takeover_complain(t, "this process was asked to end");
	if (daemon_watchdog(t->daemon))
		return takeover_complain(t, "the service manager would hear no signs of life");
	if (parcel_send(t->fd, clock_now_us() + MESSAGE_US, HANDOVER_READY, NULL, 0, NULL, 0))
		return not_wanted(t);
	return decision(t);
}

/* In another time namespace than the other one's the clock is another. */
void takeover_gone_on(const struct takeover *t)
{
	uint64_t now_us = clock_now_us(), us = now_us - t->stopped_us;

	logger_hold(false);
	if (t->stopped_us && t->stopped_us <= now_us && us < STOOD_STILL_US_MAX)
		log_info(&t->daemon->log, "taken over: nothing was served for %u.%03u ms", (unsigned)(us / 1000), (unsigned)(us % 1000));
}

int takeover_last(const struct takeover *t, struct parcel *ret_parcel)
{
	if (parcel_receive(t->fd, clock_now_us() + LAST_US, ret_parcel))
		return -1;
	if (ret_parcel->kind == HANDOVER_LAST)
		return 0;
	parcel_free(ret_parcel);
	return -1;
}

int takeover_fd(const struct takeover *t)
{
	return t->fd;
}

int takeover_control_fd(struct takeover *t)
{
	return fd_take(&t->control_fd);
}

void takeover_free(struct takeover *t)
{
	if (!t)
		return;
	logger_hold(false);
	fd_close(&t->control_fd);
	fd_close(&t->fd);
	free(t);
}
