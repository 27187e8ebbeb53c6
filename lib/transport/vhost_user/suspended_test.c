/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"

/*
 * Suspended means suspended (vhost-user: "Suspended device state"): while all rings are stopped nothing is written to guest
 * memory, nobody is notified and no message goes over the back-end channel; messages of the front end are answered.
 */

struct quiet {
	struct lab *lab;
	int channel; /* the front end's end */
	uint8_t before[MEMORY_BYTES];
};

/* A buffer that waits for the device in each ring, and a kick. */
static void offer_all(struct lab *lab)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		struct split_desc *descs = (void *)(lab->memory + i * 0x4000);
		struct split_avail *avail = (void *)(lab->memory + i * 0x4000 + 0x1000);

		descs[0] = (struct split_desc){ .addr = GPA + 0xf0000, .len = 16, .flags = DESC_F_WRITE };
		avail->ring[avail->idx % SIZE] = 0;
		__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + 1), __ATOMIC_RELEASE);
	}
	fd_event_raise(lab->kick);
}

/* The worker's half: serves whatever runs, and says how many. */
static unsigned serve_all(struct lab *lab)
{
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chains[SIZE];
	unsigned served = 0;

	for (unsigned i = 0; i < QUEUES; i++) {
		struct vireo_queue *queue = lab->type.running[i];
		int count = queue ? vireo_queue_pop(queue, chains, SIZE, iov, ARRAY_SIZE(iov)) : 0;

		for (int n = 0; n < count; n++)
			vireo_queue_push(queue, &chains[n], 16);
		if (count > 0)
			vireo_queue_flush(queue);
		served += count > 0;
	}
	return served;
}

static bool channel_speaks(const struct quiet *q)
{
	uint32_t words[3];

	return recv(q->channel, words, sizeof(words), MSG_DONTWAIT) == (ssize_t)sizeof(words);
}

static void all_run(struct lab *lab)
{
	for (uint32_t i = 0; i < QUEUES; i++)
		ring(lab, i);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_non_null(lab->type.running[i]);
}

static struct quiet *quiet_new(void)
{
	struct quiet *q = test_calloc(1, sizeof(*q));
	int pair[2];

