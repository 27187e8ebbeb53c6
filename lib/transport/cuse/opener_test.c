/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/driver_test.h"

/* What honest callers of the VHOST_* ioctls get. */

static uint64_t features_of(struct lab *lab)
{
	uint64_t features = 0;

	assert_int_equal(ask(lab, VHOST_GET_FEATURES, &features), 0);
	return features;
}

static void features_are_the_devices_and_the_net_headers(void **state)
{
	struct lab *lab = lab_new();

	assert_int_equal(features_of(lab), UNTOLD | VIREO_FEATURE(5) | F_VERSION_1 |
						   VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) |
						   VIREO_FEATURE(VHOST_NET_F_VIRTIO_NET_HDR) |
						   VIREO_FEATURE(VIRTIO_F_ACCESS_PLATFORM));
	lab_free(lab);
}

/* QEMU tells features before it owns the device; the tap's it tells the tap. */
static void features_that_the_peer_does_not_tell_are_added(void **state)
{
	struct lab *lab = lab_new();

	assert_int_equal(
		ask_u64(lab, VHOST_SET_FEATURES, F_VERSION_1 | VIREO_FEATURE(VHOST_NET_F_VIRTIO_NET_HDR)), 0);
	assert_int_equal(lab->devices[0].type.features, F_VERSION_1 | UNTOLD);
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(vireo_device_features(lab->devices[0].device), F_VERSION_1 | UNTOLD);
	lab_free(lab);
}

static void ring_runs_while_it_has_a_back_end(void **state)
{
	struct lab *lab = lab_new();
	struct lab_device *device = &lab->devices[0];

	owned(lab);
	ring_set_up(lab, 0);
	ring_set_up(lab, 1);
	assert_int_equal(type_total(device->type.started), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 1, lab->memfd), 0);
	assert_non_null(device->type.running[1]);
	assert_null(device->type.running[0]);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 1, -1), 0);
	assert_null(device->type.running[1]);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 1, lab->memfd), 0); /* its kick is still there */
	assert_non_null(device->type.running[1]);
	lab_free(lab);
}

static void chains_are_the_callers_memory(void **state)
{
	struct lab *lab = lab_new();
	struct vireo_chain chain;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_queue *queue;
	uint64_t count = 0;

	ready(lab);
	queue = lab->devices[0].type.running[0];
	memcpy(lab->memory + 0x9000, "hello", 5);
	put_readable(lab, 3, GPA + 0x9000, 5);
	assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, ARRAY_SIZE(iov)), 1);
	assert_int_equal(chain.readable_bytes, 5);
	assert_memory_equal(iov[0].iov_base, "hello", 5);
	assert_ptr_not_equal(iov[0].iov_base, lab->memory + 0x9000);
	vireo_queue_push(queue, &chain, 0);
	assert_int_equal(read(lab->call, &count, sizeof(count)), sizeof(count)); /* of the start */
	vireo_queue_flush(queue);
	assert_int_equal(read(lab->call, &count, sizeof(count)), sizeof(count));
	lab_free(lab);
}

static void base_is_told_and_the_ring_goes_on(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_vring_state base = { 0, 99 };
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;
	struct vireo_queue *queue;

	ready(lab);
	queue = lab->devices[0].type.running[0];
	put_readable(lab, 0, GPA + 0x9000, 5);
	assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, ARRAY_SIZE(iov)), 1);
	vireo_queue_push(queue, &chain, 0);
	vireo_queue_flush(queue);
	assert_int_equal(ask(lab, VHOST_GET_VRING_BASE, &base), 0);
	assert_int_equal(base.index, 0);
	assert_int_equal(base.num, 1);
	assert_non_null(lab->devices[0].type.running[0]);
	assert_int_equal(type_total(lab->devices[0].type.started), 2);
	lab_free(lab);
}

static void call_and_error_of_minus_one_mean_none(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_CALL, 0, -1), 0);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_ERR, 0, -1), 0);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_ERR, 0, lab->call), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

