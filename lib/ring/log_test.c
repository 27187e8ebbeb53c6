/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring_test_driver.h"
#include "mem/dirty.h"
#include "ring/log.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * A front end that copies guest memory as the log says, and compares: whatever the device side has written since the log was offered is
 * in the copy. What the driver writes it knows by itself. The ring's areas are guest memory too, at odd places, page by page.
 */

#define LOG_BYTES 4096u
#define DESC_GPA UINT64_C(0x1000000)
#define DEVICE_GPA UINT64_C(0x2000fe0) /* entries begin in the middle of a page */
#define PAGE_STEP 0x2000u /* neighbours for the driver alone */
#define ROUNDS 300u
#define BATCH_MAX 6u

struct copy {
	struct test_driver *d;
	struct dirty_log *dirty;
	struct ring_log *log;
	uint8_t *bits;
	struct map *memory; /* the copy of guest memory */
	uint8_t *desc, *device; /* of the areas */
	struct ring_area bytes;
	struct vireo_chain chains[BATCH_MAX];
	uint32_t written[BATCH_MAX];
	struct iovec iov[BATCH_MAX * 8];
	unsigned seed;
};

static void area_lay(struct ring_log_area *area, uint64_t gpa, uint64_t bytes)
{
	assert_int_equal(ring_log_area_new(area, gpa, bytes), 0);
	for (unsigned i = 0; i < area->pages; i++)
		area->gpas[i] = gpa - gpa % DIRTY_PAGE_BYTES + (uint64_t)i * PAGE_STEP;
}

static struct ring_log *log_of(struct copy *copy, bool areas)
{
	struct ring_log *log = ring_log_new(copy->dirty, copy->d->map);

	assert_non_null(log);
	if (areas && copy->d->opt.packed)
		area_lay(&log->desc, DESC_GPA, copy->bytes.desc_bytes);
	if (areas)
		area_lay(&log->device, DEVICE_GPA, copy->bytes.device_bytes);
	return log;
}

static void driver_side_copy(struct copy *copy)
{
	if (copy->d->opt.packed)
		memcpy(copy->desc, copy->d->areas[0], copy->bytes.desc_bytes);
}

/* As migration begins: all of it is copied once. */
static void all_copy(struct copy *copy)
{
	driver_side_copy(copy);
	memcpy(copy->device, copy->d->areas[2], copy->bytes.device_bytes);
	for (unsigned i = 0; i < copy->memory->count; i++)
		memcpy(copy->memory->regions[i].host, copy->d->map->regions[i].host, copy->memory->regions[i].size_bytes);
}

static struct copy *copy_new(struct test_options opt)
{
	struct copy *copy = calloc(1, sizeof(*copy));
	int fd = memfd_create("log", 0);
	const char *why;

	assert_non_null(copy);
	copy->d = driver_new(opt);
	copy->bytes = ring_area_bytes(opt.packed, opt.size);
	copy->memory = guest_new();
	copy->desc = test_alloc(copy->bytes.desc_bytes);
	copy->device = test_alloc(copy->bytes.device_bytes);
	copy->seed = opt.size * 4 + opt.packed * 2 + opt.event_idx;
	assert_int_equal(ftruncate(fd, LOG_BYTES), 0);
	assert_int_equal(dirty_log_new(fd, 0, LOG_BYTES, NULL, &copy->dirty, &why), 0);
	copy->bits = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(copy->bits, MAP_FAILED);
	close(fd);
	copy->log = log_of(copy, true);
	return copy;
}

static void copy_free(struct copy *copy)
{
	ring_log_free(copy->log); /* they hold the driver's map */
	driver_free(copy->d);
	dirty_log_unref(copy->dirty);
	munmap(copy->bits, LOG_BYTES);
	guest_free(copy->memory);
	free(copy->desc);
	free(copy->device);
	free(copy);
}

/* What of the area lies in the guest page at `page_gpa`. */
static void area_page_copy(uint64_t page_gpa, uint64_t gpa, uint64_t bytes, uint8_t *to, const void *from)
{
	for (uint64_t at = 0, here; at < bytes; at += here) {
		uint64_t in_page = (gpa + at) % DIRTY_PAGE_BYTES;
		uint64_t nth = (gpa % DIRTY_PAGE_BYTES + at) / DIRTY_PAGE_BYTES;

		here = min_u64(DIRTY_PAGE_BYTES - in_page, bytes - at);
		if (gpa - gpa % DIRTY_PAGE_BYTES + nth * PAGE_STEP == page_gpa)
			memcpy(to + at, (const uint8_t *)from + at, here);
	}
}

