/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vireo-switchd: one control thread (this one) that dispatches a loop, and the switch's workers. Exit codes:
 * 0 ended by a signal, 1 the environment failed, 2 bad usage.
 */
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/aside.h"
#include "commands.h"
#include "ctl/server.h"
#include "daemon/logger.h"
#include "daemon/notify.h"
#include "options.h"
#include "port.h"
#include "daemon/signals.h"
#include "vireo/fault.h"
#include "vireo/memory.h"
#include "vireo/notifier.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SHUTDOWN_MS 800
#define SHUTDOWN_DRIVER_MS 10000 /* a driver of this kernel lets go of its device, and has its own pace */

struct daemon {
	struct options options;
	struct logger logger, control_logger, switch_logger;
	struct rate control_rate, switch_rate;
	struct vireo_log log;
	struct loop *loop;
	struct ports ports;
	struct ctl_server *control;
	int signal_fd;
	struct loop_watch *signal_watch;
	bool stop;
	char control_path[SPEC_ADDRESS_BYTES];
};

/* Guest memory that a peer truncates: the handler has no other way to its table. */
static struct vireo_fault_table *fault_table;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	if (!vireo_fault_handle(fault_table, info->si_addr)) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
	errno = saved;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void on_signal(void *opaque, uint32_t events)
{
	enum signals_verdict verdict;
	struct daemon *d = opaque;
	int number = 0;

	while ((verdict = signals_next(d->signal_fd, &number))) {
		if (verdict == SIGNALS_NO_MEANING)
			log_info(&d->log, "signal %d, %s: there is nothing to reload or to reopen, going on", number,
				 signals_name(number));
		else if (!d->stop)
			log_info(&d->log, "signal %d: ending", number);
		d->stop |= verdict == SIGNALS_END;
	}
}

/* Before any thread is made: workers inherit the mask, and signals arrive at the control thread's fd alone. */
static int signals_set(struct daemon *d)
{
	struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};
	int err = vireo_fault_table_new(0, &fault_table);

	if (err)
		return err;
	if (sigaction(SIGBUS, &bus, NULL))
		return -errno;
	d->signal_fd = signals_open();
	if (d->signal_fd < 0)
		return d->signal_fd;
	return loop_add(d->loop, d->signal_fd, EPOLLIN, on_signal, d, &d->signal_watch);
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

/* Some containers forbid kernel AIO, and somebody else may have used it up. */
static int notifier_open(struct daemon *d)
{
	const struct vireo_notifier_config config = { .size = sizeof(config), .run_aside = aside_run };
	int aio_err = 0, err = vireo_notifier_open(&config, &d->ports.notifier, &aio_err);

	if (err)
		log_error(&d->log, "cannot signal: %s", strerror(-err));
	if (aio_err)
		log_warning(&d->log,
			    "no kernel AIO (%s): each queue is signalled by a thread of its own until it can be had: "
			    "see fs.aio-max-nr",
			    strerror(-aio_err));
	return err;
}

static int memory_open(struct daemon *d)
{
	int err = vireo_memory_new(NULL, &d->ports.memory);

	if (err) {
		log_error(&d->log, "cannot start: %s", strerror(-err));
		return err;
	}
	err = vireo_memory_watch_error(d->ports.memory);
	if (err)
		log_info(&d->log,
			 "untouched pages of guests are made without a limit but memory-max=: no userfaultfd: %s",
			 strerror(-err));
	return 0;
}

static int switch_start(struct daemon *d)
{
	const struct sw_config config = {
		.workers = d->options.workers,
		.cpus = d->options.pinned ? d->options.cpus : NULL,
		.mode = d->options.poll ? SW_POLL : SW_ADAPTIVE,
		.spin_us = d->options.spin_us,
		.spin_percent = d->options.spin_percent,
		.fdb_entries = d->options.fdb_entries,
		.fdb_age_s = d->options.fdb_age_s,
		.log = logger_log(&d->switch_logger, d->options.daemon.log_level),
	};
	int err = sw_new(&config, d->loop, &d->ports.sw);

	if (err) {
		log_error(&d->log, "cannot start the workers: %s: try fewer of them", strerror(-err));
		return err;
	}
	err = notifier_open(d);
	if (err)
		return err;
	err = memory_open(d);
	if (err)
		return err;
	d->ports.loop = d->loop;
	d->ports.faults = fault_table;
	d->ports.log_level = d->options.daemon.log_level;
	d->ports.control_log = logger_log(&d->control_logger, d->options.daemon.log_level);
	return ports_init(&d->ports);
}

/* The default path's folder is ours to make; one that the user named is not. */
static int control_path(struct daemon *d)
{
	char *slash;
	int err;

	if (d->options.daemon.control) {
		if (strlen(d->options.daemon.control) >= sizeof(d->control_path))
			return -ENAMETOOLONG;
		memcpy(d->control_path, d->options.daemon.control, strlen(d->options.daemon.control) + 1);
		return 0;
	}
	err = ctl_default_path("switchd", d->control_path, sizeof(d->control_path));
	if (err)
		return err;
	slash = strrchr(d->control_path, '/');
	*slash = '\0';
	if (mkdir(d->control_path, geteuid() == 0 ? 0755 : 0700) && errno != EEXIST)
		err = -errno;
	*slash = '/';
	return err;
}

