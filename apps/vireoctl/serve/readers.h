/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_SERVE_READERS_H
#define VIREOCTL_SERVE_READERS_H

#include "base/queue.h"
#include <microhttpd.h>
#include <stdint.h>

/*
 * Who is connected, the oldest first. Where more come than there is room for, the oldest has to go: whoever opens connections and says
 * nothing, or reads nothing, keeps nobody out. And nobody stays for longer than a minute.
 *
 * An answer of the daemon's (megabytes, of a thousand ports) lives as long as somebody still reads it. Where more than READERS_ANSWERS are
 * being read, those who read the oldest have to go: so there are no more, besides the latest ones and those whose readers are going.
 */
#define READERS_MAX  96u
#define READERS_LIMIT (2 * READERS_MAX) /* with those that are going */
#define READERS_STAY_MS 60000u
#define READERS_ANSWERS 8u

TAILQ_HEAD(reader_list, reader);

struct readers {
	struct reader_list staying;
	unsigned count; /* of them */
};

void readers_init(struct readers *readers);
/* Those whose time is over are shown out. */
void readers_look(struct readers *readers);
/* `connection` is about to get the answer of that number (struct serve_answer). */
void readers_given(struct readers *readers, struct MHD_Connection *connection, uint64_t number);
/* An MHD_RequestCompletedCallback; `opaque`: the readers. What the connection has been given, it has read. */
void readers_completed(void *opaque, struct MHD_Connection *connection, void **request, enum MHD_RequestTerminationCode how);
/* An MHD_NotifyConnectionCallback; `opaque`: the readers. */
void readers_notify(void *opaque, struct MHD_Connection *connection, void **reader, enum MHD_ConnectionNotificationCode what);

#endif
