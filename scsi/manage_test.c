/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Task management: what it aborts ends, and is shown, before it is answered; also where the disk does not
 * answer.
 */
#include "scsi/test_manage.h"
#include <pthread.h>
#include <stdio.h>

static void abort_task_aborts_the_one_of_that_tag(void **state)
{
	struct rig *t = rig_new(FOREVER);
	struct hanging *h = hang(t, 4);
	struct scsi_management m = function(SCSI_ABORT_TASK, 2);

	scsi_bus_manage(t->bus, &m);
	assert_int_equal(answers, 0);
	assert_int_equal(reaped(t->queue), 1);
	assert_int_equal(h->tasks[2].response, SCSI_ABORTED);
	assert_int_equal(answers, 0); /* it has not been shown */
	scsi_queue_shown(t->queue);
	assert_int_equal(answers, 1);
	assert_int_equal(m.answer, SCSI_FUNCTION_COMPLETE);
	m = function(SCSI_ABORT_TASK, 2); /* it is not there any more */
	scsi_bus_manage(t->bus, &m);
	reaped(t->queue);
	scsi_queue_shown(t->queue);
	assert_int_equal(m.answer, SCSI_FUNCTION_COMPLETE);
	assert_int_equal(answers, 1);
	scsi_queue_cancel(t->queue);
	drain(t);
	assert_int_equal(h->tasks[0].response, SCSI_ABORTED);
	rig_free(t);
	free(h);
}

/* The disk gives all up that waits; what has not been aborted is submitted anew. */
static void tasks_beside_an_aborted_one_go_on(void **state)
{
	struct rig *t = rig_new("mem:1M,slow-ms=300,slow-op=read");
	struct hanging *h = hang(t, 4);
	struct scsi_management m = function(SCSI_ABORT_TASK, 1);

	scsi_bus_manage(t->bus, &m);
	drain(t);
	assert_int_equal(answers, 1);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(h->tasks[i].response, i == 1 ? SCSI_ABORTED : SCSI_OK);
		assert_int_equal(h->tasks[i].moved, i == 1 ? 0 : BLOCK);
	}
	rig_free(t);
	free(h);
}

static void abort_task_set_is_of_the_nexus_and_clear_of_all(void **state)
{
	struct rig *t = rig_new(FOREVER), *other = rig_of(t->disk, t->unit, rig_bus("vm2"));
	struct hanging *mine, *his;
	struct scsi_management m = function(SCSI_ABORT_TASK_SET, 0);
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(other->bus, TARGET, LUN, t->unit), 0);
	ask(other, "00 0000000000", 0, 0);
	mine = hang(t, 3);
	his = hang(other, 3);
	scsi_bus_manage(t->bus, &m);
	drain(t);
	assert_int_equal(answers, 1);
	assert_int_equal(reaped(other->queue), 0);
	assert_int_equal(mine->tasks[0].response, SCSI_ABORTED);
	m = function(SCSI_CLEAR_TASK_SET, 0);
	scsi_bus_manage(t->bus, &m);
	reaped(t->queue);
	scsi_queue_shown(t->queue);
	assert_int_equal(answers, 0);
	drain(other);
	assert_int_equal(answers, 1);
	assert_int_equal(his->tasks[2].response, SCSI_ABORTED);
	CHECK(other, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_CLEARED);
	GOOD(t, "00 0000000000", 0, 0);
	scsi_bus_remove(other->bus, TARGET, LUN, removed_count, &removed);
	scsi_queue_free(other->queue);
	scsi_bus_free(other->bus);
	free(other);
	rig_free(t);
	free(mine);
	free(his);
}

static void a_reset_of_the_unit_ends_all_and_tells_all(void **state)
{
	struct rig *t = rig_new(FOREVER), *second = rig_of(t->disk, t->unit, t->bus);
	struct hanging *a, *b;
	struct scsi_management m = function(SCSI_LOGICAL_UNIT_RESET, 0);

	GOOD(t, "16 0000000000", 0, 0);
	a = hang(t, 3);
	b = hang(second, 3);
	scsi_bus_manage(t->bus, &m);
	drain(t);
	assert_int_equal(answers, 0);
	drain(second);
	assert_int_equal(answers, 1);
	assert_int_equal(m.answer, SCSI_FUNCTION_COMPLETE);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(a->tasks[i].response, SCSI_RESET);
		assert_int_equal(b->tasks[i].response, SCSI_RESET);
	}
	CHECK(t, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_RESET);
	GOOD(t, "2a 00 00000000 00 0001 00", BLOCK, 0);
	scsi_queue_free(second->queue);
	free(second);
	rig_free(t);
	free(a);
	free(b);
}

