/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_SIGNALS_H
#define DAEMON_SIGNALS_H

/*
 * Signals of a daemon: some end it in order, and none of the others ends it without. They become readable at an fd. What
 * stops a process (SIGTSTP), or is meant to leave a core behind (SIGQUIT, SIGABRT), does what it always does.
 */

enum signals_verdict {
	SIGNALS_NONE, /* that was all */
	SIGNALS_END,
	SIGNALS_RELOAD, /* of a daemon that can; else it has no meaning */
	SIGNALS_NO_MEANING,
};

/*
 * An fd, non-blocking, or a negative errno. Before any thread is made: threads inherit the mask. A signal that has a handler
 * already, of a profiler for instance, is left to it; one that is ignored stays so.
 */
int signals_open(void);

/* For the end of a process that has nothing to end in order any more: what ends it does so at once, in the calling thread. */
void signals_end_at_once(void);

/* The next signal that has come. */
enum signals_verdict signals_next(int fd, int *ret_number);

/* "SIGHUP": what is said about one that has no meaning. */
const char *signals_name(int number);

#endif
