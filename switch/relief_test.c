/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Workers that stand still in the kernel, as in a page fault. What makes one stand here is a child that shares its memory, and has not come to
 * its exec(2) yet: it opens a FIFO that nobody writes to.
 */

#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/util.h"
#include "switch/core.h"
#include "switch/fake_port.h"
#include "switch/forwarder.h"
#include "switch/port.h"
#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define PORTS 4u
#define WAITS 20000u
#define BRIEF_NS 3000000u /* less than a tick */

/* A port that stands when it is asked for frames, or is given some, as often as it is told. */
struct heavy {
	struct fake_port *fake;
	unsigned in, out; /* atomic: so many times */
	unsigned stood;	  /* atomic: so often it has begun to; until let_go() */
	char fifo[64];
	struct sw *sw;
	bool brief;	/* it does not wait for the FIFO */
	unsigned early; /* atomic: somebody stood in though it was less than a tick */
};

struct fixture {
	struct loop *loop;
	struct sw *sw;
	struct heavy heavy[PORTS];
	struct sw_port *port[PORTS];
	unsigned gone;
	char folder[32];
};

static void stand(struct heavy *heavy)
{
	char name[] = "true", *argv[] = {name, NULL};
	posix_spawn_file_actions_t actions;
	uint64_t began_ns;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, heavy->brief ? "/dev/null" : heavy->fifo, O_RDONLY, 0);
	__atomic_add_fetch(&heavy->stood, 1, __ATOMIC_RELEASE);
	began_ns = clock_now_ns();
	assert_int_equal(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ), 0);
	if (__atomic_load_n(&heavy->sw->standing, __ATOMIC_ACQUIRE) && clock_now_ns() - began_ns < BRIEF_NS)
		__atomic_add_fetch(&heavy->early, 1, __ATOMIC_RELEASE);
	waitpid(pid, NULL, 0);
	posix_spawn_file_actions_destroy(&actions);
}

static void let_go(const struct heavy *heavy)
{
	int fd = open(heavy->fifo, O_WRONLY | O_CLOEXEC); /* waits for the child's */

	assert_true(fd >= 0);
	close(fd);
}

static void will_stand(unsigned *ret_times, unsigned times)
{
	__atomic_store_n(ret_times, times, __ATOMIC_RELEASE);
}

static bool takes(unsigned *times)
{
	unsigned before = __atomic_load_n(times, __ATOMIC_ACQUIRE);

	if (before)
		__atomic_store_n(times, before - 1, __ATOMIC_RELEASE);
	return before;
}

static int heavy_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct heavy *heavy = opaque;

	if (takes(&heavy->in))
		stand(heavy);
	return fake_port_ops.receive(heavy->fake, queue, frames, max);
}

static void heavy_release(void *opaque, unsigned queue)
{
	fake_port_ops.release(((struct heavy *)opaque)->fake, queue);
}

static int heavy_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct heavy *heavy = opaque;

	if (takes(&heavy->out))
		stand(heavy);
	return fake_port_ops.deliver(heavy->fake, queue, frames, count);
}

static void heavy_flush(void *opaque, unsigned queue)
{
	fake_port_ops.flush(((struct heavy *)opaque)->fake, queue);
}

static int heavy_kick_fd(void *opaque, unsigned queue)
{
	return fake_port_ops.kick_fd(((struct heavy *)opaque)->fake, queue);
}

static bool heavy_kick_enable(void *opaque, unsigned queue, bool on)
{
	return fake_port_ops.kick_enable(((struct heavy *)opaque)->fake, queue, on);
}

static void heavy_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret_stats)
{
	fake_port_ops.stats(((struct heavy *)opaque)->fake, out, queue, ret_stats);
}

static const struct sw_port_ops heavy_ops = {
	.receive = heavy_receive,
	.release = heavy_release,
	.deliver = heavy_deliver,
	.flush = heavy_flush,
	.kick_fd = heavy_kick_fd,
	.kick_enable = heavy_kick_enable,
	.stats = heavy_stats,
	.peer_memory = true,
};

/* ---- the fixture ---- */

static void wait_got(struct fixture *x, unsigned p, unsigned count)
{
	for (unsigned i = 0; i < WAITS && fake_port_got(x->heavy[p].fake) < count; i++)
		fake_step(x->loop);
	assert_int_equal(fake_port_got(x->heavy[p].fake), count);
}

static void wait_stood(struct fixture *x, unsigned p, unsigned times)
{
	for (unsigned i = 0; i < WAITS && __atomic_load_n(&x->heavy[p].stood, __ATOMIC_ACQUIRE) < times; i++)
		fake_step(x->loop);
	assert_int_equal(__atomic_load_n(&x->heavy[p].stood, __ATOMIC_ACQUIRE), times);
}

