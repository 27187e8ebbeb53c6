/* SPDX-License-Identifier: BSD-3-Clause */

/* VLANs: who gets which frame, and with which tag. A model that knows nothing of the switch says so for frames at random. */

#include "base/util.h"
#include "switch/fake_switch.h"
#include "switch/headers.h"
#include "switch/vlan.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define UNTAGGED   (-1)
#define FIRST      3u /* ports 0 to 2 look at no tags, and are in VLAN 0 */
#define ROUNDS     60u
#define FRAME_BYTES 64u
#define MODEL_VLANS 12u

struct rule {
	bool aware;
	uint16_t vlan, type;
	uint64_t tagged[SW_VLAN_SET_WORDS];
};

static void set_add(uint64_t *set, uint16_t vlan)
{
	set[vlan / 64] |= 1ull << vlan % 64;
}

static void add_ruled(struct fixture *x, unsigned p, unsigned outs, const struct rule *rule)
{
	struct sw_port_config config = {
		.vlan = rule->vlan, .vlan_aware = rule->aware, .tag_type = rule->type, .tagged = rule->tagged};

	add_port_with(x, p, outs, &config);
}

static void add_access(struct fixture *x, unsigned p, uint16_t vlan)
{
	add_ruled(x, p, 1, &(struct rule){.aware = true, .vlan = vlan});
}

/* In the VLANs a and b with tags, and in `own` without. */
static void add_trunk(struct fixture *x, unsigned p, uint16_t own, uint16_t a, uint16_t b)
{
	struct rule rule = {.aware = true, .vlan = own};

	set_add(rule.tagged, a);
	set_add(rule.tagged, b);
	add_ruled(x, p, 1, &rule);
}

/* A frame of `number` with a tag of this type, or none, and what may look like another tag behind it. */
static uint32_t frame_make(uint8_t frame[FRAME_BYTES], const uint8_t to[6], const uint8_t source[6], int type, uint16_t tci,
			   uint32_t number)
{
	uint8_t *at = frame + 12;

	memset(frame, 0, FRAME_BYTES);
	memcpy(frame, to, 6);
	memcpy(frame + 6, source, 6);
	if (type != UNTAGGED) {
		store_be16(at, (uint16_t)type);
		store_be16(at + 2, tci);
		at += 4;
	}
	store_be16(at, 0x88b5);
	store_be32(at + 2, number);
	return FRAME_BYTES;
}

static void frame_send(struct fixture *x, unsigned from, int type, uint16_t tci)
{
	uint8_t frame[FRAME_BYTES], source[6];

	mac_of(source, from, 0);
	fake_port_send(x->fake[from], 0, frame, frame_make(frame, broadcast, source, type, tci, 7), NULL);
	settle(x);
}

/* What port p got at last begins so behind the addresses; `count` frames in all. */
static void expect_last(struct fixture *x, unsigned p, unsigned count, int type, uint16_t tci)
{
	const struct fake_list *got = &x->fake[p]->got;
	const uint8_t *at;

	assert_int_equal(fake_port_got(x->fake[p]), count);
	at = got->frames[got->end - 1]->data + 12;
	assert_int_equal(got->frames[got->end - 1]->bytes, FRAME_BYTES + (type == UNTAGGED ? 0 : 4));
	if (type != UNTAGGED) {
		assert_int_equal(load_be16(at), type);
		assert_int_equal(load_be16(at + 2), tci);
		at += 4;
	}
	assert_int_equal(load_be16(at), 0x88b5);
	assert_int_equal(at[5], 7);
}

static void expect_tagged_in(struct fixture *x, unsigned p, uint16_t tci)
{
	const struct fake_list *got = &x->fake[p]->got;

	assert_int_equal(fake_port_got(x->fake[p]), 1);
	assert_int_equal(got->frames[0]->bytes, FRAME_BYTES);
	assert_int_equal(load_be16(got->frames[0]->data + 14), tci);
}

