/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Notifications coalescing (virtio 1.3, 5.1.6.5.8): what the driver says, and what becomes of its signals. Where a test wants nothing to happen, the
 * time that a signal may be held is longer than any test runs.
 */

#include "base/clock.h"
#include "device/device.h"
#include "model/net/net_test_guest.h"
#include <string.h>
#include <time.h>

#define COALESCE (V1 | F(CTRL_VQ) | F(NOTF_COAL) | F(VQ_NOTF_COAL))
#define EVER UINT32_MAX /* microseconds */
#define PACKED VIREO_FEATURE(VIREO_F_RING_PACKED_BIT)
#define EVENTS VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT)

static const uint64_t rings[] = {0, EVENTS, PACKED, PACKED | EVENTS, VIREO_FEATURE(VIREO_F_IN_ORDER_BIT) | EVENTS,
				 PACKED | VIREO_FEATURE(VIREO_F_IN_ORDER_BIT)};

static unsigned told, told_held;
static bool last_told;

static void signals_set(void *opaque, bool held)
{
	last_told = held;
	told++;
	told_held += held;
}

static const struct vireo_net_ops ops = {.size = sizeof(ops), .signals_set = signals_set};

static void start_with(struct guest *g, uint64_t features, unsigned pairs, unsigned queue_size)
{
	const struct guest_config config = {.features = features, .pairs = pairs, .queue_size = queue_size, .ops = &ops};

	told = told_held = 0;
	guest_start(g, &config);
}

/* ---- commands ---- */

struct asked {
	uint8_t ack;
	uint32_t words[2];
};

/* A command with room for `room` bytes behind it; the answer is the last of what the device says that it has written. */
static struct asked ask(struct guest *g, uint8_t number, const void *data, size_t bytes, size_t room)
{
	unsigned queue = g->at.queue_count - 1;
	uint8_t *p = guest_alloc(g, 2 + bytes), *answer = guest_alloc(g, 32);
	struct iovec iov[2] = {{p, 2 + bytes}, {answer, room}};
	struct asked asked = {0xee, {0, 0}};
	int written;

	p[0] = NET_CTRL_NOTF_COAL;
	p[1] = number;
	memcpy(p + 2, data, bytes);
	memset(answer, 0xa5, 32);
	guest_add(g, queue, iov, 1, 1, p);
	guest_kick(g, queue);
	guest_poll(g);
	written = guest_used(g, queue, NULL);
	assert_true(written == 1 || written == 9);
	asked.ack = answer[written - 1];
	if (written == 9)
		memcpy(asked.words, answer, sizeof(asked.words));
	assert_int_equal(answer[written], 0xa5);
	return asked;
}

static uint8_t set_all(struct guest *g, bool transmit, uint32_t max_packets, uint32_t max_us)
{
	const uint32_t words[2] = {max_packets, max_us};

	return ask(g, transmit ? NET_CTRL_NOTF_COAL_TX_SET : NET_CTRL_NOTF_COAL_RX_SET, words, sizeof(words), 1).ack;
}

static uint8_t set_one(struct guest *g, uint16_t queue, uint32_t max_packets, uint32_t max_us)
{
	const uint32_t words[3] = {queue | 0xbeef0000u, max_packets, max_us}; /* the upper half is reserved, and not looked at */

	return ask(g, NET_CTRL_NOTF_COAL_VQ_SET, words, sizeof(words), 1).ack;
}

static struct asked get_one(struct guest *g, uint16_t queue)
{
	const uint16_t data[2] = {queue, 0xbeef};

	return ask(g, NET_CTRL_NOTF_COAL_VQ_GET, data, sizeof(data), 9);
}

static void assert_limits(struct guest *g, uint16_t queue, uint32_t max_packets, uint32_t max_us)
{
	struct asked asked = get_one(g, queue);

	assert_int_equal(asked.ack, NET_OK);
	assert_int_equal(asked.words[0], max_packets);
	assert_int_equal(asked.words[1], max_us);
}

/* ---- frames ---- */

