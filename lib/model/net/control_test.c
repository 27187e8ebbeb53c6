/* SPDX-License-Identifier: BSD-3-Clause */

/* The control queue and the receive filter that it sets. */

#include "base/clock.h"
#include "device/device.h"
#include "model/net/net_test_guest.h"
#include <endian.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define CONTROL                                                                                       \
	(V1 | F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR) | F(MAC) | \
	 F(STATUS) | F(GUEST_ANNOUNCE))

static const uint8_t own_mac[6] = {0x52, 0, 0, 0, 0, 1};
static const uint8_t other_mac[6] = {0x52, 0, 0, 0, 0, 2};
static const uint8_t group_mac[6] = {0x01, 0, 0x5e, 0, 0, 1};
static const uint8_t broadcast_mac[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static unsigned pairs_told;
static unsigned filters_told;
static struct vireo_net_filter filter_told;

static void told_pairs(void *opaque, unsigned pairs)
{
	pairs_told = pairs;
}

static void told_filter(void *opaque, const struct vireo_net_filter *filter)
{
	filters_told++;
	filter_told = *filter;
}

static struct guest *offloads_of; /* whose offloads_told are */
static unsigned offloads_told, times_told;

/* The application learns of them before frames are refused, and may send what it could before it was told. */
static void told_offloads(void *opaque)
{
	times_told++;
	offloads_told = vireo_net_offloads(offloads_of->net);
	assert_int_equal(net_receive_queue(offloads_of->net, 0)->offloads & offloads_told, offloads_told);
}

static const struct vireo_net_ops ops = {
	.size = sizeof(ops),
	.pairs_set = told_pairs,
	.filter_changed = told_filter,
	.offloads_set = told_offloads,
};

/* Sends one command in pieces of `cut` bytes (0: one piece) and returns its answer; 0xee: none. */
static uint8_t command_cut(struct guest *g, const void *data, size_t bytes, unsigned cut)
{
	unsigned queue = g->at.queue_count - 1, n = 0;
	uint8_t *p = guest_alloc(g, bytes), *ack = guest_alloc(g, 1);
	struct iovec iov[600];

	memcpy(p, data, bytes);
	for (size_t at = 0; at < bytes; n++) {
		size_t here = cut ? min_u64(cut, bytes - at) : bytes;

		iov[n] = (struct iovec){.iov_base = p + at, .iov_len = here};
		at += here;
	}
	*ack = 0xee;
	iov[n] = (struct iovec){.iov_base = ack, .iov_len = 1};
	guest_add(g, queue, iov, n, 1, p);
	guest_kick(g, queue);
	guest_poll(g);
	assert_int_equal(guest_used(g, queue, NULL), 1);
	return *ack;
}

static uint8_t command(struct guest *g, uint8_t class, uint8_t cmd, const void *data, size_t bytes)
{
	uint8_t packet[2 + 2000] = {class, cmd};

	memcpy(packet + 2, data, bytes);
	return command_cut(g, packet, 2 + bytes, 0);
}

static uint8_t rx_mode(struct guest *g, uint8_t cmd, uint8_t on)
{
	return command(g, NET_CTRL_RX, cmd, &on, 1);
}

/* Two tables: `unicast` and `multicast` addresses that end in 1, 2, 3... */
static size_t mac_tables(uint8_t *data, uint32_t unicast, uint32_t multicast)
{
	uint8_t *p = data;

	memcpy(p, &unicast, 4);
	p += 4;
	for (uint32_t i = 0; i < unicast; i++, p += 6)
		memcpy(p, (uint8_t[]){0x02, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)(i + 1)}, 6);
	memcpy(p, &multicast, 4);
	p += 4;
	for (uint32_t i = 0; i < multicast; i++, p += 6)
		memcpy(p, (uint8_t[]){0x03, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)(i + 1)}, 6);
	return (size_t)(p - data);
}

/* Does it, as a packet of the caller's or as a frame in place? */
static bool reaches(struct guest *g, uint8_t *data, uint32_t bytes, bool in_place)
{
	struct iovec iov = {.iov_base = data, .iov_len = bytes};
	struct vireo_packet packet = {.data = data, .len_bytes = bytes};
	struct vireo_frame frame = {.iov = &iov, .iov_count = 1, .len_bytes = bytes}, *pointer = &frame;
	uint64_t filtered = guest_stats(g, 0).filtered;

	memcpy(frame.head, data, VIREO_FRAME_HEAD_BYTES);
	guest_post(g, 0, 100);
	guest_kick(g, 0);
	if (in_place) {
		vireo_net_receive_deliver(g->net, 0, &pointer, 1);
		vireo_net_receive_flush(g->net, 0);
	} else {
		assert_int_equal(vireo_net_enqueue_burst(g->net, 0, &packet, 1), 1);
	}
	if (guest_used(g, 0, NULL) >= 0)
		return true;
	assert_int_equal(guest_stats(g, 0).filtered, filtered + 1);
	return false;
}