static void frame_without_a_tag_reaches_its_vlan_only(void **state)
{
	struct fixture *x = *state;

	add_access(x, 3, 10);
	add_access(x, 4, 10);
	add_access(x, 5, 20);
	add_trunk(x, 6, 0, 10, 20);
	frame_send(x, 3, UNTAGGED, 0);
	expect_last(x, 4, 1, UNTAGGED, 0);
	expect_last(x, 6, 1, 0x8100, 10);
	assert_int_equal(fake_port_got(x->fake[5]), 0);
	assert_int_equal(fake_port_got(x->fake[0]), 0);
	frame_send(x, 5, UNTAGGED, 0);
	expect_last(x, 6, 2, 0x8100, 20);
	frame_send(x, 0, UNTAGGED, 0);
	expect_last(x, 1, 1, UNTAGGED, 0);
	assert_int_equal(fake_port_got(x->fake[6]), 2);
}

static void tag_is_taken_off_for_who_sees_none(void **state)
{
	struct fixture *x = *state;
	uint8_t frame[FRAME_BYTES], source[6];

	add_access(x, 3, 10);
	add_trunk(x, 4, 0, 10, 20);
	add_trunk(x, 5, 20, 10, 30);
	mac_of(source, 4, 0);
	frame_make(frame, broadcast, source, 0x8100, 0xe00a, 7); /* the highest priority, of VLAN 10 */
	fake_port_send(x->fake[4], 0, frame, sizeof(frame), NULL);
	settle(x);
	expect_tagged_in(x, 5, 0xe00a);
	assert_int_equal(fake_port_got(x->fake[3]), 1);
	assert_int_equal(x->fake[3]->got.frames[0]->bytes, FRAME_BYTES - 4);
	assert_memory_equal(x->fake[3]->got.frames[0]->data + 12, frame + 16, FRAME_BYTES - 16);
	fake_port_forget(x->fake[5]);
	frame_make(frame, broadcast, source, 0x8100, 0x2014, 7); /* VLAN 20 is port 5's own */
	fake_port_send(x->fake[4], 0, frame, sizeof(frame), NULL);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[3]), 1);
	assert_int_equal(x->fake[5]->got.frames[x->fake[5]->got.first]->bytes, FRAME_BYTES - 4);
}

static void what_may_not_come_in_is_counted_and_not_learned(void **state)
{
	struct fixture *x = *state;
	uint8_t cut[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 4, 0, 0, 0x81, 0, 0, 10};
	struct sw_fdb_stats stats;

	add_access(x, 3, 10);
	add_trunk(x, 4, 0, 10, 20);
	frame_send(x, 4, UNTAGGED, 0);
	frame_send(x, 4, 0x8100, 30);
	frame_send(x, 4, 0x8100, 0);	     /* a priority, and no VLAN to lie in */
	frame_send(x, 4, 0x8100, 0xffff);  /* reserved */
	frame_send(x, 4, 0x88a8, 10);	     /* not its kind of tag */
	frame_send(x, 3, 0x8100, 20);
	fake_port_send(x->fake[4], 0, cut, sizeof(cut), NULL);
	settle(x);
	assert_int_equal(stats_of(x, 4).rx_vlan, 6);
	assert_int_equal(stats_of(x, 3).rx_vlan, 1);
	sw_fdb_stats(x->sw, &stats);
	assert_int_equal(stats.learned, 0);
	assert_int_equal(fake_port_got(x->fake[3]), 0);
	assert_int_equal(fake_port_got(x->fake[4]), 0);
}

static void priority_tag_lies_in_the_ports_own_vlan(void **state)
{
	struct fixture *x = *state;

	add_access(x, 3, 10);
	add_trunk(x, 4, 0, 10, 20);
	add_access(x, 5, 10);
	frame_send(x, 3, 0x8100, 0xa000);
	expect_tagged_in(x, 4, 0xa00a);
	assert_int_equal(x->fake[5]->got.frames[0]->bytes, FRAME_BYTES - 4);
}

