/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_internal.h"
#include <errno.h>

/* Messages about one ring. Its index is checked, in full, by the verb. */

static int parse_state(const struct message *message, struct vu_vring_state *ret, const char **why)
{
	return vu_parse_vring_state(message->payload, message->header.size_bytes, ret, why) ? -EPROTO : 0;
}

int handle_set_vring_num(struct session *session, struct message *message, const char **why)
{
	struct vu_vring_state state;
	int r = parse_state(message, &state, why);

	return r ? r
		 : refuse(device_queue_size_set(session->device, state.index, state.num),
			  "no such ring, or not a ring's size", why);
}

int handle_set_vring_addr(struct session *session, struct message *message, const char **why)
{
	struct vu_vring_addr addr;

	if (vu_parse_vring_addr(message->payload, message->header.size_bytes, &addr, why))
		return -EPROTO;
	if (!session->calm) {
		int r = device_queue_address_set(session->device, addr.index, addr.desc, addr.avail, addr.used);

		if (r)
			return refuse(r, "no such ring", why);
	}
	return log_vring(session, &addr, why);
}

int handle_set_vring_base(struct session *session, struct message *message, const char **why)
{
	struct vu_vring_state state;
	int r = parse_state(message, &state, why);

	return r ? r
		 : refuse(device_queue_base_set(session->device, state.index, state.num),
			  "no such ring, or not a ring's base", why);
}

/*
 * A base says nothing of chains in flight, and who is told it may go on without our memory for them: so what a predecessor had in
 * flight is served first. With GET_VRING_BASE_INFLIGHT the front end takes the memory along, and nobody waits.
 */
int handle_get_vring_base(struct session *session, struct message *message, const char **why)
{
	struct vu_vring_state state;
	int r = parse_state(message, &state, why);
	uint32_t words[2];

	if (r)
		return r;
	words[0] = state.index;
	if (device_queue_owes(session->device, state.index) && !session_accepted(session, VU_PROTO_GET_VRING_BASE_INFLIGHT_BIT) &&
	    session_again(session))
		return 0;
	r = refuse(device_queue_stop(session->device, state.index, &words[1]), "no such ring", why);
	if (r)
		return r;
	reply_begin(&session->reply, VU_GET_VRING_BASE);
	reply_add(&session->reply, words, sizeof(words));
	return 0;
}

/* Of what the front end does not name it is told by messages. */
static int fd_named(struct session *session, uint32_t request, uint32_t index, const char **why)
{
	if (!session->inband)
		return 0;
	inband_fd_named(session->inband, request, index);
	return refuse(request == VU_SET_VRING_KICK ? inband_ring_ready(session->inband, index) : 0,
		      "no file descriptor for the ring's notifications", why);
}

typedef int queue_fd_verb(struct vireo_device *device, uint32_t index, int fd);

/* KICK, CALL and ERR: an fd, or bit 8 of the payload says that there is none. */
static int set_vring_fd(struct session *session, struct message *message, queue_fd_verb *verb,
			const char **why)
{
	struct vu_vring_fd vring;
	int fd, r;

	if (vu_parse_vring_fd(message->payload, message->header.size_bytes, &vring, why))
		return -EPROTO;
	if (vring.no_fd != !message->fd_count) {
		*why = vring.no_fd ? "a file descriptor although none was announced"
				   : "a file descriptor is missing";
		return -EPROTO;
	}
	fd = message_fd_take(message, 0);
	r = verb(session->device, vring.index, fd);
	if (r && fd >= 0)
		message->fds[0] = fd; /* refused: the message's again */
	if (!r)
		return fd_named(session, message->header.request, vring.index, why);
	if (r == -EBUSY)
		return refuse(r, "it holds the threads that raised this ring's eventfds before, full and blocking", why);
	return refuse(r, "no such ring, or no eventfd or (call, err) UNIX stream socket", why);
}

int handle_set_vring_kick(struct session *session, struct message *message, const char **why)
{
	return set_vring_fd(session, message, device_queue_kick_set, why);
}

int handle_set_vring_call(struct session *session, struct message *message, const char **why)
{
	return set_vring_fd(session, message, device_queue_call_set, why);
}

int handle_set_vring_err(struct session *session, struct message *message, const char **why)
{
	return set_vring_fd(session, message, device_queue_error_set, why);
}

/*
 * Some front ends send it before SET_FEATURES: it needs no gate, VHOST_USER_F_PROTOCOL_FEATURES is always
 * offered.
 */
int handle_set_vring_enable(struct session *session, struct message *message, const char **why)
{
	struct vu_vring_state state;
	int r = parse_state(message, &state, why);

	if (r)
		return r;
	if (state.num > 1)
		return refuse(-EINVAL, "a ring is enabled by 1 and disabled by 0", why);
	r = refuse(device_queue_enable(session->device, state.index, state.num), "no such ring", why);
	if (!r)
		device_resume(session->device); /* it may be what a complete ring has waited for */
	return r;
}
