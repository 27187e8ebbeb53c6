/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/opener_lab.h"

/* A node that is a SCSI target: what callers of /dev/vhost-scsi's ioctls get, honest ones and others. */

#define NAME "naa.5001405bd453b1d7"

static struct lab *target_new(void)
{
	return lab_make_as(true, NAME);
}

static struct vhost_scsi_target named(const char *name)
{
	struct vhost_scsi_target target = { 0 };

	memcpy(target.vhost_wwpn, name, strlen(name));
	return target;
}

static int endpoint_set(struct lab *lab, const char *name)
{
	static struct vhost_scsi_target target; /* a call that waits reads it later */

	target = named(name);
	return ask(lab, VHOST_SCSI_SET_ENDPOINT, &target);
}

static int endpoint_clear(struct lab *lab, const char *name)
{
	static struct vhost_scsi_target target;

	target = named(name);
	return ask(lab, VHOST_SCSI_CLEAR_ENDPOINT, &target);
}

/* Rings 0 and 1 are set up, and have not begun. */
static struct lab *target_set_up(void)
{
	struct lab *lab = target_new();

	owned(lab);
	ring_set_up(lab, 0);
	ring_set_up(lab, 1);
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	return lab;
}

static void rings_begin_together_and_end_together(void **state)
{
	struct lab *lab = target_set_up();
	const struct lab_type *type = &lab->devices[0].type;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(endpoint_set(lab, NAME), 0);
		assert_non_null(type->running[0]);
		assert_non_null(type->running[1]);
		assert_int_equal(endpoint_clear(lab, NAME), 0);
		assert_null(type->running[0]);
		assert_null(type->running[1]);
	}
	assert_int_equal(endpoint_clear(lab, NAME), 0); /* that there is none is no error */
	lab_free(lab);
}

/* Requests of ring 0: three are done, in any order, and two wait. */
static void three_are_done_and_two_wait(struct lab *lab)
{
	struct split_desc *descs = (void *)lab->memory;
	struct split_avail *avail = (void *)(lab->memory + 0x1000);
	struct vireo_queue *queue = lab->devices[0].type.running[0];
	struct vireo_chain chains[3];
	struct iovec iov[3 * VIREO_CHAIN_PIECES_MAX(SIZE)];

	for (uint16_t i = 0; i < 5; i++) {
		descs[i] = (struct split_desc){ .addr = GPA + 0x80000 + 64 * i, .len = 16 };
		avail->ring[i] = i;
	}
	__atomic_store_n(&avail->idx, 3, __ATOMIC_RELEASE);
	assert_int_equal(vireo_queue_pop(queue, chains, 3, iov, ARRAY_SIZE(iov)), 3);
	for (unsigned i = 3; i--;)
		vireo_queue_push(queue, &chains[i], 0);
	vireo_queue_flush(queue);
	__atomic_store_n(&avail->idx, 5, __ATOMIC_RELEASE);
}

/* Another process has the guest now, and opens the node. */
static bool begins_elsewhere(struct lab *lab, uint32_t base)
{
	release(lab, lab->opener);
	lab->opener = lab_open(lab);
	owned(lab);
	ring_set_up(lab, 0);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_BASE, 0, base), 0);
	endpoint_set(lab, NAME);
	return lab->devices[1].type.running[0];
}

static void requests_that_wait_move_with_their_guest(void **state)
{
	for (unsigned stopped = 0; stopped < 3; stopped++) {
		struct vhost_vring_state base = { .index = 0 };
		struct lab *lab = target_new();
		struct vireo_chain chains[2];
		struct iovec iov[2 * VIREO_CHAIN_PIECES_MAX(SIZE)];

		lab->out_of_order = true;
		owned(lab);
		ring_set_up(lab, 0);
		assert_int_equal(endpoint_set(lab, NAME), 0);
		three_are_done_and_two_wait(lab);
		if (stopped == 2) /* as QEMU does */
			assert_int_equal(endpoint_clear(lab, NAME), 0);
		if (stopped)
			assert_int_equal(ask(lab, VHOST_GET_VRING_BASE, &base), 0);
		if (stopped == 1)
			assert_int_equal(ask_fd(lab, VHOST_SET_VRING_KICK, 0, -1), 0);
		assert_int_equal(stopped ? base.num : 3, 3);
		assert_int_equal(begins_elsewhere(lab, 3), stopped != 0);
		assert_int_equal(logged(lab, "chains were in flight, and nothing tells which"), !stopped);
		if (stopped) {
			assert_int_equal(vireo_queue_pop(lab->devices[1].type.running[0], chains, 2, iov, ARRAY_SIZE(iov)), 2);
			vireo_queue_unpop(lab->devices[1].type.running[0], chains, 2);
		}
		lab_free(lab);
	}
}

/* linux/vhost_types.h: since version 1 vhost_tpgt is ignored, and whoever names the target sees all that is behind it. */
static void the_tag_of_a_portal_group_is_ignored(void **state)
{
	struct lab *lab = target_set_up();
	struct vhost_scsi_target target = named(NAME);

	target.vhost_tpgt = 7;
	target.abi_version = 99;
	assert_int_equal(ask(lab, VHOST_SCSI_SET_ENDPOINT, &target), 0);
	assert_int_equal(type_total(lab->devices[0].type.started), 2);
	lab_free(lab);
}

