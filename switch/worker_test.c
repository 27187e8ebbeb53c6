/* SPDX-License-Identifier: BSD-3-Clause */

/* Threads: nothing is lost, nobody is woken or asked in vain. Made to run under ThreadSanitizer as well. */

#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"
#include "switch/fake_port.h"
#include "switch/core.h"
#include "work/test_threads.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define WAIT_S_MAX  20u
#define CHURN_PORTS 6u
#define CHURN_MS    2000u
#define PENDING_MAX 500u /* frames a generator keeps waiting */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_us(unsigned us)
{
	nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

struct bench {
	struct loop *loop;
	struct sw *sw;
	unsigned gone;
};

static struct bench bench_new(const struct sw_config *config)
{
	struct bench bench = {0};

	assert_int_equal(loop_new(&bench.loop), 0);
	assert_int_equal(sw_new(config, bench.loop, &bench.sw), 0);
	return bench;
}

static void bench_free(struct bench *bench)
{
	sw_free(bench->sw);
	loop_free(bench->loop);
}

static struct sw_port *port_add(struct bench *bench, struct fake_port *fake, unsigned number)
{
	struct sw_port_config config = {.ops = &fake_port_ops, .opaque = fake, .flood_copies = SW_FLOOD_ANY};
	struct sw_port *port;
	char name[8] = {'p', (char)('0' + number / 100), (char)('0' + number / 10 % 10), (char)('0' + number % 10)};

	config.name = name;
	assert_int_equal(sw_port_new(bench->sw, &config, &port), 0);
	assert_int_equal(sw_queue_add(port, true, 0), 0);
	assert_int_equal(sw_queue_add(port, false, 0), 0);
	return port;
}

static void on_gone(void *opaque)
{
	struct bench *bench = opaque;

	bench->gone++;
}

static void wait_gone(struct bench *bench, unsigned count)
{
	uint64_t end_ms = now_ms() + WAIT_S_MAX * 1000;

	while (bench->gone < count && now_ms() < end_ms)
		loop_dispatch(bench->loop, 10);
	assert_int_equal(bench->gone, count);
}

static void port_remove(struct bench *bench, struct sw_port *port)
{
	unsigned count = bench->gone + 1;

	sw_port_free(port, on_gone, bench);
	wait_gone(bench, count);
}

static void wait_idle(struct fake_port *fake)
{
	uint64_t end_ms = now_ms() + WAIT_S_MAX * 1000;

	while (!fake_port_idle(fake) && now_ms() < end_ms)
		pause_us(100);
	assert_true(fake_port_idle(fake));
}

static void send_frame(struct fake_port *fake, unsigned from, unsigned to, uint32_t number)
{
	uint8_t frame[60] = {2, 0, 0, 0, 0, (uint8_t)to, 2, 0, 0, 0, 0, (uint8_t)from, 0x88, 0xb5};

	memcpy(frame + 14, &number, sizeof(number));
	fake_port_send(fake, 0, frame, sizeof(frame), NULL);
}

static uint64_t loops_of(const struct bench *bench)
{
	struct sw_worker_stats stats;
	uint64_t loops = 0;

	for (unsigned i = 0; i < sw_worker_count(bench->sw); i++) {
		sw_worker_stats(bench->sw, i, &stats);
		loops += stats.loops;
	}
	return loops;
}

/*
 * Until all workers sleep: a round that began before a queue was added may still run, and it forwards what comes
 * by the ports that it began with.
 */
static void settle(const struct bench *bench)
{
	uint64_t before, after = loops_of(bench);

	for (unsigned tries = 0; tries < WAIT_S_MAX * 50; tries++) {
		before = after;
		pause_us(20000);
		after = loops_of(bench);
		if (before == after && others_rest())
			return;
	}
	fail_msg("the workers do not come to rest");
}

/* Whether so many milliseconds can be found in which no worker goes round. */
static bool rests_for(const struct bench *bench, unsigned ms)
{
	uint64_t end_ms = now_ms() + WAIT_S_MAX * 1000, loops;

	do {
		loops = loops_of(bench);
		pause_us(ms * 1000);
		if (loops_of(bench) == loops)
			return true;
	} while (now_ms() < end_ms);
	return false;
}

static uint64_t wakeups_of(const struct bench *bench)
{
	struct sw_worker_stats stats;

	sw_worker_stats(bench->sw, 0, &stats);
	return stats.wakeups;
}

struct seen {
	struct grace_item item;
	bool yes;
};

static void on_seen(struct grace_item *item)
{
	container_of(item, struct seen, item)->yes = true;
}

/* Until every round uses a topology in which the port and all before it are, where workers never come to rest. */
static void wait_seen(struct bench *bench, struct sw_port *port)
{
	struct seen seen = {.item.fn = on_seen};
	uint64_t end_ms = now_ms() + WAIT_S_MAX * 1000;

	assert_int_equal(sw_port_grace(port, &seen.item), 0);
	while (!seen.yes && now_ms() < end_ms)
		loop_dispatch(bench->loop, 10);
	assert_true(seen.yes);
}

/* ---- ports come and go ---- */

struct generator {
	struct fake_port *fake;
	unsigned from, to;
	uint32_t sent;
	bool stop;
	pthread_t thread;
};

static void *generate(void *opaque)
{
	struct generator *g = opaque;

	while (!__atomic_load_n(&g->stop, __ATOMIC_ACQUIRE)) {
		unsigned pending;

		pthread_mutex_lock(&g->fake->lock);
		pending = g->fake->sent[0].end - g->fake->sent[0].first;
		pthread_mutex_unlock(&g->fake->lock);
		if (pending > PENDING_MAX) {
			pause_us(20);
			continue;
		}
		for (unsigned i = 0; i < 20; i++)
			send_frame(g->fake, g->from, g->to, g->sent++);
		if (g->sent % 1000 == 0)
			pause_us(200); /* long enough for the queue to be armed */
	}
	return NULL;
}

static void generator_start(struct generator *g, struct fake_port *fake, unsigned from, unsigned to)
{
	*g = (struct generator){.fake = fake, .from = from, .to = to};
	assert_int_equal(pthread_create(&g->thread, NULL, generate, g), 0);
}

static void generator_stop(struct generator *g)
{
	__atomic_store_n(&g->stop, true, __ATOMIC_RELEASE);
	pthread_join(g->thread, NULL);
}

/* All that was sent arrived, once, in order. */
static void stream_is_whole(const struct fake_port *at, const struct generator *g)
{
	uint32_t next = 0, number;

	for (unsigned i = at->got.first; i < at->got.end; i++) {
		const struct fake_frame *frame = at->got.frames[i];

		if (frame->data[11] != g->from)
			continue;
		memcpy(&number, frame->data + 14, sizeof(number));
		assert_int_equal(number, next);
		next++;
	}
	assert_int_equal(next, g->sent);
}

/* One life of a port that sends to port 1 and gets whatever is flooded. Returns the frames it got rid of. */
static uint64_t churn_once(struct bench *bench, unsigned number)
{
	struct fake_port *fake[CHURN_PORTS];
	struct sw_port *port[CHURN_PORTS];
	unsigned gone = bench->gone;
	uint64_t sent = 0;

	for (unsigned i = 0; i < CHURN_PORTS; i++) {
		fake[i] = fake_port_new(i != 0);
		fake[i]->keep = false;
		port[i] = port_add(bench, fake[i], 10 + i);
		for (uint32_t k = 0; k < 100; k++)
			send_frame(fake[i], 10 + i, 1, k);
	}
	loop_dispatch(bench->loop, (int)(number % 5));
	sw_queue_remove(port[1], false, 0, NULL, NULL);
	sw_queue_remove(port[2], true, 0, on_gone, bench);
	for (unsigned i = 0; i < CHURN_PORTS; i++)
		sw_port_free(port[i], on_gone, bench);
	wait_gone(bench, gone + CHURN_PORTS + 1);
	for (unsigned i = 0; i < CHURN_PORTS; i++) {
		assert_int_equal(fake[i]->shown[0], 0); /* what was received was given back */
		sent += fake[i]->in[0].frames;
		fake_port_free(fake[i]);
	}
	return sent;
}

/*
 * A fake port's memory grows in the worker's hands, under the lock of the process's address space. Who has that lock may be off his CPU on a loaded machine, and a worker
 * that stands for long is stood in for, at the price of frames for the port that it stands in (relief.c). Such a round shows nothing of who comes and goes.
 */
static bool one_stood(const struct bench *bench)
{
	struct sw_worker_stats stats;
	uint64_t relieved = 0;

	for (unsigned i = 0; i < sw_worker_count(bench->sw); i++) {
		sw_worker_stats(bench->sw, i, &stats);
		relieved += stats.relieved;
	}
	return relieved;
}

/* False: a worker stood still, and that may have cost frames. They are counted all the same. */
static bool come_and_go(void)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 2});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);
	uint64_t end_ms = now_ms() + CHURN_MS, churned = 0;
	struct generator to_b, to_a;
	struct sw_port_stats stats;
	unsigned lives = 0;
	bool stood;

	settle(&bench);
	generator_start(&to_b, a, 0, 1);
	generator_start(&to_a, b, 1, 0);
	while (now_ms() < end_ms || (lives < 4 && now_ms() < end_ms + WAIT_S_MAX * 1000))
		churned += churn_once(&bench, lives++);
	generator_stop(&to_b);
	generator_stop(&to_a);
	wait_idle(a);
	wait_idle(b);
	assert_true(lives > 3);
	sw_port_stats(port_b, &stats);
	stood = one_stood(&bench);
	assert_int_equal(stats.tx_frames + stats.tx_lost, to_b.sent + churned);
	assert_true(stood || !stats.tx_lost);
	assert_int_equal(stats.rx_frames, to_a.sent);
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	if (!stood) {
		stream_is_whole(b, &to_b);
		stream_is_whole(a, &to_a);
	}
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
	return !stood;
}

