/* SPDX-License-Identifier: BSD-3-Clause */

/* The device: features, config space, link, MTU, the life of queues. */

#include "base/loop.h"
#include "device/device.h"
#include "model/net/net_test_guest.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

static const uint8_t own_mac[6] = {0x52, 0, 0, 0, 0, 1};

static struct {
	unsigned started, stops, enabled, connected, negotiated, announced;
	bool keep; /* queue_stop leaves the answer for later */
	uint16_t mtu;
	uint64_t features;
	uint8_t mac[6];
} told;

static void told_started(void *opaque, unsigned queue)
{
	told.started |= 1u << queue;
}

static void told_stop(void *opaque, unsigned queue)
{
	struct guest *g = opaque;

	told.stops |= 1u << queue;
	if (!told.keep)
		vireo_net_queue_quiesced(g->net, queue);
}

static void told_enabled(void *opaque, unsigned queue, bool enabled)
{
	told.enabled = enabled ? told.enabled | 1u << queue : told.enabled & ~(1u << queue);
}

static void told_connected(void *opaque, bool connected)
{
	told.connected = told.connected * 10 + (connected ? 1 : 2);
}

static void told_negotiated(void *opaque, uint64_t features)
{
	told.negotiated++;
	told.features = features;
}

static void told_announce(void *opaque, const uint8_t mac[6])
{
	told.announced++;
	memcpy(told.mac, mac, 6);
}

static void told_mtu(void *opaque, uint16_t mtu)
{
	told.mtu = mtu;
}

static const struct vireo_net_ops ops = {
	.size = sizeof(ops),
	.queue_started = told_started,
	.queue_stop = told_stop,
	.queue_enabled = told_enabled,
	.connected = told_connected,
	.negotiated = told_negotiated,
	.announce = told_announce,
	.mtu_set = told_mtu,
};

static uint64_t offered(const struct vireo_net_config *config)
{
	struct vireo_net *net;
	uint64_t features;

	assert_int_equal(vireo_net_new(config, &net), 0);
	features = device_features_offered(vireo_net_device(net));
	vireo_net_free(net);
	return features;
}

static void what_the_configuration_lacks_is_not_offered(void **state)
{
	struct vireo_net_config config = {.size = sizeof(config)};
	uint64_t features = offered(&config);

	assert_false(features & (F(MQ) | F(MTU) | F(MAC)));
	assert_true(features & V1);
	config.pairs = 2;
	config.mtu = 9000;
	config.set_mac = true;
	memcpy(config.mac, own_mac, 6);
	features = offered(&config);
	assert_true(features & F(MQ));
	assert_true(features & F(MTU));
	assert_true(features & F(MAC));
	assert_false(features & F(CTRL_GUEST_OFFLOADS)); /* not carried out: not offered */
}

static void feature_that_is_off_takes_those_along_that_require_it(void **state)
{
	struct vireo_net_config config = {.size = sizeof(config), .pairs = 2};
	uint64_t features;

	config.features_off = F(CSUM) | F(GUEST_CSUM) | F(CTRL_VQ) | V1;
	features = offered(&config);
	assert_false(features & (F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_UFO) | F(HOST_USO)));
	assert_false(features & (F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN) | F(GUEST_UFO) | F(GUEST_USO4) |
				 F(GUEST_USO6)));
	assert_false(features & (F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR) |
				 F(GUEST_ANNOUNCE) | F(MQ)));
	assert_true(features & V1); /* cannot be turned off */
	config.features_off = F(GUEST_TSO4);
	assert_true(offered(&config) & F(GUEST_ECN)); /* GUEST_TSO6 is enough */
}

