/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The front end joined with a device of libvireo in one process: both ends of the protocol are the ones that
 * are shipped.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above: */
#include "base/util.h"
#include "vireo/device.h"
#include "vireo/driver.h"
#include "vireo/endpoint.h"
#include "wire/vhost_user.h"
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define RINGS 2u
#define RING_SIZE 64u
#define CONFIG_BYTES 16u
#define SLEEP_MS 20000

/*
 * A device that returns each buffer with its readable bytes turned round. All its rings are served in its one
 * thread, which sleeps whenever it may.
 */
struct echo {
	struct vireo_device *device;
	struct vireo_endpoint *endpoint;
	pthread_t thread;
	char folder[64], path[96], address[128];
	bool stop, closed, change_config;
	struct vireo_queue *running[RINGS];
	uint8_t written[CONFIG_BYTES];
};

static void echo_started(void *opaque, struct vireo_queue *queue)
{
	((struct echo *)opaque)->running[vireo_queue_index(queue)] = queue;
}

static void echo_stop(void *opaque, struct vireo_queue *queue)
{
	((struct echo *)opaque)->running[vireo_queue_index(queue)] = NULL;
	vireo_queue_quiesced(queue);
}

static int echo_config_write(void *opaque, uint32_t offset, const void *data, uint32_t bytes)
{
	struct echo *e = opaque;

	if (offset >= 8) /* the second half is read-only */
		return -EPERM;
	memcpy(e->written + offset, data, bytes);
	return 0;
}

static uint32_t chain_reverse(const struct vireo_chain *chain)
{
	uint8_t bytes[4096];
	uint32_t count = 0, written = 0;

	for (uint32_t i = 0; i < chain->readable_count; i++) {
		memcpy(bytes + count, chain->iov[i].iov_base, chain->iov[i].iov_len);
		count += (uint32_t)chain->iov[i].iov_len;
	}
	for (uint32_t i = chain->readable_count; i < chain->readable_count + chain->writable_count; i++)
		for (size_t j = 0; j < chain->iov[i].iov_len && written < count; j++)
			((uint8_t *)chain->iov[i].iov_base)[j] = bytes[count - ++written];
	return written;
}

static bool queue_serve(struct vireo_queue *queue)
{
	static struct iovec iov[VIREO_CHAIN_PIECES_MAX(RING_SIZE)];
	struct vireo_chain chains[16];
	int n = vireo_queue_pop(queue, chains, 16, iov, ARRAY_SIZE(iov));

	for (int i = 0; i < n; i++)
		vireo_queue_push(queue, &chains[i], chain_reverse(&chains[i]));
	if (n > 0)
		vireo_queue_flush(queue);
	return n > 0;
}

/* Returns whether there was work. */
static bool echo_serve(struct echo *e)
{
	bool worked = false;

	for (unsigned i = 0; i < RINGS; i++)
		if (e->running[i])
			worked |= queue_serve(e->running[i]);
	return worked;
}

static bool echo_asleep_until_kick(struct echo *e)
{
	struct pollfd fds[RINGS + 1] = { { .fd = vireo_endpoint_fd(e->endpoint), .events = POLLIN } };
	bool there = false;

	for (unsigned i = 0; i < RINGS; i++) {
		fds[i + 1] = (struct pollfd){ .fd = -1, .events = POLLIN };
		if (!e->running[i])
			continue;
		fds[i + 1].fd = vireo_queue_kick_fd(e->running[i]);
		there |= vireo_queue_kick_enable(e->running[i], true);
	}
	if (!there)
		poll(fds, RINGS + 1, 20);
	for (unsigned i = 0; i < RINGS; i++) /* this test's own kick fds: nobody else reads them */
		if (fds[i + 1].revents & POLLIN)
			(void)!read(fds[i + 1].fd, &(uint64_t){ 0 }, 8);
	return fds[0].revents;
}

static void echo_closed(void *opaque)
{
	((struct echo *)opaque)->closed = true;
}

static void *echo_main(void *opaque)
{
	struct echo *e = opaque;
	static const uint32_t news = 0x12345678;

	while (!__atomic_load_n(&e->stop, __ATOMIC_RELAXED)) {
		if (!echo_serve(e) && echo_asleep_until_kick(e))
			vireo_endpoint_dispatch(e->endpoint);
		if (__atomic_exchange_n(&e->change_config, false, __ATOMIC_RELAXED))
			vireo_device_config_set(e->device, 8, &news, sizeof(news));
	}
	vireo_endpoint_close(e->endpoint, echo_closed, e);
	return NULL;
}

