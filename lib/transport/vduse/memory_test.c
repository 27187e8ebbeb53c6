/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "transport/vduse/lab_test.h"

/* The IOTLB, and messages that come at a bad moment: what no burst may notice, and no answer may wait for. */

static struct lab *lab_up_lazy(struct fake *f, struct fake_driver *driver, uint64_t features)
{
	fake_ranges(f, false);
	return lab_up(f, driver, features);
}

static void lab_end(struct lab *lab, struct fake_driver *driver, struct fake *f)
{
	driver_free(driver);
	lab_free(lab);
	fake_free(f);
}

/* ---- misses ---- */

static void memory_that_comes_with_the_first_buffer_is_found(void **state)
{
	static const uint64_t variants[] = { 0, F(RING_EVENT_IDX), F(RING_PACKED), F(RING_PACKED) | F(RING_EVENT_IDX) };

	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab = lab_up_lazy(f, &driver, variants[i]);

		fake_ranges(f, true);
		memcpy(f->memory + 4096, "hello", 5);
		driver_add(&driver, 1, 4096, 64, 7);
		assert_false(serve_one(lab, 1)); /* a miss */
		lab_pump(lab);
		assert_int_equal(lab->type.started[1], 2);
		assert_true(serve_one(lab, 1));
		assert_memory_equal(lab->held, "hello", 5);
		assert_int_equal(driver_get(&driver, 1), 7);
		assert_null(strstr(lab->log, "broken"));
		lab_end(lab, &driver, f);
	}
}

/* A program of one thread, which pops until nothing is there, comes back to where the miss is answered. */
static void queue_that_waits_for_memory_has_nothing_to_pop(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up_lazy(f, &driver, 0);

	fake_ranges(f, true);
	driver_add(&driver, 1, 4096, 64, 7);
	assert_true(vireo_queue_kick_enable(lab->type.running[1], true));
	assert_false(serve_one(lab, 1)); /* a miss */
	assert_false(vireo_queue_kick_enable(lab->type.running[1], true));
	assert_int_equal(vireo_queue_available(lab->type.running[1]), 0);
	lab_pump(lab);
	assert_true(vireo_queue_kick_enable(lab->type.running[1], true));
	assert_int_equal(vireo_queue_available(lab->type.running[1]), 1);
	lab_end(lab, &driver, f);
}

/* The message is dispatched before the miss, and starts its queue again. */
static void message_that_overtakes_a_miss_makes_no_lie_of_it(void **state)
{
	static const uint32_t types[] = { VDUSE_MSG_GET_VQ_STATE, VDUSE_MSG_SET_STATUS };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct fake_response response;
		struct lab *lab = lab_up_lazy(f, &driver, 0);

		fake_ranges(f, true);
		fake_send(f, types[i], types[i] == VDUSE_MSG_SET_STATUS ? STATUS_OK : 1, 0);
		driver_add(&driver, 1, 4096, 64, 7);
		assert_false(serve_one(lab, 1));
		lab_pump(lab);
		assert_true(fake_answered(f, &response));
		assert_int_equal(response.result, 0);
		assert_true(serve_one(lab, 1));
		assert_int_equal(driver_get(&driver, 1), 7);
		assert_null(strstr(lab->log, "broken"));
		lab_end(lab, &driver, f);
	}
}