static void wait_idle(struct fixture *x, unsigned p)
{
	for (unsigned i = 0; i < WAITS && !fake_port_idle(x->heavy[p].fake); i++)
		fake_step(x->loop);
	assert_true(fake_port_idle(x->heavy[p].fake));
}

static void send_number(struct fixture *x, unsigned from, unsigned to, unsigned number)
{
	uint8_t frame[60] = {2, 0, 0, (uint8_t)to, 0, 0, 2, 0, 0, (uint8_t)from, 0, 0, 0x88, 0xb5};

	if (to == PORTS)
		memset(frame, 0xff, 6);
	memcpy(frame + 14, &number, sizeof(number));
	fake_port_send(x->heavy[from].fake, 0, frame, sizeof(frame), NULL);
}

/* All of them, once each and in order, and nothing else. */
static void expect_numbers(struct fixture *x, unsigned p, unsigned count)
{
	struct fake_port *fake = x->heavy[p].fake;

	wait_got(x, p, count);
	for (unsigned i = 0; i < count; i++)
		assert_memory_equal(fake->got.frames[fake->got.first + i]->data + 14, &i, sizeof(i));
	fake_port_forget(fake);
}

static void add_port(struct fixture *x, unsigned p)
{
	char name[8] = {'p', (char)('0' + p)};
	struct heavy *heavy = &x->heavy[p];
	struct sw_port_config config = {.ops = &heavy_ops, .opaque = heavy, .name = name, .flood_copies = SW_FLOOD_ANY};

	heavy->fake = fake_port_new(true);
	heavy->sw = x->sw;
	snprintf(heavy->fifo, sizeof(heavy->fifo), "%s/%u", x->folder, p);
	assert_int_equal(mkfifo(heavy->fifo, 0600), 0);
	assert_int_equal(sw_port_new(x->sw, &config, &x->port[p]), 0);
	assert_int_equal(sw_queue_add(x->port[p], false, 0), 0);
	assert_int_equal(sw_queue_add(x->port[p], true, 0), 0);
}

static struct fixture *make(unsigned workers)
{
	struct sw_config config = {.workers = workers};
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	strcpy(x->folder, "/tmp/vireo-relief-XXXXXX");
	assert_non_null(mkdtemp(x->folder));
	assert_int_equal(loop_new(&x->loop), 0);
	assert_int_equal(sw_new(&config, x->loop, &x->sw), 0);
	for (unsigned p = 0; p < PORTS; p++)
		add_port(x, p);
	for (unsigned p = 0; p < PORTS; p++) { /* a first one may come before all of the ports are there */
		send_number(x, p, PORTS, 0);
		wait_idle(x, p);
		fake_step(x->loop);
		send_number(x, p, PORTS, 0);
		wait_idle(x, p);
	}
	for (unsigned p = 0; p < PORTS; p++)
		fake_port_forget(x->heavy[p].fake);
	return x;
}

static void end(struct fixture *x)
{
	for (unsigned p = 0; p < PORTS; p++)
		sw_port_free(x->port[p], fake_gone, &x->gone);
	for (unsigned i = 0; i < WAITS && x->gone < PORTS; i++)
		fake_step(x->loop);
	assert_int_equal(x->gone, PORTS);
	sw_free(x->sw);
	for (unsigned p = 0; p < PORTS; p++) {
		fake_port_free(x->heavy[p].fake);
		unlink(x->heavy[p].fifo);
	}
	rmdir(x->folder);
	loop_free(x->loop);
	free(x);
}

static uint64_t lost_at(struct fixture *x, unsigned p)
{
	struct sw_port_stats stats;

	sw_port_stats(x->port[p], &stats);
	return stats.tx_lost;
}

static uint64_t relieved(const struct fixture *x)
{
	struct sw_worker_stats stats;

	sw_worker_stats(x->sw, 0, &stats);
	return stats.relieved;
}

/* ---- tests ---- */

static void others_are_served_while_a_worker_stands(void **state)
{
	struct fixture *x = make(1);

	assert_int_equal(relieved(x), 0);
	for (unsigned round = 0; round < 3; round++) {
		will_stand(&x->heavy[2].in, 1);
		send_number(x, 2, 3, 0);
		wait_stood(x, 2, round + 1);
		for (unsigned i = 0; i < 200; i++) {
			send_number(x, 0, 1, i);
			if (i % 20 == 0)
				wait_got(x, 1, i + 1);
		}
		expect_numbers(x, 1, 200);
		assert_int_equal(fake_port_got(x->heavy[3].fake), 0);
		assert_true(relieved(x) > round);
		let_go(&x->heavy[2]);
		expect_numbers(x, 3, 1);
		for (unsigned i = 0; i < 200; i++)
			send_number(x, 0, 1, i);
		expect_numbers(x, 1, 200);
	}
	for (unsigned p = 0; p < PORTS; p++)
		assert_int_equal(lost_at(x, p), 0);
	end(x);
}

