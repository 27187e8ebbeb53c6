/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client is in one of three states, and only one of them reads:
 *   reading    no batch and no unsent reply: lines are taken from `in`, more is read when there is none
 *   serving    a batch has calls pending (a port is being removed): nothing is read
 *   writing    a reply is not out yet: nothing is read
 * So a client holds at most one line (CTL_LINE_MAX_BYTES) and one reply (RPC_REPLY_MAX_BYTES), however fast
 * it asks; what it sends meanwhile waits in the kernel. A reply that makes no progress for stall_ms ends the
 * client.
 *
 * `depth` guards against freeing a client under its own feet: rpc_handle() may call back at once.
 */
#include "ctl/server.h"
#include "base/clock.h"
#include "base/drop.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/unix_socket.h"
#include "ctl/peer.h"
#include "ctl/rpc.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES_PER_TURN 16
#define READ_BYTES 16384u
#define TICK_MS 500u
#define CTL_BACKLOG 64
#define FDS_AT_ONCE_MAX 253u /* SCM_MAX_FD, see unix(7) */

struct client {
	struct ctl_server *server;
	struct client *next;
	int fd;
	int given; /* a file descriptor that came, for the line that it came with; -1: none */
	struct loop_watch *watch; /* NULL: the peer has hung up, what it sent is still served */
	struct rpc_batch *batch;
	char *in;
	size_t in_bytes, in_capacity, in_scanned;
	char *out;
	size_t out_bytes, out_sent;
	uint64_t active_ms; /* last progress */
	unsigned depth;
	bool eof, dead;
};

struct ctl_server {
	struct ctl_server_config config;
	struct loop *loop;
	struct drop *drop; /* or NULL */
	struct unix_listener listener;
	struct loop_watch *watch;
	struct loop_timer *timer;
	struct client *clients;
	unsigned client_count;
	bool accept_paused, ticking, paused;
	bool takes_fds; /* a command does */
};

static void tick_start(struct ctl_server *s)
{
	if (s->ticking) /* restarting it would let one busy client put off the next tick for ever */
		return;
	s->ticking = true;
	loop_timer_start(s->timer, TICK_MS);
}

/* It is off the list. */
static void client_destroy(struct client *c)
{
	if (c->batch)
		rpc_batch_abandon(c->batch);
	loop_remove(&c->watch);
	drop_socket(c->server->drop, &c->fd);
	drop_fd(c->server->drop, &c->given);
	free(c->in);
	free(c->out);
	free(c);
}

static void client_free(struct client *c)
{
	struct client **at = &c->server->clients;

	c->dead = true;
	if (c->depth)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->server->client_count--;
	client_destroy(c);
}

static void client_drop(struct client *c, const char *why)
{
	log_warning(&c->server->config.log, "control: client dropped: %s", why);
	client_free(c);
}

static void client_run(struct client *c);

static void client_replied(void *opaque, char *reply, size_t reply_bytes)
{
	struct client *c = opaque;
	char *line;

	c->batch = NULL;
	line = reply ? realloc(reply, reply_bytes + 1) : NULL;
	if (line) {
		line[reply_bytes] = '\n';
		c->out = line;
		c->out_bytes = reply_bytes + 1;
		c->out_sent = 0;
		c->active_ms = clock_now_ms();
	} else {
		free(reply);
	}
	if (!c->depth)
		client_run(c);
}

static void client_serve_line(struct client *c, const char *line, size_t bytes)
{
	const struct ctl_server_config *config = &c->server->config;
	size_t blank = 0;

	while (blank < bytes && strchr(" \t\r", line[blank]) && line[blank])
		blank++;
	if (blank < bytes)
		c->batch = rpc_handle(config->commands, config->command_count, config->opaque, line, bytes,
				      &c->given, client_replied, c);
	drop_fd(c->server->drop, &c->given); /* nobody had a use for it */
}

/* Serves one line out of `in`. False: there is no whole one. */
static bool client_line(struct client *c)
{
	char *newline = NULL;
	size_t bytes, used;

	if (c->in_bytes > c->in_scanned)
		newline = memchr(c->in + c->in_scanned, '\n', c->in_bytes - c->in_scanned);
	if (!newline && !(c->eof && c->in_bytes)) {
		c->in_scanned = c->in_bytes;
		return false;
	}
	bytes = newline ? (size_t)(newline - c->in) : c->in_bytes;
	used = bytes + (newline ? 1 : 0);
	client_serve_line(c, c->in, bytes);
	c->in_bytes -= used;
	memmove(c->in, c->in + used, c->in_bytes);
	c->in_scanned = 0;
	if (!c->in_bytes) {
		free(c->in);
		c->in = NULL;
		c->in_capacity = 0;
	}
	return true;
}

