/* SPDX-License-Identifier: BSD-3-Clause */

/* RSS and hash report: what a driver may say, which queue a frame goes to, and what the driver is told of it. */

#include "device/device.h"
#include "model/net/net_test_guest.h"
#include "vireo/cursor.h"
#include <pthread.h>
#include <string.h>

#define FEATURES (V1 | F(CTRL_VQ) | F(MQ) | F(RSS) | F(HASH_REPORT))
#define PAIRS	 4u
#define FRAME_BYTES 64u
#define ALL	 NET_HASH_TYPES_ALL

static unsigned pairs_told;
static int steering_told; /* -1: nothing */

static void told_pairs(void *opaque, unsigned pairs)
{
	pairs_told = pairs;
}

static void told_steering(void *opaque, bool on)
{
	steering_told = on;
}

static const struct vireo_net_ops ops = { .size = sizeof(ops), .pairs_set = told_pairs, .steering_set = told_steering };

static void start(struct guest *g, uint64_t features)
{
	const struct guest_config config = { .features = features, .pairs = PAIRS, .queue_size = 64, .ops = &ops };

	pairs_told = 0;
	steering_told = -1;
	guest_start(g, &config);
}

static uint8_t *post(struct guest *g, unsigned pair, size_t bytes)
{
	uint8_t *buffer = guest_post(g, pair, bytes);

	memset(buffer, 0xee, bytes);
	guest_kick(g, 2 * pair);
	return buffer;
}

static uint8_t command(struct guest *g, uint8_t number, const void *data, size_t bytes)
{
	unsigned queue = g->at.queue_count - 1;
	uint8_t *p = guest_alloc(g, 2 + bytes), *ack = guest_alloc(g, 1);
	struct iovec iov[] = { { p, 2 + bytes }, { ack, 1 } };

	p[0] = NET_CTRL_MQ;
	p[1] = number;
	memcpy(p + 2, data, bytes);
	*ack = 0xee;
	guest_add(g, queue, iov, 1, 1, p);
	guest_kick(g, queue);
	guest_poll(g);
	assert_int_equal(guest_used(g, queue, NULL), 1);
	return *ack;
}

/* ---- what is said ---- */

struct saying {
	uint32_t types;
	unsigned entries, key_bytes;
	uint16_t unclassified, transmit;
	uint16_t table[2 * NET_RSS_TABLE_MAX];
	int key_says; /* -1: key_bytes */
	int mask;     /* -1: entries - 1 */
	int cut;      /* so many bytes less, or more */
};

static const struct saying plain = { .types = ALL, .entries = 4, .key_bytes = 40, .unclassified = 3, .transmit = PAIRS,
				     .table = { 0, 1, 2, 3 }, .key_says = -1, .mask = -1 };

static size_t put16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)value;
	to[1] = (uint8_t)(value >> 8);
	return 2;
}

static uint8_t key_byte(unsigned i)
{
	return (uint8_t)(0x6d + 29 * i);
}

static size_t rss_bytes(const struct saying *s, uint8_t *to)
{
	uint8_t *at = to;

	at += put16(at, (uint16_t)s->types);
	at += put16(at, (uint16_t)(s->types >> 16));
	at += put16(at, (uint16_t)(s->mask < 0 ? (int)s->entries - 1 : s->mask));
	at += put16(at, s->unclassified);
	for (unsigned i = 0; i < s->entries; i++)
		at += put16(at, s->table[i]);
	at += put16(at, s->transmit);
	*at++ = (uint8_t)(s->key_says < 0 ? (int)s->key_bytes : s->key_says);
	for (unsigned i = 0; i < s->key_bytes; i++)
		*at++ = key_byte(i);
	return (size_t)(at - to);
}

static uint8_t say(struct guest *g, const struct saying *s)
{
	uint8_t data[1024] = { 0 };
	size_t bytes = rss_bytes(s, data);

	return command(g, NET_CTRL_MQ_RSS_CONFIG, data, bytes + (size_t)(ptrdiff_t)s->cut);
}

