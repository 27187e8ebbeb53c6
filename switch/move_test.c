/* SPDX-License-Identifier: BSD-3-Clause */

/* In queues change their worker while frames come. Made to run under ThreadSanitizer as well; the fake port asserts that a queue has one worker at a time. */

#include "base/loop.h"
#include "switch/fake_port.h"
#include "switch/port.h"
#include "switch/switch.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define WAIT_S_MAX 60u
#define WORKERS    3u
#define MOVES      400u
#define BURST      20u
#define QUEUES     2u

struct bench {
	struct loop *loop;
	struct sw *sw;
	struct fake_port *from, *to;
	struct sw_port *sender, *receiver;
	uint32_t sent[QUEUES];
	unsigned done, gone;
};

static bool in_time(const struct timespec *begun)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)(now.tv_sec - begun->tv_sec) < WAIT_S_MAX;
}

static void on_count(void *opaque)
{
	++*(unsigned *)opaque;
}

static void wait_count(struct bench *b, const unsigned *count, unsigned until)
{
	struct timespec begun;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	while (*count < until && in_time(&begun))
		loop_dispatch(b->loop, 10);
	assert_int_equal(*count, until);
}

static void wait_idle(struct bench *b)
{
	struct timespec begun;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	while (!fake_port_idle(b->from) && in_time(&begun))
		loop_dispatch(b->loop, 1);
	assert_true(fake_port_idle(b->from));
}

static struct sw_port_ops guest_ops; /* the same, of a port whose frames lie in a peer's memory */

static struct sw_port *port_new(struct bench *b, struct fake_port *fake, const char *name, const struct sw_port_ops *ops, bool aside)
{
	struct sw_port_config config = {.name = name, .ops = ops, .opaque = fake, .flood_copies = SW_FLOOD_ANY, .aside = aside};
	struct sw_port *port;

	assert_int_equal(sw_port_new(b->sw, &config, &port), 0);
	assert_int_equal(sw_queue_add(port, true, 0), 0);
	return port;
}

/* Who sends comes last: no round that knows its queues does not know the receiver. */
static void begin_with(struct bench *b, const struct sw_config *config, bool kicks, bool aside)
{
	*b = (struct bench){.from = fake_port_new(kicks), .to = fake_port_new(true)};
	assert_int_equal(loop_new(&b->loop), 0);
	assert_int_equal(sw_new(config, b->loop, &b->sw), 0);
	b->receiver = port_new(b, b->to, "to", &fake_port_ops, false);
	b->sender = port_new(b, b->from, "from", config->nodes ? &guest_ops : &fake_port_ops, aside);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(sw_queue_add(b->sender, false, i), 0);
}

static void begin(struct bench *b, bool kicks, bool aside)
{
	begin_with(b, &(struct sw_config){.workers = WORKERS}, kicks, aside);
}

static void end(struct bench *b)
{
	sw_port_free(b->sender, on_count, &b->gone);
	sw_port_free(b->receiver, on_count, &b->gone);
	wait_count(b, &b->gone, 2);
	sw_free(b->sw);
	loop_free(b->loop);
	fake_port_free(b->from);
	fake_port_free(b->to);
}

static void send_some(struct bench *b, unsigned queue)
{
	for (unsigned i = 0; i < BURST; i++) {
		uint8_t frame[60] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, (uint8_t)queue};

		memcpy(frame + 15, &b->sent[queue], sizeof(uint32_t));
		b->sent[queue]++;
		fake_port_send(b->from, queue, frame, sizeof(frame), NULL);
	}
}

/* Each queue's frames came all, once and in order. */
static void all_came(const struct bench *b)
{
	uint32_t next[QUEUES] = {0};

	for (unsigned i = b->to->got.first; i < b->to->got.end; i++) {
		const struct fake_frame *frame = b->to->got.frames[i];
		uint32_t number;

		memcpy(&number, frame->data + 15, sizeof(number));
		assert_int_equal(number, next[frame->data[14]]++);
	}
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(next[i], b->sent[i]);
}

