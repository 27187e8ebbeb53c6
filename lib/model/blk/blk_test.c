/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_test_guest.h"
#include "base/loop.h"
#include "device/device.h"
#include "mem/dirty.h"
#include "mem/map.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void fill(uint8_t *data, size_t bytes, uint8_t first)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)(first + i / 3);
}

static struct virtio_blk_config_space space_of(struct guest *g)
{
	struct virtio_blk_config_space space;

	assert_int_equal(device_config_read(g->at.device, 0, &space, sizeof(space)), 0);
	return space;
}

static void writes_are_read_again(void **state)
{
	static const uint64_t rings[] = { V1, V1 | PACKED, V1 | INDIRECT, V1 | PACKED | INDIRECT };
	uint8_t data[4096], back[4096];
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i] | F(FLUSH));
		fill(data, sizeof(data), 7);
		assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 8, data, sizeof(data)), BLK_S_OK);
		assert_memory_equal(g.disk + 8 * 512, data, sizeof(data));
		assert_int_equal(guest_read(&g, VIREO_BLK_IN, 8, back, sizeof(back)), BLK_S_OK);
		assert_memory_equal(back, data, sizeof(data));
		assert_int_equal(guest_do(&g, VIREO_BLK_FLUSH, 0, NULL, 0), BLK_S_OK);
		assert_int_equal(g.seen_count, 3);
		assert_int_equal(guest_stats(&g).read_bytes, 4096);
		assert_int_equal(guest_stats(&g).written_bytes, 4096);
		assert_int_equal(guest_stats(&g).flushes, 1);
		guest_stop(&g);
	}
}

static void the_serial_is_told_with_its_zeroes(void **state)
{
	char id[24];
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(guest_read(&g, BLK_T_GET_ID, 0, id, 20), BLK_S_OK);
	assert_memory_equal(id, "vireo-0123456789-abc", 20);
	assert_int_equal(guest_read(&g, BLK_T_GET_ID, 0, id, 24), BLK_S_OK);
	assert_memory_equal(id, "vireo-0123456789-abc\0\0\0\0", 24);
	assert_int_equal(guest_read(&g, BLK_T_GET_ID, 0, id, 5), BLK_S_OK);
	assert_memory_equal(id, "vireo", 5);
	guest_stop(&g);
}

static void requests_end_in_any_order(void **state)
{
	uint8_t data[512];
	struct asked a[3];
	void *cookie;
	struct guest g;

	guest_start_features(&g, V1 | F(FLUSH));
	g.holds = true;
	fill(data, sizeof(data), 1);
	for (unsigned i = 0; i < 3; i++)
		a[i] = guest_ask(&g, 0, VIREO_BLK_OUT, i, data, sizeof(data));
	assert_int_equal(guest_poll(&g, 0), 3);
	assert_int_equal(g.submits, 1);
	assert_int_equal(vireo_blk_in_flight(g.blk, 0), 3);
	held_do(&g, 1);
	held_do(&g, 1);
	assert_int_equal(guest_used(&g, 0, NULL), NOT_USED);
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(guest_used(&g, 0, &cookie), 1);
	assert_ptr_equal(cookie, a[1].status);
	assert_int_equal(guest_used(&g, 0, &cookie), 1);
	assert_ptr_equal(cookie, a[2].status);
	assert_int_equal(*a[0].status, NO_STATUS);
	held_do(&g, 0);
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(guest_used(&g, 0, &cookie), 1);
	assert_int_equal(*a[0].status, BLK_S_OK);
	assert_int_equal(vireo_blk_in_flight(g.blk, 0), 0);
	guest_stop(&g);
}

static void each_request_has_room_of_its_own(void **state)
{
	static const uint8_t zeroes[40];
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	for (unsigned i = 0; i < 40; i++)
		guest_ask(&g, 0, VIREO_BLK_FLUSH, 0, NULL, 0);
	guest_poll(&g, 0);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal((uintptr_t)g.held[i]->room % 16, 0);
		assert_memory_equal(g.held[i]->room, zeroes, sizeof(zeroes));
		memset(g.held[i]->room, (int)i + 1, sizeof(zeroes));
	}
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(((uint8_t *)g.held[i]->room)[39], i + 1);
	held_do_all(&g);
	guest_stop(&g);
}

