/* SPDX-License-Identifier: BSD-3-Clause */

/* What a driver has said on the control queue goes with it to another device. */

#include "base/fd.h"
#include "device/device.h"
#include "model/net/net_test_guest.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HEADER_BYTES 24u /* device/state.c's */
#define STATE_ROOM (HEADER_BYTES + NET_STATE_BYTES_MAX)
#define FEATURES                                                                                                      \
	(V1 | F(CTRL_VQ) | F(CTRL_RX) | F(CTRL_RX_EXTRA) | F(CTRL_VLAN) | F(CTRL_MAC_ADDR) | F(MAC) | F(STATUS) | \
	 F(GUEST_ANNOUNCE) | F(MQ))

static const uint8_t own_mac[6] = { 0x52, 0, 0, 0, 0, 1 }, new_mac[6] = { 0x52, 0, 0, 0, 0, 9 };
static unsigned pairs_told;

static void told_pairs(void *opaque, unsigned pairs)
{
	pairs_told = pairs;
}

static unsigned offloads_told;

static void told_offloads(void *opaque)
{
	offloads_told++;
}

static const struct vireo_net_ops ops = { .size = sizeof(ops), .pairs_set = told_pairs, .offloads_set = told_offloads };

static void start(struct guest *g, uint64_t features)
{
	const struct guest_config config = {
		.features = features, .pairs = 4, .queue_size = 64, .mac = own_mac, .ops = &ops
	};

	guest_start(g, &config);
}

static void command(struct guest *g, uint8_t class, uint8_t number, const void *data, size_t bytes)
{
	uint8_t *p = guest_alloc(g, 2 + bytes), *ack = guest_alloc(g, 1);
	struct iovec iov[] = { { p, 2 + bytes }, { ack, 1 } };

	p[0] = class;
	p[1] = number;
	memcpy(p + 2, data, bytes);
	*ack = NET_ERR;
	guest_add(g, g->at.queue_count - 1, iov, 1, 1, p);
	guest_kick(g, g->at.queue_count - 1);
	guest_poll(g);
	assert_int_equal(guest_used(g, g->at.queue_count - 1, NULL), 1);
	assert_int_equal(*ack, NET_OK);
}

/* Of everything that there is to say, something. */
static void driver_says_it_all(struct guest *g)
{
	static const uint8_t tables[] = { 2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 1, 0, 0, 0, 3, 0, 0, 0, 0, 1 };

	command(g, NET_CTRL_RX, NET_CTRL_RX_PROMISC, "", 1);
	command(g, NET_CTRL_RX, NET_CTRL_RX_NOBCAST, "\1", 1);
	command(g, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, tables, sizeof(tables));
	command(g, NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, new_mac, 6);
	command(g, NET_CTRL_VLAN, NET_CTRL_VLAN_ADD, "\7\0", 2);
	command(g, NET_CTRL_VLAN, NET_CTRL_VLAN_ADD, "\xff\x0f", 2);
	command(g, NET_CTRL_MQ, NET_CTRL_MQ_VQ_PAIRS_SET, "\3\0", 2);
	assert_int_equal(vireo_net_announce(g->net), 0);
}

/* All rings are stopped, as by GET_VRING_BASE, and start again by a kick fd. */
static void suspend(struct guest *g)
{
	uint32_t base;

	guest_quiesce(g);
	for (uint32_t i = 0; i < g->at.queue_count; i++)
		assert_int_equal(device_queue_stop(g->at.device, i, &base), 0);
}

static void wake(struct guest *g)
{
	for (uint32_t i = 0; i < g->at.queue_count; i++)
		assert_int_equal(device_queue_kick_set(g->at.device, i, dup(g->at.queues[i].kick.fd)), 0);
	guest_resume(g);
	guest_poll(g);
}

