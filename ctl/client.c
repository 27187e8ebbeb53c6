/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/client.h"
#include "base/clock.h"
#include "base/fd.h"
#include "ctl/rpc.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

struct ctl_client {
	int fd;
	int given; /* goes with the first byte of the next call; -1: none */
	unsigned timeout_ms;
	uint64_t end_ms; /* of the call */
	json_int_t id;
	char *in;
	size_t in_bytes, in_capacity;
};

/* A full backlog makes connect(2) wait, as long as a send may take. */
static int connect_to(const char *path, int fd, unsigned timeout_ms)
{
	const struct timeval timeout = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
	struct sockaddr_un addr;
	socklen_t addr_len;
	int dir_fd, err;

	err = fd_unix_address(path, &addr, &addr_len, &dir_fd);
	if (err)
		return err;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ||
	    connect(fd, (const struct sockaddr *)&addr, addr_len))
		err = errno == EAGAIN ? -ETIMEDOUT : -errno;
	fd_close(&dir_fd);
	return err;
}

int ctl_client_new(const char *path, unsigned timeout_ms, struct ctl_client **ret_client)
{
	struct ctl_client *client = calloc(1, sizeof(*client));
	int err;

	if (!client)
		return -ENOMEM;
	client->timeout_ms = timeout_ms;
	client->given = -1;
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	err = client->fd < 0 ? -errno : connect_to(path, client->fd, timeout_ms);
	if (err) {
		ctl_client_free(client);
		return err;
	}
	*ret_client = client;
	return 0;
}

void ctl_client_free(struct ctl_client *client)
{
	if (!client)
		return;
	fd_close(&client->fd);
	free(client->in);
	free(client);
}

void ctl_client_timeout_set(struct ctl_client *client, unsigned timeout_ms)
{
	client->timeout_ms = timeout_ms;
}

/* 0: something can be done, or a signal came. */
static int wait_for(const struct ctl_client *client, short events)
{
	struct pollfd socket = {.fd = client->fd, .events = events};
	uint64_t now = clock_now_ms();
	int ready;

	if (now >= client->end_ms)
		return -ETIMEDOUT;
	ready = poll(&socket, 1, (int)min_u64(client->end_ms - now, INT_MAX));
	return ready < 0 && errno != EINTR ? -errno : 0;
}

/* As send(2), with the fd that is to go along. */
static ssize_t send_some(struct ctl_client *client, const char *text, size_t bytes)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.space = {0}};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (client->given >= 0) {
		struct cmsghdr *header = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.space);
		*header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(header), &client->given, sizeof(int));
	}
	n = sendmsg(client->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		client->given = -1;
	return n;
}

void ctl_client_fd_give(struct ctl_client *client, int fd)
{
	client->given = fd;
}

static int send_all(struct ctl_client *client, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = send_some(client, text, bytes);
		int err = 0;

		if (n < 0 && errno == EAGAIN)
			err = wait_for(client, POLLOUT);
		else if (n < 0 && errno != EINTR)
			err = errno == EPIPE ? -ECONNRESET : -errno;
		if (err)
			return err;
		text += n > 0 ? n : 0;
		bytes -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int read_more(struct ctl_client *client)
{
	ssize_t n;
	int err;

	if (client->in_capacity == client->in_bytes) {
		size_t capacity = client->in_capacity ? client->in_capacity * 2 : 65536;
		char *in;

		if (capacity > CTL_ANSWER_MAX_BYTES)
			return -EMSGSIZE;
		in = realloc(client->in, capacity);
		if (!in)
			return -ENOMEM;
		client->in = in;
		client->in_capacity = capacity;
	}
	err = wait_for(client, POLLIN); /* before each read: a flood has an end, too */
	if (err)
		return err;
	n = recv(client->fd, client->in + client->in_bytes, client->in_capacity - client->in_bytes, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	client->in_bytes += (size_t)n;
	return n ? 0 : -ECONNRESET;
}

/* One call at a time: what comes up to the newline is its reply, and nothing follows it. */
static int read_reply(struct ctl_client *client, json_t **ret_reply)
{
	json_t *reply;
	size_t scanned = 0;
	char *newline = NULL;
	int err;

	client->in_bytes = 0;
	while (!newline) {
		err = read_more(client);
		if (err)
			return err;
		newline = memchr(client->in + scanned, '\n', client->in_bytes - scanned);
		scanned = client->in_bytes;
	}
	reply = json_loadb(client->in, (size_t)(newline - client->in), 0, NULL);
	if (!reply)
		return -EPROTO;
	*ret_reply = reply;
	return 0;
}

static int take_reply(json_t *reply, json_int_t id, json_t **ret_result, struct ctl_failure *failure)
{
	json_t *error = json_object_get(reply, "error"), *result = json_object_get(reply, "result");
	const char *message = json_string_value(json_object_get(error, "message"));

	if (message) {
		failure->code = (int)json_integer_value(json_object_get(error, "code"));
		snprintf(failure->message, sizeof(failure->message), "%s", message);
		return -EREMOTEIO;
	}
	if (!result || json_integer_value(json_object_get(reply, "id")) != id)
		return -EPROTO;
	*ret_result = json_incref(result);
	return 0;
}

int ctl_client_call(struct ctl_client *client, const char *method, json_t *params, json_t **ret_result,
		    struct ctl_failure *failure)
{
	json_t *request, *reply;
	char *text;
	int err;

	request = json_pack("{s:s, s:s, s:o, s:I}", "jsonrpc", "2.0", "method", method, "params", params,
			    "id", ++client->id);
	text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	json_decref(request);
	if (!text)
		return -ENOMEM;
	client->end_ms = clock_now_ms() + client->timeout_ms;
	err = send_all(client, text, strlen(text));
	if (!err)
		err = send_all(client, "\n", 1);
	free(text);
	if (err && err != -ECONNRESET) /* a daemon that refuses us says so before it closes */
		return err;
	err = read_reply(client, &reply);
	if (err)
		return err;
	err = take_reply(reply, client->id, ret_result, failure);
	json_decref(reply);
	return err;
}