/* Does a frame to `mac` with this tag (-1: none) reach the driver? */
static bool passes(struct guest *g, const uint8_t *mac, int vlan)
{
	uint8_t data[60] = {0};
	bool packet;
	unsigned tag = vlan < 0 ? 0 : (unsigned)vlan;

	memcpy(data, mac, 6);
	data[12] = vlan < 0 ? 0x08 : 0x81;
	data[14] = (uint8_t)(tag >> 8 & 0xf) | 0xa0; /* priority bits are not the VLAN's */
	data[15] = (uint8_t)tag;
	packet = reaches(g, data, sizeof(data), false);
	assert_int_equal(reaches(g, data, sizeof(data), true), packet);
	return packet;
}

#define SEGMENTS (V1 | F(CTRL_VQ) | F(CTRL_GUEST_OFFLOADS) | F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_USO4))
#define TAKES_ALL (VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_USO4)

static uint8_t offloads_wanted(struct guest *g, uint64_t features)
{
	return command(g, NET_CTRL_GUEST_OFFLOADS, NET_CTRL_GUEST_OFFLOADS_SET, &features, sizeof(features));
}

/* Does a frame that is to be cut, or only summed, come as it is? Its header's flags in *ret_flags. */
static bool takes(struct guest *g, uint8_t gso, uint8_t flags, uint8_t *ret_flags)
{
	struct virtio_net_header header;
	uint8_t data[200] = {0};
	struct iovec iov = {data, sizeof(data)};
	struct vireo_frame frame = {
		.iov = &iov, .iov_count = 1, .len_bytes = sizeof(data),
		.offload = {.flags = flags, .gso = gso, .segment_bytes = gso ? 100 : 0, .csum_start = 34, .csum_offset = gso == VIREO_GSO_UDP4 ? 6 : 16}};
	struct vireo_frame *pointer = &frame;
	uint64_t refused = guest_stats(g, 0).offload_refused;
	void *buffer;

	guest_post(g, 0, 400);
	memcpy(frame.head, data, VIREO_FRAME_HEAD_BYTES);
	guest_kick(g, 0);
	vireo_net_receive_deliver(g->net, 0, &pointer, 1);
	vireo_net_receive_flush(g->net, 0);
	if (guest_used(g, 0, &buffer) < 0) {
		assert_int_equal(guest_stats(g, 0).offload_refused, refused + 1);
		return false;
	}
	memcpy(&header, buffer, sizeof(header));
	*ret_flags = header.flags;
	return true;
}

static void assert_takes(struct guest *g, unsigned offloads)
{
	uint8_t flags = 0;

	assert_int_equal(vireo_net_offloads(g->net), offloads);
	assert_int_equal(takes(g, VIREO_GSO_NONE, VIREO_FRAME_NEEDS_CSUM, &flags), !!(offloads & VIREO_OFFLOAD_CSUM));
	assert_int_equal(takes(g, VIREO_GSO_TCP4, VIREO_FRAME_NEEDS_CSUM, &flags), (offloads & VIREO_OFFLOAD_TSO4) && (offloads & VIREO_OFFLOAD_CSUM));
	assert_true(takes(g, VIREO_GSO_NONE, VIREO_FRAME_DATA_VALID, &flags));
	assert_int_equal(flags, offloads & VIREO_OFFLOAD_CSUM ? NET_HDR_F_DATA_VALID : 0);
}

static void segments_start(struct guest *g, uint64_t features)
{
	const struct guest_config config = {.features = features, .ops = &ops};

	offloads_of = g;
	times_told = 0;
	guest_start(g, &config);
}

static void what_the_driver_gives_up_is_refused_until_it_takes_it_again(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct guest g;

		segments_start(&g, SEGMENTS | (packed ? VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) : 0));
		assert_takes(&g, TAKES_ALL);
		assert_int_equal(offloads_wanted(&g, F(GUEST_CSUM)), NET_OK);
		assert_takes(&g, VIREO_OFFLOAD_CSUM);
		assert_int_equal(offloads_told, VIREO_OFFLOAD_CSUM);
		assert_int_equal(offloads_wanted(&g, 0), NET_OK);
		assert_takes(&g, 0);
		assert_int_equal(offloads_wanted(&g, F(GUEST_TSO4)), NET_OK); /* without a checksum no frame is to be cut */
		assert_takes(&g, VIREO_OFFLOAD_TSO4);
		assert_int_equal(times_told, 3);
		assert_int_equal(offloads_wanted(&g, F(GUEST_TSO4)), NET_OK);
		assert_int_equal(times_told, 3); /* nothing new */
		assert_int_equal(offloads_wanted(&g, F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_USO4)), NET_OK);
		assert_takes(&g, TAKES_ALL);
		guest_stop(&g);
	}
}

