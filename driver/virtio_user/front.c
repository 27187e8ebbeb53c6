/* SPDX-License-Identifier: BSD-3-Clause */

/* The order of things, from connecting to closing. */

#include "driver/virtio_user/front.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "vireo/notifier.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER 2u
#define STATUS_DRIVER_OK 4u
#define STATUS_FEATURES_OK 8u

#define FRONT_PROTOCOL_FEATURES                                                         \
	(UINT64_C(1) << VU_PROTO_MQ_BIT | UINT64_C(1) << VU_PROTO_REPLY_ACK_BIT |       \
	 UINT64_C(1) << VU_PROTO_BACKEND_REQ_BIT | UINT64_C(1) << VU_PROTO_CONFIG_BIT | \
	 UINT64_C(1) << VU_PROTO_CONFIGURE_MEM_SLOTS_BIT | UINT64_C(1) << VU_PROTO_STATUS_BIT)

static int config_take(struct vireo_front *front, const struct vireo_front_config *config)
{
	struct vireo_front_config *c = &front->config;
	int ret = config_copy(c, sizeof(*c), config);

	if (ret)
		return ret;
	if (!c->timeout_ms)
		c->timeout_ms = FRONT_TIMEOUT_DEFAULT_MS;
	if (!c->queue_size)
		c->queue_size = FRONT_RING_SIZE_DEFAULT;
	c->features |= c->features_required;
	if (!c->path)
		return -EINVAL;
	c->path = strdup(c->path); /* ours from here on */
	if (!c->path)
		return -ENOMEM;
	if (!c->queue_count || c->queue_count > FRONT_RINGS_MAX || c->timeout_ms > INT32_MAX ||
	    c->memory_bytes > SIZE_MAX / 4)
		return -EINVAL;
	front->rings = calloc(c->queue_count, sizeof(*front->rings));
	if (!front->rings)
		return -ENOMEM;
	for (unsigned i = 0; i < c->queue_count; i++)
		front->rings[i] = (struct front_ring){ .kick = BELL_INIT, .call_fd = -1 };
	return 0;
}

/* Protocol features may be agreed as soon as the back end has shown bit 30. */
static int agree_protocol(struct vireo_front *front)
{
	uint64_t offered, wanted = FRONT_PROTOCOL_FEATURES & ~front->config.protocol_features_off;
	int ret = front_get_u64(front, VU_GET_PROTOCOL_FEATURES, &offered);

	if (ret)
		return ret;
	wanted &= offered;
	ret = front_set_u64(front, VU_SET_PROTOCOL_FEATURES, wanted);
	if (!ret)
		front->protocol_features = wanted;
	return ret;
}

static int status_add(struct vireo_front *front, uint8_t bits)
{
	if (!front_protocol(front, VU_PROTO_STATUS_BIT))
		return 0;
	front->status |= bits;
	return front_set_u64(front, VU_SET_STATUS, front->status);
}

/* GET_QUEUE_NUM counts pairs for a network device, and rings for others. One ring more may be for control. */
static int check_rings(struct vireo_front *front)
{
	uint64_t told;
	int ret;

	if (!front_protocol(front, VU_PROTO_MQ_BIT))
		return 0;
	ret = front_get_u64(front, VU_GET_QUEUE_NUM, &told);
	if (ret)
		return ret;
	if (told <= FRONT_RINGS_MAX && front->config.queue_count > 2 * told + 1) {
		log_error(&front->config.log, "%s: %u rings wanted, the back end has %llu queues",
			  front->config.path, front->config.queue_count, (unsigned long long)told);
		return -ENOTSUP;
	}
	return 0;
}

static int agree_features(struct vireo_front *front, uint64_t offered)
{
	uint64_t missing = front->config.features_required & ~offered, status = STATUS_FEATURES_OK;
	uint64_t agreed = (front->config.features | UINT64_C(1) << VU_F_PROTOCOL_FEATURES_BIT) & offered;
	int ret;

	if (missing) {
		log_error(&front->config.log, "%s: the back end lacks features %#llx", front->config.path,
			  (unsigned long long)missing);
		return -ENOTSUP;
	}
	ret = front_set_u64(front, VU_SET_FEATURES, agreed);
	if (!ret)
		ret = status_add(front, STATUS_FEATURES_OK);
	if (!ret && front_protocol(front, VU_PROTO_STATUS_BIT))
		ret = front_get_u64(front, VU_GET_STATUS, &status);
	if (!ret && !(status & STATUS_FEATURES_OK)) {
		log_error(&front->config.log, "%s: the back end does not accept features %#llx",
			  front->config.path, (unsigned long long)agreed);
		ret = -ENOTSUP;
	}
	front->features = agreed;
	return ret;
}

