/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/lab_test.h"

/* Devices come and go, and what the driver says is done. */

/* At once, and as if it were another thread: the fake bus waits for nobody. */
static int lab_aside(void *opaque, void (*work)(void *argument), void *argument)
{
	work(argument);
	return 0;
}

static int no_aside(void *opaque, void (*work)(void *argument), void *argument)
{
	return *(bool *)opaque ? -EAGAIN : lab_aside(NULL, work, argument);
}

/* ---- the control file ---- */

static void newest_api_version_is_taken(void **state)
{
	for (uint64_t api = 0; api < 3; api++) {
		struct fake *f = fake_new();
		struct lab *lab = lab_new(f, 1);

		f->api_max = api;
		assert_int_equal(lab_open(lab), 0);
		assert_int_equal(f->api, api ? 1 : 0);
		assert_int_equal(f->config.group_count, api ? 1 : 0);
		assert_int_equal(f->config.space_count, api ? 1 : 0);
		lab_free(lab);
		fake_free(f);
	}
}

static void only_features_that_the_kernel_has_are_asked_for(void **state)
{
	for (uint64_t has = 0; has < 8; has++) {
		struct fake *f = fake_new();
		struct lab *lab = lab_new(f, 1);

		f->api_max = 1;
		f->vduse_features = has;
		assert_int_equal(lab_open(lab), 0);
		assert_int_equal(f->taken_features, has & 3);
		lab_free(lab);
		fake_free(f);
	}
}

static void network_device_is_offered_without_what_the_kernel_forbids(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	assert_true(f->config.features == (F(VERSION_1) | F(RING_INDIRECT_DESC) | F(RING_EVENT_IDX) |
					   F(RING_PACKED) | NET_MAC | F_PLATFORM));
	assert_int_equal(f->config.queue_count, 2);
	assert_int_equal(f->config.device_id, 1);
	assert_string_equal(f->config.name, FAKE_NAME);
	assert_int_equal(f->config.config_bytes, 16);
	assert_memory_equal(f->space, "0123456789abcdef", 16);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(f->queues[i].size_max, 256);
	lab_free(lab);
	fake_free(f);
}

static void other_device_types_are_refused(void **state)
{
	static const uint32_t types[] = { 4, 8 }; /* entropy, and SCSI */

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct fake *f = fake_new();
		struct lab *lab = lab_new(f, types[i]);

		assert_int_equal(lab_open(lab), -EOPNOTSUPP);
		assert_non_null(strstr(lab->log, "takes no device of type"));
		assert_null(lab->endpoint);
		lab_free(lab);
		fake_free(f);
	}
}

static void what_the_environment_lacks_is_told_apart(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct vireo_endpoint_config config = { .vduse.attach = VIREO_ATTACH_VIRTIO, .run_aside = lab_aside };

	f->no_module = true;
	assert_int_equal(lab_open(lab), -ENOENT);
	f->no_bus = true; /* it is the module that brings the bus */
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), -ENOENT);
	f->no_module = false;
	f->no_permission = true;
	assert_int_equal(lab_open(lab), -EACCES);
	f->no_permission = false;
	f->no_bus = true;
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), -EPROTONOSUPPORT);
	f->no_bus = false;
	f->no_driver = true;
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), -ENODEV);
	assert_false(f->exists);
	assert_null(lab->endpoint);
	lab_free(lab);
	assert_int_equal(rmdir(f->folder), 0); /* no file was left */
	fake_free(f);
}

static void bad_addresses_and_settings_are_refused(void **state)
{
	static const char *const names[] = { "", "control", "a/b", "..", ".a", "a b", "a,b" };
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct vireo_endpoint_config config = { 0 };
	char name[70] = "";

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(lab_open_as(lab, names[i], &config), -EINVAL);
	memset(name, 'x', VDUSE_NAME_BYTES);
	assert_int_equal(lab_open_as(lab, name, &config), -EINVAL);
	config.vduse.queue_size = 100;
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), -EINVAL);
	config.vduse.queue_size = 512; /* more than the device has */
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), -EINVAL);
	config = (struct vireo_endpoint_config){ .vduse.attach = VIREO_ATTACH_VIRTIO }; /* and nobody to do it */
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), -EINVAL);
	config = (struct vireo_endpoint_config){ .vduse.attach = 3, .run_aside = lab_aside };
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), -EINVAL);
	assert_int_equal(vireo_endpoint_open(lab->device, "vduse:", NULL, &lab->endpoint), -EINVAL);
	lab_free(lab);
	fake_free(f);
}

