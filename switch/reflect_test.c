/* SPDX-License-Identifier: BSD-3-Clause */

/* Guests that are kept apart, uplinks, and what a bridge behind them sends back. The test is that bridge. */

#include "base/util.h"
#include "switch/fake_switch.h"
#include "switch/headers.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define UPLINK 3u
#define A      4u
#define B      5u
#define C      6u
#define OPEN   0u /* ports 0 to 2 are as ever */
#define FRAME_BYTES 64u
#define MANY   200u

static void add_uplink(struct fixture *x, unsigned p)
{
	struct sw_port_config config = {.uplink = true};

	add_port_with(x, p, 1, &config);
}

static void add_guest(struct fixture *x, unsigned p, enum sw_vm2vm vm2vm)
{
	struct sw_port_config config = {.vm2vm = vm2vm};

	add_port_with(x, p, 1, &config);
}

/* An uplink, and two guests whose frames it is to see. */
static void add_relayed(struct fixture *x)
{
	add_uplink(x, UPLINK);
	add_guest(x, A, SW_VM2VM_HARDWARE);
	add_guest(x, B, SW_VM2VM_HARDWARE);
}

static void send_as(struct fixture *x, unsigned port, unsigned to, unsigned from, unsigned number)
{
	uint8_t target[6], source[6];

	mac_of(target, to, 0);
	mac_of(source, from, 0);
	send_raw(x, port, target, source, number);
}

static void say_all(struct fixture *x, unsigned port, unsigned from)
{
	uint8_t source[6];

	mac_of(source, from, 0);
	send_raw(x, port, broadcast, source, 0);
	settle(x);
}

/* What the uplink has got comes back by it. Returns how many. */
static unsigned come_back(struct fixture *x)
{
	struct fake_list *got = &x->fake[UPLINK]->got;
	unsigned count = got->end - got->first;

	for (unsigned i = got->first; i < got->end; i++)
		fake_port_send(x->fake[UPLINK], 0, got->frames[i]->data, got->frames[i]->bytes, NULL);
	fake_port_forget(x->fake[UPLINK]);
	settle(x);
	return count;
}

static void expect_got(struct fixture *x, unsigned uplink, unsigned a, unsigned b, unsigned open)
{
	settle(x);
	assert_int_equal(fake_port_got(x->fake[UPLINK]), uplink);
	assert_int_equal(fake_port_got(x->fake[A]), a);
	assert_int_equal(fake_port_got(x->fake[B]), b);
	for (unsigned p = OPEN; p < UPLINK; p++)
		assert_true(fake_port_got(x->fake[p]) == open || p == OPEN);
}

struct owner {
	uint8_t mac[6];
	const char *port;
};

static void owner_visit(void *opaque, const struct sw_fdb_entry *entry)
{
	struct owner *owner = opaque;

	if (!memcmp(entry->mac, owner->mac, 6))
		owner->port = entry->port;
}

static void expect_owner(struct fixture *x, unsigned of, unsigned port)
{
	struct owner owner = {.port = NULL};

	mac_of(owner.mac, of, 0);
	sw_fdb_each(x->sw, owner_visit, &owner);
	assert_non_null(owner.port);
	assert_string_equal(owner.port, sw_port_name(x->port[port]));
}

static void frames_of_a_relayed_guest_go_to_the_uplink_only(void **state)
{
	struct fixture *x = *state;

	add_relayed(x);
	say_all(x, A, A);
	expect_got(x, 1, 0, 0, 0);
	say_all(x, B, B);
	expect_got(x, 2, 0, 0, 0);
	send_as(x, A, B, A, 1); /* known by now */
	expect_got(x, 3, 0, 0, 0);
	send_as(x, A, 8, A, 2); /* nobody's */
	expect_got(x, 4, 0, 0, 0);
	assert_int_equal(stats_of(x, A).rx_isolated + stats_of(x, A).rx_hairpin, 0);
}

static void what_comes_back_goes_to_its_receiver(void **state)
{
	struct fixture *x = *state;

	add_relayed(x);
	say_all(x, B, B);
	come_back(x);
	fake_port_forget(x->fake[A]);
	for (unsigned i = 0; i < MANY; i++)
		send_as(x, A, B, A, i);
	settle(x);
	assert_int_equal(come_back(x), MANY);
	expect_got(x, 0, 0, MANY, 1);
	for (unsigned i = 0; i < MANY; i++)
		assert_memory_equal(x->fake[B]->got.frames[i]->data + 14, &i, sizeof(i));
	assert_int_equal(stats_of(x, UPLINK).rx_reflected, MANY + 1);
}