static int negotiate(struct vireo_front *front)
{
	uint64_t offered = 0;
	int ret = front_send(front, VU_SET_OWNER, NULL, 0);

	if (!ret)
		ret = front_get_u64(front, VU_GET_FEATURES, &offered);
	if (!ret && offered >> VU_F_PROTOCOL_FEATURES_BIT & 1)
		ret = agree_protocol(front);
	if (!ret)
		ret = check_rings(front);
	if (!ret)
		ret = status_add(front, STATUS_ACKNOWLEDGE);
	if (!ret)
		ret = status_add(front, STATUS_DRIVER);
	return ret ? ret : agree_features(front, offered);
}

/* The back end shares the kick fds: they are raised in a way that it cannot block. */
static int notifier_take(struct vireo_front *front)
{
	int ret = 0;

	if (!front->config.notifier)
		ret = vireo_notifier_open(NULL, &front->own_notifier, NULL);
	if (front->own_notifier)
		front->config.notifier = front->own_notifier;
	return ret;
}

static int front_start(struct vireo_front *front)
{
	int ret = negotiate(front);

	if (!ret)
		ret = front_backend_open(front);
	if (!ret)
		ret = front_memory_new(front);
	if (!ret)
		ret = front_rings_new(front);
	if (!ret)
		ret = front_memory_share(front);
	if (!ret)
		ret = front_rings_start(front);
	if (!ret)
		ret = status_add(front, STATUS_DRIVER_OK);
	return ret == -EINVAL ? -EPROTO : ret; /* what this front end sends is valid */
}

static void front_free(struct vireo_front *front)
{
	fd_close(&front->socket);
	fd_close(&front->backend_fd);
	front_rings_free(front);
	front_memory_free(front);
	vireo_notifier_free(front->own_notifier);
	free((char *)(uintptr_t)front->config.path);
	free(front);
}

/* Before the deadline. */
static void front_end(struct vireo_front *front)
{
	front->closing = true;
	if (front->socket >= 0 && !front->dead) {
		front_rings_stop(front);
		if (!front->dead && front_protocol(front, VU_PROTO_STATUS_BIT))
			front_set_u64(front, VU_SET_STATUS, 0);
	}
	front_free(front);
}

int vireo_front_open(const struct vireo_front_config *config, struct vireo_front **ret_front)
{
	struct vireo_front *front = calloc(1, sizeof(*front));
	int ret;

	if (!front)
		return -ENOMEM;
	front->socket = front->backend_fd = front->memory_fd = -1;
	ret = config_take(front, config);
	if (!ret)
		ret = notifier_take(front);
	front->deadline_ms = clock_now_ms() + front->config.timeout_ms;
	if (!ret)
		ret = front_connect(&front->config, front->deadline_ms, &front->socket);
	if (!ret)
		ret = front_start(front);
	if (ret) {
		front_end(front);
		return ret;
	}
	front->deadline_ms = 0;
	log_info(&front->config.log, "%s: features %#llx, protocol features %#llx", front->config.path,
		 (unsigned long long)front->features, (unsigned long long)front->protocol_features);
	*ret_front = front;
	return 0;
}

void vireo_front_close(struct vireo_front *front)
{
	if (!front)
		return;
	front->deadline_ms = clock_now_ms() + front->config.timeout_ms;
	front_end(front);
}

void vireo_front_abandon(struct vireo_front *front)
{
	if (front)
		front_free(front);
}

uint64_t vireo_front_features(const struct vireo_front *front)
{
	return front->features;
}

int vireo_front_socket(const struct vireo_front *front)
{
	return front->socket;
}

void *vireo_front_memory(const struct vireo_front *front)
{
	return front->config.memory_bytes ? front->memory + front->rings_bytes : NULL;
}

struct vireo_driver_ring *vireo_front_ring(struct vireo_front *front, unsigned index)
{
	return index < front->config.queue_count ? front->rings[index].ring : NULL;
}
