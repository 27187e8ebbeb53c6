/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How copies end that cannot go on: what units do not allow, disks that fail or hang, task management, units that are
 * removed.
 */
#include "scsi/test_copy.h"

/* ---- what units allow ---- */

/* COPY ABORTED, THIRD PARTY DEVICE FAILURE, and the unit's own sense data. */
static void expect_third_party(const struct pair *p, bool destination, unsigned key, unsigned asc_ascq)
{
	const struct scsi_task *task = &p->t->task;

	assert_int_equal(task->status, SCSI_CHECK_CONDITION);
	assert_int_equal(task->sense[2], KEY_COPY_ABORTED);
	assert_int_equal(get_be16(task->sense + 12), ASC_THIRD_PARTY);
	if (!key) {
		assert_int_equal(task->sense_bytes, 18);
		return;
	}
	assert_int_equal(task->sense_bytes, 36);
	assert_int_equal(task->sense[7], 28);
	assert_int_equal(task->sense[destination ? 9 : 8], 18);
	assert_int_equal(task->sense[destination ? 8 : 9], 0);
	assert_int_equal(task->sense[18], 0x70);
	assert_int_equal(task->sense[18 + 2], key);
	assert_int_equal(get_be16(task->sense + 18 + 12), asc_ascq);
}

static void what_may_not_be_written_is_not_copied_to(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M,read-only=on");

	list_write(p);
	copy(p);
	expect_third_party(p, true, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
	segment_write(p, 0, 1, 0, 8, 0, 0);
	assert_int_equal(copy(p), SCSI_GOOD);
	assert_int_equal(at(p->t, TARGET, OTHER, "1b 00 00 00 00 00", 0, 0), SCSI_GOOD); /* stopped */
	copy(p);
	expect_third_party(p, false, KEY_NOT_READY, ASC_STOPPED);
	pair_free(p);
}

static void reserve(struct rig *r, unsigned lun, unsigned type)
{
	char cdb[40];

	memset(r->out, 0, 24);
	r->out[15] = 1;
	assert_int_equal(at(r, TARGET, lun, "5f 06 00 0000 00000018 00", 24, 0), SCSI_GOOD);
	r->out[15] = 0;
	r->out[7] = 1;
	snprintf(cdb, sizeof(cdb), "5f 01 %02x 0000 00000018 00", type);
	assert_int_equal(at(r, TARGET, lun, cdb, 24, 0), SCSI_GOOD);
}

/* Of another machine: one for writing keeps the destination, an exclusive one the source as well. */
static void reservations_of_others_are_respected(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");
	struct rig *other = rig_of(p->disk, p->unit, rig_bus("vm2"));
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(other->bus, TARGET, OTHER, p->unit), 0);
	at(other, TARGET, OTHER, "00 0000000000", 0, 0);
	for (unsigned exclusive = 0; exclusive < 2; exclusive++) {
		reserve(other, OTHER, exclusive ? RESERVE_EXCLUSIVE : RESERVE_WRITE);
		list_write(p);
		copy(p);
		expect_third_party(p, true, 0, 0);
		segment_write(p, 0, 1, 0, 8, 0, 0);
		copy(p);
		if (exclusive)
			expect_third_party(p, false, 0, 0);
		else
			assert_int_equal(p->t->task.status, SCSI_GOOD);
		/* The command itself is one that writes; it may be told how others went as little. */
		assert_int_equal(at(p->t, TARGET, OTHER, "83 00 0000000000000000 00000000 00 00", 0, 0), SCSI_CONFLICT);
		assert_int_equal(at(p->t, TARGET, OTHER, "84 03 00 00000000000000 00000100 00 00", 0, 256), SCSI_CONFLICT);
		memset(other->out, 0, 24);
		other->out[7] = 1;
		assert_int_equal(at(other, TARGET, OTHER, "5f 03 00 0000 00000018 00", 24, 0), SCSI_GOOD);
	}
	scsi_bus_remove(other->bus, TARGET, OTHER, removed_count, &removed);
	scsi_queue_free(other->queue);
	scsi_bus_free(other->bus);
	free(other);
	pair_free(p);
}

static void a_disk_that_fails_is_named(void **state)
{
	static const char *const specs[] = {"mem:1M,fail=EIO,fail-op=read", "mem:1M,fail=EIO,fail-op=write",
					    "mem:1M,fail=ENOSPC,fail-op=write"};
	static const struct {
		unsigned key, asc_ascq;
	} said[] = {{KEY_MEDIUM_ERROR, ASC_READ_ERROR}, {KEY_MEDIUM_ERROR, ASC_WRITE_ERROR}, {KEY_DATA_PROTECT, ASC_SPACE}};

	for (unsigned i = 0; i < ARRAY_SIZE(specs); i++) {
		struct pair *p = i ? pair_new("mem:1M", specs[i]) : pair_new(specs[i], "mem:1M");

		list_write(p);
		copy(p);
		expect_third_party(p, i, said[i].key, said[i].asc_ascq);
		expect_status(p, 2, 0, 0);
		pair_free(p);
	}
}