static void no_frame_is_lost_while_ports_come_and_go(void **state)
{
	unsigned rounds = 0;

	while (!come_and_go())
		assert_true(++rounds < 20);
}

static void two_workers_deliver_into_one_queue_in_turn(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 2});
	struct fake_port *fake[3];
	struct sw_port *port[3];
	struct generator g[2];

	for (unsigned i = 0; i < 3; i++) {
		fake[i] = fake_port_new(true);
		port[i] = port_add(&bench, fake[i], i);
	}
	settle(&bench);
	generator_start(&g[0], fake[0], 0, 2);
	generator_start(&g[1], fake[1], 1, 2);
	pause_us(300000);
	for (unsigned i = 0; i < 2; i++) {
		generator_stop(&g[i]);
		wait_idle(fake[i]);
	}
	for (unsigned i = 0; i < 3; i++)
		port_remove(&bench, port[i]);
	stream_is_whole(fake[2], &g[0]);
	stream_is_whole(fake[2], &g[1]);
	bench_free(&bench);
	for (unsigned i = 0; i < 3; i++)
		fake_port_free(fake[i]);
}

/* ---- sleeping and waking ---- */

static void idle_ports_cost_nothing(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 2});
	struct fake_port *fake[10];
	struct sw_port *port[10];

	for (unsigned i = 0; i < 10; i++) {
		fake[i] = fake_port_new(true);
		port[i] = port_add(&bench, fake[i], i);
	}
	assert_true(rests_for(&bench, 500));
	for (unsigned i = 0; i < 10; i++) {
		port_remove(&bench, port[i]);
		fake_port_free(fake[i]);
	}
	bench_free(&bench);
}

