/* SPDX-License-Identifier: BSD-3-Clause */
#include "vireo/rng.h"
#include "base/util.h"
#include "vireo/device.h"
#include "vireo/memory.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

/*
 * The entropy device (virtio 1.3, 5.4): one queue of buffers for the device to fill. It is also the template
 * of a model: a config for the device, ops, and work on chains; no word about transports or descriptors.
 *
 * Its only queue is a control queue: it is served in the control thread, and the library takes care of kicks
 * and of quiesce. A model with workers has queue_started and queue_stop instead.
 */

#define RNG_DEVICE_ID 4u
#define RNG_QUEUE_SIZE 256u
#define RNG_BURST 16u
/* virtio 1.3, 5.4.6.2: the device may fill less than the buffer. A huge one must not hold the thread. */
#define RNG_CHAIN_BYTES_MAX 4096u

struct vireo_rng {
	struct vireo_device *device;
	struct iovec iov[VIREO_CHAIN_PIECES_MAX(RNG_QUEUE_SIZE)];
};

/*
 * getrandom() writes into guest memory itself: nothing here depends on what is there. It may stop short, and
 * fail where memory is gone; the driver is told how much it got.
 */
static uint32_t rng_fill(const struct vireo_chain *chain)
{
	uint32_t left_bytes = min_u32(chain->writable_bytes, RNG_CHAIN_BYTES_MAX);
	uint32_t filled_bytes = 0;

	for (uint32_t i = 0; i < chain->writable_count && left_bytes; i++) {
		const struct iovec *piece = &chain->iov[chain->readable_count + i];
		size_t want_bytes = min_u64(piece->iov_len, left_bytes);
		ssize_t got_bytes = getrandom(piece->iov_base, want_bytes, 0);

		if (got_bytes < 0 && errno == EFAULT) { /* pages that nobody has touched: see vireo/memory.h */
			vireo_memory_touch(&(struct iovec){ piece->iov_base, want_bytes }, 1);
			got_bytes = getrandom(piece->iov_base, want_bytes, 0);
		}

		if (got_bytes <= 0)
			break;
		filled_bytes += (uint32_t)got_bytes;
		left_bytes -= (uint32_t)got_bytes;
		if ((size_t)got_bytes < want_bytes)
			break;
	}
	return filled_bytes;
}

/* One burst a call: the library calls again as long as chains are there, and lets others have their turn. */
static void rng_kicked(void *opaque, struct vireo_queue *queue)
{
	struct vireo_rng *rng = opaque;
	struct vireo_chain chains[RNG_BURST];
	int count = vireo_queue_pop(queue, chains, RNG_BURST, rng->iov, ARRAY_SIZE(rng->iov));

	for (int i = 0; i < count; i++)
		vireo_queue_push(queue, &chains[i], rng_fill(&chains[i]));
	if (count > 0)
		vireo_queue_flush(queue);
}

static const struct vireo_device_ops rng_ops = {
	.size = sizeof(rng_ops),
	.queue_kicked = rng_kicked,
};

int vireo_rng_new(const struct vireo_rng_config *user_config, struct vireo_rng **ret_rng)
{
	struct vireo_rng_config config;
	struct vireo_rng *rng;
	int r = config_copy(&config, sizeof(config), user_config);

	if (r)
		return r;
	rng = calloc(1, sizeof(*rng));
	if (!rng)
		return -ENOMEM;
	r = vireo_device_new(
		&(struct vireo_device_config){
			.size = sizeof(struct vireo_device_config),
			.device_id = RNG_DEVICE_ID,
			.features = VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) |
				    VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) |
				    VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) |
				    VIREO_FEATURE(VIREO_F_IN_ORDER_BIT) |
				    VIREO_FEATURE(VIREO_F_RING_RESET_BIT),
			.queue_count = 1,
			.queue_size_max = RNG_QUEUE_SIZE,
			.control_queues = 1,
			.ops = &rng_ops,
			.opaque = rng,
			.log = config.log,
			.name = config.name ? config.name : "rng",
			.faults = config.faults,
			.notifier = config.notifier,
		.memory = config.memory,
		.memory_max_bytes = config.memory_max_bytes,
		},
		&rng->device);
	if (r) {
		free(rng);
		return r;
	}
	*ret_rng = rng;
	return 0;
}

void vireo_rng_free(struct vireo_rng *rng)
{
	if (!rng)
		return;
	vireo_device_free(rng->device);
	free(rng);
}

struct vireo_device *vireo_rng_device(struct vireo_rng *rng)
{
	return rng->device;
}
