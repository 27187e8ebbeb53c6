/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Task management that comes while there is some already, and what ends while tasks are being aborted. The disk holds its requests as a
 * kernel does: their memory is waited for, and nothing gives them up before the test says so.
 */
#include "scsi/internal.h"
#include "scsi/test_manage.h"
#include <stdio.h>

#define JOBS 40u /* more than a queue has at once */

static struct disk_queue_ops held_ops;
static const struct disk_queue_ops *real_ops;

static struct disk_queue *disk_of(struct rig *t)
{
	struct scsi_path *path = scsi_queue_path(t->queue, TARGET, LUN);

	assert_non_null(path);
	assert_non_null(path->disk);
	return path->disk;
}

static void kernel_takes(struct rig *t)
{
	struct disk_queue *disk = disk_of(t);

	real_ops = disk->ops;
	held_ops = *real_ops;
	held_ops.cancel = NULL;
	disk->ops = &held_ops;
	disk->in_thread = false;
}

static void kernel_gives_back(struct disk_queue *disk)
{
	disk->ops = real_ops;
	disk_queue_cancel(disk);
}

/* What has been posted is carried out, and what is done is shown. Returns how many tasks have ended. */
static unsigned turn(struct rig *t)
{
	unsigned count = reaped(t->queue);

	scsi_queue_shown(t->queue);
	return count;
}

static const unsigned aborts[] = {SCSI_ABORT_TASK, SCSI_ABORT_TASK_SET, SCSI_CLEAR_TASK_SET, SCSI_I_T_NEXUS_RESET,
				  SCSI_LOGICAL_UNIT_RESET};

/* SAM-5, 7: each is answered when what it covers has ended, whoever has begun to abort it. */
static void a_second_function_waits_for_what_is_being_aborted(void **state)
{
	for (unsigned pair = 0; pair < ARRAY_SIZE(aborts) * ARRAY_SIZE(aborts); pair++) {
		struct rig *t = rig_new(FOREVER);
		struct hanging *h = hang(t, 1);
		struct scsi_management first = function(aborts[pair / ARRAY_SIZE(aborts)], 0);
		struct scsi_management second = function(aborts[pair % ARRAY_SIZE(aborts)], 0);

		kernel_takes(t);
		scsi_bus_manage(t->bus, &first);
		assert_int_equal(turn(t), 0);
		scsi_bus_manage(t->bus, &second);
		assert_int_equal(turn(t), 0);
		assert_int_equal(answers, 0);
		kernel_gives_back(disk_of(t));
		assert_int_equal(reaped(t->queue), 1);
		assert_int_equal(answers, 0); /* it has not been shown */
		assert_int_equal(h->tasks[0].response, aborts[pair / ARRAY_SIZE(aborts)] == SCSI_LOGICAL_UNIT_RESET ? SCSI_RESET : SCSI_ABORTED);
		scsi_queue_shown(t->queue);
		assert_int_equal(answers, 2);
		rig_free(t);
		free(h);
	}
}

static void a_reset_by_another_initiator_waits_for_it_too(void **state)
{
	struct rig *t = rig_new(FOREVER), *other = rig_of(t->disk, t->unit, rig_bus("vm2"));
	struct scsi_management first = function(SCSI_ABORT_TASK, 0), second = function(SCSI_LOGICAL_UNIT_RESET, 0);
	struct hanging *h = hang(t, 1);
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(other->bus, TARGET, LUN, t->unit), 0);
	kernel_takes(t);
	scsi_bus_manage(t->bus, &first);
	turn(t);
	scsi_bus_manage(other->bus, &second);
	turn(t);
	turn(other);
	assert_int_equal(answers, 0);
	kernel_gives_back(disk_of(t));
	turn(t);
	assert_int_equal(answers, 2);
	scsi_bus_remove(other->bus, TARGET, LUN, removed_count, &removed);
	scsi_queue_free(other->queue);
	scsi_bus_free(other->bus);
	free(other);
	rig_free(t);
	free(h);
}

