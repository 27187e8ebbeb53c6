/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The driver's rings joined with the device's (lib/ring) over one piece of shared memory, in every
 * combination of format and features: whatever one side shows, the other side must see, and nobody may sleep
 * through it.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above: */
#include "base/bell.h"
#include "base/fd.h"
#include "driver/ring/ring.h"
#include "lib/ring/ring.h" /* the device side: "ring/ring.h" would be found here first */
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_BYTES (4u << 20)
#define BUFFERS_OFFSET (3u << 20)
#define BUFFERS_BYTES (1u << 20)
#define GPA UINT64_C(0x100000000)
#define PIECES_MAX 2048u
#define BURST 16u

struct variant {
	bool packed, indirect, event_idx, in_order;
	uint32_t size;
};

/* Both sides of one ring. */
struct pair {
	struct variant v;
	int fd, call_fd;
	struct bell kick;
	uint8_t *memory;
	struct map *map;
	struct vireo_driver_ring *driver;
	struct ring *device;
	struct iovec *pieces;
	unsigned seed;
	bool device_overslept;
};

static void *area(struct pair *p, uint64_t *at, uint64_t bytes)
{
	void *ret = p->memory + *at;

	*at = (*at + bytes + 63) & ~UINT64_C(63);
	assert_true(*at <= BUFFERS_OFFSET);
	return ret;
}

static void driver_side(struct pair *p, uint64_t tables_offset, void *desc, void *driver, void *device)
{
	struct driver_ring_setup setup = {
		.packed = p->v.packed,
		.indirect = p->v.indirect,
		.event_idx = p->v.event_idx,
		.in_order = p->v.in_order,
		.size = p->v.size,
		.desc = desc,
		.driver = driver,
		.device = device,
		.tables = p->memory + tables_offset,
		.tables_gpa = GPA + tables_offset,
		.memory = { .host = p->memory + BUFFERS_OFFSET,
			    .gpa = GPA + BUFFERS_OFFSET,
			    .bytes = BUFFERS_BYTES },
		.kick = &p->kick,
		.call_fd = p->call_fd,
	};

	assert_int_equal(driver_ring_new(&setup, &p->driver), 0);
}

static void device_side(struct pair *p, void *desc, void *driver, void *device)
{
	struct map_spec spec = { .gpa = GPA, .size_bytes = MEMORY_BYTES, .uaddr = 0x7000000000 };
	struct ring_setup setup = {
		.packed = p->v.packed,
		.indirect = p->v.indirect,
		.event_idx = p->v.event_idx,
		.in_order = p->v.in_order,
		.size = p->v.size,
		.desc = desc,
		.driver = driver,
		.device = device,
		.base = p->v.packed ? 0x80008000u : 0,
	};
	const char *why = NULL;

	assert_int_equal(map_new(NULL, &spec, &p->fd, 1, NULL, &p->map, &why), 0);
	setup.map = p->map;
	assert_int_equal(ring_new(&setup, &p->device, &why), 0);
}

static struct pair *pair_new(const struct variant *v)
{
	struct pair *p = calloc(1, sizeof(*p));
	struct ring_area areas = ring_area_bytes(v->packed, v->size);
	uint64_t at = 0;
	void *desc, *driver, *device;