static void page_copy(struct copy *copy, uint64_t gpa)
{
	if (copy->d->opt.packed)
		area_page_copy(gpa, DESC_GPA, copy->bytes.desc_bytes, copy->desc, copy->d->areas[0]);
	area_page_copy(gpa, DEVICE_GPA, copy->bytes.device_bytes, copy->device, copy->d->areas[2]);
	for (unsigned i = 0; i < copy->memory->count; i++) {
		const struct map_region *r = &copy->d->map->regions[i];

		if (gpa - r->gpa < r->size_bytes)
			memcpy(copy->memory->regions[i].host + (gpa - r->gpa), r->host + (gpa - r->gpa), DIRTY_PAGE_BYTES);
	}
}

static unsigned log_take(struct copy *copy)
{
	unsigned pages = 0;

	for (unsigned i = 0; i < LOG_BYTES; i++) {
		uint8_t bits = __atomic_exchange_n(&copy->bits[i], 0, __ATOMIC_ACQUIRE);

		for (unsigned bit = 0; bit < 8; bit++) {
			if (!(bits >> bit & 1))
				continue;
			page_copy(copy, (i * UINT64_C(8) + bit) * DIRTY_PAGE_BYTES);
			pages++;
		}
	}
	return pages;
}

static void same(const struct copy *copy)
{
	assert_memory_equal(copy->desc, copy->d->opt.packed ? copy->d->areas[0] : (void *)copy->desc, copy->bytes.desc_bytes);
	assert_memory_equal(copy->device, copy->d->areas[2], copy->bytes.device_bytes);
	for (unsigned i = 0; i < copy->memory->count; i++)
		assert_memory_equal(copy->memory->regions[i].host, copy->d->map->regions[i].host,
				    copy->memory->regions[i].size_bytes);
}

static unsigned any(struct copy *copy, unsigned below)
{
	return (unsigned)rand_r(&copy->seed) % below;
}

/* Buffers of some pieces, some of which go over the seam between two regions. */
static void buffers_add(struct copy *copy)
{
	unsigned count = any(copy, BATCH_MAX + 1);

	for (unsigned i = 0; i < count; i++) {
		struct test_piece pieces[3];
		unsigned pieces_count = 1 + any(copy, 3);

		for (unsigned k = 0; k < pieces_count; k++)
			pieces[k] = (struct test_piece){ GUEST_SEAM - 6000 + any(copy, 12000), 1 + any(copy, 5000), k || any(copy, 2) };
		driver_add(copy->d, pieces, pieces_count, pieces_count, 0);
	}
	driver_side_copy(copy);
}

static uint32_t chain_write(struct copy *copy, const struct vireo_chain *chain)
{
	uint32_t written = chain->writable_bytes ? any(copy, chain->writable_bytes + 1) : 0, left = written;

	for (uint32_t i = chain->readable_count; left; i++) {
		uint32_t bytes = min_u32(left, (uint32_t)chain->iov[i].iov_len);

		memset(chain->iov[i].iov_base, (int)(1 + any(copy, 255)), bytes);
		left -= bytes;
	}
	return written;
}

static void round_serve(struct copy *copy)
{
	struct ring *ring = copy->d->ring;
	int got = ring_pop(ring, copy->chains, BATCH_MAX, copy->iov, ARRAY_SIZE(copy->iov));
	unsigned back;

	assert_true(got >= 0);
	back = got ? any(copy, 3) ? 0 : any(copy, (unsigned)got + 1) : 0;
	if (back)
		ring_unpop(ring, &copy->chains[got - (int)back], back);
	for (unsigned i = 0; i < (unsigned)got - back; i++)
		copy->written[i] = chain_write(copy, &copy->chains[i]);
	if ((unsigned)got > back)
		ring_push(ring, copy->chains, copy->written, (unsigned)got - back);
	if (any(copy, 2))
		ring_publish(ring);
	if (any(copy, 2))
		ring_kick_enable(ring, any(copy, 2));
}