static uint64_t signals(struct guest *g, unsigned queue)
{
	return vireo_queue_signals(vireo_device_queue(g->at.device, queue));
}

static void receive(struct guest *g, unsigned pair, unsigned count)
{
	uint8_t data[60] = {0x52};
	struct vireo_packet packets[64];

	for (unsigned i = 0; i < count; i++) {
		guest_post(g, pair, 100);
		packets[i] = (struct vireo_packet){.data = data, .len_bytes = sizeof(data)};
	}
	guest_kick(g, 2 * pair);
	assert_int_equal(vireo_net_enqueue_burst(g->net, pair, packets, count), count);
}

static void transmit(struct guest *g, unsigned pair, unsigned count)
{
	struct vireo_frame frames[64];
	uint8_t frame[60];

	frame_fill(frame, sizeof(frame), 1);
	for (unsigned i = 0; i < count; i++)
		guest_send_frame(g, pair, NULL, frame, sizeof(frame), true);
	guest_kick(g, 2 * pair + 1);
	assert_int_equal(vireo_net_transmit_look(g->net, pair, frames, 64), count);
	vireo_net_transmit_complete(g->net, pair);
}

static void carry(struct guest *g, unsigned queue, unsigned count)
{
	if (queue & 1)
		transmit(g, queue / 2, count);
	else
		receive(g, queue / 2, count);
}

static unsigned take_all(struct guest *g, unsigned queue)
{
	unsigned count = 0;

	while (guest_used(g, queue, NULL) >= 0)
		count++;
	return count;
}

/* The driver has been told of the ring's beginning, whatever its event says. */
static void begin(struct guest *g, unsigned queue)
{
	carry(g, queue, 1);
	vireo_net_signal_now(g->net, queue);
	assert_int_equal(take_all(g, queue), 1);
}

/* ---- when the driver is told ---- */

static void one_signal_tells_of_so_many_packets(void **state)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(rings); i++) {
		unsigned queue = i & 1;
		uint64_t before;
		struct guest g;

		start_with(&g, COALESCE | rings[i / 2], 1, 0);
		assert_int_equal(set_all(&g, queue, 8, EVER), NET_OK);
		assert_int_equal(told_held, 2);
		begin(&g, queue);
		for (unsigned lap = 0; lap < 40; lap++) {
			before = signals(&g, queue);
			carry(&g, queue, 3);
			carry(&g, queue, 4);
			assert_int_equal(signals(&g, queue), before);
			assert_true(vireo_net_signal_look(g.net, queue) > clock_now_ns());
			assert_int_equal(signals(&g, queue), before);
			carry(&g, queue, 1 + lap % 5);
			assert_int_equal(signals(&g, queue), before + 1);
			assert_int_equal(vireo_net_signal_look(g.net, queue), 0);
			assert_int_equal(take_all(&g, queue), 8 + lap % 5);
		}
		guest_stop(&g);
	}
}

static void one_signal_comes_when_the_time_is_over(void **state)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(rings); i++) {
		unsigned queue = i & 1;
		uint64_t before, asked_ns, due_ns;
		struct guest g;

		start_with(&g, COALESCE | rings[i / 2], 1, 0);
		begin(&g, queue);
		assert_int_equal(set_all(&g, queue, 1000, 3000), NET_OK);
		before = signals(&g, queue);
		asked_ns = clock_now_ns();
		carry(&g, queue, 2);
		due_ns = vireo_net_signal_look(g.net, queue);
		if (due_ns) { /* else the machine has taken all the time there was */
			assert_true(due_ns >= asked_ns + 3000000 && due_ns <= clock_now_ns() + 3000000);
			while (clock_now_ns() < due_ns)
				nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
		}
		assert_int_equal(vireo_net_signal_look(g.net, queue), 0);
		assert_int_equal(signals(&g, queue), before + 1);
		assert_int_equal(take_all(&g, queue), 2);
		guest_stop(&g);
	}
}

