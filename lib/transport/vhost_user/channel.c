/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "transport/vhost_user/session_internal.h"
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * Messages to the front end (vhost-user: "Back-end message types"). The channel is the front end's: it may be
 * full, or a one-way pipe (user-mode Linux hands one). Nothing is awaited on it, so nothing asks for a reply;
 * what finds no room is told again after the next message of the session.
 */

/*
 * Of no other family: a TCP socket is locked while somebody sends, who may have the kernel wait for his memory meanwhile, and
 * MSG_DONTWAIT does not look at that.
 */
static bool is_unix_socket(int fd)
{
	int domain;
	socklen_t bytes = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) && domain == AF_UNIX;
}

int channel_set(struct session *session, int fd)
{
	/* A socket is told with each send not to block; a pipe must be ours for that. */
	if (!fd_is_pipe(fd) && !is_unix_socket(fd))
		return -EINVAL;
	if (fd_is_pipe(fd) && fd_notifier_take(&fd))
		return -EINVAL;
	drop_fd(session->message.drop, &session->channel_fd);
	session->channel_fd = fd;
	return 0;
}

/* write(2) to a pipe that nobody reads raises SIGPIPE, which is nobody's business but ours. */
static ssize_t pipe_write(int fd, const void *data, size_t bytes)
{
	const struct timespec now = { 0 };
	sigset_t sigpipe, old, pending;
	ssize_t n;

	sigpending(&pending);
	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &sigpipe, &old);
	n = write(fd, data, bytes);
	if (n < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&sigpipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return n;
}

static ssize_t channel_send(const struct session *session, const void *data, size_t bytes)
{
	ssize_t n = send(session->channel_fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 && errno == ENOTSOCK ? pipe_write(session->channel_fd, data, bytes) : n;
}

/* A device whose rings are all stopped keeps silent (vhost-user: "Suspended device state"). */
void channel_tell(struct session *session)
{
	const uint32_t words[] = { VU_BACKEND_CONFIG_CHANGE_MSG, VU_VERSION, 0 };
	ssize_t n;

	if (!session->config_changed || session->channel_fd < 0 || !device_running(session->device))
		return;
	if (!session_accepted(session, VU_PROTO_CONFIG_BIT) ||
	    !session_accepted(session, VU_PROTO_BACKEND_REQ_BIT))
		return;
	n = channel_send(session, words, sizeof(words));
	if (n < 0 && errno == EAGAIN)
		return;
	session->config_changed = false;
	if (n != (ssize_t)sizeof(words)) /* gone, or cut short: of no use any more */
		drop_fd(session->message.drop, &session->channel_fd);
}

void channel_config_changed(struct session *session)
{
	session->config_changed = true;
	channel_tell(session);
}
