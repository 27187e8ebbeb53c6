/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_NOTIFIER_H
#define BASE_NOTIFIER_H

struct vireo_notifier;

/*
 * Raises an eventfd (or writes to a pipe) that a peer shares, whatever the peer has done to it. Any thread.
 * NULL: as fd_event_raise(), which a peer that races may block.
 */
void notifier_raise(struct vireo_notifier *notifier, int fd);

#endif
