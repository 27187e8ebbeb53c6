/* SPDX-License-Identifier: BSD-3-Clause */

/* The host in the control thread, and its queues: what is offered, order, stops, memory that goes, a process that is killed. */

#include "device/device.h"
#include "model/scsi/scsi_test_guest.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct virtio_scsi_config_space space_of(struct guest *g)
{
	struct virtio_scsi_config_space space;

	assert_int_equal(device_config_read(g->at.device, 0, &space, sizeof(space)), 0);
	return space;
}

/* ---- config space (5.6.4) ---- */

static void config_space_says_what_the_application_says(void **state)
{
	const struct vireo_scsi_config config = {
		.queues = 4,
		.segments_max = 254,
		.sectors_max = 1000,
		.commands_per_unit = 7,
		.target_max = 3,
		.lun_max = 9,
	};
	struct virtio_scsi_config_space space;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .scsi = &config });
	space = space_of(&g);
	assert_int_equal(le32toh(space.num_queues), 4);
	assert_int_equal(le32toh(space.seg_max), 254);
	assert_int_equal(le32toh(space.max_sectors), 1000);
	assert_int_equal(le32toh(space.cmd_per_lun), 7);
	assert_int_equal(le32toh(space.event_info_size), 16);
	assert_int_equal(le32toh(space.sense_size), 96);
	assert_int_equal(le32toh(space.cdb_size), 32);
	assert_int_equal(le16toh(space.max_channel), 0);
	assert_int_equal(le16toh(space.max_target), 3);
	assert_int_equal(le32toh(space.max_lun), 9);
	assert_int_equal(device_queue_count(g.at.device), 6);
	assert_int_equal(device_id(g.at.device), 8);
	guest_stop(&g);
}

static void a_plain_host_offers_all_that_there_is(void **state)
{
	struct virtio_scsi_config_space space;
	struct guest g;

	guest_start_features(&g, V1);
	space = space_of(&g);
	assert_int_equal(le32toh(space.num_queues), 1);
	assert_int_equal(le32toh(space.seg_max), 126);
	assert_true(space.num_queues && space.max_sectors && space.cmd_per_lun); /* no limit is zero */
	assert_int_equal(le16toh(space.max_target), 255);
	assert_int_equal(le32toh(space.max_lun), 16383);
	assert_int_equal(device_features_offered(g.at.device) & 0xf, 0xf);
	assert_false(device_features_offered(g.at.device) & VIREO_FEATURE(VIREO_F_IN_ORDER_BIT));
	guest_stop(&g);
}

static void configs_that_make_no_host_are_refused(void **state)
{
	static const struct vireo_scsi_ops ops = { .size = sizeof(ops) };
	const struct vireo_scsi_config bad[] = {
		{ .queues = 1023 }, { .segments_max = 1023 }, { .target_max = 256 }, { .lun_max = 16384 },
		{ .command_room_bytes = 4097 }, { .management_room_bytes = 4097 }, { .ops = NULL }, { .ops = &ops },
	};
	struct vireo_scsi *scsi = NULL;
	struct guest g;

	guest_start_features(&g, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vireo_scsi_config config = bad[i];

		config.size = sizeof(config);
		if (i + 2 < ARRAY_SIZE(bad))
			config.ops = &g.scsi->ops; /* those of a good one */
		assert_int_equal(vireo_scsi_new(&config, &scsi), -EINVAL);
	}
	assert_null(scsi);
	vireo_scsi_free(NULL);
	guest_stop(&g);
}

/* The driver MUST NOT write to other fields (5.6.4.1). */
static void a_driver_writes_two_sizes_and_nothing_else(void **state)
{
	struct virtio_scsi_config_space space;
	struct guest g;
	uint8_t byte;

	guest_start_features(&g, V1);
	space = space_of(&g);
	for (uint32_t i = 0; i < sizeof(space); i++) {
		byte = (uint8_t)(((uint8_t *)&space)[i] ^ 1);
		if (i < offsetof(struct virtio_scsi_config_space, sense_size) || i >= offsetof(struct virtio_scsi_config_space, max_channel))
			assert_int_equal(device_config_write(g.at.device, i, &byte, 1), -EPERM);
	}
	space.sense_size = htole32(128);
	space.cdb_size = htole32(16);
	assert_int_equal(device_config_write(g.at.device, 0, &space, sizeof(space)), 0); /* a front end that writes all */
	assert_int_equal(le32toh(space_of(&g).sense_size), 128);
	assert_int_equal(le32toh(space_of(&g).cdb_size), 16);
	space.num_queues = 0;
	assert_int_equal(device_config_write(g.at.device, 0, &space, sizeof(space)), -EPERM);
	assert_int_equal(g.at.config_changes, 0);
	guest_stop(&g);
}