static void a_reset_of_the_nexus_is_of_its_target(void **state)
{
	struct rig *t = rig_new(FOREVER);
	struct hanging *h = hang(t, 2);
	struct scsi_management m = function(SCSI_I_T_NEXUS_RESET, 0);

	scsi_bus_manage(t->bus, &m);
	drain(t);
	assert_int_equal(answers, 1);
	assert_int_equal(h->tasks[1].response, SCSI_ABORTED);
	CHECK(t, "00 0000000000", 0, 0, KEY_UNIT_ATTENTION, ASC_NEXUS_LOSS);
	rig_free(t);
	free(h);
}

static void queries_find_what_is_there(void **state)
{
	struct rig *t = rig_new(FOREVER);
	struct hanging *h = hang(t, 2);
	struct scsi_management m;
	static const struct {
		unsigned function, tag, answer;
	} cases[] = {
		{SCSI_QUERY_TASK, 1, SCSI_FUNCTION_SUCCEEDED},
		{SCSI_QUERY_TASK, 2, SCSI_FUNCTION_COMPLETE},
		{SCSI_QUERY_TASK_SET, 7, SCSI_FUNCTION_SUCCEEDED},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		m = function(cases[i].function, cases[i].tag);
		scsi_bus_manage(t->bus, &m);
		assert_int_equal(reaped(t->queue), 0);
		scsi_queue_shown(t->queue);
		assert_int_equal(answers, 1);
		assert_int_equal(m.answer, cases[i].answer);
	}
	scsi_queue_cancel(t->queue);
	drain(t);
	m = function(SCSI_QUERY_TASK_SET, 0);
	scsi_bus_manage(t->bus, &m);
	reaped(t->queue);
	scsi_queue_shown(t->queue);
	assert_int_equal(m.answer, SCSI_FUNCTION_COMPLETE);
	m = function(SCSI_QUERY_ASYNC_EVENT, 0);
	scsi_bus_manage(t->bus, &m);
	assert_int_equal(m.answer, SCSI_FUNCTION_COMPLETE);
	scsi_bus_reset(t->bus);
	m = function(SCSI_QUERY_ASYNC_EVENT, 0);
	scsi_bus_manage(t->bus, &m);
	assert_int_equal(m.answer, SCSI_FUNCTION_SUCCEEDED);
	assert_int_equal(m.additional, 0x80062900);
	rig_free(t);
	free(h);
}

static void what_is_not_there_is_answered_at_once(void **state)
{
	struct rig *t = rig_new("mem:1M");
	struct scsi_management m;

	for (unsigned f = 0; f < 256; f++) {
		m = function(f, 0);
		m.target = TARGET + 1;
		scsi_bus_manage(t->bus, &m);
		assert_int_equal(answers, 1);
		assert_int_equal(m.answer, SCSI_NO_TARGET);
		m = function(f, 0);
		m.lun[1]++;
		scsi_bus_manage(t->bus, &m);
		if (f == SCSI_I_T_NEXUS_RESET) { /* there is a target */
			reaped(t->queue);
			scsi_queue_shown(t->queue);
			assert_int_equal(m.answer, SCSI_FUNCTION_COMPLETE);
			continue;
		}
		assert_int_equal(answers, 1);
		assert_int_equal(m.answer, f == SCSI_CLEAR_ACA || f >= SCSI_FUNCTIONS ? SCSI_FUNCTION_REJECTED : SCSI_INCORRECT_LUN);
	}
	rig_free(t);
}

/* What is held by an ORDERED task that hangs. */
static void what_is_held_is_aborted_too(void **state)
{
	struct rig *t = rig_new(FOREVER);
	struct hanging *h = calloc(1, sizeof(*h));
	struct scsi_management m = function(SCSI_ABORT_TASK_SET, 0);

	assert_non_null(h);
	hex("28 00 00000000 00 0001 00", h->cdb);
	h->iov = (struct iovec){h->room, BLOCK};
	for (unsigned i = 0; i < 6; i++) {
		struct scsi_task *one = &h->tasks[i];

		rig_fill(t, TARGET, LUN, "", 0, BLOCK);
		*one = t->task;
		one->cdb = h->cdb;
		one->cdb_bytes = 10;
		one->in = &h->iov;
		one->attribute = i % 2 ? SCSI_SIMPLE : SCSI_ORDERED;
		scsi_queue_submit(t->queue, &one, 1);
	}
	assert_int_equal(reaped(t->queue), 0);
	scsi_bus_manage(t->bus, &m);
	drain(t);
	assert_int_equal(answers, 1);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(h->tasks[i].response, SCSI_ABORTED);
	GOOD(t, "00 0000000000", 0, 0);
	rig_free(t);
	free(h);
}

