/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Big frames are built, cut, and every piece is judged by a slow and simple verifier of its own: 16 bits at a
 * time, no code shared with what is tested. The payload is put together again and compared.
 */

#include "switch/offload.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define FIN 0x01
#define PSH 0x08
#define ACK 0x10
#define ECE 0x40
#define CWR 0x80

enum extension { PLAIN, HOP_BY_HOP, DEST_OPTIONS, ROUTING, SEGMENTS };

/* What to build. */
struct recipe {
	unsigned tags;
	unsigned ip;
	unsigned ip_options; /* IPv4: bytes, multiple of 4 */
	enum extension extension;
	unsigned protocol; /* 6, 17 */
	unsigned tcp_options;
	uint8_t tcp_flags;
	uint32_t payload;
	unsigned trailer; /* bytes behind the IP packet */
};

struct built {
	uint8_t bytes[70000];
	uint32_t len, network, transport, payload;
	struct recipe recipe;
};

struct fixture {
	struct offload_arena *arena;
	struct built frame;
	uint8_t joined[70000]; /* payload out of the pieces */
	uint32_t joined_bytes;
	unsigned pieces;
	uint8_t flags_first, flags_middle, flags_last;
};

/* ---- the builder ---- */

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static uint32_t build_link(struct built *f)
{
	uint32_t at = 12;

	for (uint32_t i = 0; i < 12; i++)
		f->bytes[i] = (uint8_t)(0x10 + i);
	f->bytes[0] = 2;
	f->bytes[6] = 2;
	for (unsigned i = 0; i < f->recipe.tags; i++, at += 4) {
		put16(f->bytes + at, f->recipe.tags == 2 && !i ? 0x88a8 : 0x8100);
		put16(f->bytes + at + 2, 100 + i);
	}
	put16(f->bytes + at, f->recipe.ip == 4 ? 0x0800 : 0x86dd);
	return at + 2;
}

static uint32_t build_ipv4(struct built *f, uint32_t at)
{
	uint8_t *ip = f->bytes + at;

	ip[0] = (uint8_t)(0x45 + f->recipe.ip_options / 4);
	put16(ip + 4, 0xfffe); /* the id wraps around while it is counted */
	ip[6] = f->recipe.protocol == 6 ? 0x40 : 0;
	ip[8] = 64;
	ip[9] = (uint8_t)f->recipe.protocol;
	memcpy(ip + 12, "\x0a\x00\x00\x01\xc0\xa8\xff\xfe", 8);
	if (f->recipe.ip_options) { /* record route (not copied), router alert (copied) */
		memcpy(ip + 20, "\x07\x07\x04\x00\x00\x00\x00\x01\x94\x04\x00\x00", 12);
		memset(ip + 32, 0, f->recipe.ip_options - 12);
	}
	return at + 20 + f->recipe.ip_options;
}

static uint32_t build_extension(struct built *f, uint32_t at)
{
	uint8_t *next = f->bytes + f->network + 6, *extension = f->bytes + at;

	extension[0] = (uint8_t)f->recipe.protocol;
	switch (f->recipe.extension) {
	case PLAIN:
		return at;
	case HOP_BY_HOP:
		*next = 0;
		memcpy(extension + 2, "\x05\x02\x00\x00\x01\x00", 6);
		return at + 8;
	case DEST_OPTIONS:
		*next = 60;
		extension[1] = 1;
		memcpy(extension + 2, "\x01\x0c", 2);
		return at + 16;
	case ROUTING: /* type 0, one segment left */
		*next = 43;
		extension[1] = 4;
		extension[2] = 0;
		extension[3] = 1;
		memset(extension + 8, 0x33, 16);
		memset(extension + 24, 0x44, 16);
		return at + 40;
	default: /* segment routing: the last segment comes first */
		*next = 43;
		extension[1] = 4;
		extension[2] = 4;
		extension[3] = 1;
		memset(extension + 8, 0x55, 16);
		memset(extension + 24, 0x66, 16);
		return at + 40;
	}
}