static const struct vireo_device_ops echo_ops = {
	.size = sizeof(echo_ops),
	.queue_started = echo_started,
	.queue_stop = echo_stop,
	.config_write = echo_config_write,
};

static struct echo *echo_new(bool client)
{
	static const uint8_t config_bytes[CONFIG_BYTES] = { 1, 2,  3,  4,  5,  6,  7,  8,
							    9, 10, 11, 12, 13, 14, 15, 16 };
	struct echo *e = calloc(1, sizeof(*e));
	struct vireo_device_config config = {
		.size = sizeof(config),
		.device_id = 4,
		.features = VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) |
			    VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) |
			    VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) | VIREO_FEATURE(VIREO_F_IN_ORDER_BIT),
		.queue_count = RINGS,
		.config = config_bytes,
		.config_bytes = CONFIG_BYTES,
		.ops = &echo_ops,
		.opaque = e,
	};
	struct vireo_endpoint_config endpoint = { .size = sizeof(endpoint), .vhost_user.client = client };

	assert_non_null(e);
	snprintf(e->folder, sizeof(e->folder), "/tmp/vireo-device-test.XXXXXX");
	assert_non_null(mkdtemp(e->folder));
	snprintf(e->path, sizeof(e->path), "%s/s", e->folder);
	snprintf(e->address, sizeof(e->address), "vhost-user:%s", e->path);
	assert_int_equal(vireo_device_new(&config, &e->device), 0);
	assert_int_equal(vireo_endpoint_open(e->device, e->address, &endpoint, &e->endpoint), 0);
	assert_int_equal(pthread_create(&e->thread, NULL, echo_main, e), 0);
	return e;
}

static void echo_free(struct echo *e)
{
	__atomic_store_n(&e->stop, true, __ATOMIC_RELAXED);
	pthread_join(e->thread, NULL);
	assert_true(e->closed);
	vireo_device_free(e->device);
	rmdir(e->folder);
	free(e);
}

static struct vireo_front *front_open(const struct echo *e, uint64_t features, uint64_t protocol_off,
				      bool server)
{
	struct vireo_front_config config = {
		.size = sizeof(config),
		.path = e->path,
		.server = server,
		.features_required = features | VIREO_FEATURE(VIREO_F_VERSION_1_BIT),
		.queue_count = RINGS,
		.queue_size = RING_SIZE,
		.memory_bytes = 65536,
		.protocol_features_off = protocol_off,
	};
	struct vireo_front *front = NULL;

	assert_int_equal(vireo_front_open(&config, &front), 0);
	return front;
}

/* Sleeps until the device signals, if nothing is there. */
static void wait_used(struct vireo_driver_ring *ring)
{
	struct pollfd p = { .fd = vireo_driver_ring_call_fd(ring), .events = POLLIN };

	if (!vireo_driver_ring_signal_enable(ring, true))
		assert_int_equal(poll(&p, 1, SLEEP_MS), 1);
	vireo_driver_ring_signal_enable(ring, false);
}

/* Buffers of several pieces each, RING_SIZE / 4 at a time, many times over. */
static void ring_exercise(struct vireo_front *front, unsigned index, unsigned rounds)
{
	struct vireo_driver_ring *ring = vireo_front_ring(front, index);
	uint8_t *memory = (uint8_t *)vireo_front_memory(front) + index * 32768;
	unsigned batch = RING_SIZE / 4, got;

	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < batch; i++) {
			uint8_t *at = memory + i * 64;
			char text[24];
			struct iovec iov[4] = { { at, 3 }, { at + 3, 5 }, { at + 16, 1 }, { at + 17, 9 } };

			snprintf(text, sizeof(text), "%03u%05u", i, round);
			memcpy(at, text, 9);
			memset(at + 16, 0, 16);
			assert_int_equal(vireo_driver_ring_add(ring, iov, 2, 2, i & 1, at), 0);
		}
		vireo_driver_ring_kick(ring);
		for (got = 0; got < batch;) {
			uint32_t len_bytes;
			void *cookie;
			int ret = vireo_driver_ring_get(ring, &cookie, &len_bytes);

			assert_true(ret >= 0);
			if (!ret) {
				wait_used(ring);
				continue;
			}
			assert_int_equal(len_bytes, 8);
			for (unsigned j = 0; j < 8; j++)
				assert_int_equal(((uint8_t *)cookie)[16 + j], ((uint8_t *)cookie)[7 - j]);
			got++;
		}
	}
	assert_int_equal(vireo_driver_ring_free(ring), RING_SIZE);
}