static void offloads_that_were_not_agreed_on_are_refused_as_a_whole(void **state)
{
	static const uint64_t lies[] = {F(GUEST_TSO6), F(GUEST_CSUM) | F(GUEST_UFO), F(CSUM), F(HOST_TSO4), F(CTRL_VQ), 1ull << 63, 1ull << 2, ~0ull};
	struct guest g;

	segments_start(&g, SEGMENTS);
	assert_int_equal(offloads_wanted(&g, F(GUEST_CSUM) | F(GUEST_USO4)), NET_OK);
	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++)
		assert_int_equal(offloads_wanted(&g, lies[i]), NET_ERR);
	for (unsigned bytes = 0; bytes < 20; bytes++)
		assert_int_equal(command(&g, NET_CTRL_GUEST_OFFLOADS, NET_CTRL_GUEST_OFFLOADS_SET, (uint8_t[20]){0}, bytes), bytes == 8 ? NET_OK : NET_ERR);
	assert_int_equal(command(&g, NET_CTRL_GUEST_OFFLOADS, 1, (uint8_t[8]){0}, 8), NET_ERR);
	assert_takes(&g, 0); /* what the one of 8 bytes said */
	assert_int_equal(times_told, 2);
	guest_stop(&g);

	segments_start(&g, SEGMENTS & ~F(CTRL_GUEST_OFFLOADS));
	assert_int_equal(offloads_wanted(&g, F(GUEST_CSUM)), NET_ERR);
	assert_takes(&g, TAKES_ALL);
	guest_stop(&g);
}

/* The next driver begins with what it accepts; a queue that stops and starts keeps what was said. */
static void what_was_given_up_holds_until_a_reset(void **state)
{
	struct guest g;

	segments_start(&g, SEGMENTS);
	assert_int_equal(offloads_wanted(&g, 0), NET_OK);
	guest_quiesce(&g);
	guest_resume(&g);
	assert_takes(&g, 0);
	guest_quiesce(&g);
	device_reset(g.at.device);
	assert_int_equal(device_features_set(g.at.device, SEGMENTS), 0);
	assert_int_equal(vireo_net_offloads(g.net), TAKES_ALL);
	guest_stop(&g);
}

/* Who would go on with what it knew before is not to be surprised. */
static void an_application_that_does_not_listen_offers_no_such_command(void **state)
{
	static const struct vireo_net_ops deaf = {.size = sizeof(deaf), .pairs_set = told_pairs};
	const struct vireo_net_config config = {.size = sizeof(config), .ops = &deaf}, listens = {.size = sizeof(listens), .ops = &ops};
	struct vireo_net *net;

	assert_int_equal(vireo_net_new(&config, &net), 0);
	assert_false(device_features_offered(vireo_net_device(net)) & F(CTRL_GUEST_OFFLOADS));
	vireo_net_free(net);
	assert_int_equal(vireo_net_new(&listens, &net), 0);
	assert_true(device_features_offered(vireo_net_device(net)) & F(CTRL_GUEST_OFFLOADS));
	vireo_net_free(net);
}

static void control_start(struct guest *g)
{
	const struct guest_config config = {.features = CONTROL, .mac = own_mac, .ops = &ops};

	filters_told = 0;
	guest_start(g, &config);
}

static void device_is_promiscuous_until_told_otherwise_and_again_after_reset(void **state)
{
	struct guest g;

	control_start(&g);
	assert_true(passes(&g, own_mac, -1));
	assert_true(passes(&g, other_mac, 7));
	assert_true(passes(&g, group_mac, -1));
	assert_int_equal(rx_mode(&g, NET_CTRL_RX_PROMISC, 0), NET_OK);
	assert_false(passes(&g, other_mac, -1));
	guest_quiesce(&g);
	device_reset(g.at.device);
	assert_true(net_filter_passes(&g.net->filter, (const uint8_t[18]){0x52, 9}));
	assert_true(filter_told.promiscuous);
	guest_stop(&g);
}

static void rx_modes_do_what_the_specification_says(void **state)
{
	static const struct {
		uint8_t command;
		bool own, other, group, broadcast; /* pass when it alone is on */
	} modes[] = {
		{NET_CTRL_RX_PROMISC, true, true, true, true},
		{NET_CTRL_RX_ALLMULTI, true, false, true, true},
		{NET_CTRL_RX_ALLUNI, true, true, false, true},
		{NET_CTRL_RX_NOMULTI, true, false, false, true},
		{NET_CTRL_RX_NOUNI, false, false, false, true},
		{NET_CTRL_RX_NOBCAST, true, false, false, false},
	};
	struct guest g;

	control_start(&g);
	assert_int_equal(rx_mode(&g, NET_CTRL_RX_PROMISC, 0), NET_OK);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(rx_mode(&g, modes[i].command, 1), NET_OK);
		assert_int_equal(passes(&g, own_mac, -1), modes[i].own);
		assert_int_equal(passes(&g, other_mac, -1), modes[i].other);
		assert_int_equal(passes(&g, group_mac, -1), modes[i].group);
		assert_int_equal(passes(&g, broadcast_mac, -1), modes[i].broadcast);
		assert_int_equal(rx_mode(&g, modes[i].command, 0), NET_OK);
	}
	guest_stop(&g);
}

static void suppression_holds_against_all(void **state)
{
	struct guest g;

	control_start(&g);
	rx_mode(&g, NET_CTRL_RX_PROMISC, 0);
	rx_mode(&g, NET_CTRL_RX_ALLMULTI, 1);
	rx_mode(&g, NET_CTRL_RX_ALLUNI, 1);
	rx_mode(&g, NET_CTRL_RX_NOMULTI, 1);
	rx_mode(&g, NET_CTRL_RX_NOUNI, 1);
	assert_false(passes(&g, own_mac, -1));
	assert_false(passes(&g, group_mac, -1));
	assert_true(passes(&g, broadcast_mac, -1));
	rx_mode(&g, NET_CTRL_RX_PROMISC, 1); /* but promiscuous mode against everything */
	assert_true(passes(&g, own_mac, -1));
	assert_true(passes(&g, group_mac, -1));
	guest_stop(&g);
}

