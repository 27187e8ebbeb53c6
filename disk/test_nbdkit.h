/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_TEST_NBDKIT_H
#define DISK_TEST_NBDKIT_H

/* What the unit tests of nbd have in common: an nbdkit at a socket in a folder of the test's own. */

#include "disk/test_disk.h"
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/vireo-nbd-XXXXXX", socket_path[64];

static inline bool have_nbdkit(void)
{
	static const char *const places[] = {"/usr/bin/nbdkit", "/usr/local/bin/nbdkit", "/usr/sbin/nbdkit"};

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
		if (!access(places[i], X_OK))
			return true;
	print_message("skipped: there is no nbdkit\n");
	return false;
}

#define NEED_NBDKIT() \
	do { \
		if (!have_nbdkit()) \
			skip(); \
	} while (0)

static inline bool somebody_listens(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool listens;

	assert_true(fd >= 0);
	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	listens = !connect(fd, (struct sockaddr *)&address, sizeof(address));
	close(fd);
	return listens;
}

/* There is a moment between its making and the listening. */
static inline void wait_for_socket(void)
{
	for (unsigned i = 0; !somebody_listens(); i++) {
		assert_true(i < 2000);
		usleep(10000);
	}
}

/* Up to seven words, then NULL. It listens when this returns. */
static inline pid_t serve(const char *first, ...)
{
	const char *words[16] = {"nbdkit", "-f", "-U", socket_path, first};
	unsigned count = 4;
	pid_t child;
	va_list rest;

	va_start(rest, first);
	for (const char *word = first; word; word = va_arg(rest, const char *))
		words[count++] = word;
	va_end(rest);
	words[count] = NULL;
	unlink(socket_path);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp("nbdkit", (char *const *)(uintptr_t)words);
		_exit(127);
	}
	wait_for_socket();
	return child;
}

static inline void end(pid_t child)
{
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	unlink(socket_path);
}

static inline const char *spec(const char *keys)
{
	static char text[320];

	snprintf(text, sizeof(text), "nbd:nbd+unix:///?socket=%s%s", socket_path, keys);
	return text;
}

static inline void expect_spec_refused(const char *whole, const char *because)
{
	struct disk_config config = {0};
	char why[DISK_WHY_BYTES] = "";
	struct disk *disk;

	assert_true(disk_open(whole, &config, &disk, why) < 0);
	if (!strstr(why, because))
		print_error("'%s' is not in '%s'\n", because, why);
	assert_non_null(strstr(why, because));
}

static inline void expect_refused(const char *keys, const char *because)
{
	expect_spec_refused(spec(keys), because);
}

#endif
