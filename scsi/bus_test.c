/* SPDX-License-Identifier: BSD-3-Clause */
/* Units come and go, become larger, and are served by several threads. */
#include "scsi/test_scsi.h"
#include <pthread.h>
#include <stdio.h>

static uint16_t attention_code;

static void attention(void *opaque, unsigned target, unsigned lun, uint16_t asc_ascq)
{
	attention_code = asc_ascq;
}

static void addresses_are_taken_once_and_within_bounds(void **state)
{
	struct rig *t = rig_new("mem:1M");
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(t->bus, TARGET, LUN, t->unit), -EEXIST);
	assert_int_equal(scsi_bus_add(t->bus, 256, 0, t->unit), -EINVAL);
	assert_int_equal(scsi_bus_add(t->bus, 0, 16384, t->unit), -EINVAL);
	assert_int_equal(scsi_bus_remove(t->bus, TARGET, LUN + 1, removed_count, &removed), -ENOENT);
	assert_int_equal(scsi_bus_add(t->bus, 255, 16383, t->unit), 0);
	at(t, 255, 16383, "00 0000000000", 0, 0);
	assert_int_equal(at(t, 255, 16383, "28 00 00000000 00 0001 00", 0, BLOCK), SCSI_GOOD);
	assert_int_equal(scsi_bus_remove(t->bus, 255, 16383, removed_count, &removed), 0);
	rig_free(t);
	assert_int_equal(removed, 1);
}

static void who_is_there_is_told_who_comes_and_goes(void **state)
{
	struct rig *t = rig_new("mem:1M");
	struct scsi_unit *other = rig_unit(t->disk, "other");
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(t->bus, TARGET, 1, other), 0);
	CHECK(t, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_LUNS);
	at(t, TARGET, 1, "00 0000000000", 0, 0);
	expect_sense(t, KEY_UNIT_ATTENTION, ASC_POWER_ON);
	assert_int_equal(at(t, TARGET, 1, "00 0000000000", 0, 0), SCSI_GOOD);
	assert_int_equal(scsi_bus_remove(t->bus, TARGET, 1, removed_count, &removed), 0);
	at(t, TARGET, 1, "00 0000000000", 0, 0);
	expect_sense(t, KEY_ILLEGAL_REQUEST, ASC_LUN);
	assert_int_equal(removed, 1);
	GOOD(t, "a0 00 00 000000 00000100 00 00", 0, 256); /* it knows by that */
	assert_int_equal(t->task.moved, 16);
	GOOD(t, "00 0000000000", 0, 0);
	scsi_unit_free(other);
	rig_free(t);
}

static void request_sense_takes_an_attention(void **state)
{
	struct rig *t = rig_new("mem:1M");

	scsi_bus_reset(t->bus);
	GOOD(t, "12 00 00 0024 00", 0, 36); /* does not */
	GOOD(t, "03 00 00 00 20 00", 0, 32);
	assert_int_equal(t->in[2], KEY_UNIT_ATTENTION);
	assert_int_equal(get_be16(t->in + 12), ASC_POWER_ON);
	GOOD(t, "00 0000000000", 0, 0);
	rig_free(t);
}

static void a_disk_that_grows_is_told_of(void **state)
{
	struct disk *disk = rig_disk("mem:1M");
	struct scsi_bus_config config = {.initiator = "vm1", .attention = attention};
	struct scsi_bus *bus;
	struct rig *t;

	assert_int_equal(scsi_bus_new(&config, &bus), 0);
	t = rig_of(disk, rig_unit(disk, "d"), bus);
	assert_int_equal(scsi_bus_add(bus, TARGET, LUN, t->unit), 0);
	ask(t, "00 0000000000", 0, 0);
	assert_false(scsi_unit_resized(t->unit));
	assert_int_equal(disk_resize(disk, 2 << 20), 0);
	assert_true(scsi_unit_resized(t->unit));
	assert_int_equal(attention_code, ASC_CAPACITY);
	assert_int_equal(scsi_unit_blocks(t->unit), 4096);
	CHECK(t, "28 00 00000fff 00 0001 00", 0, BLOCK, KEY_UNIT_ATTENTION, ASC_CAPACITY);
	GOOD(t, "28 00 00000fff 00 0001 00", 0, BLOCK);
	assert_int_equal(disk_resize(disk, 1 << 20), 0);
	CHECK(t, "28 00 00000fff 00 0001 00", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_LBA); /* before anybody has looked */
	assert_true(scsi_unit_resized(t->unit));
	CHECK(t, "28 00 00000fff 00 0001 00", 0, BLOCK, KEY_UNIT_ATTENTION, ASC_CAPACITY);
	CHECK(t, "28 00 00000fff 00 0001 00", 0, BLOCK, KEY_ILLEGAL_REQUEST, ASC_LBA);
	rig_free(t);
}

static void names_that_are_too_long_are_refused(void **state)
{
	struct disk *disk = rig_disk("mem:1M");
	struct scsi_unit_config config = {.disk = disk};
	struct scsi_unit *unit;
	char name[SCSI_NAME_BYTES + 2] = "";

	assert_int_equal(scsi_unit_new(&config, &unit), -EINVAL);
	memset(name, 'x', SCSI_NAME_BYTES + 1);
	config.name = name;
	assert_int_equal(scsi_unit_new(&config, &unit), -EINVAL);
	name[SCSI_NAME_BYTES] = '\0';
	assert_int_equal(scsi_unit_new(&config, &unit), 0);
	scsi_unit_free(unit);
	config.product = "seventeen letters";
	assert_int_equal(scsi_unit_new(&config, &unit), -EINVAL);
	disk_close(disk);
}