static void used_take(struct copy *copy)
{
	uint32_t len;
	bool skipped;

	while (driver_used(copy->d, &len, &skipped) >= 0)
		;
}

static void serve(struct copy *copy)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		buffers_add(copy);
		round_serve(copy);
		if (any(copy, 3))
			continue;
		ring_publish(copy->d->ring);
		log_take(copy);
		same(copy);
		used_take(copy);
	}
	ring_publish(copy->d->ring);
}

static void for_each(void (*test)(struct test_options opt))
{
	static const uint32_t sizes[] = { 8, 512 };

	for (unsigned bits = 0; bits < 8; bits++)
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
			test((struct test_options){
				.packed = bits & 1, .event_idx = bits & 2, .in_order = bits & 4, .size = sizes[i] });
}

static void all_is_logged(struct test_options opt)
{
	struct copy *copy = copy_new(opt);

	assert_null(ring_log_offer(copy->d->ring, copy->log));
	all_copy(copy);
	serve(copy);
	log_take(copy);
	same(copy);
	copy_free(copy);
}

static void whatever_the_device_writes_is_logged(void **state)
{
	for_each(all_is_logged);
}

/* Chains are in flight, and some are pushed and not shown, when the log comes. */
static void in_the_middle(struct test_options opt)
{
	struct copy *copy = copy_new(opt);
	struct test_piece piece = { GUEST_BASE + 100, 9000, true };
	struct vireo_chain chains[4];

	for (unsigned i = 0; i < 4; i++, piece.gpa += 16384)
		assert_true(driver_add(copy->d, &piece, 1, 1, 0) >= 0);
	assert_int_equal(driver_pop(copy->d, chains, 4), 4);
	memset(chains[0].iov[0].iov_base, 1, 9000);
	test_push(copy->d->ring, &chains[0], 9000);
	memset(chains[1].iov[0].iov_base, 2, 4000); /* it goes on with this one later */
	assert_null(ring_log_offer(copy->d->ring, copy->log));
	all_copy(copy);
	memset((uint8_t *)chains[1].iov[0].iov_base + 4000, 2, 5000);
	test_push(copy->d->ring, &chains[1], 9000);
	memset(chains[2].iov[0].iov_base, 3, 10);
	test_push(copy->d->ring, &chains[2], 10);
	ring_publish(copy->d->ring);
	log_take(copy);
	same(copy);
	ring_unpop(copy->d->ring, &chains[3], 1);
	copy_free(copy);
}

static void what_is_in_flight_when_the_log_comes_is_logged(void **state)
{
	for_each(in_the_middle);
}

/* A worker that was just showing a burst: it has looked before the log was offered, and stops after it. */
static void written_between_the_look_and_the_end(void **state)
{
	for (int packed = 0; packed < 2; packed++) {
		struct copy *copy = copy_new((struct test_options){ .packed = packed, .size = 8 });
		struct test_piece piece = { GUEST_BASE, 64, true };
		struct vireo_chain chain;

		driver_add(copy->d, &piece, 1, 1, 0);
		assert_int_equal(driver_pop(copy->d, &chain, 1), 1);
		test_push(copy->d->ring, &chain, 0);
		all_copy(copy);
		ring_publish(copy->d->ring);
		assert_null(ring_log_offer(copy->d->ring, copy->log)); /* as if it had been before the publish's last store */
		assert_int_equal(log_take(copy), 0);
		ring_log_settle(copy->d->ring);
		assert_int_not_equal(log_take(copy), 0);
		same(copy);
		copy_free(copy);
	}
}

static void log_that_ends_is_told_no_more(void **state)
{
	for (int packed = 0; packed < 2; packed++) {
		struct copy *copy = copy_new((struct test_options){ .packed = packed, .size = 8 });
		struct ring_log *end = ring_log_new(NULL, NULL), *again = log_of(copy, true);

		assert_null(ring_log_offer(copy->d->ring, copy->log));
		serve(copy);
		assert_null(ring_log_offer(copy->d->ring, end));
		log_take(copy);
		for (unsigned i = 0; i < 20; i++) {
			buffers_add(copy);
			round_serve(copy);
			ring_publish(copy->d->ring);
			used_take(copy);
		}
		assert_int_equal(log_take(copy), 0);
		assert_null(ring_log_offer(copy->d->ring, again));
		all_copy(copy);
		serve(copy);
		log_take(copy);
		same(copy);
		ring_log_free(end);
		ring_log_free(again);
		copy_free(copy);
	}
}