static uint8_t say_hash(struct guest *g, uint32_t types, uint16_t reserved, unsigned key_bytes)
{
	struct saying s = plain;
	uint8_t data[1024];
	size_t bytes;

	s.types = types;
	s.entries = 1;
	s.mask = s.unclassified = s.table[0] = s.transmit = reserved;
	s.key_bytes = key_bytes;
	bytes = rss_bytes(&s, data);
	return command(g, NET_CTRL_MQ_HASH_CONFIG, data, bytes);
}

/* ---- frames ---- */

/* UDP over IPv4; the flow is its source port. */
static void flow_frame(uint8_t *frame, uint16_t flow)
{
	static const uint8_t head[] = { 0x52, 0, 0, 0, 0, 1, 0x52, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0,
					10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 53, 0, 30 };

	memset(frame, 0x5a, FRAME_BYTES);
	memcpy(frame, head, sizeof(head));
	frame[34] = (uint8_t)(flow >> 8);
	frame[35] = (uint8_t)flow;
}

static struct vireo_frame frame_in(struct iovec *iov, uint8_t *data)
{
	struct vireo_frame frame = { .iov = iov, .iov_count = 1, .len_bytes = FRAME_BYTES };

	*iov = (struct iovec){ data, FRAME_BYTES };
	memcpy(frame.head, data, VIREO_FRAME_HEAD_BYTES);
	return frame;
}

/* What the specification makes of it, said once more without tables. */
static uint32_t toeplitz(const uint8_t *input, unsigned bytes)
{
	uint32_t hash = 0, window = 0;

	for (unsigned i = 0; i < 4; i++)
		window = window << 8 | key_byte(i);
	for (unsigned bit = 0; bit < 8 * bytes; bit++) {
		hash ^= input[bit / 8] & 0x80u >> bit % 8 ? window : 0;
		window = window << 1 | (key_byte(4 + bit / 8) >> (7 - bit % 8) & 1u);
	}
	return hash;
}

static uint32_t flow_hash_of(const uint8_t *frame)
{
	return toeplitz(frame + 26, 12);
}

/* The pair that it is steered to; -1: nobody steers. */
static int steered(struct guest *g, uint8_t *data)
{
	struct iovec iov;
	struct vireo_frame frame = frame_in(&iov, data), *list = &frame;
	uint8_t pair = 0xff;

	return vireo_net_steer(g->net, &list, 1, &pair) ? pair : -1;
}

static void steers_as(struct guest *g, const struct saying *s)
{
	for (uint16_t flow = 0; flow < 200; flow++) {
		uint8_t data[FRAME_BYTES];

		flow_frame(data, flow);
		assert_int_equal(steered(g, data), s->table[flow_hash_of(data) & (s->entries - 1)]);
	}
}

/* ---- what is offered ---- */

static uint64_t offered(unsigned pairs, uint64_t off)
{
	const struct vireo_net_config config = { .size = sizeof(config), .pairs = pairs, .features_off = off };
	struct vireo_net *net;
	uint64_t features;

	assert_int_equal(vireo_net_new(&config, &net), 0);
	features = device_features_offered(vireo_net_device(net)) & (F(RSS) | F(HASH_REPORT));
	vireo_net_free(net);
	return features;
}

static void they_are_offered_where_a_driver_can_say_how(void **state)
{
	assert_true(offered(2, 0) == (F(RSS) | F(HASH_REPORT)));
	assert_true(offered(1, 0) == F(HASH_REPORT));
	assert_true(offered(2, F(CTRL_VQ)) == 0);
	assert_true(offered(2, F(RSS)) == F(HASH_REPORT));
	assert_true(offered(2, F(HASH_REPORT)) == F(RSS));
	assert_true(offered(2, F(MQ)) == (F(RSS) | F(HASH_REPORT)));
}

