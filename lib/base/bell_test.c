/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/bell.h"
#include "base/fd.h"
#include "base/notifier.h"
#include "base/racer_test.h"
#include "base/refused_test.h"
#include "vireo/notifier.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include <cmocka.h>

#define ROUNDS 5000u
#define RACE_MS 1500 /* at most, where rounds are slow */
#define PATIENCE_MS 20000

/* ---- a program that runs things aside ---- */

struct aside {
	void (*work)(void *argument);
	void *argument;
};

static unsigned threads; /* atomic: that run */

static void *aside_main(void *opaque)
{
	struct aside aside = *(struct aside *)opaque;

	free(opaque);
	aside.work(aside.argument);
	__atomic_fetch_sub(&threads, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static int run_aside(void *opaque, void (*work)(void *argument), void *argument)
{
	struct aside *aside = malloc(sizeof(*aside));
	pthread_t thread;

	if (opaque) /* a program that has no threads left */
		*(int *)opaque += 1;
	if (opaque || !aside) {
		free(aside);
		return -EAGAIN;
	}
	*aside = (struct aside){ .work = work, .argument = argument };
	__atomic_fetch_add(&threads, 1, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_create(&thread, NULL, aside_main, aside), 0);
	pthread_detach(thread);
	return 0;
}

static bool threads_become(unsigned number)
{
	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		if (__atomic_load_n(&threads, __ATOMIC_SEQ_CST) == number)
			return true;
		usleep(1000);
	}
	return false;
}

static struct vireo_notifier *notifier_without_aio(void *run_opaque)
{
	struct vireo_notifier_config config = {
		.size = sizeof(config),
		.run_aside = run_aside,
		.run_opaque = run_opaque,
	};
	struct vireo_notifier *notifier = NULL;
	int aio_err = 0;

	assert_int_equal(vireo_notifier_open(&config, &notifier, &aio_err), 0);
	assert_int_equal(aio_err, -EAGAIN);
	return notifier;
}

/* A thread that gets no kernel AIO, as if fs.aio-max-nr were used up. */
static void in_a_thread_without_aio(void (*test)(void))
{
	if (refused_run(SYS_io_setup, EAGAIN, test))
		return;
	print_message("skipped: no system call can be refused here\n");
	skip();
}

/* ---- raising ---- */

static bool readable(int fd, int ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, ms) == 1;
}

static int blocking_eventfd(uint64_t count)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_true(fd >= 0);
	if (count)
		assert_int_equal(write(fd, &count, sizeof(count)), sizeof(count));
	return fd;
}

static struct vireo_notifier *racers; /* has kernel AIO */

struct raising {
	struct bell *bell;
	struct racer racer;
	unsigned raised; /* atomic */
};

