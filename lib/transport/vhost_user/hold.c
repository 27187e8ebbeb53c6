/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_internal.h"
#include <errno.h>

/*
 * A session that stands still: it is between two messages, reads none, and all its queues are quiet, each at a base. It can be told
 * to another process then (handover.c), and goes on there, or here as if nothing had been. While it is held its connection
 * belongs to both processes: whoever lets go of it closes an fd, and shuts nothing down.
 *
 * What another process could not go on with is refused once the queues are quiet, and the session goes on.
 */

bool session_hold_waits(const struct session *session)
{
	return session->state == SESSION_REPLY || (session->state == SESSION_RECEIVE && message_begun(&session->message));
}

void session_hold_end(struct session *session)
{
	void (*held)(void *opaque, int err) = session->held;
	const char *refused = session_handover_refused(session);

	session->held = NULL;
	session->state = SESSION_HELD;
	device_hold(session->device, true);
	if (refused) {
		log_warning(device_log(session->device), "%s: the session cannot be handed over now: %s", device_name(session->device), refused);
		session_go_on(session);
	}
	held(session->opaque, refused ? -EBUSY : 0);
}