static void own_vlan_with_tags_goes_out_with_them(void **state)
{
	struct fixture *x = *state;

	add_access(x, 3, 10);
	add_trunk(x, 4, 10, 10, 20);
	frame_send(x, 3, UNTAGGED, 0);
	expect_last(x, 4, 1, 0x8100, 10);
	frame_send(x, 4, UNTAGGED, 0);
	expect_last(x, 3, 1, UNTAGGED, 0);
	frame_send(x, 4, 0x8100, 10);
	assert_int_equal(fake_port_got(x->fake[3]), 2);
}

static void the_tag_of_a_frames_vlan_counts_in_no_mtu(void **state)
{
	struct fixture *x = *state;

	add_access(x, 3, 10);
	add_trunk(x, 4, 0, 10, 20);
	sw_port_mtu_set(x->port[3], FRAME_BYTES - 18);
	sw_port_mtu_set(x->port[4], FRAME_BYTES - 14);
	frame_send(x, 4, 0x8100, 10);
	frame_send(x, 3, UNTAGGED, 0);
	assert_int_equal(fake_port_got(x->fake[3]), 1);
	assert_int_equal(fake_port_got(x->fake[4]), 1);
	sw_port_mtu_set(x->port[3], FRAME_BYTES - 19);
	sw_port_mtu_set(x->port[4], FRAME_BYTES - 15);
	frame_send(x, 4, 0x8100, 10);
	frame_send(x, 3, UNTAGGED, 0);
	assert_int_equal(fake_port_got(x->fake[3]), 1);
	assert_int_equal(fake_port_got(x->fake[4]), 1);
	assert_int_equal(stats_of(x, 3).tx_mtu, 1);
	assert_int_equal(stats_of(x, 4).tx_mtu, 1);
}

/* QinQ: the customers' tags are payload, and lie behind the provider's. */
static void customers_tag_stays_behind_the_providers(void **state)
{
	struct fixture *x = *state;
	struct rule provider = {.aware = true, .type = 0x88a8}, customer = {.vlan = 100};
	uint8_t frame[FRAME_BYTES], source[6];
	const struct fake_frame *got;

	set_add(provider.tagged, 100);
	add_ruled(x, 3, 1, &provider);
	add_ruled(x, 4, 1, &customer);
	add_ruled(x, 5, 1, &customer);
	add_trunk(x, 6, 0, 100, 5);
	mac_of(source, 4, 0);
	frame_make(frame, broadcast, source, 0x8100, 5, 7);
	fake_port_send(x->fake[4], 0, frame, sizeof(frame), NULL);
	settle(x);
	got = x->fake[3]->got.frames[0];
	assert_int_equal(got->bytes, FRAME_BYTES + 4);
	assert_int_equal(load_be16(got->data + 12), 0x88a8);
	assert_int_equal(load_be16(got->data + 14), 100);
	assert_memory_equal(got->data + 16, frame + 12, FRAME_BYTES - 12);
	assert_memory_equal(x->fake[5]->got.frames[0]->data, frame, FRAME_BYTES);
	assert_int_equal(load_be16(x->fake[6]->got.frames[0]->data + 12), 0x8100); /* its kind of tag, of VLAN 100 */
	assert_int_equal(load_be16(x->fake[6]->got.frames[0]->data + 14), 100);
	fake_port_send(x->fake[3], 0, got->data, got->bytes, NULL); /* and back */
	settle(x);
	assert_memory_equal(x->fake[4]->got.frames[0]->data, frame, FRAME_BYTES);
}