/* 5.6.4.2: on reset, the device MUST set sense_size to 96 and cdb_size to 32. */
static void reset_sets_sense_size_to_96_and_cdb_size_to_32(void **state)
{
	const uint32_t sizes[2] = { htole32(200), htole32(64) };
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(device_config_write(g.at.device, 20, sizes, sizeof(sizes)), 0);
	test_guest_quiesce(&g.at);
	device_reset(g.at.device);
	assert_int_equal(g.resets, 1);
	assert_int_equal(le32toh(space_of(&g).sense_size), 96);
	assert_int_equal(le32toh(space_of(&g).cdb_size), 32);
	assert_int_equal(g.scsi->sizes, 96 | UINT64_C(32) << 32);
	guest_stop(&g);
}

/* ---- order ---- */

static void commands_end_in_any_order(void **state)
{
	struct asked a[3];
	void *cookie;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	for (unsigned i = 0; i < 3; i++)
		a[i] = guest_ask(&g, &(struct ask){ .in_bytes = 512 });
	assert_int_equal(guest_poll(&g), 3);
	assert_int_equal(g.submits, 1);
	assert_int_equal(vireo_scsi_in_flight(g.scsi, 0), 3);
	held_end(&g, 1, VIREO_SCSI_OK);
	held_end(&g, 1, VIREO_SCSI_ABORTED);
	assert_int_equal(guest_used(&g, REQUESTS, NULL), NOT_USED);
	vireo_scsi_flush(g.scsi, 0);
	assert_int_equal(guest_used(&g, REQUESTS, &cookie), RESPONSE_BYTES);
	assert_ptr_equal(cookie, a[1].response);
	assert_int_equal(guest_used(&g, REQUESTS, &cookie), RESPONSE_BYTES);
	assert_ptr_equal(cookie, a[2].response);
	assert_int_equal(a[2].response->response, VIREO_SCSI_ABORTED);
	assert_int_equal(a[0].response->response, NO_RESPONSE);
	held_end(&g, 0, VIREO_SCSI_OK);
	vireo_scsi_flush(g.scsi, 0);
	assert_int_equal(guest_used(&g, REQUESTS, &cookie), RESPONSE_BYTES);
	guest_stop(&g);
}

static void each_command_has_room_of_its_own(void **state)
{
	const struct vireo_scsi_config config = { .command_room_bytes = 40 };
	static const uint8_t zeroes[40];
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .scsi = &config });
	g.holds = true;
	for (unsigned i = 0; i < 40; i++)
		guest_ask(&g, &(struct ask){ .cdb = (uint8_t)i });
	guest_poll(&g);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal((uintptr_t)g.held[i]->room % 16, 0);
		assert_memory_equal(g.held[i]->room, zeroes, sizeof(zeroes));
		memset(g.held[i]->room, (int)i + 1, sizeof(zeroes));
	}
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(((uint8_t *)g.held[i]->room)[39], i + 1);
		assert_int_equal(g.held[i]->cdb[0], i);
	}
	while (g.held_count)
		held_end(&g, 0, VIREO_SCSI_OK);
	guest_stop(&g);
}

static void queues_go_their_own_ways(void **state)
{
	const struct vireo_scsi_config config = { .queues = 4 };
	struct asked a[4];
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .scsi = &config });
	assert_int_equal(g.starts, 4);
	g.holds = true;
	for (unsigned i = 0; i < 4; i++)
		a[i] = guest_ask_queue(&g, REQUESTS + i, &(struct ask){ 0 });
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vireo_scsi_poll(g.scsi, i, 32), 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(g.held[i]->queue, i);
	held_end(&g, 2, VIREO_SCSI_OK);
	for (unsigned i = 0; i < 4; i++)
		vireo_scsi_flush(g.scsi, i);
	assert_int_equal(a[2].response->response, VIREO_SCSI_OK);
	assert_int_equal(guest_used(&g, REQUESTS + 2, NULL), RESPONSE_BYTES);
	assert_int_equal(guest_used(&g, REQUESTS + 1, NULL), NOT_USED);
	while (g.held_count)
		held_end(&g, 0, VIREO_SCSI_OK);
	guest_stop(&g);
}