	assert_non_null(p);
	p->v = *v;
	p->seed = 1;
	p->fd = memfd_create("ring-test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(p->fd, MEMORY_BYTES), 0);
	p->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	assert_ptr_not_equal(p->memory, MAP_FAILED);
	p->kick = (struct bell)BELL_INIT;
	assert_int_equal(fd_event_new(&p->kick.fd), 0);
	assert_int_equal(fd_event_new(&p->call_fd), 0);
	p->pieces = calloc(PIECES_MAX, sizeof(*p->pieces));
	desc = area(p, &at, areas.desc_bytes);
	driver = area(p, &at, areas.driver_bytes);
	device = area(p, &at, areas.device_bytes);
	driver_side(p, at, desc, driver, device);
	if (v->indirect)
		area(p, &at, driver_ring_table_bytes(v->size));
	device_side(p, desc, driver, device);
	return p;
}

static void pair_free(struct pair *p)
{
	driver_ring_free(p->driver);
	ring_free(p->device);
	map_unref(p->map);
	munmap(p->memory, MEMORY_BYTES);
	fd_close(&p->fd);
	bell_forget(&p->kick);
	fd_close(&p->call_fd);
	free(p->pieces);
	free(p);
}

/* All of them, with sizes that wrap soon and are no powers of two where that is allowed. */
static void for_each_variant(void (*fn)(const struct variant *v))
{
	static const uint32_t split_sizes[] = { 1, 2, 8, 256 }, packed_sizes[] = { 1, 3, 7, 250 };

	for (unsigned i = 0; i < 64; i++) {
		struct variant v = {
			.packed = i & 1, .indirect = i & 2, .event_idx = i & 4, .in_order = i & 8
		};

		v.size = v.packed ? packed_sizes[i >> 4] : split_sizes[i >> 4];
		fn(&v);
	}
}

/* ---- a device that says what it got ---- */

static uint32_t sum_of(const struct iovec *iov, uint32_t count)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		for (size_t j = 0; j < iov[i].iov_len; j++)
			sum = sum * 31 + ((const uint8_t *)iov[i].iov_base)[j];
	return sum;
}

/* Answers with the sum of the readable bytes, as much of it as there is room for. */
static void chain_answer(struct ring *ring, const struct vireo_chain *chain)
{
	uint32_t sum = sum_of(chain->iov, chain->readable_count), written = 0;
	const uint8_t *bytes = (const uint8_t *)&sum;

	for (uint32_t i = 0; i < chain->writable_count; i++)
		for (size_t j = 0; j < chain->iov[chain->readable_count + i].iov_len && written < sizeof(sum);
		     j++)
			((uint8_t *)chain->iov[chain->readable_count + i].iov_base)[j] = bytes[written++];
	ring_push(ring, chain, &written, 1);
}

/*
 * Serves up to BURST chains; backwards if the order is free. Returns whether the driver is to be signalled.
 */
static bool device_serve(struct pair *p, unsigned *ret_count)
{
	struct vireo_chain chains[BURST];
	int n = ring_pop(p->device, chains, BURST, p->pieces, PIECES_MAX);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++)
		chain_answer(p->device, &chains[p->v.in_order ? i : n - 1 - i]);
	*ret_count = (unsigned)n;
	return n && ring_publish(p->device);
}

/* ---- a driver that knows what to expect ---- */

struct request {
	struct iovec iov[8];
	unsigned readable, writable;
	uint32_t sum, writable_bytes;
	bool out;
};

#define REQUESTS 256u
#define REQUEST_BYTES (BUFFERS_BYTES / REQUESTS)

static void request_fill(struct pair *p, struct request *r, unsigned slot, unsigned pieces_max)
{
	uint8_t *at = p->memory + BUFFERS_OFFSET + slot * REQUEST_BYTES;
	unsigned pieces = 1 + (unsigned)rand_r(&p->seed) % pieces_max;

	r->readable = (unsigned)rand_r(&p->seed) % (pieces + 1);
	r->writable = pieces - r->readable;
	r->writable_bytes = 0;
	for (unsigned i = 0; i < pieces; i++) {
		r->iov[i] = (struct iovec){ .iov_base = at, .iov_len = 1 + (unsigned)rand_r(&p->seed) % 64 };
		memset(at, rand_r(&p->seed), r->iov[i].iov_len);
		at += r->iov[i].iov_len;
		if (i >= r->readable)
			r->writable_bytes += (uint32_t)r->iov[i].iov_len;
	}
	r->sum = sum_of(r->iov, r->readable);
}

static void request_check(const struct request *r, uint32_t len_bytes)
{
	uint32_t got = 0, at = 0, expected = r->writable_bytes < 4 ? r->writable_bytes : 4;

	assert_true(r->out);
	assert_int_equal(len_bytes, expected);
	for (unsigned i = r->readable; i < r->readable + r->writable; i++)
		for (size_t j = 0; j < r->iov[i].iov_len && at < expected; j++)
			((uint8_t *)&got)[at++] = ((const uint8_t *)r->iov[i].iov_base)[j];
	assert_memory_equal(&got, &r->sum, expected);
}

