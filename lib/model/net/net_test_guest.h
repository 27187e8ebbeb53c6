/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NET_TEST_GUEST_H
#define NET_TEST_GUEST_H

/*
 * For tests: a net device on a transport that is nothing but the device verbs, and a guest in front of it
 * with real rings in a memfd. Everything in one thread.
 */

#include "base/bell.h"
#include "driver/ring/ring.h"
#include "model/net/net_internal.h"

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GUEST_MEMORY_BYTES (8u << 20)
#define GUEST_GPA UINT64_C(0x40000000)
#define GUEST_UADDR UINT64_C(0x7f0000000000)
#define GUEST_QUEUES_MAX 9u

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
	bool keeps_control; /* the control queue is not set up */
};

struct guest_queue {
	struct vireo_driver_ring *ring;
	void *desc, *driver, *device;
	struct bell kick;
	int call_fd;
};

struct guest {
	struct vireo_net *net;
	struct vireo_device *device;
	struct loop *loop;
	uint8_t *memory;
	int memory_fd;
	size_t used_bytes;
	unsigned config_changes;
	bool broken;
	bool quiet;
	unsigned queue_count, queue_size;
	struct guest_queue queues[GUEST_QUEUES_MAX];
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
