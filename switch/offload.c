/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A frame asks for an offload (cut me, finish my checksum) that its receiver lacks: the work is done here. The whole
 * frame is copied once into the worker's arena; parsing, checking and cutting see only that copy, so a sender
 * that changes the frame meanwhile changes nothing. What the sender says beside the frame (header length,
 * where the checksum is) is compared with what the headers say, or not used at all.
 *
 * A job yields frames one by one: each is a slot's own pile of headers and a stretch of the copied payload. Checksums
 * are computed from the ground up, not patched: senders differ in what they leave in the fields.
 *
 *   TCP    sequence number, IPv4 id and lengths advance; FIN and PSH stay with the last, CWR with the first segment
 *   UDP    (USO) one datagram after the other, each with headers of its own
 *   UFO    one datagram, cut into IP fragments (RFC 791, 3.2; RFC 8200, 4.5)
 *   none   the checksum is filled in
 */

#include "switch/offload.h"
#include "switch/checksum.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ETHERNET_BYTES  14u
#define TCP_BYTES       20u
#define TCP_SEQUENCE    4u
#define TCP_DATA_OFFSET 12u
#define TCP_FLAGS       13u
#define TCP_CHECKSUM    16u
#define TCP_FIN_MASK    0x01u
#define TCP_PSH_MASK    0x08u
#define TCP_CWR_MASK    0x80u

#define UDP_BYTES    8u
#define UDP_LENGTH   4u
#define UDP_CHECKSUM 6u

#define IPV4_LENGTH         2u
#define IPV4_ID             4u
#define IPV4_FRAGMENT       6u
#define IPV4_CHECKSUM       10u
#define IPV4_SOURCE         12u
#define IPV4_OPTIONS        20u
#define IPV4_MORE_MASK      0x2000u
#define IPV4_OPTION_END     0u
#define IPV4_OPTION_NOP     1u
#define IPV4_OPTION_COPIED_MASK 0x80u

#define IPV6_BYTES          40u
#define IPV6_LENGTH         4u
#define IPV6_SOURCE         8u
#define IPV6_FRAGMENT_BYTES 8u

int offload_arena_new(unsigned slots, uint32_t linear_bytes, struct offload_arena **ret_arena)
{
	struct offload_arena *arena = calloc(1, sizeof(*arena) + slots * sizeof(arena->slots[0]));

	if (!arena)
		return -ENOMEM;
	arena->slot_count = slots;
	arena->linear_bytes = linear_bytes;
	arena->linear = malloc(linear_bytes);
	if (!arena->linear) {
		free(arena);
		return -ENOMEM;
	}
	if (getrandom(&arena->fragment_id, sizeof(arena->fragment_id), GRND_NONBLOCK) < 0)
		arena->fragment_id = (uint32_t)(uintptr_t)arena;
	*ret_arena = arena;
	return 0;
}

void offload_arena_free(struct offload_arena *arena)
{
	if (!arena)
		return;
	free(arena->linear);
	free(arena);
}

void offload_reset(struct offload_arena *arena)
{
	arena->linear_used = 0;
	arena->slots_used = 0;
}

void offload_linearise(uint8_t *dst, const struct vireo_frame *frame)
{
	uint32_t at = vireo_frame_head_bytes(frame), skip = vireo_frame_skip_bytes(frame), end = vireo_frame_bytes(frame);

	memcpy(dst, frame->head, at);
	for (uint32_t i = 0; i < frame->iov_count && at < end; i++) {
		uint32_t skipped = (uint32_t)min_u64(skip, frame->iov[i].iov_len);
		uint32_t bytes = (uint32_t)min_u64(frame->iov[i].iov_len - skipped, end - at);

		memcpy(dst + at, (const uint8_t *)frame->iov[i].iov_base + skipped, bytes);
		skip -= skipped;
		at += bytes;
	}
}

static uint64_t pseudo_header(const struct offload_job *job, uint32_t transport_bytes)
{
	const struct headers *h = &job->headers;
	uint32_t address_bytes = h->ip == 4 ? 4 : 16;
	uint32_t source = h->network + (h->ip == 4 ? IPV4_SOURCE : IPV6_SOURCE);
	uint64_t sum = checksum_add(0, job->bytes + source, address_bytes);

	sum = checksum_add(sum, job->bytes + h->final_address, address_bytes);
	sum = checksum_add_u16(sum, h->protocol);
	return checksum_add_u16(sum, (uint16_t)transport_bytes);
}

static void store_sum(uint8_t *field, uint16_t sum)
{
	memcpy(field, &sum, sizeof(sum));
}

