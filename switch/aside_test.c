/* SPDX-License-Identifier: BSD-3-Clause */

/* Ports that are served aside. A test that holds a fake port's lock makes whoever calls the port wait, as its memory might. */

#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"
#include "switch/aside.h"
#include "switch/fake_port.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "work/test_threads.h"
#include "work/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define PORTS 3u
#define WAITS 20000u

struct fixture {
	struct loop *loop;
	struct sw *sw;
	struct fake_port *fake[PORTS];
	struct sw_port *port[PORTS];
	unsigned gone;
};

static void wait_gone(struct fixture *x, unsigned count)
{
	for (unsigned i = 0; i < WAITS && x->gone < count; i++)
		fake_step(x->loop);
	assert_int_equal(x->gone, count);
}

static void wait_got(struct fixture *x, unsigned p, unsigned count)
{
	for (unsigned i = 0; i < WAITS && fake_port_got(x->fake[p]) < count; i++)
		fake_step(x->loop);
	assert_int_equal(fake_port_got(x->fake[p]), count);
}

static void wait_idle(struct fixture *x, unsigned p)
{
	for (unsigned i = 0; i < WAITS && !fake_port_idle(x->fake[p]); i++)
		fake_step(x->loop);
	assert_true(fake_port_idle(x->fake[p]));
}

/* Until nobody gets any further: they have no work, or wait for a port whose lock the test has. */
static void wait_rest(struct fixture *x)
{
	bool rest = others_rest();

	for (unsigned i = 0; i < WAITS && !rest; i++) {
		fake_step(x->loop);
		rest = others_rest();
	}
	assert_true(rest);
}

static void pass_grace(struct fixture *x)
{
	struct sw_port_config config = {.ops = &fake_port_ops, .name = "passing"};
	struct sw_port *port;
	unsigned before = x->gone;

	assert_int_equal(sw_port_new(x->sw, &config, &port), 0);
	sw_port_free(port, fake_gone, &x->gone);
	wait_gone(x, before + 1);
}

static void add_port(struct fixture *x, unsigned p, bool aside)
{
	char name[8] = {'p', (char)('0' + p)};
	struct sw_port_config config = {.ops = &fake_port_ops, .name = name, .aside = aside, .flood_copies = SW_FLOOD_ANY};

	x->fake[p] = fake_port_new(p != 2); /* one that has to be polled */
	config.opaque = x->fake[p];
	assert_int_equal(sw_port_new(x->sw, &config, &x->port[p]), 0);
	assert_int_equal(sw_queue_add(x->port[p], false, 0), 0);
	assert_int_equal(sw_queue_add(x->port[p], true, 0), 0);
	assert_int_equal(sw_port_aside(x->port[p]), aside);
}

static struct fixture *make(unsigned workers, bool aside)
{
	struct sw_config config = {.workers = workers};
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(loop_new(&x->loop), 0);
	assert_int_equal(sw_new(&config, x->loop, &x->sw), 0);
	add_port(x, 0, false);
	add_port(x, 1, aside);
	add_port(x, 2, false);
	pass_grace(x);
	return x;
}

static void remove_port(struct fixture *x, unsigned p)
{
	unsigned before = x->gone;

	sw_port_free(x->port[p], fake_gone, &x->gone);
	wait_gone(x, before + 1);
	fake_port_free(x->fake[p]);
	x->port[p] = NULL;
}

static void end(struct fixture *x)
{
	for (unsigned p = 0; p < PORTS; p++)
		if (x->port[p])
			remove_port(x, p);
	sw_free(x->sw);
	loop_free(x->loop);
	free(x);
}

static void send_number(struct fixture *x, unsigned from, unsigned to, unsigned number, uint32_t bytes)
{
	static const struct vireo_frame_offload tso4 = {.gso = VIREO_GSO_TCP4, .segment_bytes = 1000};
	uint8_t frame[2048] = {2, 0, 0, (uint8_t)to, 0, 0, 2, 0, 0, (uint8_t)from, 0, 0, 0x88, 0xb5};

	if (to == PORTS)
		memset(frame, 0xff, 6);
	memcpy(frame + 14, &number, sizeof(number));
	fake_port_send(x->fake[from], 0, frame, bytes, from == 1 && number % 3 == 2 ? &tso4 : NULL);
}