static void queues_go_their_own_ways(void **state)
{
	struct vireo_blk_config disk = guest_disk();
	uint8_t data[512] = { 3 };
	struct asked a[4];
	struct guest g;

	disk.queues = 4;
	guest_start(&g, &(struct guest_config){ .features = V1 | F(MQ), .blk = &disk });
	assert_int_equal(space_of(&g).num_queues, 4);
	g.holds = true;
	for (unsigned i = 0; i < 4; i++)
		a[i] = guest_ask(&g, i, VIREO_BLK_OUT, i, data, sizeof(data));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(guest_poll(&g, i), 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(g.seen[i].queue, i);
	held_do(&g, 2);
	for (unsigned i = 0; i < 4; i++)
		vireo_blk_flush(g.blk, i);
	assert_int_equal(*a[2].status, BLK_S_OK);
	assert_int_equal(guest_used(&g, 2, NULL), 1);
	assert_int_equal(guest_used(&g, 1, NULL), NOT_USED);
	held_do_all(&g);
	guest_stop(&g);
}

/* ---- the write cache (virtio 1.3, 5.2.6.2) ---- */

static unsigned flags_of_a_write(struct guest *g)
{
	uint8_t data[512] = { 3 };

	g->seen_count = 0;
	assert_int_equal(guest_do(g, VIREO_BLK_OUT, 0, data, sizeof(data)), BLK_S_OK);
	return g->seen[0].flags;
}

/* As firmware does: SeaBIOS and OVMF. */
static void writes_of_a_driver_that_cannot_flush_are_stable(void **state)
{
	const struct virtio_blk_range range = { .sector = 0, .num_sectors = 1 };
	struct guest g;

	guest_start_features(&g, V1 | F(BLK_SIZE) | F(SEG_MAX) | F(SIZE_MAX) | F(DISCARD) | F(WRITE_ZEROES));
	assert_int_equal(flags_of_a_write(&g), VIREO_BLK_FUA);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_WRITE_ZEROES, &range, 1), BLK_S_OK);
	assert_int_equal(guest_ranges(&g, VIREO_BLK_DISCARD, &range, 1), BLK_S_OK);
	assert_int_equal(g.seen[1].flags, VIREO_BLK_FUA);
	assert_int_equal(g.seen[2].flags, VIREO_BLK_FUA);
	assert_false(vireo_blk_writeback(g.blk));
	guest_stop(&g);
}

static void writes_of_a_driver_that_flushes_may_be_cached(void **state)
{
	struct guest g;

	guest_start_features(&g, V1 | F(FLUSH) | F(CONFIG_WCE));
	assert_int_equal(space_of(&g).writeback, 1);
	assert_int_equal(flags_of_a_write(&g), 0);
	guest_stop(&g);
}

static void config_wce_without_flush_begins_with_write_through(void **state)
{
	uint8_t on = 1;
	struct guest g;

	guest_start_features(&g, V1 | F(CONFIG_WCE));
	assert_int_equal(space_of(&g).writeback, 0);
	assert_int_equal(flags_of_a_write(&g), VIREO_BLK_FUA);
	assert_int_equal(device_config_write(g.at.device, 32, &on, 1), 0);
	assert_int_equal(flags_of_a_write(&g), 0);
	guest_stop(&g);
}

static void the_driver_switches_the_cache(void **state)
{
	uint8_t off = 0, lie = 2;
	struct guest g;

	guest_start_features(&g, V1 | F(FLUSH) | F(CONFIG_WCE));
	assert_int_equal(device_config_write(g.at.device, 32, &off, 1), 0);
	assert_int_equal(g.writeback, 0);
	assert_int_equal(space_of(&g).writeback, 0);
	assert_int_equal(flags_of_a_write(&g), VIREO_BLK_FUA);
	assert_int_equal(device_config_write(g.at.device, 32, &lie, 1), -EINVAL);
	assert_int_equal(g.at.config_changes, 0); /* nobody is notified of its own writes */
	guest_quiesce(&g);
	device_reset(g.at.device);
	assert_int_equal(g.resets, 1);
	assert_int_equal(space_of(&g).writeback, 1);
	guest_stop(&g);
}

static void a_driver_writes_nothing_but_the_cache(void **state)
{
	struct virtio_blk_config_space space;
	struct guest g;
	uint8_t byte;

	guest_start_features(&g, V1 | F(FLUSH) | F(CONFIG_WCE));
	space = space_of(&g);
	for (uint32_t i = 0; i < sizeof(space); i++)
		if (i != 32) {
			byte = (uint8_t)(((uint8_t *)&space)[i] ^ 1);
			assert_int_equal(device_config_write(g.at.device, i, &byte, 1), -EPERM);
		}
	space = space_of(&g);
	space.writeback = 0;
	assert_int_equal(device_config_write(g.at.device, 0, &space, sizeof(space)), 0); /* a front end that writes all */
	space.capacity++;
	assert_int_equal(device_config_write(g.at.device, 0, &space, sizeof(space)), -EPERM);
	assert_int_equal(vireo_blk_capacity(g.blk), DISK_BYTES);
	guest_stop(&g);

	guest_start_features(&g, V1 | F(FLUSH));
	byte = 0;
	assert_int_equal(device_config_write(g.at.device, 32, &byte, 1), -EPERM);
	guest_stop(&g);
}

