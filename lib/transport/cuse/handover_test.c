/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/cuse/driver_test.h"
#include "wire/handover.h"

/*
 * Openers go from one process to another (both are this one): their callers' ioctls and rings go on where they stood; and what is handed over may
 * be anybody's bytes. The node itself is the kernel's: tests/lab/cuse.py.
 */

struct two {
	struct lab *old, *new;
	struct handover_writer told;
	int held; /* what the last hold has said; 1: nothing */
};

static void on_held(void *opaque, int err)
{
	((struct two *)opaque)->held = err;
}

/* ---- two processes ---- */

/* It keeps what a successor needs, and its opener owns a device whose ring 0 runs. */
static struct two two_running(void)
{
	struct two t = { .old = lab_new(), .held = 1 };

	t.old->endpoint->config.cuse.handover = 1;
	ready(t.old);
	t.new = lab_new();
	t.new->endpoint->config.cuse.handover = 1;
	release(t.new, t.new->opener);
	assert_null(t.new->endpoint->openers);
	return t;
}

static int ask_hold(struct two *t)
{
	t->held = 1;
	return vireo_endpoint_hold(&t->old->endpoint->base, on_held, t);
}

static void hold(struct two *t)
{
	assert_int_equal(ask_hold(t), 0);
	assert_int_equal(t->held, 0);
	handover_free(&t->told);
	handover_begin(&t->told, HANDOVER_CUSE);
	openers_export(t->old->endpoint, &t->told);
	assert_int_equal(handover_end(&t->told), 0);
}

static int import(struct two *t, const void *data, size_t bytes, const int *fds)
{
	struct cuse_endpoint *endpoint = t->new->endpoint;
	struct handover_reader reader;
	const char *why = NULL;
	int r;

	endpoint->opened = t->old->endpoint->opened;
	r = handover_read(HANDOVER_CUSE, data, bytes, t->told.fd_count, &reader, &why);
	if (!r)
		r = openers_import(endpoint, &reader, fds, &why);
	endpoint->holds = endpoint->still = !r;
	if (r && (!why || r > 0))
		fail_msg("%d is refused without a word", r);
	snprintf(t->new->log, sizeof(t->new->log), "%s", r ? why : "");
	return r;
}

static int import_told(struct two *t)
{
	return import(t, t->told.data, t->told.bytes, t->told.fds);
}

static void new_forget(struct two *t)
{
	struct cuse_endpoint *endpoint = t->new->endpoint;

	endpoint->holds = endpoint->still = false;
	while (endpoint->openers)
		opener_end(endpoint->openers);
	memset(t->new->devices, 0, sizeof(t->new->devices));
	t->new->device_count = 0;
}

static void switch_over(struct two *t)
{
	assert_int_equal(import_told(t), 0);
	vireo_endpoint_close(&t->old->endpoint->base, on_closed, t->old);
	assert_true(t->old->closed);
	t->old->endpoint = NULL;
	assert_null(t->new->devices[1].type.running[0]);
	assert_int_equal(vireo_endpoint_go_on(&t->new->endpoint->base), 0);
	t->new->opener = t->new->endpoint->openers;
}

/* The old one's number of fds is from before there was a new one. */
static void two_free(struct two *t)
{
	handover_free(&t->told);
	vireo_endpoint_close(&t->new->endpoint->base, on_closed, t->new);
	assert_true(t->new->closed);
	for (unsigned i = 0; i < t->new->device_count; i++)
		assert_null(t->new->devices[i].device);
	vireo_device_free(t->new->like);
	vireo_notifier_free(t->new->notifier);
	test_free(t->new);
	lab_free(t->old);
}

/* The bytes of the chain at slot, in the new process. */
static void serve(struct vireo_queue *queue)
{
	struct vireo_chain chain;
	struct iovec iov[4];

	assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, ARRAY_SIZE(iov)), 1);
	vireo_queue_push(queue, &chain, 0);
	vireo_queue_flush(queue);
}

static struct lab_device *new_device(struct two *t)
{
	struct lab_device *device = &t->new->devices[t->new->device_count - 1];

	assert_non_null(device->device);
	return device;
}

/* ---- it goes on ---- */