static void addresses_in_the_tables_pass(void **state)
{
	uint8_t data[2000];
	struct guest g;

	control_start(&g);
	rx_mode(&g, NET_CTRL_RX_PROMISC, 0);
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, mac_tables(data, 64, 3)),
			 NET_OK);
	assert_int_equal(filter_told.unicast_count, 64);
	assert_int_equal(filter_told.multicast_count, 3);
	assert_true(passes(&g, (const uint8_t[]){0x02, 0, 0, 0, 0, 1}, -1));
	assert_true(passes(&g, (const uint8_t[]){0x02, 0, 0, 0, 0, 64}, -1));
	assert_false(passes(&g, (const uint8_t[]){0x02, 0, 0, 0, 0, 65}, -1));
	assert_true(passes(&g, (const uint8_t[]){0x03, 0, 0, 0, 0, 3}, -1));
	assert_false(passes(&g, (const uint8_t[]){0x03, 0, 0, 0, 0, 4}, -1));
	assert_true(passes(&g, own_mac, -1));
	/* A new table replaces the old one. */
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, mac_tables(data, 0, 0)),
			 NET_OK);
	assert_false(passes(&g, (const uint8_t[]){0x02, 0, 0, 0, 0, 1}, -1));
	guest_stop(&g);
}

static void table_that_overflows_lets_its_class_pass(void **state)
{
	uint8_t data[2000];
	struct guest g;

	control_start(&g);
	rx_mode(&g, NET_CTRL_RX_PROMISC, 0);
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, mac_tables(data, 65, 1)),
			 NET_OK);
	assert_true(passes(&g, other_mac, -1));
	assert_false(passes(&g, group_mac, -1));
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, mac_tables(data, 1, 65)),
			 NET_OK);
	assert_false(passes(&g, other_mac, -1));
	assert_true(passes(&g, group_mac, -1));
	guest_stop(&g);
}

static void table_that_lies_about_its_length_changes_nothing(void **state)
{
	static const uint32_t counts[] = {2, 64, 65, 0x10000000, 0x2aaaaaab, 0xffffffff};
	uint8_t data[2000];
	struct guest g;

	control_start(&g);
	rx_mode(&g, NET_CTRL_RX_PROMISC, 0);
	command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, mac_tables(data, 1, 0));
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		size_t bytes = mac_tables(data, 1, 0);

		memcpy(data, &counts[i], 4); /* the unicast table */
		assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, bytes), NET_ERR);
		bytes = mac_tables(data, 0, 1);
		memcpy(data + 4, &counts[i], 4); /* the multicast table */
		assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, bytes), NET_ERR);
	}
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, 3), NET_ERR);
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, data, mac_tables(data, 0, 0) + 1),
			 NET_ERR);
	assert_true(passes(&g, (const uint8_t[]){0x02, 0, 0, 0, 0, 1}, -1));
	assert_false(passes(&g, other_mac, -1));
	guest_stop(&g);
}

static void address_set_shows_in_config_space_and_filter(void **state)
{
	uint8_t mac[6];
	struct guest g;

	control_start(&g);
	rx_mode(&g, NET_CTRL_RX_PROMISC, 0);
	assert_false(passes(&g, other_mac, -1));
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, other_mac, 6), NET_OK);
	assert_int_equal(device_config_read(g.at.device, 0, mac, 6), 0);
	assert_memory_equal(mac, other_mac, 6);
	assert_memory_equal(filter_told.mac, other_mac, 6);
	assert_true(passes(&g, other_mac, -1));
	assert_false(passes(&g, own_mac, -1));
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, group_mac, 6), NET_ERR);
	guest_quiesce(&g);
	device_reset(g.at.device);
	assert_int_equal(device_config_read(g.at.device, 0, mac, 6), 0);
	assert_memory_equal(mac, own_mac, 6);
	guest_stop(&g);
}

static void without_a_known_address_unicast_passes(void **state)
{
	const struct guest_config config = {.features = CONTROL & ~F(MAC), .ops = &ops};
	struct guest g;

	guest_start(&g, &config);
	rx_mode(&g, NET_CTRL_RX_PROMISC, 0);
	assert_true(passes(&g, other_mac, -1));
	assert_false(passes(&g, group_mac, -1));
	assert_int_equal(command(&g, NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, own_mac, 6), NET_OK);
	assert_false(passes(&g, other_mac, -1));
	guest_stop(&g);
}

