/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_FRAME_H
#define VIREO_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/*
 * An Ethernet frame on its way from one port to another. It lies in its sender's memory. The structs are plain data, which all
 * parts of a program that handle frames share.
 */

enum vireo_gso {
	VIREO_GSO_NONE,
	VIREO_GSO_TCP4,     /* cut into TCP/IPv4 segments */
	VIREO_GSO_TCP6,     /* cut into TCP/IPv6 segments */
	VIREO_GSO_UDP_FRAG, /* one UDP datagram, to be cut into IP fragments (UFO) */
	VIREO_GSO_UDP4,     /* cut into UDP/IPv4 datagrams (USO) */
	VIREO_GSO_UDP6,     /* cut into UDP/IPv6 datagrams (USO) */
};

/* The offloads that a receiver accepts (a mask). */
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

/* Offload request of one frame. The library checks it against the frame's length before it shows the frame. */
struct vireo_frame_offload {
	uint8_t gso; /* enum vireo_gso */
	uint8_t flags;
	uint16_t header_bytes; /* GSO: link, network and transport header, a hint only */
	uint16_t segment_bytes; /* GSO: payload bytes per segment, never 0 with GSO */
	uint16_t csum_start;   /* from the frame's first byte */
	uint16_t csum_offset;  /* from csum_start: csum_start + csum_offset + 2 <= len_bytes */
};

#define VIREO_FRAME_HEAD_BYTES 18u /* Ethernet header with one VLAN tag */
#define VIREO_FRAME_HEAD_ROOM  24u /* of an edited one: two tags */
#define VIREO_FRAME_TAG_BYTES  4u

struct vireo_frame {
	struct iovec *iov; /* the whole frame, from the destination address on */
	uint32_t iov_count;
	uint32_t len_bytes; /* sum of the pieces; at least 14 */
	/*
	 * The edit: what the next receiver gets is head_bytes of `head` in place of the first head_skip bytes of the pieces. Both
	 * 0: no edit, the head is as long as what it replaces. A frame may have another edit for each receiver, one after the
	 * other; set by vireo_frame_tag_push() and vireo_frame_tag_pop(). vireo_net_receive_deliver() applies it while
	 * it copies, as every receiver must; the offload stays that of the pieces, and is moved there by vireo_frame_offload_moved().
	 */
	uint8_t head_bytes, head_skip;
	struct vireo_frame_offload offload;
	/*
	 * Private copy of the first min(len_bytes, VIREO_FRAME_HEAD_BYTES) bytes, or what an edit has made of it. Decide by this copy;
	 * receivers get this copy, too: the sender may change the original meanwhile.
	 */
	uint8_t head[VIREO_FRAME_HEAD_ROOM];
	uint32_t mark; /* whatever the owner of the array keeps here of the frame: the library neither reads nor changes it */
	/*
	 * Fields to come: the owner of the array sets them to 0 once, and the library does not touch them. The struct has 64 bytes,
	 * since the data path has arrays of it.
	 */
	uint32_t reserved[2];
};

/* ---- for receivers: what they get is vireo_frame_head_bytes() of `head`, then the pieces without their first bytes ---- */

/* Returns how long the frame is for its next receiver. */
static inline uint32_t vireo_frame_bytes(const struct vireo_frame *frame)
{
	return frame->len_bytes - frame->head_skip + frame->head_bytes;
}

/* Returns how many of the pieces' first bytes the head stands for. */
static inline uint32_t vireo_frame_skip_bytes(const struct vireo_frame *frame)
{
	return frame->len_bytes < VIREO_FRAME_HEAD_BYTES ? frame->len_bytes : VIREO_FRAME_HEAD_BYTES;
}

/* Returns how many bytes of `head` are valid. */
static inline uint32_t vireo_frame_head_bytes(const struct vireo_frame *frame)
{
	return frame->head_skip ? frame->head_bytes : vireo_frame_skip_bytes(frame);
}

/*
 * Fills in the offload of what the receiver gets: the frame's, with offsets that an edit has moved. False: the checksum begins inside
 * what the edit replaces, and has no place any more. Drop the frame: its sender has asked for nonsense.
 */
static inline bool vireo_frame_offload_moved(const struct vireo_frame *frame, struct vireo_frame_offload *ret_offload)
{
	struct vireo_frame_offload offload = frame->offload;
	int by = frame->head_bytes - frame->head_skip;

	if (offload.flags & VIREO_FRAME_NEEDS_CSUM) {
		if (offload.csum_start < frame->head_skip || offload.csum_start + by > UINT16_MAX)
			return false;
		offload.csum_start = (uint16_t)(offload.csum_start + by);
	}
	/* A hint: one that makes no sense is not given. */
	if (offload.header_bytes >= frame->head_skip && offload.header_bytes + by <= UINT16_MAX)
		offload.header_bytes = (uint16_t)(offload.header_bytes + by);
	else
		offload.header_bytes = 0;
	*ret_offload = offload;
	return true;
}

/* ---- edits ---- */

/*
 * Sets the head's length after an edit. A head that is as long as what it replaces counts as no edit: the head itself says what
 * has changed.
 */
static inline void vireo_frame_head_bytes_set(struct vireo_frame *frame, uint32_t bytes)
{
	uint32_t skip = vireo_frame_skip_bytes(frame);

	frame->head_bytes = (uint8_t)(bytes == skip ? 0 : bytes);
	frame->head_skip = (uint8_t)(bytes == skip ? 0 : skip);
}

/* Inserts a tag behind the addresses; `type` is 0x8100 or 0x88a8, `tci` priority and VLAN. False: the head has no room for one more. */
static inline bool vireo_frame_tag_push(struct vireo_frame *frame, uint16_t type, uint16_t tci)
{
	const uint8_t tag[VIREO_FRAME_TAG_BYTES] = { (uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(tci >> 8), (uint8_t)tci };
	uint32_t bytes = vireo_frame_head_bytes(frame);
	uint8_t rest[8]; /* all that can lie behind the addresses of a head that has room for a tag */

	if (bytes + sizeof(tag) > sizeof(frame->head))
		return false;
	memcpy(rest, frame->head + 12, sizeof(rest));
	memcpy(frame->head + 12 + sizeof(tag), rest, sizeof(rest));
	memcpy(frame->head + 12, tag, sizeof(tag));
	vireo_frame_head_bytes_set(frame, bytes + (uint32_t)sizeof(tag));
	return true;
}

/* Removes the first tag. False: the frame has none. */
static inline bool vireo_frame_tag_pop(struct vireo_frame *frame)
{
	uint32_t bytes = vireo_frame_head_bytes(frame), type = (uint32_t)frame->head[12] << 8 | frame->head[13];
	uint8_t rest[VIREO_FRAME_HEAD_ROOM - 12 - VIREO_FRAME_TAG_BYTES];

	if (bytes < 14 + VIREO_FRAME_TAG_BYTES || (type != 0x8100 && type != 0x88a8))
		return false;
	memcpy(rest, frame->head + 12 + VIREO_FRAME_TAG_BYTES, sizeof(rest));
	memcpy(frame->head + 12, rest, sizeof(rest));
	vireo_frame_head_bytes_set(frame, bytes - VIREO_FRAME_TAG_BYTES);
	return true;
}

#endif
