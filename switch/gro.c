/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A segment joins the one before it in its flow if cutting both together (offload.c) would give back the same two, byte by byte: so headers
 * must be the same but for what cutting counts on (IPv4 identification, sequence, lengths, checksums), all but the last are of one length, and
 * only the last may be pushed. What is not as such a cut would make it (options of IP, SYN, FIN, RST, URG and CWR, bytes behind the packet)
 * stays alone, and ends what is being joined, so that a flow's frames stay in order. Checksums are verified: what is wrong reaches
 * its receiver as wrong as it came, and is not made right by being cut again.
 *
 * Headers are copied, and the copy is what is looked at and what goes on. Payload is where it was: the frame that is made is a list
 * of its pieces. The sender may change it meanwhile, as it may with any frame whose checksum is still open.
 */

#include "switch/gro.h"
#include "base/util.h"
#include "switch/checksum.h"
#include "switch/frame_first.h"
#include "switch/headers.h"
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#define OPEN_MAX    8u /* flows that are being joined at a time */
#define IPV4_BYTES  20u
#define IPV6_BYTES  40u
#define TCP_BYTES   20u
#define TCP_FLAGS   13u
#define TCP_SUM     16u
#define PSH_MASK    0x08u
#define PLAIN_MASK  0x58u /* ACK, PSH, ECE: all that a segment among others may have */
#define ACK_MASK    0x10u
#define TYPE_AT     12u

/* A segment that may be joined. */
struct segment {
	uint8_t header[GRO_HEADER_BYTES];
	uint32_t network, transport, payload; /* offsets */
	uint32_t bytes;                       /* of payload */
	bool six;
};

/* What is being joined: the first segment's header is room->headers[frame]. */
struct joined {
	struct segment first;
	unsigned frame; /* its place among those that are left */
	unsigned count;
	uint32_t bytes; /* of payload */
	bool pushed;
	unsigned pieces[BURST_FRAMES]; /* each segment's number among the burst's frames as they came */
};

struct gro {
	struct gro_room *room;
	struct vireo_frame *frames;
	struct vireo_frame came[BURST_FRAMES];
	unsigned pieces_used;
	unsigned open_count;
	struct joined open[OPEN_MAX];
};

/* The sum of what lies behind `skip` bytes; pieces of odd length turn the bytes round. */
static uint64_t payload_sum(const struct vireo_frame *frame, uint32_t skip, uint64_t sum)
{
	bool odd = false;

	for (uint32_t i = 0; i < frame->iov_count; i++) {
		const uint8_t *at = frame->iov[i].iov_base;
		size_t bytes = frame->iov[i].iov_len;
		uint32_t part = (uint32_t)min_u64(bytes, skip);
		uint16_t folded;

		skip -= part;
		folded = (uint16_t)~checksum_fold(checksum_add(0, at + part, bytes - part));
		sum += odd ? (uint16_t)(folded << 8 | folded >> 8) : folded;
		odd ^= (bytes - part) & 1;
	}
	return sum;
}

static uint64_t pseudo_sum(const struct segment *s, uint32_t transport_bytes)
{
	uint64_t sum = checksum_add(0, s->header + s->network + (s->six ? 8 : 12), s->six ? 32 : 8);

	return checksum_add_u16(checksum_add_u16(sum, (uint16_t)transport_bytes), IPPROTO_TCP);
}

static bool sums_are_right(const struct segment *s, const struct vireo_frame *frame)
{
	const uint8_t *transport = s->header + s->transport;
	uint32_t header_bytes = s->payload - s->transport;
	uint64_t sum = checksum_add(pseudo_sum(s, header_bytes + s->bytes), transport, header_bytes);
	uint16_t was, is;

	/* 0 and 0xffff are the same number, but who cuts writes one of them. */
	memcpy(&was, transport + TCP_SUM, sizeof(was));
	if (!s->six && checksum_fold(checksum_add(0, s->header + s->network, IPV4_BYTES)))
		return false;
	if (!s->six && load_be16(s->header + s->network + 10) == 0xffff)
		return false;
	is = checksum_fold(payload_sum(frame, s->payload, sum));
	return !is && was != 0xffff;
}

/* ---- is it one? ---- */