/* 5.1.4.1 */
static void config_space_tells_what_a_driver_may_say(void **state)
{
	struct virtio_net_config_space space;
	struct guest g;

	start(&g, FEATURES);
	assert_int_equal(device_config_read(g.at.device, 0, &space, sizeof(space)), 0);
	assert_int_equal(space.rss_max_key_size, 40);
	assert_int_equal(space.rss_max_indirection_table_length, 128);
	assert_int_equal(space.supported_hash_types, 0x1ff);
	guest_stop(&g);
}

/* QEMU answers its guest's commands itself, and keeps CTRL_VQ: RSS means nothing then, but headers are as long as the guest takes them for. */
static void front_end_with_the_control_queue_gets_long_headers_and_no_hashes(void **state)
{
	uint8_t data[FRAME_BYTES], *buffer;
	struct vireo_packet packet = { .data = data, .len_bytes = sizeof(data) };
	struct virtio_net_header_hash hash;
	struct guest g;

	start(&g, V1 | F(MQ) | F(RSS) | F(HASH_REPORT));
	assert_true(vireo_device_features(g.at.device) == (V1 | F(MQ) | F(HASH_REPORT)));
	flow_frame(data, 1);
	buffer = post(&g, 0, 256);
	assert_int_equal(vireo_net_enqueue_burst(g.net, 0, &packet, 1), 1);
	assert_int_equal(guest_used(&g, 0, NULL), NET_HDR_HASH_BYTES + FRAME_BYTES);
	memcpy(&hash, buffer + NET_HDR_BYTES, sizeof(hash));
	assert_true(!hash.value && !hash.report && !hash.padding);
	assert_memory_equal(buffer + NET_HDR_HASH_BYTES, data, FRAME_BYTES);
	assert_int_equal(steered(&g, data), -1);
	guest_stop(&g);
}

/* ---- steering ---- */

static void frames_go_where_the_table_says(void **state)
{
	struct saying s = plain;
	struct guest g;

	start(&g, FEATURES);
	for (s.entries = 1; s.entries <= NET_RSS_TABLE_MAX; s.entries *= 2) {
		for (unsigned i = 0; i < s.entries; i++)
			s.table[i] = (uint16_t)((i * 7 + s.entries) % PAIRS);
		assert_int_equal(say(&g, &s), NET_OK);
		assert_int_equal(steering_told, 1);
		steers_as(&g, &s);
	}
	guest_stop(&g);
}

static void what_has_no_hash_goes_to_the_queue_for_it(void **state)
{
	uint8_t arp[FRAME_BYTES], udp[FRAME_BYTES];
	struct saying s = plain;
	struct guest g;

	start(&g, FEATURES);
	flow_frame(udp, 1);
	flow_frame(arp, 1);
	arp[13] = 6;
	assert_int_equal(steered(&g, arp), -1);
	assert_int_equal(say(&g, &s), NET_OK);
	assert_int_equal(steered(&g, arp), 3);
	s.types = NET_HASH_TYPE_IPV6;
	s.unclassified = 2;
	assert_int_equal(say(&g, &s), NET_OK);
	assert_int_equal(steered(&g, udp), 2);
	s.types = 0; /* and then a key is for nothing */
	s.key_bytes = 0;
	assert_int_equal(say(&g, &s), NET_OK);
	assert_int_equal(steered(&g, udp), 2);
	guest_stop(&g);
}

static void short_key_is_filled_up_with_zeroes(void **state)
{
	struct saying s = plain;
	uint8_t data[FRAME_BYTES];
	struct guest g;

	start(&g, FEATURES);
	s.entries = 128;
	s.key_bytes = 1;
	for (unsigned i = 0; i < s.entries; i++)
		s.table[i] = (uint16_t)(i >> 5 & 3);
	assert_int_equal(say(&g, &s), NET_OK);
	flow_frame(data, 0);
	memset(data + 26, 0, 12);
	data[26] = 0x01; /* its window begins at the key's bit 7, and the key is 0x6d: 1 and zeroes; the table sees seven bits of them */
	assert_int_equal(steered(&g, data), 0);
	guest_stop(&g);
}