static void the_version_of_the_interface_is_told_to_anybody(void **state)
{
	struct lab *lab = target_new();
	int version = -1;

	assert_int_equal(ask(lab, VHOST_SCSI_GET_ABI_VERSION, &version), 0);
	assert_int_equal(version, VHOST_SCSI_ABI_VERSION);
	assert_int_equal(lab->device_count, 0); /* who only asks needs no device */
	lab_free(lab);
}

static void rings_keep_their_size_and_base_while_the_endpoint_is_set(void **state)
{
	struct lab *lab = target_set_up();

	assert_int_equal(endpoint_set(lab, NAME), 0);
	for (uint32_t ring = 0; ring < QUEUES; ring++) { /* those that have not been set up as well */
		assert_int_equal(ask_state(lab, VHOST_SET_VRING_NUM, ring, SIZE), -EBUSY);
		assert_int_equal(ask_state(lab, VHOST_SET_VRING_BASE, ring, 0), -EBUSY);
	}
	assert_int_equal(endpoint_clear(lab, NAME), 0);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_NUM, 0, SIZE), 0);
	lab_free(lab);
}

static void events_that_were_missed_are_told_and_set(void **state)
{
	struct lab *lab = target_set_up();
	uint32_t missed = 7;

	assert_int_equal(ask(lab, VHOST_SCSI_GET_EVENTS_MISSED, &missed), 0);
	assert_int_equal(missed, 0);
	missed = 0x80000000;
	assert_int_equal(ask(lab, VHOST_SCSI_SET_EVENTS_MISSED, &missed), 0);
	assert_true(lab->devices[0].missed);
	assert_int_equal(ask(lab, VHOST_SCSI_GET_EVENTS_MISSED, &missed), 0);
	assert_int_equal(missed, 1);
	missed = 0;
	assert_int_equal(ask(lab, VHOST_SCSI_SET_EVENTS_MISSED, &missed), 0);
	assert_false(lab->devices[0].missed);
	lab_free(lab);
}

/* ---- lies ---- */

static void a_target_that_is_another_is_none(void **state)
{
	static const char *const others[] = { "", "naa.5001405bd453b1d", "naa.5001405bd453b1d70", "naa.5001405bd453b1d8", "NAA.5001405bd453b1d7" };
	struct lab *lab = target_set_up();
	struct vhost_scsi_target endless;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_int_equal(endpoint_set(lab, others[i]), -ENODEV);
		assert_int_equal(endpoint_clear(lab, others[i]), 0); /* nothing is set */
	}
	memset(&endless, 'n', sizeof(endless));
	endless.reserved = 0;
	assert_int_equal(ask(lab, VHOST_SCSI_SET_ENDPOINT, &endless), -ENODEV);
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	assert_true(logged(lab, "there is no such target here"));
	lab_free(lab);
}

static void another_target_does_not_end_this_one(void **state)
{
	struct lab *lab = target_set_up();

	assert_int_equal(endpoint_set(lab, NAME), 0);
	assert_int_equal(endpoint_clear(lab, "naa.5001405bd453b1d8"), -EINVAL);
	assert_int_equal(endpoint_set(lab, NAME), -EEXIST);
	assert_non_null(lab->devices[0].type.running[0]);
	assert_non_null(lab->devices[0].type.running[1]);
	lab_free(lab);
}

static void reserved_bytes_that_are_not_zero_are_refused(void **state)
{
	struct lab *lab = target_set_up();
	struct vhost_scsi_target target = named(NAME);

	target.reserved = 1;
	assert_int_equal(ask(lab, VHOST_SCSI_SET_ENDPOINT, &target), -EOPNOTSUPP);
	assert_int_equal(ask(lab, VHOST_SCSI_CLEAR_ENDPOINT, &target), -EOPNOTSUPP);
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	lab_free(lab);
}

static void a_ring_outside_memory_keeps_all_from_beginning(void **state)
{
	struct lab *lab = target_set_up();
	struct vhost_vring_addr addr = ring_addr(lab, 1);

	addr.used_user_addr = (uintptr_t)lab->memory + MEMORY_BYTES;
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
	assert_int_equal(endpoint_set(lab, NAME), -EFAULT);
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	addr = ring_addr(lab, 1);
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
	assert_int_equal(endpoint_set(lab, NAME), 0);
	assert_int_equal(type_total(lab->devices[0].type.started), 2);
	lab_free(lab);
}

/* A kick is all that some ring has: it has not been set up, and that is told before anything runs. */
static void a_ring_with_a_kick_alone_keeps_all_from_beginning(void **state)
{
	struct lab *lab = target_set_up();

	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_KICK, 2, lab->kick), 0);
	assert_int_equal(endpoint_set(lab, NAME), -EINVAL);
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	lab_free(lab);
}