static uint32_t build_ipv6(struct built *f, uint32_t at)
{
	uint8_t *ip = f->bytes + at;

	ip[0] = 0x60;
	ip[6] = (uint8_t)f->recipe.protocol;
	ip[7] = 64;
	memset(ip + 8, 0x20, 16);
	memset(ip + 24, 0xfe, 16);
	return build_extension(f, at + 40);
}

static uint32_t build_transport(struct built *f, uint32_t at)
{
	uint8_t *header = f->bytes + at;

	put16(header, 1234);
	put16(header + 2, 80);
	if (f->recipe.protocol == 17) {
		put16(header + 4, f->recipe.payload + 8);
		return at + 8;
	}
	memcpy(header + 4, "\xff\xff\xff\x00\x11\x22\x33\x44", 8); /* sequence wraps around */
	header[12] = (uint8_t)((20 + f->recipe.tcp_options) / 4 << 4);
	header[13] = f->recipe.tcp_flags;
	put16(header + 14, 500);
	memset(header + 20, 1, f->recipe.tcp_options);
	return at + 20 + f->recipe.tcp_options;
}

static void build(struct built *f, const struct recipe *recipe)
{
	uint32_t ip_bytes;

	memset(f, 0, sizeof(*f));
	f->recipe = *recipe;
	f->network = build_link(f);
	f->transport = recipe->ip == 4 ? build_ipv4(f, f->network) : build_ipv6(f, f->network);
	f->payload = build_transport(f, f->transport);
	for (uint32_t i = 0; i < recipe->payload; i++)
		f->bytes[f->payload + i] = (uint8_t)(i * 7 + i / 251);
	f->len = f->payload + recipe->payload;
	ip_bytes = f->len - f->network;
	if (recipe->ip == 4)
		put16(f->bytes + f->network + 2, ip_bytes);
	else
		put16(f->bytes + f->network + 4, ip_bytes - 40);
	memset(f->bytes + f->len, 0xee, recipe->trailer);
	f->len += recipe->trailer;
	put16(f->bytes + f->transport + (recipe->protocol == 6 ? 16 : 6), 0xbeef); /* senders leave anything */
}

/* ---- the verifier ---- */