static unsigned asked_of(struct fake_port *fake)
{
	unsigned asked;

	pthread_mutex_lock(&fake->lock);
	asked = fake->asked;
	pthread_mutex_unlock(&fake->lock);
	return asked;
}

static void idle_port_is_not_asked_while_others_are_busy(void **state)
{
	enum { IDLE = 200 };
	struct bench bench = bench_new(&(struct sw_config){.workers = 1});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true), *idle[IDLE];
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1), *port[IDLE];
	uint64_t end_ms = now_ms() + WAIT_S_MAX * 1000;
	struct generator g;
	unsigned asked;

	send_frame(b, 1, 0, 0);
	for (unsigned i = 0; i < IDLE; i++) {
		idle[i] = fake_port_new(true);
		port[i] = port_add(&bench, idle[i], i + 2);
	}
	settle(&bench);
	generator_start(&g, a, 0, 1);
	do {
		asked = asked_of(idle[7]);
		pause_us(200000);
	} while (asked_of(idle[7]) != asked && now_ms() < end_ms);
	assert_int_equal(asked_of(idle[7]), asked);
	send_frame(idle[7], 9, 1, 0); /* and yet it is heard */
	wait_idle(idle[7]);
	generator_stop(&g);
	wait_idle(a);
	for (unsigned i = 0; i < IDLE; i++) {
		port_remove(&bench, port[i]);
		fake_port_free(idle[i]);
	}
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	stream_is_whole(b, &g);
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
}

