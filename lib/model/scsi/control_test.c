/* SPDX-License-Identifier: BSD-3-Clause */

/* The control queue (virtio 1.3, 5.6.6.2): task management, and what is asked beside it. */

#include "device/device.h"
#include "model/scsi/scsi_test_guest.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT };

static void manage_end(struct guest *g, unsigned number, uint8_t answer)
{
	struct vireo_scsi_management *m = g->managed[number];

	g->managed_count--;
	memmove(g->managed + number, g->managed + number + 1, (g->managed_count - number) * sizeof(g->managed[0]));
	vireo_scsi_managed(m, answer);
}

/* ---- task management ---- */

static void each_function_is_handed_over_as_the_driver_said_it(void **state)
{
	struct guest g;

	for (unsigned ring = 0; ring < ARRAY_SIZE(rings); ring++) {
		guest_start_features(&g, rings[ring]);
		for (unsigned i = VIREO_SCSI_ABORT_TASK; i <= VIREO_SCSI_QUERY_TASK_SET; i++) {
			assert_int_equal(guest_tmf(&g, i, 7, 0x123, UINT64_C(0xaabbccdd00112233)), VIREO_SCSI_FUNCTION_COMPLETE);
			assert_int_equal(g.seen_management.function, i);
			assert_int_equal(g.seen_management.target, 7);
			assert_int_equal(g.seen_management.id, UINT64_C(0xaabbccdd00112233));
			if (i != VIREO_SCSI_I_T_NEXUS_RESET)
				assert_memory_equal(g.seen_management.lun, ((const uint8_t[8]){ 0x41, 0x23 }), 8);
		}
		assert_int_equal(guest_scsi_stats(&g).managements, 8);
		guest_stop(&g);
	}
}

static void every_answer_reaches_the_driver(void **state)
{
	static const uint8_t answers[] = { 0, 3, 5, 6, 7, 8, 9, 10, 11, 12 };
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(answers); i++) {
		g.answer = answers[i];
		assert_int_equal(guest_tmf(&g, VIREO_SCSI_QUERY_TASK, 0, 0, 1), answers[i]);
	}
	guest_stop(&g);
}

static void a_function_that_nobody_knows_is_rejected(void **state)
{
	static const uint32_t unknown[] = { 8, 9, 255, 256, UINT32_MAX };
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++)
		assert_int_equal(guest_tmf(&g, unknown[i], 0, 0, 1), VIREO_SCSI_FUNCTION_REJECTED);
	assert_int_equal(g.manages, 0);
	assert_int_equal(guest_scsi_stats(&g).managements_refused, ARRAY_SIZE(unknown));
	guest_stop(&g);
}

/* 5.6.6.2: the single level LUN is ignored when the function addresses a whole I_T nexus. */
static void an_i_t_nexus_reset_ignores_the_lun(void **state)
{
	struct virtio_scsi_tmf tmf = {
		.subtype = htole32(VIREO_SCSI_I_T_NEXUS_RESET),
		.lun = { 1, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
	};
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(guest_control(&g, &tmf, sizeof(tmf), 1), VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(g.seen_management.target, 9);
	assert_memory_equal(g.seen_management.lun, ((const uint8_t[8]){ 0 }), 8);
	tmf.lun[0] = 0xc1; /* which is no target */
	assert_int_equal(guest_control(&g, &tmf, sizeof(tmf), 1), VIREO_SCSI_BAD_TARGET);
	tmf.subtype = htole32(VIREO_SCSI_LOGICAL_UNIT_RESET);
	tmf.lun[0] = 1;
	assert_int_equal(guest_control(&g, &tmf, sizeof(tmf), 1), VIREO_SCSI_BAD_TARGET);
	assert_int_equal(g.manages, 1);
	guest_stop(&g);
}

/* 5.6.6.2: the effects MUST take place before the function is successfully completed. */
static void what_is_aborted_is_shown_before_the_function_is_answered(void **state)
{
	uint8_t *response;
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	a = guest_ask(&g, &(struct ask){ .id = 42, .in_bytes = 512 });
	assert_int_equal(guest_poll(&g), 1);
	response = guest_tmf_begin(&g, VIREO_SCSI_ABORT_TASK, 0, 3, 42);
	assert_int_equal(vireo_scsi_managing(g.scsi), 1);
	assert_int_equal(g.managed[0]->id, g.held[0]->id);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), NOT_USED);
	held_end(&g, 0, VIREO_SCSI_ABORTED);
	vireo_scsi_flush(g.scsi, 0);
	assert_int_equal(guest_used(&g, REQUESTS, NULL), RESPONSE_BYTES);
	assert_int_equal(a.response->response, VIREO_SCSI_ABORTED);
	assert_int_equal(*response, NO_RESPONSE);
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);
	assert_int_equal(*response, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(vireo_scsi_managing(g.scsi), 0);
	guest_stop(&g);
}