static uint32_t slow_sum(uint32_t sum, const uint8_t *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static uint32_t slow_pseudo(const struct built *f, uint32_t transport_bytes)
{
	const uint8_t *ip = f->bytes + f->network;
	uint8_t final[16];
	uint32_t sum;

	if (f->recipe.ip == 4) {
		sum = slow_sum(0, ip + 12, 8);
	} else {
		memcpy(final, ip + 24, 16);
		if (f->recipe.extension == ROUTING)
			memset(final, 0x44, 16);
		if (f->recipe.extension == SEGMENTS)
			memset(final, 0x55, 16);
		sum = slow_sum(slow_sum(0, ip + 8, 16), final, 16);
	}
	return sum + f->recipe.protocol + transport_bytes;
}

static void verify_transport(const struct built *f, const uint8_t *transport, uint32_t bytes)
{
	assert_int_equal(slow_sum(slow_pseudo(f, bytes), transport, bytes), 0xffff);
}

static void verify_ip(const struct built *f, const uint8_t *bytes, uint32_t len, unsigned piece, bool ids_count)
{
	const uint8_t *ip = bytes + f->network;

	assert_memory_equal(bytes, f->bytes, f->network);
	if (f->recipe.ip == 6) {
		assert_int_equal(get16(ip + 4), len - f->network - 40);
		return;
	}
	assert_int_equal(get16(ip + 2), len - f->network);
	assert_int_equal(slow_sum(0, ip, f->transport - f->network), 0xffff);
	assert_int_equal(get16(ip + 4), (0xfffe + (ids_count ? piece : 0)) & 0xffff);
}

static void join(struct fixture *x, const uint8_t *payload, uint32_t bytes)
{
	memcpy(x->joined + x->joined_bytes, payload, bytes);
	x->joined_bytes += bytes;
}

static void verify_tcp(struct fixture *x, const uint8_t *bytes, uint32_t len)
{
	const struct built *f = &x->frame;
	const uint8_t *tcp = bytes + f->transport;
	uint8_t flags = tcp[13];

	verify_ip(f, bytes, len, x->pieces, true);
	verify_transport(f, tcp, len - f->transport);
	assert_int_equal(get32(tcp + 4), (uint32_t)(0xffffff00u + x->joined_bytes));
	assert_memory_equal(tcp + 20, f->bytes + f->transport + 20, f->recipe.tcp_options);
	if (!x->pieces)
		x->flags_first = flags;
	else if (x->joined_bytes + len - f->payload < f->recipe.payload)
		x->flags_middle = flags;
	x->flags_last = flags;
	join(x, bytes + f->payload, len - f->payload);
}

static void verify_udp(struct fixture *x, const uint8_t *bytes, uint32_t len)
{
	const struct built *f = &x->frame;

	verify_ip(f, bytes, len, x->pieces, true);
	verify_transport(f, bytes + f->transport, len - f->transport);
	assert_int_equal(get16(bytes + f->transport + 4), len - f->transport);
	assert_int_not_equal(get16(bytes + f->transport + 6), 0);
	join(x, bytes + f->payload, len - f->payload);
}

/* Joins from the UDP header on. */
static void verify_fragment4(struct fixture *x, const uint8_t *bytes, uint32_t len)
{
	const struct built *f = &x->frame;
	unsigned fragment = get16(bytes + f->network + 6);
	bool last = x->joined_bytes + len - f->transport == f->recipe.payload + 8;

	verify_ip(f, bytes, len, 0, false);
	assert_int_equal((fragment & 0x1fff) * 8, x->joined_bytes);
	assert_int_equal(fragment >> 13, last ? 0 : 1);
	if (f->recipe.ip_options) {
		assert_int_equal(bytes[f->network + 20], x->pieces ? 1 : 7); /* only the first has it */
		assert_int_equal(bytes[f->network + 28], 0x94);
	}
	join(x, bytes + f->transport, len - f->transport);
}

static void verify_fragment6(struct fixture *x, const uint8_t *bytes, uint32_t len)
{
	static uint32_t id;
	const struct built *f = &x->frame;
	uint32_t part = f->recipe.extension == DEST_OPTIONS ? f->network + 40 : f->transport;
	uint8_t announced = f->recipe.extension == DEST_OPTIONS ? 60 : 17;
	const uint8_t *fragment = bytes + part;
	uint32_t next = f->recipe.extension == HOP_BY_HOP || f->recipe.extension == ROUTING ? f->network + 40 :
											     f->network + 6;
	bool last = f->len - part == x->joined_bytes + len - part - 8;

	verify_ip(f, bytes, len, 0, false);
	assert_int_equal(bytes[next], 44);
	assert_int_equal(fragment[0], announced);
	assert_int_equal(get16(fragment + 2), x->joined_bytes | !last);
	if (x->pieces)
		assert_int_equal(get32(fragment + 4), id);
	id = get32(fragment + 4);
	join(x, fragment + 8, len - part - 8);
}

/* ---- the machine ---- */

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(offload_arena_new(64, 128 * 1024, &x->arena), 0);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	offload_arena_free(x->arena);
	free(x);
	return 0;
}

static uint32_t flatten(const struct vireo_frame *frame, uint8_t *dst)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < frame->iov_count; i++) {
		memcpy(dst + at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += (uint32_t)frame->iov[i].iov_len;
	}
	assert_int_equal(at, frame->len_bytes);
	assert_memory_equal(dst, frame->head, at < 18 ? at : 18);
	assert_int_equal(frame->offload.flags, 0);
	assert_int_equal(frame->offload.gso, VIREO_GSO_NONE);
	return at;
}

typedef void verifier(struct fixture *x, const uint8_t *bytes, uint32_t len);

/* A tag more, or one less, than the frame has as it was built. */
enum edit { AS_IT_IS, TAG_PUSHED, TAG_POPPED };

