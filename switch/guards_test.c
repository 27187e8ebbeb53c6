/* SPDX-License-Identifier: BSD-3-Clause */

/* Guards in a switch: what is refused reaches nobody and is counted, and what passes is what was looked at. */

#include "switch/fake_switch.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define GUARDED 3u /* the port */

static const struct sw_guard ten = {.addresses = {{4, 32, {10, 0, 0, 5}}}, .address_count = 1};

static void add_guarded(struct fixture *x, struct sw_port_config config)
{
	add_port_with(x, GUARDED, 1, &config);
}

static void send_ipv4(struct fixture *x, uint8_t last, unsigned bytes)
{
	uint8_t *frame = calloc(1, bytes);

	assert_non_null(frame);
	memset(frame, 0xff, 6);
	mac_of(frame + 6, GUARDED, 0);
	frame[12] = 8;
	frame[14] = 0x45;
	memcpy(frame + 26, (uint8_t[]){10, 0, 0, last}, 4);
	for (unsigned i = 34; i < bytes; i++)
		frame[i] = (uint8_t)(i * 7);
	fake_port_send(x->fake[GUARDED], 0, frame, bytes, NULL);
	free(frame);
}

static void refused_frames_reach_nobody_and_are_counted(void **state)
{
	struct fixture *x = *state;

	add_guarded(x, (struct sw_port_config){.guard = ten});
	for (unsigned i = 0; i < 100; i++)
		send_ipv4(x, i % 3 ? 6 : 5, 64);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 34);
	assert_int_equal(fake_port_got(x->fake[1]), 34);
	assert_int_equal(stats_of(x, GUARDED).rx_spoofed_ip, 66);
}

/* Of any length: only the first bytes are looked at, and copied. */
static void what_passes_is_whole(void **state)
{
	static const unsigned lengths[] = {38, 64, 127, 128, 129, 130, 600, 1514, 9000, 65549};
	struct fixture *x = *state;

	add_guarded(x, (struct sw_port_config){.guard = ten});
	for (unsigned i = 0; i < 10; i++)
		send_ipv4(x, 5, lengths[i]);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 10);
	for (unsigned i = 0; i < 10; i++) {
		const struct fake_frame *frame = x->fake[0]->got.frames[x->fake[0]->got.first + i];

		assert_int_equal(frame->bytes, lengths[i]);
		for (unsigned at = 34; at < lengths[i]; at++)
			assert_int_equal(frame->data[at], (uint8_t)(at * 7));
	}
}

static void send_asking_for_a_checksum(struct fixture *x, uint16_t start, uint16_t offset)
{
	const struct vireo_frame_offload offload = {.flags = VIREO_FRAME_NEEDS_CSUM, .csum_start = start, .csum_offset = offset};
	uint8_t frame[64] = {[12] = 8, [14] = 0x45, [23] = 6, [26] = 10, [29] = 5};

	memset(frame, 0xff, 6);
	mac_of(frame + 6, GUARDED, 0);
	fake_port_send(x->fake[GUARDED], 0, frame, sizeof(frame), &offload);
}

/* The switch fills it in for a receiver that cannot: into the addresses, if that were allowed. */
static void a_checksum_does_not_go_where_was_looked(void **state)
{
	static const uint16_t lies[][2] = {{0, 28}, {14, 14}, {28, 0}, {0, 10}, {0, 12}, {14, 19}};
	struct fixture *x = *state;

	add_guarded(x, (struct sw_port_config){.guard = ten});
	for (unsigned i = 0; i < 6; i++)
		send_asking_for_a_checksum(x, lies[i][0], lies[i][1]);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 0);
	assert_int_equal(stats_of(x, GUARDED).rx_unreadable, 6);
	send_asking_for_a_checksum(x, 34, 16);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	assert_int_equal(stats_of(x, GUARDED).rx_unreadable, 6);
}

static void a_guard_can_be_changed_under_traffic(void **state)
{
	struct fixture *x = *state;
	struct sw_guard none = {0}, many = {.address_count = SW_GUARD_ADDRESSES_MAX + 1};

	add_guarded(x, (struct sw_port_config){0});
	send_ipv4(x, 6, 64);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	assert_int_equal(sw_port_guard_set(x->port[GUARDED], &ten), 0);
	send_ipv4(x, 6, 64);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
	assert_int_equal(sw_port_guard_set(x->port[GUARDED], &many), -EINVAL);
	assert_int_equal(sw_port_guard_set(x->port[GUARDED], &none), 0);
	send_ipv4(x, 6, 64);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[0]), 2);
}

static void the_first_address_is_locked_to_its_port(void **state)
{
	struct fixture *x = *state;
	uint8_t first[6], second[6];

	add_guarded(x, (struct sw_port_config){.lock_address = true});
	mac_of(first, GUARDED, 0);
	mac_of(second, GUARDED, 1);
	send_raw(x, GUARDED, broadcast, first, 0);
	send_raw(x, GUARDED, broadcast, second, 0);
	send_raw(x, GUARDED, broadcast, first, 0);
	settle(x); /* a round may be between the two ports just now: whom it asks first has the address */
	send_raw(x, 0, broadcast, first, 0); /* nor may another have it */
	settle(x);
	assert_int_equal(fake_port_got(x->fake[1]), 2);
	assert_int_equal(stats_of(x, GUARDED).rx_spoofed, 1);
	assert_int_equal(stats_of(x, 0).rx_spoofed, 1);
	sw_fdb_flush(x->sw, NULL);
	send_raw(x, GUARDED, broadcast, second, 0);
	settle(x);
	assert_int_equal(stats_of(x, GUARDED).rx_spoofed, 2);
}