static void a_disk_that_offers_no_flush_offers_no_switch(void **state)
{
	struct vireo_blk_config disk = guest_disk();
	struct guest g;

	disk.features_off = F(FLUSH);
	guest_start(&g, &(struct guest_config){ .features = V1, .blk = &disk });
	assert_int_equal(device_features_offered(g.at.device) & (F(FLUSH) | F(CONFIG_WCE)), 0);
	assert_int_equal(flags_of_a_write(&g), 0);
	guest_stop(&g);
}

/* ---- queues are taken back, memory goes ---- */

static void a_queue_stops_when_its_requests_have_ended(void **state)
{
	uint8_t data[512] = { 3 };
	struct asked a[2];
	struct guest g;

	guest_start_features(&g, V1 | F(FLUSH) | PACKED);
	g.holds = g.stop_waits = true;
	a[0] = guest_ask(&g, 0, VIREO_BLK_OUT, 0, data, sizeof(data));
	a[1] = guest_ask(&g, 0, VIREO_BLK_OUT, 1, data, sizeof(data));
	guest_poll(&g, 0);
	guest_quiesce(&g);
	assert_int_equal(g.stops, 1);
	assert_false(g.at.quiet);
	held_do(&g, 1);
	g.result = -ECANCELED; /* it hangs, and nobody will touch its memory any more */
	held_do(&g, 0);
	g.result = 0;
	vireo_blk_queue_quiesced(g.blk, 0);
	assert_true(g.at.quiet);
	assert_int_equal(*a[0].status, BLK_S_IOERR);
	assert_int_equal(*a[1].status, BLK_S_OK);
	assert_int_equal(guest_used(&g, 0, NULL), 1);
	assert_int_equal(guest_used(&g, 0, NULL), 1);
	g.holds = g.stop_waits = false;
	device_resume(g.at.device); /* and it goes on */
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, 0, data, sizeof(data)), BLK_S_OK);
	guest_stop(&g);
}

static void renewed(void *opaque)
{
	bool *done = opaque;

	*done = true;
}

static void memory_goes_when_the_requests_before_have_ended(void **state)
{
	const struct map_spec dimm = GUEST_DIMM;
	uint8_t data[512] = { 3 };
	bool done = false;
	struct asked a;
	struct guest g;
	struct map *map;

	guest_start_features(&g, V1 | F(FLUSH));
	g.holds = true;
	g.memories = 0;
	a = guest_ask(&g, 0, VIREO_BLK_OUT, 0, data, sizeof(data));
	guest_poll(&g, 0);
	assert_int_equal(map_without(g.at.map, &dimm, &map), 0);
	assert_true(device_map_takes_away(g.at.device, map));
	device_map_change(g.at.device, map, false, renewed, &done);
	assert_int_equal(g.renewals, 1);
	assert_int_equal(g.stops, 0);
	assert_false(done);
	held_do(&g, 0);
	vireo_blk_flush(g.blk, 0);
	guest_poll(&g, 0);
	vireo_blk_queue_renewed(g.blk, 0);
	assert_true(done);
	assert_int_equal(*a.status, BLK_S_OK);
	assert_int_equal(g.memories, 1);
	guest_stop(&g);
}

/* A back end that hangs is not waited for where its requests are in memory that stays. */
static void memory_goes_while_requests_hang_in_what_stays(void **state)
{
	const struct map_spec dimm = GUEST_DIMM, rest = { GUEST_GPA, GUEST_MEMORY_BYTES, GUEST_UADDR, 0 };
	uint8_t data[512] = { 3 };
	struct map *map;
	uint8_t *last;
	bool done = false;
	struct asked a;
	struct guest g;

	guest_start_features(&g, V1 | F(FLUSH));
	assert_true(vireo_blk_kept(g.blk, 0));
	g.holds = true;
	a = guest_ask(&g, 0, VIREO_BLK_OUT, 0, data, sizeof(data));
	guest_ask_read(&g, 0, VIREO_BLK_IN, 0, 4096);
	guest_poll(&g, 0);
	last = (uint8_t *)map_uaddr(g.at.map, rest.uaddr, rest.size_bytes) + rest.size_bytes - 1;
	assert_true(device_memory_has(g.at.device, last, 1));
	assert_false(device_memory_has(g.at.device, last, 2));
	assert_false(device_memory_has(g.at.device, data, 1));
	assert_int_equal(map_without(g.at.map, &dimm, &map), 0);
	device_map_change(g.at.device, map, false, renewed, &done);
	assert_int_equal(g.renewals, 1);
	guest_poll(&g, 0);
	assert_true(vireo_blk_kept(g.blk, 0));
	vireo_blk_queue_renewed(g.blk, 0);
	assert_true(done);
	assert_int_equal(*a.status, NO_STATUS);
	held_do_all(&g);
	vireo_blk_flush(g.blk, 0);
	assert_int_equal(*a.status, BLK_S_OK);
	guest_stop(&g);
}

