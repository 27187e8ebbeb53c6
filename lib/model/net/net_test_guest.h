/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NET_TEST_GUEST_H
#define NET_TEST_GUEST_H

/*
 * For tests: a net device, with a guest in front of it (model/test_guest.h).
 */

#include "model/net/net_internal.h"
#include "model/test_guest.h"

#define GUEST_MEMORY_BYTES (8u << 20)

#define F(name) VIREO_FEATURE(VIREO_NET_F_##name##_BIT)
#define V1 VIREO_FEATURE(VIREO_F_VERSION_1_BIT)

struct guest_config {
	uint64_t features;   /* as the driver accepts them */
	unsigned pairs;	     /* 0: 1 */
	unsigned queue_size; /* 0: 256 */
	uint16_t mtu;
	uint64_t features_off;
	const uint8_t *mac;
	const struct vireo_net_ops *ops;
	bool disabled; /* queues start disabled */
	bool lazy; /* see test_guest.h */
	bool keeps_control; /* the control queue is not set up */
};

struct guest {
	struct test_guest at; /* first */
	struct vireo_net *net;
};

void guest_start(struct guest *g, const struct guest_config *config);
void guest_stop(struct guest *g);
void guest_quiesce(struct guest *g); /* all queues; guest_resume() starts them again */
void guest_resume(struct guest *g);
void guest_poll(struct guest *g); /* the control thread's loop */

void *guest_alloc(struct guest *g, size_t bytes); /* zeroed, in guest memory */

/* Adds a buffer of `readable` and `writable` pieces without kicking. */
void guest_add(struct guest *g, unsigned queue, struct iovec *iov, unsigned readable, unsigned writable,
	       void *cookie);

/* Adds `bytes` of data (copied into guest memory) as readable pieces: cuts[] bytes each, the rest in a last
 * one. */
void guest_send(struct guest *g, unsigned queue, const void *data, size_t bytes, const unsigned *cuts,
		unsigned cut_count);
/* A header and a frame, each in one piece (`flat`: both in one). */
void guest_send_frame(struct guest *g, unsigned pair, const struct virtio_net_header *header,
		      const void *frame, size_t bytes, bool flat);

/* Posts one receive buffer, one piece; returns its memory, which is also the cookie. */
uint8_t *guest_post(struct guest *g, unsigned pair, size_t bytes);

void guest_kick(struct guest *g, unsigned queue);
/* -1: nothing used; else the used length. ret_cookie may be NULL. */
int guest_used(struct guest *g, unsigned queue, void **ret_cookie);

struct vireo_net_queue_stats guest_stats(struct guest *g, unsigned queue);

/* An Ethernet frame to `fill`-dependent addresses; bytes beyond the head count up from fill. */
void frame_fill(uint8_t *frame, size_t bytes, uint8_t fill);

#endif