static bool parse_ip(struct segment *s, uint32_t frame_bytes)
{
	const uint8_t *ip = s->header + s->network;
	uint32_t bytes = frame_bytes - s->network;

	s->transport = s->network + (s->six ? IPV6_BYTES : IPV4_BYTES);
	if (frame_bytes < s->transport + TCP_BYTES)
		return false;
	if (s->six)
		return ip[0] >> 4 == 6 && ip[6] == IPPROTO_TCP && load_be16(ip + 4) == bytes - IPV6_BYTES;
	return ip[0] == 0x45 && ip[9] == IPPROTO_TCP && load_be16(ip + 2) == bytes && !(load_be16(ip + 6) & 0xbfff);
}

static bool parse_tcp(struct segment *s, uint32_t frame_bytes)
{
	const uint8_t *tcp = s->header + s->transport;
	uint32_t header_bytes = (tcp[12] >> 4) * 4u;

	if (header_bytes < TCP_BYTES || frame_bytes <= s->transport + header_bytes || s->transport + header_bytes > GRO_HEADER_BYTES)
		return false;
	s->payload = s->transport + header_bytes;
	s->bytes = frame_bytes - s->payload;
	return tcp[TCP_FLAGS] & ACK_MASK && !(tcp[TCP_FLAGS] & ~PLAIN_MASK);
}

static bool parse(struct segment *s, const struct vireo_frame *frame)
{
	if (frame->offload.gso != VIREO_GSO_NONE || frame->offload.flags & VIREO_FRAME_NEEDS_CSUM || frame->head_skip ||
	    frame->iov_count > GRO_PIECES_MAX)
		return false;
	return parse_ip(s, frame->len_bytes) && parse_tcp(s, frame->len_bytes) && sums_are_right(s, frame);
}

/* Which flows could this frame belong to, and must not overtake? False: none. */
static bool is_tcp(struct segment *s, const struct vireo_frame *frame)
{
	uint32_t have = min_u32(frame->len_bytes, GRO_HEADER_BYTES);
	uint16_t type, network = 0;

	memset(s->header + have, 0, GRO_HEADER_BYTES - have);
	frame_copy_first(frame, s->header, have);
	type = headers_link(s->header, have, &network);
	s->network = network;
	s->six = type == ETHERTYPE_IPV6;
	if (type != ETHERTYPE_IP && !s->six)
		return false;
	return s->six || s->header[s->network + 9] == IPPROTO_TCP;
}

/* ---- does it follow? ---- */

/* Addresses and ports, with all of the link header. */
static bool same_flow(const struct segment *a, const struct segment *b)
{
	uint32_t addresses = a->network + (a->six ? 8 : 12);

	return a->network == b->network && a->six == b->six && memcmp(a->header, b->header, a->network) == 0 &&
	       memcmp(a->header + addresses, b->header + addresses, a->transport + 4 - addresses) == 0;
}

static bool same_ip(const struct joined *j, const struct segment *s)
{
	const uint8_t *a = j->first.header + s->network, *b = s->header + s->network;

	if (s->six)
		return memcmp(a, b, 4) == 0 && a[7] == b[7];
	return a[1] == b[1] && memcmp(a + 6, b + 6, 3) == 0 && load_be16(b + 4) == (uint16_t)(load_be16(a + 4) + j->count);
}

/* Acknowledgement, flags but PSH, window, urgent pointer and options. */
static bool same_tcp(const struct joined *j, const struct segment *s)
{
	const uint8_t *a = j->first.header + s->transport, *b = s->header + s->transport;

	return s->payload == j->first.payload && load_be32(b + 4) == load_be32(a + 4) + j->bytes && memcmp(a + 8, b + 8, 5) == 0 &&
	       !((a[TCP_FLAGS] ^ b[TCP_FLAGS]) & ~PSH_MASK) && memcmp(a + 14, b + 14, 2) == 0 &&
	       memcmp(a + 18, b + 18, s->payload - s->transport - 18) == 0;
}

static bool follows(const struct joined *j, const struct segment *s)
{
	return !j->pushed && j->bytes == j->count * j->first.bytes && s->bytes <= j->first.bytes &&
	       j->first.payload - j->first.network + j->bytes + s->bytes <= UINT16_MAX && same_ip(j, s) && same_tcp(j, s);
}

/* ---- what is made ---- */

static void list_payload(struct gro *g, const struct vireo_frame *from, uint32_t skip)
{
	for (uint32_t i = 0; i < from->iov_count; i++) {
		uint32_t part = (uint32_t)min_u64(from->iov[i].iov_len, skip);

		skip -= part;
		if (from->iov[i].iov_len > part)
			g->room->pieces[g->pieces_used++] =
				(struct iovec){(uint8_t *)from->iov[i].iov_base + part, from->iov[i].iov_len - part};
	}
}