static void a_flush_behind_the_time_signals_by_itself(void **state)
{
	uint64_t before;
	struct guest g;

	start_with(&g, COALESCE, 1, 0);
	begin(&g, 0);
	assert_int_equal(set_all(&g, false, 1000, 1), NET_OK);
	before = signals(&g, 0);
	carry(&g, 0, 1);
	nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
	carry(&g, 0, 1);
	assert_true(signals(&g, 0) >= before + 1);
	guest_stop(&g);
}

static void with_0_of_either_each_burst_is_told(void **state)
{
	static const uint32_t none[][2] = {{0, EVER}, {64, 0}, {0, 0}};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(none); i++) {
		uint64_t before;
		struct guest g;

		start_with(&g, COALESCE | (i & 1 ? PACKED : 0), 1, 0);
		assert_int_equal(set_all(&g, false, none[i / 2][0], none[i / 2][1]), NET_OK);
		assert_int_equal(told_held, 0);
		before = signals(&g, 0);
		carry(&g, 0, 1);
		carry(&g, 0, 1);
		assert_int_equal(signals(&g, 0), before + 2);
		guest_stop(&g);
	}
}

/* What the driver says of its events when the time has come counts, not what it said when frames came. */
static void a_driver_that_does_not_want_signals_gets_none(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		struct vireo_driver_ring *ring;
		uint64_t before;
		struct guest g;

		start_with(&g, COALESCE | rings[i], 1, 0);
		begin(&g, 0);
		ring = g.at.queues[0].ring;
		assert_int_equal(set_all(&g, false, 4, EVER), NET_OK);
		before = signals(&g, 0);
		carry(&g, 0, 2);
		vireo_driver_ring_signal_enable(ring, false);
		carry(&g, 0, 2);
		assert_int_equal(signals(&g, 0), before);
		assert_int_equal(vireo_net_signal_look(g.net, 0), 0);
		assert_true(vireo_driver_ring_signal_enable(ring, true)); /* it finds them by itself */
		assert_int_equal(take_all(&g, 0), 4);
		vireo_driver_ring_signal_enable(ring, false);
		carry(&g, 0, 3);
		assert_int_equal(take_all(&g, 0), 3); /* it polls */
		assert_false(vireo_driver_ring_signal_enable(ring, true));
		carry(&g, 0, 1);
		assert_int_equal(signals(&g, 0), before + 1);
		assert_int_equal(take_all(&g, 0), 1);
		guest_stop(&g);
	}
}

/* With EVENT_IDX a driver that has found all there was, and waits for the next, is not told of what it has found. */
static void a_driver_that_has_looked_meanwhile_is_not_woken(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		uint64_t before;
		struct guest g;

		start_with(&g, COALESCE | EVENTS | (packed ? PACKED : 0), 1, 0);
		begin(&g, 0);
		assert_int_equal(set_all(&g, false, 100, EVER), NET_OK);
		before = signals(&g, 0);
		for (unsigned lap = 0; lap < 10; lap++) {
			carry(&g, 0, 9);
			assert_int_equal(take_all(&g, 0), 9);
			assert_false(vireo_driver_ring_signal_enable(g.at.queues[0].ring, true));
		}
		vireo_net_signal_now(g.net, 0);
		assert_int_equal(signals(&g, 0), before);
		carry(&g, 0, 1);
		vireo_net_signal_now(g.net, 0);
		assert_int_equal(signals(&g, 0), before + 1);
		guest_stop(&g);
	}
}

static void a_ring_that_is_full_is_told_of(void **state)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(rings); i++) {
		unsigned queue = i & 1;
		uint64_t before;
		struct guest g;

		start_with(&g, COALESCE | rings[i / 2], 1, 32);
		begin(&g, queue);
		assert_int_equal(set_all(&g, queue, UINT32_MAX, EVER), NET_OK);
		before = signals(&g, queue);
		carry(&g, queue, 31);
		assert_int_equal(signals(&g, queue), before);
		carry(&g, queue, 1);
		assert_int_equal(signals(&g, queue), before + 1);
		guest_stop(&g);
	}
}

