/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * The table is an array of slots, one for each mapping of guest memory. Slots are handed out under a mutex,
 * which the signal handler never takes; it reads the slots as a seqlock each: `sequence` is even while the
 * slot holds an area, odd while it is free or being changed.
 *
 * The area that holds the faulting address cannot change under the handler: the thread that touches it holds
 * a reference to the map it belongs to, and an area is removed only after the last reference has gone. Slots
 * of other areas may change at any moment, and a torn copy of one could by chance seem to hold the address.
 * So a copy counts only if `sequence` is even and the same before and after: its acquire load and the acquire
 * fence in slot_read() pair with the release fence and the release store in slot_write().
 */
#include "mem/fault.h"
#include "base/fd.h"
#include "base/util.h"
#include "mem/budget.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define REGIONS_DEFAULT 65536u
#define HINTS 64u
#define HINT_AREA_BYTES (UINT64_C(2) << 20)

struct slot {
	unsigned sequence;
	unsigned next_free; /* while free; under the mutex */
	struct fault_area area;
};

struct vireo_fault_table {
	pthread_mutex_t mutex; /* next_free of all slots, first_free, in_use, and who writes slots */
	unsigned count;
	unsigned first_free; /* count: none */
	unsigned in_use;
	unsigned touched; /* slots from here on have never been used; grows only; read by the handler */
	unsigned hints[HINTS]; /* slots, by address; any thread */
	struct slot slots[];
};

int vireo_fault_table_new(unsigned region_max, struct vireo_fault_table **ret_table)
{
	unsigned count = region_max ? region_max : REGIONS_DEFAULT;
	struct vireo_fault_table *table;
	size_t bytes;

	if (__builtin_mul_overflow(count, sizeof(table->slots[0]), &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*table), &bytes))
		return -ENOMEM;
	table = calloc(1, bytes); /* large tables come as untouched zero pages */
	if (!table)
		return -ENOMEM;
	pthread_mutex_init(&table->mutex, NULL);
	table->count = count;
	table->first_free = count;
	*ret_table = table;
	return 0;
}

void vireo_fault_table_free(struct vireo_fault_table *table)
{
	if (!table)
		return;
	assert(!table->in_use);
	pthread_mutex_destroy(&table->mutex);
	free(table);
}

/* Under the mutex. The slot's sequence is odd (or 0: never used, and still beyond `touched`). */
static void slot_write(struct slot *slot, const struct fault_area *area)
{
	unsigned sequence = slot->sequence | 1;

	__atomic_store_n(&slot->sequence, sequence, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&slot->area.start, area->start, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->area.bytes, area->bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->area.page_bytes, area->page_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->area.event_fd, area->event_fd, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->area.faulted, area->faulted, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->area.session, area->session, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->area.account, area->account, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->sequence, sequence + 1, __ATOMIC_RELEASE);
}

/* Async-signal-safe. False: free, or changing at this moment. */
static bool slot_read(const struct slot *slot, struct fault_area *ret_area)
{
	unsigned before = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);
	struct fault_area area = {
		.start = __atomic_load_n(&slot->area.start, __ATOMIC_RELAXED),
		.bytes = __atomic_load_n(&slot->area.bytes, __ATOMIC_RELAXED),
		.page_bytes = __atomic_load_n(&slot->area.page_bytes, __ATOMIC_RELAXED),
		.event_fd = __atomic_load_n(&slot->area.event_fd, __ATOMIC_RELAXED),
		.faulted = __atomic_load_n(&slot->area.faulted, __ATOMIC_RELAXED),
		.session = __atomic_load_n(&slot->area.session, __ATOMIC_RELAXED),
		.account = __atomic_load_n(&slot->area.account, __ATOMIC_RELAXED),
	};

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if ((before & 1) || __atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) != before)
		return false;
	*ret_area = area;
	return true;
}

int fault_area_add(struct vireo_fault_table *table, const struct fault_area *area, unsigned *ret_slot)
{
	unsigned slot;
	int err = 0;

	assert(!((uintptr_t)area->start % area->page_bytes) && !(area->bytes % area->page_bytes));
	pthread_mutex_lock(&table->mutex);
	if (table->first_free < table->count) {
		slot = table->first_free;
		table->first_free = table->slots[slot].next_free;
		slot_write(&table->slots[slot], area);
	} else if (table->touched < table->count) {
		slot = table->touched;
		slot_write(&table->slots[slot], area);
		__atomic_store_n(&table->touched, slot + 1, __ATOMIC_RELEASE); /* pairs with find() */
	} else {
		err = -ENOMEM;
	}
	if (!err) {
		table->in_use++;
		*ret_slot = slot;
	}
	pthread_mutex_unlock(&table->mutex);
	return err;
}

void fault_area_remove(struct vireo_fault_table *table, unsigned slot)
{
	struct slot *s = &table->slots[slot];

	pthread_mutex_lock(&table->mutex);
	assert(slot < table->touched && !(s->sequence & 1));
	__atomic_store_n(&s->sequence, s->sequence + 1, __ATOMIC_RELEASE);
	s->next_free = table->first_free;
	table->first_free = slot;
	table->in_use--;
	pthread_mutex_unlock(&table->mutex);
}

static bool slot_holds(const struct slot *slot, uintptr_t address, struct fault_area *ret_area)
{
	struct fault_area area;

	if (!slot_read(slot, &area) || address - (uintptr_t)area.start >= area.bytes)
		return false;
	*ret_area = area;
	return true;
}

/* Pages that are made one by one lie in few areas: where the last one was found is looked at first. */
static bool find(struct vireo_fault_table *table, uintptr_t address, struct fault_area *ret_area)
{
	unsigned touched = __atomic_load_n(&table->touched, __ATOMIC_ACQUIRE);
	unsigned *hint = &table->hints[address / HINT_AREA_BYTES % HINTS];
	unsigned last = __atomic_load_n(hint, __ATOMIC_RELAXED);

	if (last < touched && slot_holds(&table->slots[last], address, ret_area))
		return true;
	for (unsigned i = 0; i < touched; i++) {
		if (!slot_holds(&table->slots[i], address, ret_area))
			continue;
		__atomic_store_n(hint, i, __ATOMIC_RELAXED);
		return true;
	}
	return false;
}

static bool replace(void *start, size_t bytes)
{
	return mmap(start, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

/* Memory of an earlier session may still be looked at: that it has gone is nothing to the one of now. */
static void tell(const struct fault_area *area)
{
	unsigned told = area->faulted ? __atomic_load_n(area->faulted, __ATOMIC_RELAXED) : 0;

	while (area->faulted && told < area->session &&
	       !__atomic_compare_exchange_n(area->faulted, &told, area->session, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	if (area->event_fd >= 0)
		fd_event_raise(area->event_fd);
}

bool vireo_fault_handle(struct vireo_fault_table *table, void *address)
{
	int saved_errno = errno;
	struct fault_area area;
	size_t into_page;
	bool repaired;

	if (!table || !find(table, (uintptr_t)address, &area))
		return false;
	into_page = (uintptr_t)address % area.page_bytes;
	if (area.account && mem_account_make(area.account, (uint8_t *)address - into_page, area.page_bytes)) {
		errno = saved_errno;
		return true;
	}
	repaired = replace((uint8_t *)address - into_page, area.page_bytes);
	/* A page that cannot be cut out (too many mappings) goes with all others: none is of use now. */
	if (!repaired)
		repaired = replace(area.start, area.bytes);
	if (repaired)
		tell(&area);
	errno = saved_errno;
	return repaired;
}
