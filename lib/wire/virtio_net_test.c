/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "wire/virtio_net.h"
#include "wire/virtio_ring.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#define ALL 0x7fu /* VIREO_OFFLOAD_* */
#define IPV4 0x0800
#define IPV6 0x86dd
#define ARP 0x0806
#define FRAME_BYTES 4000u

struct frame {
	struct virtio_net_header header;
	uint8_t head[VIREO_FRAME_HEAD_BYTES];
	unsigned head_bytes;
	uint32_t bytes;
	unsigned offloads;
};

/* A header that asks for segmentation, right in every respect. */
static struct frame gso_frame(uint8_t type, uint16_t ethertype)
{
	bool udp = type == NET_HDR_GSO_UDP || type == NET_HDR_GSO_UDP_L4;
	uint16_t csum_start = ethertype == IPV6 ? 54 : 34;
	struct frame f = {
		.header = {
			.flags = NET_HDR_F_NEEDS_CSUM,
			.gso_type = type,
			.hdr_len = le16((uint16_t)(csum_start + (udp ? 8 : 20))),
			.gso_size = le16(1400),
			.csum_start = le16(csum_start),
			.csum_offset = le16(udp ? 6 : 16),
		},
		.head_bytes = VIREO_FRAME_HEAD_BYTES,
		.bytes = FRAME_BYTES,
		.offloads = ALL,
	};

	f.head[12] = (uint8_t)(ethertype >> 8);
	f.head[13] = (uint8_t)ethertype;
	return f;
}

static struct frame plain_frame(void)
{
	struct frame f = { .head_bytes = VIREO_FRAME_HEAD_BYTES, .bytes = 60, .offloads = ALL };

	f.head[12] = IPV4 >> 8;
	return f;
}

static struct frame csum_frame(uint16_t start, uint16_t offset)
{
	struct frame f = plain_frame();

	f.header.flags = NET_HDR_F_NEEDS_CSUM;
	f.header.csum_start = le16(start);
	f.header.csum_offset = le16(offset);
	return f;
}

static void tag(struct frame *f, uint16_t tpid)
{
	memmove(f->head + 16, f->head + 12, 2);
	f->head[12] = (uint8_t)(tpid >> 8);
	f->head[13] = (uint8_t)tpid;
	f->header.csum_start = le16(le16(f->header.csum_start) + 4);
}

static struct vireo_frame_offload taken(const struct frame *f)
{
	struct vireo_frame_offload offload;
	const char *why = NULL;

	memset(&offload, 0xff, sizeof(offload));
	if (net_header_parse(&f->header, f->bytes, f->head, f->head_bytes, f->offloads, &offload, &why))
		fail_msg("refused: %s", why);
	assert_null(why);
	return offload;
}

static void assert_refused(const struct frame *f, const char *word)
{
	struct vireo_frame_offload offload = { .gso = 77 };
	const char *why = NULL;

	assert_int_equal(
		net_header_parse(&f->header, f->bytes, f->head, f->head_bytes, f->offloads, &offload, &why),
		-EINVAL);
	assert_non_null(why);
	if (!strstr(why, word))
		fail_msg("\"%s\" does not say \"%s\"", why, word);
	assert_int_equal(offload.gso, 77);
}

static const struct {
	uint8_t type;
	uint16_t ethertype;
	uint8_t gso;
	unsigned needed;
} kinds[] = {
	{ NET_HDR_GSO_TCPV4, IPV4, VIREO_GSO_TCP4, VIREO_OFFLOAD_TSO4 },
	{ NET_HDR_GSO_TCPV6, IPV6, VIREO_GSO_TCP6, VIREO_OFFLOAD_TSO6 },
	{ NET_HDR_GSO_UDP, IPV4, VIREO_GSO_UDP_FRAG, VIREO_OFFLOAD_UFO },
	{ NET_HDR_GSO_UDP, IPV6, VIREO_GSO_UDP_FRAG, VIREO_OFFLOAD_UFO },
	{ NET_HDR_GSO_UDP_L4, IPV4, VIREO_GSO_UDP4, VIREO_OFFLOAD_USO4 },
	{ NET_HDR_GSO_UDP_L4, IPV6, VIREO_GSO_UDP6, VIREO_OFFLOAD_USO6 },
};

