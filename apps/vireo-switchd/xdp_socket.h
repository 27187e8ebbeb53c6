/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_XDP_SOCKET_H
#define SWITCHD_XDP_SOCKET_H

/*
 * An AF_XDP socket (Documentation/networking/af_xdp.rst of Linux) at one queue of an interface, with memory and four rings of its
 * own. Half of its chunks are for what comes, half for what goes.
 */

#include "kernel_port.h"
#include <xdp/xsk.h>

#define XDP_CHUNK_BYTES 4096u
#define XDP_ROOM_BYTES (XDP_CHUNK_BYTES - 256u) /* of a chunk: the kernel keeps the rest before what comes */
#define XDP_IN_CHUNKS 1024u
#define XDP_OUT_CHUNKS 512u
#define XDP_PIECES 64u /* of what one receive shows */

struct xdp_socket {
	uint8_t *chunks;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	int fd;
	bool pieces; /* a frame may lie in several chunks */
	bool zerocopy;
	/* The in queue's worker. */
	struct xsk_ring_prod fill;
	struct xsk_ring_cons come;
	uint64_t shown[XDP_PIECES];
	struct iovec iov[XDP_PIECES];
	unsigned shown_count;
	struct sw_queue_stats in;
	/* Who has claimed the out queue. */
	struct xsk_ring_prod go;
	struct xsk_ring_cons gone;
	uint64_t free[XDP_OUT_CHUNKS];
	unsigned free_count, pending;
	unsigned pending_frames;
	uint64_t pending_bytes;
	uint64_t settled; /* of `lost`, what is no longer to be taken from the frames that are counted as sent */
	struct sw_queue_stats out;
	uint64_t lost; /* atomic: frames that the kernel has taken and dropped at once */
};

/* How an interface's queue is to be had. */
struct xdp_wish {
	char name[16];
	unsigned queue;
	unsigned bind_flags;
	bool pieces;
};

/* A socket that is all zeroes. A negative errno; close it then, too. */
int xdp_socket_open(struct xdp_socket *socket, const struct xdp_wish *wish);
void xdp_socket_close(struct xdp_socket *socket);
int xdp_socket_fd(const struct xdp_socket *socket);

/* As struct sw_port_ops has them. */
int xdp_socket_receive(struct xdp_socket *socket, struct vireo_frame *frames, unsigned max);
void xdp_socket_release(struct xdp_socket *socket);
/* An errno (positive), or 0; the frame goes at the next flush. */
int xdp_socket_put(struct xdp_socket *socket, const struct vireo_frame *frame);
/* Does not wait for a slow interface. False: the kernel has not taken all, and somebody has to push it later. */
bool xdp_socket_flush(struct xdp_socket *socket);
/* The same for what has been flushed before. Any thread. */
bool xdp_socket_push(struct xdp_socket *socket);
void xdp_socket_stats(const struct xdp_socket *socket, bool out, struct sw_queue_stats *ret);

#endif