/* Of descriptor format: segment number, pointer or what the unit has said, and its status. */
static void sense_data_has_descriptors_if_that_is_asked_for(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M,read-only=on");
	const uint8_t *sense = p->t->task.sense;

	hex("00000000 0a0a 04 10 00 00 0000 ffff 0000", p->t->out);
	GOOD(p->t, "15 10 0000 10 00", 16, 0);
	list_write(p);
	segment_write(p, 1, 0, 9, 1, 0, 0);
	segment_write(p, 0, 1, 0, 1, 0, 0);
	put_be32(p->list + 8, 2 * COPY_SEGMENT_BYTES);
	copy(p);
	assert_int_equal(p->t->task.sense_bytes, 28);
	assert_memory_equal(sense, "\x72\x0a\x0d\x02\0\0\0\x14\x01\x0a\0\0\0\0\0\0\0\0\0\x01\x02\x06\0\0\xa0\0\x06\0", 28);
	list_write(p);
	copy(p);
	assert_int_equal(p->t->task.sense_bytes, 8 + 12 + 4 + 8);
	assert_memory_equal(sense, "\x72\x0a\x0d\x01\0\0\0\x18\x01\x0a\0\0\0\0\0\0\0\0\0\0\x0c\x0a\x02\x02\x72\x07\x27\0\0\0\0\0", 32);
	pair_free(p);
}

/* ---- copies under way ---- */

#define FOREVER "mem:1M,slow-ms=3600000,slow-op=read"

static unsigned answers;

static void answered(struct scsi_management *m)
{
	__atomic_fetch_add(&answers, 1, __ATOMIC_RELEASE);
}

static struct scsi_management function(unsigned f, unsigned lun)
{
	struct scsi_management m = {.function = (uint8_t)f, .target = TARGET, .done = answered};

	scsi_lun_encode(lun, m.lun);
	answers = 0;
	return m;
}

/* Asked by another queue. */
static void running(struct rig *asker, unsigned state, unsigned segments)
{
	assert_int_equal(ask(asker, "84 00 07 00000000000000 00000100 00 00", 0, 256), SCSI_GOOD);
	assert_int_equal(asker->in[4], state);
	assert_int_equal(get_be16(asker->in + 5), segments);
}

struct hanging {
	struct pair *p;
	struct rig *asker;
};

/* One that has copied a segment, and reads from a disk which does not answer. */
static struct hanging hang(void)
{
	struct pair *p = pair_new("mem:1M", FOREVER);
	struct hanging h = {p, rig_of(p->t->disk, p->t->unit, p->t->bus)};
	struct scsi_task *done;