/* A frame in three buffers is one packet. */
static void packets_are_counted_not_buffers(void **state)
{
	uint8_t data[250] = {0x52};
	struct vireo_packet packet = {.data = data, .len_bytes = sizeof(data)};
	struct guest g;

	start_with(&g, COALESCE | F(MRG_RXBUF), 1, 0);
	begin(&g, 0);
	assert_int_equal(set_all(&g, false, 4, EVER), NET_OK);
	for (unsigned frame = 0; frame < 4; frame++) {
		uint64_t before = signals(&g, 0);

		for (unsigned i = 0; i < 3; i++)
			guest_post(&g, 0, 100);
		guest_kick(&g, 0);
		assert_int_equal(vireo_net_enqueue_burst(g.net, 0, &packet, 1), 1);
		assert_int_equal(signals(&g, 0), before + (frame == 3));
	}
	guest_stop(&g);
}

static void nobody_waits_for_what_brings_no_frame(void **state)
{
	struct vireo_frame frames[4];
	uint64_t before;
	struct guest g;

	start_with(&g, COALESCE, 1, 0);
	begin(&g, 0);
	begin(&g, 1);
	assert_int_equal(set_all(&g, true, 100, EVER), NET_OK);
	assert_int_equal(set_all(&g, false, 100, EVER), NET_OK);
	before = signals(&g, 1);
	guest_send(&g, 1, "runt", 4, NULL, 0);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, frames, 4), 0);
	assert_int_equal(signals(&g, 1), before + 1);
	assert_int_equal(device_queue_enable(g.at.device, 1, false), 0);
	guest_send(&g, 1, "lost", 4, NULL, 0);
	guest_kick(&g, 1);
	assert_int_equal(vireo_net_transmit_look(g.net, 0, frames, 4), 0);
	assert_int_equal(signals(&g, 1), before + 2);
	assert_int_equal(vireo_net_signal_look(g.net, 1), 0);
	guest_stop(&g);
}

/* ---- limits that change, queues that stop ---- */

static void what_is_held_is_looked_at_by_new_limits(void **state)
{
	uint64_t before;
	struct guest g;

	start_with(&g, COALESCE, 1, 0);
	begin(&g, 1);
	assert_int_equal(set_all(&g, true, 15, EVER), NET_OK);
	before = signals(&g, 1);
	carry(&g, 1, 10);
	assert_int_equal(set_all(&g, true, 11, EVER), NET_OK);
	assert_true(vireo_net_signal_look(g.net, 1) > 0);
	assert_int_equal(told_held, 4); /* each change is told of before and behind it */
	assert_int_equal(set_all(&g, true, 8, EVER), NET_OK);
	assert_int_equal(vireo_net_signal_look(g.net, 1), 0);
	assert_int_equal(signals(&g, 1), before + 1);
	carry(&g, 1, 2);
	assert_int_equal(set_all(&g, true, 0, 0), NET_OK);
	assert_int_equal(told, 7);
	assert_int_equal(vireo_net_signal_look(g.net, 1), 0);
	assert_int_equal(signals(&g, 1), before + 2);
	guest_stop(&g);
}

/* Whoever goes on with the queue, if anybody does: nothing is owed to the driver. */
static void a_queue_that_stops_has_signalled(void **state)
{
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(rings); i++) {
		unsigned queue = i & 1;
		uint64_t before;
		struct guest g;

		start_with(&g, COALESCE | rings[i / 2], 1, 0);
		begin(&g, queue);
		assert_int_equal(set_all(&g, queue, 20, EVER), NET_OK);
		before = signals(&g, queue);
		carry(&g, queue, 5);
		assert_int_equal(signals(&g, queue), before);
		guest_quiesce(&g);
		assert_int_equal(signals(&g, queue), before + 1);
		guest_resume(&g); /* which signals once, in case that one was lost */
		assert_int_equal(signals(&g, queue), before + 2);
		assert_limits(&g, (uint16_t)queue, 20, EVER);
		carry(&g, queue, 5);
		assert_int_equal(signals(&g, queue), before + 2);
		guest_stop(&g);
	}
}