static void address_is_fixed_in_each_vlan_of_its_port(void **state)
{
	struct fixture *x = *state;
	struct rule rule = {.aware = true, .vlan = 10};
	uint8_t own[1][6], frame[FRAME_BYTES];
	struct sw_port_config config = {.vlan = 10, .vlan_aware = true, .tagged = rule.tagged, .addresses = own, .address_count = 1};

	mac_of(own[0], 3, 0);
	set_add(rule.tagged, 20);
	add_port_with(x, 3, 1, &config);
	add_trunk(x, 4, 0, 10, 20);
	frame_make(frame, broadcast, own[0], 0x8100, 20, 1);
	fake_port_send(x->fake[4], 0, frame, sizeof(frame), NULL); /* another's address, in either VLAN */
	frame_make(frame, broadcast, own[0], 0x8100, 10, 1);
	fake_port_send(x->fake[4], 0, frame, sizeof(frame), NULL);
	frame_make(frame, broadcast, (const uint8_t[]){2, 9, 9, 9, 9, 9}, 0x8100, 20, 1);
	fake_port_send(x->fake[3], 0, frame, sizeof(frame), NULL); /* none of its own */
	frame_make(frame, broadcast, own[0], 0x8100, 20, 1);
	fake_port_send(x->fake[3], 0, frame, sizeof(frame), NULL);
	settle(x);
	assert_int_equal(stats_of(x, 4).rx_spoofed, 2);
	assert_int_equal(stats_of(x, 3).rx_spoofed, 1);
	assert_int_equal(fake_port_got(x->fake[4]), 1);
	assert_int_equal(fake_port_got(x->fake[3]), 0);
}

static void vlans_that_no_tag_can_say_are_refused(void **state)
{
	struct fixture *x = *state;
	struct rule rule = {.aware = true};
	struct sw_port_config config = {.ops = &fake_port_ops, .name = "r", .vlan_aware = true, .tagged = rule.tagged};
	struct sw_port *port;

	assert_int_equal(sw_port_new(x->sw, &config, &port), -EINVAL); /* in no VLAN at all */
	config.vlan = 4095;
	assert_int_equal(sw_port_new(x->sw, &config, &port), -EINVAL);
	config.vlan = 1;
	set_add(rule.tagged, 0);
	assert_int_equal(sw_port_new(x->sw, &config, &port), -EINVAL);
	rule.tagged[0] = 0;
	set_add(rule.tagged, 4095);
	assert_int_equal(sw_port_new(x->sw, &config, &port), -EINVAL);
	config.tagged = NULL;
	config.tag_type = 0x9100;
	assert_int_equal(sw_port_new(x->sw, &config, &port), -EINVAL);
}

/* ---- with offloads, and more than one queue ---- */

#define IP_AT 14u

/* TCP over IPv4, with a tag or not, of so many bytes behind its headers. */
static uint32_t tcp_make(uint8_t *frame, const uint8_t source[6], int tci, uint16_t id, uint32_t payload_bytes,
			 struct vireo_frame_offload *offload)
{
	uint32_t tag_bytes = tci == UNTAGGED ? 0 : 4, ip_at = IP_AT + tag_bytes;
	uint8_t *ip = frame + ip_at, *tcp = ip + 20;

	memset(frame, 0, ip_at + 40);
	memcpy(frame, broadcast, 6);
	memcpy(frame + 6, source, 6);
	if (tag_bytes) {
		store_be16(frame + 12, 0x8100);
		store_be16(frame + 14, (uint16_t)tci);
	}
	store_be16(frame + 12 + tag_bytes, 0x0800);
	ip[0] = 0x45;
	store_be16(ip + 2, (uint16_t)(40 + payload_bytes));
	store_be16(ip + 4, id);
	ip[8] = 64;
	ip[9] = 6;
	store_be32(ip + 12, 0x0a000001);
	store_be32(ip + 16, 0x0a000002);
	store_be16(tcp, 1000);
	store_be16(tcp + 2, 2000);
	tcp[12] = 0x50;
	for (uint32_t i = 0; i < payload_bytes; i++)
		tcp[20 + i] = (uint8_t)(i * 7);
	*offload = (struct vireo_frame_offload){.gso = VIREO_GSO_TCP4, .flags = VIREO_FRAME_NEEDS_CSUM, .segment_bytes = 100,
						.header_bytes = (uint16_t)(ip_at + 40), .csum_start = (uint16_t)(ip_at + 20), .csum_offset = 16};
	return ip_at + 40 + payload_bytes;
}

