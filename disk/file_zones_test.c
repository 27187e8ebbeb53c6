/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A block device that is written by zones: a case per rule, at a device that is made up here (ioctl and pwritev2 are wrapped), for few
 * machines have one.
 */
#include "base/util.h"
#include "disk/file.h"
#include <errno.h>
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#define ZONES	8u
#define SECTORS 128u /* of a zone */
#define ZONE	(SECTORS * UINT64_C(512))
#define BLOCK	4096u /* what is written is a multiple of it */

/* ---- the device ---- */

static struct {
	pthread_mutex_t lock;
	struct blk_zone zones[ZONES];
	uint32_t zone_sectors;
	int write_err, act_err;	  /* what the next one fails with */
	uint64_t take_bytes;	  /* and how much it takes all the same */
	unsigned writes, acts;
	uint32_t last_act;
	struct blk_zone_range last_range;
} device = {.lock = PTHREAD_MUTEX_INITIALIZER};

int __wrap_ioctl(int fd, unsigned long request, void *argument);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags); /* the same, as C libraries call it */

static int report(struct blk_zone_report *r)
{
	uint32_t first = (uint32_t)(r->sector / SECTORS), count = min_u32(r->nr_zones, ZONES - first);

	r->flags = BLK_ZONE_REP_CAPACITY;
	memcpy(r->zones, &device.zones[first], count * sizeof(device.zones[0]));
	r->nr_zones = count;
	return 0;
}

static int act(uint32_t request, const struct blk_zone_range *range)
{
	struct blk_zone *zone = &device.zones[range->sector / SECTORS];

	device.acts++;
	device.last_act = request;
	device.last_range = *range;
	if (device.act_err) {
		errno = device.act_err;
		device.act_err = 0;
		return -1;
	}
	if (request == BLKRESETZONE && range->nr_sectors == SECTORS) {
		zone->cond = BLK_ZONE_COND_EMPTY;
		zone->wp = zone->start;
	}
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	uint32_t which = (uint32_t)request; /* some C libraries have an int */
	int result;

	pthread_mutex_lock(&device.lock);
	if (which == BLKGETZONESZ)
		result = (memcpy(argument, &device.zone_sectors, sizeof(device.zone_sectors)), 0);
	else
		result = which == BLKREPORTZONE ? report(argument) : act(which, argument);
	pthread_mutex_unlock(&device.lock);
	return result;
}

/* At the pointer of a zone, or not at all. */
static ssize_t zone_write(struct blk_zone *zone, int fd, const struct iovec *iov, int count, off_t offset)
{
	ssize_t n;

	device.writes++;
	if (device.write_err || (uint64_t)offset != zone->wp * 512) {
		zone->wp += device.take_bytes / 512;
		errno = device.write_err ? device.write_err : EIO;
		device.write_err = 0;
		device.take_bytes = 0;
		return -1;
	}
	n = pwritev(fd, iov, count, offset);
	zone->wp += (uint64_t)n / 512;
	zone->cond = zone->wp == zone->start + zone->capacity ? BLK_ZONE_COND_FULL : BLK_ZONE_COND_IMP_OPEN;
	return n;
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	struct blk_zone *zone = &device.zones[(uint64_t)offset / ZONE];
	ssize_t n;

	pthread_mutex_lock(&device.lock);
	n = zone->cond == BLK_ZONE_COND_NOT_WP ? pwritev(fd, iov, count, offset) : zone_write(zone, fd, iov, count, offset);
	pthread_mutex_unlock(&device.lock);
	return n;
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	return __wrap_pwritev2(fd, iov, count, offset, flags);
}

/* ---- the disk ---- */

static struct file_disk file;
static uint8_t data[2 * ZONE];

