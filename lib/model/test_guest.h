/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MODEL_TEST_GUEST_H
#define MODEL_TEST_GUEST_H

/*
 * For tests of device types: a transport that is nothing but the device verbs, and a guest in front of it with real rings in a memfd.
 * Everything in one thread. What a type's own guest begins with.
 */

#include "base/bell.h"
#include "driver/ring/ring.h"
#include "mem/map.h"
#include "vireo/device.h"

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define GUEST_GPA UINT64_C(0x40000000)
#define GUEST_UADDR UINT64_C(0x7f0000000000)
#define GUEST_QUEUES_MAX 9u

struct guest_queue {
	struct vireo_driver_ring *ring;
	void *desc, *driver, *device;
	struct bell kick;
	int call_fd;
};

struct test_guest {
	struct vireo_device *device;
	struct loop *loop;
	uint8_t *memory;
	size_t memory_bytes, used_bytes;
	int memory_fd;
	struct map *map;
	unsigned config_changes;
	bool lazy; /* an address that is not in memory is yet to come; set by the test before it begins */
	unsigned misses;
	bool config_deaf; /* its transport has no words for them */
	bool broken, quiet;
	unsigned queue_count, queue_size;
	struct guest_queue queues[GUEST_QUEUES_MAX];
};

/*
 * A session begins with these features, memory and rings, of which none is set up yet. `more`: another region of memory, where nothing
 * lies, or NULL.
 */
void test_guest_begin(struct test_guest *t, struct vireo_device *device, uint64_t features, size_t memory_bytes,
		      const struct map_spec *more);
void test_guest_set_up(struct test_guest *t, unsigned queue, bool enabled);
void test_guest_quiesce(struct test_guest *t); /* all queues; t->quiet says whether it is over */
void test_guest_detach(struct test_guest *t);  /* they are quiet; the device can be freed then */
void test_guest_end(struct test_guest *t);

void *test_guest_alloc(struct test_guest *t, size_t bytes); /* zeroed, in guest memory */
uint64_t test_guest_gpa(const struct test_guest *t, const void *p);
/* What the driver gets back next: its length; -1: nothing. ret_cookie may be NULL. */
int test_guest_used(struct test_guest *t, unsigned queue, void **ret_cookie);

#endif
