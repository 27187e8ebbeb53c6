/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

/*
 * A port that is no virtio device but an interface of this machine: "packet:INTERFACE", all that arrives at it and is sent out of it by a packet
 * socket, or "tap:INTERFACE", what a virtual machine without virtio rings would have: a TAP interface, which is made if it is not there. One
 * stream, used by one thread at a time, as a port is.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct wire;

/* Calls of the kernel that moved something, and what they took. Written by the port's thread, read by any. */
struct wire_calls {
	uint64_t send_ns, receive_ns;
};

bool wire_path(const char *path); /* is it one of these? */

/* A negative errno. `slots`: so many frames of at most frame_bytes_max may wait for a flush. */
int wire_open(const char *path, unsigned slots, uint32_t frame_bytes_max, struct wire **ret_wire);
void wire_close(struct wire *wire); /* or NULL */

int wire_fd(const struct wire *wire);
const struct wire_calls *wire_calls(const struct wire *wire);

/* As port_slot() and port_send() have it. */
uint8_t *wire_slot(struct wire *wire);
void wire_send(struct wire *wire, uint32_t frame_bytes);
/* Gives all that waits to the kernel, which drops what it has no room for. 0, or a negative errno: the interface is gone or down. */
int wire_flush(struct wire *wire);

/* Reads up to `max` frames, as far as there is room for: *ret_frames, valid until the next call. How many, or a negative errno as above. */
int wire_receive(struct wire *wire, unsigned max, const struct iovec **ret_frames);

#endif