/* It is no stranger a second later, and so what it sends then is no lie. */
static void who_is_silent_while_frames_come_back_is_still_their_sender(void **state)
{
	struct fixture *x = *state;

	add_relayed(x);
	say_all(x, B, B);
	for (unsigned i = 0; i < 4; i++) {
		send_as(x, UPLINK, B, A, i); /* a stranger's: A has said nothing yet */
		settle(x);
	}
	expect_owner(x, A, UPLINK);
	sw_fdb_flush(x->sw, NULL);
	say_all(x, A, A);
	for (unsigned i = 0; i < 4; i++) {
		send_as(x, UPLINK, B, A, i);
		settle(x);
		nanosleep(&(struct timespec){.tv_nsec = 600000000}, NULL); /* seconds change meanwhile */
	}
	assert_int_equal(stats_of(x, UPLINK).rx_reflected, 4);
	expect_owner(x, A, A);
	send_as(x, A, B, A, 4);
	settle(x);
	assert_int_equal(stats_of(x, A).rx_spoofed, 0);
}

static void what_comes_back_does_not_go_to_its_sender(void **state)
{
	struct fixture *x = *state;

	add_relayed(x);
	add_guest(x, C, SW_VM2VM_HARDWARE);
	say_all(x, A, A);
	assert_int_equal(come_back(x), 1);
	expect_got(x, 0, 0, 1, 1);
	assert_int_equal(fake_port_got(x->fake[C]), 1);
	expect_owner(x, A, A);
	send_as(x, UPLINK, A, A, 1); /* to the sender itself */
	settle(x);
	assert_int_equal(fake_port_got(x->fake[A]), 0);
	assert_int_equal(stats_of(x, UPLINK).rx_hairpin, 1);
}

static void strangers_reach_relayed_guests_by_the_uplink(void **state)
{
	struct fixture *x = *state;

	add_relayed(x);
	say_all(x, A, A);
	fake_port_forget(x->fake[UPLINK]);
	say_all(x, UPLINK, 8);
	expect_got(x, 0, 1, 1, 1);
	expect_owner(x, 8, UPLINK);
	send_as(x, UPLINK, A, 8, 1);
	expect_got(x, 0, 2, 1, 1);
	send_as(x, A, 8, A, 1);
	expect_got(x, 1, 2, 1, 1);
	assert_int_equal(stats_of(x, UPLINK).rx_reflected, 0);
}

/* An open guest's frames for all go to open guests at once; by the bridge only those get them that have not got them. */
static void each_gets_what_an_open_guest_sends_once(void **state)
{
	struct fixture *x = *state;

	add_relayed(x);
	say_all(x, OPEN, OPEN);
	expect_got(x, 1, 0, 0, 1);
	assert_int_equal(come_back(x), 1);
	expect_got(x, 0, 1, 1, 1);
	assert_int_equal(fake_port_got(x->fake[OPEN]), 0);
	expect_owner(x, OPEN, OPEN);
	say_all(x, A, A);
	assert_int_equal(come_back(x), 1);
	expect_got(x, 0, 1, 2, 2);
	fake_port_forget(x->fake[OPEN]);
	send_as(x, A, OPEN, A, 1); /* one to the other, by the bridge */
	expect_got(x, 1, 1, 2, 2);
	assert_int_equal(fake_port_got(x->fake[OPEN]), 0);
	come_back(x);
	assert_int_equal(fake_port_got(x->fake[OPEN]), 1);
	send_as(x, OPEN, A, OPEN, 1);
	expect_got(x, 1, 1, 2, 2);
	come_back(x);
	expect_got(x, 0, 2, 2, 2);
}

static void guests_that_are_off_hear_of_uplinks_only(void **state)
{
	struct fixture *x = *state;

	add_uplink(x, UPLINK);
	add_guest(x, A, SW_VM2VM_OFF);
	add_guest(x, B, SW_VM2VM_OFF);
	say_all(x, A, A);
	say_all(x, B, B);
	expect_got(x, 2, 0, 0, 0);
	send_as(x, A, B, A, 1);
	send_as(x, A, OPEN, A, 2); /* unknown: for the uplink */
	expect_got(x, 3, 0, 0, 0);
	assert_int_equal(stats_of(x, A).rx_isolated, 1);
	say_all(x, OPEN, OPEN);
	expect_got(x, 4, 0, 0, 1);
	send_as(x, OPEN, A, OPEN, 3);
	expect_got(x, 4, 0, 0, 1);
	assert_int_equal(stats_of(x, OPEN).rx_isolated, 1);
	say_all(x, UPLINK, 8);
	expect_got(x, 4, 1, 1, 2);
	send_as(x, UPLINK, A, 8, 4);
	expect_got(x, 4, 2, 1, 2);
}

