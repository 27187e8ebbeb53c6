/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_SERVE_GUESTS_H
#define VIREOCTL_SERVE_GUESTS_H

#include "base/queue.h"
#include <microhttpd.h>

/*
 * Who is connected, the oldest first. Where more come than there is room for, the oldest has to go: whoever opens connections and says
 * nothing, or reads nothing, keeps nobody out. And nobody stays for longer than a minute.
 */
#define GUESTS_MAX  96u
#define GUESTS_LIMIT (2 * GUESTS_MAX) /* with those that are going */
#define GUESTS_STAY_MS 60000u

TAILQ_HEAD(guest_list, guest);

struct guests {
	struct guest_list staying;
	unsigned count; /* of them */
};

void guests_init(struct guests *guests);
/* Those whose time is over are shown out. */
void guests_look(struct guests *guests);
/* An MHD_NotifyConnectionCallback; `opaque`: the guests. */
void guests_notify(void *opaque, struct MHD_Connection *connection, void **guest, enum MHD_ConnectionNotificationCode what);

#endif