static bool wants(struct guest *g, const uint8_t mac[6], int vlan)
{
	uint8_t head[18] = { 0 };

	memcpy(head, mac, 6);
	head[12] = vlan < 0 ? 0x08 : 0x81;
	head[14] = (uint8_t)(vlan < 0 ? 0 : vlan >> 8);
	head[15] = (uint8_t)vlan;
	return net_filter_passes(&g->net->filter, head);
}

static void assert_as_it_was_said(struct guest *g)
{
	uint8_t config[6];
	uint16_t status;

	assert_true(wants(g, new_mac, -1));
	assert_false(wants(g, own_mac, -1));
	assert_true(wants(g, (const uint8_t[]){ 2, 0, 0, 0, 0, 2 }, -1));
	assert_false(wants(g, (const uint8_t[]){ 2, 0, 0, 0, 0, 3 }, -1));
	assert_true(wants(g, (const uint8_t[]){ 3, 0, 0, 0, 0, 1 }, -1));
	assert_false(wants(g, (const uint8_t[]){ 3, 0, 0, 0, 0, 2 }, -1));
	assert_false(wants(g, (const uint8_t[]){ 255, 255, 255, 255, 255, 255 }, -1));
	assert_true(wants(g, new_mac, 7));
	assert_true(wants(g, new_mac, 4095));
	assert_false(wants(g, new_mac, 8));
	assert_int_equal(g->net->pairs_active, 3);
	assert_int_equal(device_config_read(g->at.device, 0, config, 6), 0);
	assert_memory_equal(config, new_mac, 6);
	assert_int_equal(device_config_read(g->at.device, 6, &status, 2), 0);
	assert_int_equal(status, NET_S_LINK_UP | NET_S_ANNOUNCE);
}

static void assert_initial(struct guest *g)
{
	assert_true(wants(g, (const uint8_t[]){ 2, 0, 0, 0, 0, 3 }, -1));
	assert_memory_equal(g->net->mac, own_mac, 6);
	assert_int_equal(g->net->status, NET_S_LINK_UP);
}

/* A device that has been told it all, suspended, and what it saves. */
static int saved(struct guest *g, uint8_t data[STATE_ROOM])
{
	int bytes;

	start(g, FEATURES);
	driver_says_it_all(g);
	assert_as_it_was_said(g);
	suspend(g);
	bytes = device_state_save(g->at.device, data, STATE_ROOM);
	assert_int_equal(bytes, HEADER_BYTES + 20 + 3 * 6 + 512);
	return bytes;
}

static void assert_loads(struct guest *g, const uint8_t *data, int bytes)
{
	const char *why = "";

	if (device_state_load(g->at.device, data, (size_t)bytes, &why))
		fail_msg("%s", why);
}

static void successor(struct guest *g, uint64_t features, const void *data, int bytes)
{
	start(g, features);
	suspend(g);
	assert_loads(g, data, bytes);
}

static void what_was_said_holds_on_the_next_device(void **state)
{
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = saved(&from, data);

	start(&to, FEATURES);
	suspend(&to);
	assert_initial(&to);
	pairs_told = 0;
	assert_loads(&to, data, bytes);
	assert_as_it_was_said(&to);
	assert_int_equal(device_features_set(to.at.device, FEATURES), 0); /* in this order, or the other */
	assert_as_it_was_said(&to);
	assert_int_equal(pairs_told, 3);
	wake(&to);
	assert_as_it_was_said(&to);
	command(&to, NET_CTRL_VLAN, NET_CTRL_VLAN_ADD, "\x08\0", 2); /* and the driver goes on from there */
	assert_true(wants(&to, new_mac, 8));
	assert_true(wants(&to, new_mac, 7));
	guest_stop(&to);
	guest_stop(&from);
}