static void chains_before_a_miss_are_served_first_and_once(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;
	struct iovec iov[3 * VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[4];

	f->range_count = 0;
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		fake_range(f, RING_AT(i), 0x40000, RING_AT(i), 3);
	f->ranges[f->range_count++] = f->ranges[0];
	memmove(&f->ranges[1], &f->ranges[0], 3 * sizeof(f->ranges[0]));
	f->ranges[0] = (struct fake_range){ 0, 8191, 0, 3, f->memfd };
	lab = lab_up(f, &driver, 0);
	driver_add(&driver, 1, 0, 10, 1);
	driver_add(&driver, 1, 0, 10, 2);
	driver_add(&driver, 1, 8192, 10, 3); /* not there yet */
	assert_int_equal(vireo_queue_pop(lab->type.running[1], chains, 4, iov, ARRAY_SIZE(iov)), 2);
	assert_int_equal(vireo_queue_pop(lab->type.running[1], chains + 2, 2, iov + 100, 200), 0);
	/* They are in flight while the miss is on its way: what is pushed then counts. */
	vireo_queue_push_burst(lab->type.running[1], chains, NULL, 2);
	vireo_queue_flush(lab->type.running[1]);
	fake_ranges(f, true);
	lab_pump(lab);
	assert_true(serve_one(lab, 1));
	assert_false(serve_one(lab, 1));
	for (uintptr_t n = 1; n <= 3; n++)
		assert_int_equal(driver_get(&driver, 1), n);
	assert_int_equal(driver_get(&driver, 1), 0);
	lab_end(lab, &driver, f);
}

static void address_that_is_nowhere_breaks_the_device_until_it_is_reset(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up_lazy(f, &driver, 0);

	driver_add(&driver, 1, 4096, 64, 7); /* and no bounce pages come */
	assert_false(serve_one(lab, 1));
	lab_pump(lab);
	assert_non_null(strstr(lab->log, "broken: queue 1: an address outside guest memory"));
	assert_null(lab->type.running[0]);
	assert_null(lab->type.running[1]);
	assert_true(ask_update(lab)); /* still answered */
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	assert_int_equal(lab->type.connected, 2);
	fake_ranges(f, true);
	driver_free(&driver);
	driver_new(f, &driver, 0, SIZE);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	driver_add(&driver, 1, 4096, 64, 8);
	assert_true(serve_one(lab, 1));
	lab_end(lab, &driver, f);
}

static void indirect_table_that_is_not_there_yet_is_found(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;
	struct iovec iov[2];
	void *cookie = &iov;

	fake_ranges(f, true);
	f->ranges[2].last = f->ranges[2].first + TABLES_AT - 1; /* of queue 1, less the tables */
	lab = lab_up(f, &driver, F(RING_INDIRECT_DESC));
	iov[0] = iov[1] = (struct iovec){ f->memory, 10 };
	assert_int_equal(vireo_driver_ring_add(driver.rings[1], iov, 2, 0, true, cookie), 0);
	vireo_driver_ring_kick(driver.rings[1]);
	assert_false(serve_one(lab, 1));
	fake_ranges(f, true);
	lab_pump(lab);
	assert_true(serve_one(lab, 1));
	lab_end(lab, &driver, f);
}

/* A driver that lies about the ring itself is no case for patience. */
static void lie_that_is_no_miss_breaks_at_once(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);
	uint16_t index = htole16(SIZE + 1);

	memcpy(f->memory + RING_AT(1) + 0x8000 + 2, &index, sizeof(index)); /* avail->idx */
	assert_false(serve_one(lab, 1));
	lab_pump(lab);
	assert_non_null(strstr(lab->log, "broken: queue 1: available index further ahead"));
	assert_null(lab->type.running[0]);
	lab_end(lab, &driver, f);
}

/* ---- ranges ---- */

static void neighbours_of_one_file_are_one_region(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	f->range_count = 0;
	fake_range(f, 0, BOUNCE_BYTES, 0, 3);
	fake_range(f, RING_AT(0), 0x8000, RING_AT(0), 3); /* each ring lies in two */
	fake_range(f, RING_AT(0) + 0x8000, 0x40000 - 0x8000, RING_AT(0) + 0x8000, 3);
	fake_range(f, RING_AT(1), 0x7000, RING_AT(1), 3);
	fake_range(f, RING_AT(1) + 0x7000, 0x40000 - 0x7000, RING_AT(1) + 0x7000, 3);
	lab = lab_up(f, &driver, F(RING_PACKED));
	assert_int_equal(device_map(lab->device)->count, 1);
	driver_add(&driver, 1, 0, 10, 1);
	assert_true(serve_one(lab, 1));
	lab_end(lab, &driver, f);
}

static void read_only_range_is_read_and_never_written(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;
	uint64_t usable;
	struct map_cache cache = { 0 };
	uint8_t *host;

	f->range_count = 0;
	fake_range(f, 0, BOUNCE_BYTES, 0, 1);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		fake_range(f, RING_AT(i), 0x40000, RING_AT(i), 3);
	lab = lab_up(f, &driver, 0);
	memcpy(f->memory + 4096, "hello", 5);
	host = map_gpa(device_map(lab->device), &cache, 4096, &usable);
	assert_non_null(host);
	assert_memory_equal(host, "hello", 5);
	memcpy(host, "HELLO", 5); /* as a chain would make us do whose driver says that it is writable */
	assert_memory_equal(f->memory + 4096, "hello", 5);
	lab_end(lab, &driver, f);
}