static void queue_size_is_offered_as_asked(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct vireo_endpoint_config config = { .vduse.queue_size = 64 };

	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), 0);
	assert_int_equal(f->queues[1].size_max, 64);
	lab_free(lab);
	fake_free(f);
}

/* ---- attaching and the end ---- */

static void device_is_attached_and_taken_off_by_us(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct vireo_endpoint_config config = { .vduse.attach = VIREO_ATTACH_VHOST, .run_aside = lab_aside };

	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), 0);
	assert_false(f->attached);
	lab_pump(lab);
	assert_true(f->attached);
	assert_non_null(strstr(lab->log, "attached to vhost_vdpa"));
	lab_free(lab);
	assert_false(f->attached || f->exists);
	assert_int_equal(f->destroyed, 1);
	fake_free(f);
}

static void device_that_cannot_be_attached_is_lost_with_a_line(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct vireo_endpoint_config config = { .vduse.attach = VIREO_ATTACH_VIRTIO, .run_aside = lab_aside };

	f->attach_error = -EPERM;
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), 0);
	lab_pump(lab);
	assert_non_null(strstr(lab->log, "vduse:test0 cannot be attached to virtio_vdpa: Operation not permitted"));
	assert_int_equal(lab->told, -EPERM); /* by a turn that the fd has asked for */
	lab_free(lab);
	assert_false(f->exists);
	fake_free(f);
}

static void without_a_thread_nothing_is_attached_and_nothing_taken_off(void **state)
{
	for (unsigned attached = 0; attached < 2; attached++) {
		struct fake *f = fake_new();
		struct lab *lab = lab_new(f, 1);
		bool none = !attached;
		struct vireo_endpoint_config config = { .vduse.attach = VIREO_ATTACH_VIRTIO, .run_aside = no_aside,
							.run_opaque = &none };

		assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), 0);
		lab_pump(lab);
		assert_int_equal(f->attached, attached);
		if (!attached)
			assert_non_null(strstr(lab->log, "cannot be attached to virtio_vdpa: Resource temporarily"));
		none = true;
		lab_close(lab);
		assert_int_equal(f->removes, 0);
		assert_int_equal(f->exists, attached);
		f->attached = false;
		lab_free(lab);
		fake_free(f);
	}
}

/* The kernel would wait until the program ends, with the host's netlink locked, and nobody could kill us. */
static void device_that_a_program_has_open_stays_for_a_successor(void **state)
{
	for (unsigned driver_at_it = 0; driver_at_it < 2; driver_at_it++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab = lab_new(f, 1);
		struct vireo_endpoint_config config = { .vduse.attach = VIREO_ATTACH_VHOST, .run_aside = lab_aside };

		driver_new(f, &driver, F(RING_PACKED), SIZE);
		assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), 0);
		lab_pump(lab);
		if (driver_at_it)
			assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
		else
			f->remove_error = -EBUSY; /* what the kernel's side says of one that has only opened it */
		lab_close(lab);
		lab->closed = 0;
		assert_int_equal(f->removes, !driver_at_it);
		assert_true(f->attached && f->exists);
		assert_non_null(strstr(lab->log, "/dev/vduse/test0 is in use, and stays for a successor"));
		assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), 0); /* it finds its file */
		lab_pump(lab);
		assert_int_equal(lab->type.started[1], driver_at_it * 2);
		if (driver_at_it)
			assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0)); /* the program has ended */
		f->remove_error = 0;
		lab_free(lab);
		assert_false(f->attached || f->exists);
		driver_free(&driver);
		fake_free(f);
	}
}

static void closing_before_the_first_turn_leaves_nothing(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	vireo_endpoint_close(lab->endpoint, lab_closed, lab);
	assert_int_equal(lab->closed, 1);
	lab->endpoint = NULL;
	assert_false(f->exists);
	assert_int_equal(lab->type.connected, 0);
	lab_free(lab);
	fake_free(f);
}

/* ---- status ---- */