static void header_of_zeroes_asks_for_nothing(void **state)
{
	struct frame f = plain_frame();
	const struct vireo_frame_offload nothing = { 0 };
	struct vireo_frame_offload o;

	f.offloads = 0;
	o = taken(&f);
	assert_memory_equal(&o, &nothing, sizeof(o));
	/* Fields that nothing announces are not used, whatever they say (5.1.6.2.2). */
	f.header.csum_start = f.header.csum_offset = f.header.gso_size = f.header.hdr_len = 0xffff;
	f.header.num_buffers = 0xffff;
	o = taken(&f);
	assert_memory_equal(&o, &nothing, sizeof(o));
}

static void unknown_flags_are_ignored(void **state)
{
	struct frame f = plain_frame();

	for (int bit = 2; bit < 8; bit++) {
		f.header.flags = (uint8_t)(1u << bit);
		assert_int_equal(taken(&f).flags, 0);
	}
	f = csum_frame(34, 16);
	f.header.flags |= 0xfc;
	assert_int_equal(taken(&f).flags, VIREO_FRAME_NEEDS_CSUM);
}

static void driver_cannot_vouch_for_its_checksum(void **state)
{
	struct frame f = plain_frame();

	f.header.flags = NET_HDR_F_DATA_VALID;
	assert_int_equal(taken(&f).flags, 0);
}

static void checksum_request_is_taken(void **state)
{
	struct frame f = csum_frame(34, 16);
	struct vireo_frame_offload o = taken(&f);

	assert_int_equal(o.flags, VIREO_FRAME_NEEDS_CSUM);
	assert_int_equal(o.gso, VIREO_GSO_NONE);
	assert_int_equal(o.csum_start, 34);
	assert_int_equal(o.csum_offset, 16);
}

static void checksum_request_needs_the_feature(void **state)
{
	struct frame f = csum_frame(34, 16);

	f.offloads = ALL & ~VIREO_OFFLOAD_CSUM;
	assert_refused(&f, "not negotiated");
}

static void checksum_beyond_the_end_of_the_frame_is_refused(void **state)
{
	struct frame f = csum_frame(34, 24); /* the last two of 60 bytes */

	taken(&f);
	f.header.csum_offset = le16(25);
	assert_refused(&f, "beyond the end");
	f.header.csum_start = le16(35);
	f.header.csum_offset = le16(24);
	assert_refused(&f, "beyond the end");
	f.header.csum_start = le16(0xffff);
	f.header.csum_offset = le16(0);
	assert_refused(&f, "beyond the end");
	f.header.csum_offset = le16(0xffff);
	assert_refused(&f, "beyond the end");
	f.header.csum_start = le16(35); /* 35 + 65535 + 2 is 36 in 16 bits */
	assert_refused(&f, "beyond the end");
}

static void checksum_over_the_link_header_is_refused(void **state)
{
	struct frame f = csum_frame(13, 16);

	assert_refused(&f, "link header");
	f = csum_frame(14, 0);
	taken(&f);
	tag(&f, 0x8100);
	taken(&f);
	f.header.csum_start = le16(17);
	assert_refused(&f, "link header");
}

static void each_segmentation_type_is_taken(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype);
		struct vireo_frame_offload o = taken(&f);

		assert_int_equal(o.gso, kinds[i].gso);
		assert_int_equal(o.flags, VIREO_FRAME_NEEDS_CSUM);
		assert_int_equal(o.segment_bytes, 1400);
		assert_int_equal(o.header_bytes, le16(f.header.hdr_len));
		assert_int_equal(net_offloads_needed(&o), kinds[i].needed | VIREO_OFFLOAD_CSUM);
	}
}

static void each_segmentation_type_needs_its_feature(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype);

		f.offloads = ALL & ~kinds[i].needed;
		assert_refused(&f, "not negotiated");
		f.offloads = kinds[i].needed;
		assert_refused(&f, "not negotiated"); /* and CSUM */
		f.offloads |= VIREO_OFFLOAD_CSUM;
		taken(&f);
	}
}

static void unknown_segmentation_types_are_refused(void **state)
{
	for (unsigned type = 1; type < 0x100; type++) {
		struct frame f = gso_frame((uint8_t)type, IPV4);
		unsigned plain = type & ~NET_HDR_GSO_ECN;

		if (plain == NET_HDR_GSO_TCPV4 || plain == NET_HDR_GSO_UDP || plain == NET_HDR_GSO_TCPV6 ||
		    plain == NET_HDR_GSO_UDP_L4)
			continue;
		assert_refused(&f, "unknown");
	}
}

static void segments_of_no_size_are_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype);

		f.header.gso_size = 0;
		assert_refused(&f, "empty");
		f.header.gso_size = le16(1);
		taken(&f);
		f.header.gso_size = 0xffff; /* larger than the frame: one segment */
		taken(&f);
	}
}

