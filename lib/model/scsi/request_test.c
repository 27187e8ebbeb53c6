/* SPDX-License-Identifier: BSD-3-Clause */

/* A request of the request queues (virtio 1.3, 5.6.6.1): what it says, how it is split, and what is answered. */

#include "device/device.h"
#include "model/scsi/scsi_test_guest.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT, V1 | PACKED | INDIRECT };

static void fill(uint8_t *data, size_t bytes, unsigned first)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(first + i * 7 + i / 251);
}

static bool numbered(const uint8_t *data, size_t bytes, uint8_t first, int step)
{
	for (size_t i = 0; i < bytes; i++, first = (uint8_t)(first + step))
		if (data[i] != first)
			return false;
	return true;
}

static bool all(const uint8_t *data, size_t bytes, uint8_t value)
{
	return numbered(data, bytes, value, 0);
}

static uint32_t residual(const struct asked *a)
{
	return le32toh(a->response->residual);
}

/* ---- what it says ---- */

static void a_command_is_handed_over_as_the_driver_said_it(void **state)
{
	uint8_t out[512];
	struct asked a;
	struct guest g;

	fill(out, sizeof(out), 3);
	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i]);
		g.holds = true;
		a = guest_ask(&g, &(struct ask){ .id = UINT64_C(0x1122334455667788), .target = 9, .out = out, .out_bytes = 512 });
		for (unsigned j = 0; j < SCSI_CDB_SIZE; j++)
			a.head[SCSI_REQUEST_CDB + j] = (uint8_t)(0x80 + j);
		a.head[SCSI_REQUEST_ATTR] = VIREO_SCSI_HEAD_OF_QUEUE;
		a.head[SCSI_REQUEST_PRIO] = 5;
		a.head[SCSI_REQUEST_CRN] = 6;
		assert_int_equal(guest_poll(&g), 1);
		assert_int_equal(g.seen.id, UINT64_C(0x1122334455667788));
		assert_int_equal(g.seen.target, 9);
		assert_memory_equal(g.seen.lun, ((const uint8_t[8]){ 0x40, 3 }), 8);
		assert_int_equal(g.seen.attribute, VIREO_SCSI_HEAD_OF_QUEUE);
		assert_int_equal(g.seen.prio, 5);
		assert_int_equal(g.seen.crn, 6);
		assert_int_equal(g.seen.cdb_bytes, 32);
		assert_true(numbered(g.seen_cdb, 32, 0x80, 1));
		assert_int_equal(g.seen.out_bytes, 512);
		assert_int_equal(g.seen.out_count, 1);
		assert_int_equal(g.seen.in_bytes + g.seen.in_count + g.seen.pi_in_bytes + g.seen.pi_out_bytes, 0);
		assert_memory_equal(g.seen_out, out, 512);
		held_end(&g, 0, VIREO_SCSI_OK);
		guest_stop(&g);
	}
}

static void a_header_that_the_guest_changes_later_changes_nothing(void **state)
{
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	a = guest_ask(&g, &(struct ask){ .id = 7, .cdb = 0x28, .in_bytes = 512 });
	assert_int_equal(guest_poll(&g), 1);
	memset(a.head, 0xff, HEAD_BYTES);
	assert_int_equal(g.held[0]->cdb[0], 0x28);
	assert_int_equal(g.held[0]->id, 7);
	assert_int_equal(g.held[0]->target, 0);
	held_end(&g, 0, VIREO_SCSI_OK);
	guest_stop(&g);
}

static void attributes_that_nobody_knows_are_simple(void **state)
{
	static const uint8_t says[] = { 0, 1, 2, 3, 4, 7, 0x80, 0xff }, means[] = { 0, 1, 2, 3, 0, 0, 0, 0 };
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(says); i++) {
		a = guest_ask(&g, &(struct ask){ 0 });
		a.head[SCSI_REQUEST_ATTR] = says[i];
		assert_int_equal(guest_poll(&g), 1);
		assert_int_equal(g.seen.attribute, means[i]);
	}
	guest_stop(&g);
}