/* The same frame without its tag. */
static void without_tag(const struct fake_frame *frame, uint8_t *dst)
{
	memcpy(dst, frame->data, 12);
	memcpy(dst + 12, frame->data + 16, frame->bytes - 16);
}

/* Ports 3 and 5 see VLAN 10 with tags, 4 and 6 without; 5 and 6 take frames whole. Sent by 3 or by 4. */
static void cut_pieces_have_the_tags_that_whole_frames_have(void **state)
{
	struct fixture *x = *state;
	uint8_t frame[1200], source[6], bare[1200];
	struct vireo_frame_offload offload;

	add_trunk(x, 3, 0, 10, 11);
	add_access(x, 4, 10);
	add_trunk(x, 5, 0, 10, 12);
	add_access(x, 6, 10);
	add_trunk(x, 7, 0, 10, 13);
	add_access(x, 8, 10);
	sw_port_offloads_set(x->port[5], VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4);
	sw_port_offloads_set(x->port[6], VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4);
	for (unsigned from = 3; from < 5; from++) {
		uint32_t bytes;

		mac_of(source, from, 0);
		bytes = tcp_make(frame, source, from == 3 ? 0x600a : UNTAGGED, 1, 1000, &offload);
		fake_port_send(x->fake[from], 0, frame, bytes, &offload);
		settle(x);
		assert_int_equal(fake_port_got(x->fake[5]), 1);
		assert_int_equal(fake_port_got(x->fake[6]), 1);
		assert_int_equal(fake_port_got(x->fake[7]), 10);
		assert_int_equal(fake_port_got(x->fake[8]), 10);
		assert_int_equal(x->fake[5]->got.frames[x->fake[5]->got.first]->offload.csum_start, 38);
		assert_int_equal(x->fake[6]->got.frames[x->fake[6]->got.first]->offload.csum_start, 34);
		for (unsigned i = 0; i < 10; i++) {
			const struct fake_frame *with = x->fake[7]->got.frames[x->fake[7]->got.first + i];
			const struct fake_frame *none = x->fake[8]->got.frames[x->fake[8]->got.first + i];

			assert_int_equal(with->bytes, 18 + 40 + 100);
			assert_int_equal(none->bytes, 14 + 40 + 100);
			assert_int_equal(load_be16(with->data + 12), 0x8100);
			assert_int_equal(load_be16(with->data + 14), from == 3 ? 0x600a : 10);
			without_tag(with, bare);
			assert_memory_equal(bare, none->data, none->bytes);
			assert_int_equal(load_be16(none->data + 12), 0x0800);
		}
		for (unsigned p = FIRST; p < PORTS; p++)
			fake_port_forget(x->fake[p]);
	}
}

static void flows_keep_their_queues_when_tags_are_taken_off(void **state)
{
	struct fixture *x = *state;
	uint8_t frame[200], source[6];
	struct vireo_frame_offload offload;
	const struct fake_list *got;
	unsigned used = 0;

	add_trunk(x, 3, 0, 10, 11);
	add_ruled(x, 4, 8, &(struct rule){.aware = true, .vlan = 10});
	mac_of(source, 3, 0);
	for (uint16_t id = 0; id < 64; id++) {
		uint32_t bytes = tcp_make(frame, source, 10, (uint16_t)(id * 1237), 20, &offload);

		store_be16(frame + 4 + IP_AT + 20, id % 32);
		fake_port_send(x->fake[3], 0, frame, bytes, NULL);
	}
	settle(x);
	got = &x->fake[4]->got;
	assert_int_equal(fake_port_got(x->fake[4]), 64);
	for (unsigned i = 0; i < 64; i++) {
		used |= 1u << got->frames[i]->queue;
		for (unsigned k = 0; k < i; k++) {
			if (!memcmp(got->frames[i]->data + IP_AT + 20, got->frames[k]->data + IP_AT + 20, 2))
				assert_int_equal(got->frames[i]->queue, got->frames[k]->queue);
		}
	}
	assert_true(__builtin_popcount(used) > 4);
}