/* Lengths, checksums and PSH as a sender would have left them who leaves the cutting to others. */
static void finish_header(struct joined *j)
{
	struct segment *s = &j->first;
	uint8_t *ip = s->header + s->network, *tcp = s->header + s->transport;
	uint32_t transport_bytes = s->payload - s->transport + j->bytes;
	uint16_t sum;

	store_be16(ip + (s->six ? 4 : 2), (uint16_t)(transport_bytes + (s->six ? 0 : IPV4_BYTES)));
	if (!s->six) {
		store_be16(ip + 10, 0);
		sum = checksum_fold(checksum_add(0, ip, IPV4_BYTES));
		memcpy(ip + 10, &sum, sizeof(sum));
	}
	tcp[TCP_FLAGS] |= j->pushed ? PSH_MASK : 0;
	sum = (uint16_t)~checksum_fold(pseudo_sum(s, transport_bytes));
	memcpy(tcp + TCP_SUM, &sum, sizeof(sum));
}

static void close_one(struct gro *g, struct joined *j)
{
	struct vireo_frame *frame = &g->frames[j->frame];
	uint8_t *header = g->room->headers[j->frame];
	struct segment *s = &j->first;
	unsigned first = g->pieces_used;

	if (j->count == 1)
		return;
	finish_header(j);
	memcpy(header, s->header, s->payload);
	g->room->pieces[g->pieces_used++] = (struct iovec){header, s->payload};
	for (unsigned i = 0; i < j->count; i++)
		list_payload(g, &g->came[j->pieces[i]], s->payload);
	frame->iov = &g->room->pieces[first];
	frame->iov_count = g->pieces_used - first;
	frame->len_bytes = s->payload + j->bytes;
	memcpy(frame->head, header, VIREO_FRAME_HEAD_BYTES);
	frame->offload = (struct vireo_frame_offload){
		.gso = s->six ? VIREO_GSO_TCP6 : VIREO_GSO_TCP4,
		.flags = VIREO_FRAME_NEEDS_CSUM,
		.header_bytes = (uint16_t)s->payload,
		.segment_bytes = (uint16_t)s->bytes,
		.csum_start = (uint16_t)s->transport,
		.csum_offset = TCP_SUM,
	};
}

static void close_all(struct gro *g)
{
	for (unsigned i = 0; i < g->open_count; i++)
		close_one(g, &g->open[i]);
	g->open_count = 0;
}

/* Its flow's, which is closed if it does not follow; NULL: it begins one. */
static struct joined *place(struct gro *g, const struct segment *s)
{
	for (unsigned i = 0; i < g->open_count; i++) {
		struct joined *j = &g->open[i];

		if (!same_flow(&j->first, s))
			continue;
		if (follows(j, s))
			return j;
		close_one(g, j);
		if (i != --g->open_count)
			*j = g->open[g->open_count];
		return NULL;
	}
	return NULL;
}

static void joined_begin(struct gro *g, const struct segment *s, unsigned came, unsigned frame)
{
	struct joined *j;

	if (g->open_count == OPEN_MAX)
		close_all(g);
	j = &g->open[g->open_count++];
	j->first = *s;
	j->frame = frame;
	j->count = 1;
	j->bytes = s->bytes;
	j->pushed = s->header[s->transport + TCP_FLAGS] & PSH_MASK;
	j->pieces[0] = came;
}

static void joined_add(struct joined *j, const struct segment *s, unsigned came)
{
	j->pieces[j->count++] = came;
	j->bytes += s->bytes;
	j->pushed = s->header[s->transport + TCP_FLAGS] & PSH_MASK;
}

unsigned gro_merge(struct gro_room *room, struct vireo_frame *frames, unsigned count)
{
	struct gro g = {.room = room, .frames = frames};
	unsigned left = 0;

	for (unsigned i = 0; i < count; i++) {
		struct joined *j = NULL;
		struct segment s = {.network = 0};
		bool tcp = is_tcp(&s, &frames[i]), good = tcp && parse(&s, &frames[i]);

		g.came[i] = frames[i];
		if (tcp && !good)
			close_all(&g);
		if (good)
			j = place(&g, &s);
		if (j) {
			joined_add(j, &s, i);
			continue;
		}
		if (good)
			joined_begin(&g, &s, i, left);
		frames[left++] = g.came[i];
	}
	close_all(&g);
	return left;
}