static void no_kick_is_lost(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1, .spin_us = 20});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);

	settle(&bench);
	for (uint32_t i = 0; i < 3000; i++) {
		uint64_t until = now_ms() + WAIT_S_MAX * 1000;

		send_frame(a, 0, 1, i);
		while (fake_port_got(b) <= i && now_ms() < until)
			;
		assert_int_equal(fake_port_got(b), i + 1);
		if (i % 2)
			pause_us(i % 61); /* around the moment at which the queue is armed */
	}
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
}

/* One topology for all of them, and workers that sleep are told of it. */
static void what_comes_and_goes_in_a_row_becomes_known_at_once(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 2, .spin_us = 20});
	struct fake_port *fakes[60];
	struct sw_port *ports[60];
	uint64_t version = bench.sw->version;

	sw_hold(bench.sw);
	for (unsigned i = 0; i < 60; i++) {
		fakes[i] = fake_port_new(true);
		ports[i] = port_add(&bench, fakes[i], i);
	}
	for (unsigned i = 40; i < 60; i++)
		sw_port_free(ports[i], on_gone, &bench);
	send_frame(fakes[7], 7, 200, 1);
	for (unsigned i = 0; i < 20; i++)
		loop_dispatch(bench.loop, 1);
	assert_int_equal(bench.gone, 0);
	assert_false(fake_port_idle(fakes[7]));
	assert_int_equal(bench.sw->version, version);
	assert_int_equal(sw_release(bench.sw), 0);
	assert_int_equal(bench.sw->version, version + 1);
	wait_gone(&bench, 20);
	wait_idle(fakes[7]);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(fake_port_got(fakes[i]), i < 40 && i != 7);
	sw_hold(bench.sw);
	for (unsigned i = 0; i < 40; i++)
		sw_port_free(ports[i], on_gone, &bench);
	assert_int_equal(sw_release(bench.sw), 0);
	wait_gone(&bench, 60);
	assert_int_equal(bench.sw->version, version + 2);
	bench_free(&bench);
	for (unsigned i = 0; i < 60; i++)
		fake_port_free(fakes[i]);
}

/* As when memory for the topology was short, and a tick later it is not. */
static void what_could_not_be_published_at_once_is_found_later(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 2});
	struct fake_port *fakes[2] = {fake_port_new(true), fake_port_new(true)};
	struct sw_port *ports[2];

	sw_hold(bench.sw);
	for (unsigned i = 0; i < 2; i++)
		ports[i] = port_add(&bench, fakes[i], i);
	settle(&bench); /* what the workers have been woken for is not there */
	send_frame(fakes[0], 0, 1, 1); /* without a kick: nobody has enabled them yet */
	send_frame(fakes[1], 1, 0, 1);
	bench.sw->held = false;
	bench.sw->stale = true;
	switch_publish_removal(bench.sw);
	for (unsigned i = 0; i < 2; i++)
		wait_idle(fakes[i]);
	for (unsigned i = 0; i < 2; i++) {
		port_remove(&bench, ports[i]);
		fake_port_free(fakes[i]);
	}
	bench_free(&bench);
}

/* A port that comes or goes while a nap is planned: what was to be active after it may be no more. */
static void visit(struct bench *bench, struct fake_port *fake, struct sw_port **port)
{
	if (*port)
		port_remove(bench, *port);
	*port = *port ? NULL : port_add(bench, fake, 7);
	if (*port)
		send_frame(fake, 7, 9, 0);
}

