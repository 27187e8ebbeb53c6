/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

/*
 * A daemon: one control thread that dispatches a loop until a signal ends it. Its life:
 *
 *	settings_parse()	what the user wants; exit code 2 if that makes no sense
 *	daemon_open()		log, loop, signals, and what devices need
 *	daemon_control()	the control socket. Before anything else that has an address: it fails if the daemon runs already
 *	daemon_run()		until the end is asked for
 *	daemon_stop()		no commands any more; the daemon now lets go of its own things, and dispatches daemon->loop for it
 *	daemon_close()
 *
 * Each function that fails has logged a line that says what to do. All in the control thread.
 */

#include "ctl/command.h"
#include "daemon/logger.h"
#include "daemon/settings.h"
#include "vireo/base.h"
#include <stdbool.h>

#define DAEMON_PATH_BYTES 4096u

struct ctl_server;
struct loop;
struct refused;
struct loop_watch;
struct vireo_fault_table;
struct vireo_memory;
struct vireo_notifier;
struct watchdog;

struct daemon {
	struct loop *loop;
	struct vireo_log log;	      /* the daemon's own lines */
	struct vireo_log control_log; /* what clients of the control socket can have said again and again: at a rate */
	int taken_fd;		      /* -1, or a control socket that another process has handed over: daemon_control() takes it */
	bool stop;		      /* the end has been asked for */
	uint64_t watchdog_us;	      /* how long the service manager waits for a sign of life; 0: for none. A takeover is told it */
	bool ready;		      /* the service manager has been told so */
	void (*reload)(void *opaque); /* SIGHUP; NULL: it has no meaning */
	void *reload_opaque;
	char control_path[DAEMON_PATH_BYTES];
	/* For devices and endpoints. */
	struct vireo_fault_table *faults;
	struct vireo_notifier *notifier;
	struct vireo_memory *memory;
	/* daemon.c's own */
	const struct daemon_options *options;
	struct logger logger, control_logger;
	struct rate control_rate;
	struct ctl_server *control;
	struct refused *refused; /* NULL: no sandbox */
	int signal_fd;
	struct loop_watch *signal_watch;
	struct watchdog *watchdog; /* NULL: no service manager waits for signs of life, or none are given yet */
};

/*
 * `options` (borrowed) is kept until daemon_close(), which is called in either case. Before any thread is made: threads
 * inherit what is done about signals.
 */
int daemon_open(struct daemon *daemon, const struct daemon_options *options);

/*
 * Serves `commands` (borrowed), each with `opaque`, at --control, or at the default path of a daemon called `name`: "switchd" is
 * /run/vireo/switchd.sock.
 */
int daemon_control(struct daemon *daemon, const char *name, const struct ctl_command *commands, size_t count, void *opaque);

/* Where daemon_control() is going to serve: fills in control_path. 0, or a line has been logged. */
int daemon_control_path(struct daemon *daemon, const char *name);

/* Does a daemon serve there already? For who has to touch what is another's before daemon_control() can be called. */
bool daemon_control_answers(const struct daemon_options *options, const char *name);

/* From now on SIGHUP calls `reload`, in the control thread. */
void daemon_on_reload(struct daemon *daemon, void (*reload)(void *opaque), void *opaque);

/* Has the end been asked for? For whoever is busy for long and does not dispatch the loop. */
bool daemon_ending(struct daemon *daemon);

/*
 * Signs of life for the service manager, if it waits for them; once. daemon_run() does this, but for who takes over it is too late then to
 * fail: takeover_answer() does. 0, or a line has been logged.
 */
int daemon_watchdog(struct daemon *daemon);

/* The exit code: 0: a signal has asked for the end; 1: the loop has failed. */
int daemon_run(struct daemon *daemon);

void daemon_stop(struct daemon *daemon);
void daemon_close(struct daemon *daemon);

/* Serves the command `version` of any daemon. */
void daemon_serve_version(struct rpc_call *call, const char *program);
/* Serves the command `log level`; its log is told of a change. */
void daemon_serve_log_level(struct rpc_call *call, const struct vireo_log *log);

#endif