static void ring_goes_on_where_it_stood(void **state)
{
	struct two t = two_running();
	const struct split_used *used = (void *)(uintptr_t)ring_addr(t.old, 0).used_user_addr;
	struct vhost_vring_state base = { 0 };

	assert_int_equal(ask_state(t.old, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, 1, 77), 0);
	for (uint16_t i = 0; i < 3; i++)
		put_readable(t.old, i, GPA + 0x10000, 16);
	serve(t.old->devices[0].type.running[0]);
	hold(&t);
	assert_null(t.old->devices[0].type.running[0]);
	switch_over(&t);
	assert_int_equal(new_device(&t)->type.features, F_VERSION_1 | UNTOLD);
	assert_int_equal(new_device(&t)->process, getpid());
	assert_non_null(new_device(&t)->type.running[0]);
	assert_null(new_device(&t)->type.running[1]);
	serve(new_device(&t)->type.running[0]);
	serve(new_device(&t)->type.running[0]);
	assert_int_equal(used->idx, 3);
	assert_int_equal(ask(t.new, VHOST_SET_OWNER, NULL), -EBUSY);
	assert_int_equal(ask_fd(t.new, VHOST_NET_SET_BACKEND, 0, -1), 0);
	assert_int_equal(ask(t.new, VHOST_GET_VRING_BASE, &base), 0);
	assert_int_equal(base.num, 3);
	base.index = 1;
	assert_int_equal(ask(t.new, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &base), 0);
	assert_int_equal(base.num, 77);
	assert_int_equal(ask_fd(t.new, VHOST_NET_SET_BACKEND, 0, t.old->memfd), 0); /* its kick, size and place have come along */
	assert_non_null(new_device(&t)->type.running[0]);
	two_free(&t);
}

/* One that has only been opened, one that is broken, one that has gone: the numbers are the kernel's. */
static void openers_of_each_sort_go_on(void **state)
{
	struct two t = two_running();
	struct opener *third;

	release(t.old, lab_open(t.old));
	third = lab_open(t.old);
	assert_non_null(third);
	put_readable(t.old, SIZE + 1, GPA, 16); /* no such descriptor */
	assert_int_equal(vireo_queue_pop(t.old->devices[0].type.running[0], &(struct vireo_chain){ 0 }, 1, &(struct iovec){ 0 }, 1), -EPROTO);
	pump(t.old);
	assert_true(t.old->opener->broken);
	hold(&t);
	switch_over(&t);
	assert_int_equal(t.new->endpoint->opened, 3);
	assert_null(endpoint_opener(t.new->endpoint, 2));
	t.new->opener = endpoint_opener(t.new->endpoint, 3);
	assert_int_equal(ask(t.new, VHOST_SET_OWNER, NULL), 0);
	t.new->opener = endpoint_opener(t.new->endpoint, 1);
	assert_int_equal(ask_u64(t.new, VHOST_SET_FEATURES, F_VERSION_1), -EIO);
	assert_int_equal(ask(t.new, VHOST_RESET_OWNER, NULL), 0);
	assert_int_equal(lab_open(t.new)->number, 4);
	two_free(&t);
}