static void buffers_go_round_in_every_variant(void **state)
{
	static const unsigned bits[] = { VIREO_F_RING_PACKED_BIT, VIREO_F_IN_ORDER_BIT,
					 VIREO_F_RING_EVENT_IDX_BIT, VIREO_F_RING_INDIRECT_DESC_BIT };
	struct echo *e = echo_new(false);

	for (unsigned variant = 0; variant < 16; variant++) {
		uint64_t features = 0;
		struct vireo_front *front;

		for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
			if (variant & 1u << i)
				features |= VIREO_FEATURE(bits[i]);
		front = front_open(e, features, 0, false);
		for (unsigned i = 0; i < RINGS; i++)
			ring_exercise(front, i, 50);
		vireo_front_close(front);
	}
	echo_free(e);
}

static void each_protocol_feature_may_be_missing(void **state)
{
	static const unsigned bits[] = {
		VU_PROTO_MQ_BIT,     VU_PROTO_REPLY_ACK_BIT,	       VU_PROTO_BACKEND_REQ_BIT,
		VU_PROTO_CONFIG_BIT, VU_PROTO_CONFIGURE_MEM_SLOTS_BIT, VU_PROTO_STATUS_BIT
	};
	struct echo *e = echo_new(false);

	for (unsigned i = 0; i <= ARRAY_SIZE(bits); i++) {
		uint64_t off = i < ARRAY_SIZE(bits) ? UINT64_C(1) << bits[i] : UINT64_MAX;
		struct vireo_front *front = front_open(e, 0, off, false);

		ring_exercise(front, 0, 3);
		vireo_front_close(front);
	}
	echo_free(e);
}

static void device_connects_to_a_front_end_that_listens(void **state)
{
	struct echo *e = echo_new(true);

	for (unsigned i = 0; i < 2; i++) { /* and comes again when it is gone */
		struct vireo_front *front = front_open(e, 0, 0, true);

		ring_exercise(front, 1, 3);
		vireo_front_close(front);
	}
	echo_free(e);
}

static void config_space_is_the_devices(void **state)
{
	struct echo *e = echo_new(false);
	struct vireo_front *front = front_open(e, 0, 0, false);
	uint8_t data[CONFIG_BYTES] = { 0 };

	assert_int_equal(vireo_front_config_read(front, 0, data, CONFIG_BYTES), 0);
	for (unsigned i = 0; i < CONFIG_BYTES; i++)
		assert_int_equal(data[i], i + 1);
	assert_int_equal(vireo_front_config_read(front, CONFIG_BYTES, data, 1), -EINVAL);
	assert_int_equal(vireo_front_config_write(front, 2, "ab", 2), 0);
	assert_int_equal(vireo_front_config_write(front, 9, "ab", 2), -EINVAL);
	assert_int_equal(vireo_front_config_read(front, 0, data, CONFIG_BYTES), 0);
	assert_memory_equal(data + 2, "ab", 2);
	assert_memory_equal(e->written + 2, "ab", 2);
	assert_int_equal(data[9], 10);
	vireo_front_close(front);
	echo_free(e);
}

static void change_of_the_config_is_told(void **state)
{
	struct echo *e = echo_new(false);
	struct vireo_front *front = front_open(e, 0, 0, false);
	uint32_t value = 0;
	unsigned tries;

	assert_int_equal(vireo_front_config_changed(front), 0);
	__atomic_store_n(&e->change_config, true, __ATOMIC_RELAXED);
	for (tries = 0; tries < 2000 && !vireo_front_config_changed(front); tries++)
		usleep(10000);
	assert_true(tries < 2000);
	assert_int_equal(vireo_front_config_changed(front), 0);
	assert_int_equal(vireo_front_config_read(front, 8, &value, sizeof(value)), 0);
	assert_int_equal(value, 0x12345678);
	vireo_front_close(front);
	echo_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_go_round_in_every_variant),
		cmocka_unit_test(each_protocol_feature_may_be_missing),
		cmocka_unit_test(device_connects_to_a_front_end_that_listens),
		cmocka_unit_test(config_space_is_the_devices),
		cmocka_unit_test(change_of_the_config_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
