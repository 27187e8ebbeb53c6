/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_NOTIFY_H
#define SWITCHD_NOTIFY_H

/* Tells the service manager ("READY=1") as sd_notify(3) describes; nothing happens without $NOTIFY_SOCKET. */
void notify(const char *state);

#endif
