/* SPDX-License-Identifier: BSD-3-Clause */

/* What a driver has said of sizes, and the events that wait for it, go to another device; and what comes may be anybody's bytes. */

#include "model/scsi/scsi_test_guest.h"
#include "base/loop.h"
#include "device/device.h"
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HEADER_BYTES 24 /* of device/state.c */
#define STATE_HEAD_BYTES 16 /* of model/scsi/state.c */
#define EVENT_BYTES  16
#define STATE_ROOM   2048

static struct virtio_scsi_config_space space_of(struct guest *g)
{
	struct virtio_scsi_config_space space;

	assert_int_equal(device_config_read(g->at.device, 0, &space, sizeof(space)), 0);
	return space;
}

/* All rings are stopped, as by GET_VRING_BASE. */
static void suspend(struct guest *g)
{
	uint32_t base;

	test_guest_quiesce(&g->at);
	for (uint32_t i = 0; i < g->at.queue_count; i++)
		assert_int_equal(device_queue_stop(g->at.device, i, &base), 0);
}

static void rings_go_on(struct guest *g)
{
	for (uint32_t i = 0; i < g->at.queue_count; i++)
		assert_int_equal(device_queue_kick_set(g->at.device, i, dup(g->at.queues[i].kick.fd)), 0);
	device_resume(g->at.device);
	guest_turn(g);
}

static void tell(struct guest *g, uint32_t kind, uint8_t target)
{
	const struct vireo_scsi_event event = {.size = sizeof(event), .kind = kind, .target = target};

	assert_int_equal(vireo_scsi_tell(g->scsi, &event), 0);
}

static void sizes_write(struct guest *g, uint32_t sense_size, uint32_t cdb_size)
{
	const uint32_t sizes[] = {htole32(sense_size), htole32(cdb_size)};

	assert_int_equal(device_config_write(g->at.device, offsetof(struct virtio_scsi_config_space, sense_size), sizes, sizeof(sizes)), 0);
}

/* A device whose driver has written both sizes, and has no buffers for `events` events, suspended; and its state. */
static int saved(struct guest *g, unsigned events, uint8_t data[STATE_ROOM])
{
	guest_start_features(g, V1 | F(HOTPLUG));
	sizes_write(g, 40, 20);
	for (unsigned i = 0; i < events; i++)
		tell(g, VIREO_SCSI_UNIT_ADDED, (uint8_t)i);
	suspend(g);
	assert_true(device_state_bytes_max(g->at.device) <= STATE_ROOM);
	return device_state_save(g->at.device, data, STATE_ROOM);
}

static uint32_t *word(uint8_t *data, unsigned number)
{
	return (uint32_t *)(void *)(data + HEADER_BYTES) + number;
}

static void check_next(struct guest *g, uint32_t event, uint8_t target)
{
	const uint8_t lun[8] = {1, target};
	struct virtio_scsi_event told;
	void *cookie;

	assert_int_equal(guest_used(g, SCSI_EVENT_QUEUE, &cookie), sizeof(told));
	memcpy(&told, cookie, sizeof(told));
	assert_int_equal(le32toh(told.event), event);
	assert_int_equal(le32toh(told.reason), SCSI_EVT_RESET_RESCAN);
	assert_memory_equal(told.lun, lun, sizeof(lun));
}

static void buffers_add(struct guest *g, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t *buffer = guest_alloc(g, EVENT_BYTES);

		guest_add(g, SCSI_EVENT_QUEUE, (struct iovec[]){{buffer, EVENT_BYTES}}, 0, 1, buffer);
	}
	guest_turn(g);
}

/* More than there is room for: the driver is told that by the first one. */
static void events_that_wait_are_told_by_the_next_device(void **state)
{
	const unsigned counts[] = {1, 3, SCSI_EVENTS_MAX + 1};

	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		uint32_t missed = counts[i] > SCSI_EVENTS_MAX ? SCSI_T_EVENTS_MISSED : 0;
		unsigned kept = min_u32(counts[i], SCSI_EVENTS_MAX);
		uint8_t data[STATE_ROOM], again[STATE_ROOM];
		struct guest from, to;
		int bytes = saved(&from, counts[i], data);
		const char *why;

		assert_int_equal(bytes, HEADER_BYTES + STATE_HEAD_BYTES + kept * EVENT_BYTES);
		guest_start_features(&to, V1 | F(HOTPLUG));
		tell(&to, VIREO_SCSI_UNIT_REMOVED, 9); /* is nothing that the driver is to hear of */
		suspend(&to);
		assert_int_equal(device_state_load(to.at.device, data, (size_t)bytes, &why), 0);
		assert_int_equal(device_features_set(to.at.device, V1 | F(HOTPLUG)), 0); /* in this order, or the other */
		assert_int_equal(device_state_save(to.at.device, again, sizeof(again)), bytes);
		assert_memory_equal(again, data, bytes);
		rings_go_on(&to);
		buffers_add(&to, kept);
		for (unsigned n = 0; n < kept; n++)
			check_next(&to, SCSI_T_TRANSPORT_RESET | (n ? 0 : missed), (uint8_t)n);
		tell(&to, VIREO_SCSI_UNIT_ADDED, 77);
		buffers_add(&to, 1);
		check_next(&to, SCSI_T_TRANSPORT_RESET, 77);
		guest_stop(&to);

		rings_go_on(&from); /* and if nobody else goes on */
		buffers_add(&from, 1);
		check_next(&from, SCSI_T_TRANSPORT_RESET | missed, 0);
		guest_stop(&from);
	}
}

