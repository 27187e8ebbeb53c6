/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/lab_test.h"
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A daemon is killed, as by kill -9, and another one goes on. The kernel's side and the driver's stay as they were. */

/* What the child does between being up and its end. */
typedef void life(struct lab *lab);

static void push_held(struct vireo_queue *queue, const struct vireo_chain *chains, unsigned count)
{
	vireo_queue_push_burst(queue, chains, NULL, count);
	vireo_queue_flush(queue);
}

/* Serves 5 of 8, in two bursts, and has popped two more. */
static void serve_five_and_hold_two(struct lab *lab)
{
	struct iovec iov[8 * VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[8];
	int n = vireo_queue_pop(lab->type.running[1], chains, 7, iov, ARRAY_SIZE(iov));

	if (n != 7)
		_exit(1);
	push_held(lab->type.running[1], chains, 3);
	push_held(lab->type.running[1], chains + 3, 2);
}

/* As many as a busy worker has pushed at any time, and the driver has not been shown. */
static void push_three_and_show_none(struct lab *lab)
{
	struct iovec iov[8 * VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[8];

	if (vireo_queue_pop(lab->type.running[1], chains, 4, iov, ARRAY_SIZE(iov)) != 4)
		_exit(1);
	vireo_queue_push_burst(lab->type.running[1], chains, NULL, 3);
}

static void serve_five_and_push_two(struct lab *lab)
{
	struct iovec iov[8 * VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[8];

	if (vireo_queue_pop(lab->type.running[1], chains, 7, iov, ARRAY_SIZE(iov)) != 7)
		_exit(1);
	push_held(lab->type.running[1], chains, 5);
	vireo_queue_push_burst(lab->type.running[1], chains + 5, NULL, 2);
}

/* Of seven, the fifth and the second are done and shown; the first is pushed. */
static void serve_out_of_order(struct lab *lab)
{
	struct iovec iov[8 * VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[8];

	if (vireo_queue_pop(lab->type.running[1], chains, 7, iov, ARRAY_SIZE(iov)) != 7)
		_exit(1);
	push_held(lab->type.running[1], chains + 4, 1);
	push_held(lab->type.running[1], chains + 1, 1);
	vireo_queue_push_burst(lab->type.running[1], chains, NULL, 1);
}

/* What is owed comes in the order of its first pop: of that, the second is done. */
static void serve_the_second_that_is_owed(struct lab *lab)
{
	struct iovec iov[8 * VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[8];

	if (vireo_queue_pop(lab->type.running[1], chains, 8, iov, ARRAY_SIZE(iov)) != 5)
		_exit(1);
	push_held(lab->type.running[1], chains + 1, 1);
}

static void serve_nothing(struct lab *lab)
{
}

static void serve_all(struct lab *lab)
{
	while (serve_one(lab, 1))
		;
}

/* The driver has said all that it says in the beginning; the child answers, does what it does, and is killed. */
static void child(struct fake *f, life *live)
{
	struct lab *lab = lab_new_of(f, 1, f->out_of_order);

	if (lab_open(lab))
		_exit(2);
	lab_pump(lab);
	if (!lab->type.running[1])
		_exit(3);
	live(lab);
	raise(SIGKILL);
}

static void run_and_killed(struct fake *f, life *live)
{
	unsigned opens = f->opens;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid)
		child(f, live);
	close(f->pairs[opens][0]); /* ours; the child's has the same number, which stays where it is written */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status))
		fail_msg("the daemon has ended by itself: %d", WEXITSTATUS(status));
	assert_false(fake_connected(f));
	assert_true(f->exists);
}

static void up_and_killed(struct fake *f, life *live)
{
	f->opens++; /* what fake_open() will make of it: messages lie there already */
	fake_send(f, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0);
	fake_send(f, VDUSE_MSG_SET_STATUS, STATUS_OK, 0);
	f->opens--;
	run_and_killed(f, live);
	f->status = STATUS_OK;
}

static struct lab *successor(struct fake *f)
{
	struct lab *lab = lab_new_of(f, 1, f->out_of_order);

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	return lab;
}

static void add_eight(struct fake_driver *d)
{
	for (uintptr_t n = 1; n <= 8; n++) {
		memset(d->fake->memory + n * 4096, (int)n, 64);
		driver_add(d, 1, (uint32_t)n * 4096, 64, n);
	}
}

/* Every buffer comes back once, in order, whatever has been lost in flight. */
static void killed_in_the_middle_loses_nothing(void **state)
{
	static const uint64_t variants[] = { 0, F(RING_EVENT_IDX), F(RING_PACKED), F(RING_PACKED) | F(RING_EVENT_IDX) };
	static life *const lives[] = { serve_five_and_hold_two, serve_nothing, serve_all, push_three_and_show_none,
					serve_five_and_push_two };

	for (size_t i = 0; i < ARRAY_SIZE(variants) * ARRAY_SIZE(lives); i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		driver_new(f, &driver, variants[i % ARRAY_SIZE(variants)], SIZE);
		add_eight(&driver);
		up_and_killed(f, lives[i / ARRAY_SIZE(variants)]);
		lab = successor(f);
		assert_non_null(strstr(lab->log, "/dev/vduse/test0 taken over, its driver goes on"));
		assert_non_null(lab->type.running[1]);
		assert_true(f->queues[1].irqs); /* one may have been lost with the predecessor */
		while (serve_one(lab, 1))
			;
		for (uintptr_t n = 1; n <= 8; n++)
			assert_int_equal(driver_get(&driver, 1), n);
		assert_int_equal(driver_get(&driver, 1), 0);
		add_eight(&driver); /* over the ring's end */
		while (serve_one(lab, 1))
			;
		for (uintptr_t n = 1; n <= 8; n++)
			assert_int_equal(driver_get(&driver, 1), n);
		assert_null(strstr(lab->log, "broken"));
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

/* As a disk does: what was done comes back once, and all else is repeated. */
static void killed_out_of_order_repeats_what_was_in_flight_and_nothing_else(void **state)
{
	static const uint64_t variants[] = { 0, F(RING_EVENT_IDX), F(RING_PACKED), F(RING_PACKED) | F(RING_EVENT_IDX) };
	static const uintptr_t back[] = { 5, 2, 3, 1, 4, 6, 7, 8 };

	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		f->out_of_order = true;
		driver_new(f, &driver, variants[i], SIZE);
		add_eight(&driver);
		up_and_killed(f, serve_out_of_order);
		run_and_killed(f, serve_the_second_that_is_owed);
		lab = successor(f);
		assert_non_null(lab->type.running[1]);
		for (unsigned n = 3; n < 8; n++) {
			assert_true(serve_one(lab, 1));
			assert_int_equal(lab->held[0], back[n]);
		}
		assert_false(serve_one(lab, 1));
		for (unsigned n = 0; n < 8; n++)
			assert_int_equal(driver_get(&driver, 1), back[n]);
		assert_int_equal(driver_get(&driver, 1), 0);
		add_eight(&driver); /* over the ring's end */
		serve_all(lab);
		for (uintptr_t n = 1; n <= 8; n++)
			assert_int_equal(driver_get(&driver, 1), n);
		assert_null(strstr(lab->log, "broken"));
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

/* No answer comes while something is owed: the queue is served, and then it stands somewhere. */
static void waits_until_all_is_served(struct lab *lab, uint32_t type, uint32_t queue)
{
	struct fake_response response;
	uint32_t id = fake_send(lab->f, type, queue, 0);

	lab_pump(lab);
	assert_false(fake_answered(lab->f, &response));
	assert_non_null(lab->type.running[1]);
	serve_all(lab);
	for (unsigned i = 0; i < 1000 && !fake_answered(lab->f, &response); i++)
		lab_turn(lab, 20);
	assert_int_equal(response.id, id);
	assert_int_equal(response.result, 0);
}

static void what_is_owed_is_served_before_anybody_is_told_where_it_stands(void **state)
{
	static const uint32_t asks[] = { VDUSE_MSG_GET_VQ_STATE, VDUSE_MSG_SUSPEND };

	for (unsigned i = 0; i < 4; i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		f->out_of_order = true;
		f->api_max = 1;
		f->vduse_features = 3;
		driver_new(f, &driver, i & 1 ? F(RING_PACKED) : 0, SIZE);
		add_eight(&driver);
		up_and_killed(f, serve_out_of_order);
		lab = successor(f);
		waits_until_all_is_served(lab, asks[i / 2], 1);
		for (unsigned n = 0; n < 8; n++)
			assert_int_not_equal(driver_get(&driver, 1), 0);
		assert_true(ask(lab, VDUSE_MSG_GET_VQ_STATE, 1, 0));
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

static bool refused_in_time(struct lab *lab, uint32_t type)
{
	struct fake_response response;

	fake_send(lab->f, type, 1, 0);
	for (unsigned i = 0; i < 1000 && !fake_answered(lab->f, &response); i++)
		lab_turn(lab, 20);
	return response.result;
}

/* The kernel does not wait for ever. */
static void device_that_goes_on_owing_is_not_suspended(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		f->out_of_order = true;
		f->api_max = 1;
		f->vduse_features = 3;
		driver_new(f, &driver, packed ? F(RING_PACKED) : 0, SIZE);
		add_eight(&driver);
		up_and_killed(f, serve_out_of_order);
		lab = successor(f);
		((struct vduse *)lab->endpoint)->late_ms = 50;
		assert_true(refused_in_time(lab, VDUSE_MSG_GET_VQ_STATE));
		assert_true(ask(lab, VDUSE_MSG_GET_VQ_STATE, 0, 0)); /* that one owes nothing */
		assert_true(refused_in_time(lab, VDUSE_MSG_SUSPEND));
		serve_all(lab); /* it goes on */
		for (unsigned n = 0; n < 8; n++)
			assert_int_not_equal(driver_get(&driver, 1), 0);
		assert_true(ask(lab, VDUSE_MSG_SUSPEND, 0, 0));
		assert_true(ask(lab, VDUSE_MSG_GET_VQ_STATE, 1, 0));
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

static void device_that_ends_while_it_owes_is_let_go(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab;

	f->out_of_order = true;
	driver_new(f, &driver, 0, SIZE);
	add_eight(&driver);
	up_and_killed(f, serve_out_of_order);
	lab = successor(f);
	fake_send(f, VDUSE_MSG_GET_VQ_STATE, 1, 0);
	lab_pump(lab);
	assert_false(fake_answered(f, &response));
	lab_close(lab);
	assert_true(fake_answered(f, &response));
	assert_int_not_equal(response.result, 0);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

/* The driver sets its queues up anew: what was in flight before is nobody's. */
static void reset_device_owes_nothing(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		f->out_of_order = true;
		driver_new(f, &driver, packed ? F(RING_PACKED) : 0, SIZE);
		add_eight(&driver);
		up_and_killed(f, serve_out_of_order);
		lab = successor(f);
		assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
		driver_free(&driver);
		driver_new(f, &driver, packed ? F(RING_PACKED) : 0, SIZE);
		assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
		assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
		lab_pump(lab);
		assert_false(serve_one(lab, 1));
		add_eight(&driver);
		serve_all(lab);
		for (uintptr_t n = 1; n <= 8; n++)
			assert_int_equal(driver_get(&driver, 1), n);
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

/* A record is not a ledger: who completes otherwise takes nothing over. */
static void device_that_completes_otherwise_is_another_one(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	driver_new(f, &driver, 0, SIZE);
	up_and_killed(f, serve_nothing);
	lab = lab_new_of(f, 1, true);
	f->attached = true;
	assert_int_equal(lab_open(lab), -EEXIST);
	f->attached = false;
	lab_free(lab);
	driver_free(&driver);
	fake_free(f);
}

/* The driver has gone on since the last burst was shown: its begin is the driver's again. */
static void driver_that_went_on_meanwhile_is_found_where_it_is(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		driver_new(f, &driver, packed ? F(RING_PACKED) : 0, SIZE);
		add_eight(&driver);
		up_and_killed(f, serve_all);
		for (uintptr_t n = 1; n <= 8; n++)
			assert_int_equal(driver_get(&driver, 1), n);
		add_eight(&driver);
		lab = successor(f);
		for (uintptr_t n = 1; n <= 8; n++) {
			assert_true(serve_one(lab, 1));
			assert_int_equal(lab->held[0], n);
			assert_int_equal(driver_get(&driver, 1), n);
		}
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

static void killed_many_times_goes_on_each_time(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	driver_new(f, &driver, F(RING_PACKED), SIZE);
	add_eight(&driver);
	up_and_killed(f, serve_five_and_hold_two);
	for (uintptr_t n = 1; n <= 5; n++)
		assert_int_equal(driver_get(&driver, 1), n);
	run_and_killed(f, serve_nothing);
	run_and_killed(f, serve_all);
	lab = successor(f);
	for (uintptr_t n = 6; n <= 8; n++)
		assert_int_equal(driver_get(&driver, 1), n);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void suspend(struct lab *lab)
{
	for (unsigned i = 0; i < 5; i++)
		if (!serve_one(lab, 1))
			_exit(1);
	fake_send(lab->f, VDUSE_MSG_SUSPEND, 0, 0);
	lab_pump(lab);
}

/* Who migrates it asks where its queues stand, and serves them on from there. */
static void suspended_device_that_is_taken_over_tells_where_it_stands(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct fake_response response;
		struct lab *lab;
		union vduse_wire_state told;

		f->api_max = 1;
		f->vduse_features = 3;
		driver_new(f, &driver, packed ? F(RING_PACKED) : 0, SIZE);
		add_eight(&driver);
		up_and_killed(f, suspend);
		lab = successor(f);
		assert_null(lab->type.running[1]);
		assert_true(ask_for(lab, VDUSE_MSG_GET_VQ_STATE, 1, 0, &response));
		memcpy(&told, &response.body[1], sizeof(told));
		assert_int_equal(packed ? told.packed.avail_pos : told.split, 5);
		assert_int_equal(packed ? told.packed.used_pos : 5, 5);
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

/* Where the guest goes, there is a device of its own, whose file says nothing: three of eight wait. */
static void goes_on_elsewhere(uint64_t features, bool suspends)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct fake_response response;
	struct lab *lab;

	f->out_of_order = true;
	f->api_max = 1;
	f->vduse_features = 3;
	driver_new(f, &driver, features, SIZE);
	lab = successor(f);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	add_eight(&driver);
	for (uintptr_t n = 1; n <= 5; n++) {
		assert_true(serve_one(lab, 1));
		assert_int_equal(driver_get(&driver, 1), n);
	}
	if (suspends)
		assert_true(ask(lab, VDUSE_MSG_SUSPEND, 0, 0));
	assert_true(ask_for(lab, VDUSE_MSG_GET_VQ_STATE, 1, 0, &response));
	assert_int_equal(!lab->type.running[1], suspends);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	memcpy(&f->queues[1].info.state, &response.body[1], sizeof(f->queues[1].info.state));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	assert_int_equal(!lab->type.running[1], !suspends); /* it went on after it had told, and nobody knows how far */
	assert_int_equal(!strstr(lab->log, "chains were in flight, and nothing tells which"), suspends);
	for (uintptr_t n = 6; suspends && n <= 8; n++) {
		assert_true(serve_one(lab, 1));
		assert_int_equal(driver_get(&driver, 1), n);
	}
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void what_waits_in_a_device_that_was_suspended_is_served_elsewhere(void **state)
{
	for (unsigned variant = 0; variant < 4; variant++)
		goes_on_elsewhere(variant & 1 ? F(RING_PACKED) : 0, variant & 2);
}

static void device_without_a_driver_is_taken_over_too(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	driver_new(f, &driver, 0, SIZE);
	up_and_killed(f, serve_nothing);
	f->status = 0; /* the driver has gone */
	driver_free(&driver);
	lab = successor(f);
	assert_non_null(strstr(lab->log, "taken over, no driver is at it"));
	assert_int_equal(f->destroyed, 0);
	driver_new(f, &driver, F(RING_PACKED), SIZE);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	driver_add(&driver, 1, 0, 10, 1);
	assert_true(serve_one(lab, 1));
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

/* It was taken off the bus while nobody served it. */
static void device_that_the_kernel_has_given_up_is_made_anew(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	driver_new(f, &driver, F(RING_PACKED), SIZE);
	up_and_killed(f, serve_nothing);
	f->status = 0;
	f->given_up = true;
	driver_free(&driver);
	lab = successor(f);
	assert_int_equal(f->destroyed, 1);
	assert_int_equal(lab->told, 0);
	assert_null(strstr(lab->log, "taken over"));
	assert_null(strstr(lab->log, "given it up"));
	driver_new(f, &driver, F(RING_PACKED), SIZE);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	driver_add(&driver, 1, 0, 10, 1);
	assert_true(serve_one(lab, 1));
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

static void device_that_the_kernel_has_given_up_is_lost_at_once_on_the_bus(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	driver_new(f, &driver, 0, SIZE);
	up_and_killed(f, serve_nothing);
	f->given_up = f->attached = true;
	lab = successor(f);
	assert_non_null(strstr(lab->log, "/dev/vduse/test0: the kernel has given it up"));
	assert_int_equal(lab->told, -EPERM);
	assert_null(lab->type.running[1]);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

/* A driver reads its address and MTU once; the link's state, in between, it is told of. */
static void what_a_driver_reads_once_and_has_changed_is_told(void **state)
{
	static const struct {
		const char *config;
		bool running, told;
	} cases[] = {
		{ "0123456789abcdef", true, false },
		{ "012345##89abcdef", true, false },
		{ "01234#6789abcdef", true, true },
		{ "0123456789#bcdef", true, true },
		{ "01234#6789abcdef", false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *usual = lab_config;
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		driver_new(f, &driver, 0, SIZE);
		up_and_killed(f, serve_nothing);
		f->status = cases[i].running ? STATUS_OK : 0;
		lab_config = cases[i].config;
		lab = successor(f);
		lab_config = usual;
		assert_int_equal(strstr(lab->log, "its driver goes on with the address (mac) or MTU") != NULL, cases[i].told);
		assert_int_equal(f->destroyed, 0);
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

static int aside(void *opaque, void (*work)(void *argument), void *argument)
{
	work(argument);
	return 0;
}

/* Whether the driver has come to DRIVER_OK tells: what it has said before the kill, its thread does not say again. */
static void driver_that_was_half_done_is_bound_anew(void **state)
{
	static const struct {
		unsigned attach;
		uint8_t status;
		unsigned bound_anew;
	} cases[] = {
		{ VIREO_ATTACH_VIRTIO, 0, 1 },
		{ VIREO_ATTACH_VIRTIO, STATUS_OK, 0 },
		{ VIREO_ATTACH_VHOST, 0, 0 }, /* nobody has opened it */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vireo_endpoint_config config = { .vduse.attach = cases[i].attach, .run_aside = aside };
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab = lab_new(f, 1);

		driver_new(f, &driver, 0, SIZE);
		up_and_killed(f, serve_nothing);
		f->status = cases[i].status;
		f->attached = true;
		assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), 0);
		lab_pump(lab);
		assert_int_equal(f->bound_anew, cases[i].bound_anew);
		assert_non_null(strstr(lab->log, "attached to "));
		f->attached = false;
		f->status = 0;
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

static void device_made_otherwise_is_made_anew_or_refused(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct vireo_endpoint_config config = { .vduse.queue_size = 64 };
	struct lab *lab;

	driver_new(f, &driver, 0, SIZE);
	up_and_killed(f, serve_nothing);
	lab = lab_new(f, 1);
	f->attached = true;
	assert_int_equal(lab_open_as(lab, FAKE_NAME, &config), -EEXIST);
	assert_int_equal(f->destroyed, 0);
	lab_free(lab);
	lab = successor(f); /* the refusal has cost the right one nothing */
	assert_non_null(lab->type.running[1]);
	f->attached = false;
	lab_free(lab);
	assert_int_equal(f->destroyed, 1);
	driver_free(&driver);
	fake_free(f);
}

/* A newer daemon offers more, and the device has a user, who has never heard of that. Not so an address: it was not offered before. */
static void device_of_an_older_daemon_is_taken_over_as_it_is(void **state)
{
	static const struct {
		uint64_t made, wanted;
		bool taken;
	} rows[] = {
		{ FEATURES_ALL, FEATURES_ALL | NET_SPEED, true },
		{ FEATURES_ALL | NET_SPEED, FEATURES_ALL, false },
		{ FEATURES_ALL & ~NET_MAC, FEATURES_ALL, false },
		{ FEATURES_ALL & ~NET_MAC, FEATURES_ALL | NET_SPEED, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		lab_features = rows[i].made;
		driver_new(f, &driver, 0, SIZE);
		add_eight(&driver);
		up_and_killed(f, serve_nothing);
		f->attached = true;
		lab_features = rows[i].wanted;
		lab = lab_new(f, 1);
		assert_int_equal(lab_open(lab), rows[i].taken ? 0 : -EEXIST);
		assert_int_equal(f->destroyed, 0);
		lab_pump(lab);
		if (rows[i].taken)
			serve_all(lab);
		for (uintptr_t n = 1; rows[i].taken && n <= 8; n++)
			assert_int_equal(driver_get(&driver, 1), n);
		f->attached = false;
		lab_free(lab);
		driver_free(&driver);
		fake_free(f);
	}
	lab_features = FEATURES_ALL;
}

static void device_without_a_state_is_made_anew_if_nobody_uses_it(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;
	char path[128];

	driver_new(f, &driver, 0, SIZE);
	up_and_killed(f, serve_nothing);
	snprintf(path, sizeof(path), "%s/vduse-" FAKE_NAME, f->folder);
	assert_int_equal(unlink(path), 0);
	f->attached = true;
	lab = lab_new(f, 1);
	assert_int_equal(lab_open(lab), -EEXIST);
	f->attached = false;
	f->status = 0;
	assert_int_equal(lab_open(lab), 0);
	assert_int_equal(f->destroyed, 1);
	lab_free(lab);
	driver_free(&driver);
	fake_free(f);
}

static void api_version_and_features_are_the_devices_for_life(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	driver_new(f, &driver, 0, SIZE);
	up_and_killed(f, serve_nothing); /* API 0 */
	f->api_max = 1;
	f->vduse_features = 3;
	lab = successor(f);
	assert_false(ask(lab, VDUSE_MSG_SUSPEND, 0, 0));
	assert_false(ask(lab, VDUSE_MSG_SET_VQ_GROUP_ASID, 0, 0));
	lab_free(lab);
	driver_free(&driver);
	fake_free(f);
}

static void config_space_is_the_successors(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;

	driver_new(f, &driver, 0, SIZE);
	up_and_killed(f, serve_nothing);
	memset(f->space, 0, 16);
	lab = successor(f);
	assert_memory_equal(f->space, "0123456789abcdef", 16);
	lab_free(lab);
	driver_free(&driver);
	fake_free(f);
}

static void device_in_use_stays_behind_with_its_file(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab = lab_up(f, &driver, F(RING_PACKED));

	driver_add(&driver, 1, 0, 10, 1);
	assert_true(serve_one(lab, 1));
	f->attached = true; /* by somebody else */
	lab_free(lab);
	assert_true(f->exists);
	driver_add(&driver, 1, 0, 10, 2);
	lab = successor(f);
	assert_true(serve_one(lab, 1));
	assert_int_equal(driver_get(&driver, 1), 1);
	assert_int_equal(driver_get(&driver, 1), 2);
	f->attached = false;
	driver_free(&driver);
	lab_free(lab);
	assert_false(f->exists);
	assert_int_equal(rmdir(f->folder), 0);
	fake_free(f);
}

static void second_daemon_is_kept_out(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1), *other = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	assert_int_equal(lab_open(other), -EBUSY);
	lab_pump(lab);
	assert_true(ask(lab, VDUSE_MSG_GET_VQ_STATE, 0, 0));
	lab_free(other);
	lab_free(lab);
	fake_free(f);
}

static void file_of_somebody_else_is_not_touched(void **state)
{
	struct fake *f = fake_new();
	struct lab *lab = lab_new(f, 1);
	char path[128], target[128];
	int fd;

	snprintf(path, sizeof(path), "%s/vduse-" FAKE_NAME, f->folder);
	snprintf(target, sizeof(target), "%s/target", f->folder);
	fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(lab_open(lab), -ELOOP);
	unlink(path);
	assert_int_equal(link(target, path), 0); /* a second name of it */
	assert_int_equal(lab_open(lab), -ELOOP);
	assert_int_equal(lseek(fd, 0, SEEK_END), 4);
	assert_false(f->exists);
	close(fd);
	unlink(target);
	lab_free(lab);
	fake_free(f);
}

/* What lies in the file is input: no place of it is believed that is none. */
static void record_beyond_the_ring_is_not_believed(void **state)
{
	struct fake *f = fake_new();
	struct fake_driver driver;
	struct lab *lab;
	char path[128];
	uint64_t lie = 0x17fff7fffu; /* a burst of one, see lib/ring/record.c */
	struct stat st;
	off_t bytes;
	int fd;

	driver_new(f, &driver, F(RING_PACKED), SIZE);
	add_eight(&driver);
	up_and_killed(f, serve_nothing);
	lab = lab_new(f, 1);
	bytes = (off_t)device_queue_record_bytes(lab->device, 256);
	lab_free(lab);
	snprintf(path, sizeof(path), "%s/vduse-" FAKE_NAME, f->folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	/* Of the last queue: 1. */
	assert_int_equal(pwrite(fd, &lie, sizeof(lie), st.st_size - bytes), sizeof(lie));
	close(fd);
	lab = successor(f);
	serve_all(lab); /* from where the driver began */
	assert_int_equal(driver_get(&driver, 1), 1);
	driver_free(&driver);
	lab_free(lab);
	fake_free(f);
}

/* A split ring's ledger is laid out as vhost-user's in-flight region is: a header, and what is known of each head. */
static void write_to_last_ledger(struct fake *f, off_t at, const void *data, size_t bytes)
{
	struct lab *lab = lab_new_of(f, 1, f->out_of_order);
	off_t ledger = (off_t)device_queue_record_bytes(lab->device, 256);
	char path[128];
	struct stat st;
	int fd;

	lab_free(lab);
	snprintf(path, sizeof(path), "%s/vduse-" FAKE_NAME, f->folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pwrite(fd, data, bytes, st.st_size - ledger + at), bytes);
	close(fd);
}

/* Nothing of it is served, with one line, until the driver resets its device. */
static void ledger_that_lies_breaks_its_device(void **state)
{
	static const uint16_t version = 2, too_long = 2 * SIZE, far_away = 0x4000, outside[] = { SIZE, 1 };
	static const uint64_t twice[] = { 1, 7, 1, 7 }, half = 2;
	static const struct {
		off_t at;
		const void *data;
		size_t bytes;
	} lies[] = {
		{ 8, &version, sizeof(version) },
		{ 10, &too_long, sizeof(too_long) },
		{ 12, outside, sizeof(outside) }, /* a burst of one: where its list begins, and what the ring showed before it */
		{ 14, &far_away, sizeof(far_away) }, /* which is not what the ring shows */
		{ 16, twice, sizeof(twice) }, /* two were popped at once */
		{ 16, &half, sizeof(half) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct fake *f = fake_new();
		struct fake_driver driver;
		struct lab *lab;

		f->out_of_order = true;
		driver_new(f, &driver, 0, SIZE);
		add_eight(&driver);
		up_and_killed(f, serve_out_of_order);
		write_to_last_ledger(f, lies[i].at, lies[i].data, lies[i].bytes);
		lab = lab_new_of(f, 1, true);
		lab_open(lab);
		lab_pump(lab);
		if (!strstr(lab->log, "broken"))
			fail_msg("lie %zu was believed: %s", i, lab->log);
		assert_null(lab->type.running[1]);
		driver_free(&driver);
		lab_free(lab);
		fake_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_in_the_middle_loses_nothing),
		cmocka_unit_test(killed_out_of_order_repeats_what_was_in_flight_and_nothing_else),
		cmocka_unit_test(what_is_owed_is_served_before_anybody_is_told_where_it_stands),
		cmocka_unit_test(device_that_goes_on_owing_is_not_suspended),
		cmocka_unit_test(device_that_ends_while_it_owes_is_let_go),
		cmocka_unit_test(reset_device_owes_nothing),
		cmocka_unit_test(device_that_completes_otherwise_is_another_one),
		cmocka_unit_test(driver_that_went_on_meanwhile_is_found_where_it_is),
		cmocka_unit_test(killed_many_times_goes_on_each_time),
		cmocka_unit_test(suspended_device_that_is_taken_over_tells_where_it_stands),
		cmocka_unit_test(what_waits_in_a_device_that_was_suspended_is_served_elsewhere),
		cmocka_unit_test(device_without_a_driver_is_taken_over_too),
		cmocka_unit_test(device_that_the_kernel_has_given_up_is_made_anew),
		cmocka_unit_test(what_a_driver_reads_once_and_has_changed_is_told),
		cmocka_unit_test(device_that_the_kernel_has_given_up_is_lost_at_once_on_the_bus),
		cmocka_unit_test(driver_that_was_half_done_is_bound_anew),
		cmocka_unit_test(device_made_otherwise_is_made_anew_or_refused),
		cmocka_unit_test(device_of_an_older_daemon_is_taken_over_as_it_is),
		cmocka_unit_test(device_without_a_state_is_made_anew_if_nobody_uses_it),
		cmocka_unit_test(api_version_and_features_are_the_devices_for_life),
		cmocka_unit_test(config_space_is_the_successors),
		cmocka_unit_test(device_in_use_stays_behind_with_its_file),
		cmocka_unit_test(second_daemon_is_kept_out),
		cmocka_unit_test(file_of_somebody_else_is_not_touched),
		cmocka_unit_test(record_beyond_the_ring_is_not_believed),
		cmocka_unit_test(ledger_that_lies_breaks_its_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