static void expect_numbers(struct fixture *x, unsigned p, unsigned count, unsigned number)
{
	struct fake_port *fake = x->fake[p];

	wait_got(x, p, count);
	for (unsigned i = 0; i < count; i++, number++) {
		const struct fake_frame *frame = fake->got.frames[fake->got.first + i];

		assert_memory_equal(frame->data + 14, &number, sizeof(number));
		assert_int_equal(frame->bytes, 60 + number % 1400);
	}
	fake_port_forget(fake);
}

static void learn_all(struct fixture *x)
{
	for (unsigned p = 0; p < PORTS; p++)
		send_number(x, p, PORTS, 0, 60);
	for (unsigned p = 0; p < PORTS; p++)
		wait_got(x, p, PORTS - 1);
	for (unsigned p = 0; p < PORTS; p++)
		fake_port_forget(x->fake[p]);
	sw_port_offloads_set(x->port[0], VIREO_OFFLOAD_TSO4);
}

static void frames_pass_both_ways_in_order(void **state)
{
	struct fixture *x = make(1, true);

	learn_all(x);
	for (unsigned round = 0, number = 0; round < 20; round++, number += 100) {
		for (unsigned i = 0; i < 100; i++) {
			send_number(x, 0, 1, number + i, 60 + (number + i) % 1400);
			send_number(x, 1, 0, number + i, 60 + (number + i) % 1400);
		}
		wait_got(x, 0, 100);
		assert_int_equal(x->fake[0]->got.frames[x->fake[0]->got.first + 2 - number % 3]->offload.gso,
				 VIREO_GSO_TCP4);
		expect_numbers(x, 0, 100, number);
		expect_numbers(x, 1, 100, number);
	}
	end(x);
}

/* For want of room, or to leave some: the frames are flooded. */
static uint64_t no_room(struct fixture *x, unsigned p)
{
	struct sw_queue_stats queue;
	struct sw_port_stats port;

	sw_queue_stats(x->port[p], true, 0, &queue);
	sw_port_stats(x->port[p], &port);
	return queue.no_buffer + port.tx_flood_room;
}

static void port_that_waits_holds_up_nobody(void **state)
{
	struct fixture *x = make(2, true);
	unsigned got;

	learn_all(x);
	pthread_mutex_lock(&x->fake[1]->lock);
	for (unsigned i = 0; i < 4000; i++)
		send_number(x, 0, PORTS, i, 1500);
	wait_got(x, 2, 4000);
	wait_idle(x, 0); /* all of its last burst has been counted */
	send_number(x, 2, 0, 1, 60);
	wait_got(x, 0, 1);
	assert_true(no_room(x, 1) > 1000); /* what did not fit is its own loss */
	assert_true(no_room(x, 1) < 4000);
	got = 4000 - (unsigned)no_room(x, 1);
	pthread_mutex_unlock(&x->fake[1]->lock);
	wait_got(x, 1, got);
	end(x);
}

static void removal_waits_for_the_thread_and_for_it_alone(void **state)
{
	struct fixture *x = make(1, true);
	unsigned before;

	learn_all(x);
	before = x->gone;
	pthread_mutex_lock(&x->fake[1]->lock);
	send_number(x, 0, 1, 1, 60);
	wait_idle(x, 0);
	wait_rest(x); /* the thread has the frame, and waits */
	sw_queue_remove(x->port[1], false, 0, fake_gone, &x->gone);
	sw_queue_remove(x->port[1], true, 0, fake_gone, &x->gone);
	sw_port_free(x->port[1], fake_gone, &x->gone);
	send_number(x, 0, 2, 1, 61);
	expect_numbers(x, 2, 1, 1);
	pass_grace(x);
	assert_int_equal(x->gone, before + 1);
	pthread_mutex_unlock(&x->fake[1]->lock);
	wait_gone(x, before + 4);
	x->port[1] = NULL;
	fake_port_free(x->fake[1]);
	end(x);
}