/* One thing is changed of what is plain. */
static const struct lie {
	const char *what;
	size_t at;
	unsigned bytes;
	uint32_t value;
} lies[] = {
#define LIE(field, value) { #field " " #value, offsetof(struct saying, field), sizeof(((struct saying *)NULL)->field), value }
	LIE(entries, 3), /* no power of two */
	LIE(entries, 127),
	LIE(entries, 129),
	LIE(entries, 256), /* one, but more than there may be */
	LIE(mask, 0xffff),
	LIE(mask, 127), /* and four entries */
	LIE(mask, 7),
	LIE(mask, 1),
	LIE(table[3], PAIRS), /* a queue that is not there */
	LIE(table[0], 0xffff),
	LIE(table[1], 0x8001), /* the reserved bit */
	LIE(unclassified, PAIRS),
	LIE(unclassified, 0x8000),
	LIE(transmit, 0),
	LIE(transmit, PAIRS + 1),
	LIE(transmit, 0xffff),
	LIE(types, 0x200), /* one that is not there */
	LIE(types, 0x80000000u),
	LIE(key_bytes, 0), /* none for types that want one */
	LIE(key_bytes, 41),
	LIE(key_bytes, 255),
	LIE(key_says, 39), /* of 40 */
	LIE(key_says, 41),
	LIE(key_says, 255),
	LIE(key_says, 0),
	LIE(cut, 1), /* a byte too many */
};

static void commands_that_cannot_be_change_nothing(void **state)
{
	struct saying s = plain;
	struct guest g;

	start(&g, FEATURES);
	assert_int_equal(say(&g, &s), NET_OK);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct saying lie = plain;

		memcpy((uint8_t *)&lie + lies[i].at, &lies[i].value, lies[i].bytes);
		if (say(&g, &lie) != NET_ERR)
			fail_msg("%s was taken", lies[i].what);
		steers_as(&g, &s);
	}
	for (s.cut = -1; s.cut >= -59; s.cut--) { /* 59: all of it */
		assert_int_equal(say(&g, &s), NET_ERR);
		assert_false(g.at.broken);
	}
	steers_as(&g, &s);
	assert_int_equal(say_hash(&g, 0x200, 0, 40), NET_ERR);
	assert_int_equal(say_hash(&g, ALL, 0, 0), NET_ERR);
	assert_int_equal(say_hash(&g, ALL, 0, 41), NET_ERR);
	assert_int_equal(command(&g, NET_CTRL_MQ_HASH_CONFIG, "\1\0\0\0\0\0\0\0\0\0\0\0", 12), NET_ERR);
	steers_as(&g, &s);
	guest_stop(&g);
}

static void command_without_its_feature_is_refused(void **state)
{
	struct guest g;

	start(&g, V1 | F(CTRL_VQ) | F(MQ));
	assert_int_equal(say(&g, &plain), NET_ERR);
	assert_int_equal(say_hash(&g, ALL, 0, 40), NET_ERR);
	guest_stop(&g);
	start(&g, V1 | F(CTRL_VQ) | F(RSS));
	assert_int_equal(say_hash(&g, ALL, 0, 40), NET_ERR);
	assert_int_equal(say(&g, &plain), NET_OK);
	guest_stop(&g);
	start(&g, V1 | F(CTRL_VQ) | F(HASH_REPORT));
	assert_int_equal(say(&g, &plain), NET_ERR);
	assert_int_equal(say_hash(&g, ALL, 0, 40), NET_OK);
	assert_int_equal(steering_told, -1);
	guest_stop(&g);
}