static void tagged_frames_pass_only_for_vlans_that_were_added(void **state)
{
	static const uint16_t vlans[] = {0, 1, 7, 63, 64, 4095};
	struct guest g;

	control_start(&g);
	rx_mode(&g, NET_CTRL_RX_PROMISC, 0);
	for (size_t i = 0; i < ARRAY_SIZE(vlans); i++) {
		assert_false(passes(&g, own_mac, vlans[i]));
		assert_int_equal(command(&g, NET_CTRL_VLAN, NET_CTRL_VLAN_ADD, &vlans[i], 2), NET_OK);
		assert_true(passes(&g, own_mac, vlans[i]));
		assert_false(passes(&g, own_mac, 8));
		assert_true(passes(&g, own_mac, -1));
		assert_int_equal(command(&g, NET_CTRL_VLAN, NET_CTRL_VLAN_DEL, &vlans[i], 2), NET_OK);
		assert_false(passes(&g, own_mac, vlans[i]));
	}
	assert_true(filter_told.vlan_filtered);
	guest_stop(&g);
}

static void vlan_beyond_4095_is_refused(void **state)
{
	const uint16_t vlan = 4096, large = 0xffff;
	struct guest g;

	control_start(&g);
	assert_int_equal(command(&g, NET_CTRL_VLAN, NET_CTRL_VLAN_ADD, &vlan, 2), NET_ERR);
	assert_int_equal(command(&g, NET_CTRL_VLAN, NET_CTRL_VLAN_DEL, &large, 2), NET_ERR);
	guest_stop(&g);
}

static void command_split_over_any_number_of_descriptors_is_taken(void **state)
{
	uint8_t packet[2 + 200] = {NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET};
	size_t bytes = 2 + mac_tables(packet + 2, 3, 2);
	struct guest g;

	control_start(&g);
	for (unsigned cut = 1; cut < 20; cut++) {
		assert_int_equal(command_cut(&g, packet, bytes, cut), NET_OK);
		assert_int_equal(filter_told.unicast_count, 3);
		assert_int_equal(filter_told.multicast_count, 2);
	}
	guest_stop(&g);
}

static void command_of_the_wrong_size_is_refused(void **state)
{
	static const uint8_t rows[][3] = {
		/* class, command, bytes */
		{NET_CTRL_RX, NET_CTRL_RX_PROMISC, 1},
		{NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, 6},
		{NET_CTRL_VLAN, NET_CTRL_VLAN_ADD, 2},
		{NET_CTRL_ANNOUNCE, NET_CTRL_ANNOUNCE_ACK, 0},
	};
	const uint8_t data[8] = {0};
	struct guest g;

	control_start(&g);
	filters_told = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(command(&g, rows[i][0], rows[i][1], data, rows[i][2] + 1), NET_ERR);
		if (rows[i][2])
			assert_int_equal(command(&g, rows[i][0], rows[i][1], data, rows[i][2] - 1), NET_ERR);
	}
	assert_int_equal(command_cut(&g, data, 1, 0), NET_ERR); /* not even a header */
	assert_int_equal(filters_told, 0);
	assert_int_equal(rx_mode(&g, NET_CTRL_RX_PROMISC, 2), NET_ERR); /* neither on nor off */
	guest_stop(&g);
}

static void unknown_command_is_refused(void **state)
{
	const uint8_t data[8] = {0};
	struct guest g;

	control_start(&g);
	assert_int_equal(command(&g, NET_CTRL_RX, 6, data, 1), NET_ERR);
	assert_int_equal(command(&g, 200, 0, data, 1), NET_ERR);
	assert_int_equal(command(&g, NET_CTRL_GUEST_OFFLOADS, NET_CTRL_GUEST_OFFLOADS_SET, data, 8), NET_ERR);
	guest_stop(&g);
}

static void command_without_its_feature_is_refused(void **state)
{
	static const struct {
		uint8_t class, command, bytes;
		uint64_t feature;
	} rows[] = {
		{NET_CTRL_RX, NET_CTRL_RX_PROMISC, 1, F(CTRL_RX)},
		{NET_CTRL_RX, NET_CTRL_RX_ALLMULTI, 1, F(CTRL_RX)},
		{NET_CTRL_RX, NET_CTRL_RX_ALLUNI, 1, F(CTRL_RX_EXTRA)},
		{NET_CTRL_RX, NET_CTRL_RX_NOMULTI, 1, F(CTRL_RX_EXTRA)},
		{NET_CTRL_RX, NET_CTRL_RX_NOUNI, 1, F(CTRL_RX_EXTRA)},
		{NET_CTRL_RX, NET_CTRL_RX_NOBCAST, 1, F(CTRL_RX_EXTRA)},
		{NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, 8, F(CTRL_RX)},
		{NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, 6, F(CTRL_MAC_ADDR)},
		{NET_CTRL_VLAN, NET_CTRL_VLAN_ADD, 2, F(CTRL_VLAN)},
		{NET_CTRL_VLAN, NET_CTRL_VLAN_DEL, 2, F(CTRL_VLAN)},
		{NET_CTRL_ANNOUNCE, NET_CTRL_ANNOUNCE_ACK, 0, F(GUEST_ANNOUNCE)},
		{NET_CTRL_MQ, NET_CTRL_MQ_VQ_PAIRS_SET, 2, F(MQ)},
	};
	const uint8_t data[8] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest_config config = {.features = CONTROL & ~rows[i].feature, .mac = own_mac};
		struct guest g;

		guest_start(&g, &config);
		assert_int_equal(command(&g, rows[i].class, rows[i].command, data, rows[i].bytes), NET_ERR);
		guest_stop(&g);
	}
}