static void config_that_makes_no_sense_is_refused(void **state)
{
	struct vireo_net_config config = {.size = sizeof(config)};
	struct vireo_net *net = NULL;

	config.pairs = 129;
	assert_int_equal(vireo_net_new(&config, &net), -EINVAL);
	config.pairs = 1;
	config.mtu = 67;
	assert_int_equal(vireo_net_new(&config, &net), -EINVAL);
	config.mtu = 0;
	config.set_mac = true;
	config.mac[0] = 1; /* a group address */
	assert_int_equal(vireo_net_new(&config, &net), -EINVAL);
	config.set_mac = false;
	config.queue_size_max = 32769;
	assert_int_equal(vireo_net_new(&config, &net), -EINVAL);
	assert_null(net);
	vireo_net_free(NULL);
}

/* virtio 1.3, 5.1.3.1. */
static void feature_without_what_it_requires_is_not_agreed_on(void **state)
{
	static const struct {
		uint64_t feature, needs[2];
	} rules[] = {
		{F(GUEST_TSO4), {F(GUEST_CSUM)}},
		{F(GUEST_TSO6), {F(GUEST_CSUM)}},
		{F(GUEST_UFO), {F(GUEST_CSUM)}},
		{F(GUEST_USO4), {F(GUEST_CSUM)}},
		{F(GUEST_USO6), {F(GUEST_CSUM)}},
		{F(GUEST_ECN), {F(GUEST_CSUM) | F(GUEST_TSO4), F(GUEST_CSUM) | F(GUEST_TSO6)}},
		{F(HOST_TSO4), {F(CSUM)}},
		{F(HOST_TSO6), {F(CSUM)}},
		{F(HOST_UFO), {F(CSUM)}},
		{F(HOST_USO), {F(CSUM)}},
		{F(HOST_ECN), {F(CSUM) | F(HOST_TSO4), F(CSUM) | F(HOST_TSO6)}},
		{F(CTRL_RX), {F(CTRL_VQ)}},
		{F(CTRL_RX_EXTRA), {F(CTRL_VQ) | F(CTRL_RX)}},
		{F(CTRL_VLAN), {F(CTRL_VQ)}},
		{F(CTRL_MAC_ADDR), {F(CTRL_VQ)}},
	};
	const struct guest_config config = {.features = V1, .pairs = 2};
	struct guest g;

	guest_start(&g, &config);
	guest_quiesce(&g);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		assert_int_equal(device_features_set(g.at.device, V1 | rules[i].feature), 0);
		assert_int_equal(vireo_device_features(g.at.device), V1);
		for (unsigned n = 0; n < 2 && rules[i].needs[n]; n++) {
			uint64_t fits = V1 | rules[i].feature | rules[i].needs[n];

			assert_int_equal(device_features_set(g.at.device, fits), 0);
			assert_int_equal(vireo_device_features(g.at.device), fits);
		}
	}
	/* A front end that serves the control queue itself keeps CTRL_VQ back. */
	assert_int_equal(device_features_set(g.at.device, V1 | F(GUEST_ANNOUNCE) | F(MQ)), 0);
	assert_int_equal(vireo_device_features(g.at.device), V1 | F(GUEST_ANNOUNCE) | F(MQ));
	guest_stop(&g);
}

/* What QEMU 7.2 passes on to a vhost-user back end, of what its guest accepts: user_feature_bits in net/vhost-user.c. */
#define QEMU_PASSES                                                                                               \
	(V1 | VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) | VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) |         \
	 VIREO_FEATURE(VIREO_F_RING_RESET_BIT) | F(CSUM) | F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6) |        \
	 F(GUEST_ECN) | F(GUEST_UFO) | F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_UFO) | F(MRG_RXBUF) | \
	 F(MTU) | F(GUEST_ANNOUNCE) | F(MQ))