static void queues_are_moved_to_and_fro(struct bench *b, bool wait)
{
	for (unsigned i = 0; i < MOVES; i++) {
		unsigned queue = i / 3 % QUEUES, worker = (i * 7 / 3) % WORKERS;

		send_some(b, 0);
		send_some(b, 1);
		if (i % 5 < 3) {
			assert_int_equal(sw_queue_move(b->sender, queue, worker, on_count, &b->done), 0);
		} else { /* as the switch does it by itself */
			assert_int_equal(port_queue_give(b->sender, queue, worker), 0);
			b->done++;
		}
		assert_int_equal(sw_queue_worker(b->sender, queue), worker);
		if (wait)
			wait_count(b, &b->done, i + 1);
		else
			loop_dispatch(b->loop, 0);
	}
	wait_count(b, &b->done, MOVES);
	wait_idle(b);
}

static void a_queue_moves_under_traffic_and_loses_nothing(void **state)
{
	struct bench b;

	begin(&b, true, false);
	queues_are_moved_to_and_fro(&b, true);
	all_came(&b);
	end(&b);
}

static void it_may_be_moved_on_before_it_has_arrived(void **state)
{
	struct bench b;

	begin(&b, true, false);
	queues_are_moved_to_and_fro(&b, false);
	all_came(&b);
	end(&b);
}

static void so_may_one_that_has_to_be_asked(void **state)
{
	struct bench b;

	begin(&b, false, false);
	queues_are_moved_to_and_fro(&b, false);
	all_came(&b);
	end(&b);
}

/* Frames come through a store, whose reader changes. */
static void so_may_one_that_is_served_aside(void **state)
{
	struct bench b;

	begin(&b, true, true);
	queues_are_moved_to_and_fro(&b, true);
	wait_idle(&b);
	sw_queue_remove(b.sender, false, 0, NULL, NULL);
	end(&b);
}

static uint64_t served_by(const struct bench *b, unsigned worker)
{
	struct sw_worker_stats stats;

	sw_worker_stats(b->sw, worker, &stats);
	return stats.frames;
}

static void the_worker_that_it_is_moved_to_serves_it(void **state)
{
	struct bench b;

	begin(&b, true, false);
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		uint64_t before = served_by(&b, worker);
		struct timespec begun;

		assert_int_equal(sw_queue_move(b.sender, 0, worker, on_count, &b.done), 0);
		wait_count(&b, &b.done, worker + 1);
		send_some(&b, 0);
		clock_gettime(CLOCK_MONOTONIC, &begun);
		while (served_by(&b, worker) < before + BURST && in_time(&begun))
			loop_dispatch(b.loop, 1);
		assert_int_equal(served_by(&b, worker), before + BURST);
	}
	end(&b);
}

static void it_is_still_that_workers_when_it_comes_again(void **state)
{
	unsigned removed = 0;
	struct bench b;

	begin(&b, true, false);
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		assert_int_equal(sw_queue_move(b.sender, 1, worker, NULL, NULL), 0);
		sw_queue_remove(b.sender, false, 1, on_count, &removed); /* before it has arrived, but for the first */
		wait_count(&b, &removed, worker + 1);
		assert_int_equal(sw_queue_worker(b.sender, 1), -1);
		assert_int_equal(sw_queue_add(b.sender, false, 1), 0);
		assert_int_equal(sw_queue_worker(b.sender, 1), worker);
	}
	assert_int_equal(sw_queue_move(b.sender, 7, 2, on_count, &b.done), 0);
	assert_int_equal(b.done, 1);
	assert_int_equal(sw_queue_add(b.sender, false, 7), 0);
	assert_int_equal(sw_queue_worker(b.sender, 7), 2);
	send_some(&b, 1);
	wait_idle(&b);
	all_came(&b);
	end(&b);
}

