/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_FRAME_H
#define VIREO_FRAME_H

#include <stdint.h>
#include <sys/uio.h>

/*
 * An Ethernet frame on its way from one port to another, lying in the memory of whoever sent it.
 * Plain data, shared by everything that handles frames.
 */

enum vireo_gso {
	VIREO_GSO_NONE,
	VIREO_GSO_TCP4,     /* cut into TCP/IPv4 segments */
	VIREO_GSO_TCP6,     /* cut into TCP/IPv6 segments */
	VIREO_GSO_UDP_FRAG, /* one UDP datagram, to be cut into IP fragments (UFO) */
	VIREO_GSO_UDP4,     /* cut into UDP/IPv4 datagrams (USO) */
	VIREO_GSO_UDP6,     /* cut into UDP/IPv6 datagrams (USO) */
};

/* What a receiver takes without help (a mask). */
#define VIREO_OFFLOAD_CSUM (1u << 0) /* frames whose transport checksum is still to be filled in */
#define VIREO_OFFLOAD_TSO4 (1u << 1)
#define VIREO_OFFLOAD_TSO6 (1u << 2)
#define VIREO_OFFLOAD_ECN  (1u << 3) /* TSO of segments that carry CWR */
#define VIREO_OFFLOAD_UFO  (1u << 4)
#define VIREO_OFFLOAD_USO4 (1u << 5)
#define VIREO_OFFLOAD_USO6 (1u << 6)

/* vireo_frame_offload.flags */
#define VIREO_FRAME_NEEDS_CSUM (1u << 0) /* csum_start and csum_offset hold */
#define VIREO_FRAME_DATA_VALID (1u << 1) /* the sender vouches for the transport checksum */
#define VIREO_FRAME_ECN        (1u << 2) /* with TCP segmentation: CWR is set in the first segment */

/* Offload request of one frame; checked against the frame's length before anybody sees it. */
struct vireo_frame_offload {
	uint8_t gso; /* enum vireo_gso */
	uint8_t flags;
	uint16_t header_bytes; /* GSO: link, network and transport header, a hint only */
	uint16_t segment_bytes; /* GSO: payload bytes per segment, never 0 with GSO */
	uint16_t csum_start;   /* from the frame's first byte */
	uint16_t csum_offset;  /* from csum_start: csum_start + csum_offset + 2 <= len_bytes */
};

#define VIREO_FRAME_HEAD_BYTES 18u /* Ethernet header with one VLAN tag */

struct vireo_frame {
	struct iovec *iov; /* the whole frame, from the destination address on */
	uint32_t iov_count;
	uint32_t len_bytes; /* sum of the pieces; at least 14 */
	struct vireo_frame_offload offload;
	/*
	 * Private copy of the first min(len_bytes, VIREO_FRAME_HEAD_BYTES) bytes. Decisions are taken on
	 * it, and it is what receivers get: the sender may change the original meanwhile.
	 */
	uint8_t head[VIREO_FRAME_HEAD_BYTES];
};

#endif
