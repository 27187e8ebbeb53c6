/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/unix_socket.h"
#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants some of the above */
#include <cmocka.h>

#define RACERS 4
#define ROUNDS 150

static char folder[64], path[128];

static int setup(void **state)
{
	strcpy(folder, "/tmp/unix-socket-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sock", folder);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	assert_int_equal(rmdir(folder), 0); /* nothing else is left: no lock file, no other name */
	return 0;
}

static int listen_at(const char *at, struct unix_listener *ret)
{
	const struct unix_listen_config config = {at, 0600, (uid_t)-1, (gid_t)-1, 4, NULL};

	return unix_listen(&config, ret);
}

/* What a process that was killed leaves. */
static void leave_stale(void)
{
	struct unix_listener dead;

	assert_int_equal(listen_at(path, &dead), 0);
	fd_close(&dead.fd);
	free(dead.path);
}

static bool answers(void)
{
	int fd = -1, r = unix_connect(path, NULL, &fd);

	fd_close(&fd);
	return !r;
}

struct racer {
	pthread_t thread;
	pthread_barrier_t *start;
	struct unix_listener listener;
	int result;
};

static void *race(void *opaque)
{
	struct racer *racer = opaque;

	pthread_barrier_wait(racer->start);
	racer->result = listen_at(path, &racer->listener);
	return NULL;
}

static void round_has_one_winner(pthread_barrier_t *start)
{
	struct racer racers[RACERS] = {0};
	unsigned winners = 0;

	for (unsigned i = 0; i < RACERS; i++) {
		racers[i].start = start;
		racers[i].listener.fd = -1;
		assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < RACERS; i++)
		pthread_join(racers[i].thread, NULL);
	for (unsigned i = 0; i < RACERS; i++) {
		winners += !racers[i].result;
		assert_true(!racers[i].result || racers[i].result == -EADDRINUSE);
	}
	assert_int_equal(winners, 1);
	assert_true(answers());
	for (unsigned i = 0; i < RACERS; i++)
		unix_unlisten(&racers[i].listener, NULL);
	assert_int_equal(access(path, F_OK), -1);
}

static void of_all_who_take_a_path_at_once_one_gets_it(void **state)
{
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, RACERS);
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (round % 2)
			leave_stale();
		round_has_one_winner(&start);
	}
	pthread_barrier_destroy(&start);
}

/* One ends, and others come, all at once: the path of who comes is not taken away by who goes. */
static void who_ends_does_not_take_a_successors_path_away(void **state)
{
	struct racer racer = {.listener = {.fd = -1}};
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, 2);
	racer.start = &start;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct unix_listener old;

		assert_int_equal(listen_at(path, &old), 0);
		assert_int_equal(pthread_create(&racer.thread, NULL, race, &racer), 0);
		pthread_barrier_wait(&start);
		unix_unlisten(&old, NULL);
		pthread_join(racer.thread, NULL);
		assert_int_equal(answers(), !racer.result);
		unix_unlisten(&racer.listener, NULL);
	}
	pthread_barrier_destroy(&start);
}

static void a_stale_socket_is_replaced_and_one_that_answers_is_not(void **state)
{
	struct unix_listener first, second;

	leave_stale();
	assert_int_equal(listen_at(path, &first), 0);
	assert_int_equal(listen_at(path, &second), -EADDRINUSE);
	assert_true(answers());
	unix_unlisten(&first, NULL);
	assert_int_equal(listen_at(path, &second), 0);
	unix_unlisten(&second, NULL);
}

static void what_is_no_socket_stays(void **state)
{
	struct unix_listener listener;
	char target[128];
	struct stat st;

	fclose(fopen(path, "w"));
	assert_int_equal(listen_at(path, &listener), -EEXIST);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	snprintf(target, sizeof(target), "%s/target", folder);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(listen_at(path, &listener), -EEXIST);
	unlink(target);
	assert_int_equal(listen_at(path, &listener), -EEXIST); /* it dangles now */
	assert_int_equal(lstat(path, &st), 0);
}

static void a_folder_that_is_none_is_told(void **state)
{
	struct unix_listener listener;
	char below[160];

	snprintf(below, sizeof(below), "%s/no/sock", folder);
	assert_int_equal(listen_at(below, &listener), -ENOENT);
	fclose(fopen(path, "w"));
	snprintf(below, sizeof(below), "%s/sock", path);
	assert_int_equal(listen_at(below, &listener), -ENOTDIR);
}

/* In a child with another user, if this is root. */
static int listen_as_nobody(void)
{
	struct unix_listener listener = {.fd = -1};
	int status, r;
	pid_t child = fork();

	if (child == 0) {
		r = geteuid() ? 0 : setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534);
		r = r ? 255 : -listen_at(path, &listener);
		unix_unlisten(&listener, NULL);
		_exit(r);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return -WEXITSTATUS(status);
}

static void who_may_not_use_the_folder_is_told(void **state)
{
	chmod(folder, 0711); /* others may look up, and neither read nor write */
	if (!geteuid())
		assert_int_equal(listen_as_nobody(), -EACCES);
	chmod(folder, geteuid() ? 0500 : 0755);
	assert_int_equal(listen_as_nobody(), -EACCES);
	chmod(folder, 01777);
	if (!geteuid()) {
		leave_stale();
		assert_int_equal(chmod(path, 0666), 0);
		assert_int_equal(listen_as_nobody(), -EACCES); /* a sticky folder: only its owner may remove it */
	}
	chmod(folder, 0700);
}

static void a_stranger_with_the_lock_is_waited_for_and_then_told(void **state)
{
	struct unix_listener listener;
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_false(unix_listen_waits(path));
	assert_int_equal(flock(fd, LOCK_SH), 0);
	assert_true(unix_listen_waits(path));
	assert_int_equal(listen_at(path, &listener), -EBUSY);
	assert_int_equal(access(path, F_OK), -1);
	close(fd);
	assert_false(unix_listen_waits(path)); /* it has not kept the lock itself */
	assert_false(unix_listen_waits("/nowhere/at/all"));
	assert_int_equal(listen_at(path, &listener), 0);
	unix_unlisten(&listener, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(of_all_who_take_a_path_at_once_one_gets_it),
		TEST(who_ends_does_not_take_a_successors_path_away),
		TEST(a_stale_socket_is_replaced_and_one_that_answers_is_not),
		TEST(what_is_no_socket_stays),
		TEST(a_folder_that_is_none_is_told),
		TEST(who_may_not_use_the_folder_is_told),
		TEST(a_stranger_with_the_lock_is_waited_for_and_then_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