static int in_grow(struct client *c)
{
	size_t capacity = c->in_capacity ? c->in_capacity * 2 : READ_BYTES;
	char *in;

	if (c->in_capacity > c->in_bytes)
		return 0;
	if (c->in_bytes >= CTL_LINE_MAX_BYTES)
		return -EMSGSIZE;
	in = realloc(c->in, capacity);
	if (!in)
		return -ENOMEM;
	c->in = in;
	c->in_capacity = capacity;
	return 0;
}

/* The last one is kept for the line that it came with, where there is a command that takes one. */
static void fds_take(struct client *c, struct msghdr *msg)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			drop_fd(c->server->drop, &c->given);
			if (c->server->takes_fds)
				c->given = fd_take(&fd);
			drop_fd(c->server->drop, &fd);
		}
	}
}

/* As read(2), which would have the kernel close the fds that come along in this thread. There is room for all of them. */
static ssize_t receive(struct client *c, void *data, size_t bytes)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * FDS_AT_ONCE_MAX)];
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = bytes};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n >= 0)
		fds_take(c, &msg);
	return n;
}

/* 1: something came, 0: nothing now (or never: eof), negative: drop the client. */
static int client_read(struct client *c)
{
	int err = in_grow(c);
	ssize_t n;

	if (err)
		return err;
	n = receive(c, c->in + c->in_bytes, c->in_capacity - c->in_bytes);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0) {
		c->eof = true;
		return 0;
	}
	c->in_bytes += (size_t)n;
	c->active_ms = clock_now_ms();
	return 1;
}