static int begin_edited(struct offload_arena *arena, struct built *f, struct offload_job *job,
			const struct vireo_frame_offload *offload, enum edit edit)
{
	struct iovec iov[3] = {{f->bytes, 17}, {f->bytes + 17, 40}, {f->bytes + 57, f->len - 57}};
	struct vireo_frame frame = {
		.iov = iov, .iov_count = 3, .len_bytes = f->len, .offload = *offload,
	};

	memcpy(frame.head, f->bytes, 18);
	if (edit == TAG_PUSHED)
		assert_true(vireo_frame_tag_push(&frame, 0x8100, 100));
	else if (edit == TAG_POPPED)
		assert_true(vireo_frame_tag_pop(&frame));
	return offload_begin(job, arena, &frame);
}

static int begin(struct fixture *x, struct offload_job *job, unsigned gso, unsigned segment_bytes, unsigned flags)
{
	const struct vireo_frame_offload offload = {
		.gso = (uint8_t)gso, .flags = (uint8_t)flags, .segment_bytes = (uint16_t)segment_bytes,
		.csum_start = (uint16_t)x->frame.transport,
		.csum_offset = x->frame.recipe.protocol == 6 ? 16 : 6,
	};

	return begin_edited(x->arena, &x->frame, job, &offload, AS_IT_IS);
}

static void verify_pieces(struct fixture *x, struct offload_job *job, verifier *verify)
{
	uint8_t bytes[70000];
	const struct vireo_frame *piece;
	uint32_t len;

	while (true) {
		if (!offload_has_slot(x->arena))
			x->arena->slots_used = 0;
		piece = offload_next(job);
		if (!piece)
			break;
		len = flatten(piece, bytes);
		verify(x, bytes, len);
		x->pieces++;
	}
}

static void cut(struct fixture *x, const struct recipe *recipe, unsigned gso, unsigned segment_bytes,
		verifier *verify)
{
	struct offload_job job;

	build(&x->frame, recipe);
	x->joined_bytes = x->pieces = 0;
	offload_reset(x->arena);
	assert_int_equal(begin(x, &job, gso, segment_bytes, VIREO_FRAME_NEEDS_CSUM), 0);
	verify_pieces(x, &job, verify);
}

static void payload_is_whole(const struct fixture *x)
{
	assert_int_equal(x->joined_bytes, x->frame.recipe.payload);
	assert_memory_equal(x->joined, x->frame.bytes + x->frame.payload, x->joined_bytes);
}

/* ---- TCP ---- */

static void tcp_is_cut_right_whatever_is_around_it(void **state)
{
	struct fixture *x = *state;
	static const uint32_t payloads[] = {0, 1, 999, 1000, 1001, 14480, 65000};

	for (unsigned tags = 0; tags <= 2; tags++) {
		for (unsigned p = 0; p < ARRAY_SIZE(payloads); p++) {
			struct recipe recipe = {.tags = tags, .ip = 4, .protocol = 6, .payload = payloads[p],
						.tcp_options = tags * 12, .ip_options = tags * 12};

			cut(x, &recipe, VIREO_GSO_TCP4, 1000, verify_tcp);
			payload_is_whole(x);
			assert_int_equal(x->pieces, payloads[p] ? (payloads[p] + 999) / 1000 : 1);
			for (unsigned e = PLAIN; e <= SEGMENTS; e++) {
				recipe.ip = 6;
				recipe.ip_options = 0;
				recipe.extension = e;
				cut(x, &recipe, VIREO_GSO_TCP6, 1000, verify_tcp);
				payload_is_whole(x);
			}
		}
	}
}

static void odd_segment_sizes_are_right(void **state)
{
	struct fixture *x = *state;

	for (unsigned segment_bytes = 1; segment_bytes < 40; segment_bytes++) {
		struct recipe recipe = {.ip = 4, .protocol = 6, .payload = 777};

		cut(x, &recipe, VIREO_GSO_TCP4, segment_bytes, verify_tcp);
		payload_is_whole(x);
	}
}