/* Does the request, as far as it speaks of a checksum, mean this field? */
static bool request_means(const struct offload_job *job, uint32_t field)
{
	if (!(job->request.flags & VIREO_FRAME_NEEDS_CSUM))
		return true;
	return job->request.csum_start == job->headers.transport && job->request.csum_offset == field;
}

static bool headers_are(const struct headers *h, unsigned ip, uint8_t protocol)
{
	return (!ip || h->ip == ip) && h->protocol == protocol && !h->fragment;
}

static int begin_tcp(struct offload_job *job, unsigned ip)
{
	const struct headers *h = &job->headers;
	const uint8_t *tcp = job->bytes + h->transport;
	uint32_t tcp_bytes;

	if (!headers_are(h, ip, IPPROTO_TCP) || h->end < h->transport + TCP_BYTES)
		return -EINVAL;
	tcp_bytes = (tcp[TCP_DATA_OFFSET] >> 4) * 4u;
	if (tcp_bytes < TCP_BYTES || h->end < h->transport + tcp_bytes || !request_means(job, TCP_CHECKSUM))
		return -EINVAL;
	job->header_bytes = h->transport + tcp_bytes;
	return 0;
}

static int begin_udp(struct offload_job *job, unsigned ip)
{
	const struct headers *h = &job->headers;
	const uint8_t *udp = job->bytes + h->transport;

	if (!headers_are(h, ip, IPPROTO_UDP) || h->end < h->transport + UDP_BYTES)
		return -EINVAL;
	if (!request_means(job, UDP_CHECKSUM))
		return -EINVAL;
	/* Only IPv4 may go without (RFC 768, RFC 8200, 8.1). */
	job->udp_checksum = h->ip == 6 || job->request.flags & VIREO_FRAME_NEEDS_CSUM ||
			    load_be16(udp + UDP_CHECKSUM);
	job->header_bytes = h->transport + UDP_BYTES;
	return 0;
}

/* The checksum covers the datagram: it is filled in before that is cut. */
static int begin_fragments(struct offload_job *job)
{
	const struct headers *h = &job->headers;
	uint8_t *udp = job->bytes + h->transport;
	uint32_t udp_bytes = h->end - h->transport;
	uint16_t sum;
	int err = begin_udp(job, 0);

	if (err)
		return err;
	if (load_be16(udp + UDP_LENGTH) != udp_bytes)
		return -EINVAL;
	if (job->request.flags & VIREO_FRAME_NEEDS_CSUM) {
		store_sum(udp + UDP_CHECKSUM, 0);
		sum = checksum_fold(checksum_add(pseudo_header(job, udp_bytes), udp, udp_bytes));
		store_sum(udp + UDP_CHECKSUM, sum ? sum : 0xffff);
	}
	job->header_bytes = h->ip == 4 ? h->transport : h->unfragmentable;
	job->piece_bytes &= ~7u;
	job->fragment_id = job->arena->fragment_id++;
	return 0;
}

/* What the IP length field of the longest piece has to hold. */
static uint32_t longest_packet(const struct offload_job *job)
{
	uint32_t ip_bytes = job->headers.ip == 6 ? IPV6_BYTES - IPV6_FRAGMENT_BYTES : 0;

	return min_u32(job->piece_bytes, job->payload_bytes) + job->header_bytes - job->headers.network - ip_bytes;
}

static int begin_cut(struct offload_job *job)
{
	int err;

	if (!headers_parse(job->bytes, job->frame_bytes, job->frame_bytes, &job->headers))
		return -EINVAL;
	job->piece_bytes = job->request.segment_bytes;
	switch (job->request.gso) {
	case VIREO_GSO_TCP4:
	case VIREO_GSO_TCP6:
		err = begin_tcp(job, job->request.gso == VIREO_GSO_TCP4 ? 4 : 6);
		break;
	case VIREO_GSO_UDP4:
	case VIREO_GSO_UDP6:
		err = begin_udp(job, job->request.gso == VIREO_GSO_UDP4 ? 4 : 6);
		break;
	case VIREO_GSO_UDP_FRAG:
		err = begin_fragments(job);
		break;
	default:
		err = -EINVAL;
	}
	if (err)
		return err;
	if (!job->piece_bytes || job->header_bytes + IPV6_FRAGMENT_BYTES > OFFLOAD_HEADER_BYTES)
		return -EINVAL;
	job->payload_bytes = job->headers.end - job->header_bytes;
	if (longest_packet(job) > UINT16_MAX)
		return -EINVAL;
	return job->payload_bytes / job->piece_bytes < OFFLOAD_SEGMENTS_MAX ? 0 : -EINVAL;
}