static void queue_set_up_anew(struct guest *g, unsigned queue)
{
	uint32_t base;

	guest_quiesce(g);
	assert_int_equal(device_queue_stop(g->at.device, queue, &base), 0);
	guest_resume(g);
	assert_int_equal(get_one(g, (uint16_t)queue).ack, NET_ERR);
	assert_int_equal(set_one(g, (uint16_t)queue, 1, 1), NET_ERR);
	guest_quiesce(g);
	memset(g->at.queues[queue].device, 0, 4); /* where the driver begins again */
	memset(g->at.queues[queue].driver, 0, 4);
	test_guest_set_up(&g->at, queue, true);
	guest_resume(g);
}

/* 5.1.6.5.8.4: what was said of all queues of its direction, or nothing. */
static void a_queue_that_is_enabled_again_has_what_was_said_of_all(void **state)
{
	struct guest g;

	start_with(&g, COALESCE, 1, 0);
	begin(&g, 0);
	begin(&g, 1);
	assert_int_equal(set_one(&g, 0, 5, 50), NET_OK);
	assert_int_equal(set_all(&g, true, 7, 70), NET_OK);
	assert_int_equal(set_one(&g, 1, 9, 90), NET_OK);
	queue_set_up_anew(&g, 0);
	assert_limits(&g, 0, 0, 0);
	assert_limits(&g, 1, 9, 90);
	queue_set_up_anew(&g, 1);
	assert_limits(&g, 1, 7, 70);
	guest_stop(&g);
}

/* The example of the specification, with two pairs. */
static void the_last_command_holds_whichever_it_was(void **state)
{
	struct guest g;

	start_with(&g, COALESCE | F(MQ), 2, 64);
	assert_int_equal(set_all(&g, false, 1, 10), NET_OK);
	assert_limits(&g, 0, 1, 10);
	assert_limits(&g, 2, 1, 10);
	assert_limits(&g, 1, 0, 0);
	assert_int_equal(set_one(&g, 0, 2, 20), NET_OK);
	assert_limits(&g, 0, 2, 20);
	assert_limits(&g, 2, 1, 10);
	assert_int_equal(set_one(&g, 1, 4, 40), NET_OK);
	assert_limits(&g, 1, 4, 40);
	assert_limits(&g, 3, 0, 0);
	assert_int_equal(set_all(&g, true, 5, 50), NET_OK);
	assert_limits(&g, 1, 5, 50);
	assert_limits(&g, 3, 5, 50);
	assert_limits(&g, 0, 2, 20);
	guest_stop(&g);
}

static void a_reset_forgets_all(void **state)
{
	struct guest g;

	start_with(&g, COALESCE, 1, 0);
	assert_int_equal(set_all(&g, false, 5, 50), NET_OK);
	assert_int_equal(set_one(&g, 1, 6, 60), NET_OK);
	guest_quiesce(&g);
	device_reset(g.at.device);
	assert_int_equal(device_features_set(g.at.device, COALESCE), 0);
	for (unsigned i = 0; i < g.at.queue_count; i++) {
		memset(g.at.queues[i].device, 0, 4);
		memset(g.at.queues[i].driver, 0, 4);
	}
	guest_stop(&g);

	start_with(&g, COALESCE, 1, 0);
	assert_limits(&g, 0, 0, 0);
	assert_limits(&g, 1, 0, 0);
	guest_stop(&g);
}

/* ---- lies ---- */