/* As the kernel's, which no longer looks into it: the caller may be writing there. It is not polled. */
static void ring_without_a_kick_stands_still(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_vring_state base = { 0, 99 };

	ready(lab);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_KICK, 0, -1), 0);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(ask(lab, VHOST_GET_VRING_BASE, &base), 0);
	assert_int_equal(base.num, 0);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_CALL, 0, lab->call), 0);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, -1), 0);
	/* To the kernel it is as good as any. */
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_KICK, 0, lab->kick), 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void kick_reaches_the_queue(void **state)
{
	struct lab *lab = lab_new();
	struct pollfd poll_fd = { .events = POLLIN };
	uint64_t one = 1;

	ready(lab);
	poll_fd.fd = vireo_queue_kick_fd(lab->devices[0].type.running[0]);
	assert_int_not_equal(poll_fd.fd, lab->kick);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	assert_int_equal(write(lab->kick, &one, sizeof(one)), sizeof(one));
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	lab_free(lab);
}

/* A caller's thread may be blocked in a read of its call fd: it shares the open file with us. */
static void callers_fds_stay_as_they_are(void **state)
{
	struct lab *lab = lab_new();

	lab->kick = eventfd(0, EFD_CLOEXEC);
	lab->call = eventfd(0, EFD_CLOEXEC);
	ready(lab);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_ERR, 0, lab->call), 0);
	assert_false(fcntl(lab->kick, F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(lab->call, F_GETFL) & O_NONBLOCK);
	lab_free(lab);
}

static void busy_loop_and_byte_order_are_kept(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_vring_state told = { 1, 7 };

	owned(lab);
	assert_int_equal(ask(lab, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &told), 0);
	assert_int_equal(told.num, 0);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 50), 0);
	assert_int_equal(ask(lab, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &told), 0);
	assert_int_equal(told.num, 50);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_ENDIAN, 1, VHOST_VRING_LITTLE_ENDIAN), 0);
	assert_int_equal(ask(lab, VHOST_GET_VRING_ENDIAN, &told), 0);
	assert_int_equal(told.num, VHOST_VRING_LITTLE_ENDIAN);
	lab_free(lab);
}

static void reset_owner_begins_anew(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_vring_state told = { 0, 7 };

	ready(lab);
	assert_int_equal(ask(lab, VHOST_RESET_OWNER, NULL), 0);
	assert_null(lab->devices[0].type.running[0]);
	assert_int_equal(vireo_device_features(lab->devices[0].device), 0);
	assert_int_equal(ask(lab, VHOST_RESET_OWNER, NULL), -EPERM);
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(ask(lab, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &told), 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), -EINVAL); /* nothing is set up */
	assert_int_equal(share_memory(lab), 0);
	ring_set_up(lab, 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	lab_free(lab);
}

/* ---- answers that come later ---- */