static void queue_comes_back_without_what_was_meant_for_its_predecessor(void **state)
{
	struct fixture *x = make(1, true);

	learn_all(x);
	for (unsigned round = 0; round < 5; round++) {
		unsigned before = x->gone;

		pthread_mutex_lock(&x->fake[1]->lock);
		for (unsigned i = 0; i < 300; i++)
			send_number(x, 0, 1, 9000 + i, 60);
		wait_idle(x, 0);
		wait_rest(x);
		sw_queue_remove(x->port[1], true, 0, fake_gone, &x->gone);
		sw_queue_remove(x->port[1], false, 0, fake_gone, &x->gone);
		pthread_mutex_unlock(&x->fake[1]->lock);
		wait_gone(x, before + 2);
		fake_port_forget(x->fake[1]);
		assert_int_equal(sw_queue_add(x->port[1], true, 0), 0);
		assert_int_equal(sw_queue_add(x->port[1], false, 0), 0);
		pass_grace(x);
		send_number(x, 0, 1, round, 60 + round);
		send_number(x, 1, 0, round, 60 + round);
		expect_numbers(x, 1, 1, round);
		expect_numbers(x, 0, 1, round);
	}
	end(x);
}

static struct sw_port_stats stats_of(struct fixture *x, unsigned p)
{
	struct sw_port_stats stats;

	sw_port_stats(x->port[p], &stats);
	return stats;
}

static void what_was_meant_for_a_queue_that_went_is_counted(void **state)
{
	struct fixture *x = make(1, true);
	unsigned before;

	learn_all(x);
	pthread_mutex_lock(&x->fake[1]->lock);
	for (unsigned i = 0; i < 300; i++)
		send_number(x, 0, 1, i, 60);
	wait_idle(x, 0);
	sw_queue_remove(x->port[1], true, 0, fake_gone, &x->gone);
	pass_grace(x); /* the thread has one burst in hand, at most, and will not have the next */
	before = x->gone;
	pthread_mutex_unlock(&x->fake[1]->lock);
	wait_gone(x, before + 1);
	assert_int_equal(fake_port_got(x->fake[1]) + stats_of(x, 1).tx_lost, 300);
	assert_in_range(stats_of(x, 1).tx_lost, 300 - BURST_FRAMES, 300);
	end(x);
}

static unsigned taken(struct fixture *x, unsigned p)
{
	unsigned count;

	pthread_mutex_lock(&x->fake[p]->lock);
	count = x->fake[p]->shown[0];
	pthread_mutex_unlock(&x->fake[p]->lock);
	return count;
}

/* The worker waits for another port, so that it takes no more than what it has begun with. */
static void what_came_from_a_queue_that_went_is_counted(void **state)
{
	struct fixture *x = make(1, true);

	learn_all(x);
	pthread_mutex_lock(&x->fake[0]->lock);
	send_number(x, 2, 0, 0, 60);
	for (unsigned i = 0; i < WAITS && !taken(x, 2); i++)
		fake_step(x->loop);
	assert_true(taken(x, 2));
	for (unsigned i = 0; i < 300; i++)
		send_number(x, 1, 2, 3 * i, 60); /* none with an offload */
	wait_idle(x, 1);
	sw_queue_remove(x->port[1], false, 0, fake_gone, &x->gone);
	pthread_mutex_unlock(&x->fake[0]->lock);
	wait_gone(x, 2);
	assert_int_equal(fake_port_got(x->fake[2]) + stats_of(x, 1).rx_lost, 300);
	assert_in_range(stats_of(x, 1).rx_lost, 300 - 2 * BURST_FRAMES, 300);
	end(x);
}

/* ---- moved ---- */