/* Does a frame pass both ways with what is agreed on of `features`? */
static void frames_pass(uint64_t features, uint64_t agreed)
{
	const struct guest_config config = {.features = features, .pairs = 2, .mtu = 1500};
	uint8_t frame[60];
	struct vireo_packet packet = {.data = frame, .capacity_bytes = sizeof(frame)};
	struct guest g;

	guest_start(&g, &config);
	assert_int_equal(vireo_device_features(g.at.device), agreed);
	frame_fill(frame, sizeof(frame), 7);
	guest_send_frame(&g, 0, NULL, frame, sizeof(frame), true);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_dequeue_burst(g.net, 0, &packet, 1), 1);
	guest_post(&g, 0, 2048);
	guest_kick(&g, 0);
	assert_int_equal(vireo_net_enqueue_burst(g.net, 0, &packet, 1), 1);
	vireo_net_receive_flush(g.net, 0);
	assert_int_equal(guest_used(&g, 0, NULL), NET_HDR_BYTES + sizeof(frame));
	assert_false(g.at.broken);
	guest_stop(&g);
}

/* Each switched off alone, as a user of QEMU does: QEMU offers the rest of it, and Linux accepts all that is offered. */
static void property_of_qemu_that_is_off_alone_lets_frames_pass(void **state)
{
	static const struct {
		const char *property;
		uint64_t off, lost; /* what is not agreed on without it */
	} rows[] = {
		{"nothing", 0, 0},
		{"csum", F(CSUM), F(HOST_TSO4) | F(HOST_TSO6) | F(HOST_ECN) | F(HOST_UFO)},
		{"guest_csum", F(GUEST_CSUM), F(GUEST_TSO4) | F(GUEST_TSO6) | F(GUEST_ECN) | F(GUEST_UFO)},
		{"guest_tso4", F(GUEST_TSO4), 0},
		{"guest_tso6", F(GUEST_TSO6), 0},
		{"guest_tso4,guest_tso6", F(GUEST_TSO4) | F(GUEST_TSO6), F(GUEST_ECN)},
		{"guest_ecn", F(GUEST_ECN), 0},
		{"guest_ufo", F(GUEST_UFO), 0},
		{"host_tso4", F(HOST_TSO4), 0},
		{"host_tso6", F(HOST_TSO6), 0},
		{"host_tso4,host_tso6", F(HOST_TSO4) | F(HOST_TSO6), F(HOST_ECN)},
		{"host_ecn", F(HOST_ECN), 0},
		{"host_ufo", F(HOST_UFO), 0},
		{"mrg_rxbuf", F(MRG_RXBUF), 0},
		{"indirect_desc", VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT), 0},
		{"event_idx", VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT), 0},
		{"queue_reset", VIREO_FEATURE(VIREO_F_RING_RESET_BIT), 0},
		{"guest_announce", F(GUEST_ANNOUNCE), 0},
		{"mq", F(MQ), 0},
		{"host_mtu", F(MTU), 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		frames_pass(QEMU_PASSES & ~rows[i].off, QEMU_PASSES & ~rows[i].off & ~rows[i].lost);
}

static void frame_that_uses_what_is_not_agreed_on_is_bad(void **state)
{
	const struct guest_config config = {.features = V1 | F(HOST_TSO4)};
	const struct virtio_net_header header = {.flags = NET_HDR_F_NEEDS_CSUM, .gso_type = NET_HDR_GSO_TCPV4, .hdr_len = 54,
						 .gso_size = 1000, .csum_start = 34, .csum_offset = 16};
	uint8_t frame[200] = {0};
	struct vireo_packet packet = {.data = frame, .capacity_bytes = sizeof(frame)};
	struct guest g;

	guest_start(&g, &config);
	guest_send_frame(&g, 0, &header, frame, sizeof(frame), true);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_dequeue_burst(g.net, 0, &packet, 1), 0);
	assert_int_equal(guest_stats(&g, 1).bad_offload, 1);
	assert_false(g.at.broken);
	guest_stop(&g);
}

static void receive_offloads_are_what_the_driver_accepted(void **state)
{
	const struct guest_config config = {.features = V1 | F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_USO6) |
							F(CSUM) | F(HOST_TSO6)};
	struct guest g;

	guest_start(&g, &config);
	assert_int_equal(vireo_net_offloads(g.net),
			 VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_USO6);
	guest_stop(&g);
}