/*
 * A command that has memory of its own ends at once; the disk goes on with it, and the unit stays until it
 * has done so.
 */
static void a_job_is_given_up_at_once(void **state)
{
	struct rig *t = rig_new("mem:1M,slow-ms=300,slow-op=read");
	struct scsi_management m = function(SCSI_LOGICAL_UNIT_RESET, 0);

	for (unsigned i = 0; i < 2; i++) {
		rig_fill(t, TARGET, LUN, "89 00 0000000000000000 000000 01 00 00", 2 * BLOCK, 0);
		rig_submit(t);
		assert_int_equal(reaped(t->queue), 0);
		m = function(SCSI_LOGICAL_UNIT_RESET, 0);
		scsi_bus_manage(t->bus, &m);
		assert_int_equal(reaped(t->queue), 1);
		assert_int_equal(t->task.response, SCSI_RESET);
		scsi_queue_shown(t->queue);
		assert_int_equal(answers, 1);
		drain(t);
		ask(t, "00 0000000000", 0, 0);
	}
	GOOD(t, "89 00 0000000000000000 000000 01 00 00", 2 * BLOCK, 0); /* nobody has the claim any more */
	rig_free(t);
}

/* Who waits for the claim of one that hangs is given up, too, and what comes later gets it. */
static void a_job_that_waits_for_the_claim_is_given_up(void **state)
{
	struct rig *t = rig_new("mem:1M,slow-ms=200,slow-op=read"), *second = rig_of(t->disk, t->unit, t->bus);
	struct scsi_management m;

	memset(t->out, 0, 2 * BLOCK);
	rig_fill(t, TARGET, LUN, "89 00 0000000000000000 000000 01 00 00", 2 * BLOCK, 0);
	rig_submit(t);
	reaped(t->queue);
	rig_fill(second, TARGET, LUN, "8b 00 0000000000000000 00000001 00 00", BLOCK, 0);
	second->task.tag = 77;
	rig_submit(second);
	reaped(second->queue);
	m = function(SCSI_ABORT_TASK, 77);
	scsi_bus_manage(t->bus, &m);
	while (!answers) {
		reaped(second->queue);
		scsi_queue_shown(second->queue);
		reaped(t->queue);
		scsi_queue_shown(t->queue);
	}
	assert_int_equal(second->task.response, SCSI_ABORTED);
	drain(second);
	drain(t);
	GOOD(second, "8b 00 0000000000000000 00000001 00 00", BLOCK, 0);
	scsi_queue_free(second->queue);
	free(second);
	rig_free(t);
}

/* What the kernel has is waited for: it may write to the data. */
static void what_a_thread_has_begun_with_is_waited_for(void **state)
{
	char path[] = "/tmp/vireo-scsi-XXXXXX", spec[64];
	struct scsi_management m = function(SCSI_ABORT_TASK_SET, 0);
	int fd = mkstemp(path);
	struct hanging *h;
	struct rig *t;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	snprintf(spec, sizeof(spec), "file:%s,io=threads,threads=1", path);
	t = rig_new(spec);
	for (unsigned i = 0; i < 50; i++) {
		h = calloc(1, sizeof(*h));
		assert_non_null(h);
		hex("28 00 00000000 00 0001 00", h->cdb);
		h->iov = (struct iovec){h->room, BLOCK};
		for (unsigned n = 0; n < 8; n++) {
			struct scsi_task *one = &h->tasks[n];

			rig_fill(t, TARGET, LUN, "", 0, BLOCK);
			*one = t->task;
			one->cdb = h->cdb;
			one->cdb_bytes = 10;
			one->in = &h->iov;
			scsi_queue_submit(t->queue, &one, 1);
		}
		m = function(SCSI_ABORT_TASK_SET, 0);
		scsi_bus_manage(t->bus, &m);
		drain(t);
		assert_int_equal(answers, 1);
		memset(h, 0xff, sizeof(*h)); /* the memory is ours again: a sanitizer would tell */
		free(h);
	}
	rig_free(t);
	unlink(path);
}