/* What lies in a ring of this number is not for us: a front end that has more pairs than we are has its frames there. */
static void control_queue_that_was_not_agreed_on_is_not_served(void **state)
{
	const struct guest_config config = {.features = V1 | F(MQ), .pairs = 2};
	uint8_t *buffer, before[64];
	struct iovec iov;
	struct guest g;

	guest_start(&g, &config);
	buffer = guest_alloc(&g, sizeof(before));
	memset(buffer, 0xa5, sizeof(before));
	memcpy(before, buffer, sizeof(before));
	iov = (struct iovec){.iov_base = buffer, .iov_len = sizeof(before)};
	guest_add(&g, 4, &iov, 0, 1, buffer);
	guest_kick(&g, 4);
	guest_poll(&g);
	assert_int_equal(guest_used(&g, 4, NULL), -1);
	assert_memory_equal(buffer, before, sizeof(before));
	guest_stop(&g);
}

static void command_without_room_for_an_answer_breaks_the_device(void **state)
{
	struct iovec iov;
	struct guest g;

	control_start(&g);
	iov = (struct iovec){.iov_base = guest_alloc(&g, 3), .iov_len = 3};
	guest_add(&g, 2, &iov, 1, 0, NULL);
	guest_kick(&g, 2);
	guest_poll(&g);
	assert_true(g.at.broken);
	guest_stop(&g);
}

static void a_ring_full_of_commands_is_answered_in_order(void **state)
{
	uint8_t *acks[128];
	struct guest g;

	control_start(&g);
	for (unsigned i = 0; i < 128; i++) {
		uint8_t *p = guest_alloc(&g, 8);
		struct iovec iov[2] = {{.iov_base = p, .iov_len = 3}, {.iov_base = p + 4, .iov_len = 4}};

		memcpy(p, (uint8_t[]){NET_CTRL_RX, NET_CTRL_RX_PROMISC, (uint8_t)(i % 3)}, 3);
		p[4] = 0xee;
		acks[i] = p + 4;
		guest_add(&g, 2, iov, 1, 1, p);
	}
	guest_kick(&g, 2);
	guest_poll(&g);
	for (unsigned i = 0; i < 128; i++) {
		assert_int_equal(guest_used(&g, 2, NULL), 1);
		assert_int_equal(*acks[i], i % 3 == 2 ? NET_ERR : NET_OK);
	}
	guest_stop(&g);
}

/* ---- pairs ---- */

static void only_the_first_pair_is_used_until_the_driver_asks_for_more(void **state)
{
	const struct guest_config config = {
		.features = CONTROL | F(MQ), .pairs = 4, .queue_size = 64, .mac = own_mac, .ops = &ops};
	static const uint16_t wrong[] = {0, 5, 0xffff};
	uint8_t data[60] = {0x52};
	struct vireo_packet packet = {.data = data, .len_bytes = sizeof(data)};
	uint16_t pairs = 3;
	struct guest g;

	guest_start(&g, &config);
	for (unsigned pair = 0; pair < 4; pair++) {
		for (unsigned i = 0; i < 3; i++)
			guest_post(&g, pair, 100);
		guest_kick(&g, 2 * pair);
		vireo_net_enqueue_burst(g.net, pair, &packet, 1);
		assert_int_equal(guest_stats(&g, 2 * pair).frames, pair < 1);
		assert_int_equal(guest_stats(&g, 2 * pair).disabled, pair >= 1);
	}
	assert_int_equal(command(&g, NET_CTRL_MQ, NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, 2), NET_OK);
	assert_int_equal(pairs_told, 3);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(command(&g, NET_CTRL_MQ, NET_CTRL_MQ_VQ_PAIRS_SET, &wrong[i], 2), NET_ERR);
	for (unsigned pair = 0; pair < 4; pair++) {
		uint64_t before = guest_stats(&g, 2 * pair).frames;

		vireo_net_enqueue_burst(g.net, pair, &packet, 1);
		assert_int_equal(guest_stats(&g, 2 * pair).frames - before, pair < 3);
	}
	guest_stop(&g);
}

/* cloud-hypervisor tells us of all that its guest accepts, and of data queues only. */
static void control_queue_that_was_never_set_up_decides_nothing(void **state)
{
	const struct guest_config config = {
		.features = CONTROL | F(MQ), .pairs = 4, .queue_size = 64, .mac = own_mac, .ops = &ops, .keeps_control = true};
	uint8_t tagged[60] = {[0] = 0x52, [12] = 0x81, [15] = 7};
	struct vireo_packet packet = {.data = tagged, .len_bytes = sizeof(tagged)};
	struct guest g;

	pairs_told = 0;
	guest_start(&g, &config);
	assert_int_equal(device_queue_enable(g.at.device, 6, false), 0);
	for (unsigned pair = 0; pair < 4; pair++) {
		guest_post(&g, pair, 100);
		guest_kick(&g, 2 * pair);
		vireo_net_enqueue_burst(g.net, pair, &packet, 1);
		assert_int_equal(guest_stats(&g, 2 * pair).frames, pair < 3);
	}
	assert_int_equal(pairs_told, 0);
	guest_stop(&g);
}