static void device_that_saved_goes_on_if_nobody_else_does(void **state)
{
	uint8_t data[STATE_ROOM], again[STATE_ROOM];
	struct guest g;
	int bytes = saved(&g, data);

	assert_int_equal(device_features_set(g.at.device, FEATURES), 0);
	assert_as_it_was_said(&g);
	assert_int_equal(device_state_save(g.at.device, again, sizeof(again)), bytes);
	assert_memory_equal(data, again, (size_t)bytes);
	wake(&g);
	assert_as_it_was_said(&g);
	guest_stop(&g);
}

static void reset_forgets_what_was_loaded(void **state)
{
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = saved(&from, data);

	successor(&to, FEATURES, data, bytes);
	device_reset(to.at.device);
	assert_initial(&to);
	assert_int_equal(device_features_set(to.at.device, FEATURES), 0);
	assert_initial(&to);
	guest_stop(&to);
	guest_stop(&from);
}

static void what_the_driver_says_after_a_load_is_not_undone(void **state)
{
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = saved(&from, data);

	successor(&to, FEATURES, data, bytes);
	wake(&to);
	command(&to, NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, own_mac, 6);
	suspend(&to);
	assert_int_equal(device_features_set(to.at.device, FEATURES), 0);
	assert_memory_equal(to.net->mac, own_mac, 6);
	guest_stop(&to);
	guest_stop(&from);
}

/* A front end that keeps the control queue (QEMU) has said nothing here: nothing of it comes. */
static void device_without_a_control_queue_of_its_own_carries_nothing(void **state)
{
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes;

	start(&from, V1);
	suspend(&from);
	bytes = device_state_save(from.at.device, data, sizeof(data));
	successor(&to, V1, data, bytes);
	wake(&to);
	assert_initial(&to);
	assert_int_equal(to.net->pairs_active, 4);
	guest_stop(&to);
	guest_stop(&from);
}

/* It may come from anywhere: it gives no more than the control queue would. */
static void what_was_not_agreed_on_is_left_out(void **state)
{
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = saved(&from, data);

	successor(&to, V1 | F(CTRL_VQ) | F(STATUS) | F(MAC), data, bytes);
	assert_initial(&to);
	assert_int_equal(to.net->pairs_active, 4);
	assert_true(wants(&to, own_mac, 8));
	wake(&to);
	assert_initial(&to);
	guest_stop(&to);
	guest_stop(&from);
}

static void state_that_no_driver_could_have_made_is_refused(void **state)
{
	static const struct {
		unsigned at;
		uint8_t value;
		const char *why;
	} lies[] = {
		{ 0, 2, "its tables are not as long" },
		{ 0, 3, "how long signals are held back" },
		{ 0, 4, "its network part is of a version" },
		{ 1, 1, "its network part is of a version" },
		{ 2, 4, "it has flags" },
		{ 5, 2, "it has flags" },
		{ 6, 1, "the device's address is a group's" },
		{ 12, 0, "more queue pairs" },
		{ 12, 5, "more queue pairs" },
		{ 13, 0x80, "more queue pairs" },
		{ 14, 65, "an address table holds more" },
		{ 15, 0xff, "an address table holds more" },
		{ 16, 65, "an address table holds more" },
		{ 14, 1, "its tables are not as long" },
		{ 14, 3, "its tables are not as long" },
		{ 16, 64, "its tables are not as long" },
		{ 18, 0x80, "it has flags that are not known" },
		{ 19, 1, "it has flags that are not known" },
	};
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = saved(&from, data);
	const char *why;

	start(&to, FEATURES);
	suspend(&to);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint8_t lie[STATE_ROOM];

		memcpy(lie, data, (size_t)bytes);
		lie[HEADER_BYTES + lies[i].at] = lies[i].value;
		assert_int_equal(device_state_load(to.at.device, lie, (size_t)bytes, &why), -EINVAL);
		assert_non_null(strstr(why, lies[i].why));
		assert_initial(&to);
	}
	for (uint32_t inside = 0; inside < (uint32_t)bytes - HEADER_BYTES; inside++) { /* cut, and the header agrees */
		memcpy(data + 16, &inside, sizeof(inside));
		assert_int_equal(device_state_load(to.at.device, data, HEADER_BYTES + inside, &why), -EINVAL);
	}
	assert_initial(&to);
	guest_stop(&to);
	guest_stop(&from);
}