static void segmentation_without_a_checksum_request_is_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype);

		f.header.flags = 0;
		assert_refused(&f, "without a checksum request");
	}
}

static void segmentation_type_must_fit_the_ethertype(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype);

		f.head[12] = ARP >> 8;
		f.head[13] = ARP & 0xff;
		assert_refused(&f, "ethertype");
		f.head_bytes = 12; /* nothing known of it */
		assert_refused(&f, "ethertype");
	}
	for (unsigned type = NET_HDR_GSO_TCPV4; type <= NET_HDR_GSO_TCPV6; type += 3) {
		struct frame f = gso_frame((uint8_t)type, type == NET_HDR_GSO_TCPV4 ? IPV6 : IPV4);

		f.header.csum_start = le16(54);
		assert_refused(&f, "ethertype");
	}
}

static void ethertype_is_found_behind_one_tag(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype), two;

		tag(&f, i & 1 ? 0x8100 : 0x88a8);
		assert_int_equal(taken(&f).gso, kinds[i].gso);
		two = f;
		two.head_bytes = 17;
		assert_refused(&two, "ethertype");
		two = f;
		two.head[16] = 0x81;
		two.head[17] = 0x00;
		assert_refused(&two, "ethertype");
	}
}

static void checksum_must_be_where_the_protocol_has_it(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype);

		f.header.csum_offset = le16(le16(f.header.csum_offset) == 6 ? 16 : 6);
		assert_refused(&f, "checksum's place");
	}
}

static void segmentation_without_a_network_header_is_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype);

		f.header.csum_start = le16(le16(f.header.csum_start) - 1);
		assert_refused(&f, "network header");
	}
}

static void segmentation_of_a_frame_shorter_than_its_headers_is_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type, kinds[i].ethertype);
		bool udp = kinds[i].type == NET_HDR_GSO_UDP || kinds[i].type == NET_HDR_GSO_UDP_L4;

		f.bytes = le16(f.header.csum_start) + (udp ? 8u : 20u);
		taken(&f);
		f.bytes--;
		assert_refused(&f, udp ? "beyond the end" : "shorter than its headers");
	}
}

static void ecn_needs_tcp_and_the_feature(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type | NET_HDR_GSO_ECN, kinds[i].ethertype);
		struct vireo_frame_offload o;

		if (i >= 2) {
			assert_refused(&f, "ECN");
			continue;
		}
		o = taken(&f);
		assert_int_equal(o.gso, kinds[i].gso);
		assert_int_equal(o.flags, VIREO_FRAME_NEEDS_CSUM | VIREO_FRAME_ECN);
		assert_int_equal(net_offloads_needed(&o),
				 kinds[i].needed | VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_ECN);
		f.offloads = ALL & ~VIREO_OFFLOAD_ECN;
		assert_refused(&f, "ECN");
	}
}

static void header_length_is_a_hint_that_is_made_plausible(void **state)
{
	struct frame f = gso_frame(NET_HDR_GSO_TCPV4, IPV4);

	f.header.hdr_len = 0;
	assert_int_equal(taken(&f).header_bytes, 54);
	f.header.hdr_len = le16(66); /* TCP options */
	assert_int_equal(taken(&f).header_bytes, 66);
	f.header.hdr_len = 0xffff;
	assert_int_equal(taken(&f).header_bytes, FRAME_BYTES);
	f.bytes = 200000;
	assert_int_equal(taken(&f).header_bytes, 0xffff);
}

static void built_header_is_parsed_to_the_same_request(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct frame f = gso_frame(kinds[i].type | (i < 2 ? NET_HDR_GSO_ECN : 0), kinds[i].ethertype);
		struct vireo_frame_offload o = taken(&f), again;

		f.header = net_header_build(&o);
		assert_int_equal(f.header.num_buffers, le16(1));
		assert_int_equal(f.header.gso_type, kinds[i].type | (i < 2 ? NET_HDR_GSO_ECN : 0));
		again = taken(&f);
		assert_memory_equal(&o, &again, sizeof(o));
	}
}