static void functions_are_answered_in_any_order(void **state)
{
	uint8_t *responses[3];
	void *cookie;
	struct guest g;

	for (unsigned ring = 0; ring < ARRAY_SIZE(rings); ring++) {
		guest_start_features(&g, rings[ring]);
		g.holds = true;
		for (unsigned i = 0; i < 3; i++)
			responses[i] = guest_tmf_begin(&g, VIREO_SCSI_LOGICAL_UNIT_RESET, 0, i, 0);
		manage_end(&g, 1, VIREO_SCSI_FUNCTION_SUCCEEDED);
		assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, &cookie), 1);
		assert_ptr_equal(cookie, responses[1]);
		manage_end(&g, 1, VIREO_SCSI_INCORRECT_LUN);
		manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
		assert_int_equal(*responses[0], VIREO_SCSI_FUNCTION_COMPLETE);
		assert_int_equal(*responses[1], VIREO_SCSI_FUNCTION_SUCCEEDED);
		assert_int_equal(*responses[2], VIREO_SCSI_INCORRECT_LUN);
		guest_stop(&g);
	}
}

static void each_function_has_room_of_its_own(void **state)
{
	const struct vireo_scsi_config config = { .management_room_bytes = 100 };
	static const uint8_t zeroes[100];
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .scsi = &config });
	g.holds = true;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 8; i++)
			guest_tmf_begin(&g, VIREO_SCSI_QUERY_TASK, 0, 0, i);
		for (unsigned i = 0; i < 8; i++) {
			assert_int_equal((uintptr_t)g.managed[i]->room % 16, 0);
			assert_memory_equal(g.managed[i]->room, zeroes, sizeof(zeroes));
			memset(g.managed[i]->room, (int)i + 1, sizeof(zeroes));
		}
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(((uint8_t *)g.managed[i]->room)[99], i + 1);
		while (g.managed_count)
			manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	}
	guest_stop(&g);
}

/* Each costs memory here, and a disk that hangs keeps it. */
static void functions_beyond_a_number_wait_in_the_ring(void **state)
{
	uint8_t *last = NULL;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .queue_size = 256 });
	g.holds = true;
	for (unsigned i = 0; i < SCSI_MANAGING_MAX + 5; i++)
		last = guest_tmf_begin(&g, VIREO_SCSI_QUERY_TASK, 0, 0, i);
	assert_int_equal(g.managed_count, SCSI_MANAGING_MAX);
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(g.managed_count, SCSI_MANAGING_MAX);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);
	while (g.managed_count)
		manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(*last, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(g.manages, SCSI_MANAGING_MAX + 5);
	guest_stop(&g);
}

/* ---- the queue is taken back, memory goes ---- */

