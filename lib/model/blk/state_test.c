/* SPDX-License-Identifier: BSD-3-Clause */

/* What a driver has said of the write cache goes with it to another device, and what comes may be anybody's bytes. */

#include "model/blk/blk_test_guest.h"
#include "device/device.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define STATE_ROOM 64
#define STATE_HEADER_BYTES 24

static struct virtio_blk_config_space space_of(struct guest *g)
{
	struct virtio_blk_config_space space;

	assert_int_equal(device_config_read(g->at.device, 0, &space, sizeof(space)), 0);
	return space;
}

/* All rings are stopped, as by GET_VRING_BASE. */
static void suspend(struct guest *g)
{
	uint32_t base;

	guest_quiesce(g);
	for (uint32_t i = 0; i < g->at.queue_count; i++)
		assert_int_equal(device_queue_stop(g->at.device, i, &base), 0);
}

static void rings_go_on(struct guest *g)
{
	for (uint32_t i = 0; i < g->at.queue_count; i++)
		assert_int_equal(device_queue_kick_set(g->at.device, i, dup(g->at.queues[i].kick.fd)), 0);
	device_resume(g->at.device);
}

static void assert_writes_through(struct guest *g, bool through)
{
	assert_int_equal(space_of(g).writeback, !through);
	assert_int_equal(vireo_blk_writeback(g->blk), !through);
}

/* A device whose driver has switched the cache off, suspended, and its state. */
static int saved(struct guest *g, uint8_t data[STATE_ROOM])
{
	const uint8_t off = 0;

	guest_start_features(g, V1 | F(FLUSH) | F(CONFIG_WCE));
	assert_int_equal(device_config_write(g->at.device, 32, &off, 1), 0);
	suspend(g);
	assert_int_equal(device_state_bytes_max(g->at.device), STATE_HEADER_BYTES + 1);
	return device_state_save(g->at.device, data, STATE_ROOM);
}

static void a_cache_that_is_off_is_off_on_the_next_device(void **state)
{
	uint8_t data[STATE_ROOM], again[STATE_ROOM], on = 1;
	struct guest from, to;
	int bytes = saved(&from, data);
	const char *why;

	assert_int_equal(bytes, STATE_HEADER_BYTES + 1);
	guest_start_features(&to, V1 | F(FLUSH) | F(CONFIG_WCE));
	suspend(&to);
	assert_writes_through(&to, false);
	assert_int_equal(device_state_load(to.at.device, data, (size_t)bytes, &why), 0);
	assert_writes_through(&to, true);
	assert_int_equal(to.writeback, 0);
	assert_int_equal(device_features_set(to.at.device, V1 | F(FLUSH) | F(CONFIG_WCE)), 0); /* in this order, or the other */
	assert_writes_through(&to, true);
	assert_int_equal(device_state_save(to.at.device, again, sizeof(again)), bytes);
	assert_memory_equal(again, data, bytes);
	assert_int_equal(device_config_write(to.at.device, 32, &on, 1), 0); /* the driver has the last word */
	assert_int_equal(device_features_set(to.at.device, V1 | F(FLUSH) | F(CONFIG_WCE)), 0);
	assert_writes_through(&to, false);
	guest_stop(&to);

	assert_int_equal(device_features_set(from.at.device, V1 | F(FLUSH) | F(CONFIG_WCE)), 0); /* and if nobody else goes on */
	assert_writes_through(&from, true);
	device_reset(from.at.device);
	assert_int_equal(device_features_set(from.at.device, V1 | F(FLUSH) | F(CONFIG_WCE)), 0);
	assert_writes_through(&from, false);
	guest_stop(&from);
}

/* And from then on the queue's driver is the one who says. */
static void writes_after_a_load_are_stable(void **state)
{
	uint8_t state_data[STATE_ROOM], data[512] = { 3 };
	struct guest from, to;
	int bytes = saved(&from, state_data);
	const char *why;

	guest_stop(&from);
	guest_start_features(&to, V1 | F(FLUSH) | F(CONFIG_WCE));
	suspend(&to);
	assert_int_equal(device_state_load(to.at.device, state_data, (size_t)bytes, &why), 0);
	rings_go_on(&to);
	assert_int_equal(guest_do(&to, VIREO_BLK_OUT, 0, data, sizeof(data)), BLK_S_OK);
	assert_int_equal(to.seen[0].flags, VIREO_BLK_FUA);
	suspend(&to);
	assert_int_equal(device_features_set(to.at.device, V1 | F(FLUSH) | F(CONFIG_WCE)), 0);
	assert_writes_through(&to, false);
	guest_stop(&to);
}

static void a_cache_that_nobody_has_switched_is_no_state(void **state)
{
	const uint64_t features[] = { V1, V1 | F(FLUSH), V1 | F(CONFIG_WCE), V1 | F(FLUSH) | F(CONFIG_WCE) };
	uint8_t data[STATE_ROOM];
	const char *why;
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		guest_start_features(&g, features[i]);
		suspend(&g);
		assert_int_equal(device_state_save(g.at.device, data, sizeof(data)), STATE_HEADER_BYTES);
		assert_int_equal(device_state_load(g.at.device, data, STATE_HEADER_BYTES, &why), 0);
		guest_stop(&g);
	}
}

static void a_driver_that_cannot_switch_the_cache_goes_by_its_features(void **state)
{
	uint8_t data[STATE_ROOM];
	struct guest from, to;
	int bytes = saved(&from, data);
	const char *why;

	guest_stop(&from);
	guest_start_features(&to, V1 | F(FLUSH));
	suspend(&to);
	assert_int_equal(device_state_load(to.at.device, data, (size_t)bytes, &why), 0);
	assert_writes_through(&to, false);
	guest_stop(&to);
}

static void a_state_that_lies_is_refused(void **state)
{
	uint8_t data[STATE_ROOM] = { 0 };
	struct guest g;
	int bytes = saved(&g, data);
	const char *why = NULL;

	data[STATE_HEADER_BYTES] = 2;
	assert_int_equal(device_state_load(g.at.device, data, (size_t)bytes, &why), -EINVAL);
	assert_non_null(strstr(why, "neither on nor off"));
	data[16] = 2; /* bytes that follow */
	data[STATE_HEADER_BYTES] = 1;
	assert_int_equal(device_state_load(g.at.device, data, (size_t)bytes + 1, &why), -EINVAL);
	assert_writes_through(&g, true);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cache_that_is_off_is_off_on_the_next_device),
		cmocka_unit_test(writes_after_a_load_are_stable),
		cmocka_unit_test(a_cache_that_nobody_has_switched_is_no_state),
		cmocka_unit_test(a_driver_that_cannot_switch_the_cache_goes_by_its_features),
		cmocka_unit_test(a_state_that_lies_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