/* 5.1.6.5.5: "defined by the last command". */
static void last_command_says_how_queues_are_chosen(void **state)
{
	uint8_t data[FRAME_BYTES];
	struct vireo_net_rss rss = { .size = sizeof(rss) };
	struct saying s = plain;
	struct guest g;

	start(&g, FEATURES);
	flow_frame(data, 1);
	assert_int_equal(pairs_told, 1); /* the control queue has run */
	s.transmit = 1;
	s.unclassified = 1;
	s.table[3] = 2;
	assert_int_equal(say(&g, &s), NET_OK);
	assert_int_equal(pairs_told, 3); /* so many that a frame may go to */
	vireo_net_rss(g.net, &rss);
	assert_true(rss.steers && rss.reports && rss.table_entries == 4 && rss.unclassified == 1 && rss.hash_types == ALL);
	assert_int_equal(command(&g, NET_CTRL_MQ_VQ_PAIRS_SET, "\2\0", 2), NET_OK);
	assert_int_equal(pairs_told, 2);
	assert_int_equal(steering_told, 0);
	assert_int_equal(steered(&g, data), -1);
	vireo_net_rss(g.net, &rss);
	assert_true(!rss.steers && rss.hash_types == ALL); /* hashes are reported as before */
	assert_int_equal(say(&g, &plain), NET_OK);
	assert_int_equal(steering_told, 1);
	assert_int_equal(say_hash(&g, ALL, 0, 40), NET_OK);
	assert_int_equal(steering_told, 0);
	guest_stop(&g);
}

static void reset_forgets_it(void **state)
{
	uint8_t data[FRAME_BYTES];
	struct vireo_net_rss rss = { .size = sizeof(rss) };
	struct guest g;

	start(&g, FEATURES);
	flow_frame(data, 1);
	assert_int_equal(say(&g, &plain), NET_OK);
	guest_quiesce(&g);
	assert_int_equal(device_features_set(g.at.device, FEATURES), 0); /* another driver */
	assert_int_equal(steering_told, 0);
	assert_int_equal(steered(&g, data), -1);
	vireo_net_rss(g.net, &rss);
	assert_int_equal(rss.hash_types, 0);
	guest_resume(&g);
	guest_stop(&g);
}

/* ---- reports ---- */

static void deliver_one(struct guest *g, struct vireo_frame *frame)
{
	assert_int_equal(vireo_net_receive_deliver(g->net, 0, &frame, 1), 1);
	vireo_net_receive_flush(g->net, 0);
}

/* The next frame that the driver gets, its pieces put together. Returns its header's hash. */
static struct virtio_net_header_hash take_one(struct guest *g, unsigned buffers, size_t buffer_bytes, uint8_t *whole)
{
	struct virtio_net_header_hash hash;
	struct virtio_net_header header;
	size_t at = 0;
	void *cookie;
	int used;

	for (unsigned i = 0; i < buffers; i++) {
		used = guest_used(g, 0, &cookie);
		assert_true(used > 0 && (size_t)used <= buffer_bytes);
		memcpy(whole + at, cookie, (size_t)used);
		at += (size_t)used;
	}
	assert_int_equal(guest_used(g, 0, NULL), -1);
	memcpy(&header, whole, sizeof(header));
	memcpy(&hash, whole + sizeof(header), sizeof(hash));
	assert_int_equal(header.num_buffers, buffers);
	assert_int_equal(hash.padding, 0);
	return hash;
}

static void reports_are_told_in_one_buffer_and_in_many(void **state)
{
	static const size_t sizes[] = { 256, 84, 70, 40, 22, 20 };

	for (unsigned merge = 0; merge < 2; merge++) {
		struct guest g;

		start(&g, FEATURES | (merge ? F(MRG_RXBUF) : 0));
		assert_int_equal(say_hash(&g, ALL, 0, 40), NET_OK);
		for (size_t i = 0; i < (merge ? ARRAY_SIZE(sizes) : 2); i++) {
			unsigned buffers = (unsigned)((NET_HDR_HASH_BYTES + FRAME_BYTES + sizes[i] - 1) / sizes[i]);
			uint8_t data[FRAME_BYTES], whole[512];
			struct iovec iov;
			struct vireo_frame frame;
			struct virtio_net_header_hash hash;

			flow_frame(data, (uint16_t)i);
			frame = frame_in(&iov, data);
			for (unsigned n = 0; n < buffers; n++)
				post(&g, 0, sizes[i]);
			deliver_one(&g, &frame);
			hash = take_one(&g, buffers, sizes[i], whole);
			assert_int_equal(hash.report, 3); /* UDPv4 */
			assert_int_equal(hash.value, flow_hash_of(data));
			assert_memory_equal(whole + NET_HDR_HASH_BYTES, data, FRAME_BYTES);
		}
		guest_stop(&g);
	}
}