static int fill_checksum(struct offload_job *job)
{
	uint32_t start = job->request.csum_start, field = start + job->request.csum_offset;
	uint16_t sum;

	if (!(job->request.flags & VIREO_FRAME_NEEDS_CSUM))
		return 0;
	/* Not into the addresses either: what may be a port's source has been looked at before. */
	if (start < ETHERNET_BYTES || field + sizeof(sum) > job->frame_bytes)
		return -EINVAL;
	sum = checksum_fold(checksum_add(0, job->bytes + start, job->frame_bytes - start));
	/* 0 means "none" in UDP, and for all others 0xffff is the same number. */
	store_sum(job->bytes + field, sum ? sum : 0xffff);
	return 0;
}

int offload_begin(struct offload_job *job, struct offload_arena *arena, const struct vireo_frame *frame)
{
	uint32_t bytes = vireo_frame_bytes(frame);
	struct vireo_frame_offload request;
	int err;

	if (bytes > OFFLOAD_FRAME_BYTES || !vireo_frame_offload_moved(frame, &request))
		return -EINVAL;
	if (bytes > arena->linear_bytes - arena->linear_used)
		return -ENOSPC;
	*job = (struct offload_job){
		.arena = arena,
		.request = request,
		.bytes = arena->linear + arena->linear_used,
		.frame_bytes = bytes,
		.mark = frame->mark,
	};
	offload_linearise(job->bytes, frame);
	err = job->request.gso == VIREO_GSO_NONE ? fill_checksum(job) : begin_cut(job);
	if (!err)
		arena->linear_used += bytes;
	return err;
}

/* Options that are not to be copied into every fragment become padding in all but the first (RFC 791, 3.1). */
static void blank_options(uint8_t *ip, uint32_t ip_bytes)
{
	uint32_t at = IPV4_OPTIONS;

	while (at < ip_bytes && ip[at] != IPV4_OPTION_END) {
		uint32_t bytes = 1;

		if (ip[at] != IPV4_OPTION_NOP)
			bytes = at + 1 < ip_bytes ? ip[at + 1] : 0;
		if (!bytes || (bytes == 1 && ip[at] != IPV4_OPTION_NOP) || bytes > ip_bytes - at)
			return;
		if (!(ip[at] & IPV4_OPTION_COPIED_MASK))
			memset(ip + at, IPV4_OPTION_NOP, bytes);
		at += bytes;
	}
}

static void finish_ipv4(const struct offload_job *job, uint8_t *header, uint32_t bytes)
{
	uint8_t *ip = header + job->headers.network;
	uint32_t ip_bytes = (uint32_t)(job->headers.transport - job->headers.network);

	store_be16(ip + IPV4_LENGTH, (uint16_t)(bytes - job->headers.network));
	store_sum(ip + IPV4_CHECKSUM, 0);
	store_sum(ip + IPV4_CHECKSUM, checksum_fold(checksum_add(0, ip, ip_bytes)));
}

static void finish_ip(const struct offload_job *job, uint8_t *header, uint32_t bytes)
{
	uint8_t *ip = header + job->headers.network;

	if (job->headers.ip == 4) {
		store_be16(ip + IPV4_ID, (uint16_t)(load_be16(ip + IPV4_ID) + job->piece));
		finish_ipv4(job, header, bytes);
	} else {
		store_be16(ip + IPV6_LENGTH, (uint16_t)(bytes - job->headers.network - IPV6_BYTES));
	}
}

/* Over a transport header whose checksum field is 0, and its payload. */
static uint16_t transport_sum(const struct offload_job *job, const uint8_t *header, const uint8_t *payload,
			      uint32_t take_bytes)
{
	uint32_t transport_bytes = job->header_bytes - job->headers.transport;
	uint64_t sum = pseudo_header(job, transport_bytes + take_bytes);

	sum = checksum_add(sum, header + job->headers.transport, transport_bytes);
	return checksum_fold(checksum_add(sum, payload, take_bytes));
}

static void make_tcp(const struct offload_job *job, uint8_t *header, const uint8_t *payload, uint32_t take_bytes)
{
	uint8_t *tcp = header + job->headers.transport;
	bool last = job->done_bytes + take_bytes == job->payload_bytes;
	uint32_t sequence = (uint32_t)load_be16(tcp + TCP_SEQUENCE) << 16 | load_be16(tcp + TCP_SEQUENCE + 2);

	store_be32(tcp + TCP_SEQUENCE, sequence + job->done_bytes);
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t)~(TCP_FIN_MASK | TCP_PSH_MASK);
	if (job->piece)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR_MASK; /* RFC 3168, 6.1.2: once per reduction */
	store_sum(tcp + TCP_CHECKSUM, 0);
	store_sum(tcp + TCP_CHECKSUM, transport_sum(job, header, payload, take_bytes));
}