/* Live migration copies the pages that are in the log: a status that is not would be lost. */
static void a_status_on_a_page_of_its_own_is_logged(void **state)
{
	const size_t bytes = (GUEST_GPA + (UINT64_C(2) << 32)) / DIRTY_PAGE_BYTES / 8; /* the one that can be taken away, too */
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct dirty_log *log;
	const char *why;
	uint8_t *bits, *status;
	struct guest g;
	uint64_t page;

	guest_start_features(&g, V1);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	bits = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(bits, MAP_FAILED);
	assert_int_equal(dirty_log_new(fd, 0, bytes, device_faults(g.at.device), &log, &why), 0);
	assert_int_equal(device_log_set(g.at.device, log, &why), 0);
	assert_int_equal(device_log_switch(g.at.device, true, &why), 0);
	g.at.used_bytes = (g.at.used_bytes + DIRTY_PAGE_BYTES - 1) & ~(size_t)(DIRTY_PAGE_BYTES - 1);
	status = guest_alloc(&g, DIRTY_PAGE_BYTES);
	guest_add(&g, 0, (struct iovec[]){ { guest_alloc(&g, 16), 16 }, { guest_alloc(&g, 512), 512 }, { status, 1 } }, 1, 2, NULL);
	assert_int_equal(guest_poll(&g, 0), 1);
	page = guest_gpa(&g, status) / DIRTY_PAGE_BYTES;
	assert_true(bits[page / 8] >> page % 8 & 1);
	dirty_log_unref(log);
	guest_stop(&g);
	munmap(bits, bytes);
	close(fd);
}

static void a_disabled_queue_is_left_alone(void **state)
{
	uint8_t data[512] = { 3 };
	struct asked a;
	struct guest g;

	guest_start(&g, &(struct guest_config){ .features = V1, .disabled = true });
	a = guest_ask(&g, 0, VIREO_BLK_OUT, 0, data, sizeof(data));
	assert_int_equal(guest_poll(&g, 0), 0);
	assert_false(vireo_blk_kick_enable(g.blk, 0, true));
	assert_int_equal(g.seen_count, 0);
	device_queue_enable(g.at.device, 0, true);
	assert_true(vireo_blk_kick_enable(g.blk, 0, true));
	assert_int_equal(guest_poll(&g, 0), 1);
	assert_int_equal(*a.status, BLK_S_OK);
	guest_stop(&g);
}

static void requests_of_a_broken_ring_end(void **state)
{
	uint8_t data[512] = { 3 };
	uint16_t *avail;
	struct guest g;

	guest_start_features(&g, V1);
	g.holds = true;
	guest_ask(&g, 0, VIREO_BLK_OUT, 0, data, sizeof(data));
	guest_poll(&g, 0);
	avail = g.at.queues[0].driver;
	avail[1] = 1000; /* further ahead than the ring is long */
	assert_int_equal(guest_poll(&g, 0), -EPROTO);
	held_do_all(&g);
	vireo_blk_flush(g.blk, 0);
	while (loop_dispatch(g.at.loop, 0) > 0)
		;
	assert_true(g.at.broken);
	guest_stop(&g);
}

/* ---- size ---- */

static void a_change_of_size_reaches_the_driver(void **state)
{
	uint8_t data[512] = { 3 };
	struct guest g;

	guest_start_features(&g, V1);
	assert_int_equal(vireo_blk_resize(g.blk, DISK_BYTES / 2), 0);
	assert_int_equal(g.at.config_changes, 1);
	assert_int_equal(space_of(&g).capacity, DISK_SECTORS / 2);
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, DISK_SECTORS / 2, data, sizeof(data)), BLK_S_IOERR);
	assert_int_equal(vireo_blk_resize(g.blk, DISK_BYTES), 0);
	assert_int_equal(guest_do(&g, VIREO_BLK_OUT, DISK_SECTORS / 2, data, sizeof(data)), BLK_S_OK);
	assert_int_equal(vireo_blk_resize(g.blk, 513), -EINVAL);
	assert_int_equal(vireo_blk_capacity(g.blk), DISK_BYTES);
	guest_stop(&g);
}

