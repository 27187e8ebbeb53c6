/* SPDX-License-Identifier: BSD-3-Clause */

/* The event queue (virtio 1.3, 5.6.6.3). */

#include "base/loop.h"
#include "device/device.h"
#include "model/scsi/scsi_test_guest.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT };

static struct virtio_scsi_event *buffer_add(struct guest *g, size_t bytes)
{
	struct virtio_scsi_event *buffer = guest_alloc(g, 32);

	memset(buffer, NO_RESPONSE, 32);
	guest_add(g, SCSI_EVENT_QUEUE, (struct iovec[]){ { buffer, bytes } }, 0, 1, buffer);
	guest_turn(g);
	return buffer;
}

static int tell(struct guest *g, uint32_t kind, uint8_t target, unsigned lun)
{
	return vireo_scsi_tell(g->scsi, &(struct vireo_scsi_event){
		.size = sizeof(struct vireo_scsi_event),
		.kind = kind,
		.target = target,
		.asc = 0x2a,
		.ascq = 0x09,
		.lun = { (uint8_t)(lun < 256 ? 0 : 0x40 | lun >> 8), (uint8_t)lun },
	});
}

/* What the driver finds next. */
static struct virtio_scsi_event next(struct guest *g)
{
	struct virtio_scsi_event event;
	void *cookie;

	assert_int_equal(guest_used(g, SCSI_EVENT_QUEUE, &cookie), sizeof(event));
	memcpy(&event, cookie, sizeof(event));
	return event;
}

static void check(const struct virtio_scsi_event *event, uint32_t number, uint8_t target, unsigned lun, uint32_t reason)
{
	assert_int_equal(le32toh(event->event), number);
	assert_int_equal(le32toh(event->reason), reason);
	assert_memory_equal(event->lun, ((const uint8_t[8]){ 1, target, (uint8_t)(lun < 256 ? 0 : 0x40 | lun >> 8), (uint8_t)lun }), 8);
}

static void check_none(const struct virtio_scsi_event *event, uint32_t flags)
{
	assert_int_equal(le32toh(event->event), flags);
	assert_int_equal(event->reason, 0);
	assert_memory_equal(event->lun, ((const uint8_t[8]){ 0 }), 8);
}

static void events_say_what_has_happened_and_where(void **state)
{
	static const struct { uint32_t kind, event, reason; } kinds[] = {
		{ VIREO_SCSI_UNIT_RESET, 1, 0 },
		{ VIREO_SCSI_UNIT_ADDED, 1, 1 },
		{ VIREO_SCSI_UNIT_REMOVED, 1, 2 },
		{ VIREO_SCSI_UNIT_CHANGED, 3, 0x092a },
	};
	static const unsigned luns[] = { 0, 255, 256, 16383 };
	struct virtio_scsi_event event;
	struct guest g;

	for (unsigned ring = 0; ring < ARRAY_SIZE(rings); ring++) {
		guest_start_features(&g, rings[ring] | F(HOTPLUG) | F(CHANGE));
		for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
			buffer_add(&g, 16);
			assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
			assert_int_equal(tell(&g, kinds[i].kind, 77, luns[i]), 0);
			event = next(&g);
			check(&event, kinds[i].event, 77, luns[i], kinds[i].reason);
		}
		assert_int_equal(guest_scsi_stats(&g).events, 4);
		guest_stop(&g);
	}
}

/* 5.6.6.3.2: the device MUST NOT send RESCAN and REMOVED unless HOTPLUG was negotiated. */
static void hotplug_is_told_to_who_has_agreed_on_it(void **state)
{
	struct guest g;

	guest_start_features(&g, V1 | F(CHANGE));
	buffer_add(&g, 16);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 0), -EOPNOTSUPP);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_REMOVED, 0, 0), -EOPNOTSUPP);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_RESET, 0, 0), 0);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), 16);
	assert_int_equal(tell(&g, 4, 0, 0), -EINVAL);
	guest_stop(&g);
}

static void changes_are_told_to_who_has_agreed_on_them(void **state)
{
	const struct vireo_scsi_config untold = { .change_untold = true };
	struct virtio_scsi_event event;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	buffer_add(&g, 16);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_CHANGED, 0, 0), -EOPNOTSUPP);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
	guest_stop(&g);

	guest_start(&g, &(struct guest_config){ .features = V1, .scsi = &untold });
	buffer_add(&g, 16);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_CHANGED, 0, 0), 0);
	event = next(&g);
	check(&event, 3, 0, 0, 0x092a);
	guest_stop(&g);
}