	list_write(p);
	segment_write(p, 0, 0, 1, 1, 0, 0);
	segment_write(p, 1, 1, 0, 8, 0, 0);
	copy_fill(p, list_bytes(p));
	p->t->task.tag = 4;
	rig_submit(p->t);
	running(h.asker, 0, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(scsi_queue_reap(p->t->queue, &done, 1), 0);
	running(h.asker, 0, 1);
	return h;
}

static void hang_end(struct hanging *h)
{
	struct scsi_task *done;

	scsi_queue_cancel(h->p->t->queue);
	for (unsigned i = 0; scsi_queue_pending(h->p->t->queue); i++) {
		assert_true(i < 20000);
		if (!scsi_queue_reap(h->p->t->queue, &done, 1))
			usleep(1000);
		scsi_queue_shown(h->p->t->queue);
	}
	scsi_queue_free(h->asker->queue);
	free(h->asker);
	pair_free(h->p);
}

/* It has ended, at the next look, and the function is answered when it has been shown. */
static void expect_ended(struct hanging *h, const struct scsi_management *m)
{
	struct scsi_task *done[2];
	struct rig *t = h->p->t;

	assert_int_equal(answers, 0);
	assert_int_equal(scsi_queue_reap(h->asker->queue, done, 2), 0);
	scsi_queue_shown(h->asker->queue);
	assert_int_equal(scsi_queue_reap(t->queue, done, 2), 1);
	assert_ptr_equal(done[0], &t->task);
	assert_int_equal(answers, 0);
	scsi_queue_shown(t->queue);
	assert_int_equal(answers, 1);
	assert_int_equal(m->answer, SCSI_FUNCTION_COMPLETE);
}

static void a_copy_is_aborted_as_any_command_is(void **state)
{
	static const uint8_t functions[] = {SCSI_ABORT_TASK, SCSI_ABORT_TASK_SET, SCSI_CLEAR_TASK_SET, SCSI_LOGICAL_UNIT_RESET,
					    SCSI_I_T_NEXUS_RESET};

	for (unsigned i = 0; i < ARRAY_SIZE(functions); i++) {
		struct hanging h = hang();
		struct scsi_management m = function(functions[i], LUN);

		m.tag = 4;
		scsi_bus_manage(h.p->t->bus, &m);
		expect_ended(&h, &m);
		assert_int_equal(h.p->t->task.response, functions[i] == SCSI_LOGICAL_UNIT_RESET ? SCSI_RESET : SCSI_ABORTED);
		ask(h.asker, "00 0000000000", 0, 0);
		ask(h.asker, "84 00 07 00000000000000 00000100 00 00", 0, 256); /* nothing is known of it any more */
		expect_field(h.asker, ASC_CDB_FIELD, 2, -1);
		hang_end(&h);
	}
}

/* The unit that it reads from, which is not the one that the command was sent to. */
static void a_reset_of_a_side_ends_the_copy(void **state)
{
	static const uint8_t functions[] = {SCSI_ABORT_TASK_SET, SCSI_CLEAR_TASK_SET, SCSI_LOGICAL_UNIT_RESET};

	for (unsigned i = 0; i < ARRAY_SIZE(functions); i++) {
		struct hanging h = hang();
		struct scsi_management m = function(SCSI_ABORT_TASK, OTHER);
		struct scsi_task *done;

		m.tag = 4; /* of one command of that unit: it is none */
		scsi_bus_manage(h.p->t->bus, &m);
		assert_int_equal(scsi_queue_reap(h.asker->queue, &done, 1), 0);
		scsi_queue_shown(h.asker->queue);
		assert_int_equal(scsi_queue_reap(h.p->t->queue, &done, 1), 0);
		scsi_queue_shown(h.p->t->queue);
		assert_int_equal(answers, 1);
		m = function(functions[i], OTHER);
		scsi_bus_manage(h.p->t->bus, &m);
		expect_ended(&h, &m);
		expect_sense(h.p->t, KEY_COPY_ABORTED, ASC_THIRD_PARTY);
		assert_int_equal(get_be32(h.p->t->task.sense + 8), 1);
		running(h.asker, 2, 1);
		hang_end(&h);
	}
}

/* An ORDERED one of the unit that has the command waits for the copy, and begins when a reset of another unit has ended it. */
static void what_waits_for_a_copy_begins_when_it_has_ended(void **state)
{
	struct hanging h = hang();
	struct rig *t = h.p->t;
	struct scsi_management m = function(SCSI_LOGICAL_UNIT_RESET, OTHER);
	struct scsi_task ordered, *one = &ordered, *done[3];
	uint8_t cdb[6] = {0};

	ordered = t->task;
	ordered.attribute = SCSI_ORDERED;
	ordered.cdb = cdb;
	ordered.cdb_bytes = sizeof(cdb);
	ordered.out_count = 0;
	ordered.out_bytes = 0;
	scsi_queue_submit(t->queue, &one, 1);
	assert_int_equal(scsi_queue_reap(t->queue, done, 3), 0);
	scsi_bus_manage(t->bus, &m);
	assert_int_equal(scsi_queue_reap(t->queue, done, 3), 2);
	assert_true((done[0] == &t->task && done[1] == one) || (done[1] == &t->task && done[0] == one));
	expect_sense(t, KEY_COPY_ABORTED, ASC_THIRD_PARTY);
	assert_int_equal(ordered.status, SCSI_GOOD);
	scsi_queue_reap(h.asker->queue, done, 3);
	scsi_queue_shown(h.asker->queue);
	scsi_queue_shown(t->queue);
	assert_int_equal(answers, 1);
	hang_end(&h);
}

static void a_copy_ends_with_a_unit_that_is_removed(void **state)
{
	for (unsigned side = 0; side < 2; side++) {
		struct hanging h = hang();
		struct rig *t = h.p->t;
		struct scsi_task *done = NULL;
		unsigned removed = 0;

		assert_int_equal(scsi_bus_remove(t->bus, TARGET, side ? OTHER : LUN, removed_count, &removed), 0);
		assert_int_equal(scsi_queue_reap(t->queue, &done, 1), 1);
		assert_ptr_equal(done, &t->task);
		if (side)
			expect_sense(t, KEY_COPY_ABORTED, ASC_UNREACHABLE);
		else
			assert_int_equal(t->task.response, SCSI_ABORTED);
		for (unsigned i = 0; !__atomic_load_n(&removed, __ATOMIC_ACQUIRE); i++) { /* when the disk has given the request up */
			assert_true(i < 20000);
			assert_int_equal(scsi_queue_reap(t->queue, &done, 1), 0);
			scsi_queue_reap(h.asker->queue, &done, 1);
			usleep(1000);
		}
		assert_int_equal(scsi_bus_add(t->bus, TARGET, side ? OTHER : LUN, side ? h.p->unit : t->unit), 0);
		hang_end(&h);
	}
}

static void a_list_identifier_is_used_once_at_a_time(void **state)
{
	struct hanging h = hang();
	struct rig *asker = h.asker;
	char cdb[64];

	snprintf(cdb, sizeof(cdb), "83 00 0000000000000000 %08zx 00 00", list_bytes(h.p));
	memcpy(asker->out, h.p->list, list_bytes(h.p));
	CHECK(asker, cdb, list_bytes(h.p), 0, KEY_ILLEGAL_REQUEST, ASC_IN_PROGRESS);
	put_be32(asker->out + 8, COPY_SEGMENT_BYTES); /* its first segment alone, which does not hang */
	asker->out[0] = 8;
	GOOD(asker, cdb, list_bytes(h.p), 0);
	asker->out[0] = 0; /* without one */
	asker->out[1] = 0x18;
	GOOD(asker, cdb, list_bytes(h.p), 0);
	ask(asker, "84 00 00 00000000000000 00000100 00 00", 0, 256);
	expect_field(asker, ASC_CDB_FIELD, 2, -1);
	GOOD(asker, "84 00 08 00000000000000 00000100 00 00", 0, 256);
	scsi_bus_reset(asker->bus); /* what has ended is forgotten */
	ask(asker, "00 0000000000", 0, 0);
	ask(asker, "84 00 08 00000000000000 00000100 00 00", 0, 256);
	expect_field(asker, ASC_CDB_FIELD, 2, -1);
	running(asker, 0, 1);
	hang_end(&h);
}

static void the_youngest_are_remembered(void **state)
{
	struct pair *p = pair_new("mem:1M", "mem:1M");

	list_write(p);
	for (unsigned id = 1; id <= COPY_RECORDS_MAX + 2; id++) {
		p->list[0] = (uint8_t)id;
		assert_int_equal(copy(p), SCSI_GOOD);
	}
	for (unsigned id = 1; id <= COPY_RECORDS_MAX + 2; id++)
		assert_int_equal(about(p, STATUS, id), id <= 2 ? SCSI_CHECK_CONDITION : SCSI_GOOD);
	pair_free(p);
}

/* More than a queue does at once are sent again by the initiator. */
static void copies_beyond_the_bound_find_it_busy(void **state)
{
	struct pair *p = pair_new("mem:1M", FOREVER);
	struct scsi_task tasks[COPY_AT_ONCE_MAX + 1], *done[COPY_AT_ONCE_MAX + 1];
	unsigned count = 0;

	list_write(p);
	segment_write(p, 0, 1, 0, 8, 0, 0);
	for (unsigned i = 0; i <= COPY_AT_ONCE_MAX; i++) {
		struct scsi_task *one = &tasks[i];

		p->list[0] = (uint8_t)i;
		copy_fill(p, list_bytes(p));
		*one = p->t->task;
		scsi_queue_submit(p->t->queue, &one, 1);
	}
	assert_int_equal(scsi_queue_reap(p->t->queue, done, COPY_AT_ONCE_MAX + 1), 1);
	assert_ptr_equal(done[0], &tasks[COPY_AT_ONCE_MAX]);
	assert_int_equal(done[0]->status, SCSI_BUSY);
	scsi_queue_cancel(p->t->queue);
	while (scsi_queue_pending(p->t->queue))
		count += scsi_queue_reap(p->t->queue, done, COPY_AT_ONCE_MAX + 1);
	assert_int_equal(count, COPY_AT_ONCE_MAX);
	pair_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_not_be_written_is_not_copied_to),
		cmocka_unit_test(reservations_of_others_are_respected),
		cmocka_unit_test(a_disk_that_fails_is_named),
		cmocka_unit_test(sense_data_has_descriptors_if_that_is_asked_for),
		cmocka_unit_test(a_copy_is_aborted_as_any_command_is),
		cmocka_unit_test(a_reset_of_a_side_ends_the_copy),
		cmocka_unit_test(what_waits_for_a_copy_begins_when_it_has_ended),
		cmocka_unit_test(a_copy_ends_with_a_unit_that_is_removed),
		cmocka_unit_test(a_list_identifier_is_used_once_at_a_time),
		cmocka_unit_test(the_youngest_are_remembered),
		cmocka_unit_test(copies_beyond_the_bound_find_it_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