/* ---- threads ---- */

struct server {
	struct rig *rig;
	bool stop; /* atomic */
	unsigned ended;
};

/* As a worker does: serves, and sleeps when there is nothing to do. */
static void *server_run(void *opaque)
{
	struct server *s = opaque;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		struct pollfd fd = {.fd = scsi_queue_fd(s->rig->queue), .events = POLLIN};
		unsigned count = reaped(s->rig->queue);

		s->ended += count;
		scsi_queue_shown(s->rig->queue);
		if (count || scsi_queue_arm(s->rig->queue, true))
			continue;
		poll(&fd, 1, 50);
		scsi_queue_arm(s->rig->queue, false);
	}
	return NULL;
}

static void a_queue_that_sleeps_wakes_for_management(void **state)
{
	struct rig *t = rig_new(FOREVER);
	struct server s = {.rig = t};
	struct scsi_management m;
	pthread_t thread;

	for (unsigned i = 0; i < 20; i++) {
		struct hanging *h = hang(t, 4);

		s.stop = false;
		s.ended = 0;
		assert_int_equal(pthread_create(&thread, NULL, server_run, &s), 0);
		m = function(i % 2 ? SCSI_LOGICAL_UNIT_RESET : SCSI_ABORT_TASK_SET, 0);
		scsi_bus_manage(t->bus, &m);
		for (unsigned n = 0; !__atomic_load_n(&answers, __ATOMIC_ACQUIRE); n++) {
			assert_true(n < 20000);
			usleep(1000);
		}
		__atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
		assert_int_equal(s.ended, 4);
		ask(t, "00 0000000000", 0, 0);
		drain(t);
		free(h);
	}
	rig_free(t);
}

static void a_queue_that_goes_answers_what_was_asked_of_it(void **state)
{
	struct rig *t = rig_new("mem:1M"), *second = rig_of(t->disk, t->unit, t->bus);
	struct scsi_management m = function(SCSI_LOGICAL_UNIT_RESET, 0);

	scsi_bus_manage(t->bus, &m);
	reaped(t->queue);
	scsi_queue_shown(t->queue);
	assert_int_equal(answers, 0);
	scsi_queue_free(second->queue);
	assert_int_equal(answers, 1);
	free(second);
	rig_free(t);
}

/* A queue of another bus has not come to it yet: what is over in this one holds nothing of it. */
static void a_bus_may_go_while_another_one_is_being_reset(void **state)
{
	struct rig *t = rig_new(FOREVER), *other = rig_of(t->disk, t->unit, rig_bus("vm2"));
	struct scsi_management m = function(SCSI_LOGICAL_UNIT_RESET, 0);
	unsigned removed = 0;

	assert_int_equal(scsi_bus_add(other->bus, TARGET, LUN, t->unit), 0);
	scsi_bus_manage(t->bus, &m);
	reaped(other->queue);
	scsi_queue_shown(other->queue);
	assert_int_equal(answers, 0);
	assert_int_equal(scsi_bus_remove(other->bus, TARGET, LUN, removed_count, &removed), 0);
	scsi_queue_free(other->queue);
	assert_int_equal(removed, 1);
	scsi_bus_free(other->bus);
	free(other);
	reaped(t->queue);
	scsi_queue_shown(t->queue);
	assert_int_equal(answers, 1);
	rig_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(abort_task_aborts_the_one_of_that_tag),
		cmocka_unit_test(tasks_beside_an_aborted_one_go_on),
		cmocka_unit_test(abort_task_set_is_of_the_nexus_and_clear_of_all),
		cmocka_unit_test(a_reset_of_the_unit_ends_all_and_tells_all),
		cmocka_unit_test(a_reset_of_the_nexus_is_of_its_target),
		cmocka_unit_test(queries_find_what_is_there),
		cmocka_unit_test(what_is_not_there_is_answered_at_once),
		cmocka_unit_test(what_is_held_is_aborted_too),
		cmocka_unit_test(a_job_is_given_up_at_once),
		cmocka_unit_test(a_job_that_waits_for_the_claim_is_given_up),
		cmocka_unit_test(what_a_thread_has_begun_with_is_waited_for),
		cmocka_unit_test(a_queue_that_sleeps_wakes_for_management),
		cmocka_unit_test(a_queue_that_goes_answers_what_was_asked_of_it),
		cmocka_unit_test(a_bus_may_go_while_another_one_is_being_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
