/* SPDX-License-Identifier: BSD-3-Clause */
#include "work/thread.h"
#include "base/affinity.h"
#include "work/patience.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A thread inherits the mask of whoever starts it. */
static void block_signals(sigset_t *ret_old)
{
	static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	sigset_t set;

	sigfillset(&set);
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&set, own[i]);
	pthread_sigmask(SIG_SETMASK, &set, ret_old);
}

int thread_start(pthread_t *ret_thread, const char *name, int cpu, void *(*main)(void *opaque), void *opaque)
{
	cpu_set_t cpus;
	sigset_t old;
	int err;

	if (cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&cpus);
	if (cpu >= 0)
		CPU_SET(cpu, &cpus);
	block_signals(&old);
	err = affinity_start(ret_thread, cpu >= 0 ? &cpus : NULL, main, opaque);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!err)
		pthread_setname_np(*ret_thread, name);
	return err;
}

int thread_system_open(void)
{
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* ns; refused: naps end late, which is learned */
	return open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
}

int thread_state_open(void)
{
	return open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
}

/* "TID (NAME) STATE ...", and a name may have any byte. */
bool thread_stands(int fd)
{
	char text[96];
	ssize_t count = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : 0;
	const char *state;

	text[count > 0 ? count : 0] = '\0';
	state = strrchr(text, ')');
	return state && !strncmp(state, ") D", 3);
}

/* Of the file that thread_system_open() opens: what the thread ran, as of the last tick, and waited for a CPU. */
static void schedstat_read(int fd, uint64_t *run_ns, uint64_t *delay_ns)
{
	char text[96];
	ssize_t count = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : 0;

	text[count > 0 ? count : 0] = '\0';
	sscanf(text, "%" SCNu64 " %" SCNu64, run_ns, delay_ns);
}

void thread_system_read(int fd, struct patience_system *ret_system)
{
	struct patience_system system = {0};
	struct rusage usage;

	schedstat_read(fd, &system.run_ns, &system.delay_ns);
	if (!getrusage(RUSAGE_THREAD, &usage))
		system.preempted = (uint64_t)usage.ru_nivcsw;
	*ret_system = system;
}

uint64_t thread_ready_ns(int fd)
{
	uint64_t run_ns = 0, delay_ns = 0;
	struct timespec ran = {0};

	schedstat_read(fd, &run_ns, &delay_ns);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran); /* to the moment */
	return (uint64_t)ran.tv_sec * 1000000000u + (uint64_t)ran.tv_nsec + delay_ns;
}