static void report_is_of_what_the_receiver_gets(void **state)
{
	uint8_t data[FRAME_BYTES], whole[512];
	struct virtio_net_header_hash hash;
	struct vireo_frame frame;
	struct iovec iov;
	struct guest g;

	start(&g, FEATURES);
	assert_int_equal(say_hash(&g, ALL, 0xffff, 40), NET_OK); /* reserved: ignored */
	flow_frame(data, 7);
	frame = frame_in(&iov, data);
	assert_true(vireo_frame_tag_push(&frame, 0x8100, 5));
	post(&g, 0, 256);
	deliver_one(&g, &frame);
	hash = take_one(&g, 1, 256, whole);
	assert_true(hash.report == 3 && hash.value == flow_hash_of(data));
	assert_int_equal(whole[NET_HDR_HASH_BYTES + 12], 0x81);

	/* The shortest TCP that there is, behind a tag that is taken out: no byte may be missing from the look. */
	flow_frame(data, 8);
	memmove(data + 16, data + 12, FRAME_BYTES - 16);
	memcpy(data + 12, "\x81\0\0\5", 4);
	data[4 + 23] = 6;
	frame = frame_in(&iov, data);
	frame.len_bytes = 4 + 54;
	iov.iov_len = frame.len_bytes;
	assert_true(vireo_frame_tag_pop(&frame));
	post(&g, 0, 256);
	deliver_one(&g, &frame);
	hash = take_one(&g, 1, 256, whole);
	assert_int_equal(hash.report, 2);
	assert_int_equal(hash.value, toeplitz(data + 30, 12));
	guest_stop(&g);
}

static void nothing_is_reported_before_types_are_enabled(void **state)
{
	uint8_t data[FRAME_BYTES], whole[512];
	struct vireo_packet packet = { .data = data, .len_bytes = sizeof(data) };
	struct virtio_net_header_hash hash;
	struct guest g;

	start(&g, FEATURES);
	flow_frame(data, 1);
	for (unsigned i = 0; i < 3; i++) {
		post(&g, 0, 256);
		assert_int_equal(vireo_net_enqueue_burst(g.net, 0, &packet, 1), 1);
		hash = take_one(&g, 1, 256, whole);
		assert_int_equal(hash.report, i == 1 ? 3 : 0);
		assert_int_equal(hash.value, i == 1 ? flow_hash_of(data) : 0);
		assert_int_equal(say_hash(&g, i ? 0 : ALL, 0, i ? 0 : 40), NET_OK);
	}
	guest_stop(&g);
}