static void a_queue_that_stops_answers_what_hangs(void **state)
{
	uint8_t *response, *again;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	response = guest_tmf_begin(&g, VIREO_SCSI_LOGICAL_UNIT_RESET, 0, 0, 0);
	test_guest_quiesce(&g.at);
	assert_true(g.at.quiet);
	assert_int_equal(*response, VIREO_SCSI_FAILURE);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);
	device_resume(g.at.device);
	again = guest_tmf_begin(&g, VIREO_SCSI_LOGICAL_UNIT_RESET, 0, 0, 0);
	assert_int_equal(g.managed_count, 2);
	*response = NO_RESPONSE;
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE); /* nobody waits for it */
	assert_int_equal(*response, NO_RESPONSE);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), NOT_USED);
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(*again, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);
	guest_stop(&g);
}

static uint8_t reset_begin(struct guest *g)
{
	return *guest_tmf_begin(g, VIREO_SCSI_LOGICAL_UNIT_RESET, 0, 0, 0);
}

/* As many as there may be, of drivers that have gone, and whose disk hangs: who comes next is heard all the same. */
static void what_was_abandoned_takes_no_place(void **state)
{
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .queue_size = 256 });
	g.holds = true;
	for (unsigned abandoned = 0; abandoned < SCSI_ABANDONED_MAX; abandoned += SCSI_MANAGING_MAX) {
		for (unsigned i = 0; i < SCSI_MANAGING_MAX; i++)
			assert_int_equal(reset_begin(&g), NO_RESPONSE);
		assert_int_equal(g.manages, abandoned + SCSI_MANAGING_MAX);
		test_guest_quiesce(&g.at);
		for (unsigned i = 0; i < SCSI_MANAGING_MAX; i++)
			assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);
		device_resume(g.at.device);
	}
	assert_int_equal(vireo_scsi_managing(g.scsi), SCSI_ABANDONED_MAX);
	assert_int_equal(reset_begin(&g), VIREO_SCSI_BUSY); /* and is not kept waiting */
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);
	assert_int_equal(g.manages, SCSI_ABANDONED_MAX);
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(reset_begin(&g), NO_RESPONSE); /* there is room for one */
	while (g.managed_count)
		manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);
	assert_int_equal(vireo_scsi_managing(g.scsi), 0);
	guest_stop(&g);
}

static void it_may_be_answered_after_the_session_has_ended(void **state)
{
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	guest_tmf_begin(&g, VIREO_SCSI_LOGICAL_UNIT_RESET, 0, 0, 0);
	test_guest_quiesce(&g.at);
	test_guest_detach(&g.at);
	assert_int_equal(vireo_scsi_managing(g.scsi), 1);
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(vireo_scsi_managing(g.scsi), 0);
	vireo_scsi_free(g.scsi);
	test_guest_end(&g.at);
}

static void gone(void *opaque)
{
	*(bool *)opaque = true;
}

/* What is to be written lies in what stays: it goes on. */
static void memory_goes_while_a_function_hangs(void **state)
{
	const struct map_spec dimm = GUEST_DIMM, rest = { GUEST_GPA, GUEST_MEMORY_BYTES, GUEST_UADDR, 0 };
	uint8_t *response;
	bool done = false;
	struct map *map;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	response = guest_tmf_begin(&g, VIREO_SCSI_LOGICAL_UNIT_RESET, 0, 0, 0);
	assert_int_equal(map_without(g.at.map, &dimm, &map), 0);
	device_map_change(g.at.device, map, false, gone, &done);
	vireo_scsi_queue_renewed(g.scsi, 0);
	assert_true(done);
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(*response, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);

	response = guest_tmf_begin(&g, VIREO_SCSI_LOGICAL_UNIT_RESET, 0, 0, 0); /* and here it does not */
	assert_int_equal(map_without(map, &rest, &map), 0);
	done = false;
	device_map_change(g.at.device, map, false, gone, &done);
	vireo_scsi_queue_renewed(g.scsi, 0);
	assert_true(done);
	assert_int_equal(*response, VIREO_SCSI_FAILURE);
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(*response, VIREO_SCSI_FAILURE);
	guest_stop(&g);
}

/* ---- asynchronous notifications ---- */