static void an_address_of_another_ports_own_cannot_be_locked(void **state)
{
	struct fixture *x = *state;
	uint8_t fixed[1][6], own[6];
	struct sw_port_config owner = {.addresses = (const uint8_t (*)[6])fixed, .address_count = 1};

	mac_of(fixed[0], 4, 0);
	mac_of(own, GUARDED, 0);
	add_port_with(x, 4, 1, &owner);
	add_guarded(x, (struct sw_port_config){.lock_address = true});
	send_raw(x, GUARDED, broadcast, fixed[0], 0);
	settle(x);
	assert_int_equal(stats_of(x, GUARDED).rx_spoofed, 1);
	send_raw(x, GUARDED, broadcast, own, 0);
	settle(x);
	assert_int_equal(stats_of(x, GUARDED).rx_spoofed, 1);
	assert_int_equal(fake_port_got(x->fake[0]), 1);
}

static uint64_t fixed_entries(const struct fixture *x)
{
	struct sw_fdb_stats stats;

	sw_fdb_stats(x->sw, &stats);
	return stats.fixed;
}

/* An operator has held it in one of the port's VLANs, where it need not be fixed then, and lets it go. */
static void a_locked_address_that_was_held_is_fixed_again(void **state)
{
	static const uint64_t tagged[SW_VLAN_SET_WORDS] = {1u << 20};
	struct fixture *x = *state;
	uint8_t frame[64] = {[12] = 0x81, [15] = 20, [16] = 0x88, [17] = 0xb5}, mac[6];

	add_guarded(x, (struct sw_port_config){.lock_address = true, .vlan_aware = true, .vlan = 10, .tagged = tagged});
	mac_of(mac, GUARDED, 0);
	assert_int_equal(sw_fdb_hold(x->port[GUARDED], 20, mac), 0);
	send_raw(x, GUARDED, broadcast, mac, 0);
	settle(x);
	assert_int_equal(fixed_entries(x), 2);
	assert_int_equal(sw_fdb_let_go(x->sw, 20, mac), 0);
	assert_int_equal(fixed_entries(x), 1);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	fake_port_send(x->fake[GUARDED], 0, frame, sizeof(frame), NULL);
	settle(x);
	assert_int_equal(fixed_entries(x), 2);
	assert_int_equal(stats_of(x, GUARDED).rx_spoofed, 0);
}

/* In another process: nobody takes it before the port has said anything here. */
static void an_address_that_was_locked_elsewhere_is_locked(void **state)
{
	struct sw_port_config locks = {.lock_address = true};
	struct fixture *x = *state;
	uint8_t own[6], other[6], mac[6];
	bool everywhere = false;

	add_guarded(x, locks);
	add_port_with(x, 4, 1, &locks);
	mac_of(own, GUARDED, 0);
	mac_of(other, GUARDED, 1);
	send_raw(x, 0, broadcast, own, 0);
	settle(x);
	assert_false(sw_port_locked(x->port[GUARDED], mac, &everywhere));
	assert_int_equal(sw_port_locked_set(x->port[GUARDED], broadcast), -EINVAL);
	assert_int_equal(sw_port_locked_set(x->port[GUARDED], (const uint8_t[6]){0}), -EINVAL);
	assert_int_equal(sw_port_locked_set(x->port[0], own), -EINVAL); /* which learns */
	assert_int_equal(sw_port_locked_set(x->port[GUARDED], own), 0);
	assert_int_equal(sw_port_locked_set(x->port[GUARDED], own), 0);
	assert_int_equal(sw_port_locked_set(x->port[GUARDED], other), -EINVAL);
	assert_true(sw_port_locked(x->port[GUARDED], mac, &everywhere));
	assert_memory_equal(mac, own, 6);
	assert_true(everywhere);
	send_raw(x, 0, broadcast, own, 0);
	send_raw(x, GUARDED, broadcast, other, 0);
	send_raw(x, GUARDED, broadcast, own, 0);
	settle(x);
	assert_int_equal(stats_of(x, 0).rx_spoofed, 1);
	assert_int_equal(stats_of(x, GUARDED).rx_spoofed, 1);
	assert_int_equal(fake_port_got(x->fake[1]), 2);
	assert_int_equal(fixed_entries(x), 1);
}

/* As it may be since an entry was held and let go. */
static void an_address_that_two_have_locked_is_that_of_the_first(void **state)
{
	static const uint64_t tagged[SW_VLAN_SET_WORDS] = {1u << 20};
	struct fixture *x = *state;
	uint8_t own[6], mac[6];
	bool everywhere = true;

	add_guarded(x, (struct sw_port_config){.lock_address = true, .vlan_aware = true, .vlan = 10, .tagged = tagged});
	add_port_with(x, 4, 1, &(struct sw_port_config){.lock_address = true, .vlan_aware = true, .vlan = 20});
	mac_of(own, GUARDED, 0);
	assert_int_equal(sw_port_locked_set(x->port[4], own), 0);
	assert_int_equal(sw_port_locked_set(x->port[GUARDED], own), 0);
	assert_true(sw_port_locked(x->port[GUARDED], mac, &everywhere));
	assert_false(everywhere);
	assert_true(sw_port_locked(x->port[4], mac, &everywhere));
	assert_true(everywhere);
	assert_int_equal(fixed_entries(x), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(refused_frames_reach_nobody_and_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(what_passes_is_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(a_checksum_does_not_go_where_was_looked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guard_can_be_changed_under_traffic, setup, teardown),
		cmocka_unit_test_setup_teardown(the_first_address_is_locked_to_its_port, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_of_another_ports_own_cannot_be_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_locked_address_that_was_held_is_fixed_again, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_that_was_locked_elsewhere_is_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_that_two_have_locked_is_that_of_the_first, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