static void frames_that_keep_time_are_slept_for_and_none_is_lost(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1});
	struct fake_port *fake[2] = {fake_port_new(true), fake_port_new(true)}, *guest = fake_port_new(true);
	struct sw_port *port[2] = {port_add(&bench, fake[0], 0), port_add(&bench, fake[1], 1)}, *visitor = NULL;
	struct sw_worker_stats before, after;

	settle(&bench);
	sw_worker_stats(bench.sw, 0, &before);
	for (uint32_t i = 0; i < 600; i++) {
		uint64_t until = now_ms() + WAIT_S_MAX * 1000;
		struct fake_port *to = fake[!(i % 3)];
		unsigned got = fake_port_got(to);

		send_frame(fake[i % 3 != 0], i % 3 != 0, !(i % 3), i);
		while (fake_port_got(to) <= got && now_ms() < until)
			;
		assert_true(fake_port_got(to) > got);
		pause_us(i < 300 ? 1000 : 200);
		if (i % 40 == 39)
			visit(&bench, guest, &visitor);
	}
	sw_worker_stats(bench.sw, 0, &after);
	assert_true(after.sleeps - before.sleeps > 300);
	if (visitor)
		port_remove(&bench, visitor);
	for (unsigned i = 0; i < 2; i++) {
		port_remove(&bench, port[i]);
		fake_port_free(fake[i]);
	}
	bench_free(&bench);
	fake_port_free(guest);
}

static void frame_that_comes_while_arming_is_not_left_behind(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);
	const uint8_t late[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0x88, 0xb5};
	uint64_t until;

	settle(&bench); /* all are armed */
	until = now_ms() + WAIT_S_MAX * 1000;
	fake_port_send_late(a, late, sizeof(late));
	send_frame(a, 0, 1, 0);
	while (fake_port_got(b) < 2 && now_ms() < until)
		pause_us(1000);
	assert_int_equal(fake_port_got(b), 2);
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
}

static void queue_without_kick_fd_is_served_without_burning_the_cpu(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1});
	struct fake_port *a = fake_port_new(false), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);
	uint64_t loops;

	wait_seen(&bench, port_b);
	for (uint32_t i = 0; i < 50; i++) {
		send_frame(a, 0, 1, i);
		wait_idle(a);
	}
	assert_int_equal(fake_port_got(b), 50);
	pause_us(50000);
	loops = loops_of(&bench);
	pause_us(500000);
	assert_true(loops_of(&bench) - loops < 2000);
	send_frame(b, 1, 0, 0);
	wait_idle(b);
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
}

static void polling_worker_never_sleeps(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1, .mode = SW_POLL});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);
	struct sw_worker_stats before, after;
	uint64_t until = now_ms() + WAIT_S_MAX * 1000;

	wait_seen(&bench, port_b);
	sw_worker_stats(bench.sw, 0, &before);
	do {
		pause_us(50000);
		sw_worker_stats(bench.sw, 0, &after);
	} while (after.loops <= before.loops + 100 && now_ms() < until);
	assert_int_equal(after.sleeps, before.sleeps);
	assert_true(after.loops > before.loops + 100);
	pthread_mutex_lock(&a->lock);
	assert_false(a->kicks[0]);
	pthread_mutex_unlock(&a->lock);
	send_frame(a, 0, 1, 0);
	wait_idle(a);
	assert_int_equal(fake_port_got(b), 1);
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
}

static void removal_lets_sleepers_sleep(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);
	uint64_t wakeups, until;

	settle(&bench);
	wakeups = wakeups_of(&bench);
	port_remove(&bench, port_b);
	fd_event_raise(b->kick_fd[0]); /* nobody watches it any more */
	pause_us(50000);
	assert_int_equal(wakeups_of(&bench), wakeups);
	fake_port_free(b);
	fd_event_raise(a->kick_fd[0]);
	until = now_ms() + WAIT_S_MAX * 1000;
	while (wakeups_of(&bench) <= wakeups && now_ms() < until)
		pause_us(1000);
	assert_true(wakeups_of(&bench) > wakeups);
	port_remove(&bench, port_a);
	bench_free(&bench);
	fake_port_free(a);
}

