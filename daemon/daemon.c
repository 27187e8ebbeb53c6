/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/daemon.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "ctl/server.h"
#include "daemon/aside.h"
#include "daemon/fault.h"
#include "daemon/landlock.h"
#include "daemon/notify.h"
#include "daemon/sandbox.h"
#include "daemon/signals.h"
#include "daemon/upgrade.h"
#include "daemon/watchdog.h"
#include "vireo/memory.h"
#include "vireo/notifier.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static void on_signal(void *opaque, uint32_t events)
{
	enum signals_verdict verdict;
	struct daemon *daemon = opaque;
	int number = 0;

	while ((verdict = signals_next(daemon->signal_fd, &number))) {
		if (verdict == SIGNALS_RELOAD && daemon->reload && !daemon->stop)
			daemon->reload(daemon->reload_opaque);
		else if (verdict != SIGNALS_END)
			log_info(&daemon->log, "signal %d, %s: there is nothing to reload or to reopen, going on", number,
				 signals_name(number));
		else if (!daemon->stop)
			log_info(&daemon->log, "signal %d: ending", number);
		daemon->stop |= verdict == SIGNALS_END;
	}
}

void daemon_on_reload(struct daemon *daemon, void (*reload)(void *opaque), void *opaque)
{
	daemon->reload = reload;
	daemon->reload_opaque = opaque;
}

bool daemon_ending(struct daemon *daemon)
{
	on_signal(daemon, 0);
	return daemon->stop;
}

static int signals_set(struct daemon *daemon)
{
	int err = fault_handler_open(&daemon->faults);

	if (err)
		return err;
	daemon->signal_fd = signals_open();
	if (daemon->signal_fd < 0)
		return daemon->signal_fd;
	return loop_add(daemon->loop, daemon->signal_fd, EPOLLIN, on_signal, daemon, &daemon->signal_watch);
}

/* A virtual machine takes a handful of fds for each queue and memory region. */
static void files_limit_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/*
 * The kernel tells of an open file what it is by a link in /proc alone: without it no peer's eventfd is one, and a socket whose
 * path was made safe cannot be named.
 */
static int proc_look(struct daemon *daemon)
{
	if (!access("/proc/self/fd", X_OK))
		return 0;
	log_error(&daemon->log, "cannot start: no /proc here, without which no peer's fds can be told apart: mount it "
				"(mount -t proc proc /proc, as root of this folder or container)");
	return -ENOENT;
}

/* Some containers forbid kernel AIO, and somebody else may have used it up. */
static int notifier_open(struct daemon *daemon)
{
	const struct vireo_notifier_config config = {.size = sizeof(config), .run_aside = aside_run};
	int aio_err = 0, err = vireo_notifier_open(&config, &daemon->notifier, &aio_err);

	if (err)
		log_error(&daemon->log, "cannot signal: %s", strerror(-err));
	if (aio_err)
		log_warning(&daemon->log,
			    "no kernel AIO (%s): each queue is signalled by a thread of its own until it can be had: "
			    "see fs.aio-max-nr",
			    strerror(-aio_err));
	return err;
}

static int memory_open(struct daemon *daemon)
{
	int err = vireo_memory_new(NULL, &daemon->memory);

	if (err) {
		log_error(&daemon->log, "cannot start: %s", strerror(-err));
		return err;
	}
	err = vireo_memory_watch_error(daemon->memory);
	if (err)
		log_info(&daemon->log,
			 "untouched pages of guests are made without a limit but memory-max=: no userfaultfd: %s",
			 strerror(-err));
	return 0;
}

int daemon_open(struct daemon *daemon, const struct daemon_options *options)
{
	int err;

	*daemon = (struct daemon){.signal_fd = -1, .taken_fd = -1, .options = options, .watchdog_us = watchdog_us()};
	daemon->control_logger = (struct logger){.rate = &daemon->control_rate, .rated = "control"};
	logger_level_set(options->log_level);
	daemon->log = logger_log(&daemon->logger);
	daemon->control_log = logger_log(&daemon->control_logger);
	err = loop_new(&daemon->loop);
	if (!err)
		err = signals_set(daemon);
	if (!err && options->beneath && options->no_sandbox)
		log_warning(&daemon->log, "beneath: all files are left open to this daemon: no-sandbox says so");
	else if (!err && options->beneath)
		err = landlock_enter(options, &daemon->log);
	if (!err && options->rooms && !options->no_sandbox) /* before any thread, for each keeps its own */
		err = sandbox_enter(options->rooms, daemon->loop, &daemon->control_log, &daemon->refused);
	if (!err)
		err = logger_start();
	if (err) {
		log_error(&daemon->log, "cannot start: %s", strerror(-err));
		return err;
	}
	files_limit_raise();
	err = proc_look(daemon);
	if (!err)
		err = notifier_open(daemon);
	return err ? err : memory_open(daemon);
}

int daemon_watchdog(struct daemon *daemon)
{
	int err = daemon->watchdog ? 0 : watchdog_open(daemon->loop, daemon->watchdog_us, &daemon->watchdog);

	if (err)
		log_error(&daemon->log, "cannot start: %s", strerror(-err));
	return err;
}

int daemon_run(struct daemon *daemon)
{
	int ret = daemon_watchdog(daemon);

	if (ret)
		return 1;
	daemon->ready = !daemon->stop;
	if (daemon->ready) {
		notify("READY=1", true);
		upgrade_done(daemon->options);
	}
	while (!daemon->stop && (ret >= 0 || ret == -EINTR))
		ret = loop_dispatch(daemon->loop, -1);
	if (daemon->stop)
		return 0;
	log_error(&daemon->log, "the event loop failed: %s", strerror(-ret));
	return 1;
}

void daemon_stop(struct daemon *daemon)
{
	if (daemon->ready) /* else there may be another one that runs, and is none that stops */
		notify("STOPPING=1", false);
	ctl_server_free(daemon->control);
	daemon->control = NULL;
}

void daemon_close(struct daemon *daemon)
{
	watchdog_free(daemon->watchdog);
	sandbox_leave(daemon->refused);
	loop_remove(&daemon->signal_watch);
	fd_close(&daemon->signal_fd);
	fd_close(&daemon->taken_fd);
	loop_free(daemon->loop);
	vireo_notifier_free(daemon->notifier);
	if (daemon->faults)
		fault_handler_close();
	vireo_memory_free(daemon->memory);
	logger_end();
}