static int setup(void **state)
{
	device.zone_sectors = SECTORS;
	device.write_err = device.act_err = 0;
	device.take_bytes = device.writes = device.acts = 0;
	for (uint32_t i = 0; i < ZONES; i++)
		device.zones[i] = (struct blk_zone){.start = i * SECTORS, .len = SECTORS, .wp = i * SECTORS, .capacity = SECTORS - 32,
						    .type = BLK_ZONE_TYPE_SEQWRITE_REQ, .cond = BLK_ZONE_COND_EMPTY};
	/* Conventional ones need not come first. */
	device.zones[3].type = BLK_ZONE_TYPE_CONVENTIONAL;
	device.zones[3].cond = BLK_ZONE_COND_NOT_WP;
	device.zones[3].capacity = SECTORS;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i + i / 251);
	file = (struct file_disk){.fd = memfd_create("zones", 0), .memory_align = 1, .zoned = true};
	file.disk.info = (struct disk_info){.size_bytes = ZONES * ZONE, .logical_block_bytes = 512, .physical_block_bytes = BLOCK};
	return file.fd < 0 || ftruncate(file.fd, ZONES * ZONE);
}

static int teardown(void **state)
{
	file_zones_free(file.zones);
	return close(file.fd);
}

static int opened(void)
{
	char why[DISK_WHY_BYTES] = "";
	int err;

	file_zones_free(file.zones);
	file.zones = NULL;
	err = file_zones_open(&file, 0, "/dev/zoned", why);
	assert_true(!err == !*why);
	return err;
}

static int ask(uint8_t op, uint8_t flags, uint64_t *offset, uint64_t bytes, uint64_t from)
{
	struct iovec iov[] = {{data + from, bytes / 3}, {data + from + bytes / 3, bytes - bytes / 3}};
	struct disk_request r = {.op = op, .flags = flags, .offset = *offset, .bytes = bytes, .iov = iov, .iov_count = ARRAY_SIZE(iov)};
	int err;

	if (op == DISK_ZONE)
		r.iov = NULL, r.iov_count = 0;
	err = file_problem(&file, &r);
	if (err)
		return err;
	file_do(&file, &r);
	*offset = r.offset;
	return r.result;
}

static int write_at(uint64_t offset, uint64_t bytes, uint64_t from)
{
	return ask(DISK_WRITE, 0, &offset, bytes, from);
}

static int zone_do(enum disk_zone_act what, uint64_t offset)
{
	return ask(DISK_ZONE, (uint8_t)what, &offset, 0, 0);
}

static struct disk_zone zone_at(uint64_t offset)
{
	struct disk_zone zone;

	file_zones_get(&file, offset, &zone);
	return zone;
}

/* ---- cases ---- */

static void zones_are_those_of_the_device(void **state)
{
	static const struct {
		uint8_t cond;
		enum disk_zone_state state;
	} rows[] = {{BLK_ZONE_COND_IMP_OPEN, DISK_ZONE_OPENED_BY_WRITE}, {BLK_ZONE_COND_EXP_OPEN, DISK_ZONE_OPENED},
		    {BLK_ZONE_COND_CLOSED, DISK_ZONE_CLOSED},		 {BLK_ZONE_COND_FULL, DISK_ZONE_FULL},
		    {BLK_ZONE_COND_READONLY, DISK_ZONE_READ_ONLY},	 {BLK_ZONE_COND_OFFLINE, DISK_ZONE_OFFLINE}};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		device.zones[0].cond = rows[i].cond;
		device.zones[0].wp = rows[i].cond == BLK_ZONE_COND_FULL ? UINT64_MAX : 8;
		assert_int_equal(opened(), 0);
		assert_int_equal(zone_at(0).state, rows[i].state);
		assert_int_equal(zone_at(0).pointer_bytes, rows[i].cond == BLK_ZONE_COND_FULL ? zone_at(0).capacity_bytes : 4096);
	}
	assert_int_equal(write_at(0, BLOCK, 0), -EBADRQC); /* where it has worn out */
	for (unsigned what = DISK_ZONE_OPEN; what <= DISK_ZONE_RESET; what++)
		assert_int_equal(zone_do(what, 0), -EBADRQC);
	assert_int_equal(file.disk.info.zones.zone_bytes, ZONE);
	assert_int_equal(file.disk.info.zones.write_bytes, BLOCK);
	assert_int_equal(zone_at(ZONE).capacity_bytes, ZONE - 32 * 512);
	assert_int_equal(zone_at(3 * ZONE).state, DISK_ZONE_CONVENTIONAL);
	assert_int_equal(write_at(3 * ZONE + BLOCK, BLOCK, 0), 0);
	assert_int_equal(write_at(3 * ZONE + 512, 512, 0), 0); /* such a zone takes any logical block */
	assert_int_equal(write_at(4 * ZONE - BLOCK, 2 * BLOCK, 0), -EBADRQC); /* into one that is not */
}

