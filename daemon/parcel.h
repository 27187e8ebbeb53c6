/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_PARCEL_H
#define DAEMON_PARCEL_H

/*
 * What two processes of one daemon hand to each other while one takes over from the other: parcels of bytes and fds, on a UNIX stream
 * socket between them. Both ends are the same user's or root's, who is asked for that; what comes is bounded all the same.
 */

#include <stddef.h>
#include <stdint.h>

#define PARCEL_BYTES_MAX (64u << 20)
#define PARCEL_FDS_MAX 65536u

struct parcel {
	uint32_t kind; /* the caller's */
	uint32_t bytes;
	uint32_t fd_count;
	uint8_t *data; /* and a 0 behind it, that does not count */
	int *fds;
};

/* Makes a connected UNIX socket fit for parcels. -EPERM: at the other end is neither root nor this process's user. */
int parcel_socket(int fd);

/*
 * Both block, but not beyond `until_us` of clock_now_us(): -ETIMEDOUT, and what there is of a parcel is lost. -EPIPE, -ECONNRESET: the
 * other end has gone, or listens no more; or what sendmsg(2) and recvmsg(2) say.
 */
int parcel_send(int fd, uint64_t until_us, uint32_t kind, const void *data, size_t bytes, const int *fds, unsigned fd_count);
/* To be freed. -EPROTO: it is no parcel, or one beyond the bounds; -ENOMEM; -EMFILE: there are fewer fds than it says. */
int parcel_receive(int fd, uint64_t until_us, struct parcel *ret_parcel);
void parcel_free(struct parcel *parcel); /* closes what fds are left in it (-1: taken out) */

#endif