/* A queue that is being stopped has aborted it, and no function has. */
static void a_function_waits_for_what_a_queue_has_cancelled(void **state)
{
	struct rig *t = rig_new(FOREVER);
	struct hanging *h = hang(t, 1);
	struct scsi_management m = function(SCSI_LOGICAL_UNIT_RESET, 0);

	kernel_takes(t);
	scsi_queue_cancel(t->queue);
	scsi_bus_manage(t->bus, &m);
	turn(t);
	assert_int_equal(answers, 0);
	kernel_gives_back(disk_of(t));
	turn(t);
	assert_int_equal(answers, 1);
	rig_free(t);
	free(h);
}

/* The logical unit has been removed: the reset of its target covers what is left of it. */
static void a_reset_of_the_nexus_waits_for_what_was_removed(void **state)
{
	struct rig *t = rig_new(FOREVER);
	struct hanging *h = hang(t, 1);
	struct scsi_management m = function(SCSI_I_T_NEXUS_RESET, 0);
	struct disk_queue *disk = disk_of(t);
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(t->bus, TARGET, LUN + 1, t->unit), 0);
	kernel_takes(t);
	assert_int_equal(scsi_bus_remove(t->bus, TARGET, LUN, removed_count, &removed), 0);
	turn(t);
	scsi_bus_manage(t->bus, &m);
	turn(t);
	assert_int_equal(answers, 0);
	kernel_gives_back(disk);
	turn(t);
	assert_int_equal(answers, 1);
	assert_int_equal(removed, 1);
	assert_int_equal(scsi_bus_remove(t->bus, TARGET, LUN + 1, removed_count, &removed), 0);
	assert_int_equal(scsi_bus_add(t->bus, TARGET, LUN, t->unit), 0);
	rig_free(t);
	free(h);
}

/* What begins after a function is none of its business, though a later one aborts it. */
static void the_first_function_does_not_count_what_came_later(void **state)
{
	struct rig *t = rig_new(FOREVER);
	struct scsi_management first = function(SCSI_ABORT_TASK_SET, 0), second = function(SCSI_ABORT_TASK_SET, 0);
	struct scsi_management query = function(SCSI_QUERY_TASK_SET, 0);
	struct hanging *before = hang(t, 2), *later;

	kernel_takes(t);
	scsi_bus_manage(t->bus, &first);
	turn(t);
	later = hang(t, 3);
	scsi_bus_manage(t->bus, &second);
	turn(t);
	scsi_bus_manage(t->bus, &query); /* what is being aborted is in no task set any more */
	turn(t);
	assert_int_equal(answers, 1);
	assert_int_equal(query.answer, SCSI_FUNCTION_COMPLETE);
	kernel_gives_back(disk_of(t));
	assert_int_equal(turn(t), 5);
	assert_int_equal(answers, 3);
	GOOD(t, "00 0000000000", 0, 0);
	rig_free(t);
	free(before);
	free(later);
}

/* ---- nothing begins while tasks are being aborted ---- */

/* A READ that hangs, an ORDERED one that waits for it, and a RESERVE behind that. */
static struct hanging *hang_ordered(struct rig *t, uint8_t reserve[6])
{
	static const uint8_t reserve_6[6] = {0x16};
	struct hanging *h = hang(t, 1);

	memcpy(reserve, reserve_6, 6);
	for (unsigned i = 1; i < 3; i++) {
		struct scsi_task *one = &h->tasks[i];

		*one = h->tasks[0];
		one->tag = i;
		one->attribute = i == 1 ? SCSI_ORDERED : SCSI_SIMPLE;
	}
	h->tasks[2].cdb = reserve;
	h->tasks[2].cdb_bytes = 6;
	h->tasks[2].in_count = 0;
	h->tasks[2].in_bytes = 0;
	for (unsigned i = 1; i < 3; i++) {
		struct scsi_task *one = &h->tasks[i];

		scsi_queue_submit(t->queue, &one, 1);
	}
	return h;
}

static void a_queue_that_is_cancelled_begins_nothing(void **state)
{
	struct rig *t = rig_new(FOREVER);
	uint8_t reserve[6];
	struct hanging *h = hang_ordered(t, reserve);

	scsi_queue_cancel(t->queue);
	drain(t);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(h->tasks[i].response, SCSI_ABORTED);
	rig_free(t);
	free(h);
}

