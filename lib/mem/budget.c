/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * For each kind of thing there is a total, and the sum that all accounts have of it. An account may have
 *
 *	total / 2 / accounts		whatever the others do, or
 *	half of what the others leave	if that is more
 *
 * so m accounts that take all they can get have total / (m + 1) each, and the others still get their parts of the other
 * rule. Both together are at most 3/2 of the total, which is why a total is two thirds of what there is.
 *
 * Pages that are made in peers' files stay as long as those files do, which we do not see. So they count until the kernel
 * says (memory.stat) that we are charged for less than what all accounts have: then what is too much is taken off the account
 * that asks. If others than us fill the cgroup, that says nothing, and errs on the safe side.
 *
 * Nobody holds a lock: an account adds itself first and looks then, so that two of them at a time are refused rather than
 * both taken.
 */
#include "mem/budget.h"
#include "base/fd.h"
#include "base/util.h"
#include "mem/charge.h"
#include "mem/sparse.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAP_COUNT_DEFAULT 65530u /* of Linux */
#define SHARED_LAG_BYTES (UINT64_C(64) * 4096) /* a CPU: Linux batches what it adds to memory.stat */

struct vireo_memory {
	unsigned refs; /* atomic: its maker, and each account */
	uint64_t address_given, address_space, mappings_total, made_given; /* constant; given: 0, or by the config */
	int watcher; /* or why there is none */
	int shared_fd; /* tells what shared memory we are charged for; another file is put in its place; or -1 */
	uint64_t address_total, made_total; /* atomic, as all below */
	uint64_t lag_bytes; /* so much less than what is charged may be told */
	uint64_t accounts;
	uint64_t mapped_bytes, mappings, made_bytes; /* of all accounts */
};

/* ---- what there is ---- */

static uint64_t two_thirds(uint64_t all)
{
	return all / 3 * 2;
}

/* The stack lies close to the end of what a process can address (47 bits on x86-64, 38 to 56 elsewhere). */
static uint64_t address_space(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	struct rlimit limit;

	if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY)
		return limit.rlim_cur;
	return UINT64_C(1) << (64 - __builtin_clzll(here));
}

static uint64_t mappings_of_system(void)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
	unsigned count = MAP_COUNT_DEFAULT;

	if (!file)
		return count;
	if (fscanf(file, "%u", &count) != 1)
		count = MAP_COUNT_DEFAULT;
	fclose(file);
	return count;
}

/* In a small cgroup the page tables of what is mapped are the larger part: 1/512 of it, if a peer wants that. */
static void limits_look(struct vireo_memory *memory)
{
	uint64_t made = memory->made_given ? memory->made_given : charge_limit() / 4;
	uint64_t address = memory->address_given;

	if (!address)
		address = made > memory->address_space / 512 ? memory->address_space : made * 512;
	__atomic_store_n(&memory->made_total, made, __ATOMIC_RELAXED);
	__atomic_store_n(&memory->address_total, address, __ATOMIC_RELAXED);
}

static uint64_t shared_lag(void)
{
	return SHARED_LAG_BYTES * (uint64_t)sysconf(_SC_NPROCESSORS_CONF);
}