/* Adds requests until the ring is full or `most` are added. Returns how many. */
static unsigned driver_fill(struct pair *p, struct request *requests, unsigned most)
{
	unsigned added = 0, pieces_max = p->v.size < 8 ? p->v.size : 8;

	for (unsigned slot = 0; slot < REQUESTS && added < most; slot++) {
		struct request *r = &requests[slot];
		int ret;

		if (r->out)
			continue;
		request_fill(p, r, slot, pieces_max);
		ret = vireo_driver_ring_add(p->driver, r->iov, r->readable, r->writable, rand_r(&p->seed) & 1,
					    r);
		if (ret == -ENOSPC)
			break;
		assert_int_equal(ret, 0);
		r->out = true;
		added++;
	}
	return added;
}

static unsigned driver_drain(struct pair *p)
{
	struct request *r;
	uint32_t len_bytes;
	unsigned count = 0;
	void *cookie;
	int ret;

	while ((ret = vireo_driver_ring_get(p->driver, &cookie, &len_bytes)) > 0) {
		r = cookie;
		request_check(r, len_bytes);
		r->out = false;
		count++;
	}
	assert_int_equal(ret, 0);
	return count;
}

/* ---- rules ---- */

static void traffic_round(const struct variant *v)
{
	struct request *requests = calloc(REQUESTS, sizeof(*requests));
	struct pair *p = pair_new(v);
	unsigned sent = 0, got = 0, served;

	/* Far enough for a 16-bit index to wrap with rings that are not tiny. */
	while (sent < (v->size > 100 ? 140000u : 2000u)) {
		sent += driver_fill(p, requests, 1 + (unsigned)rand_r(&p->seed) % (v->size + 1));
		vireo_driver_ring_kick(p->driver);
		device_serve(p, &served);
		got += driver_drain(p);
	}
	do {
		device_serve(p, &served);
		got += driver_drain(p);
	} while (served);
	assert_int_equal(got, sent);
	assert_int_equal(vireo_driver_ring_free(p->driver), v->size);
	assert_null(ring_error(p->device));
	pair_free(p);
	free(requests);
}

static void what_goes_out_comes_back_in_every_variant(void **state)
{
	for_each_variant(traffic_round);
}

static void hidden_round(const struct variant *v)
{
	struct pair *p = pair_new(v);
	struct iovec iov = { .iov_base = p->memory + BUFFERS_OFFSET, .iov_len = 4 };

	for (uint32_t i = 0; i < v->size; i++)
		assert_int_equal(vireo_driver_ring_add(p->driver, &iov, 1, 0, false, NULL), 0);
	assert_int_equal(ring_available(p->device), 0);
	vireo_driver_ring_kick(p->driver);
	assert_true(ring_available(p->device) > 0);
	pair_free(p);
}

static void device_sees_nothing_before_the_kick(void **state)
{
	for_each_variant(hidden_round);
}

static void full_round(const struct variant *v)
{
	struct pair *p = pair_new(v);
	struct iovec iov = { .iov_base = p->memory + BUFFERS_OFFSET, .iov_len = 4 };

	for (uint32_t i = 0; i < v->size; i++)
		assert_int_equal(vireo_driver_ring_add(p->driver, &iov, 0, 1, true, NULL), 0);
	assert_int_equal(vireo_driver_ring_free(p->driver), 0);
	assert_int_equal(vireo_driver_ring_add(p->driver, &iov, 0, 1, true, NULL), -ENOSPC);
	pair_free(p);
}

static void full_ring_takes_no_more(void **state)
{
	for_each_variant(full_round);
}