static void fin_and_psh_stay_with_the_last_and_cwr_with_the_first(void **state)
{
	struct fixture *x = *state;
	struct recipe recipe = {.ip = 4, .protocol = 6, .payload = 3000, .tcp_flags = FIN | PSH | ACK | ECE | CWR};

	cut(x, &recipe, VIREO_GSO_TCP4, 1000, verify_tcp);
	assert_int_equal(x->pieces, 3);
	assert_int_equal(x->flags_first, ACK | ECE | CWR);
	assert_int_equal(x->flags_middle, ACK | ECE);
	assert_int_equal(x->flags_last, FIN | PSH | ACK | ECE);
}

static void trailer_behind_the_packet_is_not_payload(void **state)
{
	struct fixture *x = *state;
	struct recipe recipe = {.ip = 4, .protocol = 6, .payload = 2500, .trailer = 77};

	cut(x, &recipe, VIREO_GSO_TCP4, 1000, verify_tcp);
	payload_is_whole(x);
}

/* ---- UDP ---- */

static void udp_is_cut_into_datagrams(void **state)
{
	struct fixture *x = *state;

	for (unsigned tags = 0; tags <= 2; tags++) {
		struct recipe recipe = {.tags = tags, .ip = 4, .protocol = 17, .payload = 9999};

		cut(x, &recipe, VIREO_GSO_UDP4, 1200, verify_udp);
		payload_is_whole(x);
		assert_int_equal(x->pieces, 9);
		recipe.ip = 6;
		recipe.extension = tags;
		cut(x, &recipe, VIREO_GSO_UDP6, 1200, verify_udp);
		payload_is_whole(x);
	}
}

static void ufo_whole(struct fixture *x, uint32_t part)
{
	const struct built *f = &x->frame;

	assert_int_equal(x->joined_bytes, f->len - part);
	verify_transport(f, x->joined + (f->transport - part), f->len - f->transport);
	assert_memory_equal(x->joined + (f->payload - part), f->bytes + f->payload, f->recipe.payload);
}

static void ufo_makes_ipv4_fragments(void **state)
{
	struct fixture *x = *state;

	for (unsigned options = 0; options <= 12; options += 12) {
		struct recipe recipe = {.tags = options / 12, .ip = 4, .protocol = 17, .payload = 5001,
					.ip_options = options};

		cut(x, &recipe, VIREO_GSO_UDP_FRAG, 1483, verify_fragment4); /* 1480: a multiple of 8 */
		assert_int_equal(x->pieces, 4);
		ufo_whole(x, x->frame.transport);
	}
}

static void ufo_makes_ipv6_fragments(void **state)
{
	struct fixture *x = *state;

	for (unsigned extension = PLAIN; extension <= ROUTING; extension++) {
		struct recipe recipe = {.ip = 6, .protocol = 17, .payload = 5001, .extension = extension};

		cut(x, &recipe, VIREO_GSO_UDP_FRAG, 1448, verify_fragment6);
		assert_int_equal(x->pieces, 4);
		ufo_whole(x, extension == DEST_OPTIONS ? x->frame.network + 40 : x->frame.transport);
	}
}

static void udp_checksum_of_zero_becomes_ffff(void **state)
{
	struct fixture *x = *state;
	struct recipe recipe = {.ip = 4, .protocol = 17, .payload = 2};
	struct built *f = &x->frame;
	struct offload_job job;
	const struct vireo_frame *made;
	uint8_t bytes[100];
	uint32_t sum;

	build(f, &recipe);
	put16(f->bytes + f->payload, 0);
	put16(f->bytes + f->transport + 6, 0);
	sum = slow_sum(slow_pseudo(f, 10), f->bytes + f->transport, 10);
	put16(f->bytes + f->payload, 0xffff - sum); /* now the sum is all ones, its complement 0 */
	put16(f->bytes + f->transport + 6, slow_pseudo(f, 10) % 0xffff);
	assert_int_equal(begin(x, &job, VIREO_GSO_NONE, 0, VIREO_FRAME_NEEDS_CSUM), 0);
	made = offload_next(&job);
	flatten(made, bytes);
	assert_int_equal(get16(bytes + f->transport + 6), 0xffff);
	offload_reset(x->arena);
	assert_int_equal(begin(x, &job, VIREO_GSO_UDP4, 1000, VIREO_FRAME_NEEDS_CSUM), 0);
	flatten(offload_next(&job), bytes);
	assert_int_equal(get16(bytes + f->transport + 6), 0xffff);
}