static int an_do(struct guest *g, uint32_t type, const uint8_t lun[8], uint32_t *ret_actual)
{
	struct virtio_scsi_an an = { .type = htole32(type), .event_requested = htole32(0x7e) };
	uint8_t *readable = guest_alloc(g, sizeof(an)), *writable = guest_alloc(g, 8);
	struct iovec iov[2] = { { readable, sizeof(an) }, { writable, 5 } };

	memcpy(an.lun, lun, 8);
	memcpy(readable, &an, sizeof(an));
	memset(writable, NO_RESPONSE, 8);
	guest_add(g, SCSI_CONTROL_QUEUE, iov, 1, 1, NULL);
	guest_turn(g);
	assert_int_equal(guest_used(g, SCSI_CONTROL_QUEUE, NULL), 5);
	assert_int_equal(writable[5], NO_RESPONSE);
	memcpy(ret_actual, writable, 4);
	return writable[4];
}

static void no_unit_has_asynchronous_events(void **state)
{
	static const uint8_t unit[8] = { 1, 0, 0x40, 0 }, nowhere[8] = { 2 };
	uint32_t actual;
	struct guest g;

	guest_start_features(&g, V1);
	for (uint32_t type = SCSI_T_AN_QUERY; type <= SCSI_T_AN_SUBSCRIBE; type++) {
		g.looked = VIREO_SCSI_FUNCTION_COMPLETE;
		assert_int_equal(an_do(&g, type, unit, &actual), VIREO_SCSI_OK);
		assert_int_equal(actual, 0);
		assert_int_equal(an_do(&g, type, nowhere, &actual), VIREO_SCSI_BAD_TARGET);
		assert_int_equal(actual, 0);
		g.looked = VIREO_SCSI_INCORRECT_LUN;
		assert_int_equal(an_do(&g, type, unit, &actual), VIREO_SCSI_INCORRECT_LUN);
	}
	guest_stop(&g);
}

/* ---- lies ---- */

static void requests_that_are_too_short_fail(void **state)
{
	const struct virtio_scsi_tmf tmf = { .lun = { 1 } };
	const struct virtio_scsi_an an = { .type = htole32(SCSI_T_AN_QUERY), .lun = { 1 } };
	struct guest g;

	guest_start_features(&g, V1);
	for (size_t bytes = 4; bytes < sizeof(tmf); bytes++)
		assert_int_equal(guest_control(&g, &tmf, bytes, 1), VIREO_SCSI_FAILURE);
	for (size_t bytes = 4; bytes < sizeof(an); bytes++)
		assert_int_equal(guest_control(&g, &an, bytes, 5), VIREO_SCSI_FAILURE);
	for (size_t bytes = 0; bytes < 4; bytes++)
		assert_int_equal(guest_control(&g, &tmf, bytes, 1), VIREO_SCSI_FAILURE);
	assert_int_equal(g.manages, 0);
	guest_stop(&g);
}

static void requests_without_room_for_a_response_are_given_back(void **state)
{
	const struct virtio_scsi_tmf tmf = { .lun = { 1 } };
	const struct virtio_scsi_an an = { .type = htole32(SCSI_T_AN_QUERY), .lun = { 1 } };
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(guest_control(&g, &tmf, sizeof(tmf), 0), 0);
	for (size_t room = 0; room < 5; room++)
		assert_int_equal(guest_control(&g, &an, sizeof(an), room), 0);
	assert_int_equal(g.manages, 0);
	assert_int_equal(guest_scsi_stats(&g).managements_refused, 6);
	assert_false(g.at.broken);
	assert_int_equal(guest_tmf(&g, VIREO_SCSI_ABORT_TASK, 0, 0, 1), VIREO_SCSI_FUNCTION_COMPLETE);
	guest_stop(&g);
}