static void a_device_that_tells_nonsense_is_not_opened(void **state)
{
	static const struct blk_zone lies[] = {
		{.start = 2 * SECTORS + 8, .len = SECTORS, .wp = 2 * SECTORS + 8, .capacity = SECTORS, .cond = BLK_ZONE_COND_EMPTY},
		{.start = 2 * SECTORS, .len = 0, .capacity = 0, .cond = BLK_ZONE_COND_EMPTY},
		{.start = 2 * SECTORS, .len = 2 * SECTORS, .wp = 2 * SECTORS, .capacity = SECTORS, .cond = BLK_ZONE_COND_EMPTY},
		{.start = 2 * SECTORS, .len = SECTORS, .wp = 2 * SECTORS, .capacity = SECTORS + 1, .cond = BLK_ZONE_COND_EMPTY},
		{.start = UINT64_MAX, .len = SECTORS, .capacity = SECTORS, .cond = BLK_ZONE_COND_EMPTY},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct blk_zone honest = device.zones[2];

		device.zones[2] = lies[i];
		assert_int_equal(opened(), -EPROTO);
		device.zones[2] = honest;
	}
	device.zones[2].cond = BLK_ZONE_COND_CLOSED;
	device.zones[2].wp = 0; /* before its zone: then it is taken for its beginning */
	assert_int_equal(opened(), 0);
	assert_int_equal(zone_at(2 * ZONE).pointer_bytes, 2 * ZONE);
	device.zones[2].wp = 3 * SECTORS - 8; /* beyond what can be written */
	assert_int_equal(opened(), 0);
	assert_int_equal(zone_at(2 * ZONE).pointer_bytes, 2 * ZONE);
	device.zone_sectors = 96;
	assert_int_equal(opened(), -EPROTO);
}

static void writes_and_appends_go_to_the_pointer(void **state)
{
	uint64_t offset = ZONE;

	assert_int_equal(opened(), 0);
	assert_int_equal(write_at(ZONE + BLOCK, BLOCK, 0), -EILSEQ);
	assert_int_equal(write_at(ZONE, 512, 0), -EILSEQ); /* less than the device writes */
	assert_int_equal(device.writes, 0);
	assert_int_equal(write_at(ZONE, 2 * BLOCK, 0), 0);
	assert_int_equal(ask(DISK_WRITE, DISK_APPEND, &offset, BLOCK, 0), 0);
	assert_int_equal(offset, ZONE + 2 * BLOCK);
	assert_int_equal(device.zones[1].wp * 512, ZONE + 3 * BLOCK);
	assert_int_equal(zone_at(ZONE).pointer_bytes, ZONE + 3 * BLOCK);
	assert_int_equal(zone_at(ZONE).state, DISK_ZONE_OPENED_BY_WRITE);
	offset = ZONE + BLOCK;
	assert_int_equal(ask(DISK_WRITE, DISK_APPEND, &offset, BLOCK, 0), -EBADRQC);
	offset = 3 * ZONE;
	assert_int_equal(ask(DISK_WRITE, DISK_APPEND, &offset, BLOCK, 0), -EBADRQC);
	offset = ZONE;
	assert_int_equal(ask(DISK_READ, 0, &offset, ZONE, 0), 0);
	offset = 2 * ZONE - 512;
	assert_int_equal(ask(DISK_READ, 0, &offset, 1024, 0), -EBADRQC);
}