static void ioctl_is_answered_when_its_ring_is_quiet(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	lab->devices[0].type.late = true;
	assert_int_equal(ask_state(lab, VHOST_GET_VRING_BASE, 0, 0), PENDING);
	assert_false(last_call(lab)->answered);
	lab->devices[0].type.late = false;
	type_quiesced_all(&lab->devices[0].type);
	assert_true(last_call(lab)->answered);
	assert_int_equal(last_call(lab)->r, 0);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void requests_wait_for_their_turn(void **state)
{
	struct vhost_vring_file call_fd = { 0, -1 };
	struct lab *lab = lab_new();
	uint64_t features = 0;
	struct call *first;

	ready(lab);
	lab->devices[0].type.late = true;
	assert_int_equal(ask(lab, VHOST_SET_VRING_CALL, &call_fd), PENDING);
	first = last_call(lab);
	assert_int_equal(ask(lab, VHOST_GET_FEATURES, &features), PENDING);
	lab->devices[0].type.late = false;
	type_quiesced_all(&lab->devices[0].type);
	assert_true(first->answered && last_call(lab)->answered);
	assert_true(features & F_VERSION_1);
	lab_free(lab);
}

static void release_waits_for_the_rings(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	lab->devices[0].type.late = true;
	release(lab, lab->opener);
	assert_false(lab->released);
	assert_int_equal(lab->gone, 0);
	type_quiesced_all(&lab->devices[0].type);
	assert_true(lab->released);
	assert_int_equal(lab->gone, 1);
	lab_free(lab);
}

/* A process that is killed while its ioctl waits: the kernel closes the file as soon as we have answered. */
static void release_behind_a_waiting_ioctl_ends_after_it(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	lab->devices[0].type.late = true;
	assert_int_equal(ask_state(lab, VHOST_GET_VRING_BASE, 0, 0), PENDING);
	release(lab, lab->opener);
	lab->devices[0].type.late = false;
	type_quiesced_all(&lab->devices[0].type);
	assert_true(last_call(lab)->answered);
	assert_true(lab->released);
	assert_int_equal(lab->gone, 1);
	lab_free(lab);
}

static void closing_the_endpoint_waits_for_the_rings(void **state)
{
	struct lab *lab = lab_new();

	ready(lab);
	lab->devices[0].type.late = true;
	vireo_endpoint_close(&lab->endpoint->base, on_closed, lab);
	lab->endpoint = NULL;
	assert_false(lab->closed);
	type_quiesced_all(&lab->devices[0].type);
	assert_true(lab->closed);
	lab_free(lab);
}

static void closing_the_endpoint_answers_who_waits(void **state)
{
	struct lab *lab = lab_new();
	struct call *first;
	uint64_t features;

	ready(lab);
	lab->devices[0].type.late = true;
	assert_int_equal(ask_state(lab, VHOST_GET_VRING_BASE, 0, 0), PENDING);
	first = last_call(lab);
	assert_int_equal(ask(lab, VHOST_GET_FEATURES, &features), PENDING);
	vireo_endpoint_close(&lab->endpoint->base, on_closed, lab);
	lab->endpoint = NULL;
	type_quiesced_all(&lab->devices[0].type); /* the ioctl's */
	type_quiesced_all(&lab->devices[0].type); /* it goes on after that, and is ended */
	assert_true(lab->closed);
	assert_true(first->answered && last_call(lab)->answered);
	assert_int_equal(first->r, 0);
	assert_int_equal(last_call(lab)->r, -ENODEV);
	lab_free(lab);
}

/* ---- several openers ---- */

static void each_opener_has_a_device_of_its_own(void **state)
{
	struct lab *lab = lab_new();
	struct opener *second = lab_open(lab);

	ready(lab);
	assert_int_equal(ask_as(lab, second, getpid(), VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(lab->device_count, 2);
	assert_int_equal(lab->devices[1].process, getpid());
	release(lab, second);
	assert_true(lab->released);
	assert_int_equal(lab->gone, 1);
	assert_non_null(lab->devices[0].type.running[0]);
	lab_free(lab);
}

static void one_device_has_one_opener_at_a_time(void **state)
{
	struct lab *lab = lab_make(false);
	struct opener *second;

	assert_int_equal(endpoint_opener_new(lab->endpoint, &second), -EBUSY);
	ready(lab);
	release(lab, lab->opener);
	lab->opener = lab_open(lab);
	assert_non_null(lab->opener);
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(lab->gone, 0);
	lab_free(lab);
}

static void opener_without_a_device_gets_the_programs_errno(void **state)
{
	struct lab *lab = lab_new();

	lab->device_new_r = -EBUSY;
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), -EBUSY);
	lab->device_new_r = 0;
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	lab_free(lab);
}

/* ---- processes ---- */

static pid_t child_new(void)
{
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(0);
	}
	assert_true(child > 0);
	return child;
}