static void range_to_the_end_of_all_addresses_is_survived(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	fake_ranges(f, true);
	f->ranges[f->range_count++] = (struct fake_range){ UINT64_MAX - 4095, UINT64_MAX, 0, 3, f->memfd };
	lab = lab_up(f, &driver, 0);
	driver_add(&driver, 1, 0, 10, 1);
	assert_true(serve_one(lab, 1));
	lab_end(lab, &driver, f);
}

/* ---- UPDATE_IOTLB ---- */

/* A turn of the loop ends in the middle of them, wherever that is. */
static void updates_without_a_pause_are_all_answered(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct fake_response response;

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	for (unsigned i = 0; i < 100; i++)
		fake_send_update(f);
	lab_pump(lab);
	for (unsigned i = 0; i < 100; i++)
		assert_true(fake_answered(f, &response));
	lab_free(lab);
	fake_free(f);
}

static void update_waits_for_the_burst_and_unmaps_nothing_before(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab = lab_up(f, &driver, 0);
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;
	int other = memfd_create("other", MFD_CLOEXEC);

	memcpy(f->memory + 4096, "old", 3);
	driver_add(&driver, 1, 4096, 64, 7);
	assert_int_equal(vireo_queue_pop(lab->type.running[1], &chain, 1, iov, ARRAY_SIZE(iov)), 1);
	assert_int_equal(ftruncate(other, BOUNCE_BYTES), 0);
	assert_int_equal(pwrite(other, "new", 3, 4096), 3);
	f->ranges[0].fd = other;
	lab->type.late = true;
	fake_send_update(f);
	lab_pump(lab);
	assert_int_equal(lab->type.stopped[1], 1);
	assert_false(fake_answered(f, &response));
	assert_memory_equal(chain.iov[0].iov_base, "old", 3); /* a burst is running, and still sees it */
	vireo_queue_push(lab->type.running[1], &chain, 0);
	vireo_queue_flush(lab->type.running[1]);
	type_quiesced(&lab->type, 0);
	assert_false(fake_answered(f, &response));
	type_quiesced(&lab->type, 1);
	lab_pump(lab);
	assert_true(fake_answered(f, &response));
	assert_int_equal(response.result, 0);
	assert_int_equal(driver_get(&driver, 1), 7);
	driver_add(&driver, 1, 4096, 64, 8);
	lab->type.late = false;
	assert_true(serve_one(lab, 1));
	assert_memory_equal(lab->held, "new", 3);
	close(other);
	lab_end(lab, &driver, f);
}

static void update_that_takes_the_rings_away_makes_them_wait(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	f->range_count = 1;
	assert_true(ask_update(lab));
	assert_null(lab->type.running[1]);
	fake_ranges(f, true);
	assert_true(ask_update(lab));
	driver_add(&driver, 1, 0, 10, 1);
	assert_true(serve_one(lab, 1));
	lab_end(lab, &driver, f);
}

static void update_that_cannot_be_mapped_stops_the_device(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	f->ranges[0].fd = f->control_fd; /* a character device is no memory */
	assert_false(ask_update(lab));
	assert_non_null(strstr(lab->log, "UPDATE_IOTLB (2) refused: a region's fd is not a file of memory"));
	assert_null(lab->type.running[1]);
	assert_int_equal(lab->type.started[1], 1);
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	fake_ranges(f, true);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_int_equal(lab->type.started[1], 2);
	lab_end(lab, &driver, f);
}

static const uint8_t *host_of(const struct lab *lab, uint64_t iova)
{
	struct map_cache cache = { 0 };
	uint64_t usable;

	return map_gpa(device_map(lab->device), &cache, iova, &usable);
}

static void update_maps_nothing_anew_that_has_not_changed(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;
	const uint8_t *bounce, *ring;

	fake_ranges(f, true);
	f->ranges[0].last = BOUNCE_BYTES / 2 - 1; /* apart from the rings */
	lab = lab_up(f, &driver, 0);
	bounce = host_of(lab, 0);
	ring = host_of(lab, RING_AT(0));
	f->ranges[0].perm = 1;
	assert_true(ask_update(lab));
	assert_ptr_equal(host_of(lab, RING_AT(0)), ring);
	assert_ptr_not_equal(host_of(lab, 0), bounce);
	lab_end(lab, &driver, f);
}