static void config_space_shows_what_was_configured(void **state)
{
	const struct guest_config config = {
		.features = V1, .pairs = 3, .queue_size = 16, .mtu = 9000, .mac = own_mac};
	struct virtio_net_config_space space;
	struct guest g;

	guest_start(&g, &config);
	assert_int_equal(device_config_read(g.at.device, 0, &space, sizeof(space)), 0);
	assert_memory_equal(space.mac, own_mac, 6);
	assert_int_equal(space.status, NET_S_LINK_UP);
	assert_int_equal(space.max_virtqueue_pairs, 3);
	assert_int_equal(space.mtu, 9000);
	assert_int_equal(device_queue_num_told(g.at.device), 6); /* pairs or rings: see absent.c */
	assert_int_equal(device_queue_count(g.at.device), 7);
	guest_stop(&g);
}

static void config_space_is_read_only_but_for_a_legacy_address(void **state)
{
	struct guest_config config = {.features = V1 | F(MAC), .mac = own_mac};
	const uint8_t byte = 0x54;
	struct virtio_net_config_space space;
	struct guest g;

	guest_start(&g, &config);
	for (uint32_t offset = 0; offset < sizeof(space); offset++)
		assert_int_equal(device_config_write(g.at.device, offset, &byte, 1), -EPERM);
	guest_stop(&g);
	config.features = F(MAC);
	guest_start(&g, &config);
	assert_int_equal(device_config_write(g.at.device, 0, &byte, 1), 0);
	assert_int_equal(device_config_write(g.at.device, 5, &byte, 1), 0);
	assert_int_equal(device_config_write(g.at.device, 6, &byte, 1), -EPERM);
	assert_int_equal(device_config_write(g.at.device, 5, "ab", 2), -EPERM);
	assert_int_equal(device_config_read(g.at.device, 0, &space, sizeof(space)), 0);
	assert_memory_equal(space.mac, ((const uint8_t[]){0x54, 0, 0, 0, 0, 0x54}), 6);
	assert_int_equal(g.net->filter.mac, net_filter_mac(space.mac));
	guest_stop(&g);
}

static void link_change_is_told_once(void **state)
{
	const struct guest_config config = {.features = V1 | F(STATUS)};
	uint16_t status;
	struct guest g;

	guest_start(&g, &config);
	assert_int_equal(vireo_net_link_set(g.net, true), 0);
	assert_int_equal(g.at.config_changes, 0); /* it is up already */
	assert_int_equal(vireo_net_link_set(g.net, false), 0);
	assert_int_equal(vireo_net_link_set(g.net, false), 0);
	assert_int_equal(g.at.config_changes, 1);
	assert_int_equal(device_config_read(g.at.device, 6, &status, 2), 0);
	assert_int_equal(status, 0);
	guest_quiesce(&g);
	device_reset(g.at.device); /* the cable does not care */
	assert_int_equal(device_config_read(g.at.device, 6, &status, 2), 0);
	assert_int_equal(status, 0);
	guest_stop(&g);
}

static void assert_speed(struct guest *g, uint32_t mbits, uint8_t duplex)
{
	struct virtio_net_config_space space;

	assert_int_equal(device_config_read(g->at.device, 0, &space, sizeof(space)), 0);
	assert_int_equal(le32toh(space.speed), mbits);
	assert_int_equal(space.duplex, duplex);
	assert_int_equal(space.rss_max_key_size, NET_HASH_KEY_BYTES); /* its neighbours stay */
	assert_int_equal(le16toh(space.mtu), 0);
}