static void a_request_that_nobody_knows_fails_in_its_last_byte(void **state)
{
	static const uint32_t types[] = { 3, 255, UINT32_MAX };
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		uint32_t type = htole32(types[i]);

		assert_int_equal(guest_control(&g, &type, sizeof(type), 1), VIREO_SCSI_FAILURE);
		assert_int_equal(guest_control(&g, &type, sizeof(type), 64), VIREO_SCSI_FAILURE);
		assert_int_equal(guest_control(&g, &type, sizeof(type), 65), 0);
		assert_int_equal(guest_control(&g, &type, sizeof(type), 0), 0);
	}
	guest_stop(&g);
}

static void a_request_is_split_as_the_driver_likes(void **state)
{
	const struct virtio_scsi_tmf tmf = { .subtype = htole32(VIREO_SCSI_ABORT_TASK), .lun = { 1, 5, 0x40, 6 }, .id = htole64(99) };
	struct iovec iov[sizeof(tmf) + 2];
	uint8_t *bytes, *response;
	struct guest g;

	guest_start_features(&g, V1);
	bytes = guest_alloc(&g, sizeof(tmf));
	response = guest_alloc(&g, 2);
	memcpy(bytes, &tmf, sizeof(tmf));
	for (unsigned i = 0; i < sizeof(tmf); i++)
		iov[i] = (struct iovec){ bytes + i, 1 };
	iov[sizeof(tmf)] = (struct iovec){ response, 1 };
	iov[sizeof(tmf) + 1] = (struct iovec){ response + 1, 1 };
	response[0] = response[1] = NO_RESPONSE;
	guest_add(&g, SCSI_CONTROL_QUEUE, iov, sizeof(tmf), 2, NULL);
	guest_turn(&g);
	assert_int_equal(guest_used(&g, SCSI_CONTROL_QUEUE, NULL), 1);
	assert_int_equal(response[0], VIREO_SCSI_FUNCTION_COMPLETE);
	assert_int_equal(response[1], NO_RESPONSE);
	assert_int_equal(g.seen_management.target, 5);
	assert_int_equal(g.seen_management.id, 99);
	guest_stop(&g);
}

static void a_broken_control_queue_breaks_its_device(void **state)
{
	uint16_t *avail;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	guest_tmf_begin(&g, VIREO_SCSI_ABORT_TASK, 0, 0, 1);
	avail = g.at.queues[SCSI_CONTROL_QUEUE].driver;
	avail[1] = 1000;
	bell_raise(&g.at.queues[SCSI_CONTROL_QUEUE].kick);
	guest_turn(&g);
	assert_true(g.at.broken);
	manage_end(&g, 0, VIREO_SCSI_FUNCTION_COMPLETE); /* whose queue has not been asked back yet */
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_function_is_handed_over_as_the_driver_said_it),
		cmocka_unit_test(every_answer_reaches_the_driver),
		cmocka_unit_test(a_function_that_nobody_knows_is_rejected),
		cmocka_unit_test(an_i_t_nexus_reset_ignores_the_lun),
		cmocka_unit_test(what_is_aborted_is_shown_before_the_function_is_answered),
		cmocka_unit_test(functions_are_answered_in_any_order),
		cmocka_unit_test(each_function_has_room_of_its_own),
		cmocka_unit_test(functions_beyond_a_number_wait_in_the_ring),
		cmocka_unit_test(a_queue_that_stops_answers_what_hangs),
		cmocka_unit_test(what_was_abandoned_takes_no_place),
		cmocka_unit_test(it_may_be_answered_after_the_session_has_ended),
		cmocka_unit_test(memory_goes_while_a_function_hangs),
		cmocka_unit_test(no_unit_has_asynchronous_events),
		cmocka_unit_test(requests_that_are_too_short_fail),
		cmocka_unit_test(requests_without_room_for_a_response_are_given_back),
		cmocka_unit_test(a_request_that_nobody_knows_fails_in_its_last_byte),
		cmocka_unit_test(a_request_is_split_as_the_driver_likes),
		cmocka_unit_test(a_broken_control_queue_breaks_its_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