static const struct {
	uint8_t lun[8];
	bool there;
	uint8_t target, means[8];
} addresses[] = {
	{ { 1, 0, 0, 0 }, true, 0, { 0, 0 } },
	{ { 1, 255, 0, 77 }, true, 255, { 0, 77 } }, /* peripheral */
	{ { 1, 4, 0x40, 0 }, true, 4, { 0x40, 0 } }, /* flat */
	{ { 1, 4, 0x7f, 0xff }, true, 4, { 0x7f, 0xff } },
	{ { 1, 4, 0x81, 2 }, true, 4, { 0x81, 2 } }, /* logical unit */
	{ { 1, 4, 0xc1, 1 }, true, 4, { 0xc1, 1 } }, /* well known, of a target */
	{ { 0xc1, 1 }, true, 0, { 0xc1, 1 } },	     /* and of the host */
	{ { 0xc1, 2 }, false, 0, { 0 } },
	{ { 0xc1, 1, 0, 0, 0, 0, 0, 1 }, false, 0, { 0 } },
	{ { 0, 0, 0, 0 }, false, 0, { 0 } },
	{ { 2, 0, 0x40, 0 }, false, 0, { 0 } },
	{ { 1, 0, 0x40, 0, 0, 1 }, false, 0, { 0 } }, /* a second level */
	{ { 1, 0, 0x40, 0, 0, 0, 0, 0x80 }, false, 0, { 0 } },
	{ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, false, 0, { 0 } },
};

static void an_address_of_no_format_is_a_bad_target(void **state)
{
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		a = guest_ask(&g, &(struct ask){ .in_bytes = 36 });
		memcpy(a.head, addresses[i].lun, 8);
		g.commands = 0;
		assert_int_equal(guest_poll(&g), 1);
		assert_int_equal(g.commands, addresses[i].there);
		assert_int_equal(a.response->response, addresses[i].there ? VIREO_SCSI_OK : VIREO_SCSI_BAD_TARGET);
		assert_int_equal(residual(&a), 36);
		if (!addresses[i].there)
			continue;
		assert_int_equal(g.seen.target, addresses[i].target);
		assert_memory_equal(g.seen.lun, addresses[i].means, 8);
	}
	assert_int_equal(guest_stats(&g).refused, 7);
	guest_stop(&g);
}

/* ---- what is answered ---- */

static void the_response_has_what_the_target_says(void **state)
{
	static const uint8_t sense[18] = { 0x70, 0, 5, 1, 2, 3 };
	struct asked a;
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i]);
		g.result = (struct vireo_scsi_result){ .status = 2, .status_qualifier = 0x1234, .sense = sense, .sense_bytes = 18 };
		assert_int_equal(guest_do(&g, &(struct ask){ .in_bytes = 512 }, &a), VIREO_SCSI_OK);
		assert_int_equal(a.response->status, 2);
		assert_int_equal(le16toh(a.response->status_qualifier), 0x1234);
		assert_int_equal(le32toh(a.response->sense_len), 18);
		assert_memory_equal(a.sense, sense, 18);
		assert_true(all(a.sense + 18, SCSI_SENSE_SIZE - 18, 0));
		assert_int_equal(residual(&a), 512);
		assert_true(all(a.in, 512, 0));
		assert_int_equal(guest_stats(&g).conditions, 1);
		guest_stop(&g);
	}
}

static void every_response_reaches_the_driver(void **state)
{
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = VIREO_SCSI_OK; i <= VIREO_SCSI_FAILURE; i++) {
		g.result.response = (uint8_t)i;
		assert_int_equal(guest_do(&g, &(struct ask){ .in_bytes = 36 }, NULL), i);
	}
	assert_int_equal(guest_stats(&g).commands, 1);
	assert_int_equal(guest_stats(&g).aborted, 2);
	assert_int_equal(guest_stats(&g).errors, 7);
	assert_int_equal(guest_stats(&g).refused, 0);
	guest_stop(&g);
}