static void udp_over_ipv4_without_checksum_stays_without(void **state)
{
	struct fixture *x = *state;
	struct recipe recipe = {.ip = 4, .protocol = 17, .payload = 3000};
	struct offload_job job;
	uint8_t bytes[2000];

	build(&x->frame, &recipe);
	put16(x->frame.bytes + x->frame.transport + 6, 0);
	assert_int_equal(begin(x, &job, VIREO_GSO_UDP4, 1000, 0), 0);
	flatten(offload_next(&job), bytes);
	assert_int_equal(get16(bytes + x->frame.transport + 6), 0);
}

static void checksum_is_filled_in(void **state)
{
	struct fixture *x = *state;

	for (uint32_t payload = 0; payload < 200; payload++) {
		struct recipe recipe = {.tags = payload % 3, .ip = payload % 2 ? 4 : 6,
					.protocol = payload % 5 ? 6 : 17, .payload = payload};
		struct built *f = &x->frame;
		struct offload_job job;
		uint8_t bytes[400];
		uint32_t len;

		build(f, &recipe);
		offload_reset(x->arena);
		put16(f->bytes + f->transport + (recipe.protocol == 6 ? 16 : 6),
		      slow_sum(slow_pseudo(f, f->len - f->transport), NULL, 0) % 0xffff);
		assert_int_equal(begin(x, &job, VIREO_GSO_NONE, 0, VIREO_FRAME_NEEDS_CSUM), 0);
		len = flatten(offload_next(&job), bytes);
		assert_int_equal(len, f->len);
		verify_transport(f, bytes + f->transport, len - f->transport);
		assert_null(offload_next(&job));
	}
}

/* ---- lies ---- */

static int refusal(struct fixture *x, unsigned gso, unsigned segment_bytes)
{
	struct offload_job job;

	offload_reset(x->arena);
	return begin(x, &job, gso, segment_bytes, VIREO_FRAME_NEEDS_CSUM);
}

static void tcp4(struct fixture *x)
{
	build(&x->frame, &(struct recipe){.ip = 4, .protocol = 6, .payload = 3000});
	assert_int_equal(refusal(x, VIREO_GSO_TCP4, 1000), 0);
}

static void tcp6(struct fixture *x, enum extension extension)
{
	build(&x->frame, &(struct recipe){.ip = 6, .protocol = 6, .payload = 3000, .extension = extension});
	assert_int_equal(refusal(x, VIREO_GSO_TCP6, 1000), 0);
}

static void lying_headers_are_refused(void **state)
{
	struct fixture *x = *state;
	uint8_t *ip, *transport;

#define LIE4(statement) \
	do { \
		tcp4(x); \
		ip = x->frame.bytes + x->frame.network; \
		transport = x->frame.bytes + x->frame.transport; \
		statement; \
		assert_int_equal(refusal(x, VIREO_GSO_TCP4, 1000), -EINVAL); \
	} while (0)

	LIE4(ip[0] = 0x44);              /* header shorter than a header */
	LIE4(ip[0] = 0x4f);              /* runs into the payload: no longer where the checksum is said to be */
	LIE4(ip[0] = 0x65);
	LIE4(ip[6] = 0x20);              /* a fragment */
	LIE4(ip[9] = 17);
	LIE4(put16(ip + 2, 5000));       /* longer than the frame */
	LIE4(put16(ip + 2, 30));         /* ends inside TCP */
	LIE4(transport[12] = 0x40);      /* TCP header shorter than a header */
	LIE4(x->frame.len = 60);
	LIE4(put16(x->frame.bytes + 12, 0x86dd));
	LIE4(put16(x->frame.bytes + 12, 0x0806));
	LIE4(x->frame.transport += 2);   /* checksum asked for elsewhere */
	LIE4(x->frame.recipe.protocol = 17);
#undef LIE4
	tcp4(x);
	assert_int_equal(refusal(x, VIREO_GSO_TCP6, 1000), -EINVAL);
	assert_int_equal(refusal(x, VIREO_GSO_UDP4, 1000), -EINVAL);
	assert_int_equal(refusal(x, VIREO_GSO_UDP_FRAG, 1000), -EINVAL);
	assert_int_equal(refusal(x, VIREO_GSO_TCP4, 0), -EINVAL);
	assert_int_equal(refusal(x, VIREO_GSO_TCP4, 1), -EINVAL); /* too many */
	assert_int_equal(refusal(x, 7, 1000), -EINVAL);
}