static void driver_comes_up_and_is_served(void **state)
{
	static const uint64_t variants[] = { 0, F(RING_EVENT_IDX), F(RING_PACKED), F(RING_PACKED) | F(RING_EVENT_IDX) };

	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab = lab_up(f, &driver, variants[i]);

		assert_true(vireo_device_features(lab->device) == (variants[i] | F(VERSION_1)));
		assert_int_equal(vireo_device_status(lab->device), STATUS_OK);
		assert_true(vireo_endpoint_connected(lab->endpoint));
		assert_int_equal(lab->type.started[0], 1);
		assert_int_equal(lab->type.started[1], 1);
		assert_true(f->queues[0].kick && f->queues[1].kick);
		for (uintptr_t n = 1; n <= 3 * SIZE; n++) {
			memset(f->memory + 4096, (int)n, 64);
			driver_add(&driver, 1, 4096, 64, n);
			assert_true(serve_one(lab, 1));
			assert_int_equal(lab->held[63], n);
			assert_int_equal(driver_get(&driver, 1), n);
		}
		assert_true(f->queues[1].irqs);
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

static void reset_stops_everything_and_the_next_driver_begins_anew(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	assert_int_equal(lab->type.stopped[0], 1);
	assert_null(lab->type.running[0]);
	assert_false(vireo_endpoint_connected(lab->endpoint));
	assert_int_equal(vireo_device_features(lab->device), 0);
	driver_free(&driver);
	driver_new(f, &driver, F(RING_PACKED), SIZE);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	driver_add(&driver, 0, 0, 10, 5);
	assert_true(serve_one(lab, 0));
	assert_int_equal(driver_get(&driver, 0), 5);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void status_that_comes_again_changes_nothing(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, F(RING_PACKED));

	driver_add(&driver, 0, 0, 10, 5);
	assert_true(serve_one(lab, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	driver_add(&driver, 0, 0, 10, 6);
	assert_true(serve_one(lab, 0));
	assert_int_equal(driver_get(&driver, 0), 5);
	assert_int_equal(driver_get(&driver, 0), 6);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void features_are_refused_by_refusing_features_ok(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	f->features = F(VERSION_1) | F_PLATFORM | NET_CTRL; /* not offered */
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_non_null(strstr(lab->log, "SET_STATUS (1) refused: features that were not offered"));
	f->features = F(VERSION_1) | F_PLATFORM;
	lab->type.refused = F(VERSION_1);
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	lab->type.refused = 0;
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	lab_free(lab);
	fake_free(f);
}

static void queue_that_is_not_ready_is_left_alone(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	driver_new(f, &driver, 0, SIZE);
	f->queues[1].info.ready = 0;
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_int_equal(lab->type.started[0], 1);
	assert_int_equal(lab->type.started[1], 0);
	assert_false(f->queues[1].kick);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void set_up_that_lies_is_refused_or_breaks_the_device(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	driver_new(f, &driver, 0, SIZE);
	f->queues[0].info.size = 3; /* split: no power of two */
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	f->queues[0].info.size = 512; /* more than was offered */
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	f->queues[0].info.size = SIZE;
	f->queues[0].info.desc = UINT64_C(1) << 40;
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_non_null(strstr(lab->log, "broken: queue 0: the ring's addresses are not in guest memory"));
	assert_null(lab->type.running[0]);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

/* ---- signals, config space ---- */

static void signal_that_comes_before_the_kernel_is_ready_is_repeated(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	driver_new(f, &driver, 0, SIZE);
	driver_add(&driver, 1, 0, 10, 5);
	fake_send(f, VDUSE_MSG_SET_STATUS, STATUS_OK, 0);
	lab_turn(lab, 10);
	assert_true(fake_answered(f, &response)); /* but the kernel's thread has not run yet */
	assert_true(serve_one(lab, 1));
	assert_int_equal(f->queues[1].irqs, 0);
	f->status = STATUS_OK;
	lab_pump(lab);
	assert_true(f->queues[1].irqs);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void config_space_that_changes_before_the_kernel_is_ready_is_told_later(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	driver_new(f, &driver, 0, SIZE);
	fake_send(f, VDUSE_MSG_SET_STATUS, STATUS_OK, 0);
	lab_turn(lab, 10);
	assert_true(fake_answered(f, &response)); /* but the kernel's thread has not run yet */
	assert_int_equal(vireo_device_config_set(lab->device, 4, "XY", 2), 0);
	assert_int_equal(f->config_irqs, 0);
	f->status = STATUS_OK;
	lab_pump(lab);
	assert_int_equal(f->config_irqs, 1);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void config_space_that_changes_is_told(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	assert_int_equal(vireo_device_config_set(lab->device, 4, "XY", 2), 0);
	assert_memory_equal(f->space, "0123XY6789abcdef", 16);
	assert_int_equal(f->config_irqs, 1);
	f->status = 0; /* nobody to tell, but the kernel's copy is right for the next */
	assert_int_equal(vireo_device_config_set(lab->device, 0, "Z", 1), 0);
	assert_memory_equal(f->space, "Z123XY6789abcdef", 16);
	assert_int_equal(f->config_irqs, 1);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

/* ---- where a queue stands ---- */

static void state_of_a_queue_is_told_and_it_goes_on(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct fake_response response;
		struct lab *lab = lab_up(f, &driver, packed ? F(RING_PACKED) : 0);
		union vduse_wire_state told;

		for (uintptr_t n = 1; n <= SIZE + 3; n++) {
			driver_add(&driver, 1, 0, 10, n);
			assert_true(serve_one(lab, 1));
			assert_int_equal(driver_get(&driver, 1), n);
		}
		assert_true(ask_for(lab, VDUSE_MSG_GET_VQ_STATE, 1, 0, &response));
		memcpy(&told, &response.body[1], sizeof(told));
		if (packed) { /* the second lap */
			assert_int_equal(told.packed.avail_pos, 3);
			assert_int_equal(told.packed.used_pos, 3);
			assert_int_equal(told.packed.avail_wrap, 0);
		} else {
			assert_int_equal(told.split, SIZE + 3);
		}
		driver_add(&driver, 1, 0, 10, 99);
		assert_true(serve_one(lab, 1));
		assert_false(ask(lab, VDUSE_MSG_GET_VQ_STATE, 2, 0));
		assert_false(ask(lab, VDUSE_MSG_GET_VQ_STATE, UINT32_MAX, 0));
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

static void state_of_a_queue_that_has_not_run_is_the_kernels(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	struct fake_response response;
	uint16_t told;

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	f->queues[0].info.state.split = 4711;
	assert_true(ask_for(lab, VDUSE_MSG_GET_VQ_STATE, 0, 0, &response));
	memcpy(&told, &response.body[1], sizeof(told));
	assert_int_equal(told, 4711);
	lab_free(lab);
	fake_free(f);
}

/* ---- what API 1 and newer kernels add ---- */

static struct lab *lab_up_newest_with(struct fake *f, struct fake_driver *driver, uint64_t features)
{
	f->api_max = 1;
	f->vduse_features = 3;
	return lab_up(f, driver, features);
}

static struct lab *lab_up_newest(struct fake *f, struct fake_driver *driver)
{
	return lab_up_newest_with(f, driver, 0);
}

static void queue_is_started_and_stopped_by_name(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up_newest(f, &driver);

	assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 0));
	assert_int_equal(lab->type.stopped[1], 1);
	assert_false(f->queues[1].kick);
	assert_non_null(lab->type.running[0]);
	assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 1));
	assert_int_equal(lab->type.started[1], 2);
	assert_true(f->queues[1].kick);
	driver_add(&driver, 1, 0, 10, 5);
	assert_true(serve_one(lab, 1));
	assert_false(ask(lab, VDUSE_MSG_SET_VQ_READY, 2, 1));
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void assert_rounds(struct lab *lab, struct fake_driver *driver, unsigned count)
{
	for (uintptr_t n = 1; n <= count; n++) {
		driver_add(driver, 1, 0, 10, n);
		assert_true(serve_one(lab, 1));
		assert_int_equal(driver_get(driver, 1), n);
	}
	assert_false(serve_one(lab, 1));
}

/* The kernel names the place where the queue began, for ever. */
static void queue_that_is_stopped_by_name_goes_on_where_it_was(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab = lab_up_newest_with(f, &driver, packed ? F(RING_PACKED) : 0);

		assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 0)); /* before any traffic */
		assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 1));
		assert_rounds(lab, &driver, SIZE + 3);
		assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 0));
		driver_add(&driver, 1, 0, 10, 99); /* nobody looks */
		assert_null(lab->type.running[1]);
		assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 1));
		assert_true(serve_one(lab, 1));
		assert_int_equal(driver_get(&driver, 1), 99);
		assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 1)); /* ready already */
		assert_rounds(lab, &driver, SIZE + 3);
		assert_null(strstr(lab->log, "broken"));
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