static void a_port_may_go_while_its_queues_move(void **state)
{
	struct bench b;

	begin(&b, true, false);
	for (unsigned worker = 0; worker < WORKERS; worker++)
		for (unsigned queue = 0; queue < QUEUES; queue++)
			assert_int_equal(sw_queue_move(b.sender, queue, worker, on_count, &b.done), 0);
	send_some(&b, 0);
	end(&b);
	assert_int_equal(b.done, WORKERS * QUEUES); /* told all the same */
}

static void what_is_not_there_is_refused(void **state)
{
	struct bench b;

	begin(&b, true, false);
	assert_int_equal(sw_queue_move(b.sender, 0, WORKERS, on_count, &b.done), -ERANGE);
	assert_int_equal(sw_queue_move(b.sender, SW_QUEUES_MAX, 0, on_count, &b.done), -ERANGE);
	assert_int_equal(b.done, 0);
	end(&b);
}

/* ---- by itself ---- */

#define LOOK_MS 200u

static unsigned waiting(const struct bench *b, unsigned queue)
{
	unsigned count;

	pthread_mutex_lock(&b->from->lock);
	count = b->from->sent[queue].end - b->from->sent[queue].first;
	pthread_mutex_unlock(&b->from->lock);
	return count;
}

/* Both queues always have frames. */
static void keep_busy(struct bench *b)
{
	for (unsigned i = 0; i < QUEUES; i++)
		if (waiting(b, i) < 2 * BURST)
			send_some(b, i);
	loop_dispatch(b->loop, 1);
}

static uint64_t moved_by_itself(const struct bench *b)
{
	uint64_t in = 0, out = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		struct sw_worker_stats stats;

		sw_worker_stats(b->sw, i, &stats);
		assert_true(stats.has_cpu && stats.busy_percent <= 100);
		in += stats.moved_in;
		out += stats.moved_out;
	}
	assert_int_equal(in, out);
	return in;
}