#define RSS_FEATURES (FEATURES | F(RSS) | F(HASH_REPORT))

/* Steers by two entries, to pairs 2 and 3; what has no hash goes to pair 1. */
static int rss_saved(struct guest *from, uint8_t data[STATE_ROOM])
{
	static const uint8_t rss[4 + 2 + 2 + 4 + 2 + 1 + 40] = { 0x3f, 0, 0, 0, 1, 0, 1, 0, 2, 0, 3, 0, 4, 0, 40, 0x6d, 0x5a, 0x56, 0xda };

	start(from, RSS_FEATURES);
	command(from, NET_CTRL_MQ, NET_CTRL_MQ_RSS_CONFIG, rss, sizeof(rss));
	suspend(from);
	return device_state_save(from->at.device, data, STATE_ROOM);
}

static void hashes_and_the_queues_that_they_choose_go_along(void **state)
{
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = rss_saved(&from, data);
	const struct net_rss_config *said = net_rss_said(from.net), *there;

	assert_int_equal(data[HEADER_BYTES], 2);
	successor(&to, RSS_FEATURES, data, bytes);
	there = net_rss_said(to.net);
	assert_non_null(there);
	assert_memory_equal(there, said, sizeof(*said));
	assert_int_equal(pairs_told, 4);
	wake(&to);
	assert_memory_equal(net_rss_said(to.net), said, sizeof(*said));
	guest_stop(&to);
	successor(&to, FEATURES | F(HASH_REPORT), data, bytes); /* without RSS nothing steers */
	assert_null(net_rss_said(to.net));
	guest_stop(&to);
	successor(&to, FEATURES, data, bytes);
	assert_null(net_rss_said(to.net));
	guest_stop(&to);
	guest_stop(&from);
}

static void hashes_that_no_driver_could_have_said_are_refused(void **state)
{
	static const struct {
		unsigned at;
		uint8_t value;
	} lies[] = { { 1, 2 }, { 3, 1 }, { 4, 2 }, { 4, 0xff }, { 5, 1 }, { 6, 4 }, { 7, 0x80 }, { 8, 0 }, { 8, 5 }, { 10, 41 }, { 10, 0 }, { 11, 2 },
		     { 52, 4 }, { 55, 0x80 } };
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = rss_saved(&from, data);
	const char *why;

	start(&to, RSS_FEATURES);
	suspend(&to);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint8_t lie[STATE_ROOM];

		memcpy(lie, data, (size_t)bytes);
		lie[(unsigned)bytes - NET_RSS_STATE_BYTES + lies[i].at] = lies[i].value;
		if (device_state_load(to.at.device, lie, (size_t)bytes, &why) != -EINVAL)
			fail_msg("byte %u: %u was taken", lies[i].at, lies[i].value);
		assert_non_null(strstr(why, "its hashes or the queues"));
		assert_null(net_rss_said(to.net));
	}
	guest_stop(&to);
	guest_stop(&from);
}