static void *raise_main(void *opaque)
{
	struct raising *raising = opaque;

	while (__atomic_load_n(&raising->racer.rounds, __ATOMIC_RELAXED) < ROUNDS) {
		bell_raise(raising->bell);
		__atomic_fetch_add(&raising->raised, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Returns whether all raises came to an end. */
static bool raises_against_a_racer(struct bell *bell)
{
	struct raising raising = { .bell = bell };
	pthread_t thread;
	struct timespec end;
	bool done;

	racer_start(&raising.racer, racers, bell->fd, &raising.raised);
	assert_int_equal(pthread_create(&thread, NULL, raise_main, &raising), 0);
	for (int ms = 0; ms < RACE_MS && __atomic_load_n(&raising.racer.rounds, __ATOMIC_RELAXED) < ROUNDS; ms++)
		usleep(1000);
	/* One more raise, and it ends, however busy the machine is: unless that waits. */
	__atomic_fetch_add(&raising.racer.rounds, ROUNDS, __ATOMIC_RELAXED);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_MS / 1000;
	done = !pthread_timedjoin_np(thread, NULL, &end);
	racer_stop(&raising.racer);
	if (!done)
		pthread_join(thread, NULL); /* let go by the racer's end */
	return done;
}

static void peer_that_races_blocks_nobody(void **state)
{
	struct bell bell = BELL_INIT;

	if (!racers)
		skip();
	assert_int_equal(bell_set(&bell, racers, blocking_eventfd(0)), 0);
	assert_true(raises_against_a_racer(&bell));
	bell_forget(&bell);
}

static void race_without_aio(void)
{
	struct vireo_notifier *notifier = notifier_without_aio(NULL);
	struct bell bell = BELL_INIT;

	assert_int_equal(bell_set(&bell, notifier, blocking_eventfd(0)), 0);
	assert_true(raises_against_a_racer(&bell));
	bell_forget(&bell);
	vireo_notifier_free(notifier);
	assert_true(threads_become(0));
}

static void peer_that_races_blocks_its_own_thread_where_there_is_no_aio(void **state)
{
	if (!racers)
		skip();
	in_a_thread_without_aio(race_without_aio);
}

static void raise_without_aio(void)
{
	struct vireo_notifier *notifier = notifier_without_aio(NULL);
	struct bell bell = BELL_INIT;
	int fd = blocking_eventfd(0);

	assert_int_equal(bell_set(&bell, notifier, dup(fd)), 0);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(bell_raise(&bell));
		assert_true(readable(fd, PATIENCE_MS));
		fd_event_clear(fd);
	}
	bell_unset(&bell);
	assert_true(threads_become(0));
	bell_raise(&bell);
	assert_false(readable(fd, 0));
	fd_close(&fd);
	bell_forget(&bell);
	vireo_notifier_free(notifier);
}

static void counter_beyond_its_most_is_full(void **state)
{
	int fd = blocking_eventfd(UINT64_MAX - 1);
	struct bell bell = BELL_INIT;

	if (!racers)
		skip();
	assert_true(notifier_raise_aio(racers, fd)); /* poll(2) says POLLERR now, and write(2) waits */
	assert_int_equal(bell_set(&bell, NULL, fd), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_RDWR), 0);
	alarm(PATIENCE_MS / 1000);
	bell_raise(&bell);
	alarm(0);
	bell_forget(&bell);
}

static void every_raise_arrives_where_there_is_no_aio(void **state)
{
	in_a_thread_without_aio(raise_without_aio);
}

static void held_threads(void)
{
	struct vireo_notifier *notifier = notifier_without_aio(NULL);
	struct bell bell = BELL_INIT, other = BELL_INIT;
	int fds[BELL_HELD_MAX], fd = blocking_eventfd(0);

	assert_int_equal(bell_set(&other, notifier, fd), 0);
	for (unsigned i = 0; i < BELL_HELD_MAX; i++) {
		fds[i] = blocking_eventfd(UINT64_MAX - 1);
		assert_int_equal(bell_set(&bell, notifier, dup(fds[i])), 0);
		bell_raise(&bell);
	}
	/* Whatever became of those threads: nobody else misses anything, and the bell can be set again. */
	bell_raise(&other);
	assert_true(readable(fd, PATIENCE_MS));
	bell_unset(&bell);
	bell_unset(&other);
	assert_true(threads_become(0)); /* each was helped out: nobody filled its eventfd again */
	for (unsigned i = 0; i < BELL_HELD_MAX; i++)
		fd_close(&fds[i]);
	bell_forget(&bell);
	bell_forget(&other);
	vireo_notifier_free(notifier);
}

static void thread_that_a_peer_held_is_helped_out(void **state)
{
	in_a_thread_without_aio(held_threads);
}

static void no_thread(void)
{
	int asked = 0, fd = blocking_eventfd(0);
	struct vireo_notifier *notifier = notifier_without_aio(&asked);
	struct bell bell = BELL_INIT;

	assert_int_equal(bell_set(&bell, notifier, fd), -EAGAIN);
	assert_int_equal(asked, 1);
	assert_int_equal(bell.fd, -1);
	fd_close(&fd);
	vireo_notifier_free(notifier);
}

static void eventfd_is_refused_where_there_is_neither_aio_nor_a_thread(void **state)
{
	in_a_thread_without_aio(no_thread);
}

/* ---- sockets ---- */

static void socket_is_sent_to(struct vireo_notifier *notifier)
{
	struct bell bell = BELL_INIT;
	char bytes[8];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(bell_set(&bell, notifier, pair[1]), 0);
	for (unsigned i = 0; i < 10; i++) {
		bell_raise(&bell);
		assert_true(readable(pair[0], PATIENCE_MS));
		assert_int_equal(read(pair[0], bytes, sizeof(bytes)), 8);
	}
	for (unsigned i = 0; i < 10000; i++) /* far more than it holds */
		bell_raise(&bell);
	fd_close(&pair[0]);
	bell_raise(&bell); /* no SIGPIPE */
	bell_forget(&bell);
	assert_true(threads_become(0));
}

static void socket_is_sent_to_and_never_waits(void **state)
{
	struct vireo_notifier_config config = { .size = sizeof(config), .run_aside = run_aside };
	struct vireo_notifier *notifier;

	assert_int_equal(vireo_notifier_open(&config, &notifier, NULL), 0);
	socket_is_sent_to(notifier);
	vireo_notifier_free(notifier);
	socket_is_sent_to(NULL);
}

/* Whoever asks more often than its thread raises would count one slow raise as many. */
static void cost_of_a_raise_is_told_once(void **state)
{
	struct vireo_notifier_config config = { .size = sizeof(config), .run_aside = run_aside };
	struct vireo_notifier *notifier;
	struct bell bell = BELL_INIT;
	uint64_t cost = 0;
	int pair[2];

	assert_int_equal(vireo_notifier_open(&config, &notifier, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(bell_set(&bell, notifier, pair[1]), 0);
	assert_int_equal(bell_cost_take_ns(&bell), 0);
	bell_raise(&bell);
	for (int ms = 0; ms < PATIENCE_MS && !cost; ms++) {
		usleep(1000);
		cost = bell_cost_take_ns(&bell);
	}
	assert_true(cost > 0);
	assert_int_equal(bell_cost_take_ns(&bell), 0);
	bell_forget(&bell);
	assert_true(threads_become(0));
	fd_close(&pair[0]);
	vireo_notifier_free(notifier);
}

static void assert_refused(int fd)
{
	struct bell bell = BELL_INIT;

	assert_true(fd >= 0);
	assert_int_equal(bell_set(&bell, racers, fd), -EINVAL);
	close(fd);
}

/* What is in it might be file descriptors, whose close takes as long as their owner likes. */
static void socket_with_something_in_it_is_refused_and_gets_nothing_later(void **state)
{
	struct bell bell = BELL_INIT;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(send(pair[0], "x", 1, 0), 1);
	assert_refused(pair[1]);
	fd_close(&pair[0]);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(bell_set(&bell, racers, pair[1]), 0);
	assert_int_equal(send(pair[0], "x", 1, MSG_NOSIGNAL), -1);
	bell_forget(&bell);
	fd_close(&pair[0]);
}

static void other_sockets_are_no_bells(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2];

	assert_refused(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	assert_refused(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); /* not connected */
	assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(sa_family_t)), 0); /* a name of its own */
	assert_int_equal(listen(listening, 4), 0);
	assert_refused(listening);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_refused(pair[0]);
	assert_refused(pair[1]);
}

static struct vireo_notifier *handed_over;

static void make_one(void)
{
	handed_over = notifier_without_aio(NULL);
}

static void aio_is_asked_for_again(void **state)
{
	int fd = blocking_eventfd(0);

	if (!racers)
		skip();
	in_a_thread_without_aio(make_one); /* this thread may have it */
	for (int ms = 0; ms < PATIENCE_MS && !notifier_raise_aio(handed_over, fd); ms += 10)
		usleep(10000);
	assert_true(notifier_raise_aio(handed_over, fd));
	assert_true(readable(fd, 0));
	fd_close(&fd);
	vireo_notifier_free(handed_over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peer_that_races_blocks_nobody),
		cmocka_unit_test(peer_that_races_blocks_its_own_thread_where_there_is_no_aio),
		cmocka_unit_test(counter_beyond_its_most_is_full),
		cmocka_unit_test(every_raise_arrives_where_there_is_no_aio),
		cmocka_unit_test(thread_that_a_peer_held_is_helped_out),
		cmocka_unit_test(eventfd_is_refused_where_there_is_neither_aio_nor_a_thread),
		cmocka_unit_test(aio_is_asked_for_again),
		cmocka_unit_test(socket_is_sent_to_and_never_waits),
		cmocka_unit_test(cost_of_a_raise_is_told_once),
		cmocka_unit_test(socket_with_something_in_it_is_refused_and_gets_nothing_later),
		cmocka_unit_test(other_sockets_are_no_bells),
	};

	vireo_notifier_new(&racers); /* fails in a container without kernel AIO */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