static void pieces_outside_the_memory_are_refused(void **state)
{
	struct variant v = { .size = 4 };
	struct pair *p = pair_new(&v);
	uint8_t *begin = p->memory + BUFFERS_OFFSET, *end = begin + BUFFERS_BYTES;
	struct iovec bad[] = { { begin - 1, 4 }, { end - 3, 4 },      { end, 1 },
			       { begin, 0 },	 { begin, SIZE_MAX }, { NULL, 4 } };
	struct iovec good = { .iov_base = end - 4, .iov_len = 4 }, many[5] = { good, good, good, good, good };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(vireo_driver_ring_add(p->driver, &bad[i], 1, 0, false, NULL), -EINVAL);
	assert_int_equal(vireo_driver_ring_add(p->driver, &good, 0, 0, false, NULL), -EINVAL);
	assert_int_equal(vireo_driver_ring_add(p->driver, many, 5, 0, false, NULL), -EINVAL);
	assert_int_equal(vireo_driver_ring_add(p->driver, &good, 1, 0, false, NULL), 0);
	pair_free(p);
}

static void bad_sizes_are_refused(void **state)
{
	static uint32_t areas[64];
	struct driver_ring_setup setup = { .desc = areas, .driver = areas, .device = areas };
	struct vireo_driver_ring *ring = NULL;
	const uint32_t bad[] = { 0, 3, 32769, 65536, UINT32_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		setup.size = bad[i];
		assert_int_equal(driver_ring_new(&setup, &ring), -EINVAL);
	}
	assert_null(ring);
}

/* ---- notifications, both ways ---- */

static void kick_round(const struct variant *v)
{
	struct pair *p = pair_new(v);
	struct iovec iov = { .iov_base = p->memory + BUFFERS_OFFSET, .iov_len = 4 };
	unsigned served;

	for (unsigned lap = 0; lap < 600; lap++) {
		bool on = lap % 3 != 1;

		assert_false(ring_kick_enable(p->device, on));
		vireo_driver_ring_add(p->driver, &iov, 1, 0, false, NULL);
		/* Split with EVENT_IDX cannot say "never": only that far fewer kicks come is promised. */
		if (on || !v->event_idx || v->packed)
			assert_int_equal(vireo_driver_ring_kick(p->driver), on);
		else
			vireo_driver_ring_kick(p->driver);
		assert_false(vireo_driver_ring_kick(p->driver)); /* nothing new */
		device_serve(p, &served);
		assert_int_equal(served, 1);
		assert_int_equal(vireo_driver_ring_get(p->driver, &(void *){ NULL }, &(uint32_t){ 0 }), 1);
	}
	pair_free(p);
}

static void device_gets_the_kicks_that_it_asked_for(void **state)
{
	for_each_variant(kick_round);
}

static void signal_round(const struct variant *v)
{
	struct pair *p = pair_new(v);
	struct iovec iov = { .iov_base = p->memory + BUFFERS_OFFSET, .iov_len = 4 };
	unsigned served;

	for (unsigned lap = 0; lap < 600; lap++) {
		bool on = lap % 3 != 1, signalled;

		assert_false(vireo_driver_ring_signal_enable(p->driver, on));
		vireo_driver_ring_add(p->driver, &iov, 1, 0, false, NULL);
		vireo_driver_ring_kick(p->driver);
		signalled = device_serve(p, &served);
		assert_int_equal(served, 1);
		if (on || !v->event_idx || v->packed)
			assert_int_equal(signalled, on);
		assert_true(vireo_driver_ring_signal_enable(p->driver, true)); /* one is there already */
		assert_int_equal(vireo_driver_ring_get(p->driver, &(void *){ NULL }, &(uint32_t){ 0 }), 1);
	}
	pair_free(p);
}

static void driver_gets_the_signals_that_it_asked_for(void **state)
{
	for_each_variant(signal_round);
}

/* One buffer there and back. Returns whether the device signalled. */
static bool lap_signals(struct pair *p)
{
	struct iovec iov = { .iov_base = p->memory + BUFFERS_OFFSET, .iov_len = 4 };
	unsigned served;
	bool signalled;

	assert_int_equal(vireo_driver_ring_add(p->driver, &iov, 1, 0, false, NULL), 0);
	vireo_driver_ring_kick(p->driver);
	signalled = device_serve(p, &served);
	assert_int_equal(served, 1);
	assert_int_equal(vireo_driver_ring_get(p->driver, &(void *){ NULL }, &(uint32_t){ 0 }), 1);
	return signalled;
}