/* Devices are given to openers as these ask for something, whoever was opened first, and one may have been given back. */
static void each_opener_gets_the_device_that_it_had(void **state)
{
	struct two t = two_running();
	struct opener *second = lab_open(t.old), *third = lab_open(t.old);

	assert_int_equal(ask_as(t.old, third, getpid(), VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(ask_as(t.old, second, getpid(), VHOST_SET_OWNER, NULL), 0);
	release(t.old, t.old->opener);
	hold(&t);
	switch_over(&t);
	assert_int_equal(t.new->device_count, 2);
	assert_int_equal(t.new->devices[0].told, 3); /* the second opener's: it is told first */
	assert_int_equal(t.new->devices[1].told, 2);
	t.new->opener = endpoint_opener(t.new->endpoint, 2);
	assert_int_equal(ask(t.new, VHOST_RESET_OWNER, NULL), 0);
	assert_int_equal(ask_as(t.new, lab_open(t.new), getpid(), VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(t.new->devices[2].told, 0);
	two_free(&t);
}

/* As many as a node can have, some of which take their time to be still. */
static void all_openers_of_a_full_node_go_on(void **state)
{
	struct two t = two_running();
	unsigned count = 0;

	while (lab_open(t.old))
		count++;
	assert_int_equal(count, ENDPOINT_OPENERS_MAX - 1);
	release(t.old, endpoint_opener(t.old->endpoint, 3));
	assert_int_equal(lab_open(t.old)->number, ENDPOINT_OPENERS_MAX + 1);
	t.old->devices[0].type.late = true;
	assert_int_equal(ask_hold(&t), 0);
	assert_int_equal(t.held, 1);
	assert_int_equal(t.old->endpoint->still_count, ENDPOINT_OPENERS_MAX - 1);
	release(t.old, endpoint_opener(t.old->endpoint, 4)); /* one that was still goes */
	assert_int_equal(t.old->endpoint->still_count, ENDPOINT_OPENERS_MAX - 2);
	type_quiesced_all(&t.old->devices[0].type);
	assert_int_equal(t.held, 0);
	assert_int_equal(vireo_endpoint_go_on(&t.old->endpoint->base), 0);
	assert_int_equal(t.old->endpoint->still_count, 0);
	t.old->devices[0].type.late = false;
	hold(&t);
	switch_over(&t);
	assert_int_equal(t.new->endpoint->opener_count, ENDPOINT_OPENERS_MAX - 1);
	assert_int_equal(t.new->endpoint->still_count, 0);
	assert_null(endpoint_opener(t.new->endpoint, 3));
	assert_int_equal(lab_open(t.new)->number, ENDPOINT_OPENERS_MAX + 2);
	assert_null(lab_open(t.new));
	two_free(&t);
}

static void list_of_more_openers_than_a_node_has_is_refused(void **state)
{
	struct two t = two_running();
	struct handover_writer lie;

	handover_begin(&lie, HANDOVER_CUSE);
	for (uint32_t i = 1; i <= ENDPOINT_OPENERS_MAX + 1; i++)
		handover_add(&lie, HANDOVER_OPENER, &(struct handover_opener){ .number = i }, sizeof(struct handover_opener), NULL, 0);
	assert_int_equal(handover_end(&lie), 0);
	t.old->endpoint->opened = ENDPOINT_OPENERS_MAX + 1;
	assert_int_equal(import(&t, lie.data, lie.bytes, NULL), -EINVAL);
	assert_true(logged(t.new, "more openers than a node can have"));
	new_forget(&t);
	handover_free(&lie);
	two_free(&t);
}

static void successor_that_ends_leaves_the_old_one(void **state)
{
	struct two t = two_running();

	put_readable(t.old, 0, GPA + 0x10000, 16);
	hold(&t);
	assert_int_equal(import_told(&t), 0);
	new_forget(&t);
	assert_int_equal(vireo_endpoint_go_on(&t.old->endpoint->base), 0);
	assert_int_equal(vireo_endpoint_go_on(&t.old->endpoint->base), -EBUSY);
	serve(t.old->devices[0].type.running[0]);
	assert_int_equal(ask_fd(t.old, VHOST_NET_SET_BACKEND, 0, -1), 0);
	two_free(&t);
}

/* ---- to hold it ---- */

/* An ioctl that waits for its queue is answered, and then nothing more is done. */
static void what_has_been_asked_is_done_first(void **state)
{
	struct two t = two_running();

	t.old->devices[0].type.late = true;
	assert_int_equal(ask_fd(t.old, VHOST_SET_VRING_CALL, 0, t.old->call), PENDING);
	assert_int_equal(ask_hold(&t), 0);
	assert_int_equal(ask_hold(&t), -EBUSY);
	assert_int_equal(t.held, 1);
	type_quiesced_all(&t.old->devices[0].type);
	assert_true(last_call(t.old)->answered);
	type_quiesced_all(&t.old->devices[0].type);
	assert_int_equal(t.held, 0);
	two_free(&t);
}

static void opener_that_goes_meanwhile_is_not_waited_for(void **state)
{
	struct two t = two_running();

	t.old->devices[0].type.late = true;
	assert_int_equal(ask_hold(&t), 0);
	assert_int_equal(t.held, 1);
	release(t.old, t.old->opener);
	assert_int_equal(t.held, 1);
	type_quiesced_all(&t.old->devices[0].type);
	assert_int_equal(t.held, 0);
	assert_null(t.old->endpoint->openers);
	two_free(&t);
}

static void hold_ends_with_its_endpoint(void **state)
{
	struct two t = two_running();

	t.old->devices[0].type.late = true;
	assert_int_equal(ask_hold(&t), 0);
	vireo_endpoint_close(&t.old->endpoint->base, on_closed, t.old);
	assert_int_equal(t.held, -ECANCELED);
	t.old->endpoint = NULL;
	type_quiesced_all(&t.old->devices[0].type);
	two_free(&t);
}

static void refused(struct two *t, const char *why)
{
	assert_int_equal(ask_hold(t), 0);
	assert_int_equal(t->held, -EBUSY);
	assert_true(logged(t->old, why));
	assert_false(t->old->endpoint->holds);
}

static void what_nobody_could_go_on_with_is_refused(void **state)
{
	struct two t = two_running();
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(0);
	}
	assert_int_equal(ask_fd(t.old, VHOST_NET_SET_BACKEND, 0, -1), 0);
	assert_int_equal(ask_u64(t.old, VHOST_SET_FEATURES, F_VERSION_1 | VIREO_FEATURE(VIRTIO_F_ACCESS_PLATFORM)), 0);
	refused(&t, "opener 1 cannot be handed over now: its driver is behind an IOMMU");
	assert_int_equal(ask(t.old, VHOST_RESET_OWNER, NULL), 0);
	assert_int_equal(ask_as(t.old, t.old->opener, child, VHOST_SET_OWNER, NULL), 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	refused(&t, "opener 1 cannot be handed over now: the process whose it is has ended");
	t.old->endpoint->config.cuse.handover = 0;
	assert_int_equal(ask_hold(&t), -EOPNOTSUPP);
	two_free(&t);
}

static void files_that_were_not_kept_are_missed(void **state)
{
	struct two t = two_running();

	t.old->endpoint->config.cuse.handover = 0;
	release(t.old, t.old->opener);
	t.old->opener = lab_open(t.old);
	owned(t.old);
	t.old->endpoint->config.cuse.handover = 1;
	refused(&t, "the files of its memory are not open here");
	two_free(&t);
}

/* ---- lies ---- */

/* Nothing is left over of what is refused, and what is taken can go on, and end. */
static void try(struct two *t, const void *data, size_t bytes, const int *fds)
{
	int before = count_fds();

	if (!import(t, data, bytes, fds))
		assert_int_equal(vireo_endpoint_go_on(&t->new->endpoint->base), 0);
	new_forget(t);
	assert_int_equal(count_fds(), before);
}

static void each_lie_is_refused_and_the_old_one_goes_on(void **state)
{
	struct two t = two_running();
	uint8_t *bytes;

	ring_set_up(t.old, 1);
	hold(&t);
	bytes = test_malloc(t.told.bytes);
	for (size_t at = 0; at < t.told.bytes; at++) {
		for (unsigned flip = 1; flip <= 0x80; flip *= at % 3 ? 0x80 : 2) {
			memcpy(bytes, t.told.data, t.told.bytes);
			bytes[at] ^= (uint8_t)flip;
			try(&t, bytes, t.told.bytes, t.told.fds);
		}
		assert_int_equal(import(&t, t.told.data, at, t.told.fds), -EINVAL);
		new_forget(&t);
	}
	test_free(bytes);
	memset(t.old->memory, 0, MEMORY_BYTES); /* a ring that lay elsewhere has written there */
	put_readable(t.old, 0, GPA + 0x10000, 16);
	assert_int_equal(vireo_endpoint_go_on(&t.old->endpoint->base), 0);
	serve(t.old->devices[0].type.running[0]);
	two_free(&t);
}

static void fds_of_another_kind_are_refused(void **state)
{
	struct two t = two_running();
	int fds[16];

	hold(&t);
	assert_true(t.told.fd_count == 3); /* memory, call, kick */
	for (unsigned i = 0; i < t.told.fd_count; i++) {
		memcpy(fds, t.told.fds, t.told.fd_count * sizeof(*fds));
		fds[i] = -1;
		assert_true(import(&t, t.told.data, t.told.bytes, fds) < 0);
		new_forget(&t);
		fds[i] = t.told.fds[i ? 0 : 1];
		assert_true(import(&t, t.told.data, t.told.bytes, fds) < 0);
		new_forget(&t);
	}
	assert_int_equal(vireo_endpoint_go_on(&t.old->endpoint->base), 0);
	two_free(&t);
}

/* So far as the record says: what it is, changed by `change`. */
static void told_otherwise(struct two *t, const struct handover_opener *opener, const struct handover_ring *ring, const char *why)
{
	struct handover_writer lie;

	handover_begin(&lie, HANDOVER_CUSE);
	if (opener)
		handover_add(&lie, HANDOVER_OPENER, opener, sizeof(*opener), NULL, 0);
	if (ring)
		handover_add(&lie, HANDOVER_RING, ring, sizeof(*ring), NULL, 0);
	assert_int_equal(handover_end(&lie), 0);
	t->told.fd_count = 0;
	assert_true(import(t, lie.data, lie.bytes, NULL) < 0);
	if (!strstr(t->new->log, why))
		fail_msg("'%s' is not '%s'", t->new->log, why);
	new_forget(t);
	handover_free(&lie);
}

static void lie_is_named(void **state)
{
	struct two t = two_running();
	const uint32_t me = (uint32_t)getpid();
	const struct handover_opener good = { 1, HANDOVER_OPENER_DEVICE, me, me, F_VERSION_1, 0 };
	const struct {
		struct handover_opener opener;
		const char *why;
	} openers[] = {
		{ { 0, 0, 0, 0, 0, 0 }, "not numbered in their order" },
		{ { 2, 0, 0, 0, 0, 0 }, "not numbered in their order" },
		{ { 1, 4, 0, 0, 0, 0 }, "not known here" },
		{ { 1, 0, 1u << 31, 0, 0, 0 }, "not known here" },
		{ { .number = 1, .zero = 1 }, "not known here" },
		{ { .number = 1, .device = 1 }, "without a device says more" },
		{ { 1, 0, 0, me, 0, 0 }, "without a device says more" },
		{ { 1, HANDOVER_OPENER_BROKEN, 0, 0, 0, 0 }, "without a device says more" },
		{ { 1, HANDOVER_OPENER_DEVICE, me, INT32_MAX, 0, 0 }, "process cannot be found" },
		{ { 1, HANDOVER_OPENER_DEVICE, me, me, UINT64_C(1) << 63, 0 }, "features that are not offered" },
	};
	const struct {
		struct handover_ring ring;
		const char *why;
	} rings[] = {
		{ { .index = QUEUES }, "not known here" },
		{ { .flags = 0x40 }, "not known here" },
		{ { .flags = HANDOVER_RING_KICK }, "not known here" },
		{ { .size = 3 }, "does not lie, or stand" },
		{ { .desc = 8, .flags = HANDOVER_RING_ADDRESSED }, "misaligned" },
		{ { .queue_flags = 1u << 31 }, "cannot stand so" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(openers); i++)
		told_otherwise(&t, &openers[i].opener, NULL, openers[i].why);
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++)
		told_otherwise(&t, &good, &rings[i].ring, rings[i].why);
	told_otherwise(&t, NULL, &rings[0].ring, "belongs to no device");
	two_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_goes_on_where_it_stood),
		cmocka_unit_test(openers_of_each_sort_go_on),
		cmocka_unit_test(each_opener_gets_the_device_that_it_had),
		cmocka_unit_test(all_openers_of_a_full_node_go_on),
		cmocka_unit_test(list_of_more_openers_than_a_node_has_is_refused),
		cmocka_unit_test(successor_that_ends_leaves_the_old_one),
		cmocka_unit_test(what_has_been_asked_is_done_first),
		cmocka_unit_test(opener_that_goes_meanwhile_is_not_waited_for),
		cmocka_unit_test(hold_ends_with_its_endpoint),
		cmocka_unit_test(what_nobody_could_go_on_with_is_refused),
		cmocka_unit_test(files_that_were_not_kept_are_missed),
		cmocka_unit_test(each_lie_is_refused_and_the_old_one_goes_on),
		cmocka_unit_test(fds_of_another_kind_are_refused),
		cmocka_unit_test(lie_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