/* ---- a model ---- */

struct model {
	unsigned seed;
	struct rule rule[PORTS];
	int where[MODEL_VLANS][PORTS][2]; /* (VLAN, address) -> port, -1: not known */
};

struct expected {
	unsigned count;
	int vlan[64];
	uint32_t bytes[64];
	uint8_t data[64][FRAME_BYTES + 4];
};

static unsigned rnd(struct model *m, unsigned below)
{
	m->seed = m->seed * 1103515245 + 12345;
	return (m->seed >> 16) % below;
}

static bool member(const struct rule *rule, unsigned vlan)
{
	if (rule->aware && vlan && vlan_set_has(rule->tagged, (uint16_t)vlan))
		return true;
	return vlan == rule->vlan && (vlan || !rule->aware);
}

/* The frame's VLAN, or -1; what stays of it without that VLAN's tag, and the tag's control information. */
static int model_take(const struct rule *rule, const uint8_t *frame, uint8_t *bare, uint32_t *bytes, uint16_t *tci)
{
	unsigned type = load_be16(frame + 12), vlan;

	*tci = rule->vlan;
	memcpy(bare, frame, FRAME_BYTES);
	*bytes = FRAME_BYTES;
	if (!rule->aware || type != (rule->type ? rule->type : 0x8100u))
		return member(rule, rule->vlan) ? rule->vlan : -1;
	vlan = load_be16(frame + 14) & 0xfff;
	*tci = load_be16(frame + 14);
	if (!vlan) {
		vlan = rule->vlan;
		*tci |= rule->vlan;
	}
	memcpy(bare + 12, frame + 16, FRAME_BYTES - 16);
	*bytes = FRAME_BYTES - 4;
	return vlan && member(rule, vlan) ? (int)vlan : -1;
}

static void model_give(const struct rule *rule, int vlan, const uint8_t *bare, uint32_t bytes, uint16_t tci, struct expected *to)
{
	uint8_t *at = to->data[to->count];
	unsigned tag = rule->aware && vlan_set_has(rule->tagged, (uint16_t)vlan) ? 4 : 0;

	memcpy(at, bare, 12);
	if (tag) {
		store_be16(at + 12, rule->type ? rule->type : 0x8100);
		store_be16(at + 14, tci);
	}
	memcpy(at + 12 + tag, bare + 12, bytes - 12);
	to->vlan[to->count] = vlan;
	to->bytes[to->count++] = bytes + tag;
}

static void model_frame(struct model *m, unsigned from, const uint8_t *frame, struct expected to[PORTS])
{
	uint8_t bare[FRAME_BYTES];
	uint32_t bytes;
	uint16_t tci;
	int vlan = model_take(&m->rule[from], frame, bare, &bytes, &tci), known = -1;

	if (vlan < 0)
		return;
	m->where[vlan][frame[9]][frame[11]] = (int)from;
	if (!(frame[0] & 1))
		known = m->where[vlan][frame[3]][frame[5]];
	for (unsigned p = 0; p < PORTS; p++) {
		if (p != from && member(&m->rule[p], (unsigned)vlan) && (known < 0 || known == (int)p))
			model_give(&m->rule[p], vlan, bare, bytes, tci, &to[p]);
	}
}

static void random_rule(struct model *m, struct rule *rule)
{
	static const uint16_t types[] = {0, 0x8100, 0x88a8};

	*rule = (struct rule){.aware = rnd(m, 4) > 0, .vlan = (uint16_t)rnd(m, 6)};
	if (!rule->aware)
		return;
	rule->type = types[rnd(m, ARRAY_SIZE(types))];
	for (unsigned n = rnd(m, 5); n > 0; n--)
		set_add(rule->tagged, (uint16_t)(1 + rnd(m, MODEL_VLANS - 1)));
	set_add(rule->tagged, 3);
}