/* Whatever the bridge sends back, and whatever a guest says that it is. */
static void guests_that_are_off_do_not_meet_by_the_bridge(void **state)
{
	struct fixture *x = *state;

	add_uplink(x, UPLINK);
	add_guest(x, A, SW_VM2VM_OFF);
	add_guest(x, B, SW_VM2VM_OFF);
	say_all(x, B, B);
	say_all(x, A, A);
	assert_int_equal(come_back(x), 2);
	send_as(x, UPLINK, B, A, 1);
	send_as(x, UPLINK, OPEN, A, 2);
	settle(x);
	expect_got(x, 0, 0, 0, 0);
	assert_int_equal(fake_port_got(x->fake[OPEN]), 0);
	assert_int_equal(stats_of(x, UPLINK).rx_isolated, 1);
	assert_int_equal(stats_of(x, UPLINK).rx_reflected, 4);
	expect_owner(x, A, A);
	say_all(x, A, B); /* it takes the other's address, */
	expect_owner(x, B, A);
	come_back(x);
	send_as(x, A, A, B, 3); /* and sends to its own */
	settle(x);
	expect_got(x, 0, 0, 0, 0);
}

static void uplinks_do_not_hear_of_each_other(void **state)
{
	struct fixture *x = *state;

	add_uplink(x, UPLINK);
	add_uplink(x, A);
	add_guest(x, B, SW_VM2VM_SOFTWARE);
	say_all(x, UPLINK, 8);
	expect_got(x, 0, 0, 1, 1);
	say_all(x, A, 7);
	expect_got(x, 0, 0, 2, 2);
	send_as(x, A, 8, 7, 1);
	expect_got(x, 0, 0, 2, 2);
	assert_int_equal(stats_of(x, A).rx_isolated, 1);
	say_all(x, B, B);
	expect_got(x, 1, 1, 2, 3);
	assert_int_equal(stats_of(x, UPLINK).rx_no_destination, 0);
}

static void guards_take_what_comes_back_for_no_lie(void **state)
{
	struct fixture *x = *state;
	uint8_t own[1][6];
	struct sw_port_config config = {
		.vm2vm = SW_VM2VM_HARDWARE, .addresses = (const uint8_t (*)[6])own, .address_count = 1};

	mac_of(own[0], C, 0);
	add_relayed(x);
	add_port_with(x, C, 1, &config);
	say_all(x, C, C);
	assert_int_equal(come_back(x), 1);
	expect_got(x, 0, 1, 1, 1);
	assert_int_equal(stats_of(x, UPLINK).rx_spoofed, 0);
	send_as(x, A, B, C, 1); /* the lie */
	expect_got(x, 0, 1, 1, 1);
	assert_int_equal(stats_of(x, A).rx_spoofed, 1);
}

/* It may go on elsewhere, and say so from there: only who takes frames here keeps its address. */
static void a_guest_that_has_gone_is_learned_at_the_uplink(void **state)
{
	struct fixture *x = *state;

	add_relayed(x);
	say_all(x, A, A);
	sw_queue_remove(x->port[A], true, 0, on_gone, x);
	wait_gone(x, 1);
	fake_port_forget(x->fake[UPLINK]);
	say_all(x, UPLINK, A);
	expect_owner(x, A, UPLINK);
	expect_got(x, 0, 0, 1, 1);
	assert_int_equal(stats_of(x, UPLINK).rx_reflected, 0);
}

/* Or its frames would be taken for the guest's, and kept from others. On a machine that stands still for seconds the stranger speaks again. */
static void a_guest_does_not_take_a_strangers_address(void **state)
{
	struct fixture *x = *state;
	unsigned got;

	add_uplink(x, UPLINK);
	add_guest(x, A, SW_VM2VM_OFF);
	add_guest(x, B, SW_VM2VM_OFF);
	for (unsigned i = 0; i < 100 && !stats_of(x, A).rx_spoofed; i++) {
		say_all(x, UPLINK, 8);
		say_all(x, A, 8);
	}
	assert_int_equal(stats_of(x, A).rx_spoofed, 1);
	expect_owner(x, 8, UPLINK);
	got = fake_port_got(x->fake[B]);
	say_all(x, UPLINK, 8);
	assert_int_equal(fake_port_got(x->fake[B]), got + 1);
}

/* Without a relayed guest an uplink is a port like others: an address may move there. */
static void open_guests_addresses_move_to_an_uplink(void **state)
{
	struct fixture *x = *state;

	add_uplink(x, UPLINK);
	say_all(x, OPEN, OPEN);
	say_all(x, UPLINK, OPEN);
	expect_owner(x, OPEN, UPLINK);
	assert_int_equal(fake_port_got(x->fake[OPEN]), 1);
}

