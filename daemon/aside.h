/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_ASIDE_H
#define DAEMON_ASIDE_H

/*
 * Threads for the library's calls that may wait for others (run_aside and close_aside in vireo/endpoint.h).
 *
 * Those of vduse ports return when a driver of this kernel has been answered. While one is under way the kernel may hold
 * the lock of all network interfaces, RTNL, until the control thread has answered: whatever takes that lock looks at
 * aside_rtnl() first, and waits.
 *
 * The others close what peers have handed us, and return when the peer likes, or never: nobody waits for them. An endpoint, and
 * the control socket, have two of them under way at most, so a liar hangs two threads. Beyond ASIDE_THREADS_MAX
 * threads, which takes half as many endpoints of liars, work waits until a thread is done: nobody is held up then, either, but
 * fds and memory of the others' peers stay ours so long. None of these threads holds up the end of the process, but for
 * one that closes a file of a FUSE server: the kernel waits for that server.
 */

#include <stdbool.h>

#define ASIDE_LOOK_MS 10u /* who waits for the end looks so often */
#define ASIDE_THREADS_MAX 512u

/* 0, or a negative errno: there is no thread, and `work` is not called. */
int aside_run(void *opaque, void (*work)(void *argument), void *argument);
int aside_run_rtnl(void *opaque, void (*work)(void *argument), void *argument);
/* Is a call of aside_run_rtnl() under way? */
bool aside_rtnl(void);

#endif
