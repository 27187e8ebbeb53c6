/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/fault.h"
#include "base/util.h"
#include "vireo/fault.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define WATCHED_MAX 256u

/* `bytes` 0: free. The handler reads them, and takes no lock. */
struct watched {
	uintptr_t start;
	uint64_t bytes;
	bool *lost;
};

/* The handler has no other way to it. */
static struct vireo_fault_table *table;
static struct watched watched[WATCHED_MAX];
static pthread_mutex_t watched_mutex = PTHREAD_MUTEX_INITIALIZER; /* who changes them */
static uintptr_t page_bytes;

/* ---- what is ours ---- */

/*
 * An area does not change while somebody touches it. Another one may change just now, and a torn copy of it could by chance seem to hold the address: so a copy
 * counts only if its `bytes` and `start` are the same before and after. Pairs with fault_watch(), which leaves `bytes` 0 while it writes the rest.
 */
static bool watched_read(const struct watched *from, struct watched *ret)
{
	ret->bytes = __atomic_load_n(&from->bytes, __ATOMIC_ACQUIRE);
	ret->start = __atomic_load_n(&from->start, __ATOMIC_RELAXED);
	ret->lost = __atomic_load_n(&from->lost, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return ret->bytes && __atomic_load_n(&from->start, __ATOMIC_RELAXED) == ret->start &&
	       __atomic_load_n(&from->bytes, __ATOMIC_RELAXED) == ret->bytes;
}

static bool replace(uintptr_t start, uint64_t bytes)
{
	return mmap((void *)start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static bool watched_handle(uintptr_t address)
{
	for (unsigned i = 0; i < WATCHED_MAX; i++) {
		struct watched area;

		if (!watched_read(&watched[i], &area) || address - area.start >= area.bytes)
			continue;
		/* Before: whoever touches the new page has been told. */
		__atomic_store_n(area.lost, true, __ATOMIC_SEQ_CST);
		/* A page that cannot be cut out (guests may bring the process to too many mappings) goes with all others: nobody uses them from now on. */
		return replace(address & ~(page_bytes - 1), page_bytes) || replace(area.start, area.bytes);
	}
	return false;
}

int fault_watch(void *at, uint64_t bytes, bool *lost)
{
	int err = -ENOSPC;

	pthread_mutex_lock(&watched_mutex);
	for (unsigned i = 0; table && err && i < WATCHED_MAX; i++) {
		if (watched[i].bytes)
			continue;
		__atomic_store_n(&watched[i].start, (uintptr_t)at, __ATOMIC_RELAXED);
		__atomic_store_n(&watched[i].lost, lost, __ATOMIC_RELAXED);
		__atomic_store_n(&watched[i].bytes, bytes, __ATOMIC_RELEASE);
		err = 0;
	}
	pthread_mutex_unlock(&watched_mutex);
	return err;
}

void fault_unwatch(const void *at)
{
	pthread_mutex_lock(&watched_mutex);
	for (unsigned i = 0; i < WATCHED_MAX; i++)
		if (watched[i].bytes && watched[i].start == (uintptr_t)at)
			__atomic_store_n(&watched[i].bytes, 0, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&watched_mutex);
}

/* ---- the handler ---- */

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	if (!vireo_fault_handle(table, info->si_addr) && !watched_handle((uintptr_t)info->si_addr)) { /* our own bug, and the end */
		signal(sig, SIG_DFL);
		raise(sig);
	}
	errno = saved;
}

int fault_handler_open(struct vireo_fault_table **ret_table)
{
	const struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};
	int err = vireo_fault_table_new(0, &table);

	if (err)
		return err;
	page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	if (sigaction(SIGBUS, &bus, NULL)) {
		err = -errno;
		fault_handler_close();
		return err;
	}
	*ret_table = table;
	return 0;
}

void fault_handler_close(void)
{
	signal(SIGBUS, SIG_DFL);
	vireo_fault_table_free(table);
	table = NULL;
}
