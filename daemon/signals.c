/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/signals.h"
#include "base/util.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const struct {
	int number;
	const char *name;
	enum signals_verdict verdict;
} known[] = {
	{SIGTERM, "SIGTERM", SIGNALS_END},
	{SIGINT, "SIGINT", SIGNALS_END},
	{SIGXCPU, "SIGXCPU", SIGNALS_END}, /* of what a limit has left, the end needs little */
	{SIGHUP, "SIGHUP", SIGNALS_RELOAD},
	{SIGUSR1, "SIGUSR1", SIGNALS_NO_MEANING},
	{SIGUSR2, "SIGUSR2", SIGNALS_NO_MEANING},
	{SIGALRM, "SIGALRM", SIGNALS_NO_MEANING},
	{SIGVTALRM, "SIGVTALRM", SIGNALS_NO_MEANING},
	{SIGPROF, "SIGPROF", SIGNALS_NO_MEANING},
	{SIGIO, "SIGIO", SIGNALS_NO_MEANING},
	{SIGPWR, "SIGPWR", SIGNALS_NO_MEANING},
	{SIGSTKFLT, "SIGSTKFLT", SIGNALS_NO_MEANING},
};

static bool is_default(int number)
{
	struct sigaction action;

	return !sigaction(number, NULL, &action) && action.sa_handler == SIG_DFL;
}

static void add_default(sigset_t *set, int number)
{
	if (is_default(number))
		sigaddset(set, number);
}

int signals_open(void)
{
	sigset_t set, faults;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		add_default(&set, known[i].number);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		add_default(&set, number);
	sigemptyset(&faults); /* whoever has started us may have blocked it: a fault would be the end then */
	sigaddset(&faults, SIGBUS);
	if (sigprocmask(SIG_BLOCK, &set, NULL) || sigprocmask(SIG_UNBLOCK, &faults, NULL) ||
	    signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
	    signal(SIGXFSZ, SIG_IGN) == SIG_ERR) /* a log that has reached its limit is a full disk */
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

void signals_end_at_once(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].verdict == SIGNALS_END)
			add_default(&set, known[i].number);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

enum signals_verdict signals_next(int fd, int *ret_number)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return SIGNALS_NONE;
	*ret_number = (int)info.ssi_signo;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].number == *ret_number)
			return known[i].verdict;
	return SIGNALS_NO_MEANING;
}

const char *signals_name(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].number == number)
			return known[i].name;
	return "a real-time signal";
}