static void speed_is_told_once_and_stays_over_a_reset(void **state)
{
	const struct guest_config config = {.features = V1 | F(SPEED_DUPLEX)};
	struct guest g;

	guest_start(&g, &config);
	assert_speed(&g, VIREO_NET_SPEED_UNKNOWN, VIREO_NET_DUPLEX_UNKNOWN);
	assert_int_equal(vireo_net_speed_set(g.net, VIREO_NET_SPEED_UNKNOWN, VIREO_NET_DUPLEX_UNKNOWN), 0);
	assert_int_equal(g.at.config_changes, 0);
	assert_int_equal(vireo_net_speed_set(g.net, 25000, VIREO_NET_DUPLEX_FULL), 0);
	assert_int_equal(vireo_net_speed_set(g.net, 25000, VIREO_NET_DUPLEX_FULL), 0);
	assert_int_equal(g.at.config_changes, 1);
	assert_speed(&g, 25000, VIREO_NET_DUPLEX_FULL);
	assert_int_equal(vireo_net_speed_set(g.net, 25000, VIREO_NET_DUPLEX_HALF), 0);
	assert_int_equal(vireo_net_speed_set(g.net, 0x7fffffff, VIREO_NET_DUPLEX_HALF), 0);
	assert_int_equal(g.at.config_changes, 3);
	assert_int_equal(vireo_net_speed_set(g.net, 0x80000000u, VIREO_NET_DUPLEX_FULL), -EINVAL);
	assert_int_equal(vireo_net_speed_set(g.net, 1, (enum vireo_net_duplex)2), -EINVAL);
	guest_quiesce(&g);
	device_reset(g.at.device);
	assert_speed(&g, 0x7fffffff, VIREO_NET_DUPLEX_HALF);
	assert_int_equal(g.at.config_changes, 3);
	guest_stop(&g);
}

static void link_is_told_to_who_has_accepted_status_and_can_hear(void **state)
{
	const struct guest_config with = {.features = V1 | F(STATUS)}, without = {.features = V1};
	struct guest g;

	guest_start(&g, &without);
	assert_false(vireo_net_link_told(g.net));
	guest_stop(&g);
	guest_start(&g, &with);
	assert_true(vireo_net_link_told(g.net));
	g.at.config_deaf = true;
	assert_false(vireo_net_link_told(g.net));
	guest_stop(&g);
}

static void announce_needs_a_driver_that_can_acknowledge_it(void **state)
{
	const uint64_t needed = F(STATUS) | F(GUEST_ANNOUNCE) | F(CTRL_VQ);
	const uint64_t missing[] = {F(STATUS), F(GUEST_ANNOUNCE), F(CTRL_VQ)};

	for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
		const struct guest_config config = {.features = V1 | (needed & ~missing[i])};
		struct guest g;

		guest_start(&g, &config);
		assert_int_equal(vireo_net_announce(g.net), -EOPNOTSUPP);
		assert_int_equal(g.at.config_changes, 0);
		guest_stop(&g);
	}
}

static void announce_bit_does_not_survive_a_reset(void **state)
{
	const struct guest_config config = {.features = V1 | F(STATUS) | F(GUEST_ANNOUNCE) | F(CTRL_VQ)};
	uint16_t status;
	struct guest g;

	guest_start(&g, &config);
	assert_int_equal(vireo_net_announce(g.net), 0);
	guest_quiesce(&g);
	device_reset(g.at.device);
	assert_int_equal(device_config_read(g.at.device, 6, &status, 2), 0);
	assert_int_equal(status, NET_S_LINK_UP);
	guest_stop(&g);
}

static int tell_mtu(struct vireo_device *device, uint16_t mtu)
{
	return device_message(device, VIREO_MESSAGE_NET_MTU, &mtu, sizeof(mtu));
}

static void mtu_that_cannot_be_carried_is_refused(void **state)
{
	struct guest_config config = {.features = V1, .mtu = 1500, .ops = &ops};
	struct guest g;

	memset(&told, 0, sizeof(told));
	guest_start(&g, &config);
	assert_int_equal(tell_mtu(g.at.device, 67), -EINVAL);
	assert_int_equal(tell_mtu(g.at.device, 1501), -EINVAL);
	assert_int_equal(told.mtu, 0);
	assert_int_equal(tell_mtu(g.at.device, 68), 0);
	assert_int_equal(told.mtu, 68);
	guest_stop(&g);
	config.mtu = 0;
	guest_start(&g, &config);
	assert_int_equal(tell_mtu(g.at.device, 65535), 0);
	guest_stop(&g);
}

