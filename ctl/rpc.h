/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_RPC_H
#define CTL_RPC_H

/*
 * JSON-RPC 2.0, the pure part: a text with a request or a batch of them goes in, the text of the reply comes
 * out, when all its calls have been answered. No sockets here. One thread.
 */

#include "base/util.h"
#include "ctl/command.h"

#define RPC_PARSE_ERROR (-32700)
#define RPC_INVALID_REQUEST (-32600)
#define RPC_METHOD_NOT_FOUND (-32601)
#define RPC_INVALID_PARAMS (-32602)
#define RPC_INTERNAL_ERROR (-32603)
/* Ours (JSON-RPC leaves -32000..-32099 to servers). */
#define RPC_FAILED (-32000)    /* the environment said no: the message says why */
#define RPC_FORBIDDEN (-32001) /* this user may not use the control socket */
#define RPC_NOT_FOUND (-32002) /* no port of that name */
#define RPC_EXISTS (-32003)    /* a port of that name is there already */

#define RPC_BATCH_MAX 64u
#define RPC_REPLY_MAX_BYTES (32u << 20)

struct rpc_batch;
struct rpc_call;

/* Gets the reply (malloc'd, its owner from now on; no newline), or NULL: nothing is to be answered. */
typedef void rpc_done_fn(void *opaque, char *reply, size_t reply_bytes);

/*
 * Serves a text. `done` is called exactly once, possibly before this returns. Returns the batch while calls
 * are pending, NULL when done has been called. `fd` is what came with the text, or -1, and is -1 if a call has taken it; NULL: nothing can come.
 */
struct rpc_batch *rpc_handle(const struct ctl_command *commands, size_t command_count, void *serve_opaque,
			     const char *text, size_t text_bytes, int *fd, rpc_done_fn *done, void *done_opaque);

/* Nobody wants the reply any more: done will not be called. Pending calls are still to be answered. */
void rpc_batch_abandon(struct rpc_batch *batch);

/* ---- for ctl_serve_fn: each call is answered exactly once, now or later ---- */

/* A parameter of the call, or NULL if it was left out (only optional ones can be). */
const char *rpc_call_param(const struct rpc_call *call, const char *name);
/*
 * The file descriptor that came with the call, borrowed until the call is answered or the serve function returns; -1: none, as of all rows without
 * CTL_FD. It is a stranger's: whoever closes, reads or writes it may have to wait.
 */
int rpc_call_fd(const struct rpc_call *call);
void rpc_call_fd_take(struct rpc_call *call); /* the caller owns it from now on */
/* `result` is taken over; NULL (out of memory while building it) is answered with an internal error. */
void rpc_call_reply(struct rpc_call *call, json_t *result);
void rpc_call_error(struct rpc_call *call, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The text of an error reply without an id (malloc'd, or NULL), for those who never get to a call. */
char *rpc_error_text(int code, const char *message);

#endif