/* Others in the thread get their turn. */
static void updates_come_one_in_a_turn(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);
	struct fake_response response;

	for (unsigned i = 0; i < 3; i++)
		fake_send_update(f);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(lab_turn(lab, 100), 1);
		assert_true(fake_answered(f, &response));
		assert_false(fake_answered(f, &response));
	}
	lab_end(lab, &driver, f);
}

static void update_without_a_driver_asks_for_nothing(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	assert_true(ask_update(lab));
	assert_int_equal(f->range_asks, 0);
	lab_free(lab);
	fake_free(f);
}

/* ---- answers ---- */

#define LATE_MS 20u

static void hurry(struct lab *lab)
{
	((struct vduse *)lab->endpoint)->late_ms = LATE_MS;
}

static void await_answer(struct lab *lab, struct fake_response *response)
{
	bool answered = false;

	for (unsigned i = 0; i < 1000 && !answered; i++) {
		lab_turn(lab, 20);
		answered = fake_answered(lab->f, response);
	}
	assert_true(answered);
}

static void data_path_that_does_not_let_go_holds_up_no_answer(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab = lab_up(f, &driver, 0);
	uint64_t begin_ms;

	hurry(lab);
	lab->type.late = true;
	begin_ms = clock_now_ms();
	fake_send_update(f);
	await_answer(lab, &response);
	assert_true(clock_now_ms() - begin_ms >= LATE_MS);
	assert_int_equal(response.result, 1);
	/* Whatever comes meanwhile is answered, and a reset is not forgotten. */
	assert_false(ask(lab, VDUSE_MSG_GET_VQ_STATE, 0, 0));
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	assert_int_equal(lab->type.resets, 1); /* the one at the beginning */
	type_quiesced(&lab->type, 0);
	type_quiesced(&lab->type, 1);
	lab_pump(lab);
	assert_int_equal(lab->type.resets, 2);
	assert_null(lab->type.running[0]);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_non_null(lab->type.running[0]);
	lab->type.late = false;
	lab_end(lab, &driver, f);
}

/* A message about one queue makes one queue quiet: a reset that comes meanwhile is not done with the others running. */
static void reset_that_comes_while_one_queue_is_late_waits_for_all_of_them(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab = lab_up(f, &driver, 0);

	hurry(lab);
	lab->type.late = true;
	fake_send(f, VDUSE_MSG_GET_VQ_STATE, 0, 0);
	await_answer(lab, &response);
	assert_int_equal(response.result, 1);
	assert_int_equal(lab->type.stopped[0], 1);
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	type_quiesced(&lab->type, 0);
	lab_pump(lab);
	assert_int_equal(lab->type.resets, 1); /* queue 1 is being asked for */
	assert_int_equal(lab->type.stopped[1], 1);
	assert_int_equal(lab->type.started[0], 1); /* and the other does not run again */
	type_quiesced(&lab->type, 1);
	lab_pump(lab);
	assert_int_equal(lab->type.resets, 2);
	lab->type.late = false;
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_int_equal(lab->type.started[1], 2);
	lab_end(lab, &driver, f);
}

/* The lie is told before the driver resets the device, while it waits for that, or not at all. */
static void break_that_comes_before_a_reset_does_not_outlive_it(void **state)
{
	for (unsigned order = 0; order < 3; order++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab = lab_up(f, &driver, 0);

		if (order < 2)
			vireo_device_break(lab->device, "a lie"); /* as a worker says it */
		lab->type.late = true;
		if (order < 1)
			lab_pump(lab);
		fake_send(f, VDUSE_MSG_SET_STATUS, 0, 0);
		lab_pump(lab);
		if (order == 2)
			vireo_device_break(lab->device, "a lie");
		if (order == 2)
			lab_pump(lab);
		lab->type.late = false;
		type_quiesced(&lab->type, 0);
		type_quiesced(&lab->type, 1);
		lab_pump(lab);
		assert_non_null(strstr(lab->log, "broken: a lie"));
		assert_true(fake_answered(f, &(struct fake_response){ 0 }));
		assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
		assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
		assert_int_equal(lab->type.started[1], 2);
		lab_end(lab, &driver, f);
	}
}

/* The lie comes last: both are there when the last queue lets go. */
static void break_that_nobody_has_heard_of_does_not_outlive_a_reset(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	lab->type.late = true;
	fake_send(f, VDUSE_MSG_SET_STATUS, 0, 0);
	lab_pump(lab);
	vireo_device_break(lab->device, "a lie");
	type_quiesced(&lab->type, 0);
	lab->type.late = false;
	type_quiesced(&lab->type, 1);
	lab_pump(lab);
	assert_true(fake_answered(f, &(struct fake_response){ 0 }));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_int_equal(lab->type.started[1], 2);
	lab_end(lab, &driver, f);
}