/* RESERVATION CONFLICT, BUSY, TASK SET FULL come with none. */
static void a_status_without_sense_data_is_told(void **state)
{
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1);
	g.result = (struct vireo_scsi_result){ .status = 0x18, .status_qualifier = 0x1234, .out_moved = 512 };
	a = guest_ask(&g, &(struct ask){ .out_bytes = 4096 });
	assert_int_equal(guest_poll(&g), 1);
	assert_int_equal(a.response->response, VIREO_SCSI_OK);
	assert_int_equal(a.response->status, 0x18);
	assert_int_equal(le16toh(a.response->status_qualifier), 0x1234);
	assert_int_equal(le32toh(a.response->sense_len), 0);
	assert_int_equal(residual(&a), 3584);
	assert_true(all(a.sense, SCSI_SENSE_SIZE, 0));
	guest_stop(&g);
}

static void residual_is_the_data_less_what_was_moved(void **state)
{
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1 | F(INOUT));
	g.result.in_moved = 100;
	assert_int_equal(guest_do(&g, &(struct ask){ .in_bytes = 4096 }, &a), VIREO_SCSI_OK);
	assert_int_equal(residual(&a), 3996);
	assert_true(numbered(a.in, 100, 1, 1));
	assert_true(all(a.in + 100, 3996, 0));
	g.result = (struct vireo_scsi_result){ .response = VIREO_SCSI_OVERRUN, .out_moved = 512 };
	assert_int_equal(guest_do(&g, &(struct ask){ .out_bytes = 4096 }, &a), VIREO_SCSI_OVERRUN);
	assert_int_equal(residual(&a), 3584);
	g.result = (struct vireo_scsi_result){ .out_moved = 600, .in_moved = 50 };
	assert_int_equal(guest_do(&g, &(struct ask){ .out_bytes = 600, .in_bytes = 300 }, &a), VIREO_SCSI_OK);
	assert_int_equal(residual(&a), 250);
	g.moved_all = true;
	assert_int_equal(guest_do(&g, &(struct ask){ .in_bytes = 4096 }, &a), VIREO_SCSI_OK);
	assert_int_equal(residual(&a), 0);
	assert_int_equal(guest_stats(&g).in_bytes, 100 + 50 + 4096);
	assert_int_equal(guest_stats(&g).out_bytes, 512 + 600);
	guest_stop(&g);
}

static void the_used_length_is_what_was_written(void **state)
{
	struct guest g;

	guest_start_features(&g, V1);
	g.result.in_moved = 100;
	guest_ask(&g, &(struct ask){ .in_bytes = 4096 });
	assert_int_equal(guest_poll(&g), 1);
	assert_int_equal(guest_used(&g, REQUESTS, NULL), RESPONSE_BYTES + 100);
	g.result.in_moved = 0;
	guest_ask(&g, &(struct ask){ .out_bytes = 4096 });
	assert_int_equal(guest_poll(&g), 1);
	assert_int_equal(guest_used(&g, REQUESTS, NULL), RESPONSE_BYTES);
	guest_stop(&g);
}

static void both_directions_without_inout_fail_at_once(void **state)
{
	const struct ask both = { .out_bytes = 512, .in_bytes = 1024 };
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(guest_do(&g, &both, &a), VIREO_SCSI_FAILURE);
	assert_int_equal(residual(&a), 1536);
	assert_int_equal(a.response->status, 0);
	assert_true(all(a.sense, SCSI_SENSE_SIZE, 0));
	assert_int_equal(g.commands, 0);
	assert_int_equal(guest_stats(&g).refused, 1);
	guest_stop(&g);

	guest_start_features(&g, V1 | F(INOUT));
	assert_int_equal(guest_do(&g, &both, NULL), VIREO_SCSI_OK);
	assert_int_equal(g.seen.out_bytes, 512);
	assert_int_equal(g.seen.in_bytes, 1024);
	guest_stop(&g);
}

static void sense_data_beyond_the_drivers_room_are_cut(void **state)
{
	uint8_t sense[252];
	struct asked a;
	struct guest g;

	fill(sense, sizeof(sense), 9);
	guest_start_features(&g, V1);
	g.result = (struct vireo_scsi_result){ .status = 2, .sense = sense, .sense_bytes = sizeof(sense) };
	assert_int_equal(guest_do(&g, &(struct ask){ .in_bytes = 512 }, &a), VIREO_SCSI_OK);
	assert_int_equal(le32toh(a.response->sense_len), SCSI_SENSE_SIZE);
	assert_memory_equal(a.sense, sense, SCSI_SENSE_SIZE);
	assert_true(all(a.in, 512, 0));
	guest_stop(&g);
}