static void child_end(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/*
 * A manager opens the node several times, asks what there is, and hands the fds to QEMU: whoever only asks
 * has taken nothing.
 */
static void asking_for_features_takes_no_device(void **state)
{
	struct lab *lab = lab_new();
	pid_t child = child_new();
	uint64_t features = 0, backend = 0;

	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_GET_FEATURES, &features), 0);
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_GET_BACKEND_FEATURES, &backend), 0);
	assert_int_equal(lab->device_count, 0);
	assert_true(backend);
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(lab->device_count, 1);
	assert_int_equal(lab->devices[0].process, getpid());
	assert_int_equal(features_of(lab), features);
	child_end(child);
	lab_free(lab);
}

static void device_is_made_anew_for_the_process_that_owns_it(void **state)
{
	struct lab *lab = lab_new();
	pid_t child = child_new();
	uint64_t features = F_VERSION_1;

	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_FEATURES, &features), 0);
	assert_int_equal(lab->devices[0].process, child);
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(lab->gone, 1);
	assert_int_equal(lab->devices[1].process, getpid());
	child_end(child);
	lab_free(lab);
}

static void memory_and_fds_are_the_owners(void **state)
{
	struct lab *lab = lab_new();
	struct vhost_vring_file file = { 0, 0 };
	struct table table;
	int pipe_fds[2];
	pid_t child;

	make_memory(lab);
	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	if (!child) { /* what the parent has not: another fd of the memory, at another place */
		uintptr_t told[2];

		told[0] = (uintptr_t)mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, lab->memfd,
					  0);
		told[1] = (uintptr_t)eventfd(0, EFD_CLOEXEC);
		munmap(lab->memory, MEMORY_BYTES);
		if (write(pipe_fds[1], told, sizeof(told)) == sizeof(told))
			pause();
		_exit(0);
	}
	{
		uintptr_t told[2];

		assert_int_equal(read(pipe_fds[0], told, sizeof(told)), sizeof(told));
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		table = one_region(lab);
		table.regions[0].userspace_addr = told[0];
		file.fd = (int)told[1];
	}
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_MEM_TABLE, &table), 0);
	assert_int_equal(ask_as(lab, lab->opener, child, VHOST_SET_VRING_KICK, &file), 0);
	child_end(child);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_are_the_devices_and_the_net_headers),
		cmocka_unit_test(features_that_the_peer_does_not_tell_are_added),
		cmocka_unit_test(ring_runs_while_it_has_a_back_end),
		cmocka_unit_test(chains_are_the_callers_memory),
		cmocka_unit_test(base_is_told_and_the_ring_goes_on),
		cmocka_unit_test(call_and_error_of_minus_one_mean_none),
		cmocka_unit_test(ring_without_a_kick_stands_still),
		cmocka_unit_test(kick_reaches_the_queue),
		cmocka_unit_test(callers_fds_stay_as_they_are),
		cmocka_unit_test(busy_loop_and_byte_order_are_kept),
		cmocka_unit_test(reset_owner_begins_anew),
		cmocka_unit_test(ioctl_is_answered_when_its_ring_is_quiet),
		cmocka_unit_test(requests_wait_for_their_turn),
		cmocka_unit_test(release_waits_for_the_rings),
		cmocka_unit_test(release_behind_a_waiting_ioctl_ends_after_it),
		cmocka_unit_test(closing_the_endpoint_waits_for_the_rings),
		cmocka_unit_test(closing_the_endpoint_answers_who_waits),
		cmocka_unit_test(each_opener_has_a_device_of_its_own),
		cmocka_unit_test(one_device_has_one_opener_at_a_time),
		cmocka_unit_test(opener_without_a_device_gets_the_programs_errno),
		cmocka_unit_test(asking_for_features_takes_no_device),
		cmocka_unit_test(device_is_made_anew_for_the_process_that_owns_it),
		cmocka_unit_test(memory_and_fds_are_the_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