static void accuse(struct fixture *x, unsigned p)
{
	x->port[p]->stalls.accused = true;
	__atomic_store_n(&x->sw->accused, true, __ATOMIC_RELEASE);
	fd_event_raise(x->sw->event_fd);
}

static void frames_keep_their_order_while_their_port_moves(void **state)
{
	for (unsigned workers = 1; workers < 3; workers++) {
		struct fixture *x = make(workers, false);
		struct sw_port_stats before, after;

		learn_all(x);
		sw_port_stats(x->port[1], &before);
		for (unsigned i = 0; i < 500; i++) {
			send_number(x, 1, 0, i, 60 + i % 1400);
			send_number(x, 0, 1, i, 60 + i % 1400);
			if (i == 250)
				accuse(x, 1);
			if (i % 50 == 0)
				loop_dispatch(x->loop, 0);
		}
		expect_numbers(x, 0, 500, 0);
		expect_numbers(x, 1, 500, 0);
		assert_true(sw_port_aside(x->port[1]));
		assert_false(sw_port_aside(x->port[0]));
		sw_port_stats(x->port[1], &after);
		assert_int_equal(after.rx_frames - before.rx_frames, 500);
		assert_int_equal(after.tx_frames - before.tx_frames, 500);
		accuse(x, 1); /* once is enough */
		fake_step(x->loop);
		pthread_mutex_lock(&x->fake[1]->lock);
		send_number(x, 0, PORTS, 7, 67);
		expect_numbers(x, 2, 1, 7);
		pthread_mutex_unlock(&x->fake[1]->lock);
		expect_numbers(x, 1, 1, 7);
		end(x);
	}
}

static void port_is_removed_while_it_moves(void **state)
{
	for (unsigned i = 0; i < 20; i++) {
		struct fixture *x = make(1, false);
		unsigned before = x->gone;

		learn_all(x);
		if (i & 2)
			sw_queue_remove(x->port[1], i & 4, 0, fake_gone, &x->gone);
		accuse(x, 1);
		loop_dispatch(x->loop, 0);
		if (i & 1)
			sw_queue_remove(x->port[1], false, 0, fake_gone, &x->gone);
		sw_port_free(x->port[1], fake_gone, &x->gone);
		wait_gone(x, before + 1 + !!(i & 2) + (i & 1));
		x->port[1] = NULL;
		fake_port_free(x->fake[1]);
		end(x);
	}
}

static void queues_go(struct fixture *x, unsigned p)
{
	unsigned before = x->gone;

	sw_queue_remove(x->port[p], false, 0, fake_gone, &x->gone);
	sw_queue_remove(x->port[p], true, 0, fake_gone, &x->gone);
	wait_gone(x, before + 2);
}

static void queues_come(struct fixture *x, unsigned p)
{
	assert_int_equal(sw_queue_add(x->port[p], false, 0), 0);
	assert_int_equal(sw_queue_add(x->port[p], true, 0), 0);
}

/* Not even between two topologies does a worker call the port, or its aside when that has gone. */
static void a_slow_port_is_aside_for_as_long_as_it_is_slow(void **state)
{
	struct fixture *x = make(2, false);

	learn_all(x);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(sw_port_slow_set(x->port[1], true), 0);
		assert_int_equal(sw_port_slow_set(x->port[1], true), 0);
		assert_true(sw_port_aside(x->port[1]));
		if (i & 1)
			pass_grace(x);
		pthread_mutex_lock(&x->fake[1]->lock);
		send_number(x, 0, 1, i, 60 + i);
		send_number(x, 0, 2, i, 60 + i);
		if (i & 1)
			expect_numbers(x, 2, 1, i); /* who sends to it is not held up by it */
		pthread_mutex_unlock(&x->fake[1]->lock);
		if (!(i & 1))
			expect_numbers(x, 2, 1, i);
		expect_numbers(x, 1, 1, i);
		queues_go(x, 1);
		assert_int_equal(sw_port_slow_set(x->port[1], false), 0);
		assert_false(sw_port_aside(x->port[1]));
		queues_come(x, 1);
		send_number(x, 1, 0, i, 60 + i);
		expect_numbers(x, 0, 1, i);
	}
	end(x);
}