/* QEMU answers the control queue itself and enables queues by message. */
static void all_pairs_are_used_when_the_front_end_keeps_the_control_queue(void **state)
{
	const struct guest_config config = {.features = V1 | F(MQ), .pairs = 2};
	uint8_t data[60] = {0x52};
	struct vireo_packet packet = {.data = data, .len_bytes = sizeof(data)};
	struct guest g;

	guest_start(&g, &config);
	guest_post(&g, 1, 100);
	guest_kick(&g, 2);
	assert_int_equal(vireo_net_enqueue_burst(g.net, 1, &packet, 1), 1);
	assert_int_equal(guest_stats(&g, 2).frames, 1);
	guest_stop(&g);
}

/* ---- announcements ---- */

static uint16_t config_status(struct guest *g)
{
	uint16_t status;

	assert_int_equal(device_config_read(g->at.device, 6, &status, 2), 0);
	return status;
}

static void announce_stays_until_the_driver_acknowledges_it(void **state)
{
	struct guest g;

	control_start(&g);
	assert_int_equal(config_status(&g), NET_S_LINK_UP);
	assert_int_equal(vireo_net_announce(g.net), 0);
	assert_int_equal(config_status(&g), NET_S_LINK_UP | NET_S_ANNOUNCE);
	assert_int_equal(g.at.config_changes, 1);
	assert_int_equal(vireo_net_link_set(g.net, false), 0);
	assert_int_equal(config_status(&g), NET_S_ANNOUNCE);
	assert_int_equal(command(&g, NET_CTRL_ANNOUNCE, NET_CTRL_ANNOUNCE_ACK, "", 0), NET_OK);
	assert_int_equal(config_status(&g), 0);
	guest_stop(&g);
}

/* ---- the filter, while it changes ---- */

static void *filter_search(void *opaque)
{
	const struct net_filter *filter = opaque;
	uint8_t head[18] = {0x02, 0, 0, 0, 0, 1};
	uintptr_t lost = 0;

	for (unsigned i = 0; i < 300000; i++)
		lost += !net_filter_passes(filter, head);
	return (void *)lost;
}

static void frame_that_old_and_new_filter_want_is_never_lost(void **state)
{
	struct net_filter filter = {0};
	struct net_filter_table front = {.count = 64}, back = {.count = 64}, none = {0};
	const uint8_t wanted[6] = {0x02, 0, 0, 0, 0, 1};
	pthread_t reader;
	void *lost;

	net_filter_reset(&filter, own_mac);
	front.entries[0] = back.entries[63] = net_filter_mac(wanted);
	net_filter_tables_set(&filter, &front, &none);
	net_filter_mode_set(&filter, NET_FILTER_PROMISCUOUS, false);
	assert_true(net_filter_passes(&filter, (const uint8_t[18]){0x02, 0, 0, 0, 0, 1}));
	assert_false(net_filter_passes(&filter, (const uint8_t[18]){0x02, 0, 0, 0, 0, 2}));
	assert_int_equal(pthread_create(&reader, NULL, filter_search, &filter), 0);
	for (unsigned i = 0; i < 20000; i++)
		net_filter_tables_set(&filter, i & 1 ? &front : &back, &none);
	assert_int_equal(pthread_join(reader, &lost), 0);
	assert_null(lost);
}

/* ---- offloads, while they change ---- */

#define BUFFERS	     64u
#define BUFFER_BYTES 256u

/* A worker that delivers, and the guest's own thread for its receive queue in one. */
struct deliverer {
	struct guest *g;
	bool done;
	uint64_t came, wrong;
	unsigned seen; /* bits: a request for a checksum has come, one to cut, a mark that it is right, the same without */
};

static struct vireo_frame_offload offload_at(unsigned number)
{
	static const struct vireo_frame_offload offloads[] = {
		{.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16},
		{.flags = VIREO_FRAME_NEEDS_CSUM, .gso = VIREO_GSO_TCP4, .segment_bytes = 100, .csum_start = 34, .csum_offset = 16},
		{.flags = VIREO_FRAME_DATA_VALID},
	};

	return offloads[number % ARRAY_SIZE(offloads)];
}

/* What has come is one of the three as it was sent, or the mark alone is gone. */
static void header_judge(struct deliverer *d, const struct virtio_net_header *header)
{
	d->came++;
	if (header->flags == NET_HDR_F_NEEDS_CSUM && le16toh(header->csum_start) == 34 && le16toh(header->csum_offset) == 16 &&
	    (!header->gso_type || le16toh(header->gso_size) == 100))
		d->seen |= header->gso_type ? 2 : 1;
	else if (!header->gso_type && !header->csum_start && (!header->flags || header->flags == NET_HDR_F_DATA_VALID))
		d->seen |= header->flags ? 4 : 8;
	else
		d->wrong++;
}

