/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_SERVE_READERS_H
#define VIREOCTL_SERVE_READERS_H

#include "base/queue.h"
#include <microhttpd.h>

/*
 * Who is connected, the oldest first. Where more come than there is room for, the oldest has to go: whoever opens connections and says
 * nothing, or reads nothing, keeps nobody out. And nobody stays for longer than a minute.
 */
#define READERS_MAX  96u
#define READERS_LIMIT (2 * READERS_MAX) /* with those that are going */
#define READERS_STAY_MS 60000u

TAILQ_HEAD(reader_list, reader);

struct readers {
	struct reader_list staying;
	unsigned count; /* of them */
};

void readers_init(struct readers *readers);
/* Those whose time is over are shown out. */
void readers_look(struct readers *readers);
/* An MHD_NotifyConnectionCallback; `opaque`: the readers. */
void readers_notify(void *opaque, struct MHD_Connection *connection, void **reader, enum MHD_ConnectionNotificationCode what);

#endif