static void after_a_write_that_failed_the_pointer_is_the_device_s(void **state)
{
	assert_int_equal(opened(), 0);
	device.write_err = EIO;
	device.take_bytes = BLOCK; /* a part of it was written */
	assert_int_equal(write_at(ZONE, 3 * BLOCK, 0), -EIO);
	assert_int_equal(zone_at(ZONE).pointer_bytes, ZONE + BLOCK);
	assert_int_equal(write_at(ZONE + BLOCK, BLOCK, 0), 0);
	device.write_err = ETOOMANYREFS;
	assert_int_equal(write_at(2 * ZONE, BLOCK, 0), -ETOOMANYREFS);
	assert_int_equal(zone_at(2 * ZONE).state, DISK_ZONE_EMPTY);
}

static void zones_are_opened_and_reset_at_the_device(void **state)
{
	static const uint32_t requests[] = {BLKOPENZONE, BLKCLOSEZONE, BLKFINISHZONE, BLKRESETZONE};

	assert_int_equal(opened(), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		assert_int_equal(zone_do(DISK_ZONE_OPEN + i, ZONE), 0);
		assert_true(device.last_act == requests[i]);
		assert_int_equal(device.last_range.sector, SECTORS);
		assert_int_equal(device.last_range.nr_sectors, SECTORS);
	}
	assert_int_equal(zone_do(DISK_ZONE_OPEN, ZONE + 512), -EBADRQC);
	assert_int_equal(zone_do(DISK_ZONE_RESET, 3 * ZONE), -EBADRQC);
	assert_int_equal(device.acts, 4);
	assert_int_equal(write_at(2 * ZONE, BLOCK, 0), 0);
	assert_int_equal(zone_do(DISK_ZONE_RESET_ALL, 0), 0);
	assert_int_equal(device.last_range.nr_sectors, ZONES * SECTORS);
	assert_int_equal(zone_at(2 * ZONE).state, DISK_ZONE_EMPTY);
	assert_int_equal(zone_at(3 * ZONE).state, DISK_ZONE_CONVENTIONAL);
	device.act_err = EOVERFLOW;
	assert_int_equal(zone_do(DISK_ZONE_OPEN, ZONE), -EOVERFLOW);
	assert_int_equal(zone_at(ZONE).state, DISK_ZONE_EMPTY); /* as the device has it */
	device.act_err = EIO;
	device.zones[5].cond = BLK_ZONE_COND_OFFLINE;
	assert_int_equal(zone_do(DISK_ZONE_RESET_ALL, 0), -EIO);
	assert_int_equal(zone_at(5 * ZONE).state, DISK_ZONE_OFFLINE);
}

/* A process has been killed: the next one opens the device, and is asked for what the first was asked for. */
static void what_a_process_before_has_written_is_not_written_again(void **state)
{
	uint64_t capacity = ZONE - 32 * 512;
	unsigned writes;

	assert_int_equal(opened(), 0);
	assert_int_equal(write_at(ZONE, 3 * BLOCK, 0), 0);
	assert_int_equal(write_at(2 * ZONE, capacity, 0), 0);
	writes = device.writes;
	assert_int_equal(opened(), 0);
	assert_int_equal(write_at(ZONE + BLOCK, 2 * BLOCK, BLOCK), 0);
	assert_int_equal(write_at(2 * ZONE, capacity, 0), 0); /* the zone is full */
	assert_int_equal(device.writes, writes);
	assert_int_equal(write_at(ZONE + BLOCK, 2 * BLOCK, 0), -EILSEQ); /* that is not what is there */
	assert_int_equal(write_at(ZONE + 2 * BLOCK, 3 * BLOCK, 2 * BLOCK), 0); /* and more of it */
	assert_int_equal(zone_at(ZONE).pointer_bytes, ZONE + 5 * BLOCK);
	assert_int_equal(device.zones[1].wp * 512, ZONE + 5 * BLOCK);
	assert_int_equal(write_at(ZONE + 2 * BLOCK, 3 * BLOCK, 2 * BLOCK), -EILSEQ); /* this process has written to it */
	assert_int_equal(zone_do(DISK_ZONE_RESET, 2 * ZONE), 0);
	assert_int_equal(write_at(2 * ZONE + BLOCK, BLOCK, BLOCK), -EILSEQ);
	for (uint64_t done = 0; done < 5 * BLOCK; done += BLOCK) {
		uint8_t block[BLOCK];

		assert_int_equal(pread(file.fd, block, BLOCK, (off_t)(ZONE + done)), BLOCK);
		assert_memory_equal(block, data + done, BLOCK);
	}
}

