/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_SERVER_H
#define CTL_SERVER_H

/*
 * JSON-RPC 2.0 on a UNIX stream socket, one JSON text a line. All in the thread that dispatches the loop;
 * never blocks.
 */

#include "ctl/command.h"
#include "vireo/base.h"
#include <sys/types.h>

struct ctl_server;
struct loop;

#define CTL_LINE_MAX_BYTES (1u << 20) /* a client that sends more without a newline is dropped */
#define CTL_CLIENTS_MAX 32u	      /* one more: the one that has been idle longest is dropped */
#define CTL_STALL_MS 5000u	      /* a client that takes nothing of its reply for so long is dropped */

struct ctl_server_config {
	const char *path; /* its folder exists; long ones as in fd_unix_address() */
	bool set_group;	  /* members of `group` may connect, beside root and the daemon's own user */
	gid_t group;
	const struct ctl_command *commands; /* kept */
	size_t command_count;
	void *opaque; /* for the rows' serve functions */
	struct vireo_log log;
	unsigned stall_ms; /* 0: CTL_STALL_MS */
	int *listener_fd;  /* a socket that listens at `path` already, and is taken out of there; NULL: one is made */
	/*
	 * As in vireo/endpoint.h, with NULL for its opaque: closes the clients' sockets, and the fds that they send, which
	 * nobody has a use for. NULL: the loop's thread closes them, and waits for as long as their owner likes.
	 */
	int (*close_aside)(void *opaque, void (*work)(void *argument), void *argument);
};

/*
 * -EADDRINUSE: a daemon answers there; -EEXIST: something that is no socket is there; or what unix_listen() says.
 */
int ctl_server_new(const struct ctl_server_config *config, struct loop *loop, struct ctl_server **ret_server);

/* Clients wait: nothing is read of them, nobody is accepted. */
void ctl_server_pause(struct ctl_server *server, bool on);
int ctl_server_fd(const struct ctl_server *server); /* the listening socket (borrowed), for a successor */

/* Drops all clients and takes the socket away if it is still ours. Takes NULL. */
void ctl_server_free(struct ctl_server *server);

#endif
