/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/loop.h"
#include "base/system.h"
#include "base/util.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/*
 * The device's state, to and from another back end (vhost-user: "Migrating back-end state").
 *
 * The channel is always ours: the specification lets a back end answer with one, and the front end's, which may be a pipe whose lock
 * somebody holds, is closed aside and not looked at. It is a pair of UNIX sockets, one end of which goes with the reply.
 *
 * Saving: all of the state is in the socket, and our end is closed, before the reply goes; who does not read it holds his own socket.
 * Loading: our end is watched. What comes is collected, to one byte more than the device takes, and loaded at its end:
 *
 *	LOADING -> DONE    the other end is closed, and the device has taken it
 *	LOADING -> FAILED  too long, fds in it, refused by the device: one line says why, and nothing has changed
 *
 * CHECK_DEVICE_STATE takes what is there and tells the outcome. A state whose end has not come by then is cut short. The next
 * SET_DEVICE_STATE_FD takes the place of the one before.
 */

#define DIRECTION_SAVE 0u
#define DIRECTION_LOAD 1u
#define PHASE_STOPPED 0u
#define REPLY_FAILED 1u
#define REPLY_NO_FD 0x100u

enum transfer_outcome { LOADING, DONE, FAILED };

struct transfer {
	enum transfer_outcome outcome;
	int fd; /* loading: our end, else -1 */
	struct loop_watch *watch;
	struct message carrier; /* of fds that somebody sends with it */
	bool told; /* the outcome */
	size_t bytes, room;
	uint8_t data[];
};

void state_forget(struct session *session)
{
	struct transfer *transfer = session->transfer;

	if (!transfer)
		return;
	loop_remove(&transfer->watch);
	drop_socket(session->message.drop, &transfer->fd);
	message_clear(&transfer->carrier);
	free(transfer);
	session->transfer = NULL;
}

static void transfer_end(struct session *session, enum transfer_outcome outcome, const char *why)
{
	struct transfer *transfer = session->transfer;

	transfer->outcome = outcome;
	loop_remove(&transfer->watch);
	drop_socket(session->message.drop, &transfer->fd);
	message_clear(&transfer->carrier);
	if (outcome == FAILED)
		log_warning(device_log(session->device), "%s: device state of %zu bytes refused: %s",
			    device_name(session->device), transfer->bytes, why);
	else
		log_info(device_log(session->device), "%s: device state loaded, %zu bytes", device_name(session->device),
			 transfer->bytes);
}

static void transfer_complete(struct session *session)
{
	struct transfer *transfer = session->transfer;
	const char *why = "";
	int r = device_state_load(session->device, transfer->data, transfer->bytes, &why);

	transfer_end(session, r ? FAILED : DONE, why);
}

/* Takes what is there. */
static void transfer_take(struct session *session)
{
	struct transfer *transfer = session->transfer;

	while (transfer->outcome == LOADING) {
		const char *why = "";
		ssize_t got = message_read(&transfer->carrier, transfer->fd, transfer->data + transfer->bytes,
					   transfer->room - transfer->bytes, &why);

		if (!got)
			return;
		transfer->bytes += got > 0 ? (size_t)got : 0;
		if (transfer->carrier.fd_count)
			transfer_end(session, FAILED, "file descriptors are in it");
		else if (got == -EPIPE)
			transfer_complete(session);
		else if (got < 0)
			transfer_end(session, FAILED, why);
		else if (transfer->bytes == transfer->room)
			transfer_end(session, FAILED, "it is longer than this device's can be");
	}
}

static void transfer_readable(void *opaque, uint32_t events)
{
	transfer_take(opaque);
}

static struct transfer *transfer_new(struct session *session, size_t room)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer) + room);

	if (!transfer)
		return NULL;
	transfer->fd = -1;
	transfer->room = room;
	transfer->carrier.drop = session->message.drop;
	session->transfer = transfer;
	return transfer;
}

/* fds[0] is ours. Neither is non-blocking: who gets the other one may expect a pipe. */
static int ends_new(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) ? -errno : 0;
}

static int send_whole(int fd, const uint8_t *data, size_t bytes)
{
	while (bytes) {
		ssize_t sent = send(fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		data += sent;
		bytes -= (size_t)sent;
	}
	return 0;
}

static int state_send(struct session *session, int *ret_fd)
{
	struct transfer *transfer = transfer_new(session, device_state_bytes_max(session->device));
	int bytes = transfer ? device_state_save(session->device, transfer->data, transfer->room) : -ENOMEM;
	int fds[2] = { -1, -1 };
	int r = bytes < 0 ? bytes : ends_new(fds);

	if (!r)
		r = send_whole(fds[0], transfer->data, (size_t)bytes);
	fd_close(&fds[0]);
	if (r) {
		fd_close(&fds[1]);
		return r;
	}
	transfer->outcome = DONE;
	*ret_fd = fds[1];
	log_info(device_log(session->device), "%s: device state saved, %d bytes", device_name(session->device), bytes);
	return 0;
}

static int state_receive(struct session *session, int *ret_fd)
{
	struct transfer *transfer = transfer_new(session, device_state_bytes_max(session->device) + 1);
	int fds[2] = { -1, -1 };
	int r = transfer ? ends_new(fds) : -ENOMEM;

	if (!r)
		r = loop_add(session->loop, fds[0], EPOLLIN, transfer_readable, session, &transfer->watch);
	if (r) {
		fd_close(&fds[0]);
		fd_close(&fds[1]);
		return r;
	}
	transfer->fd = fds[0];
	*ret_fd = fds[1];
	return 0;
}

static const char *parameters_wrong(const struct session *session, uint32_t direction, uint32_t phase)
{
	if (direction != DIRECTION_SAVE && direction != DIRECTION_LOAD)
		return "neither to save nor to load";
	if (phase != PHASE_STOPPED)
		return "of a phase that there is not";
	return device_running(session->device) ? "rings run: all of them have to be stopped" : NULL;
}

int handle_set_device_state_fd(struct session *session, struct message *message, const char **why)
{
	uint32_t words[2]; /* direction, phase */
	const char *complaint;
	int fd = -1, r;

	memcpy(words, message->payload, sizeof(words));
	state_forget(session);
	complaint = parameters_wrong(session, words[0], words[1]);
	r = complaint			   ? -EINVAL
	    : words[0] == DIRECTION_SAVE ? state_send(session, &fd)
					   : state_receive(session, &fd);
	if (r) {
		state_forget(session);
		log_warning(device_log(session->device), "%s: SET_DEVICE_STATE_FD refused: %s", device_name(session->device),
			    complaint ? complaint : system_errno_text(-r));
	}
	reply_u64(session, r ? REPLY_FAILED | REPLY_NO_FD : 0);
	if (!r)
		reply_fd(&session->reply, fd);
	return 0;
}

bool state_pending(const struct session *session)
{
	return session->transfer && !session->transfer->told;
}

int handle_check_device_state(struct session *session, struct message *message, const char **why)
{
	struct transfer *transfer = session->transfer;

	if (transfer)
		transfer_take(session);
	if (transfer && transfer->outcome == LOADING)
		transfer_end(session, FAILED, "its end has not come: it is cut short");
	if (!transfer)
		log_warning(device_log(session->device), "%s: CHECK_DEVICE_STATE: no state has been transferred",
			    device_name(session->device));
	if (transfer)
		transfer->told = true;
	reply_u64(session, transfer && transfer->outcome == DONE ? 0 : 1);
	return 0;
}