/* With bit 2, the driver takes what it does not want any more; without it, the device does as if it had never been said. */
static void offloads_that_the_driver_gave_up_go_along(void **state)
{
	const uint64_t takes = FEATURES | F(GUEST_CSUM) | F(GUEST_TSO4) | F(GUEST_TSO6), features = takes | F(CTRL_GUEST_OFFLOADS), wants_csum = F(GUEST_CSUM);
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes;

	start(&from, features);
	command(&from, NET_CTRL_GUEST_OFFLOADS, NET_CTRL_GUEST_OFFLOADS_SET, &wants_csum, 8);
	suspend(&from);
	bytes = device_state_save(from.at.device, data, sizeof(data));
	assert_int_equal(data[HEADER_BYTES], 1);
	assert_int_equal(data[HEADER_BYTES + 18], VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_TSO6);
	assert_int_equal(device_features_set(from.at.device, features), 0); /* it goes on by itself */
	assert_int_equal(vireo_net_offloads(from.net), VIREO_OFFLOAD_CSUM);

	start(&to, features);
	suspend(&to);
	offloads_told = 0;
	assert_loads(&to, data, bytes);
	assert_int_equal(vireo_net_offloads(to.net), VIREO_OFFLOAD_CSUM);
	assert_int_equal(device_features_set(to.at.device, features), 0);
	assert_int_equal(vireo_net_offloads(to.net), VIREO_OFFLOAD_CSUM);
	assert_int_equal(offloads_told, 2); /* loaded, and after the features */
	wake(&to);
	assert_int_equal(net_receive_queue(to.net, 0)->offloads, VIREO_OFFLOAD_CSUM);
	suspend(&to);
	device_reset(to.at.device);
	assert_int_equal(device_features_set(to.at.device, features), 0);
	assert_int_equal(vireo_net_offloads(to.net), VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_TSO6);
	guest_stop(&to);

	successor(&to, takes, data, bytes);
	assert_int_equal(vireo_net_offloads(to.net), VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_TSO6);
	guest_stop(&to);
	guest_stop(&from);
}

static void tables_that_are_full_or_more_travel_as_such(void **state)
{
	uint8_t data[STATE_ROOM], tables[8 + 6 * 70] = { 64 };
	struct guest from, to;
	int bytes;

	start(&from, FEATURES);
	command(&from, NET_CTRL_RX, NET_CTRL_RX_PROMISC, "", 1);
	for (unsigned i = 0; i < 64; i++)
		memcpy(tables + 4 + 6 * i, (const uint8_t[]){ 2, 0, 0, 0, 1, (uint8_t)i }, 6);
	command(&from, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, tables, 8 + 6 * 64);
	tables[0] = 0;
	tables[4] = 65; /* the second table: one more than is kept */
	suspend(&from);
	bytes = device_state_save(from.at.device, data, sizeof(data));
	successor(&to, FEATURES, data, bytes);
	assert_true(wants(&to, (const uint8_t[]){ 2, 0, 0, 0, 1, 63 }, -1));
	assert_false(wants(&to, (const uint8_t[]){ 3, 0, 0, 0, 0, 1 }, -1));
	wake(&from);
	memset(tables + 8, 3, 6 * 65);
	command(&from, NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, tables, 8 + 6 * 65);
	suspend(&from);
	bytes = device_state_save(from.at.device, data, sizeof(data));
	assert_loads(&to, data, bytes);
	assert_true(wants(&to, (const uint8_t[]){ 3, 0, 0, 0, 0, 1 }, -1)); /* all of that kind */
	assert_false(wants(&to, (const uint8_t[]){ 2, 0, 0, 0, 1, 63 }, -1));
	guest_stop(&to);
	guest_stop(&from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_said_holds_on_the_next_device),
		cmocka_unit_test(device_that_saved_goes_on_if_nobody_else_does),
		cmocka_unit_test(reset_forgets_what_was_loaded),
		cmocka_unit_test(what_the_driver_says_after_a_load_is_not_undone),
		cmocka_unit_test(device_without_a_control_queue_of_its_own_carries_nothing),
		cmocka_unit_test(what_was_not_agreed_on_is_left_out),
		cmocka_unit_test(state_that_no_driver_could_have_made_is_refused),
		cmocka_unit_test(hashes_and_the_queues_that_they_choose_go_along),
		cmocka_unit_test(hashes_that_no_driver_could_have_said_are_refused),
		cmocka_unit_test(offloads_that_the_driver_gave_up_go_along),
		cmocka_unit_test(tables_that_are_full_or_more_travel_as_such),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