/* ---- queues are taken back, memory goes ---- */

/* All commands must be completed before the device is reset (5.6.6.1.1). */
static void a_queue_stops_when_its_commands_have_ended(void **state)
{
	struct asked a[2];
	struct guest g;

	guest_start_features(&g, V1 | PACKED);
	g.holds = g.stop_waits = true;
	a[0] = guest_ask(&g, &(struct ask){ .in_bytes = 512 });
	a[1] = guest_ask(&g, &(struct ask){ .in_bytes = 512 });
	guest_poll(&g);
	test_guest_quiesce(&g.at);
	assert_int_equal(g.stops, 1);
	assert_false(g.at.quiet);
	guest_ask(&g, &(struct ask){ 0 });
	assert_int_equal(guest_poll(&g), 0); /* or it would never end */
	held_end(&g, 1, VIREO_SCSI_OK);
	held_end(&g, 0, VIREO_SCSI_ABORTED);
	vireo_scsi_queue_quiesced(g.scsi, 0);
	assert_true(g.at.quiet);
	assert_int_equal(a[0].response->response, VIREO_SCSI_ABORTED);
	assert_int_equal(a[1].response->response, VIREO_SCSI_OK);
	g.holds = g.stop_waits = false;
	device_resume(g.at.device);
	assert_int_equal(guest_poll(&g), 1); /* and it goes on with what was left there */
	guest_stop(&g);
}

/* Task management is answered after a poll, for that shows what was aborted: also where a poll takes nothing. */
static void a_poll_of_a_queue_that_takes_nothing_shows_what_has_ended(void **state)
{
	struct guest g;

	for (unsigned disabled = 0; disabled < 2; disabled++) {
		guest_start_features(&g, V1);
		g.holds = g.stop_waits = true;
		guest_ask(&g, &(struct ask){ .in_bytes = 512 });
		guest_poll(&g);
		if (disabled)
			device_queue_enable(g.at.device, REQUESTS, false);
		else
			test_guest_quiesce(&g.at);
		held_end(&g, 0, VIREO_SCSI_ABORTED);
		assert_int_equal(guest_used(&g, REQUESTS, NULL), NOT_USED);
		assert_int_equal(guest_poll(&g), 0);
		assert_int_equal(guest_used(&g, REQUESTS, NULL), RESPONSE_BYTES);
		g.stop_waits = false;
		if (!disabled)
			vireo_scsi_queue_quiesced(g.scsi, 0);
		guest_stop(&g);
	}
}

static void renewed(void *opaque)
{
	bool *done = opaque;

	*done = true;
}

static void memory_goes_when_the_commands_before_have_ended(void **state)
{
	const struct map_spec dimm = GUEST_DIMM;
	bool done = false;
	struct asked a;
	struct map *map;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	a = guest_ask(&g, &(struct ask){ .in_bytes = 512 });
	guest_poll(&g);
	assert_int_equal(map_without(g.at.map, &dimm, &map), 0);
	device_map_change(g.at.device, map, false, renewed, &done);
	assert_int_equal(g.renewals, 1);
	assert_int_equal(g.stops, 0);
	assert_false(done);
	held_end(&g, 0, VIREO_SCSI_OK);
	vireo_scsi_flush(g.scsi, 0);
	guest_poll(&g);
	vireo_scsi_queue_renewed(g.scsi, 0);
	assert_true(done);
	assert_int_equal(a.response->response, VIREO_SCSI_OK);
	guest_stop(&g);
}

/* A back end that hangs is not waited for where its commands are in memory that stays. */
static void memory_goes_while_commands_hang_in_what_stays(void **state)
{
	const struct map_spec dimm = GUEST_DIMM;
	bool done = false;
	struct asked a;
	struct map *map;
	struct guest g;

	guest_start_features(&g, V1);
	assert_true(vireo_scsi_kept(g.scsi, 0));
	g.holds = true;
	a = guest_ask(&g, &(struct ask){ .in_bytes = 512 });
	guest_poll(&g);
	assert_int_equal(map_without(g.at.map, &dimm, &map), 0);
	device_map_change(g.at.device, map, false, renewed, &done);
	guest_poll(&g);
	assert_true(vireo_scsi_kept(g.scsi, 0));
	vireo_scsi_queue_renewed(g.scsi, 0);
	assert_true(done);
	assert_int_equal(a.response->response, NO_RESPONSE);
	held_end(&g, 0, VIREO_SCSI_OK);
	vireo_scsi_flush(g.scsi, 0);
	assert_int_equal(a.response->response, VIREO_SCSI_OK);
	guest_stop(&g);
}