static void transport_events_reach_the_application(void **state)
{
	const struct guest_config config = {.features = V1 | F(CSUM), .ops = &ops};
	const uint8_t mac[6] = {2, 3, 4, 5, 6, 7};
	struct guest g;

	memset(&told, 0, sizeof(told));
	guest_start(&g, &config);
	assert_int_equal(told.connected, 1);
	assert_int_equal(told.negotiated, 1);
	assert_int_equal(told.features, V1 | F(CSUM));
	assert_int_equal(told.started, 3); /* the control queue is not the application's */
	assert_int_equal(told.enabled, 3);
	device_queue_enable(g.at.device, 1, false);
	assert_int_equal(told.enabled, 1);
	assert_int_equal(device_message(g.at.device, VIREO_MESSAGE_NET_ANNOUNCE, mac, 6), 0);
	assert_memory_equal(told.mac, mac, 6);
	guest_stop(&g);
	assert_int_equal(told.stops, 3);
	assert_int_equal(told.connected, 12);
}

static void told_quiet(void *opaque)
{
	*(bool *)opaque = true;
}

static void queue_is_quiet_only_when_the_worker_has_let_go(void **state)
{
	const struct guest_config config = {.features = V1, .ops = &ops};
	bool quiet = false;
	struct guest g;

	memset(&told, 0, sizeof(told));
	guest_start(&g, &config);
	assert_true(vireo_net_kick_fd(g.net, 1) >= 0);
	told.keep = true;
	device_quiesce(g.at.device, DEVICE_ALL_QUEUES, told_quiet, &quiet);
	assert_int_equal(told.stops, 3);
	vireo_net_queue_quiesced(g.net, 0);
	assert_false(quiet);
	vireo_net_queue_quiesced(g.net, 1);
	assert_true(quiet);
	assert_int_equal(vireo_net_kick_fd(g.net, 1), -1);
	assert_false(vireo_net_kick_enable(g.net, 1, true));
	told.keep = false;
	guest_stop(&g);
}

/* A program of an older header has fewer counters, one of a newer header more. */
static void stats_are_as_many_as_both_know(void **state)
{
	const struct guest_config config = {.features = V1};
	struct {
		struct vireo_net_queue_stats known;
		uint64_t later;
	} stats;
	uint8_t frame[60];
	struct guest g;

	guest_start(&g, &config);
	frame_fill(frame, sizeof(frame), 1);
	guest_send_frame(&g, 0, &(struct virtio_net_header){0}, frame, sizeof(frame), true);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &(struct vireo_frame){0}, 1), 1);
	vireo_net_transmit_complete(g.net, 0);
	vireo_net_queue_stats(g.net, 1, &(struct vireo_net_queue_stats){.size = 0}); /* knows nothing, gets nothing */
	memset(&stats, 0xee, sizeof(stats));
	stats.known.size = offsetof(struct vireo_net_queue_stats, bytes);
	vireo_net_queue_stats(g.net, 1, &stats.known);
	assert_int_equal(stats.known.size, offsetof(struct vireo_net_queue_stats, bytes));
	assert_int_equal(stats.known.frames, 1);
	assert_true(stats.known.bytes == UINT64_C(0xeeeeeeeeeeeeeeee));
	stats.known.size = sizeof(stats);
	vireo_net_queue_stats(g.net, 1, &stats.known);
	assert_int_equal(stats.known.size, sizeof(stats.known));
	assert_int_equal(stats.known.bytes, 60);
	assert_true(stats.later == UINT64_C(0xeeeeeeeeeeeeeeee));
	guest_stop(&g);
}