static void sizes_are_those_that_the_driver_has_written(void **state)
{
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = saved(&from, 0, data);
	const char *why;

	guest_stop(&from);
	guest_start_features(&to, V1 | F(HOTPLUG));
	suspend(&to);
	assert_int_equal(device_state_load(to.at.device, data, (size_t)bytes, &why), 0);
	assert_int_equal(le32toh(space_of(&to).sense_size), 40);
	assert_int_equal(le32toh(space_of(&to).cdb_size), 20);
	assert_int_equal(to.scsi->sizes, 40 | UINT64_C(20) << 32);
	device_reset(to.at.device);
	assert_int_equal(le32toh(space_of(&to).sense_size), SCSI_SENSE_SIZE);
	assert_int_equal(to.scsi->sizes, SCSI_SENSE_SIZE | (uint64_t)SCSI_CDB_SIZE << 32);
	guest_stop(&to);
}

/* So that a device of before, which knows of none, takes it. */
static void a_driver_that_has_said_nothing_is_no_state(void **state)
{
	uint8_t data[STATE_ROOM];
	const char *why;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	suspend(&g);
	assert_int_equal(device_state_save(g.at.device, data, sizeof(data)), HEADER_BYTES);
	sizes_write(&g, 40, 20);
	assert_int_equal(device_state_load(g.at.device, data, HEADER_BYTES, &why), 0);
	assert_int_equal(g.scsi->sizes, SCSI_SENSE_SIZE | (uint64_t)SCSI_CDB_SIZE << 32);
	guest_stop(&g);
}

static void a_state_that_lies_is_refused(void **state)
{
	static const struct { unsigned word; uint32_t value; const char *why; } lies[] = {
		{0, VIREO_SCSI_SENSE_BYTES_MAX + 1, "have a length that none have"},
		{1, VIREO_SCSI_CDB_BYTES_MAX + 1, "have a length that none have"},
		{1, 0, "have a length that none have"},
		{2, 2, "more events than there can be"},
		{3, SCSI_EVENTS_MAX + 1, "more events than there can be"},
		{3, UINT32_MAX, "more events than there can be"},
		{3, 1, "do not end where it does"},
		{3, 3, "do not end where it does"},
		{8, 2, "one of its events is none"},
		{8, SCSI_T_EVENTS_MISSED, "one of its events is none"},
	};
	uint8_t data[STATE_ROOM], copy[STATE_ROOM];
	struct guest g;
	int bytes = saved(&g, 2, data);
	const char *why = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		memcpy(copy, data, sizeof(copy));
		*word(copy, lies[i].word) = htole32(lies[i].value);
		assert_int_equal(device_state_load(g.at.device, copy, (size_t)bytes, &why), -EINVAL);
		assert_non_null(strstr(why, lies[i].why));
	}
	for (int cut = HEADER_BYTES + 1; cut < bytes; cut++) { /* each length but all and nothing */
		memcpy(copy, data, sizeof(copy));
		*(uint32_t *)(void *)(copy + 16) = htole32((uint32_t)cut - HEADER_BYTES);
		assert_int_equal(device_state_load(g.at.device, copy, (size_t)cut, &why), -EINVAL);
	}
	assert_int_equal(device_state_save(g.at.device, copy, sizeof(copy)), bytes); /* it is as it was */
	assert_memory_equal(copy, data, bytes);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_that_wait_are_told_by_the_next_device),
		cmocka_unit_test(sizes_are_those_that_the_driver_has_written),
		cmocka_unit_test(a_driver_that_has_said_nothing_is_no_state),
		cmocka_unit_test(a_state_that_lies_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
