/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/drop.h"
#include "base/fd.h"
#include "base/util.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LINGER_S 3600 /* who waits for it is ended by alarm() */

static unsigned runs; /* calls of run_thread() */

struct call {
	void (*work)(void *argument);
	void *argument;
};

static void *call_main(void *opaque)
{
	struct call call = *(struct call *)opaque;

	free(opaque);
	call.work(call.argument);
	return NULL;
}

static int run_thread(void *opaque, void (*work)(void *argument), void *argument)
{
	struct call *call = malloc(sizeof(*call));
	pthread_t thread;

	*call = (struct call){ work, argument };
	assert_int_equal(pthread_create(&thread, NULL, call_main, call), 0);
	pthread_detach(thread);
	runs++;
	return 0;
}

static int run_never(void *opaque, void (*work)(void *argument), void *argument)
{
	return -EAGAIN;
}

static unsigned count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static void await(struct drop *drop, unsigned waiting)
{
	while (drop_waiting(drop) > waiting) /* who waits for ever is ended by alarm() */
		usleep(1000);
}

/* A connection whose close waits for LINGER_S, or until its other end goes. */
static void lingering(int *ret_fd, int *ret_peer)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger linger = { 1, LINGER_S };
	socklen_t bytes = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 2048;
	static char much[65536];

	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(bind(listener, (struct sockaddr *)&address, bytes), 0);
	assert_int_equal(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&address, &bytes);
	*ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*ret_fd, (struct sockaddr *)&address, bytes), 0);
	*ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	while (send(*ret_fd, much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	setsockopt(*ret_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void what_lingers_holds_up_neither_the_caller_nor_another_list(void **state)
{
	int fds[3], peers[3], own = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct drop *liar, *honest;

	assert_int_equal(drop_new(run_thread, NULL, &liar), 0);
	assert_int_equal(drop_new(run_thread, NULL, &honest), 0);
	runs = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		lingering(&fds[i], &peers[i]);
		drop_fd(liar, &fds[i]);
		assert_int_equal(fds[i], -1);
	}
	assert_int_equal(runs, DROP_HELPERS_MAX); /* and no more, as many as there are to be closed */
	drop_fd(honest, &own);
	await(honest, 0);
	assert_int_equal(drop_waiting(liar), ARRAY_SIZE(fds));
	drop_unref(honest);
	for (unsigned i = 0; i < ARRAY_SIZE(peers); i++)
		close(peers[i]); /* with what it has not read: the connection is reset */
	await(liar, 0);
	drop_unref(liar);
}

static void the_peer_of_a_socket_sees_its_end_at_once(void **state)
{
	int fds[2], peers[2], pair[2];
	struct drop *drop;
	char byte;

	assert_int_equal(drop_new(run_thread, NULL, &drop), 0);
	for (unsigned i = 0; i < 2; i++) {
		lingering(&fds[i], &peers[i]);
		drop_fd(drop, &fds[i]);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	drop_socket(drop, &pair[0]); /* both helpers hang */
	assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0);
	close(pair[1]);
	close(peers[0]);
	close(peers[1]);
	await(drop, 0);
	drop_unref(drop);
}

static void what_waits_is_closed_after_the_owner_has_gone(void **state)
{
	unsigned before = count_fds();
	int fd, peer, others[8];
	struct drop *drop;

	lingering(&fd, &peer);
	assert_int_equal(drop_new(run_thread, NULL, &drop), 0);
	drop_fd(drop, &fd);
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		others[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		drop_fd(drop, &others[i]);
	}
	drop_unref(drop);
	close(peer);
	while (count_fds() > before)
		usleep(1000);
}

static void without_a_thread_it_is_closed_by_the_caller(void **state)
{
	struct drop *drops[2] = { NULL };
	int fd, copy;

	assert_int_equal(drop_new(run_never, NULL, &drops[1]), 0);
	for (unsigned i = 0; i < 2; i++) {
		copy = fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		errno = 77;
		drop_fd(drops[i], &fd);
		assert_int_equal(fd, -1);
		assert_int_equal(errno, 77);
		assert_int_equal(fcntl(copy, F_GETFD), -1);
		assert_int_equal(drop_waiting(drops[i]), 0);
		drop_fd(drops[i], &fd); /* empty: nothing happens */
		drop_unref(drops[i]);
	}
}

/* More than a piece, and not a whole number of pieces. */
static void memory_is_unmapped_to_its_last_page(void **state)
{
	size_t bytes = (UINT64_C(5) << 29) + 4096;
	int fd = memfd_create("drop", MFD_CLOEXEC);
	struct drop *drop;
	unsigned char in;
	char *at;

	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	at = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(drop_new(run_thread, NULL, &drop), 0);
	drop_memory(drop, at, bytes, NULL, NULL);
	await(drop, 0);
	for (size_t offset = 0; offset < bytes; offset += bytes - 4096) {
		assert_int_equal(mincore(at + offset, 4096, &in), -1);
		assert_int_equal(errno, ENOMEM);
	}
	drop_unref(drop);
	close(fd);
}

static void note(void *opaque)
{
	__atomic_fetch_add((unsigned *)opaque, 1, __ATOMIC_RELEASE);
}

/* In the same threads: where both hang, it waits, and the caller does not. */
static void work_waits_its_turn(void **state)
{
	int fds[DROP_HELPERS_MAX], peers[DROP_HELPERS_MAX];
	unsigned done = 0;
	struct drop *drop;

	assert_int_equal(drop_new(run_thread, NULL, &drop), 0);
	for (unsigned i = 0; i < DROP_HELPERS_MAX; i++) {
		lingering(&fds[i], &peers[i]);
		drop_fd(drop, &fds[i]);
	}
	drop_call(drop, note, &done);
	assert_int_equal(__atomic_load_n(&done, __ATOMIC_ACQUIRE), 0);
	for (unsigned i = 0; i < DROP_HELPERS_MAX; i++)
		close(peers[i]);
	await(drop, 0);
	assert_int_equal(__atomic_load_n(&done, __ATOMIC_ACQUIRE), 1);
	drop_call(NULL, note, &done);
	assert_int_equal(done, 2);
	drop_unref(drop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_lingers_holds_up_neither_the_caller_nor_another_list),
		cmocka_unit_test(the_peer_of_a_socket_sees_its_end_at_once),
		cmocka_unit_test(what_waits_is_closed_after_the_owner_has_gone),
		cmocka_unit_test(without_a_thread_it_is_closed_by_the_caller),
		cmocka_unit_test(memory_is_unmapped_to_its_last_page),
		cmocka_unit_test(work_waits_its_turn),
	};

	alarm(100);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