static void queues_may_share_a_kick_fd(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);
	uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0x88, 0xb5};
	int own_fd = a->kick_fd[1];

	a->kick_fd[1] = a->kick_fd[0];
	assert_int_equal(sw_queue_add(port_a, false, 1), 0);
	settle(&bench);
	fake_port_send(a, 1, frame, sizeof(frame), NULL);
	wait_idle(a);
	assert_int_equal(fake_port_got(b), 1);
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	a->kick_fd[1] = own_fd;
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
}

static void worker_is_pinned_or_refused(void **state)
{
	struct loop *loop;
	struct sw *sw = NULL;
	struct sw_worker_stats stats;
	int cpu = 1000000;

	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(sw_new(&(struct sw_config){.workers = 1, .cpus = &cpu}, loop, &sw), -EINVAL);
	assert_null(sw);
	cpu = sched_getcpu();
	assert_int_equal(sw_new(&(struct sw_config){.workers = 1, .cpus = &cpu}, loop, &sw), 0);
	sw_worker_stats(sw, 0, &stats);
	assert_int_equal(stats.cpu, cpu);
	sw_free(sw);
	loop_free(loop);
}

/* The only one that there is. */
static void assert_ages(const struct bench *bench)
{
	uint64_t end_ms = now_ms() + WAIT_S_MAX * 1000;
	struct sw_fdb_stats stats;

	sw_fdb_stats(bench->sw, &stats);
	assert_int_equal(stats.entries, 1);
	while (stats.entries && now_ms() < end_ms) {
		loop_dispatch(bench->loop, 100);
		sw_fdb_stats(bench->sw, &stats);
	}
	assert_int_equal(stats.entries, 0);
	assert_int_equal(stats.aged, 1);
}

static void addresses_age_without_traffic(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1, .fdb_age_s = 1});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);

	send_frame(a, 0, 1, 0);
	wait_idle(a);
	assert_ages(&bench);
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
}

/* And nothing else happens here any more that would have the clock looked at. */
static void addresses_that_were_learned_elsewhere_age(void **state)
{
	struct bench bench = bench_new(&(struct sw_config){.workers = 1, .fdb_age_s = 1});
	struct fake_port *a = fake_port_new(true), *b = fake_port_new(true);
	struct sw_port *port_a = port_add(&bench, a, 0), *port_b = port_add(&bench, b, 1);

	for (unsigned i = 0; i < 3; i++)
		loop_dispatch(bench.loop, 50);
	sw_fdb_learned(port_a, 0, (const uint8_t[6]){2, 0, 0, 0, 0, 1});
	assert_ages(&bench);
	port_remove(&bench, port_a);
	port_remove(&bench, port_b);
	bench_free(&bench);
	fake_port_free(a);
	fake_port_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_frame_is_lost_while_ports_come_and_go),
		cmocka_unit_test(two_workers_deliver_into_one_queue_in_turn),
		cmocka_unit_test(idle_ports_cost_nothing),
		cmocka_unit_test(idle_port_is_not_asked_while_others_are_busy),
		cmocka_unit_test(no_kick_is_lost),
		cmocka_unit_test(what_comes_and_goes_in_a_row_becomes_known_at_once),
		cmocka_unit_test(what_could_not_be_published_at_once_is_found_later),
		cmocka_unit_test(frames_that_keep_time_are_slept_for_and_none_is_lost),
		cmocka_unit_test(frame_that_comes_while_arming_is_not_left_behind),
		cmocka_unit_test(queue_without_kick_fd_is_served_without_burning_the_cpu),
		cmocka_unit_test(polling_worker_never_sleeps),
		cmocka_unit_test(removal_lets_sleepers_sleep),
		cmocka_unit_test(queues_may_share_a_kick_fd),
		cmocka_unit_test(worker_is_pinned_or_refused),
		cmocka_unit_test(addresses_age_without_traffic),
		cmocka_unit_test(addresses_that_were_learned_elsewhere_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