static void random_frame(struct model *m, unsigned from, uint8_t frame[FRAME_BYTES], uint32_t number)
{
	static const int types[] = {UNTAGGED, 0x8100, 0x8100, 0x8100, 0x88a8};
	uint8_t source[6], to[6];
	unsigned vlan = rnd(m, MODEL_VLANS);

	mac_of(source, from, rnd(m, 2));
	mac_of(to, rnd(m, PORTS), rnd(m, 2));
	frame_make(frame, rnd(m, 3) ? to : broadcast, source, types[rnd(m, ARRAY_SIZE(types))], (uint16_t)(rnd(m, 8) << 13 | vlan),
		   number);
	if (!rnd(m, 4)) /* another tag, behind what may be one */
		store_be16(frame + 16, 0x8100);
}

/* Where among what came, from `at` on, the frame is; a number in each makes all of them different. */
static unsigned find_from(const struct fake_list *got, unsigned at, const struct expected *want, unsigned i)
{
	while (at < got->end && (got->frames[at]->bytes != want->bytes[i] ||
				 memcmp(got->frames[at]->data, want->data[i], want->bytes[i]) != 0))
		at++;
	return at;
}

/* Each frame came once, and those of a VLAN in their order. */
static void came_as_expected(struct fake_port *fake, const struct expected *want)
{
	unsigned next[MODEL_VLANS];

	assert_int_equal(fake_port_got(fake), want->count);
	for (unsigned v = 0; v < MODEL_VLANS; v++)
		next[v] = fake->got.first;
	for (unsigned i = 0; i < want->count; i++) {
		unsigned at = find_from(&fake->got, next[want->vlan[i]], want, i);

		assert_true(at < fake->got.end);
		next[want->vlan[i]] = at + 1;
	}
}

static void round_is_as_the_model_says(struct fixture *x, struct model *m, unsigned from)
{
	struct expected *to = calloc(PORTS, sizeof(*to));
	unsigned count = 1 + rnd(m, 60);

	assert_non_null(to);
	for (unsigned i = 0; i < count; i++) {
		uint8_t frame[FRAME_BYTES];

		random_frame(m, from, frame, i);
		model_frame(m, from, frame, to);
		fake_port_send(x->fake[from], 0, frame, sizeof(frame), NULL);
	}
	settle(x);
	for (unsigned p = 0; p < PORTS; p++) {
		came_as_expected(x->fake[p], &to[p]);
		fake_port_forget(x->fake[p]);
	}
	free(to);
}

static void frames_at_random_go_where_the_model_says(void **state)
{
	struct fixture *x = *state;
	struct model m = {.seed = 1};

	memset(m.where, -1, sizeof(m.where));
	for (unsigned p = FIRST; p < PORTS; p++) {
		random_rule(&m, &m.rule[p]);
		add_ruled(x, p, 1, &m.rule[p]);
	}
	for (unsigned round = 0; round < ROUNDS; round++)
		round_is_as_the_model_says(x, &m, rnd(&m, PORTS));
}

#define vlan_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		vlan_test(frame_without_a_tag_reaches_its_vlan_only),
		vlan_test(tag_is_taken_off_for_who_sees_none),
		vlan_test(what_may_not_come_in_is_counted_and_not_learned),
		vlan_test(priority_tag_lies_in_the_ports_own_vlan),
		vlan_test(own_vlan_with_tags_goes_out_with_them),
		vlan_test(the_tag_of_a_frames_vlan_counts_in_no_mtu),
		vlan_test(customers_tag_stays_behind_the_providers),
		vlan_test(address_is_fixed_in_each_vlan_of_its_port),
		vlan_test(vlans_that_no_tag_can_say_are_refused),
		vlan_test(cut_pieces_have_the_tags_that_whole_frames_have),
		vlan_test(flows_keep_their_queues_when_tags_are_taken_off),
		vlan_test(frames_at_random_go_where_the_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