static const char *control_advice(int err)
{
	switch (-err) {
	case EADDRINUSE:
		return "another daemon answers there: stop it, or give --control another path";
	case EEXIST:
		return "something that is no socket is there: remove it, or give --control another path";
	case ENOENT:
		return "its folder does not exist: make it, or give --control another path";
	case EACCES:
		return "no permission there: give --control a path in a folder that this user may read and write";
	case EBUSY:
		return "somebody holds a lock on its folder (lslocks): end that, or give --control another path";
	case EPERM:
		return "not permitted: --control-group must be a group that this user is in";
	case ENAMETOOLONG:
		return "its last part is too long: at most 80 bytes after the last '/'";
	default:
		return strerror(-err);
	}
}

static int control_start(struct daemon *d)
{
	const struct ctl_server_config config = {
		.path = d->control_path,
		.set_group = d->options.daemon.set_control_group,
		.group = d->options.daemon.control_group,
		.commands = switchd_commands,
		.command_count = switchd_command_count,
		.opaque = &d->ports,
		.log = d->ports.control_log,
		.close_aside = aside_run,
	};
	int err = control_path(d);

	if (err == -ENOENT && !*d->control_path) {
		log_error(&d->log, "no place for the control socket: set XDG_RUNTIME_DIR, or give --control");
		return err;
	}
	if (!err)
		err = ctl_server_new(&config, d->loop, &d->control);
	if (err)
		log_error(&d->log, "control socket '%s': %s", d->control_path, control_advice(err));
	return err;
}

static int ports_open(struct daemon *d)
{
	for (unsigned i = 0; i < d->options.port_count && !d->stop; i++) {
		char why[SPEC_WHY_BYTES];
		struct port *port;
		int err;

		on_signal(d, 0); /* many ports take a while */
		err = ports_add(&d->ports, &d->options.ports[i], &d->log, &port, why);

		if (err) {
			log_error(&d->log, "%s", why);
			return err;
		}
	}
	return 0;
}

static int ports_start(struct daemon *d)
{
	int err, release_err;

	sw_hold(d->ports.sw);
	err = ports_open(d);
	release_err = sw_release(d->ports.sw);
	if (!err && release_err)
		log_error(&d->log, "cannot start the ports: %s", strerror(-release_err));
	return err ? err : release_err;
}

static int start(struct daemon *d)
{
	int err = loop_new(&d->loop);

	if (!err)
		err = signals_set(d);
	if (!err)
		err = logger_start();
	if (err) {
		log_error(&d->log, "cannot start: %s", strerror(-err));
		return err;
	}
	files_limit_raise();
	err = switch_start(d);
	if (!err)
		err = control_start(d); /* first: a second daemon must not touch the ports' sockets */
	if (!err)
		err = ports_start(d);
	return err;
}

static void ports_stop(struct daemon *d)
{
	uint64_t end_ms = now_ms() + SHUTDOWN_MS, now;

	ports_add_no_more(&d->ports);
	sw_hold(d->ports.sw);
	for (struct port *p = d->ports.first; p; p = p->next) {
		if (p->spec.type == SPEC_VDUSE)
			end_ms = now_ms() + SHUTDOWN_DRIVER_MS;
		if (!p->closing)
			ports_remove(p, NULL, NULL);
	}
	sw_release(d->ports.sw); /* without memory for it, the switch tries again */
	while (d->ports.first && (now = now_ms()) < end_ms)
		loop_dispatch(d->loop, (int)(end_ms - now));
}

/* Everything is given back, unless a worker cannot leave a port in time: then the kernel does it. */
static void stop(struct daemon *d, int exit_code)
{
	notify("STOPPING=1", false);
	ctl_server_free(d->control); /* nobody may add a port any more */
	if (d->ports.sw)
		ports_stop(d);
	if (d->ports.first) {
		log_warning(&d->log, "port %s does not come to rest: ending without it",
			    d->ports.first->spec.name);
		logger_end();
		_exit(exit_code);
	}
	if (d->ports.sw)
		ports_fini(&d->ports);
	sw_free(d->ports.sw);
	loop_remove(&d->signal_watch);
	fd_close(&d->signal_fd);
	loop_free(d->loop);
	signal(SIGBUS, SIG_DFL);
	vireo_notifier_free(d->ports.notifier);
	vireo_fault_table_free(fault_table);
	vireo_memory_free(d->ports.memory);
	options_free(&d->options);
	logger_end();
}

int main(int argc, char **argv)
{
	struct daemon d = {
		.signal_fd = -1,
		.control_logger = {.rate = &d.control_rate, .rated = "control"},
		.switch_logger = {.rate = &d.switch_rate, .rated = "switch"},
	};
	int ret = 0;

	switch (options_parse(argc, argv, stdout, stderr, &d.options)) {
	case SETTINGS_DONE:
		return 0;
	case SETTINGS_BAD:
		return 2;
	case SETTINGS_RUN:
		break;
	}
	d.log = logger_log(&d.logger, d.options.daemon.log_level);
	if (start(&d)) {
		stop(&d, 1);
		return 1;
	}
	if (!d.stop) {
		log_info(&d.log, "ready: %u ports, %u workers, control socket %s", d.options.port_count,
			 d.options.workers, d.control_path);
		notify("READY=1", true);
	}
	while (!d.stop && (ret >= 0 || ret == -EINTR))
		ret = loop_dispatch(d.loop, -1);
	if (!d.stop)
		log_error(&d.log, "the event loop failed: %s", strerror(-ret));
	ret = d.stop ? 0 : 1;
	stop(&d, ret);
	return ret;
}