/* As many jobs as run at once, which wait for the claim of another queue, and one that waits for one of these to end. */
static void a_job_does_not_begin_between_two_that_are_aborted(void **state)
{
	struct rig *t = rig_new("mem:1M,slow-ms=3600000,slow-op=read"), *second = rig_of(t->disk, t->unit, t->bus);
	struct scsi_management m = function(SCSI_ABORT_TASK_SET, 0);
	struct scsi_task *tasks = calloc(JOBS, sizeof(*tasks));

	assert_non_null(tasks);
	memset(t->out, 0, 2 * BLOCK);
	rig_fill(t, TARGET, LUN, "89 00 0000000000000000 000000 01 00 00", 2 * BLOCK, 0);
	rig_submit(t); /* has the claim */
	rig_fill(second, TARGET, LUN, "89 00 0000000000000000 000000 01 00 00", 2 * BLOCK, 0);
	for (unsigned i = 0; i < JOBS; i++) {
		struct scsi_task *one = &tasks[i];

		*one = second->task;
		scsi_queue_submit(second->queue, &one, 1);
	}
	scsi_bus_manage(t->bus, &m);
	drain(second);
	drain(t);
	assert_int_equal(answers, 1);
	for (unsigned i = 0; i < JOBS; i++)
		assert_int_equal(tasks[i].response, SCSI_ABORTED);
	scsi_queue_free(second->queue);
	free(second);
	free(tasks);
	rig_free(t);
}

/* ---- what is gone ---- */

static struct scsi_keep *kept;

static void keep(void *opaque, struct scsi_keep *k)
{
	kept = k;
}

/* A file system that hangs has its reservations: its worker sleeps meanwhile. */
static void a_unit_that_is_gone_and_waits_for_its_file_lets_the_worker_sleep(void **state)
{
	struct scsi_unit_config config = {.name = "disk1", .keep = keep};
	struct disk *disk = rig_disk("mem:1M");
	struct rig *t;
	struct scsi_unit *unit;
	unsigned removed = 0;

	config.disk = disk;
	assert_int_equal(scsi_unit_new(&config, &unit), 0);
	t = rig_of(disk, unit, rig_bus("vm1"));
	assert_int_equal(scsi_bus_add(t->bus, TARGET, LUN, unit), 0);
	ask(t, "00 0000000000", 0, 0);
	memset(t->out, 0, 24);
	t->out[15] = 1; /* the new key */
	t->out[20] = 1; /* APTPL */
	rig_fill(t, TARGET, LUN, "5f 00 00 00 00 00000018 00", 24, 0);
	rig_submit(t);
	assert_non_null(kept);
	assert_int_equal(scsi_bus_remove(t->bus, TARGET, LUN, removed_count, &removed), 0);
	assert_true(scsi_queue_arm(t->queue, true)); /* it has been removed: there is something to do */
	scsi_queue_arm(t->queue, false);
	assert_int_equal(turn(t), 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(scsi_queue_arm(t->queue, true));
		scsi_queue_arm(t->queue, false);
		assert_int_equal(turn(t), 0);
	}
	assert_int_equal(removed, 0);
	scsi_keep_done(kept, 0);
	assert_true(scsi_queue_arm(t->queue, true));
	turn(t);
	assert_int_equal(removed, 1);
	assert_int_equal(scsi_queue_pending(t->queue), 0);
	assert_false(scsi_queue_arm(t->queue, true));
	assert_int_equal(scsi_bus_add(t->bus, TARGET, LUN, unit), 0);
	rig_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_second_function_waits_for_what_is_being_aborted),
		cmocka_unit_test(a_reset_by_another_initiator_waits_for_it_too),
		cmocka_unit_test(a_function_waits_for_what_a_queue_has_cancelled),
		cmocka_unit_test(a_reset_of_the_nexus_waits_for_what_was_removed),
		cmocka_unit_test(the_first_function_does_not_count_what_came_later),
		cmocka_unit_test(a_queue_that_is_cancelled_begins_nothing),
		cmocka_unit_test(a_job_does_not_begin_between_two_that_are_aborted),
		cmocka_unit_test(a_unit_that_is_gone_and_waits_for_its_file_lets_the_worker_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