static void lying_extension_headers_are_refused(void **state)
{
	struct fixture *x = *state;

	tcp6(x, HOP_BY_HOP);
	x->frame.bytes[x->frame.network + 41] = 255; /* longer than this code will repeat */
	assert_int_equal(refusal(x, VIREO_GSO_TCP6, 1000), -EINVAL);
	tcp6(x, HOP_BY_HOP);
	x->frame.bytes[x->frame.network + 40] = 0; /* then the payload reads as more of them, without end */
	memset(x->frame.bytes + x->frame.network + 48, 0, 3000);
	assert_int_equal(refusal(x, VIREO_GSO_TCP6, 1000), -EINVAL);
	tcp6(x, PLAIN);
	x->frame.bytes[x->frame.network + 6] = 44; /* already a fragment */
	assert_int_equal(refusal(x, VIREO_GSO_TCP6, 1000), -EINVAL);
	tcp6(x, ROUTING);
	x->frame.bytes[x->frame.network + 41] = 0; /* no room for the address it must have */
	assert_int_equal(refusal(x, VIREO_GSO_TCP6, 1000), -EINVAL);
}

static void lying_udp_length_is_refused_where_it_counts(void **state)
{
	struct fixture *x = *state;

	build(&x->frame, &(struct recipe){.ip = 4, .protocol = 17, .payload = 3000});
	put16(x->frame.bytes + x->frame.transport + 4, 100);
	assert_int_equal(refusal(x, VIREO_GSO_UDP_FRAG, 1000), -EINVAL);
	build(&x->frame, &(struct recipe){.ip = 4, .protocol = 17, .payload = 3000});
	assert_int_equal(refusal(x, VIREO_GSO_UDP_FRAG, 7), -EINVAL); /* less than a fragment's unit */
}

/* Any bytes at all: nothing is read or written out of bounds (for the sanitizers), no endless loop. */
static void noise_does_no_harm(void **state)
{
	struct fixture *x = *state;
	uint32_t random = 12345;

	for (unsigned round = 0; round < 20000; round++) {
		struct recipe recipe = {.tags = round % 3, .ip = round & 1 ? 4 : 6, .protocol = round & 2 ? 6 : 17,
					.payload = 60 + round % 400, .extension = round % 5,
					.ip_options = round & 4 ? 12 : 0};
		struct offload_job job;

		build(&x->frame, &recipe);
		for (unsigned i = 0; i < 3; i++) {
			random = random * 1664525 + 1013904223;
			x->frame.bytes[12 + (random >> 8) % 80] = (uint8_t)(random >> 24);
		}
		offload_reset(x->arena);
		if (begin(x, &job, round % 6, 1 + round % 200, round % 7 ? 0 : VIREO_FRAME_NEEDS_CSUM))
			continue;
		do {
			if (!offload_has_slot(x->arena))
				x->arena->slots_used = 0;
		} while (offload_next(&job));
	}
}