static void on_last_gone(void *opaque)
{
	struct fixture *x = opaque;

	x->gone++;
	assert_int_equal(sw_port_slow_set(x->port[1], false), 0);
}

static void a_port_comes_back_when_it_is_told_that_its_last_queue_has_gone(void **state)
{
	struct fixture *x = make(1, false);
	unsigned before;

	learn_all(x);
	assert_int_equal(sw_port_slow_set(x->port[1], true), 0);
	pass_grace(x);
	before = x->gone;
	sw_queue_remove(x->port[1], false, 0, fake_gone, &x->gone);
	sw_queue_remove(x->port[1], true, 0, on_last_gone, x);
	wait_gone(x, before + 2);
	assert_false(sw_port_aside(x->port[1]));
	queues_come(x, 1);
	send_number(x, 1, 0, 1, 61);
	expect_numbers(x, 0, 1, 1);
	end(x);
}

static void a_port_that_is_aside_for_good_stays_there(void **state)
{
	struct fixture *x = make(1, true);

	assert_int_equal(sw_port_slow_set(x->port[1], true), 0);
	assert_int_equal(sw_port_slow_set(x->port[1], false), 0);
	assert_true(sw_port_aside(x->port[1]));
	end(x);
}

static void switch_ends_while_a_port_comes_back(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct fixture *x = make(1, false);

		queues_go(x, 1);
		assert_int_equal(sw_port_slow_set(x->port[1], true), 0);
		if (i)
			assert_int_equal(sw_port_slow_set(x->port[1], false), 0);
		end(x);
	}
}

static void switch_ends_while_a_port_is_going(void **state)
{
	struct fixture *x = make(2, true);

	learn_all(x);
	for (unsigned p = 0; p < PORTS; p++)
		send_number(x, p, PORTS, 0, 60);
	x->gone = 0;
	for (unsigned p = 0; p < PORTS; p++)
		sw_port_free(x->port[p], fake_gone, &x->gone);
	sw_free(x->sw);
	assert_int_equal(x->gone, PORTS);
	for (unsigned p = 0; p < PORTS; p++)
		fake_port_free(x->fake[p]);
	loop_free(x->loop);
	free(x);
}

/* ---- who is accused ---- */

static void spend(bool fault, bool wait)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct timespec start, now;

	assert_true(page != MAP_FAILED);
	if (fault)
		*(volatile char *)page = 1;
	if (wait)
		nanosleep(&(struct timespec){.tv_nsec = 8000000}, NULL);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - start.tv_sec) * 1000000000ll + now.tv_nsec - start.tv_nsec < 8000000);
	munmap(page, 4096);
}

struct watched {
	struct sw_port_ops ops;
	struct forwarder *forwarder;
	struct sw *sw;
	struct sw_port port;
};

static void watched_new(struct watched *watched, bool peer_memory)
{
	struct forwarder *forwarder = aligned_alloc(CACHE_LINE_BYTES, sizeof(*forwarder));
	struct sw *sw = aligned_alloc(CACHE_LINE_BYTES, sizeof(*sw));

	assert_true(forwarder && sw);
	memset(forwarder, 0, sizeof(*forwarder));
	memset(sw, 0, sizeof(*sw));
	forwarder->sw = sw;
	forwarder->worker.schedstat_fd = thread_system_open();
	sw->stall_cycles = stall_limit_cycles();
	assert_int_equal(fd_event_new(&sw->event_fd), 0);
	*watched = (struct watched){.ops = {.peer_memory = peer_memory}, .forwarder = forwarder, .sw = sw};
	watched->port = (struct sw_port){.sw = sw, .ops = &watched->ops};
}

/* Was the port accused? */
static bool watched_free(struct watched *watched)
{
	bool accused = watched->port.stalls.accused;

	assert_int_equal(accused, watched->sw->accused);
	fd_close(&watched->sw->event_fd);
	fd_close(&watched->forwarder->worker.schedstat_fd);
	free(watched->forwarder);
	free(watched->sw);
	return accused;
}