static void senders_in_one_burst_keep_their_order(void **state)
{
	struct fixture *x = *state;
	unsigned last[2] = {0}, of[2] = {0};

	add_relayed(x);
	add_guest(x, C, SW_VM2VM_HARDWARE);
	for (unsigned p = A; p <= C; p++)
		say_all(x, p, p);
	fake_port_forget(x->fake[UPLINK]);
	for (unsigned i = 1; i <= MANY; i++)
		send_as(x, UPLINK, C, i % 3 == 0 ? A : i % 3 == 1 ? 8 : B, i);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[C]), MANY);
	for (unsigned i = 0; i < MANY; i++) {
		const uint8_t *data = x->fake[C]->got.frames[i]->data;
		unsigned number, who;

		memcpy(&number, data + 14, sizeof(number));
		who = data[9] == A ? 0 : 1;
		if (data[9] == 8)
			continue;
		assert_true(number > last[who]);
		last[who] = number;
		of[who]++;
	}
	assert_int_equal(of[0] + of[1], stats_of(x, UPLINK).rx_reflected);
	assert_int_equal(of[0], MANY / 3);
}

/* A VLAN for each guest, towards a trunk: what comes back lies in the VLAN that its tag says. */
static void relayed_guests_are_tagged_each_with_its_own_vlan(void **state)
{
	struct fixture *x = *state;
	uint64_t tagged[SW_VLAN_SET_WORDS] = {0};
	struct sw_port_config uplink = {.uplink = true, .vlan_aware = true, .tagged = tagged};
	uint8_t frame[FRAME_BYTES + 4] = {0}, source[6];

	tagged[1000 / 64] |= 1ull << 1000 % 64;
	tagged[1001 / 64] |= 1ull << 1001 % 64;
	add_port_with(x, UPLINK, 1, &uplink);
	for (unsigned p = A; p <= C; p++) {
		struct sw_port_config config = {
			.vm2vm = SW_VM2VM_HARDWARE, .vlan_aware = true, .vlan = (uint16_t)(p == C ? 1001 : 1000)};

		add_port_with(x, p, 1, &config);
	}
	say_all(x, A, A);
	say_all(x, C, C);
	expect_got(x, 2, 0, 0, 0);
	assert_int_equal(load_be16(x->fake[UPLINK]->got.frames[0]->data + 14), 1000);
	assert_int_equal(load_be16(x->fake[UPLINK]->got.frames[1]->data + 14), 1001);
	come_back(x);
	expect_got(x, 0, 0, 1, 0);
	assert_int_equal(x->fake[B]->got.frames[0]->bytes, FRAME_BYTES);
	assert_int_equal(fake_port_got(x->fake[C]), 0);
	mac_of(source, A, 0); /* a router has brought it into the other VLAN as it was: there its sender is a stranger */
	memcpy(frame, broadcast, 6);
	memcpy(frame + 6, source, 6);
	store_be16(frame + 12, 0x8100);
	store_be16(frame + 14, 1001);
	fake_port_send(x->fake[UPLINK], 0, frame, sizeof(frame), NULL);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[C]), 1);
	assert_int_equal(stats_of(x, UPLINK).rx_reflected, 2);
}

static void without_an_uplink_a_relayed_guest_is_alone(void **state)
{
	struct fixture *x = *state;

	add_guest(x, A, SW_VM2VM_HARDWARE);
	add_guest(x, B, SW_VM2VM_HARDWARE);
	say_all(x, B, B);
	say_all(x, A, A);
	send_as(x, A, B, A, 1);
	settle(x);
	assert_int_equal(fake_port_got(x->fake[B]) + fake_port_got(x->fake[A]) + fake_port_got(x->fake[OPEN]), 0);
	assert_int_equal(stats_of(x, A).rx_no_destination, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(frames_of_a_relayed_guest_go_to_the_uplink_only, setup, teardown),
		cmocka_unit_test_setup_teardown(what_comes_back_goes_to_its_receiver, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_silent_while_frames_come_back_is_still_their_sender, setup, teardown),
		cmocka_unit_test_setup_teardown(what_comes_back_does_not_go_to_its_sender, setup, teardown),
		cmocka_unit_test_setup_teardown(strangers_reach_relayed_guests_by_the_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(each_gets_what_an_open_guest_sends_once, setup, teardown),
		cmocka_unit_test_setup_teardown(guests_that_are_off_hear_of_uplinks_only, setup, teardown),
		cmocka_unit_test_setup_teardown(guests_that_are_off_do_not_meet_by_the_bridge, setup, teardown),
		cmocka_unit_test_setup_teardown(uplinks_do_not_hear_of_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(guards_take_what_comes_back_for_no_lie, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_has_gone_is_learned_at_the_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_does_not_take_a_strangers_address, setup, teardown),
		cmocka_unit_test_setup_teardown(open_guests_addresses_move_to_an_uplink, setup, teardown),
		cmocka_unit_test_setup_teardown(senders_in_one_burst_keep_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(relayed_guests_are_tagged_each_with_its_own_vlan, setup, teardown),
		cmocka_unit_test_setup_teardown(without_an_uplink_a_relayed_guest_is_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