/* Behind its pointers this device has what was there before. That is read, but nobody takes it for written, in the next process either. */
static void what_was_there_before_a_reset_counts_as_nothing(void **state)
{
	uint64_t offset = ZONE;
	uint8_t before[BLOCK];
	unsigned writes;

	assert_int_equal(opened(), 0);
	assert_int_equal(write_at(ZONE, 3 * BLOCK, 0), 0);
	assert_int_equal(zone_do(DISK_ZONE_RESET, ZONE), 0);
	memcpy(before, data, BLOCK);
	memset(data, 0x55, BLOCK);
	assert_int_equal(ask(DISK_READ, 0, &offset, BLOCK, 0), 0);
	assert_memory_equal(data, before, BLOCK);
	assert_int_equal(opened(), 0);
	assert_int_equal(zone_at(ZONE).pointer_bytes, ZONE);
	assert_int_equal(write_at(ZONE + BLOCK, BLOCK, BLOCK), -EILSEQ);
	writes = device.writes;
	assert_int_equal(write_at(ZONE, BLOCK, 0), 0); /* at the pointer: again */
	assert_int_equal(device.writes, writes + 1);
	assert_int_equal(opened(), 0);
	assert_int_equal(write_at(ZONE + 2 * BLOCK, BLOCK, 2 * BLOCK), -EILSEQ);
	assert_int_equal(write_at(ZONE, 2 * BLOCK, 0), 0); /* the first is there, the second is not */
	assert_int_equal(device.writes, writes + 2);
	assert_int_equal(zone_at(ZONE).pointer_bytes, ZONE + 2 * BLOCK);
}

/* It begins with what is there, but what is behind that goes to another zone, whose lock nobody holds then. */
static void what_runs_into_the_next_zone_was_never_written(void **state)
{
	unsigned writes;

	device.zones[1].capacity = SECTORS;
	assert_int_equal(opened(), 0);
	assert_int_equal(write_at(ZONE, ZONE, 0), 0);
	writes = device.writes;
	assert_int_equal(opened(), 0);
	assert_int_equal(write_at(2 * ZONE - BLOCK, BLOCK, ZONE - BLOCK), 0);
	assert_int_equal(write_at(2 * ZONE - BLOCK, 3 * BLOCK, ZONE - BLOCK), -EBADRQC);
	assert_int_equal(device.writes, writes);
	assert_int_equal(zone_at(2 * ZONE).pointer_bytes, 2 * ZONE);
}

#define THREADS 4u
#define APPENDS 5u

static void *appends(void *opaque)
{
	uint64_t *went = opaque;

	for (unsigned i = 0; i < APPENDS; i++) {
		went[i] = 2 * ZONE;
		if (ask(DISK_WRITE, DISK_APPEND, &went[i], 512, 0))
			went[i] = 0;
	}
	return NULL;
}

static void appends_of_many_queues_go_one_behind_the_other(void **state)
{
	uint64_t went[THREADS][APPENDS], sum = 0;
	pthread_t threads[THREADS];

	file.disk.info.physical_block_bytes = 512;
	assert_int_equal(opened(), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, appends, went[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < THREADS * APPENDS; i++) {
		uint64_t sector = (went[i / APPENDS][i % APPENDS] - 2 * ZONE) / 512;

		assert_true(sector < THREADS * APPENDS);
		sum |= UINT64_C(1) << sector;
	}
	assert_true(sum == (UINT64_C(1) << THREADS * APPENDS) - 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(zones_are_those_of_the_device),
		CASE(a_device_that_tells_nonsense_is_not_opened),
		CASE(writes_and_appends_go_to_the_pointer),
		CASE(after_a_write_that_failed_the_pointer_is_the_device_s),
		CASE(zones_are_opened_and_reset_at_the_device),
		CASE(what_a_process_before_has_written_is_not_written_again),
		CASE(what_was_there_before_a_reset_counts_as_nothing),
		CASE(what_runs_into_the_next_zone_was_never_written),
		CASE(appends_of_many_queues_go_one_behind_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