static void log_that_nobody_takes_comes_back_with_the_next(void **state)
{
	struct copy *copy = copy_new((struct test_options){ .size = 8 });
	struct ring_log *next = log_of(copy, true);

	assert_null(ring_log_offer(copy->d->ring, copy->log));
	assert_ptr_equal(ring_log_offer(copy->d->ring, next), copy->log);
	ring_log_settle(copy->d->ring);
	assert_null(ring_log_offer(copy->d->ring, copy->log));
	ring_log_free(next);
	copy_free(copy);
}

/* VHOST_VRING_F_LOG has not been said: what is written to the ring is the front end's to know. */
static void without_areas_only_data_is_logged(void **state)
{
	for (int packed = 0; packed < 2; packed++) {
		struct copy *copy = copy_new((struct test_options){ .packed = packed, .size = 8 });
		struct ring_log *log = log_of(copy, false);
		struct test_piece piece = { GUEST_BASE + 4096, 64, true };
		struct vireo_chain chain;

		assert_null(ring_log_offer(copy->d->ring, log));
		driver_add(copy->d, &piece, 1, 1, 0);
		assert_int_equal(driver_pop(copy->d, &chain, 1), 1);
		test_push(copy->d->ring, &chain, 64);
		ring_publish(copy->d->ring);
		ring_kick_enable(copy->d->ring, false);
		assert_int_equal(copy->bits[(GUEST_BASE / 4096 + 1) / 8], 1 << (GUEST_BASE / 4096 + 1) % 8);
		assert_int_equal(log_take(copy), 1);
		ring_log_free(log);
		copy_free(copy);
	}
}

/* ---- two threads ---- */

struct worker {
	struct copy *copy;
	unsigned rounds;
};

static void *worker_run(void *opaque)
{
	struct worker *worker = opaque;
	struct test_driver *d = worker->copy->d;
	struct test_piece piece = { GUEST_BASE, 64, true };
	struct vireo_chain chain;
	uint32_t len;
	bool skipped;

	for (unsigned i = 0; i < worker->rounds; i++) {
		driver_add(d, &piece, 1, 1, 0);
		ring_pop(d->ring, &chain, 1, worker->copy->iov, 8);
		__atomic_store_n((uint32_t *)chain.iov[0].iov_base, i + 1, __ATOMIC_RELAXED);
		test_push(d->ring, &chain, 4);
		ring_publish(d->ring);
		driver_used(d, &len, &skipped);
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

/* The front end takes bits and copies while they are set: the last copy is of the last thing that was written. */
static void bit_that_is_taken_early_is_set_again(void **state)
{
	for (unsigned round = 0; round < 100; round++) {
		struct copy *copy = copy_new((struct test_options){ .packed = round % 2, .size = 8 });
		struct worker worker = { .copy = copy, .rounds = 200 };
		const uint32_t *data = (const uint32_t *)(void *)guest_at(copy->d->map, GUEST_BASE);
		uint8_t *byte = &copy->bits[GUEST_BASE / 4096 / 8];
		uint32_t seen = 0;
		bool over = false;
		pthread_t thread;

		assert_null(ring_log_offer(copy->d->ring, copy->log));
		assert_int_equal(pthread_create(&thread, NULL, worker_run, &worker), 0);
		for (unsigned turn = 0; !over; turn++) {
			if (turn > 400 + round) {
				pthread_join(thread, NULL);
				over = true;
			}
			if (__atomic_exchange_n(byte, 0, __ATOMIC_SEQ_CST) & 1 << GUEST_BASE / 4096 % 8)
				seen = __atomic_load_n(data, __ATOMIC_RELAXED);
		}
		assert_int_equal(seen, worker.rounds);
		copy_free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_the_device_writes_is_logged),
		cmocka_unit_test(what_is_in_flight_when_the_log_comes_is_logged),
		cmocka_unit_test(written_between_the_look_and_the_end),
		cmocka_unit_test(log_that_ends_is_told_no_more),
		cmocka_unit_test(log_that_nobody_takes_comes_back_with_the_next),
		cmocka_unit_test(without_areas_only_data_is_logged),
		cmocka_unit_test(bit_that_is_taken_early_is_set_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