static struct lab *lab_up_ready(struct fake *f, struct fake_driver *driver)
{
	struct lab *lab;

	f->api_max = 1;
	f->vduse_features = 3;
	lab = lab_up(f, driver, 0);
	hurry(lab);
	lab->type.late = true;
	return lab;
}

/* For long after others have been given up. */
static void assert_no_answer(struct lab *lab)
{
	struct fake_response response;

	for (unsigned i = 0; i < 5; i++) {
		lab_turn(lab, 20);
		assert_false(fake_answered(lab->f, &response));
	}
}

static void ready_is_never_refused_for_a_late_queue(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab = lab_up_ready(f, &driver);

	fake_send(f, VDUSE_MSG_SET_VQ_READY, 1, 0);
	assert_no_answer(lab);
	type_quiesced(&lab->type, 1);
	lab_pump(lab);
	assert_true(fake_answered(f, &response));
	assert_int_equal(response.result, 0);
	assert_false(f->queues[1].kick);
	lab->type.late = false;
	lab_end(lab, &driver, f);
}

static void ready_that_comes_while_messages_are_refused_waits_for_its_turn(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab = lab_up_ready(f, &driver);
	uint32_t id;

	fake_send_update(f);
	await_answer(lab, &response);
	assert_int_equal(response.result, 1);
	id = fake_send(f, VDUSE_MSG_SET_VQ_READY, 1, 0);
	assert_no_answer(lab);
	lab->type.late = false;
	type_quiesced(&lab->type, 0);
	type_quiesced(&lab->type, 1);
	lab_pump(lab);
	assert_true(fake_answered(f, &response));
	assert_int_equal(response.id, id);
	assert_int_equal(response.result, 0);
	assert_null(lab->type.running[1]);
	assert_non_null(lab->type.running[0]);
	lab_end(lab, &driver, f);
}

