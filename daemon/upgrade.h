/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_UPGRADE_H
#define DAEMON_UPGRADE_H

/*
 * --upgrade, which ExecReload= of the units says: a takeover (daemon/takeover.h) in the background, from a daemon that runs another
 * program than the caller. A service manager waits for the process that it has started, and takes another one for the service's main
 * process: so the one that takes over is an orphan, which the manager adopts, and says itself that it is the main process (sd_notify(3)).
 */

#include <stdbool.h>

struct daemon_options;

/*
 * False: this process goes on as with --takeover; with --upgrade it is another one than the caller's. True: it is the caller's, and
 * ends with *ret_status: 0: another process has taken over, or the one that runs has this program already; 1: the one that runs
 * goes on. A line has been printed or logged then. `program` and `name` are "vireo-switchd" and "switchd"; before any thread is made.
 */
bool upgrade_aside(struct daemon_options *options, const char *program, const char *name, int *ret_status);

/* All has been taken over and is served: the manager, and the process that waits, are told. Without --upgrade nothing happens. */
void upgrade_done(const struct daemon_options *options);

#endif