	q->lab = lab_new();
	negotiate(q->lab, P_ALL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(ack_fds(q->lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	q->channel = pair[0];
	share_memory(q->lab);
	all_run(q->lab);
	offer_all(q->lab);
	assert_int_equal(serve_all(q->lab), QUEUES);
	fd_event_clear(q->lab->call);
	return q;
}

static void quiet_free(struct quiet *q)
{
	fd_close(&q->channel);
	lab_free(q->lab);
	test_free(q);
}

/* Whatever the guest does and the device has to say: nothing of it comes out. */
static void assert_silent(struct quiet *q)
{
	struct lab *lab = q->lab;

	offer_all(lab);
	memcpy(q->before, lab->memory, MEMORY_BYTES);
	assert_int_equal(vireo_device_config_set(lab->device, 0, "Q", 1), 0);
	pump(lab);
	assert_int_equal(serve_all(lab), 0);
	assert_memory_equal(q->before, lab->memory, MEMORY_BYTES);
	assert_int_equal(poll(&(struct pollfd){ .fd = lab->call, .events = POLLIN }, 1, 0), 0);
	assert_false(channel_speaks(q));
	assert_true(ask_u64(lab, VU_GET_FEATURES) & F_PROTOCOL); /* and it answers */
}

/* What may be said of a device that is suspended wakes nothing. */
static void assert_nothing_wakes_it(struct quiet *q)
{
	struct lab *lab = q->lab;
	struct addr_message addr = ring_addr(0);
	uint8_t config[VU_CONFIG_HEADER_BYTES + 4] = { 0, 0, 0, 0, 4 };
	uint64_t value = 0;

	assert_silent(q);
	for (uint32_t i = 0; i < QUEUES; i++) {
		say_pair(lab, VU_SET_VRING_ENABLE, i, 0);
		say_pair(lab, VU_SET_VRING_ENABLE, i, 1);
	}
	assert_silent(q);
	say_pair(lab, VU_SET_VRING_NUM, 0, SIZE);
	say(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
	say_fds(lab, VU_SET_VRING_CALL, 0, &value, 8, &lab->call, 1);
	assert_silent(q);
	say_u64(lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1);
	share_memory(lab);
	say(lab, VU_GET_CONFIG, config, sizeof(config));
	assert_int_equal(hear(lab, VU_GET_CONFIG, config, sizeof(config)), sizeof(config));
	assert_silent(q);
	say(lab, VU_RESET_OWNER, NULL, 0);
	say(lab, VU_SET_OWNER, NULL, 0);
	assert_silent(q);
}

/* One ring is enough: what has waited is told, once, and the driver is signalled. */
static void assert_wakes(struct quiet *q)
{
	ring(q->lab, 0);
	assert_non_null(q->lab->type.running[0]);
	assert_true(channel_speaks(q));
	assert_false(channel_speaks(q));
	assert_int_equal(poll(&(struct pollfd){ .fd = q->lab->call, .events = POLLIN }, 1, 0), 1);
}

static uint32_t ring_stop(struct lab *lab, uint32_t index)
{
	uint32_t words[2];

	say_pair(lab, VU_GET_VRING_BASE, index, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, words, sizeof(words)), sizeof(words));
	return words[1];
}

static void device_whose_rings_are_stopped_one_by_one_is_silent_after_the_last(void **state)
{
	struct quiet *q = quiet_new();

	for (uint32_t i = 0; i < QUEUES; i++) {
		assert_int_equal(vireo_device_config_set(q->lab->device, 0, "Q", 1), 0);
		assert_true(channel_speaks(q)); /* one runs */
		assert_int_equal(ring_stop(q->lab, i), 1);
	}
	assert_nothing_wakes_it(q);
	assert_wakes(q);
	quiet_free(q);
}

static void device_that_is_reset_is_silent(void **state)
{
	struct quiet *q = quiet_new();

	say(q->lab, VU_RESET_DEVICE, NULL, 0);
	assert_nothing_wakes_it(q);
	assert_wakes(q);
	quiet_free(q);
}

static void device_whose_status_is_zero_is_silent(void **state)
{
	struct quiet *q = quiet_new();

	say_u64(q->lab, VU_SET_STATUS, 0);
	assert_nothing_wakes_it(q);
	say_u64(q->lab, VU_SET_STATUS, VIREO_STATUS_DRIVER_OK);
	assert_wakes(q);
	quiet_free(q);
}

static void device_that_is_reset_while_it_is_suspended_stays_so(void **state)
{
	struct quiet *q = quiet_new();

	for (uint32_t i = 0; i < QUEUES; i++)
		ring_stop(q->lab, i);
	assert_silent(q);
	say(q->lab, VU_RESET_DEVICE, NULL, 0);
	assert_silent(q);
	say_u64(q->lab, VU_SET_STATUS, 0);
	assert_nothing_wakes_it(q);
	say_u64(q->lab, VU_SET_STATUS, VIREO_STATUS_DRIVER_OK);
	assert_wakes(q);
	quiet_free(q);
}

/* Memory comes and goes, and nobody wakes; a ring that starts sees what there is then. */
static void memory_that_comes_and_goes_wakes_no_suspended_device(void **state)
{
	static const uint64_t more[5] = { 0, GPA + MEMORY_BYTES, 0x1000, UADDR + MEMORY_BYTES, 0x8000 };
	struct quiet *q = quiet_new();

	for (uint32_t i = 0; i < QUEUES; i++)
		ring_stop(q->lab, i);
	assert_int_equal(ack_fds(q->lab, VU_ADD_MEM_REG, more, sizeof(more), &q->lab->memfd, 1), 0);
	assert_silent(q);
	assert_int_equal(ack(q->lab, VU_REM_MEM_REG, more, sizeof(more)), 0);
	assert_int_equal(ack(q->lab, VU_REM_MEM_REG, region_message, sizeof(region_message)), 0); /* all of it */
	assert_silent(q);
	assert_int_equal(ack_fds(q->lab, VU_ADD_MEM_REG, region_message, sizeof(region_message), &q->lab->memfd, 1), 0);
	assert_silent(q);
	assert_wakes(q);
	quiet_free(q);
}

/* A ring that is disabled is not stopped: its chains are carried away. */
static void device_whose_rings_are_disabled_is_not_suspended(void **state)
{
	struct quiet *q = quiet_new();

	for (uint32_t i = 0; i < QUEUES; i++)
		say_pair(q->lab, VU_SET_VRING_ENABLE, i, 0);
	offer_all(q->lab);
	assert_int_equal(serve_all(q->lab), QUEUES);
	assert_int_equal(vireo_device_config_set(q->lab->device, 0, "Q", 1), 0);
	assert_true(channel_speaks(q));
	quiet_free(q);
}

/* Between two messages only: rings that are quiet while a message is carried out are not stopped. */
static void device_is_told_of_what_changed_while_a_message_was_carried_out(void **state)
{
	struct quiet *q = quiet_new();

	q->lab->type.late = true;
	say_u64(q->lab, VU_SET_FEATURES, F_PROTOCOL | F_VERSION_1);
	assert_int_equal(vireo_device_config_set(q->lab->device, 0, "Q", 1), 0);
	q->lab->type.late = false;
	type_quiesced_all(&q->lab->type);
	pump(q->lab);
	assert_true(channel_speaks(q));
	quiet_free(q);
}

static void session_that_ends_while_suspended_says_nothing_to_the_next(void **state)
{
	struct quiet *q = quiet_new();

	for (uint32_t i = 0; i < QUEUES; i++)
		ring_stop(q->lab, i);
	assert_silent(q);
	front_close(q->lab);
	pump(q->lab);
	assert_int_equal(q->lab->type.disconnected, 1);
	ready(q->lab);
	assert_false(channel_speaks(q));
	quiet_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_whose_rings_are_stopped_one_by_one_is_silent_after_the_last),
		cmocka_unit_test(device_that_is_reset_is_silent),
		cmocka_unit_test(device_whose_status_is_zero_is_silent),
		cmocka_unit_test(device_that_is_reset_while_it_is_suspended_stays_so),
		cmocka_unit_test(memory_that_comes_and_goes_wakes_no_suspended_device),
		cmocka_unit_test(device_whose_rings_are_disabled_is_not_suspended),
		cmocka_unit_test(device_is_told_of_what_changed_while_a_message_was_carried_out),
		cmocka_unit_test(session_that_ends_while_suspended_says_nothing_to_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