static void kernel_with_little_patience_is_answered_sooner(void **state)
{
	static const struct {
		int patience_s;
		uint64_t late_ms;
	} cases[] = { { 0, 5000 }, { 3, 500 }, { 30, 5000 }, { INT32_MAX, 5000 }, { -ENOENT, 5000 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake *f = fake_new();
		struct lab *lab = lab_new(f, 1);

		f->patience_s = cases[i].patience_s;
		assert_int_equal(lab_open(lab), 0);
		assert_int_equal(((struct vduse *)lab->endpoint)->late_ms, cases[i].late_ms);
		lab_free(lab);
		fake_free(f);
	}
}

static void answer_that_finds_no_room_is_written_later(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	f->write_error = -EAGAIN;
	assert_true(ask(lab, VDUSE_MSG_GET_VQ_STATE, 0, 0));
	lab_end(lab, &driver, f);
}

static void answer_that_nobody_waits_for_any_more_costs_nothing(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	f->write_error = -ENOENT;
	fake_send(f, VDUSE_MSG_GET_VQ_STATE, 0, 0);
	lab_pump(lab);
	assert_true(ask(lab, VDUSE_MSG_GET_VQ_STATE, 0, 0));
	assert_non_null(lab->type.running[0]);
	lab_end(lab, &driver, f);
}

static void kernel_that_talks_nonsense_loses_the_device_and_no_more(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	assert_int_equal(send(fake_peer_fd(f), "short", 5, 0), 5);
	lab_pump(lab);
	assert_non_null(strstr(lab->log, "/dev/vduse/test0: a message is cut short"));
	assert_null(lab->type.running[0]);
	assert_int_equal(lab->told, -EPROTO); /* by a turn that the fd has asked for */
	assert_false(vireo_endpoint_connected(lab->endpoint));
	lab_end(lab, &driver, f);
}

/* ---- the end ---- */

static void close_waits_for_the_queues(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	lab->type.late = true;
	vireo_endpoint_close(lab->endpoint, lab_closed, lab);
	lab_pump(lab);
	assert_int_equal(lab->closed, 0);
	type_quiesced(&lab->type, 1);
	type_quiesced(&lab->type, 0);
	assert_int_equal(lab->closed, 1);
	assert_int_equal(lab->type.disconnected, 1);
	lab->endpoint = NULL;
	assert_false(f->exists);
	lab_end(lab, &driver, f);
}

/* What a vdpa driver does when it is unbound: it resets the device, and waits for the answer. */
static int bus_remove_asks(void *opaque, const char *name)
{
	struct fake *f = opaque;
	struct pollfd poll_fd = { .fd = fake_peer_fd(f), .events = POLLIN };
	struct fake_response response;

	fake_send(f, VDUSE_MSG_SET_STATUS, 0, 0);
	if (poll(&poll_fd, 1, 20000) != 1 || !fake_answered(f, &response) || response.result)
		return -ETIMEDOUT;
	f->attached = false;
	return 0;
}

struct work {
	void (*work)(void *argument);
	void *argument;
	pthread_t thread;
};

static void *work_main(void *opaque)
{
	struct work *work = opaque;

	work->work(work->argument);
	return NULL;
}

static int thread_aside(void *opaque, void (*work)(void *argument), void *argument)
{
	struct work *thread = opaque;

	*thread = (struct work){ .work = work, .argument = argument };
	return -pthread_create(&thread->thread, NULL, work_main, thread);
}

static void driver_that_is_taken_off_has_its_messages_answered(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct work work;
	struct vireo_endpoint_config config = { .size = sizeof(config), .vduse = { .attach = VIREO_ATTACH_VIRTIO,
						.state_folder = f->folder }, .run_aside = thread_aside,
						.run_opaque = &work };
	struct vduse_kernel kernel = fake_kernel(f);

	kernel.bus_remove = bus_remove_asks;
	assert_int_equal(vduse_open_on(lab->device, FAKE_NAME, &config, &kernel, &lab->endpoint), 0);
	for (unsigned i = 0; i < 1000 && !strstr(lab->log, "attached to virtio_vdpa"); i++)
		lab_turn(lab, 20);
	pthread_join(work.thread, NULL);
	assert_true(f->attached);
	lab_close(lab);
	pthread_join(work.thread, NULL);
	assert_false(f->attached || f->exists);
	lab_free(lab);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_that_comes_with_the_first_buffer_is_found),
		cmocka_unit_test(queue_that_waits_for_memory_has_nothing_to_pop),
		cmocka_unit_test(message_that_overtakes_a_miss_makes_no_lie_of_it),
		cmocka_unit_test(chains_before_a_miss_are_served_first_and_once),
		cmocka_unit_test(address_that_is_nowhere_breaks_the_device_until_it_is_reset),
		cmocka_unit_test(indirect_table_that_is_not_there_yet_is_found),
		cmocka_unit_test(lie_that_is_no_miss_breaks_at_once),
		cmocka_unit_test(neighbours_of_one_file_are_one_region),
		cmocka_unit_test(read_only_range_is_read_and_never_written),
		cmocka_unit_test(range_to_the_end_of_all_addresses_is_survived),
		cmocka_unit_test(updates_without_a_pause_are_all_answered),
		cmocka_unit_test(update_waits_for_the_burst_and_unmaps_nothing_before),
		cmocka_unit_test(update_that_takes_the_rings_away_makes_them_wait),
		cmocka_unit_test(update_that_cannot_be_mapped_stops_the_device),
		cmocka_unit_test(update_maps_nothing_anew_that_has_not_changed),
		cmocka_unit_test(updates_come_one_in_a_turn),
		cmocka_unit_test(update_without_a_driver_asks_for_nothing),
		cmocka_unit_test(data_path_that_does_not_let_go_holds_up_no_answer),
		cmocka_unit_test(reset_that_comes_while_one_queue_is_late_waits_for_all_of_them),
		cmocka_unit_test(break_that_comes_before_a_reset_does_not_outlive_it),
		cmocka_unit_test(break_that_nobody_has_heard_of_does_not_outlive_a_reset),
		cmocka_unit_test(ready_is_never_refused_for_a_late_queue),
		cmocka_unit_test(ready_that_comes_while_messages_are_refused_waits_for_its_turn),
		cmocka_unit_test(kernel_with_little_patience_is_answered_sooner),
		cmocka_unit_test(answer_that_finds_no_room_is_written_later),
		cmocka_unit_test(answer_that_nobody_waits_for_any_more_costs_nothing),
		cmocka_unit_test(kernel_that_talks_nonsense_loses_the_device_and_no_more),
		cmocka_unit_test(close_waits_for_the_queues),
		cmocka_unit_test(driver_that_is_taken_off_has_its_messages_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