/* It is gone when the disk has answered, not before. */
static void a_unit_is_removed_with_tasks_under_way(void **state)
{
	struct rig *t = rig_new("mem:1M,slow-ms=200");
	struct scsi_unit *other = rig_unit(t->disk, "other");
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(t->bus, TARGET, 1, other), 0);
	ask(t, "00 0000000000", 0, 0);
	at(t, TARGET, 1, "00 0000000000", 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		rig_fill(t, TARGET, 1, i ? "89 00 0000000000000000 000000 01 00 00" : "28 00 00000000 00 0001 00", 2 * BLOCK, BLOCK);
		rig_submit(t);
		removed = 0;
		assert_int_equal(scsi_bus_remove(t->bus, TARGET, 1, removed_count, &removed), 0);
		assert_int_equal(removed, 0);
		assert_ptr_equal(rig_wait(t->queue), &t->task);
		assert_int_equal(t->task.response, SCSI_ABORTED);
		for (unsigned n = 0; n < 20000 && !removed; n++) {
			struct scsi_task *done;

			scsi_queue_reap(t->queue, &done, 1);
			usleep(1000);
		}
		assert_int_equal(removed, 1);
		assert_int_equal(scsi_bus_add(t->bus, TARGET, 1, other), 0);
		at(t, TARGET, 1, "00 0000000000", 0, 0);
		expect_sense(t, KEY_UNIT_ATTENTION, ASC_POWER_ON);
		ask(t, "00 0000000000", 0, 0);
	}
	removed = 0;
	scsi_bus_remove(t->bus, TARGET, 1, removed_count, &removed);
	rig_free(t);
	assert_int_equal(removed, 1);
	scsi_unit_free(other);
}

/* ---- threads: each with a queue, all with the same units, one of which comes and goes ---- */

#define THREADS 3u

struct user {
	struct rig *rig;
	const char *read, *write; /* of a block of its own: the disk is memory, which two of them would race for */
	bool stop; /* atomic */
	unsigned done, odd;
};

static const struct user user_of[THREADS] = {
	{.read = "28 00 00000000 00 0001 00", .write = "2a 00 00000000 00 0001 00"},
	{.read = "28 00 00000001 00 0001 00", .write = "2a 00 00000001 00 0001 00"},
	{.read = "28 00 00000002 00 0001 00", .write = "2a 00 00000002 00 0001 00"},
};

static void *user_run(void *opaque)
{
	struct user *u = opaque;
	struct rig *t = u->rig;

	for (unsigned i = 0; !__atomic_load_n(&u->stop, __ATOMIC_ACQUIRE) || i < 100; i++) {
		unsigned lun = i % 3 ? LUN : 1;
		int status = at(t, TARGET, lun, i % 2 ? u->read : u->write, BLOCK, BLOCK);

		if (status == SCSI_GOOD)
			u->done++;
		else if (status != SCSI_CHECK_CONDITION && status != (0x100 | SCSI_ABORTED) && status != (0x100 | SCSI_RESET))
			u->odd++;
	}
	return NULL;
}

static void answered(struct scsi_management *m)
{
	__atomic_store_n(&m->found, 99, __ATOMIC_RELEASE);
}

static void one_that_comes_and_goes_is_seen_by_all_threads_or_none(void **state)
{
	struct rig *t = rig_new("mem:1M");
	struct user users[THREADS];
	pthread_t threads[THREADS];
	struct scsi_unit *other = rig_unit(t->disk, "other");

	for (unsigned i = 0; i < THREADS; i++) {
		users[i] = user_of[i];
		users[i].rig = rig_of(t->disk, t->unit, t->bus);
		assert_int_equal(pthread_create(&threads[i], NULL, user_run, &users[i]), 0);
	}
	for (unsigned i = 0; i < 100; i++) {
		struct scsi_management m = {.function = SCSI_LOGICAL_UNIT_RESET, .target = TARGET, .done = answered};
		struct scsi_task *done;
		unsigned removed = 0;

		scsi_lun_encode(LUN, m.lun);
		assert_int_equal(scsi_bus_add(t->bus, TARGET, 1, other), 0);
		scsi_bus_manage(t->bus, &m);
		for (unsigned n = 0; __atomic_load_n(&m.found, __ATOMIC_ACQUIRE) != 99; n++) {
			assert_true(n < 200000);
			scsi_queue_reap(t->queue, &done, 1);
			scsi_queue_shown(t->queue);
			usleep(100);
		}
		assert_int_equal(scsi_bus_remove(t->bus, TARGET, 1, removed_count, &removed), 0);
		for (unsigned n = 0; !__atomic_load_n(&removed, __ATOMIC_ACQUIRE); n++) {
			assert_true(n < 200000);
			scsi_queue_reap(t->queue, &done, 1);
			usleep(100);
		}
	}
	for (unsigned i = 0; i < THREADS; i++)
		__atomic_store_n(&users[i].stop, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(users[i].done);
		assert_int_equal(users[i].odd, 0);
		scsi_queue_free(users[i].rig->queue);
		free(users[i].rig);
	}
	scsi_unit_free(other);
	rig_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_taken_once_and_within_bounds),
		cmocka_unit_test(who_is_there_is_told_who_comes_and_goes),
		cmocka_unit_test(request_sense_takes_an_attention),
		cmocka_unit_test(a_disk_that_grows_is_told_of),
		cmocka_unit_test(names_that_are_too_long_are_refused),
		cmocka_unit_test(a_unit_is_removed_with_tasks_under_way),
		cmocka_unit_test(one_that_comes_and_goes_is_seen_by_all_threads_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
