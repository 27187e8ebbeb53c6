/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/client.h"
#include "base/fd.h"
#include "ctl/rpc.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

struct ctl_client {
	int fd;
	json_int_t id;
	char *in;
	size_t in_bytes, in_capacity;
};

static int connect_to(const char *path, int fd)
{
	const struct timeval timeout = {.tv_sec = CTL_CLIENT_TIMEOUT_S};
	struct sockaddr_un addr;
	socklen_t addr_len;
	int dir_fd, err;

	err = fd_unix_address(path, &addr, &addr_len, &dir_fd);
	if (err)
		return err;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ||
	    connect(fd, (const struct sockaddr *)&addr, addr_len))
		err = -errno;
	fd_close(&dir_fd);
	return err;
}

int ctl_client_new(const char *path, struct ctl_client **ret_client)
{
	struct ctl_client *client = calloc(1, sizeof(*client));
	int err;

	if (!client)
		return -ENOMEM;
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	err = client->fd < 0 ? -errno : connect_to(path, client->fd);
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

static int send_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : errno == EPIPE ? -ECONNRESET : -errno;
		text += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int read_more(struct ctl_client *client)
{
	ssize_t n;

	if (client->in_capacity == client->in_bytes) {
		size_t capacity = client->in_capacity ? client->in_capacity * 2 : 65536;
		char *in = capacity > 4 * (size_t)RPC_REPLY_MAX_BYTES ? NULL : realloc(client->in, capacity);

		if (!in)
			return -ENOMEM;
		client->in = in;
		client->in_capacity = capacity;
	}
	do
		n = read(client->fd, client->in + client->in_bytes, client->in_capacity - client->in_bytes);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
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
	err = send_all(client->fd, text, strlen(text));
	if (!err)
		err = send_all(client->fd, "\n", 1);
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