static void events_wait_for_buffers_in_their_order(void **state)
{
	struct virtio_scsi_event event;
	struct guest g;

	for (unsigned ring = 0; ring < ARRAY_SIZE(rings); ring++) {
		guest_start_features(&g, rings[ring] | F(HOTPLUG));
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, i), 0);
		for (unsigned i = 0; i < 20; i++) {
			buffer_add(&g, 16);
			event = next(&g);
			check(&event, 1, 0, i, 1);
		}
		assert_int_equal(guest_scsi_stats(&g).events_lost, 0);
		guest_stop(&g);
	}
}

/* 5.6.6.3.2: the device MUST set bit 31 in event if events were lost due to missing buffers. */
static void bit_31_is_set_when_events_were_lost(void **state)
{
	struct virtio_scsi_event event;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	for (unsigned i = 0; i < SCSI_EVENTS_MAX + 3; i++)
		assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, i), 0);
	assert_int_equal(guest_scsi_stats(&g).events_lost, 3);
	buffer_add(&g, 16);
	event = next(&g);
	check(&event, 1 | SCSI_T_EVENTS_MISSED, 0, 0, 1);
	for (unsigned i = 1; i < SCSI_EVENTS_MAX; i++) {
		buffer_add(&g, 16);
		event = next(&g);
		check(&event, 1, 0, i, 1);
	}
	buffer_add(&g, 16);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 1), 0);
	event = next(&g);
	check(&event, 1, 0, 1, 1);
	guest_stop(&g);
}

/* A back end that the machine comes from has lost some: the driver learns of it at once, or by what is on its way. */
static void events_that_another_back_end_lost_are_told(void **state)
{
	struct virtio_scsi_event event;
	bool missed = true;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	assert_int_equal(device_events_missed(g.at.device, &missed), 0);
	assert_false(missed);
	assert_int_equal(device_events_missed_set(g.at.device, true), 0);
	assert_int_equal(device_events_missed(g.at.device, &missed), 0);
	assert_true(missed); /* there is no buffer yet */
	buffer_add(&g, 16);
	event = next(&g);
	check_none(&event, SCSI_T_EVENTS_MISSED);
	assert_int_equal(device_events_missed(g.at.device, &missed), 0);
	assert_false(missed);

	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 9), 0);
	assert_int_equal(device_events_missed_set(g.at.device, true), 0);
	buffer_add(&g, 16);
	event = next(&g);
	check(&event, 1 | SCSI_T_EVENTS_MISSED, 0, 9, 1);
	buffer_add(&g, 16);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
	assert_int_equal(device_events_missed_set(g.at.device, false), 0);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
	guest_stop(&g);
}

/* 5.6.6.3: a buffer that is shorter than what config space says MAY be used with NO_EVENT. */
static void a_buffer_that_is_too_small_has_no_event(void **state)
{
	static const size_t sizes[] = { 1, 3, 4, 15 };
	struct virtio_scsi_event *buffer, event;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 9), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		buffer = buffer_add(&g, sizes[i]);
		assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), sizes[i]);
		for (unsigned j = 0; j < 32; j++)
			assert_int_equal(((uint8_t *)buffer)[j], j < sizes[i] ? 0 : NO_RESPONSE);
	}
	guest_add(&g, SCSI_EVENT_QUEUE, (struct iovec[]){ { buffer, 16 } }, 1, 0, buffer); /* for us to read */
	guest_turn(&g);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), 0);
	buffer_add(&g, 16);
	event = next(&g);
	check(&event, 1, 0, 9, 1);
	assert_int_equal(guest_scsi_stats(&g).events, 1);
	guest_stop(&g);
}

/* However many lie there: nobody waits for the driver to say something before the one that is large enough is found. */
static void an_event_gets_past_any_number_of_small_buffers(void **state)
{
	struct virtio_scsi_event event = { 0 };
	void *cookie = NULL;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1 | F(HOTPLUG), .queue_size = 1024 });
	for (unsigned i = 0; i < 1000; i++)
		buffer_add(&g, 4);
	buffer_add(&g, 16);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 3, 9), 0);
	for (unsigned small = 0; small < 1000;) {
		int bytes = guest_used(&g, SCSI_EVENT_QUEUE, NULL);

		if (bytes == NOT_USED)
			assert_true(loop_dispatch(g.at.loop, 20000) > 0);
		else
			assert_int_equal(bytes, 4);
		small += bytes == 4;
	}
	while (guest_used(&g, SCSI_EVENT_QUEUE, &cookie) == NOT_USED)
		assert_true(loop_dispatch(g.at.loop, 20000) > 0);
	memcpy(&event, cookie, sizeof(event));
	check(&event, 1, 3, 9, 1);
	assert_int_equal(guest_scsi_stats(&g).events_lost, 0);
	guest_stop(&g);
}

