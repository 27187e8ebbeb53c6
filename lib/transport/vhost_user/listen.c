/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_internal.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <sys/socket.h>

#define BACKLOG 16

int listener_open(const char *path, const struct vireo_endpoint_config *config, struct drop *drop,
		  struct unix_listener *ret_listener)
{
	const struct vireo_endpoint_access *access = &config->vhost_user.access;
	const struct unix_listen_config listen_config = {
		.path = path,
		.mode = access->mode ? access->mode : 0660,
		.uid = access->set_owner ? access->uid : (uid_t)-1,
		.gid = access->set_owner ? access->gid : (gid_t)-1,
		.backlog = BACKLOG,
		.drop = drop,
	};

	return unix_listen(&listen_config, ret_listener);
}

int listener_accept(const struct unix_listener *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}