static void queue_that_is_set_up_anew_begins_where_the_driver_says(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up_newest_with(f, &driver, F(RING_PACKED));

	assert_rounds(lab, &driver, SIZE + 3);
	assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 0));
	driver_ring_free(driver.rings[1]);
	driver_queue(&driver, 1, SIZE / 2);
	assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 1, 1));
	assert_rounds(lab, &driver, SIZE + 3);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void queue_larger_than_was_announced_is_refused(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct vireo_endpoint_config config = { .vduse.queue_size = 4 };
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), 0);
	lab_pump(lab);
	driver_new(f, &driver, F(RING_PACKED), SIZE);
	assert_false(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void queue_that_is_made_ready_early_waits_for_the_driver(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);

	f->api_max = 1;
	f->vduse_features = 3;
	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	assert_true(ask(lab, VDUSE_MSG_SET_VQ_READY, 0, 1));
	assert_int_equal(lab->type.started[0], 0);
	lab_free(lab);
	fake_free(f);
}

static void suspended_device_runs_nothing_until_it_is_reset(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up_newest(f, &driver);

	assert_true(ask(lab, VDUSE_MSG_SUSPEND, 0, 0));
	assert_null(lab->type.running[0]);
	assert_true(ask(lab, VDUSE_MSG_GET_VQ_STATE, 0, 0));
	assert_true(ask_update(lab));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_null(lab->type.running[0]);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_non_null(lab->type.running[0]);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void there_is_one_group_in_one_address_space(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up_newest(f, &driver);

	assert_true(ask(lab, VDUSE_MSG_SET_VQ_GROUP_ASID, 0, 0));
	assert_false(ask(lab, VDUSE_MSG_SET_VQ_GROUP_ASID, 1, 0));
	assert_false(ask(lab, VDUSE_MSG_SET_VQ_GROUP_ASID, 0, 1));
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void messages_that_were_not_negotiated_are_refused(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, 0);

	assert_false(ask(lab, VDUSE_MSG_SET_VQ_GROUP_ASID, 0, 0));
	assert_false(ask(lab, VDUSE_MSG_SET_VQ_READY, 0, 0));
	assert_false(ask(lab, VDUSE_MSG_SUSPEND, 0, 0));
	assert_false(ask(lab, VDUSE_MSG_COUNT, 0, 0));
	assert_false(ask(lab, UINT32_MAX, 0, 0));
	assert_non_null(lab->type.running[0]);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(newest_api_version_is_taken),
		cmocka_unit_test(only_features_that_the_kernel_has_are_asked_for),
		cmocka_unit_test(network_device_is_offered_without_what_the_kernel_forbids),
		cmocka_unit_test(other_device_types_are_refused),
		cmocka_unit_test(what_the_environment_lacks_is_told_apart),
		cmocka_unit_test(bad_addresses_and_settings_are_refused),
		cmocka_unit_test(queue_size_is_offered_as_asked),
		cmocka_unit_test(device_is_attached_and_taken_off_by_us),
		cmocka_unit_test(device_that_cannot_be_attached_is_lost_with_a_line),
		cmocka_unit_test(without_a_thread_nothing_is_attached_and_nothing_taken_off),
		cmocka_unit_test(device_that_a_program_has_open_stays_for_a_successor),
		cmocka_unit_test(closing_before_the_first_turn_leaves_nothing),
		cmocka_unit_test(driver_comes_up_and_is_served),
		cmocka_unit_test(reset_stops_everything_and_the_next_driver_begins_anew),
		cmocka_unit_test(status_that_comes_again_changes_nothing),
		cmocka_unit_test(features_are_refused_by_refusing_features_ok),
		cmocka_unit_test(queue_that_is_not_ready_is_left_alone),
		cmocka_unit_test(set_up_that_lies_is_refused_or_breaks_the_device),
		cmocka_unit_test(signal_that_comes_before_the_kernel_is_ready_is_repeated),
		cmocka_unit_test(config_space_that_changes_before_the_kernel_is_ready_is_told_later),
		cmocka_unit_test(config_space_that_changes_is_told),
		cmocka_unit_test(state_of_a_queue_is_told_and_it_goes_on),
		cmocka_unit_test(state_of_a_queue_that_has_not_run_is_the_kernels),
		cmocka_unit_test(queue_is_started_and_stopped_by_name),
		cmocka_unit_test(queue_that_is_stopped_by_name_goes_on_where_it_was),
		cmocka_unit_test(queue_that_is_set_up_anew_begins_where_the_driver_says),
		cmocka_unit_test(queue_larger_than_was_announced_is_refused),
		cmocka_unit_test(queue_that_is_made_ready_early_waits_for_the_driver),
		cmocka_unit_test(suspended_device_runs_nothing_until_it_is_reset),
		cmocka_unit_test(there_is_one_group_in_one_address_space),
		cmocka_unit_test(messages_that_were_not_negotiated_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
