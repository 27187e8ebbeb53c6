/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/upgrade.h"
#include "ctl/client.h"
#include "ctl/command.h"
#include "daemon/notify.h"
#include "daemon/settings.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANAGER_MS 1000u /* the control thread stands still meanwhile; the old process has more time */

/* ---- is it another program? ---- */

/* Who serves the control socket; 0: nobody who says so, and whoever takes over will find out why. */
static pid_t running(const struct daemon_options *options, const char *name)
{
	char path[PATH_MAX];
	struct ctl_client *client;
	struct ctl_failure failure;
	json_t *result = NULL;
	pid_t pid = 0;

	if (!options->control && ctl_default_path(name, path, sizeof(path)))
		return 0;
	if (ctl_client_new(options->control ? options->control : path, CTL_CLIENT_TIMEOUT_MS, &client))
		return 0;
	if (!ctl_client_call(client, "version", json_object(), &result, &failure))
		pid = (pid_t)json_integer_value(json_object_get(result, "pid"));
	json_decref(result);
	ctl_client_free(client);
	return pid;
}

/* One whose file has been replaced by now has still the old one. */
static bool same_program(pid_t pid)
{
	char path[64];
	struct stat other, own;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return !stat(path, &other) && !stat("/proc/self/exe", &own) && other.st_dev == own.st_dev && other.st_ino == own.st_ino;
}

/* ---- two processes ---- */

/* 0 in an orphan, else the pid of a child that ends at once, with 0 if there is one; or -errno. */
static pid_t fork_orphan(void)
{
	pid_t child = fork();

	if (child)
		return child < 0 ? -errno : child;
	child = fork();
	if (child)
		_exit(child < 0);
	setsid();
	return 0;
}

/* The exit status: what upgrade_done() says comes from the one that has taken over; or its end of the socket is closed. */
static int waited(const char *program, pid_t child, int fd)
{
	int status = 0;
	ssize_t n;
	char done;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	if (status)
		fprintf(stderr, "%s: not upgraded: no process is to be had: raise TasksMax= of the service, or ulimit -u\n", program);
	do
		n = recv(fd, &done, 1, 0);
	while (n < 0 && errno == EINTR);
	return n != 1;
}

bool upgrade_aside(struct daemon_options *options, const char *program, const char *name, int *ret_status)
{
	pid_t child, pid;
	int pair[2];

	if (!options->upgrade)
		return false;
	*ret_status = 0;
	pid = running(options, name);
	if (pid > 0 && same_program(pid)) {
		fprintf(stderr, "%s: process %d runs this program already: nothing to be upgraded\n", program, (int)pid);
		return true;
	}
	*ret_status = 1;
	child = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ? -errno : fork_orphan();
	if (child < 0) {
		fprintf(stderr, "%s: not upgraded: %s\n", program, strerror(-child));
		return true;
	}
	if (!child) {
		close(pair[0]);
		options->upgrade_fd = pair[1];
		return false;
	}
	close(pair[1]);
	*ret_status = waited(program, child, pair[0]);
	close(pair[0]);
	return true;
}

void upgrade_done(const struct daemon_options *options)
{
	if (!options->upgrade_fd)
		return;
	notify_main_pid(getpid(), MANAGER_MS);
	send(options->upgrade_fd, "", 1, MSG_NOSIGNAL);
	close(options->upgrade_fd);
}