/* ---- when the driver is shown what has been done ---- */

static void driver_looks(struct guest *g)
{
	while (guest_used(g, 0, NULL) != NOT_USED)
		g->got_back++;
}

/* Returns in how many calls they were submitted; how many the driver had back by the last of these is in g->got_back. */
static unsigned flushes_do(struct guest *g, unsigned count)
{
	unsigned before = g->submits, seen;

	g->got_back = 0;
	for (unsigned i = 0; i < count; i++)
		guest_ask(g, 0, VIREO_BLK_FLUSH, 0, NULL, 0);
	assert_int_equal(guest_poll(g, 0), count);
	seen = g->got_back;
	driver_looks(g);
	assert_int_equal(g->got_back, g->holds ? 0 : count);
	g->got_back = seen;
	return g->submits - before;
}

static void few_that_are_done_at_once_are_shown_by_eights(void **state)
{
	static const uint64_t rings[] = {V1 | INDIRECT, V1 | INDIRECT | PACKED};
	struct guest g;

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		guest_start_features(&g, rings[i]);
		g.submitted = driver_looks;
		vireo_driver_ring_signal_enable(g.at.queues[0].ring, false);
		assert_int_equal(flushes_do(&g, 20), 1); /* nothing is known of the disk */
		assert_int_equal(flushes_do(&g, 20), 3);
		assert_int_equal(g.got_back, 16);
		assert_int_equal(flushes_do(&g, 120), 2); /* many wait: by the batch of 64 */
		assert_int_equal(flushes_do(&g, 8), 1);
		guest_stop(&g);
	}
}

static void what_is_done_later_is_submitted_together(void **state)
{
	struct guest g;

	guest_start_features(&g, V1 | INDIRECT);
	vireo_driver_ring_signal_enable(g.at.queues[0].ring, false);
	flushes_do(&g, 1);
	g.holds = true;
	assert_int_equal(flushes_do(&g, 20), 2); /* eight show that they are not done at once */
	assert_int_equal(flushes_do(&g, 20), 1);
	held_do_all(&g);
	guest_stop(&g);
}

static void a_driver_that_wants_a_signal_each_time_is_not_shown_eights(void **state)
{
	struct vireo_queue *queue;
	uint64_t before;
	struct guest g;

	guest_start_features(&g, V1 | INDIRECT);
	queue = vireo_device_queue(g.at.device, 0);
	flushes_do(&g, 1);
	before = vireo_queue_signals(queue);
	assert_int_equal(flushes_do(&g, 32), 2);
	assert_int_equal(vireo_queue_signals(queue) - before, 2);
	guest_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_are_read_again),
		cmocka_unit_test(the_serial_is_told_with_its_zeroes),
		cmocka_unit_test(requests_end_in_any_order),
		cmocka_unit_test(each_request_has_room_of_its_own),
		cmocka_unit_test(queues_go_their_own_ways),
		cmocka_unit_test(writes_of_a_driver_that_cannot_flush_are_stable),
		cmocka_unit_test(writes_of_a_driver_that_flushes_may_be_cached),
		cmocka_unit_test(config_wce_without_flush_begins_with_write_through),
		cmocka_unit_test(the_driver_switches_the_cache),
		cmocka_unit_test(a_driver_writes_nothing_but_the_cache),
		cmocka_unit_test(a_disk_that_offers_no_flush_offers_no_switch),
		cmocka_unit_test(a_queue_stops_when_its_requests_have_ended),
		cmocka_unit_test(memory_goes_when_the_requests_before_have_ended),
		cmocka_unit_test(memory_goes_while_requests_hang_in_what_stays),
		cmocka_unit_test(a_status_on_a_page_of_its_own_is_logged),
		cmocka_unit_test(a_disabled_queue_is_left_alone),
		cmocka_unit_test(requests_of_a_broken_ring_end),
		cmocka_unit_test(a_change_of_size_reaches_the_driver),
		cmocka_unit_test(few_that_are_done_at_once_are_shown_by_eights),
		cmocka_unit_test(what_is_done_later_is_submitted_together),
		cmocka_unit_test(a_driver_that_wants_a_signal_each_time_is_not_shown_eights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
