/* SPDX-License-Identifier: BSD-3-Clause */
#include "serve/serve.h"
#include "ctl/line.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MS 2000u /* who polls each second wants no answer that comes later */

static volatile sig_atomic_t ended;

static void end(int number)
{
	ended = 1;
}

/* Blocked but while we wait, so that none comes between a look at `ended` and the waiting. *ret_waiting: the mask for that. */
static void signals_prepare(sigset_t *ret_waiting)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = end};
	sigset_t blocked;

	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		sigaction(ends[i], &action, NULL);
		sigaddset(&blocked, ends[i]);
	}
	sigprocmask(SIG_BLOCK, &blocked, ret_waiting);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigdelset(ret_waiting, ends[i]);
	signal(SIGPIPE, SIG_IGN);
}

static void work(struct serve_http *http, const sigset_t *waiting)
{
	struct pollfd poll = {.fd = serve_http_fd(http), .events = POLLIN};

	while (!ended) {
		unsigned ms = serve_http_timeout_ms(http);
		struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

		if (ppoll(&poll, 1, ms == UINT32_MAX ? NULL : &wait, waiting) >= 0)
			serve_http_work(http);
	}
}

/* Where it is to be found is all that is printed: for people, and for who has started it. */
static int announce(const struct serve_door *door)
{
	return printf("%s\n", door->url) < 0 || fflush(stdout) ? 1 : 0;
}

static int serve_at(const struct invocation *inv, const struct serve_door *door)
{
	unsigned timeout_ms = inv->timeout_s * 1000 < ANSWER_MS ? (unsigned)(inv->timeout_s * 1000) : ANSWER_MS;
	struct serve_snapshot *snapshot = serve_snapshot_new(inv->socket, inv->program, timeout_ms);
	struct serve_http_config config = {.door = door, .names = inv->named[NAMED_HOSTS], .snapshot = snapshot};
	struct serve_http *http;
	sigset_t waiting;
	int ret;

	signals_prepare(&waiting);
	http = snapshot ? serve_http_new(&config) : NULL;
	if (!http)
		line_print(stderr, "vireoctl: serve: %s", strerror(errno ? errno : ENOMEM));
	else
		serve_sandbox_enter();
	ret = http ? announce(door) : 1;
	if (!ret)
		work(http, &waiting);
	serve_http_free(http);
	serve_snapshot_free(snapshot);
	return ret;
}

int serve_run(const struct invocation *inv)
{
	const char *where = inv->named[NAMED_LISTEN] ? inv->named[NAMED_LISTEN] : SERVE_LISTEN_DEFAULT;
	struct serve_door door;
	int ret = serve_door_open(where, inv->named[NAMED_HOSTS] && *inv->named[NAMED_HOSTS], &door);

	if (ret)
		return ret;
	ret = serve_at(inv, &door);
	serve_door_close(&door);
	return ret;
}