static void a_disabled_queue_is_left_alone(void **state)
{
	struct asked a;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .disabled = true });
	a = guest_ask(&g, &(struct ask){ 0 });
	assert_int_equal(guest_poll(&g), 0);
	assert_false(vireo_scsi_kick_enable(g.scsi, 0, true));
	device_queue_enable(g.at.device, REQUESTS, true);
	assert_true(vireo_scsi_kick_enable(g.scsi, 0, true));
	assert_int_equal(guest_poll(&g), 1);
	assert_int_equal(a.response->response, VIREO_SCSI_OK);
	guest_stop(&g);
}

static void commands_of_a_broken_ring_end(void **state)
{
	uint16_t *avail;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	guest_ask(&g, &(struct ask){ 0 });
	guest_poll(&g);
	avail = g.at.queues[REQUESTS].driver;
	avail[1] = 1000; /* further ahead than the ring is long */
	assert_int_equal(guest_poll(&g), -EPROTO);
	held_end(&g, 0, VIREO_SCSI_OK);
	vireo_scsi_flush(g.scsi, 0);
	guest_turn(&g);
	assert_true(g.at.broken);
	guest_stop(&g);
}

/* ---- a process that is killed ---- */

/* What its memory was like then is what the next one finds; the first one is ended only to be gone. */
static void what_was_in_flight_comes_first_and_is_completed_once(void **state)
{
	struct guest g, before, next;
	struct asked a[3];
	void *region;

	guest_start_features(&g, V1);
	test_guest_quiesce(&g.at);
	region = aligned_alloc(64, 65536);
	memset(region, 0, 65536);
	assert_int_equal(device_queue_inflight_set(g.at.device, REQUESTS, region, g.at.queue_size), 0);
	device_resume(g.at.device);
	g.holds = true;
	for (unsigned i = 0; i < 3; i++)
		a[i] = guest_ask(&g, &(struct ask){ .id = i + 1 });
	assert_int_equal(guest_poll(&g), 3);
	held_end(&g, 1, VIREO_SCSI_OK);
	vireo_scsi_flush(g.scsi, 0);

	before = g;
	before.at.memory = malloc(GUEST_MEMORY_BYTES);
	memcpy(before.at.memory, g.at.memory, GUEST_MEMORY_BYTES);
	guest_start(&next, &(struct guest_config){ .features = V1, .successor_of = &before, .region = region });
	next.holds = true;
	assert_int_equal(guest_poll(&next), 2);
	assert_int_equal(next.held[0]->id, 1);
	assert_int_equal(next.held[1]->id, 3);
	held_end(&next, 1, VIREO_SCSI_OK);
	held_end(&next, 0, VIREO_SCSI_OK);
	vireo_scsi_flush(next.scsi, 0);
	assert_int_equal(((uint16_t *)next.at.queues[REQUESTS].device)[1], 3); /* used index */
	assert_int_equal(a[0].response->response, NO_RESPONSE); /* of the one that was killed */
	guest_stop(&next);
	while (g.held_count)
		held_end(&g, 0, VIREO_SCSI_OK);
	guest_stop(&g);
	free(before.at.memory);
	free(region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_space_says_what_the_application_says),
		cmocka_unit_test(a_plain_host_offers_all_that_there_is),
		cmocka_unit_test(configs_that_make_no_host_are_refused),
		cmocka_unit_test(a_driver_writes_two_sizes_and_nothing_else),
		cmocka_unit_test(reset_sets_sense_size_to_96_and_cdb_size_to_32),
		cmocka_unit_test(commands_end_in_any_order),
		cmocka_unit_test(each_command_has_room_of_its_own),
		cmocka_unit_test(queues_go_their_own_ways),
		cmocka_unit_test(a_queue_stops_when_its_commands_have_ended),
		cmocka_unit_test(a_poll_of_a_queue_that_takes_nothing_shows_what_has_ended),
		cmocka_unit_test(memory_goes_when_the_commands_before_have_ended),
		cmocka_unit_test(memory_goes_while_commands_hang_in_what_stays),
		cmocka_unit_test(a_disabled_queue_is_left_alone),
		cmocka_unit_test(commands_of_a_broken_ring_end),
		cmocka_unit_test(what_was_in_flight_comes_first_and_is_completed_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