static void what_cannot_be_is_refused(void **state)
{
	static const uint16_t no_data_queues[] = {2, 3, 4, 0x8000, 0xffff};
	uint8_t data[32] = {0};
	struct guest g;

	start_with(&g, COALESCE, 1, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(no_data_queues); i++) {
		assert_int_equal(set_one(&g, no_data_queues[i], 1, 1), NET_ERR);
		assert_int_equal(get_one(&g, no_data_queues[i]).ack, NET_ERR);
	}
	for (size_t bytes = 0; bytes < sizeof(data); bytes++) {
		assert_int_equal(ask(&g, NET_CTRL_NOTF_COAL_TX_SET, data, bytes, 1).ack, bytes == 8 ? NET_OK : NET_ERR);
		assert_int_equal(ask(&g, NET_CTRL_NOTF_COAL_RX_SET, data, bytes, 1).ack, bytes == 8 ? NET_OK : NET_ERR);
		assert_int_equal(ask(&g, NET_CTRL_NOTF_COAL_VQ_SET, data, bytes, 1).ack, bytes == 12 ? NET_OK : NET_ERR);
		assert_int_equal(ask(&g, NET_CTRL_NOTF_COAL_VQ_GET, data, bytes, 9).ack, bytes == 4 ? NET_OK : NET_ERR);
	}
	for (size_t room = 1; room < 9; room++) /* for an answer, and not for what it tells */
		assert_int_equal(ask(&g, NET_CTRL_NOTF_COAL_VQ_GET, data, 4, room).ack, NET_ERR);
	assert_int_equal(ask(&g, 4, data, 8, 1).ack, NET_ERR);
	assert_int_equal(told_held, 0);
	guest_stop(&g);
}

static void what_was_not_agreed_on_is_refused(void **state)
{
	const uint16_t queue[2] = {0};
	struct guest g;

	start_with(&g, COALESCE & ~F(NOTF_COAL), 1, 0);
	assert_int_equal(set_all(&g, false, 1, 1), NET_ERR);
	assert_int_equal(set_all(&g, true, 1, 1), NET_ERR);
	assert_int_equal(set_one(&g, 0, 1, 1), NET_OK);
	guest_stop(&g);

	start_with(&g, COALESCE & ~F(VQ_NOTF_COAL), 1, 0);
	assert_int_equal(set_one(&g, 0, 1, 1), NET_ERR);
	assert_int_equal(ask(&g, NET_CTRL_NOTF_COAL_VQ_GET, queue, sizeof(queue), 9).ack, NET_ERR);
	assert_int_equal(set_all(&g, false, 1, 1), NET_OK);
	guest_stop(&g);
}

static void an_application_that_does_not_look_offers_neither(void **state)
{
	const struct guest_config config = {.features = V1 | F(CTRL_VQ)};
	struct guest g;

	guest_start(&g, &config);
	assert_false(device_features_offered(g.at.device) & (F(NOTF_COAL) | F(VQ_NOTF_COAL)));
	guest_stop(&g);
}

/* ---- to another device ---- */

static int state_between(struct guest *from, struct guest *to, uint8_t *state, size_t room)
{
	const char *why;
	int bytes;

	guest_quiesce(from);
	bytes = device_state_save(from->at.device, state, room);
	assert_true(bytes > 0);
	guest_quiesce(to);
	assert_int_equal(device_state_load(to->at.device, state, (size_t)bytes, &why), 0);
	guest_resume(to);
	return bytes;
}

/* Its rings begin there where another device has left them, for all that it knows. */
static void what_was_said_goes_along_to_another_device(void **state)
{
	uint8_t bytes[8192];
	struct guest a, b;

	start_with(&a, COALESCE | F(MQ), 2, 64);
	assert_int_equal(set_all(&a, false, 5, 50), NET_OK);
	assert_int_equal(set_one(&a, 0, 6, 60), NET_OK);
	assert_int_equal(set_one(&a, 3, 9, EVER), NET_OK);
	start_with(&b, COALESCE | F(MQ), 2, 64);
	assert_true(device_state_bytes_max(a.at.device) <= sizeof(bytes));
	state_between(&a, &b, bytes, sizeof(bytes));
	assert_int_equal(told_held, 2);
	assert_limits(&b, 0, 6, 60);
	assert_limits(&b, 1, 0, 0);
	assert_limits(&b, 2, 5, 50);
	assert_limits(&b, 3, 9, EVER);
	begin(&b, 0);
	queue_set_up_anew(&b, 0);
	assert_limits(&b, 0, 5, 50);
	guest_stop(&a);
	guest_stop(&b);
}