/* 0: all is out, or the socket is full; negative: drop the client. */
static int client_write(struct client *c)
{
	while (c->out_sent < c->out_bytes) {
		ssize_t n = send(c->fd, c->out + c->out_sent, c->out_bytes - c->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		c->out_sent += (size_t)n;
		c->active_ms = clock_now_ms();
	}
	free(c->out);
	c->out = NULL;
	c->out_bytes = c->out_sent = 0;
	return 0;
}

/* One step; 1: there is more to do now, 0: wait, negative: drop. */
static int client_step(struct client *c)
{
	int ret;

	if (c->out) {
		ret = client_write(c);
		return ret ? ret : c->out ? 0 : 1;
	}
	if (c->batch)
		return 0;
	if (client_line(c))
		return 1;
	if (c->eof)
		return -ENODATA;
	ret = client_read(c);
	return ret == 0 && c->eof ? 1 : ret;
}

static void client_wait(struct client *c, bool again)
{
	struct ctl_server *s = c->server;

	if (c->out || again)
		tick_start(s);
	if (!c->watch)
		return;
	if (c->out || again) /* "again": a writable socket calls back at once, after everybody else's turn */
		loop_change(c->watch, EPOLLOUT);
	else
		loop_change(c->watch, c->batch ? 0 : EPOLLIN);
}

static void client_run(struct client *c)
{
	int ret = 1;

	if (c->server->paused) { /* ctl_server_pause() comes back here */
		if (c->watch)
			loop_change(c->watch, 0);
		return;
	}
	c->depth++;
	for (int turn = 0; ret > 0 && turn < 4 * LINES_PER_TURN && !c->dead; turn++)
		ret = client_step(c);
	c->depth--;
	if (c->dead || ret == -ENODATA)
		client_free(c);
	else if (ret == -EMSGSIZE)
		client_drop(c, "more than 1 MiB without a newline");
	else if (ret < 0)
		client_drop(c, strerror(-ret));
	else
		client_wait(c, ret > 0);
}

static void client_event(void *opaque, uint32_t events)
{
	struct client *c = opaque;

	if (events & (EPOLLHUP | EPOLLERR))
		loop_remove(&c->watch); /* or it would be reported for ever while we are serving */
	client_run(c);
}

/* Of those that are alike in that, who came first: they are listed from the last to come on. */
static void drop_idlest(struct ctl_server *s)
{
	struct client *idlest = s->clients;

	for (struct client *c = s->clients; c; c = c->next)
		if (c->active_ms <= idlest->active_ms)
			idlest = c;
	client_drop(idlest, "too many clients, and this one was idle longest");
}

static void client_new(struct ctl_server *s, int *fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return;
	if (loop_add(s->loop, *fd, EPOLLIN, client_event, c, &c->watch)) {
		free(c);
		return;
	}
	c->server = s;
	c->fd = fd_take(fd);
	c->given = -1;
	c->active_ms = clock_now_ms();
	c->next = s->clients;
	s->clients = c;
	if (++s->client_count > CTL_CLIENTS_MAX)
		drop_idlest(s);
}

static void refuse(struct ctl_server *s, int fd)
{
	char *text = rpc_error_text(RPC_FORBIDDEN,
				    "permission denied: connect as the daemon's user or as a member of "
				    "its --control-group");

	log_warning(&s->config.log,
		    "control: connection refused: neither the daemon's user nor in its group");
	if (text && send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		(void)!send(fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	free(text);
}

static void server_accept(void *opaque, uint32_t events)
{
	struct ctl_server *s = opaque;
	bool crowded = drop_waiting(s->drop) > DROP_WAITING_MAX; /* each client leaves a socket behind */
	int fd = crowded ? -1 : accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (crowded || errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			s->accept_paused = true; /* the listener stays readable: try again at the next tick */
			loop_change(s->watch, 0);
			tick_start(s);
		}
		return;
	}
	if (ctl_peer_allowed(fd, s->config.set_group, s->config.group))
		client_new(s, &fd);
	else
		refuse(s, fd);
	drop_socket(s->drop, &fd);
}

static void server_tick(void *opaque)
{
	struct ctl_server *s = opaque;
	uint64_t now = clock_now_ms();
	bool more = false;

	s->ticking = false;
	for (struct client *c = s->clients, *next; c; c = next) {
		next = c->next;
		if (!c->out && (c->watch || c->batch))
			continue;
		if (now - c->active_ms >= s->config.stall_ms)
			client_drop(c, "it does not read its reply");
		else if (!c->watch)
			client_run(c);
		more = true;
	}
	if (s->accept_paused) {
		s->accept_paused = false;
		loop_change(s->watch, EPOLLIN);
	}
	if (more)
		tick_start(s);
}

/* What is unlinked in the end is what lies there now. */
static int server_adopt(struct ctl_server *s)
{
	struct stat st;
	int err = fd_nonblocking(*s->config.listener_fd);

	if (err)
		return err;
	s->listener.path = strdup(s->config.path);
	if (!s->listener.path)
		return -ENOMEM;
	if (!lstat(s->config.path, &st)) {
		s->listener.device = st.st_dev;
		s->listener.inode = st.st_ino;
	}
	s->listener.fd = fd_take(s->config.listener_fd);
	s->config.listener_fd = NULL;
	return 0;
}

static int server_listen(struct ctl_server *s)
{
	const struct unix_listen_config config = {
		.path = s->config.path,
		.mode = s->config.set_group ? 0660 : 0600,
		.uid = (uid_t)-1,
		.gid = s->config.set_group ? s->config.group : (gid_t)-1,
		.backlog = CTL_BACKLOG,
		.drop = s->drop,
	};

	return s->config.listener_fd ? server_adopt(s) : unix_listen(&config, &s->listener);
}

int ctl_server_new(const struct ctl_server_config *config, struct loop *loop, struct ctl_server **ret_server)
{
	struct ctl_server *s = calloc(1, sizeof(*s));
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.stall_ms = config->stall_ms ? config->stall_ms : CTL_STALL_MS;
	s->loop = loop;
	for (size_t i = 0; i < config->command_count; i++)
		s->takes_fds |= (config->commands[i].flags & CTL_FD) != 0;
	s->listener.fd = -1;
	if (config->close_aside)
		err = drop_new(config->close_aside, NULL, &s->drop);
	if (!err)
		err = loop_timer_new(loop, server_tick, s, &s->timer);
	if (!err)
		err = server_listen(s);
	if (!err)
		err = loop_add(loop, s->listener.fd, EPOLLIN, server_accept, s, &s->watch);
	if (err) {
		ctl_server_free(s);
		return err;
	}
	*ret_server = s;
	return 0;
}

void ctl_server_pause(struct ctl_server *server, bool on)
{
	server->paused = on;
	loop_change(server->watch, on ? 0 : EPOLLIN);
	for (struct client *c = on ? NULL : server->clients, *next; c; c = next) {
		next = c->next;
		if (next)
			next->depth++; /* whose answer comes of this line waits for its turn, and does not go meanwhile */
		client_run(c);
		if (next)
			next->depth--;
	}
}

int ctl_server_fd(const struct ctl_server *server)
{
	return server->listener.fd;
}

void ctl_server_free(struct ctl_server *server)
{
	struct client *c;

	if (!server)
		return;
	while ((c = server->clients)) {
		server->clients = c->next;
		client_destroy(c);
	}
	loop_remove(&server->watch);
	if (server->timer)
		loop_timer_free(&server->timer);
	unix_unlisten(&server->listener, server->drop);
	drop_unref(server->drop);
	free(server);
}