static bool accused_after(bool peer_memory, bool fault, bool wait, unsigned times)
{
	struct watched watched;
	uint64_t begun;

	watched_new(&watched, peer_memory);
	for (unsigned i = 0; i < times; i++) {
		begun = stall_begin(watched.forwarder);
		if (fault || wait)
			spend(fault, wait);
		stall_end(watched.forwarder, begun, &watched.port);
	}
	return watched_free(&watched);
}

static void who_makes_a_worker_wait_for_memory_is_accused(void **state)
{
	assert_true(accused_after(true, true, true, STALLS_MAX));
	assert_false(accused_after(true, true, true, STALLS_MAX - 1));
}

static void who_is_interrupted_is_not(void **state)
{
	assert_false(accused_after(true, true, false, 2 * STALLS_MAX)); /* long, with faults, but nothing waited */
	assert_false(accused_after(true, false, false, 2 * STALLS_MAX));
}

static void who_has_no_memory_of_a_peer_is_not(void **state)
{
	assert_false(accused_after(false, true, true, 2 * STALLS_MAX));
}

/* As if the thread had come to a CPU whose counter is ahead. */
static void nobody_is_accused_by_a_counter_alone(void **state)
{
	struct watched watched;

	watched_new(&watched, true);
	for (unsigned i = 0; i < 50 * STALLS_MAX; i++) {
		uint64_t begun = stall_begin(watched.forwarder);
		void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		assert_true(page != MAP_FAILED);
		*(volatile char *)page = 1;
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
		stall_end(watched.forwarder, begun - 100 * watched.sw->stall_cycles, &watched.port);
		if (clock_now_ns() - watched.forwarder->stall.last.ns >= 5000000) /* it may have been that long in truth */
			watched.port.stalls.count = 0;
		munmap(page, 4096);
	}
	assert_false(watched_free(&watched));
}

/* Milliseconds, and what happened in them. */
static bool waited(unsigned took, unsigned ran_or_was_ready, bool fault, bool wait)
{
	struct stall_step begun = {.ns = 7000000000, .ready_ns = 3000000000, .faults = 5, .waits = 9}, ended = begun;

	ended.ns += took * 1000000ull;
	ended.ready_ns += ran_or_was_ready * 1000000ull;
	ended.faults += fault;
	ended.waits += wait;
	return stall_waited(&begun, &ended);
}

static void who_is_served_on_a_busy_machine_is_not(void **state)
{
	assert_true(waited(10, 2, true, true));
	assert_true(waited(200, 190, true, true));
	assert_false(waited(200, 198, true, true)); /* a short wait for memory, and a long one for a CPU */
	assert_false(waited(200, 201, true, true)); /* what it was ready before is somewhat older than the step */
	assert_false(waited(4, 0, true, true));
	assert_false(waited(200, 0, false, true));
	assert_false(waited(200, 0, true, false));
}

static void what_a_thread_ran_is_no_wait_of_its(void **state)
{
	int fd = thread_system_open();
	uint64_t before = thread_ready_ns(fd);
	struct timespec start, now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	while ((now.tv_sec - start.tv_sec) * 1000000000ll + now.tv_nsec - start.tv_nsec < 4000000);
	assert_true(thread_ready_ns(fd) - before >= 4000000);
	fd_close(&fd);
}

static void a_long_burst_without_faults_alerts_nobody(void **state)
{
	struct stall stall = {0};

	stall_suspect(&stall); /* faults since the thread began */
	assert_true(stall.alert);
	for (unsigned i = 0; i < 100 && stall.alert; i++) { /* a page of ours may have to come back meanwhile */
		stall.alert = false;
		stall_suspect(&stall);
	}
	assert_false(stall.alert);
	spend(true, false);
	stall_suspect(&stall);
	assert_true(stall.alert);
}

