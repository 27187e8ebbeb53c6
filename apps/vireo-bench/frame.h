/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

/*
 * The frames that are sent: an Ethernet header with an EtherType for local experiments (IEEE 802, 88-B5), a
 * header that says everything about the frame and protects itself, and a pattern made from the frame's number
 * (with --verify; else whatever is in the buffer).
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define FRAME_ETHERTYPE 0x88b5u
#define FRAME_ETHERNET_BYTES 14u

enum frame_kind {
	FRAME_HELLO = 1, /* teaches the switch where a port is */
	FRAME_DATA = 2,
};

struct frame_header { /* in the host's byte order: both ends are this program */
	uint32_t magic;
	uint32_t run; /* tells runs apart */
	uint8_t kind; /* enum frame_kind */
	uint8_t pattern; /* 1: the rest of the frame holds it */
	uint16_t stream;
	uint32_t frame_bytes; /* Ethernet header included */
	uint64_t number;
	uint64_t sent_ns; /* CLOCK_MONOTONIC */
	uint32_t check; /* over the other fields */
	uint32_t reserved;
};

#define FRAME_HEAD_BYTES (FRAME_ETHERNET_BYTES + (unsigned)sizeof(struct frame_header))

struct virtio_net_header;

enum header_verdict {
	HEADER_GOOD,
	HEADER_ZERO_COUNT, /* as HEADER_GOOD, but for a num_buffers of 0 that must be 1: DPDK and passt write it */
	HEADER_BAD, /* it holds what was not agreed on */
};

/* virtio 1.3, 5.1.6.4, of a received frame whose driver takes no offloads. */
enum header_verdict header_judge(const struct virtio_net_header *header, bool mergeable);

/* Fills in magic and check, and writes the frame at `at`, header->frame_bytes of it. */
void frame_write(uint8_t *at, const uint8_t to[6], const uint8_t from[6], const struct frame_header *header);

enum frame_verdict {
	FRAME_GOOD,
	FRAME_FOREIGN, /* not ours */
	FRAME_CORRUPT,
};

/*
 * Looks at a frame that lies in pieces (bytes in all, whatever the device wrote). `run` and `to` are what
 * ours carry. The header is valid if the frame is good.
 */
enum frame_verdict frame_check(const struct iovec *pieces, unsigned count, uint32_t bytes,
			       const uint8_t to[6], uint32_t run, struct frame_header *ret);

#endif