static void make_udp(const struct offload_job *job, uint8_t *header, const uint8_t *payload, uint32_t take_bytes)
{
	uint8_t *udp = header + job->headers.transport;
	uint16_t sum;

	store_be16(udp + UDP_LENGTH, (uint16_t)(UDP_BYTES + take_bytes));
	store_sum(udp + UDP_CHECKSUM, 0);
	if (!job->udp_checksum)
		return;
	sum = transport_sum(job, header, payload, take_bytes);
	store_sum(udp + UDP_CHECKSUM, sum ? sum : 0xffff);
}

static void make_fragment4(const struct offload_job *job, uint8_t *header, uint32_t take_bytes)
{
	uint8_t *ip = header + job->headers.network;
	bool last = job->done_bytes + take_bytes == job->payload_bytes;

	store_be16(ip + IPV4_FRAGMENT, (uint16_t)(job->done_bytes / 8 | (last ? 0 : IPV4_MORE_MASK)));
	if (job->piece)
		blank_options(ip, (uint32_t)(job->headers.transport - job->headers.network));
	finish_ipv4(job, header, job->header_bytes + take_bytes);
}

/* Returns the length of the headers with the fragment header inserted. */
static uint32_t make_fragment6(const struct offload_job *job, uint8_t *header, uint32_t take_bytes)
{
	bool last = job->done_bytes + take_bytes == job->payload_bytes;
	uint8_t *fragment = header + job->header_bytes;
	uint32_t header_bytes = job->header_bytes;

	if (!last || job->piece) {
		fragment[0] = header[job->headers.fragment_next];
		fragment[1] = 0;
		store_be16(fragment + 2, (uint16_t)(job->done_bytes | (last ? 0 : 1)));
		store_be32(fragment + 4, job->fragment_id);
		header[job->headers.fragment_next] = IPPROTO_FRAGMENT;
		header_bytes += IPV6_FRAGMENT_BYTES;
	}
	finish_ip(job, header, header_bytes + take_bytes);
	return header_bytes;
}

/* Fills in the piece's headers; returns their length. */
static uint32_t make_headers(const struct offload_job *job, uint8_t *header, const uint8_t *payload,
			     uint32_t take_bytes)
{
	memcpy(header, job->bytes, job->header_bytes);
	switch (job->request.gso) {
	case VIREO_GSO_TCP4:
	case VIREO_GSO_TCP6:
		finish_ip(job, header, job->header_bytes + take_bytes);
		make_tcp(job, header, payload, take_bytes);
		return job->header_bytes;
	case VIREO_GSO_UDP_FRAG:
		if (job->headers.ip == 6)
			return make_fragment6(job, header, take_bytes);
		make_fragment4(job, header, take_bytes);
		return job->header_bytes;
	default:
		finish_ip(job, header, job->header_bytes + take_bytes);
		make_udp(job, header, payload, take_bytes);
		return job->header_bytes;
	}
}

static void next_piece(struct offload_job *job, struct offload_slot *slot)
{
	uint32_t take_bytes = min_u32(job->piece_bytes, job->payload_bytes - job->done_bytes);
	uint8_t *payload = job->bytes + job->header_bytes + job->done_bytes;
	uint32_t header_bytes = make_headers(job, slot->header, payload, take_bytes);

	slot->iov[0] = (struct iovec){slot->header, header_bytes};
	slot->iov[1] = (struct iovec){payload, take_bytes};
	slot->frame.iov_count = take_bytes ? 2 : 1;
	slot->frame.len_bytes = header_bytes + take_bytes;
	job->piece++;
	job->done_bytes += take_bytes;
	job->finished = job->done_bytes == job->payload_bytes;
}

static void whole_frame(struct offload_job *job, struct offload_slot *slot)
{
	slot->iov[0] = (struct iovec){job->bytes, job->frame_bytes};
	slot->frame.iov_count = 1;
	slot->frame.len_bytes = job->frame_bytes;
	job->finished = true;
}

struct vireo_frame *offload_next(struct offload_job *job)
{
	struct offload_slot *slot;

	if (job->finished)
		return NULL;
	slot = &job->arena->slots[job->arena->slots_used++];
	slot->frame.iov = slot->iov;
	slot->frame.head_bytes = slot->frame.head_skip = 0; /* the edit is in what it is made of */
	slot->frame.offload = (struct vireo_frame_offload){0};
	slot->frame.mark = job->mark;
	if (job->request.gso == VIREO_GSO_NONE)
		whole_frame(job, slot);
	else
		next_piece(job, slot);
	memcpy(slot->frame.head, slot->iov[0].iov_base,
	       min_u32(slot->frame.len_bytes, VIREO_FRAME_HEAD_BYTES));
	return &slot->frame;
}