/* Frames take long to deliver: whoever has both queues has no moment to spare, and a look's time is that of many bursts. */
static void who_is_busy_gives_a_queue_away_by_itself_and_loses_nothing(void **state)
{
	struct timespec begun, now;
	struct bench b;

	begin_with(&b, &(struct sw_config){.workers = WORKERS, .balance = true, .balance_ms = LOOK_MS}, true, false);
	fake_port_slow(b.to, 200);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(sw_queue_move(b.sender, i, 1, NULL, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (now = begun; (now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000 < 5 * (long)LOOK_MS;
	     clock_gettime(CLOCK_MONOTONIC, &now))
		keep_busy(&b);
	assert_int_equal(moved_by_itself(&b), 0); /* they stay where they were put, */
	for (unsigned i = 0; i < QUEUES; i++)
		sw_queue_anywhere(b.sender, i);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	while (!moved_by_itself(&b) && in_time(&begun)) /* until that is taken back */
		keep_busy(&b);
	assert_int_equal(moved_by_itself(&b), 1);
	assert_int_not_equal(sw_queue_worker(b.sender, 0), sw_queue_worker(b.sender, 1));
	assert_int_equal(sw_queue_home(b.sender, 0), -1);
	fake_port_slow(b.to, 0);
	wait_idle(&b);
	all_came(&b);
	end(&b);
}

/* What was set is told, also where there is nobody to give anything to, and nothing is looked at. */
static void who_has_no_other_worker_balances_all_the_same(void **state)
{
	for (unsigned workers = 1; workers <= 2; workers++) {
		for (unsigned balance = 0; balance <= 1; balance++) {
			struct bench b;

			begin_with(&b, &(struct sw_config){.workers = workers, .balance = balance}, true, false);
			assert_int_equal(sw_balances(b.sw), balance);
			assert_int_equal(sw_looks(b.sw), balance && workers > 1);
			end(&b);
		}
	}
}

/* ---- nodes ---- */

static unsigned nodes_asked;

/* What is played: all memory lies on node 1. */
static int all_on_node_1(unsigned count, void *const *addresses, int *ret_nodes)
{
	nodes_asked += count;
	for (unsigned i = 0; i < count; i++)
		ret_nodes[i] = addresses[i] ? 1 : -ENOENT;
	return 0;
}

static void file_write(const char *folder, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* A machine whose CPUs `first` and `second` lie on two nodes, or the same one. */
static void machine_play(const char *folder, int first, int second, bool two)
{
	char path[256], list[32];

	file_write(folder, "possible", two ? "0-1\n" : "0\n");
	for (int node = 0; node < (two ? 2 : 1); node++) {
		snprintf(path, sizeof(path), "%s/node%d", folder, node);
		assert_int_equal(mkdir(path, 0700), 0);
		snprintf(list, sizeof(list), two ? "%d\n" : "%d,%d\n", node ? second : first, second);
		file_write(path, "cpulist", list);
	}
}

static void machine_end(const char *folder)
{
	static const char *const names[] = {"node0/cpulist", "node1/cpulist", "node0", "node1", "possible", ""};
	char path[256];

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
}

static bool two_cpus(int cpus[2])
{
	cpu_set_t set;
	int count = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[count++] = cpu;
	return count == 2;
}

/* As taskset does it, which sets one thread if it is not told otherwise. */
static void who_narrows_the_control_thread_takes_no_cpu_from_workers(void **state)
{
	cpu_set_t before, one;
	struct bench b;
	int cpus[2];

	if (!two_cpus(cpus))
		skip();
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	begin_with(&b, &(struct sw_config){.workers = WORKERS, .balance = true, .balance_ms = 10}, true, false);
	CPU_ZERO(&one);
	CPU_SET(cpus[0], &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	for (unsigned i = 0; i < 200; i++)
		keep_busy(&b);
	moved_by_itself(&b); /* asserts that each has one */
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
	wait_idle(&b);
	all_came(&b);
	end(&b);
}

static bool refused; /* a queue cannot be watched */

static int kick_fd_or_refused(void *opaque, unsigned queue)
{
	return refused ? INT_MAX : fake_port_ops.kick_fd(opaque, queue);
}

static unsigned told_stuck; /* atomic */

static void stuck_note(void *opaque, enum vireo_log_level level, const char *line)
{
	if (strstr(line, "until it can go to worker 1: Bad file descriptor"))
		__atomic_add_fetch(&told_stuck, 1, __ATOMIC_RELAXED);
}

static void begin_on(struct bench *b, const int cpus[2], const char *folder)
{
	const struct sw_nodes nodes = {folder, all_on_node_1};

	nodes_asked = 0;
	guest_ops = fake_port_ops;
	guest_ops.peer_memory = true;
	guest_ops.kick_fd = kick_fd_or_refused;
	begin_with(b,
		   &(struct sw_config){.workers = 2, .cpus = cpus, .balance = true, .balance_ms = 10, .nodes = &nodes, .log = {stuck_note, NULL, VIREO_LOG_WARNING}},
		   true, false);
	for (unsigned i = 0; i < QUEUES; i++) {
		assert_int_equal(sw_queue_move(b->sender, i, 0, NULL, NULL), 0);
		sw_queue_anywhere(b->sender, i);
	}
}

static void queues_go_to_the_node_of_their_memory(void **state)
{
	char folder[] = "/tmp/vireo-move-XXXXXX";
	struct timespec begun;
	struct bench b;
	int cpus[2];

	if (!two_cpus(cpus))
		skip();
	assert_non_null(mkdtemp(folder));
	machine_play(folder, cpus[0], cpus[1], true);
	begin_on(&b, cpus, folder);
	machine_end(folder);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	while ((sw_queue_worker(b.sender, 0) != 1 || sw_queue_worker(b.sender, 1) != 1) && in_time(&begun))
		keep_busy(&b);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(sw_queue_worker(b.sender, i), 1);
	assert_true(nodes_asked >= QUEUES * NODES_VOTES_KNOWN);
	wait_idle(&b);
	all_came(&b);
	end(&b);
}

static void where_there_is_one_node_nobody_asks(void **state)
{
	char folder[] = "/tmp/vireo-move-XXXXXX";
	struct bench b;
	int cpus[2];

	if (!two_cpus(cpus))
		skip();
	assert_non_null(mkdtemp(folder));
	machine_play(folder, cpus[0], cpus[1], false);
	begin_on(&b, cpus, folder);
	machine_end(folder);
	for (unsigned i = 0; i < 200; i++)
		keep_busy(&b);
	assert_int_equal(nodes_asked, 0);
	wait_idle(&b);
	all_came(&b);
	end(&b);
}

/* taskset -a */
static void all_threads_run_on(const cpu_set_t *set)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *entry;

	assert_non_null(tasks);
	while ((entry = readdir(tasks)))
		if (atoi(entry->d_name) > 0)
			sched_setaffinity(atoi(entry->d_name), sizeof(*set), set);
	closedir(tasks);
}

static bool both_with(const struct bench *b, int worker)
{
	return sw_queue_worker(b->sender, 0) == worker && sw_queue_worker(b->sender, 1) == worker;
}

static void what_cannot_leave_a_worker_without_a_cpu_is_told_of_once_and_goes_later(void **state)
{
	char folder[] = "/tmp/vireo-move-XXXXXX";
	cpu_set_t before, one;
	struct timespec begun;
	struct bench b;
	int cpus[2];

	if (!two_cpus(cpus))
		skip();
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_non_null(mkdtemp(folder));
	machine_play(folder, cpus[0], cpus[1], false);
	begin_on(&b, cpus, folder);
	machine_end(folder);
	__atomic_store_n(&told_stuck, 0, __ATOMIC_RELAXED);
	refused = true;
	CPU_ZERO(&one);
	CPU_SET(cpus[1], &one);
	all_threads_run_on(&one);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	while (__atomic_load_n(&told_stuck, __ATOMIC_RELAXED) < QUEUES && in_time(&begun))
		keep_busy(&b);
	for (unsigned i = 0; i < 200; i++)
		keep_busy(&b);
	assert_int_equal(__atomic_load_n(&told_stuck, __ATOMIC_RELAXED), QUEUES);
	assert_true(both_with(&b, 0));
	refused = false;
	while (!both_with(&b, 1) && in_time(&begun))
		keep_busy(&b);
	assert_true(both_with(&b, 1));
	all_threads_run_on(&before);
	wait_idle(&b);
	all_came(&b);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_queue_moves_under_traffic_and_loses_nothing),
		cmocka_unit_test(it_may_be_moved_on_before_it_has_arrived),
		cmocka_unit_test(so_may_one_that_has_to_be_asked),
		cmocka_unit_test(so_may_one_that_is_served_aside),
		cmocka_unit_test(the_worker_that_it_is_moved_to_serves_it),
		cmocka_unit_test(it_is_still_that_workers_when_it_comes_again),
		cmocka_unit_test(a_port_may_go_while_its_queues_move),
		cmocka_unit_test(what_is_not_there_is_refused),
		cmocka_unit_test(who_is_busy_gives_a_queue_away_by_itself_and_loses_nothing),
		cmocka_unit_test(who_has_no_other_worker_balances_all_the_same),
		cmocka_unit_test(who_narrows_the_control_thread_takes_no_cpu_from_workers),
		cmocka_unit_test(queues_go_to_the_node_of_their_memory),
		cmocka_unit_test(where_there_is_one_node_nobody_asks),
		cmocka_unit_test(what_cannot_leave_a_worker_without_a_cpu_is_told_of_once_and_goes_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