static void lasting_round(const struct variant *v)
{
	struct pair *p = pair_new(v);

	for (unsigned i = 0; i < 600; i++) /* from the start, without asking */
		assert_true(lap_signals(p));
	vireo_driver_ring_signal_enable(p->driver, false);
	for (unsigned i = 0; i < 600; i++)
		assert_false(lap_signals(p));
	vireo_driver_ring_signal_enable(p->driver, true);
	for (unsigned i = 0; i < 600; i++)
		assert_true(lap_signals(p));
	pair_free(p);
}

static void wish_for_signals_lasts_until_it_is_changed(void **state)
{
	for_each_variant(lasting_round);
}

/* ---- nobody sleeps through anything: two threads that sleep whenever they may ---- */

#define SLEEP_MS 20000

/* An order that is missing is seen in the first rounds by ThreadSanitizer, which is ten times slower. */
#ifdef __SANITIZE_THREAD__
#define STRESS_BUFFERS 2000u
#else
#define STRESS_BUFFERS 10000u
#endif

/* A tiny ring costs a switch of threads for each buffer. */
static unsigned stress_buffers(const struct pair *p)
{
	return p->v.size > 1 ? STRESS_BUFFERS : STRESS_BUFFERS / 10;
}

static bool sleep_on(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, SLEEP_MS) == 1;
}

static void *stress_device(void *opaque)
{
	struct pair *p = opaque;
	unsigned total = 0, served;

	while (total < stress_buffers(p)) {
		if (device_serve(p, &served))
			fd_event_raise(p->call_fd);
		total += served;
		if (served)
			continue;
		fd_event_clear(p->kick.fd);
		if (!ring_kick_enable(p->device, true) && !sleep_on(p->kick.fd))
			p->device_overslept = true;
		if (p->device_overslept)
			break;
		ring_kick_enable(p->device, false);
	}
	return NULL;
}

static const char *stress_driver(struct pair *p)
{
	struct iovec iov = { .iov_base = p->memory + BUFFERS_OFFSET, .iov_len = 4 };
	unsigned added = 0, got = 0;
	uint32_t len_bytes;
	void *cookie;

	vireo_driver_ring_signal_enable(p->driver, false);
	while (got < stress_buffers(p)) {
		unsigned before = got;

		while (added < stress_buffers(p) &&
		       !vireo_driver_ring_add(p->driver, &iov, 1, 0, added & 1, NULL))
			added++;
		vireo_driver_ring_kick(p->driver);
		while (vireo_driver_ring_get(p->driver, &cookie, &len_bytes) == 1)
			got++;
		if (got != before)
			continue;
		if (!vireo_driver_ring_signal_enable(p->driver, true) && !sleep_on(p->call_fd))
			return "the driver slept through a signal";
		if (got & 64) /* often, but not always: signals that stay on must keep coming, too */
			vireo_driver_ring_signal_enable(p->driver, false);
	}
	return NULL;
}

static void stress_round(const struct variant *v)
{
	struct pair *p = pair_new(v);
	const char *why;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, stress_device, p), 0);
	why = stress_driver(p);
	pthread_join(thread, NULL);
	assert_null(why);
	assert_false(p->device_overslept);
	pair_free(p);
}

static void nobody_sleeps_through_a_notification(void **state)
{
	for_each_variant(stress_round);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_out_comes_back_in_every_variant),
		cmocka_unit_test(device_sees_nothing_before_the_kick),
		cmocka_unit_test(full_ring_takes_no_more),
		cmocka_unit_test(pieces_outside_the_memory_are_refused),
		cmocka_unit_test(bad_sizes_are_refused),
		cmocka_unit_test(device_gets_the_kicks_that_it_asked_for),
		cmocka_unit_test(driver_gets_the_signals_that_it_asked_for),
		cmocka_unit_test(wish_for_signals_lasts_until_it_is_changed),
		cmocka_unit_test(nobody_sleeps_through_a_notification),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