int vireo_memory_new(const struct vireo_memory_config *user_config, struct vireo_memory **ret_memory)
{
	struct vireo_memory_config config = {.size = sizeof(config)};
	struct vireo_memory *memory;
	int r = user_config ? config_copy(&config, sizeof(config), user_config) : 0;

	if (r)
		return r;
	memory = calloc(1, sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	memory->refs = 1;
	memory->address_given = config.address_bytes;
	memory->address_space = two_thirds(address_space());
	memory->mappings_total = config.mappings ? config.mappings : two_thirds(mappings_of_system());
	memory->made_given = config.made_bytes;
	memory->watcher = sparse_open();
	memory->shared_fd = charge_open();
	memory->lag_bytes = shared_lag();
	limits_look(memory);
	*ret_memory = memory;
	return 0;
}

void vireo_memory_free(struct vireo_memory *memory)
{
	if (!memory || __atomic_fetch_sub(&memory->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	if (memory->watcher >= 0)
		fd_close(&memory->watcher);
	if (memory->shared_fd >= 0)
		fd_close(&memory->shared_fd);
	free(memory);
}

int vireo_memory_watch_error(const struct vireo_memory *memory)
{
	return memory->watcher < 0 ? memory->watcher : 0;
}

void vireo_memory_touch(const struct iovec *iov, unsigned count)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (unsigned i = 0; i < count; i++) {
		const volatile uint8_t *at = iov[i].iov_base, *end = at + iov[i].iov_len;

		for (; at < end; at += page - (uintptr_t)at % page)
			(void)*at;
	}
}

/* ---- accounts ---- */

static uint64_t load(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static void sub(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_sub(counter, n, __ATOMIC_RELAXED);
}

struct mem_account *mem_account_open(struct vireo_memory *memory, uint64_t max_bytes)
{
	struct mem_account *account = calloc(1, sizeof(*account));

	if (!account)
		return NULL;
	account->refs = 1;
	account->max_bytes = max_bytes;
	account->memory = memory;
	if (!memory)
		return account;
	__atomic_fetch_add(&memory->refs, 1, __ATOMIC_RELAXED);
	add(&memory->accounts, 1);
	return account;
}

/* Release: my last access; acquire: everybody's. */
static void account_unref(struct mem_account *account)
{
	if (__atomic_fetch_sub(&account->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	vireo_memory_free(account->memory);
	free(account);
}

void mem_account_close(struct mem_account *account)
{
	if (!account)
		return;
	if (account->memory)
		sub(&account->memory->accounts, 1);
	account_unref(account);
}

/* Of `total`, of which all accounts have `used`, and the one that asks `own`. */
static uint64_t share(const struct vireo_memory *memory, uint64_t total, uint64_t used, uint64_t own)
{
	uint64_t others = used - min_u64(own, used), equal = total / 2 / load(&memory->accounts);
	uint64_t half = (total - min_u64(others, total)) / 2;

	return half > equal ? half : equal;
}

static uint64_t mapped_max(const struct mem_account *account)
{
	const struct vireo_memory *m = account->memory;

	if (load(&account->max_bytes) || !m) /* who was given a number of its own has that */
		return UINT64_MAX;
	return share(m, load(&m->address_total), load(&m->mapped_bytes), load(&account->mapped_bytes));
}

static uint64_t mappings_max(const struct mem_account *account)
{
	const struct vireo_memory *m = account->memory;

	return m ? share(m, m->mappings_total, load(&m->mappings), load(&account->mappings)) : UINT_MAX;
}

void mem_account_max_set(struct mem_account *account, uint64_t max_bytes)
{
	if (account)
		__atomic_store_n(&account->max_bytes, max_bytes, __ATOMIC_RELAXED);
}

int mem_account_map_check(struct mem_account *account, uint64_t bytes, const char **why)
{
	uint64_t max = account ? load(&account->max_bytes) : 0;

	if (!max || bytes <= max)
		return 0;
	snprintf(account->why, sizeof(account->why),
		 "guest memory of %" PRIu64 " bytes, and at most %" PRIu64 " are permitted: raise memory-max=", bytes,
		 max);
	*why = account->why;
	return -ENOMEM;
}

static bool over(struct mem_account *account, const char **why)
{
	uint64_t mapped = load(&account->mapped_bytes), mappings = load(&account->mappings), max;

	max = mapped_max(account);
	if (mapped > max) {
		snprintf(account->why, sizeof(account->why),
			 "guest memory of %" PRIu64 " bytes is more than this port's share of the process, %" PRIu64
			 " bytes: give the port as much by memory-max=",
			 mapped, max);
		*why = account->why;
		return true;
	}
	max = mappings_max(account);
	if (mappings > max) {
		snprintf(account->why, sizeof(account->why),
			 "guest memory in %" PRIu64 " mappings is more than this port's share of the process, %" PRIu64
			 ": raise vm.max_map_count",
			 mappings, max);
		*why = account->why;
		return true;
	}
	return false;
}

int mem_account_take(struct mem_account *account, uint64_t bytes, unsigned mappings, const char **why)
{
	if (!account)
		return 0;
	__atomic_fetch_add(&account->refs, 1, __ATOMIC_RELAXED);
	add(&account->mapped_bytes, bytes);
	add(&account->mappings, mappings);
	if (!account->memory)
		return 0;
	add(&account->memory->mapped_bytes, bytes);
	add(&account->memory->mappings, mappings);
	if (!over(account, why))
		return 0;
	mem_account_give(account, bytes, mappings);
	return -ENOMEM;
}

void mem_account_give(struct mem_account *account, uint64_t bytes, unsigned mappings)
{
	if (!account)
		return;
	sub(&account->mapped_bytes, bytes);
	sub(&account->mappings, mappings);
	if (account->memory) {
		sub(&account->memory->mapped_bytes, bytes);
		sub(&account->memory->mappings, mappings);
	}
	account_unref(account);
}

/* ---- pages that nobody has touched ---- */

void mem_shared_file_set(struct vireo_memory *memory, int fd, uint64_t lag_bytes)
{
	__atomic_store_n(&memory->lag_bytes, lag_bytes, __ATOMIC_RELAXED);
	dup3(fd, memory->shared_fd, O_CLOEXEC);
}

void mem_account_session(struct mem_account *account, bool handed)
{
	struct vireo_memory *memory = account->memory;
	int fd;

	__atomic_store_n(&account->refusal, MEM_REFUSED_NOTHING, __ATOMIC_RELAXED);
	if (!memory || handed)
		return;
	limits_look(memory);
	fd = charge_open(); /* we may have been put into another cgroup */
	if (fd < 0)
		return;
	mem_shared_file_set(memory, fd, shared_lag());
	fd_close(&fd);
}

bool mem_account_watch(struct mem_account *account, void *start, size_t bytes)
{
	return account && account->memory && account->memory->watcher >= 0 &&
	       !sparse_watch(account->memory->watcher, start, bytes);
}

static uint64_t made_max(const struct mem_account *account)
{
	const struct vireo_memory *m = account->memory;

	return share(m, load(&m->made_total), load(&m->made_bytes), load(&account->made_bytes));
}

/*
 * Down to 0 and no further. What is taken off in made_settle() may include a page that somebody is about to make, and gives
 * back since it was there already.
 */
static void sub_down(uint64_t *counter, uint64_t n)
{
	uint64_t have = load(counter);

	while (!__atomic_compare_exchange_n(counter, &have, have - min_u64(n, have), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void made_sub(struct mem_account *account, uint64_t bytes)
{
	sub_down(&account->made_bytes, bytes);
	sub_down(&account->memory->made_bytes, bytes);
}

/* Takes off what cannot be there any more; the page that is asked for is not there yet. */
static void made_settle(struct mem_account *account, uint64_t page_bytes)
{
	uint64_t shared = charge_shared(account->memory->shared_fd), all = load(&account->memory->made_bytes);
	uint64_t gone, there;

	if (__builtin_add_overflow(shared, load(&account->memory->lag_bytes) + page_bytes, &there))
		return;
	gone = all - min_u64(there, all);
	sub_down(&account->memory->made_bytes, gone);
	sub_down(&account->made_bytes, gone);
}

/* Once it has been refused, the kernel is not asked again in this session: it is about to end. */
static bool made_fits(struct mem_account *account, uint64_t page_bytes)
{
	if (load(&account->made_bytes) <= made_max(account))
		return true;
	if (__atomic_load_n(&account->refusal, __ATOMIC_RELAXED))
		return false;
	made_settle(account, page_bytes);
	return load(&account->made_bytes) <= made_max(account);
}

bool mem_account_make(struct mem_account *account, void *page, size_t page_bytes)
{
	enum mem_refusal refusal = MEM_REFUSED_SHARE;

	add(&account->made_bytes, page_bytes);
	add(&account->memory->made_bytes, page_bytes);
	if (made_fits(account, page_bytes)) {
		switch (sparse_make(account->memory->watcher, page, page_bytes)) {
		case SPARSE_MADE:
			return true;
		case SPARSE_THERE:
			made_sub(account, page_bytes);
			return true;
		case SPARSE_GONE:
			made_sub(account, page_bytes);
			return false;
		case SPARSE_FULL:
			refusal = MEM_REFUSED_ROOM;
		}
	}
	made_sub(account, page_bytes);
	__atomic_store_n(&account->refusal, refusal, __ATOMIC_RELAXED);
	return false;
}

void mem_account_use(const struct mem_account *account, struct vireo_memory_use *ret_use)
{
	uint64_t given = load(&account->max_bytes), max = given ? given : mapped_max(account);

	*ret_use = (struct vireo_memory_use){
		.mapped_bytes = load(&account->mapped_bytes),
		.mapped_max_bytes = max,
		.mappings = (unsigned)load(&account->mappings),
		.mappings_max = (unsigned)min_u64(mappings_max(account), UINT_MAX),
		.made_bytes = load(&account->made_bytes),
		.made_max_bytes = account->memory && account->memory->watcher >= 0 ? made_max(account) : UINT64_MAX,
	};
}