static void stopped_and_unknown_queues_do_nothing(void **state)
{
	struct vireo_net_config config = {.size = sizeof(config)};
	struct vireo_net_queue_stats stats = { .size = sizeof(stats) };
	struct vireo_frame frame, *pointer = &frame;
	struct vireo_packet packet = {0};
	struct vireo_net *net;

	assert_int_equal(vireo_net_new(&config, &net), 0);
	assert_int_equal(vireo_net_transmit_look(net, 0, &frame, 1), 0);
	vireo_net_transmit_complete(net, 0);
	assert_int_equal(vireo_net_receive_deliver(net, 0, &pointer, 1), 0);
	vireo_net_receive_flush(net, 0);
	assert_int_equal(vireo_net_dequeue_burst(net, 0, &packet, 1), 0);
	assert_int_equal(vireo_net_enqueue_burst(net, 0, &packet, 1), 0);
	assert_int_equal(vireo_net_transmit_look(net, 1, &frame, 1), -EINVAL);
	assert_int_equal(vireo_net_receive_deliver(net, 1, &pointer, 1), -EINVAL);
	assert_int_equal(vireo_net_dequeue_burst(net, 1, &packet, 1), -EINVAL);
	assert_int_equal(vireo_net_enqueue_burst(net, 1, &packet, 1), -EINVAL);
	vireo_net_queue_stats(net, 2, &stats);
	assert_int_equal(stats.frames, 0);
	vireo_net_free(net);
}

static void kick_enable_tells_what_is_there_already(void **state)
{
	const struct guest_config config = {.features = V1};
	uint8_t frame[60];
	struct vireo_frame looked;
	struct guest g;

	guest_start(&g, &config);
	assert_false(vireo_net_kick_enable(g.net, 1, true));
	frame_fill(frame, sizeof(frame), 1);
	guest_send_frame(&g, 0, NULL, frame, sizeof(frame), true);
	assert_true(vireo_driver_ring_kick(g.at.queues[1].ring));
	assert_true(vireo_net_kick_enable(g.net, 1, true));
	vireo_net_kick_enable(g.net, 1, false);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, &looked, 1), 1);
	vireo_net_transmit_complete(g.net, 0);
	guest_send_frame(&g, 0, NULL, frame, sizeof(frame), true);
	assert_false(vireo_driver_ring_kick(g.at.queues[1].ring));
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_configuration_lacks_is_not_offered),
		cmocka_unit_test(feature_that_is_off_takes_those_along_that_require_it),
		cmocka_unit_test(config_that_makes_no_sense_is_refused),
		cmocka_unit_test(feature_without_what_it_requires_is_not_agreed_on),
		cmocka_unit_test(frame_that_uses_what_is_not_agreed_on_is_bad),
		cmocka_unit_test(property_of_qemu_that_is_off_alone_lets_frames_pass),
		cmocka_unit_test(receive_offloads_are_what_the_driver_accepted),
		cmocka_unit_test(config_space_shows_what_was_configured),
		cmocka_unit_test(config_space_is_read_only_but_for_a_legacy_address),
		cmocka_unit_test(link_change_is_told_once),
		cmocka_unit_test(speed_is_told_once_and_stays_over_a_reset),
		cmocka_unit_test(link_is_told_to_who_has_accepted_status_and_can_hear),
		cmocka_unit_test(announce_needs_a_driver_that_can_acknowledge_it),
		cmocka_unit_test(announce_bit_does_not_survive_a_reset),
		cmocka_unit_test(mtu_that_cannot_be_carried_is_refused),
		cmocka_unit_test(transport_events_reach_the_application),
		cmocka_unit_test(queue_is_quiet_only_when_the_worker_has_let_go),
		cmocka_unit_test(stats_are_as_many_as_both_know),
		cmocka_unit_test(stopped_and_unknown_queues_do_nothing),
		cmocka_unit_test(kick_enable_tells_what_is_there_already),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