static void a_buffer_is_split_as_the_driver_likes(void **state)
{
	struct iovec iov[16];
	uint8_t *bytes;
	struct virtio_scsi_event event;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	bytes = guest_alloc(&g, 16);
	for (unsigned i = 0; i < 16; i++)
		iov[i] = (struct iovec){ bytes + i, 1 };
	guest_add(&g, SCSI_EVENT_QUEUE, iov, 0, 16, bytes);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_REMOVED, 3, 4), 0);
	event = next(&g);
	check(&event, 1, 3, 4, 2);
	guest_stop(&g);
}

/* Whoever comes looks for itself. */
static void a_driver_that_comes_is_not_told_of_what_was(void **state)
{
	struct virtio_scsi_event event;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	for (unsigned i = 0; i < SCSI_EVENTS_MAX + 3; i++)
		assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, i), 0);
	test_guest_quiesce(&g.at);
	device_reset(g.at.device);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 0), -EOPNOTSUPP); /* nobody is there */
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_RESET, 0, 0), -EOPNOTSUPP);
	assert_int_equal(device_features_set(g.at.device, V1 | F(HOTPLUG)), 0);
	test_guest_set_up(&g.at, SCSI_EVENT_QUEUE, true);
	device_resume(g.at.device);
	buffer_add(&g, 16);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 5), 0);
	event = next(&g);
	check(&event, 1, 0, 5, 1);
	guest_stop(&g);
}

/* As when a machine stands still to be moved, and is not. */
static void events_wait_while_the_queue_is_stopped(void **state)
{
	struct virtio_scsi_event event;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	buffer_add(&g, 16);
	test_guest_quiesce(&g.at);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 5), 0);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
	device_resume(g.at.device);
	event = next(&g);
	check(&event, 1, 0, 5, 1);
	guest_stop(&g);
}

static void events_wait_while_the_queue_is_disabled(void **state)
{
	struct virtio_scsi_event event;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	device_queue_enable(g.at.device, SCSI_EVENT_QUEUE, false);
	buffer_add(&g, 16);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 5), 0);
	assert_int_equal(guest_used(&g, SCSI_EVENT_QUEUE, NULL), NOT_USED);
	device_queue_enable(g.at.device, SCSI_EVENT_QUEUE, true);
	event = next(&g);
	check(&event, 1, 0, 5, 1);
	guest_stop(&g);
}

/* In flight is only what has been popped: a program that is killed leaves none there. */
static void buffers_lie_in_the_ring_until_there_is_an_event(void **state)
{
	uint32_t base;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	for (unsigned i = 0; i < 8; i++)
		buffer_add(&g, 16);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 5), 0);
	test_guest_quiesce(&g.at);
	assert_int_equal(device_queue_stop(g.at.device, SCSI_EVENT_QUEUE, &base), 0);
	assert_int_equal(base, 1);
	guest_stop(&g);
}

static void a_broken_event_queue_breaks_its_device(void **state)
{
	uint16_t *avail;
	struct guest g;

	guest_start_features(&g, V1 | F(HOTPLUG));
	buffer_add(&g, 16);
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 5), 0); /* it has carried something */
	avail = g.at.queues[SCSI_EVENT_QUEUE].driver;
	avail[1] = 1000;
	assert_int_equal(tell(&g, VIREO_SCSI_UNIT_ADDED, 0, 5), 0);
	guest_turn(&g);
	assert_true(g.at.broken);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_say_what_has_happened_and_where),
		cmocka_unit_test(hotplug_is_told_to_who_has_agreed_on_it),
		cmocka_unit_test(changes_are_told_to_who_has_agreed_on_them),
		cmocka_unit_test(events_wait_for_buffers_in_their_order),
		cmocka_unit_test(bit_31_is_set_when_events_were_lost),
		cmocka_unit_test(events_that_another_back_end_lost_are_told),
		cmocka_unit_test(a_buffer_that_is_too_small_has_no_event),
		cmocka_unit_test(an_event_gets_past_any_number_of_small_buffers),
		cmocka_unit_test(a_buffer_is_split_as_the_driver_likes),
		cmocka_unit_test(a_driver_that_comes_is_not_told_of_what_was),
		cmocka_unit_test(events_wait_while_the_queue_is_stopped),
		cmocka_unit_test(events_wait_while_the_queue_is_disabled),
		cmocka_unit_test(buffers_lie_in_the_ring_until_there_is_an_event),
		cmocka_unit_test(a_broken_event_queue_breaks_its_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