/* So many seconds, rounded up, would the alert last that a long burst causes now. */
static uint64_t alerted_s(struct stall *stall)
{
	struct timespec now;
	uint64_t now_ns;

	spend(true, false);
	stall_suspect(stall);
	clock_gettime(CLOCK_MONOTONIC, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	assert_true(stall->alert);
	stall->alert = false; /* as if it had ended */
	return stall->alert_until_ns > now_ns ? (stall->alert_until_ns - now_ns + 999999999) / 1000000000 : 0;
}

static void who_keeps_still_until_an_alert_ends_waits_longer_each_time(void **state)
{
	struct stall stall = {0};
	uint64_t first_s = alerted_s(&stall), last_s = 0;

	assert_true(first_s <= 1);
	for (unsigned i = 0; i < 4; i++)
		last_s = alerted_s(&stall);
	assert_in_range(last_s, 30, 60);
}

static int deliver_and_wait(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	spend(true, true);
	return fake_port_ops.deliver(opaque, queue, frames, count);
}

/* All that it gets was held: no burst has to do with its memory. */
static void who_makes_a_worker_wait_with_what_was_held_is_accused(void **state)
{
	struct sw_port_ops ops = fake_port_ops;
	struct fixture *x = make(1, false);
	struct sw_port_config config = {.ops = &ops, .name = "p1", .opaque = x->fake[1], .flood_copies = SW_FLOOD_ANY};
	unsigned before = x->gone;

	sw_port_free(x->port[1], fake_gone, &x->gone);
	wait_gone(x, before + 1);
	ops.peer_memory = true;
	ops.deliver = deliver_and_wait;
	assert_int_equal(sw_port_new(x->sw, &config, &x->port[1]), 0);
	assert_int_equal(sw_queue_add(x->port[1], true, 0), 0);
	for (unsigned i = 0; i < 100 && !sw_port_aside(x->port[1]); i++) {
		before = x->gone;
		assert_int_equal(sw_queue_pause(x->port[1], 0, fake_gone, &x->gone), 0);
		wait_gone(x, before + 1);
		send_number(x, 0, PORTS, i, 60);
		wait_idle(x, 0);
		sw_queue_resume(x->port[1], 0);
		wait_got(x, 1, i + 1);
		fake_step(x->loop);
	}
	assert_true(sw_port_aside(x->port[1]));
	end(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_pass_both_ways_in_order),
		cmocka_unit_test(port_that_waits_holds_up_nobody),
		cmocka_unit_test(removal_waits_for_the_thread_and_for_it_alone),
		cmocka_unit_test(queue_comes_back_without_what_was_meant_for_its_predecessor),
		cmocka_unit_test(what_was_meant_for_a_queue_that_went_is_counted),
		cmocka_unit_test(what_came_from_a_queue_that_went_is_counted),
		cmocka_unit_test(frames_keep_their_order_while_their_port_moves),
		cmocka_unit_test(port_is_removed_while_it_moves),
		cmocka_unit_test(a_slow_port_is_aside_for_as_long_as_it_is_slow),
		cmocka_unit_test(a_port_comes_back_when_it_is_told_that_its_last_queue_has_gone),
		cmocka_unit_test(a_port_that_is_aside_for_good_stays_there),
		cmocka_unit_test(switch_ends_while_a_port_comes_back),
		cmocka_unit_test(switch_ends_while_a_port_is_going),
		cmocka_unit_test(who_makes_a_worker_wait_for_memory_is_accused),
		cmocka_unit_test(who_makes_a_worker_wait_with_what_was_held_is_accused),
		cmocka_unit_test(who_is_interrupted_is_not),
		cmocka_unit_test(who_has_no_memory_of_a_peer_is_not),
		cmocka_unit_test(nobody_is_accused_by_a_counter_alone),
		cmocka_unit_test(who_is_served_on_a_busy_machine_is_not),
		cmocka_unit_test(what_a_thread_ran_is_no_wait_of_its),
		cmocka_unit_test(a_long_burst_without_faults_alerts_nobody),
		cmocka_unit_test(who_keeps_still_until_an_alert_ends_waits_longer_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