static void deliver_three(struct deliverer *d)
{
	struct virtio_net_header header;
	uint8_t data[200] = {0};
	struct iovec iov = {data, sizeof(data)};
	struct vireo_frame frames[3], *list[3];
	void *buffer;

	for (unsigned i = 0; i < 3; i++) {
		frames[i] = (struct vireo_frame){.iov = &iov, .iov_count = 1, .len_bytes = sizeof(data), .offload = offload_at(i)};
		list[i] = &frames[i];
	}
	vireo_net_receive_deliver(d->g->net, 0, list, 3);
	vireo_net_receive_flush(d->g->net, 0);
	while (guest_used(d->g, 0, &buffer) >= 0) {
		struct iovec again = {.iov_base = buffer, .iov_len = BUFFER_BYTES};

		memcpy(&header, buffer, sizeof(header));
		header_judge(d, &header);
		guest_add(d->g, 0, &again, 0, 1, buffer);
	}
	guest_kick(d->g, 0);
}

static void *deliver_on(void *opaque)
{
	struct deliverer *d = opaque;

	while (!__atomic_load_n(&d->done, __ATOMIC_ACQUIRE))
		deliver_three(d);
	return NULL;
}

/* Until the worker has had its time with what was said last. */
static void delivered_some(const struct guest *g)
{
	struct vireo_net_queue_stats stats = {.size = sizeof(stats)};
	uint64_t until = 0, end_ns = clock_now_ns() + UINT64_C(20000000000);

	do {
		vireo_net_queue_stats(g->net, 0, &stats);
		until = until ? until : stats.frames + stats.offload_refused + 6;
		assert_true(clock_now_ns() < end_ns); /* 20 s */
		sched_yield();
	} while (stats.frames + stats.offload_refused < until);
}

/* Each frame goes by what was said before or by what is said now: none comes with half of a request, none is lost uncounted. */
static void worker_delivers_while_the_driver_gives_up_and_takes_again(void **state)
{
	static const uint64_t said[] = {F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_USO4), 0, F(GUEST_CSUM), F(GUEST_TSO4)};
	struct deliverer d = {0};
	pthread_t thread;
	struct guest g;

	segments_start(&g, SEGMENTS);
	d.g = &g;
	for (unsigned i = 0; i < BUFFERS; i++)
		guest_post(&g, 0, BUFFER_BYTES);
	guest_kick(&g, 0);
	assert_int_equal(pthread_create(&thread, NULL, deliver_on, &d), 0);
	for (unsigned i = 0; i < 400; i++) {
		assert_int_equal(offloads_wanted(&g, said[i % ARRAY_SIZE(said)]), NET_OK);
		delivered_some(&g);
	}
	__atomic_store_n(&d.done, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(d.wrong, 0);
	assert_int_equal(d.seen, 15);
	assert_int_equal(d.came, guest_stats(&g, 0).frames);
	assert_true(guest_stats(&g, 0).offload_refused > 0 && !guest_stats(&g, 0).no_buffer);
	assert_takes(&g, VIREO_OFFLOAD_TSO4); /* what was said last */
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_is_promiscuous_until_told_otherwise_and_again_after_reset),
		cmocka_unit_test(rx_modes_do_what_the_specification_says),
		cmocka_unit_test(suppression_holds_against_all),
		cmocka_unit_test(addresses_in_the_tables_pass),
		cmocka_unit_test(table_that_overflows_lets_its_class_pass),
		cmocka_unit_test(table_that_lies_about_its_length_changes_nothing),
		cmocka_unit_test(address_set_shows_in_config_space_and_filter),
		cmocka_unit_test(without_a_known_address_unicast_passes),
		cmocka_unit_test(tagged_frames_pass_only_for_vlans_that_were_added),
		cmocka_unit_test(vlan_beyond_4095_is_refused),
		cmocka_unit_test(command_split_over_any_number_of_descriptors_is_taken),
		cmocka_unit_test(command_of_the_wrong_size_is_refused),
		cmocka_unit_test(unknown_command_is_refused),
		cmocka_unit_test(command_without_its_feature_is_refused),
		cmocka_unit_test(control_queue_that_was_not_agreed_on_is_not_served),
		cmocka_unit_test(command_without_room_for_an_answer_breaks_the_device),
		cmocka_unit_test(a_ring_full_of_commands_is_answered_in_order),
		cmocka_unit_test(only_the_first_pair_is_used_until_the_driver_asks_for_more),
		cmocka_unit_test(control_queue_that_was_never_set_up_decides_nothing),
		cmocka_unit_test(all_pairs_are_used_when_the_front_end_keeps_the_control_queue),
		cmocka_unit_test(announce_stays_until_the_driver_acknowledges_it),
		cmocka_unit_test(frame_that_old_and_new_filter_want_is_never_lost),
		cmocka_unit_test(worker_delivers_while_the_driver_gives_up_and_takes_again),
		cmocka_unit_test(what_the_driver_gives_up_is_refused_until_it_takes_it_again),
		cmocka_unit_test(offloads_that_were_not_agreed_on_are_refused_as_a_whole),
		cmocka_unit_test(what_was_given_up_holds_until_a_reset),
		cmocka_unit_test(an_application_that_does_not_listen_offers_no_such_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