static void built_header_of_a_plain_frame_is_empty(void **state)
{
	struct vireo_frame_offload o = {
		.csum_start = 34, .csum_offset = 16, .segment_bytes = 7, .header_bytes = 8
	};
	struct virtio_net_header header = net_header_build(&o);
	const struct virtio_net_header empty = { .num_buffers = le16(1) };

	assert_memory_equal(&header, &empty, sizeof(header));
	assert_int_equal(net_offloads_needed(&o), 0);
	o.flags = VIREO_FRAME_DATA_VALID;
	assert_int_equal(net_header_build(&o).flags, NET_HDR_F_DATA_VALID);
	assert_int_equal(net_offloads_needed(&o), 0);
	o.flags |= VIREO_FRAME_NEEDS_CSUM; /* what is still to be filled in cannot be valid */
	header = net_header_build(&o);
	assert_int_equal(header.flags, NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(header.csum_start, le16(34));
	assert_int_equal(net_offloads_needed(&o), VIREO_OFFLOAD_CSUM);
}

/* What later stages rely on, for every header that passes. */
static void assert_fits(const struct vireo_frame_offload *o, const struct frame *f)
{
	if (o->flags & VIREO_FRAME_NEEDS_CSUM) {
		assert_true(o->csum_start >= 14);
		assert_true((uint32_t)o->csum_start + o->csum_offset + 2 <= f->bytes);
	}
	if (o->gso != VIREO_GSO_NONE) {
		assert_true(o->flags & VIREO_FRAME_NEEDS_CSUM);
		assert_true(o->segment_bytes > 0);
		assert_true(o->header_bytes > o->csum_start && o->header_bytes <= f->bytes);
	}
	assert_false(net_offloads_needed(o) & ~f->offloads);
}

static void parser_is_pure_and_what_passes_fits_the_frame(void **state)
{
	uint64_t seed = 7, passed = 0;

	for (int round = 0; round < 200000; round++) {
		struct frame f = gso_frame(kinds[(unsigned)round % ARRAY_SIZE(kinds)].type,
					   kinds[(unsigned)round % ARRAY_SIZE(kinds)].ethertype);
		struct vireo_frame_offload once, again;
		const char *why;
		int err;

		/* Two bytes of header and head go wrong, and the length. */
		for (int i = 0; i < 2; i++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
			if (seed >> 63)
				((uint8_t *)&f.header)[(seed >> 40) % sizeof(f.header)] =
					(uint8_t)(seed >> 32);
			else if (seed >> 62 & 1)
				f.head[12 + (seed >> 40) % 6] = (uint8_t)(seed >> 32);
			else
				f.bytes = 14 + (uint32_t)(seed >> 32) % 120;
		}
		f.offloads = seed >> 20 & 1 ? ALL : (unsigned)(seed >> 21) & ALL;
		memset(&once, 0, sizeof(once));
		memset(&again, 0, sizeof(again));
		err = net_header_parse(&f.header, f.bytes, f.head, f.head_bytes, f.offloads, &once, &why);
		assert_int_equal(
			net_header_parse(&f.header, f.bytes, f.head, f.head_bytes, f.offloads, &again, &why),
			err);
		assert_memory_equal(&once, &again, sizeof(once));
		if (!err)
			assert_fits(&once, &f);
		passed += !err;
	}
	assert_true(passed > 10000 && passed < 190000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_of_zeroes_asks_for_nothing),
		cmocka_unit_test(unknown_flags_are_ignored),
		cmocka_unit_test(driver_cannot_vouch_for_its_checksum),
		cmocka_unit_test(checksum_request_is_taken),
		cmocka_unit_test(checksum_request_needs_the_feature),
		cmocka_unit_test(checksum_beyond_the_end_of_the_frame_is_refused),
		cmocka_unit_test(checksum_over_the_link_header_is_refused),
		cmocka_unit_test(each_segmentation_type_is_taken),
		cmocka_unit_test(each_segmentation_type_needs_its_feature),
		cmocka_unit_test(unknown_segmentation_types_are_refused),
		cmocka_unit_test(segments_of_no_size_are_refused),
		cmocka_unit_test(segmentation_without_a_checksum_request_is_refused),
		cmocka_unit_test(segmentation_type_must_fit_the_ethertype),
		cmocka_unit_test(ethertype_is_found_behind_one_tag),
		cmocka_unit_test(checksum_must_be_where_the_protocol_has_it),
		cmocka_unit_test(segmentation_without_a_network_header_is_refused),
		cmocka_unit_test(segmentation_of_a_frame_shorter_than_its_headers_is_refused),
		cmocka_unit_test(ecn_needs_tcp_and_the_feature),
		cmocka_unit_test(header_length_is_a_hint_that_is_made_plausible),
		cmocka_unit_test(built_header_is_parsed_to_the_same_request),
		cmocka_unit_test(built_header_of_a_plain_frame_is_empty),
		cmocka_unit_test(parser_is_pure_and_what_passes_fits_the_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
