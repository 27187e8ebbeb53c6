/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

/*
 * The calling side: one connection, one call at a time. To connect blocks for at most timeout_ms, and so does a call,
 * from its first byte to the last of the answer: a server that sends a byte now and then gets no more time.
 */

#include <jansson.h>

#define CTL_CLIENT_TIMEOUT_MS 15000u
#define CTL_ANSWER_MAX_BYTES (128u << 20) /* a multiple of what a daemon of ours says at most: RPC_REPLY_MAX_BYTES */

struct ctl_client;

struct ctl_failure {
	int code; /* JSON-RPC's */
	char message[2048];
};

/* -ECONNREFUSED, -ENOENT: no daemon there; -EACCES: not allowed; ... */
int ctl_client_new(const char *path, unsigned timeout_ms, struct ctl_client **ret_client);
void ctl_client_free(struct ctl_client *client); /* takes NULL */

/* How long each call takes at most, from here on. 0: it fails with -ETIMEDOUT where the answer is not there already. */
void ctl_client_timeout_set(struct ctl_client *client, unsigned timeout_ms);

/* Sends a file descriptor (borrowed until then) with the next call. */
void ctl_client_fd_give(struct ctl_client *client, int fd);

/*
 * Calls `method`; `params` is taken over. 0 and *ret_result (the caller's), or -EREMOTEIO: the daemon said
 * no, *failure says why; -EPROTO: it talks nonsense, -ECONNRESET: it has gone, -ETIMEDOUT; -EMSGSIZE: CTL_ANSWER_MAX_BYTES have
 * come, and no end.
 */
int ctl_client_call(struct ctl_client *client, const char *method, json_t *params, json_t **ret_result,
		    struct ctl_failure *failure);

#endif