static void who_stands_in_touches_nothing_of_the_ports_that_the_worker_stands_in(void **state)
{
	struct fixture *x = make(1);

	will_stand(&x->heavy[2].out, 2);
	send_number(x, 0, 2, 0);
	wait_stood(x, 2, 1);
	send_number(x, 2, 1, 77); /* its own frames wait as well */
	send_number(x, 1, 2, 0);
	for (unsigned i = 0; i < 100; i++)
		send_number(x, 1, 3, i);
	expect_numbers(x, 3, 100);
	assert_int_equal(lost_at(x, 2), 1);
	assert_int_equal(x->heavy[2].stood, 1);
	assert_int_equal(fake_port_got(x->heavy[1].fake), 0);
	will_stand(&x->heavy[2].out, 0);
	let_go(&x->heavy[2]);
	expect_numbers(x, 2, 1);
	wait_got(x, 1, 1);
	end(x);
}

/* Ports are dealt out to workers in turn. */
static void other_workers_do_not_wait_for_a_queue_in_which_one_stands(void **state)
{
	struct fixture *x = make(2);

	will_stand(&x->heavy[2].out, 1);
	send_number(x, 0, 2, 0);
	wait_stood(x, 2, 1);
	send_number(x, 1, 2, 1);
	send_number(x, 3, 2, 1);
	for (unsigned i = 0; i < 100; i++)
		send_number(x, 1, 3, i);
	expect_numbers(x, 3, 100);
	wait_idle(x, 3);
	assert_int_equal(lost_at(x, 2), 2);
	let_go(&x->heavy[2]);
	expect_numbers(x, 2, 1);
	end(x);
}

static void nothing_is_lost_of_others_however_often_a_worker_stands(void **state)
{
	struct fixture *x = make(1);

	for (unsigned i = 0; i < 2000; i++) {
		send_number(x, 0, 1, i);
		if (i % 100 == 0) {
			will_stand(&x->heavy[2].in, 1);
			send_number(x, 2, 3, 0);
			wait_stood(x, 2, i / 100 + 1);
		} else if (i % 100 == 60) {
			let_go(&x->heavy[2]);
		}
		if (i % 4 == 0)
			fake_step(x->loop);
	}
	expect_numbers(x, 1, 2000);
	wait_got(x, 3, 20);
	end(x);
}

static void who_makes_a_worker_stand_three_times_is_served_aside(void **state)
{
	struct fixture *x = make(1);

	for (unsigned round = 1; round <= STALLS_MAX; round++) {
		assert_false(sw_port_aside(x->port[2]));
		will_stand(&x->heavy[2].in, 1);
		send_number(x, 2, 3, 0);
		wait_stood(x, 2, round);
		send_number(x, 0, 1, 0); /* taken by who stands in: it has accused before */
		wait_got(x, 1, round);
		let_go(&x->heavy[2]);
		wait_got(x, 3, round);
	}
	for (unsigned i = 0; i < WAITS && !sw_port_aside(x->port[2]); i++)
		fake_step(x->loop);
	assert_true(sw_port_aside(x->port[2]));
	for (unsigned p = 0; p < PORTS; p++)
		assert_int_equal(sw_port_aside(x->port[p]), p == 2);
	end(x);
}

/* Each that wakes up makes who looks look again, however soon after the last time. */
static void who_stands_for_less_than_a_tick_is_left_alone_however_often_it_is_looked_at(void **state)
{
	struct fixture *x = make(1);
	const struct worker_watch *watch = x->sw->forwarders[0]->worker.watch;

	x->heavy[2].brief = true;
	for (unsigned round = 0; round < 50; round++) {
		will_stand(&x->heavy[2].in, 1);
		send_number(x, 2, 3, round);
		for (unsigned i = 0; i < 10 * WAITS && fake_port_got(x->heavy[3].fake) <= round; i++) {
			fd_event_raise(watch->fd);
			loop_dispatch(x->loop, 0);
			nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
		}
	}
	expect_numbers(x, 3, 50);
	assert_int_equal(x->heavy[2].stood, 50);
	assert_int_equal(x->heavy[2].early, 0);
	end(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_are_served_while_a_worker_stands),
		cmocka_unit_test(who_stands_in_touches_nothing_of_the_ports_that_the_worker_stands_in),
		cmocka_unit_test(other_workers_do_not_wait_for_a_queue_in_which_one_stands),
		cmocka_unit_test(nothing_is_lost_of_others_however_often_a_worker_stands),
		cmocka_unit_test(who_makes_a_worker_stand_three_times_is_served_aside),
		cmocka_unit_test(who_stands_for_less_than_a_tick_is_left_alone_however_often_it_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