/* ---- too little of it ---- */

static int do_sized(struct guest *g, size_t readable_bytes, size_t writable_bytes, uint8_t **ret_writable)
{
	uint8_t *readable = guest_alloc(g, HEAD_BYTES), *writable = guest_alloc(g, RESPONSE_BYTES + 1);
	struct iovec iov[2] = { { readable, readable_bytes }, { writable, writable_bytes } };

	guest_head(readable, &(struct ask){ 0 });
	memset(writable, NO_RESPONSE, RESPONSE_BYTES + 1);
	if (!readable_bytes)
		iov[0] = iov[1];
	guest_add(g, REQUESTS, iov, !!readable_bytes, !!writable_bytes, NULL);
	assert_int_equal(guest_poll(g), 1);
	*ret_writable = writable;
	return guest_used(g, REQUESTS, NULL);
}

static void a_header_that_is_too_short_fails(void **state)
{
	static const size_t sizes[] = { 0, 1, 8, 18, 19, 25, HEAD_BYTES - 1 };
	uint8_t *writable;
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		guest_start_features(&g, V1);
		assert_int_equal(do_sized(&g, sizes[i], RESPONSE_BYTES, &writable), RESPONSE_BYTES);
		assert_int_equal(((struct virtio_scsi_response *)(void *)writable)->response, VIREO_SCSI_FAILURE);
		assert_int_equal(g.commands, 0);
		guest_stop(&g);
	}
}

static void without_room_for_sense_data_it_fails(void **state)
{
	static const size_t sizes[] = { 12, 13, 50, RESPONSE_BYTES - 1 };
	uint8_t *writable;
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(do_sized(&g, HEAD_BYTES, sizes[i], &writable), sizes[i]);
		assert_int_equal(((struct virtio_scsi_response *)(void *)writable)->response, VIREO_SCSI_FAILURE);
		assert_int_equal(writable[sizes[i]], NO_RESPONSE);
	}
	assert_int_equal(g.commands, 0);
	assert_int_equal(guest_stats(&g).refused, 4);
	guest_stop(&g);
}

static void without_room_for_a_response_it_is_given_back_without_one(void **state)
{
	static const size_t sizes[] = { 0, 1, 11 };
	uint8_t *writable;
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(do_sized(&g, HEAD_BYTES, sizes[i], &writable), 0);
		assert_true(all(writable, RESPONSE_BYTES, NO_RESPONSE));
	}
	assert_int_equal(guest_stats(&g).no_status, 3);
	assert_int_equal(g.commands, 0);
	assert_false(g.at.broken);
	guest_stop(&g);
}

/* ---- sizes that the driver says ---- */

static void put_size(struct guest *g, uint32_t offset, uint32_t value, int expected)
{
	uint32_t word = htole32(value);

	assert_int_equal(device_config_write(g->at.device, offset, &word, sizeof(word)), expected);
}

#define AT_SENSE_SIZE offsetof(struct virtio_scsi_config_space, sense_size)
#define AT_CDB_SIZE   offsetof(struct virtio_scsi_config_space, cdb_size)

static void requests_go_by_the_sizes_that_the_driver_has_written(void **state)
{
	static const struct { uint32_t sense, cdb; } sizes[] = { { 252, 260 }, { 0, 1 }, { 18, 16 }, { 4096, 64 } };
	uint8_t sense[18];
	struct guest g;

	fill(sense, sizeof(sense), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t head_bytes = SCSI_REQUEST_CDB + sizes[i].cdb, response_bytes = 12 + sizes[i].sense;
		uint32_t room = min_u32(sizes[i].sense, 18);
		uint8_t *head, *response, *in;

		guest_start_features(&g, V1);
		put_size(&g, AT_SENSE_SIZE, sizes[i].sense, 0);
		put_size(&g, AT_CDB_SIZE, sizes[i].cdb, 0);
		head = guest_alloc(&g, head_bytes);
		response = guest_alloc(&g, response_bytes);
		in = guest_alloc(&g, 512);
		head[0] = 1;
		memset(head + SCSI_REQUEST_CDB, 0x77, sizes[i].cdb);
		g.result = (struct vireo_scsi_result){ .status = 2, .sense = sense, .sense_bytes = 18, .in_moved = 512 };
		guest_add(&g, REQUESTS, (struct iovec[]){ { head, head_bytes }, { response, response_bytes }, { in, 512 } }, 1, 2, NULL);
		assert_int_equal(guest_poll(&g), 1);
		assert_int_equal(g.seen.cdb_bytes, sizes[i].cdb);
		assert_true(all(g.seen_cdb, sizes[i].cdb, 0x77));
		assert_int_equal(g.seen.in_bytes, 512);
		assert_int_equal(guest_used(&g, REQUESTS, NULL), response_bytes + 512);
		assert_int_equal(response[0], room);
		assert_memory_equal(response + 12, sense, room);
		assert_true(numbered(in, 512, 1, 1));
		guest_stop(&g);
	}
}