static void full_arena_says_so(void **state)
{
	struct fixture *x = *state;
	struct offload_job job;

	offload_reset(x->arena);
	build(&x->frame, &(struct recipe){.ip = 4, .protocol = 6, .payload = 60000});
	assert_int_equal(begin(x, &job, VIREO_GSO_TCP4, 1000, 0), 0);
	assert_int_equal(begin(x, &job, VIREO_GSO_TCP4, 1000, 0), 0);
	assert_int_equal(begin(x, &job, VIREO_GSO_TCP4, 1000, 0), -ENOSPC);
	offload_reset(x->arena);
	assert_int_equal(begin(x, &job, VIREO_GSO_TCP4, 1000, 0), 0);
}

/* ---- edits ---- */

static void frame_is_cut_as_it_is_edited(void **state)
{
	static const enum edit edits[] = {TAG_PUSHED, TAG_POPPED};
	struct fixture *x = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(edits); i++) {
		bool popped = edits[i] == TAG_POPPED;
		struct recipe sent_recipe = {.tags = popped, .ip = 4, .protocol = 6, .payload = 5000, .tcp_options = 12};
		struct recipe got_recipe = sent_recipe;
		struct built *sent = calloc(1, sizeof(*sent));
		struct vireo_frame_offload offload = {.gso = VIREO_GSO_TCP4, .flags = VIREO_FRAME_NEEDS_CSUM,
						      .segment_bytes = 1000, .csum_offset = 16};
		struct offload_job job;

		assert_non_null(sent);
		build(sent, &sent_recipe);
		offload.csum_start = (uint16_t)sent->transport;
		got_recipe.tags = !popped;
		build(&x->frame, &got_recipe);
		x->joined_bytes = x->pieces = 0;
		offload_reset(x->arena);
		assert_int_equal(begin_edited(x->arena, sent, &job, &offload, edits[i]), 0);
		verify_pieces(x, &job, verify_tcp);
		payload_is_whole(x);
		assert_int_equal(x->pieces, 5);
		free(sent);
	}
}

static void checksum_inside_an_edit_is_refused(void **state)
{
	const struct vireo_frame_offload offload = {.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 17};
	struct recipe recipe = {.ip = 4, .protocol = 6, .payload = 100};
	struct fixture *x = *state;
	struct offload_job job;

	build(&x->frame, &recipe);
	assert_int_equal(begin_edited(x->arena, &x->frame, &job, &offload, TAG_PUSHED), -EINVAL);
}

/* Else whose source address has been found right could have another one when it arrives. */
static void checksum_in_the_addresses_is_refused(void **state)
{
	struct fixture *x = *state;

	for (uint16_t start = 0; start <= 14; start += 2) {
		const struct vireo_frame_offload offload = {.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = start};
		struct recipe recipe = {.ip = 4, .protocol = 6, .payload = 100};
		struct offload_job job;

		build(&x->frame, &recipe);
		offload_reset(x->arena);
		assert_int_equal(begin_edited(x->arena, &x->frame, &job, &offload, AS_IT_IS), start < 14 ? -EINVAL : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_is_cut_right_whatever_is_around_it),
		cmocka_unit_test(odd_segment_sizes_are_right),
		cmocka_unit_test(fin_and_psh_stay_with_the_last_and_cwr_with_the_first),
		cmocka_unit_test(trailer_behind_the_packet_is_not_payload),
		cmocka_unit_test(udp_is_cut_into_datagrams),
		cmocka_unit_test(ufo_makes_ipv4_fragments),
		cmocka_unit_test(ufo_makes_ipv6_fragments),
		cmocka_unit_test(udp_checksum_of_zero_becomes_ffff),
		cmocka_unit_test(udp_over_ipv4_without_checksum_stays_without),
		cmocka_unit_test(checksum_is_filled_in),
		cmocka_unit_test(lying_headers_are_refused),
		cmocka_unit_test(lying_extension_headers_are_refused),
		cmocka_unit_test(lying_udp_length_is_refused_where_it_counts),
		cmocka_unit_test(noise_does_no_harm),
		cmocka_unit_test(full_arena_says_so),
		cmocka_unit_test(frame_is_cut_as_it_is_edited),
		cmocka_unit_test(checksum_inside_an_edit_is_refused),
		cmocka_unit_test(checksum_in_the_addresses_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
