/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/parcel.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A parcel: a header, then for each FDS_AT_ONCE fds a byte that carries them, then the bytes. Fewer fds may come with a byte than have
 * been sent: the kernel leaves out what the receiver has no room for.
 */

#define MAGIC 0x6c637270u /* "prcl" */
#define FDS_AT_ONCE 64u

struct header {
	uint32_t magic, kind, bytes, fds;
};

union control {
	char bytes[CMSG_SPACE(sizeof(int) * FDS_AT_ONCE)];
	struct cmsghdr align;
};

static int peer_check(int fd)
{
	struct ucred cred;
	socklen_t bytes = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) || bytes != sizeof(cred))
		return -errno;
	return cred.uid == 0 || cred.uid == geteuid() ? 0 : -EPERM;
}

int parcel_socket(int fd)
{
	int err = peer_check(fd);

	return err ? err : fd_nonblocking(fd);
}

/* 0: go on, after a wait if the socket has asked for one; or what is to be returned. */
static int wait_for(int fd, short events, uint64_t until_us)
{
	struct pollfd pollfd = {.fd = fd, .events = events};
	uint64_t now_us;

	if (errno == EINTR)
		return 0;
	if (errno != EAGAIN)
		return -errno;
	now_us = clock_now_us();
	if (now_us >= until_us)
		return -ETIMEDOUT;
	poll(&pollfd, 1, (int)min_u64((until_us - now_us) / 1000 + 1, INT_MAX));
	return 0;
}

/* ---- to send ---- */

static int send_all(int fd, uint64_t until_us, const void *data, size_t bytes)
{
	const uint8_t *at = data;
	int err = 0;

	while (!err && bytes) {
		ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);

		if (sent < 0) {
			err = wait_for(fd, POLLOUT, until_us);
			continue;
		}
		at += sent;
		bytes -= (size_t)sent;
	}
	return err;
}

static int send_fds(int fd, uint64_t until_us, const int *fds, unsigned count)
{
	union control control;
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			     .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
	struct cmsghdr *cmsg;
	int err = 0;

	memset(&control, 0, sizeof(control));
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
	while (!err && sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
		err = wait_for(fd, POLLOUT, until_us);
	return err;
}

int parcel_send(int fd, uint64_t until_us, uint32_t kind, const void *data, size_t bytes, const int *fds, unsigned fd_count)
{
	const struct header header = {MAGIC, kind, (uint32_t)bytes, fd_count};
	int err;

	if (bytes > PARCEL_BYTES_MAX || fd_count > PARCEL_FDS_MAX)
		return -EMSGSIZE;
	err = send_all(fd, until_us, &header, sizeof(header));
	for (unsigned i = 0; !err && i < fd_count; i += FDS_AT_ONCE)
		err = send_fds(fd, until_us, fds + i, min_u32(FDS_AT_ONCE, fd_count - i));
	return err ? err : send_all(fd, until_us, data, bytes);
}

/* ---- to receive ---- */

static int receive_all(int fd, uint64_t until_us, void *data, size_t bytes)
{
	uint8_t *at = data;
	int err = 0;

	while (!err && bytes) {
		ssize_t got = recv(fd, at, bytes, 0);

		if (got <= 0) {
			err = got ? wait_for(fd, POLLIN, until_us) : -ECONNRESET;
			continue;
		}
		at += got;
		bytes -= (size_t)got;
	}
	return err;
}

/* All that come with a byte, which are `count` or fewer: CMSG_SPACE() of an odd number would let one more in. */
static int receive_fds(int fd, uint64_t until_us, int *fds, unsigned count, unsigned *ret_got)
{
	union control control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = CMSG_LEN(sizeof(int) * count)};
	const struct cmsghdr *cmsg;
	ssize_t got;

	*ret_got = 0;
	while ((got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC)) <= 0) {
		int err = got ? wait_for(fd, POLLIN, until_us) : -ECONNRESET;

		if (err)
			return err;
		msg.msg_controllen = CMSG_LEN(sizeof(int) * count);
	}
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
		return -EMFILE;
	*ret_got = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fds, CMSG_DATA(cmsg), *ret_got * sizeof(int));
	return *ret_got == count ? 0 : -EMFILE;
}

static int receive_content(int fd, uint64_t until_us, struct parcel *parcel, unsigned fd_count)
{
	int err = 0;

	while (!err && parcel->fd_count < fd_count) {
		unsigned got = 0;

		err = receive_fds(fd, until_us, parcel->fds + parcel->fd_count, min_u32(FDS_AT_ONCE, fd_count - parcel->fd_count), &got);
		parcel->fd_count += got;
	}
	if (!err)
		err = receive_all(fd, until_us, parcel->data, parcel->bytes);
	return err;
}

int parcel_receive(int fd, uint64_t until_us, struct parcel *ret_parcel)
{
	struct parcel parcel = {0};
	struct header header;
	int err = receive_all(fd, until_us, &header, sizeof(header));

	if (err)
		return err;
	if (header.magic != MAGIC || header.bytes > PARCEL_BYTES_MAX || header.fds > PARCEL_FDS_MAX)
		return -EPROTO;
	parcel.kind = header.kind;
	parcel.bytes = header.bytes;
	parcel.data = calloc(1, (size_t)header.bytes + 1);
	parcel.fds = calloc(header.fds ? header.fds : 1, sizeof(*parcel.fds));
	err = parcel.data && parcel.fds ? receive_content(fd, until_us, &parcel, header.fds) : -ENOMEM;
	if (err)
		parcel_free(&parcel);
	else
		*ret_parcel = parcel;
	return err;
}

void parcel_free(struct parcel *parcel)
{
	for (unsigned i = 0; i < parcel->fd_count; i++)
		fd_close(&parcel->fds[i]);
	free(parcel->fds);
	free(parcel->data);
	*parcel = (struct parcel){0};
}