static void nothing_begins_without_an_owner_or_by_another(void **state)
{
	static const uint32_t owners_only[] = { VHOST_SCSI_SET_ENDPOINT, VHOST_SCSI_CLEAR_ENDPOINT, VHOST_SCSI_SET_EVENTS_MISSED,
						VHOST_SCSI_GET_EVENTS_MISSED };
	struct lab *lab = target_new();
	struct vhost_scsi_target target = named(NAME);
	pid_t child;

	for (size_t i = 0; i < ARRAY_SIZE(owners_only); i++)
		assert_int_equal(ask(lab, owners_only[i], &target), -EPERM);
	owned(lab);
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(owners_only); i++)
		assert_int_equal(ask_as(lab, lab->opener, child, owners_only[i], &target), -EPERM);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	lab_free(lab);
}

static void reset_owner_ends_the_endpoint(void **state)
{
	struct lab *lab = target_set_up();

	assert_int_equal(endpoint_set(lab, NAME), 0);
	assert_int_equal(ask(lab, VHOST_RESET_OWNER, NULL), 0);
	assert_null(lab->devices[0].type.running[0]);
	owned(lab);
	ring_set_up(lab, 0);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(endpoint_set(lab, NAME), 0); /* and not EEXIST */
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* The lie is told on ring 1; ring 0 ends with it, and with it the endpoint. */
static void a_device_that_was_lied_to_has_no_endpoint(void **state)
{
	struct lab *lab = target_set_up();
	struct vireo_device *device = lab->devices[0].device;

	assert_int_equal(endpoint_set(lab, NAME), 0);
	vireo_device_break(device, "a lie");
	pump(lab);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(endpoint_set(lab, NAME), -EIO);
	assert_int_equal(ask(lab, VHOST_RESET_OWNER, NULL), 0);
	owned(lab);
	ring_set_up(lab, 0);
	assert_int_equal(endpoint_set(lab, NAME), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* ---- each node has ioctls of its own ---- */

static void a_target_has_no_back_end_for_each_ring(void **state)
{
	struct lab *lab = target_set_up();

	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), -ENOTTY);
	assert_int_equal(type_total(lab->devices[0].type.started), 0);
	lab_free(lab);
}

static void a_node_that_is_no_target_has_no_endpoint(void **state)
{
	static const uint32_t none[] = { VHOST_SCSI_SET_ENDPOINT, VHOST_SCSI_CLEAR_ENDPOINT, VHOST_SCSI_GET_ABI_VERSION,
					 VHOST_SCSI_SET_EVENTS_MISSED, VHOST_SCSI_GET_EVENTS_MISSED };
	struct lab *lab = lab_new();
	struct vhost_scsi_target target = named(NAME);

	owned(lab);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(ask(lab, none[i], &target), -ENOTTY);
	lab_free(lab);
}

static void a_device_without_events_has_missed_none(void **state)
{
	struct lab *lab = target_new();
	uint32_t missed = 1;

	lab->has_events = false;
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(ask(lab, VHOST_SCSI_SET_EVENTS_MISSED, &missed), -EOPNOTSUPP);
	assert_int_equal(ask(lab, VHOST_SCSI_GET_EVENTS_MISSED, &missed), -EOPNOTSUPP);
	lab_free(lab);
}

static void a_name_that_no_ioctl_can_say_is_none(void **state)
{
	char name[sizeof(((struct vhost_scsi_target *)NULL)->vhost_wwpn) + 1] = "";
	struct vireo_endpoint_config config = { .size = sizeof(config), .cuse.target = name };
	struct cuse_endpoint *endpoint;
	struct lab *lab = lab_new();

	assert_int_equal(cuse_endpoint_new(lab->like, "n", &config, &endpoint), -EINVAL);
	memset(name, 'n', sizeof(name) - 1);
	assert_int_equal(cuse_endpoint_new(lab->like, "n", &config, &endpoint), -EINVAL);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rings_begin_together_and_end_together),
		cmocka_unit_test(requests_that_wait_move_with_their_guest),
		cmocka_unit_test(the_tag_of_a_portal_group_is_ignored),
		cmocka_unit_test(the_version_of_the_interface_is_told_to_anybody),
		cmocka_unit_test(rings_keep_their_size_and_base_while_the_endpoint_is_set),
		cmocka_unit_test(events_that_were_missed_are_told_and_set),
		cmocka_unit_test(a_target_that_is_another_is_none),
		cmocka_unit_test(another_target_does_not_end_this_one),
		cmocka_unit_test(reserved_bytes_that_are_not_zero_are_refused),
		cmocka_unit_test(a_ring_outside_memory_keeps_all_from_beginning),
		cmocka_unit_test(a_ring_with_a_kick_alone_keeps_all_from_beginning),
		cmocka_unit_test(nothing_begins_without_an_owner_or_by_another),
		cmocka_unit_test(reset_owner_ends_the_endpoint),
		cmocka_unit_test(a_device_that_was_lied_to_has_no_endpoint),
		cmocka_unit_test(a_target_has_no_back_end_for_each_ring),
		cmocka_unit_test(a_node_that_is_no_target_has_no_endpoint),
		cmocka_unit_test(a_device_without_events_has_missed_none),
		cmocka_unit_test(a_name_that_no_ioctl_can_say_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