static void sizes_that_lie_are_refused_and_change_nothing(void **state)
{
	struct guest g;

	guest_start_features(&g, V1);
	put_size(&g, AT_SENSE_SIZE, VIREO_SCSI_SENSE_BYTES_MAX + 1, -EINVAL);
	put_size(&g, AT_SENSE_SIZE, UINT32_MAX, -EINVAL);
	put_size(&g, AT_CDB_SIZE, 0, -EINVAL);
	put_size(&g, AT_CDB_SIZE, VIREO_SCSI_CDB_BYTES_MAX + 1, -EINVAL);
	put_size(&g, AT_CDB_SIZE, UINT32_MAX, -EINVAL);
	assert_int_equal(guest_do(&g, &(struct ask){ .in_bytes = 36 }, NULL), VIREO_SCSI_OK);
	assert_int_equal(g.seen.cdb_bytes, SCSI_CDB_SIZE);
	guest_stop(&g);
}

/* The command that is under way has the room that it came with. */
static void a_size_that_changes_meanwhile_does_not_reach_what_is_under_way(void **state)
{
	uint8_t sense[200];
	struct asked a;
	struct guest g;

	fill(sense, sizeof(sense), 1);
	guest_start_features(&g, V1);
	g.holds = true;
	a = guest_ask(&g, &(struct ask){ .in_bytes = 512 });
	assert_int_equal(guest_poll(&g), 1);
	put_size(&g, AT_SENSE_SIZE, 252, 0);
	vireo_scsi_complete(g.held[0], &(struct vireo_scsi_result){ .status = 2, .sense = sense, .sense_bytes = sizeof(sense) });
	vireo_scsi_flush(g.scsi, 0);
	assert_int_equal(guest_used(&g, REQUESTS, NULL), RESPONSE_BYTES);
	assert_int_equal(le32toh(a.response->sense_len), SCSI_SENSE_SIZE);
	assert_true(all(a.in, 512, 0));
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_is_handed_over_as_the_driver_said_it),
		cmocka_unit_test(a_header_that_the_guest_changes_later_changes_nothing),
		cmocka_unit_test(attributes_that_nobody_knows_are_simple),
		cmocka_unit_test(an_address_of_no_format_is_a_bad_target),
		cmocka_unit_test(the_response_has_what_the_target_says),
		cmocka_unit_test(every_response_reaches_the_driver),
		cmocka_unit_test(a_status_without_sense_data_is_told),
		cmocka_unit_test(residual_is_the_data_less_what_was_moved),
		cmocka_unit_test(the_used_length_is_what_was_written),
		cmocka_unit_test(both_directions_without_inout_fail_at_once),
		cmocka_unit_test(sense_data_beyond_the_drivers_room_are_cut),
		cmocka_unit_test(a_header_that_is_too_short_fails),
		cmocka_unit_test(without_room_for_sense_data_it_fails),
		cmocka_unit_test(without_room_for_a_response_it_is_given_back_without_one),
		cmocka_unit_test(requests_go_by_the_sizes_that_the_driver_has_written),
		cmocka_unit_test(sizes_that_lie_are_refused_and_change_nothing),
		cmocka_unit_test(a_size_that_changes_meanwhile_does_not_reach_what_is_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
