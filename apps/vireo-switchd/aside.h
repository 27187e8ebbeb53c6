/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_ASIDE_H
#define SWITCHD_ASIDE_H

/*
 * Threads for the library's calls that may wait for others (run_aside in vireo/endpoint.h).
 *
 * Those of vduse ports return when a driver of this kernel has been answered. While one is under way the kernel may hold
 * the lock of all network interfaces, RTNL, until the control thread has answered: whatever takes that lock waits
 * (ports_add_soon(), and the freeing of such ports). Those of cuse ports close what a caller has handed us, and return
 * when the caller likes: nobody waits for them.
 */

#include <stdbool.h>

#define ASIDE_LOOK_MS 10u /* who waits for the end looks so often */

/* 0, or a negative errno: there is no thread, and `work` is not called. */
int aside_run(void *opaque, void (*work)(void *argument), void *argument);
int aside_run_rtnl(void *opaque, void (*work)(void *argument), void *argument);
/* Is a call of aside_run_rtnl() under way? */
bool aside_rtnl(void);

#endif