static void transmitted_frames_have_the_long_header_and_its_hash_says_nothing(void **state)
{
	static const unsigned cuts[][2] = { { 20, 200 }, { 12, 8 }, { 5, 15 }, { 19, 1 }, { 200, 0 }, { 22, 3 } };
	uint8_t whole[NET_HDR_HASH_BYTES + FRAME_BYTES] = { 0 }, out[256];
	struct vireo_packet packet = { .data = out, .capacity_bytes = sizeof(out) };
	struct guest g;

	start(&g, FEATURES);
	memset(whole + NET_HDR_BYTES, 0xff, 8);
	flow_frame(whole + NET_HDR_HASH_BYTES, 3);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		for (unsigned in_place = 0; in_place < 2; in_place++) {
			struct vireo_frame frame;

			guest_send(&g, 1, whole, sizeof(whole), cuts[i], 2);
			guest_kick(&g, 1);
			memset(out, 0, sizeof(out));
			if (in_place) {
				assert_int_equal(vireo_net_transmit_look(g.net, 0, &frame, 1), 1);
				assert_int_equal(frame.len_bytes, FRAME_BYTES);
				assert_memory_equal(frame.head, whole + NET_HDR_HASH_BYTES, VIREO_FRAME_HEAD_BYTES);
				vireo_net_transmit_complete(g.net, 0);
				continue;
			}
			assert_int_equal(vireo_net_dequeue_burst(g.net, 0, &packet, 1), 1);
			assert_int_equal(packet.len_bytes, FRAME_BYTES);
			assert_memory_equal(out, whole + NET_HDR_HASH_BYTES, FRAME_BYTES);
			assert_true(!packet.offload.flags && !packet.offload.gso);
		}
	guest_stop(&g);
}

/* ---- while it changes ---- */

struct watcher {
	struct vireo_net *net;
	bool done;
	unsigned wrong;
};

static void *watch(void *opaque)
{
	struct watcher *w = opaque;
	uint8_t data[FRAME_BYTES], pair;
	struct iovec iov;
	struct vireo_frame frame, *list = &frame;

	flow_frame(data, 5);
	frame = frame_in(&iov, data);
	while (!__atomic_load_n(&w->done, __ATOMIC_ACQUIRE))
		if (vireo_net_steer(w->net, &list, 1, &pair))
			w->wrong += pair > 2; /* 0: overtaken too often */
	return NULL;
}

/* Two sets, of which one sends all to pair 1 and the other to pair 2, by other keys and tables: nobody sees half of one. */
static void worker_sees_one_saying_or_the_other(void **state)
{
	struct net_rss_config one = { .types = ALL, .steers = true, .mask = 127, .unclassified = 3, .transmit_pairs = 4, .key_bytes = 40 };
	struct net_rss_config other;
	struct watcher w = { 0 };
	pthread_t thread;
	struct guest g;

	start(&g, FEATURES);
	w.net = g.net;
	for (unsigned i = 0; i < 40; i++)
		one.key[i] = key_byte(i);
	for (unsigned i = 0; i < 128; i++)
		one.table[i] = 1;
	other = one;
	other.mask = 0;
	other.table[0] = 2;
	other.key[0] ^= 0xff;
	for (unsigned i = 1; i < 128; i++)
		other.table[i] = 3; /* behind the mask of `one` */
	assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
	for (unsigned i = 0; i < 20000; i++)
		assert_true(net_rss_set(g.net, i & 1 ? &one : &other));
	__atomic_store_n(&w.done, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(w.wrong, 0);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_are_offered_where_a_driver_can_say_how),
		cmocka_unit_test(config_space_tells_what_a_driver_may_say),
		cmocka_unit_test(front_end_with_the_control_queue_gets_long_headers_and_no_hashes),
		cmocka_unit_test(frames_go_where_the_table_says),
		cmocka_unit_test(what_has_no_hash_goes_to_the_queue_for_it),
		cmocka_unit_test(short_key_is_filled_up_with_zeroes),
		cmocka_unit_test(commands_that_cannot_be_change_nothing),
		cmocka_unit_test(command_without_its_feature_is_refused),
		cmocka_unit_test(last_command_says_how_queues_are_chosen),
		cmocka_unit_test(reset_forgets_it),
		cmocka_unit_test(reports_are_told_in_one_buffer_and_in_many),
		cmocka_unit_test(report_is_of_what_the_receiver_gets),
		cmocka_unit_test(nothing_is_reported_before_types_are_enabled),
		cmocka_unit_test(transmitted_frames_have_the_long_header_and_its_hash_says_nothing),
		cmocka_unit_test(worker_sees_one_saying_or_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
