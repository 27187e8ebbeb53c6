/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VDUSE_LAB_TEST_H
#define VDUSE_LAB_TEST_H

/* A daemon with one device, served by the test itself, in front of the kernel of fake_test.h. */

#include "device/device_test_lab.h"
#include "transport/vduse/fake_test.h"

#define SIZE 8u
#define FEATURES_ALL                                                                                         \
	(F(VERSION_1) | F(RING_INDIRECT_DESC) | F(RING_EVENT_IDX) | F(RING_PACKED) | F(RING_RESET) | NET_CTRL | NET_MAC)
#define NET_CTRL (UINT64_C(1) << 17 | UINT64_C(1) << 18 | UINT64_C(1) << 22) /* CTRL_VQ, CTRL_RX, MQ */
#define NET_MAC (UINT64_C(1) << 5)
#define NET_SPEED (UINT64_C(1) << 63)

struct lab {
	struct fake *f;
	struct vireo_device *device;
	struct vireo_endpoint *endpoint;
	struct lab_type type;
	unsigned closed;
	int told; /* a loss, by dispatch */
	uint8_t held[64]; /* bytes of the buffer that was popped last */
	char log[LAB_LOG_BYTES];
};

static const struct vireo_device_ops lab_ops = {
	.size = sizeof(lab_ops),
	.queue_started = type_started,
	.queue_stop = type_stop,
	.features_set = type_features,
	.connected = type_connected,
	.reset = type_reset,
};

static const char *lab_config = "0123456789abcdef"; /* a test may offer another */
static uint64_t lab_features = FEATURES_ALL; /* or others */

static struct lab *lab_new_of(struct fake *f, uint32_t device_id, bool out_of_order)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	struct vireo_device_config config = {
		.size = sizeof(config),
		.device_id = device_id,
		.features = lab_features,
		.queue_count = QUEUES,
		.queue_num_told = 1,
		.queue_size_max = 256,
		.control_queues = 1,
		.config = lab_config,
		.config_bytes = 16,
		.ops = &lab_ops,
		.opaque = &lab->type,
		.log = { .write = lab_log, .opaque = lab->log, .max_level = VIREO_LOG_DEBUG },
		.name = "lab",
		.out_of_order = out_of_order,
	};

	assert_non_null(lab);
	lab->f = f;
	assert_int_equal(vireo_device_new(&config, &lab->device), 0);
	return lab;
}

static struct lab *lab_new(struct fake *f, uint32_t device_id)
{
	return lab_new_of(f, device_id, false);
}

static int lab_open_as(struct lab *lab, const char *name, struct vireo_endpoint_config *config)
{
	const struct vduse_kernel kernel = fake_kernel(lab->f);

	config->size = sizeof(*config);
	config->vduse.state_folder = lab->f->folder;
	return vduse_open_on(lab->device, name, config, &kernel, &lab->endpoint);
}

static int lab_open(struct lab *lab)
{
	struct vireo_endpoint_config config = { 0 };

	return lab_open_as(lab, FAKE_NAME, &config);
}

static int lab_turn(struct lab *lab, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = vireo_endpoint_fd(lab->endpoint), .events = POLLIN };

	int r;

	if (poll(&poll_fd, 1, timeout_ms) <= 0)
		return 0;
	r = vireo_endpoint_dispatch(lab->endpoint);
	if (r)
		lab->told = r;
	return 1;
}

#ifndef LAB_IDLE_MS
#define LAB_IDLE_MS 2 /* nothing has come for so long: nothing comes. A test that has no thread says 0 */
#endif

static void lab_pump(struct lab *lab)
{
	for (unsigned i = 0; i < 100 && lab->endpoint && !lab->closed; i++)
		if (!lab_turn(lab, LAB_IDLE_MS))
			return;
}

static void lab_closed(void *opaque)
{
	((struct lab *)opaque)->closed++;
}

static void lab_close(struct lab *lab)
{
	vireo_endpoint_close(lab->endpoint, lab_closed, lab);
	for (unsigned i = 0; i < 2000 && !lab->closed; i++)
		lab_turn(lab, 10);
	assert_int_equal(lab->closed, 1);
	lab->endpoint = NULL;
}

static void lab_free(struct lab *lab)
{
	if (lab->endpoint)
		lab_close(lab);
	vireo_device_free(lab->device);
	free(lab);
}

/* Sends, lets the daemon run, and takes the answer; true: it is "yes". */
static bool ask_for(struct lab *lab, uint32_t type, uint32_t word0, uint32_t word1, struct fake_response *ret)
{
	uint32_t id = fake_send(lab->f, type, word0, word1);

	lab_pump(lab);
	assert_true(fake_answered(lab->f, ret));
	assert_int_equal(ret->id, id);
	if (type == VDUSE_MSG_SET_STATUS && !ret->result)
		lab->f->status = (uint8_t)word0;
	return !ret->result;
}

static bool ask(struct lab *lab, uint32_t type, uint32_t word0, uint32_t word1)
{
	struct fake_response response;

	return ask_for(lab, type, word0, word1, &response);
}

static inline bool ask_update(struct lab *lab)
{
	struct fake_response response;
	uint32_t id = fake_send_update(lab->f);

	lab_pump(lab);
	assert_true(fake_answered(lab->f, &response));
	assert_int_equal(response.id, id);
	return !response.result;
}

/* Pops one chain, remembers how it begins, and gives it back used. Returns whether there was one. */
static bool serve_one(struct lab *lab, unsigned queue)
{
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(SIZE)];
	struct vireo_chain chain;

	if (!lab->type.running[queue] ||
	    vireo_queue_pop(lab->type.running[queue], &chain, 1, iov, VIREO_CHAIN_PIECES_MAX(SIZE)) <= 0)
		return false;
	memcpy(lab->held, chain.iov[0].iov_base,
	       chain.iov[0].iov_len < sizeof(lab->held) ? chain.iov[0].iov_len : sizeof(lab->held));
	vireo_queue_push(lab->type.running[queue], &chain, 0);
	vireo_queue_flush(lab->type.running[queue]);
	return true;
}

/* Open, and a driver that is up. */
static inline struct lab *lab_up(struct fake *f, struct fake_driver *driver, uint64_t features)
{
	struct lab *lab = lab_new(f, 1);

	assert_int_equal(lab_open(lab), 0);
	lab_pump(lab);
	driver_new(f, driver, features, SIZE);
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, 0, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0));
	assert_true(ask(lab, VDUSE_MSG_SET_STATUS, STATUS_OK, 0));
	lab_pump(lab);
	return lab;
}

#endif