/* Of all queues that there were none did, whatever had been said of all. Then one is set up anew. */
static void the_first_queue_that_holds_again_is_told_of_before_it_runs(void **state)
{
	for (unsigned elsewhere = 0; elsewhere < 2; elsewhere++) {
		uint8_t bytes[8192];
		struct guest both[2], *a = &both[0], *b = &both[1], *g = &both[elsewhere];

		start_with(a, COALESCE, 1, 0);
		assert_int_equal(set_all(a, false, 5, EVER), NET_OK);
		assert_int_equal(set_one(a, 0, 0, 0), NET_OK);
		assert_false(last_told);
		if (elsewhere) {
			start_with(b, COALESCE, 1, 0);
			state_between(a, b, bytes, sizeof(bytes));
			assert_int_equal(told_held, 0);
		}
		begin(g, 0);
		queue_set_up_anew(g, 0);
		assert_true(last_told);
		assert_limits(g, 0, 5, EVER);
		carry(g, 0, 1);
		assert_true(vireo_net_signal_look(g->net, 0) > 0);
		guest_stop(a);
		if (elsewhere)
			guest_stop(b);
	}
}

static void a_state_that_lies_of_it_is_refused(void **state)
{
	uint8_t bytes[8192], lie[8192];
	const char *why;
	struct guest a, b;
	int all;

	start_with(&a, COALESCE, 1, 0);
	assert_int_equal(set_one(&a, 1, 6, 60), NET_OK);
	start_with(&b, COALESCE, 1, 0);
	all = state_between(&a, &b, bytes, sizeof(bytes));
	guest_quiesce(&b);
	for (uint32_t count = 0; count < 8; count++) { /* 4 bytes, then those of all, then of 2 queues */
		memcpy(lie, bytes, (size_t)all);
		lie[all - 4 * 8 - 4] = (uint8_t)count;
		assert_int_equal(device_state_load(b.at.device, lie, (size_t)all, &why), count == 2 ? 0 : -22);
	}
	for (int cut = 1; cut <= 36; cut++) {
		uint32_t says = (uint32_t)(all - 24 - cut);

		memcpy(lie, bytes, (size_t)all);
		memcpy(lie + 16, &says, sizeof(says));
		assert_int_equal(device_state_load(b.at.device, lie, (size_t)(all - cut), &why), -22);
	}
	guest_resume(&b);
	assert_limits(&b, 1, 6, 60);
	guest_stop(&a);
	guest_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_signal_tells_of_so_many_packets),
		cmocka_unit_test(one_signal_comes_when_the_time_is_over),
		cmocka_unit_test(a_flush_behind_the_time_signals_by_itself),
		cmocka_unit_test(with_0_of_either_each_burst_is_told),
		cmocka_unit_test(a_driver_that_does_not_want_signals_gets_none),
		cmocka_unit_test(a_driver_that_has_looked_meanwhile_is_not_woken),
		cmocka_unit_test(a_ring_that_is_full_is_told_of),
		cmocka_unit_test(packets_are_counted_not_buffers),
		cmocka_unit_test(nobody_waits_for_what_brings_no_frame),
		cmocka_unit_test(what_is_held_is_looked_at_by_new_limits),
		cmocka_unit_test(a_queue_that_stops_has_signalled),
		cmocka_unit_test(a_queue_that_is_enabled_again_has_what_was_said_of_all),
		cmocka_unit_test(the_last_command_holds_whichever_it_was),
		cmocka_unit_test(a_reset_forgets_all),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(what_was_not_agreed_on_is_refused),
		cmocka_unit_test(an_application_that_does_not_look_offers_neither),
		cmocka_unit_test(what_was_said_goes_along_to_another_device),
		cmocka_unit_test(the_first_queue_that_holds_again_is_told_of_before_it_runs),
		cmocka_unit_test(a_state_that_lies_of_it_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
