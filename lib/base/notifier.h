/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_NOTIFIER_H
#define BASE_NOTIFIER_H

#include <stdbool.h>

struct vireo_notifier;

/*
 * Raises an eventfd that a peer shares, whatever the peer has done to it. Any thread. False: there is no kernel AIO, or it
 * is no eventfd; nothing has been done. `notifier` may be NULL.
 */
bool notifier_raise_aio(struct vireo_notifier *notifier, int fd);
/* The same, or else fd_event_raise(), in which a peer that races may hold the caller. */
void notifier_raise(struct vireo_notifier *notifier, int fd);

/* NULL: false. What it can do now; a later call may say more. */
bool notifier_has_aio(struct vireo_notifier *notifier);
bool notifier_has_aside(const struct vireo_notifier *notifier); /* a run_aside */

/* For who may outlive its owner: raiser.c. */
struct vireo_notifier *notifier_get(struct vireo_notifier *notifier);
void notifier_put(struct vireo_notifier *notifier);
int notifier_run_aside(struct vireo_notifier *notifier, void (*work)(void *argument), void *argument);

#endif
