/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The network device: life, features, config space, and what the transport's verbs mean to it.
 *
 * Theory of operation. States of a data queue:
 * - stopped: `queue` is NULL; worker functions find nothing to do;
 * - running: from net_queue_started(), which makes its arena, until vireo_net_queue_quiesced(), which frees
 * it.
 *
 * In between the queue belongs to one worker. What it needs of the negotiated features is put into struct
 * net_queue when it starts; features cannot change while a queue runs. What can change under a worker is read
 * atomically: the filter, pairs_active, frame_bytes_max, a receive queue's offloads and vireo_queue_enabled().
 */

#include "base/log.h"
#include "device/device.h"
#include "base/copy.h"
#include "model/net/net_internal.h"
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NET_DEVICE_ID 1u

/* ---- config space ---- */

static int net_config_put(struct vireo_net *net, size_t offset, const void *data, uint32_t bytes)
{
	return vireo_device_config_set(net->device, (uint32_t)offset, data, bytes);
}

int net_status_set(struct vireo_net *net, uint16_t status)
{
	uint16_t wire = htole16(status);
	int r;

	if (status == net->status)
		return 0;
	r = net_config_put(net, offsetof(struct virtio_net_config_space, status), &wire, sizeof(wire));
	if (!r)
		net->status = status;
	return r;
}

int net_mac_set(struct vireo_net *net, const uint8_t mac[6])
{
	int r = 0;

	if (net->mac_given && memcmp(mac, net->mac, 6) != 0)
		r = net_config_put(net, offsetof(struct virtio_net_config_space, mac), mac, 6);
	if (r)
		return r;
	memcpy(net->mac, mac, 6);
	net_filter_mac_set(&net->filter, mac);
	return 0;
}

/* Read-only (5.1.4), but for the address under a legacy driver (5.1.4.3). */
static int net_config_write(void *opaque, uint32_t offset, const void *data, uint32_t bytes)
{
	struct vireo_net *net = opaque;

	if (net_has(net, VIREO_F_VERSION_1_BIT) || offset > 6 || bytes > 6 - offset)
		return -EPERM;
	memcpy(net->mac + offset, data, bytes);
	net_filter_mac_set(&net->filter, net->mac);
	net_filter_tell(net);
	return 0;
}

/* ---- negotiation ---- */

/* Frames without GSO may not exceed an MTU that the driver accepted (5.1.4.1). */
static void net_frame_max_set(struct vireo_net *net)
{
	uint16_t mtu = net->mtu_told ? net->mtu_told : net->mtu;
	uint32_t max = net_has(net, VIREO_NET_F_MTU_BIT) ? NET_ETHERNET_BYTES + mtu : NET_FRAME_BYTES_MAX;

	for (unsigned pair = 0; pair < net->pairs; pair++)
		__atomic_store_n(&net_receive_queue(net, pair)->frame_bytes_max, max, __ATOMIC_RELAXED);
}

/*
 * A front end that serves the control queue itself (QEMU, cloud-hypervisor) enables and disables the queues, and answers its
 * guest's filter commands: all pairs are used, and nothing is filtered, whatever features it tells us of.
 */
static void net_features_apply(struct vireo_net *net, uint64_t features)
{
	net->features = features;
	net->controlled = false;
	net->offloads_off = 0;
	net_rss_forget(net);
	net_coalesce_forget(net);
	__atomic_store_n(&net->pairs_active, net->pairs, __ATOMIC_RELAXED);
	net_frame_max_set(net);
	net_filter_mode_set(&net->filter, NET_FILTER_VLAN, false);
}

/* The driver has set up our control queue: what it has not said there yet holds (5.1.6.5.6.1, 5.1.6.5.3). */
void net_control_begins(struct vireo_net *net)
{
	net_state_forget(net);
	if (net->controlled)
		return;
	net->controlled = true;
	if (net_has(net, VIREO_NET_F_CTRL_VLAN_BIT)) {
		net_filter_mode_set(&net->filter, NET_FILTER_VLAN, true);
		net_filter_tell(net);
	}
	if (net_has(net, VIREO_NET_F_MQ_BIT) || net_has(net, VIREO_NET_F_RSS_BIT))
		net_pairs_set(net, 1);
}

void net_pairs_set(struct vireo_net *net, unsigned pairs)
{
	__atomic_store_n(&net->pairs_active, pairs, __ATOMIC_RELAXED);
	if (net->ops.pairs_set)
		net->ops.pairs_set(net->opaque, pairs);
}

static int net_features_set(void *opaque, uint64_t features)
{
	struct vireo_net *net = opaque;

	net_features_apply(net, features);
	if (net->ops.negotiated)
		net->ops.negotiated(net->opaque, features);
	net_state_apply(net);
	return 0;
}

static void net_state_reset(struct vireo_net *net)
{
	net_state_forget(net);
	net->mtu_told = 0;
	net_status_set(net, net->status & ~NET_S_ANNOUNCE);
	net_mac_set(net, net->mac_config);
	net_filter_reset(&net->filter, net->mac_config);
	net_features_apply(net, 0);
}

static void net_reset(void *opaque)
{
	struct vireo_net *net = opaque;

	net_state_reset(net);
	net_filter_tell(net);
}

static int net_postcopy(void *opaque, bool on)
{
	struct vireo_net *net = opaque;

	return net->ops.postcopy ? net->ops.postcopy(net->opaque, on) : 0;
}

static void net_connected(void *opaque, bool connected)
{
	struct vireo_net *net = opaque;

	net_reset(net);
	if (net->ops.connected)
		net->ops.connected(net->opaque, connected);
}

static int net_announce_asked(struct vireo_net *net, const uint8_t mac[6])
{
	if (!net->ops.announce)
		return -EOPNOTSUPP;
	net->ops.announce(net->opaque, mac);
	return 0;
}

/* More than we offered would promise the guest what we do not carry. */
static int net_mtu_told(struct vireo_net *net, uint16_t mtu)
{
	if (mtu < NET_MTU_MIN || (net->mtu && mtu > net->mtu))
		return -EINVAL;
	net->mtu_told = mtu;
	net_frame_max_set(net);
	if (net->ops.mtu_set)
		net->ops.mtu_set(net->opaque, mtu);
	return 0;
}

static int net_message(void *opaque, unsigned message, const void *data, uint32_t bytes)
{
	uint16_t mtu;

	if (message == VIREO_MESSAGE_NET_ANNOUNCE && bytes == 6)
		return net_announce_asked(opaque, data);
	if (message != VIREO_MESSAGE_NET_MTU || bytes != sizeof(mtu))
		return -EOPNOTSUPP;
	memcpy(&mtu, data, sizeof(mtu));
	return net_mtu_told(opaque, mtu);
}

/* ---- queues ---- */

static void net_queue_arena_free(struct net_queue *q)
{
	free(q->chains);
	free(q->written);
	free(q->iov);
	q->chains = NULL;
	q->written = NULL;
	q->iov = NULL;
}

static int net_queue_arena_new(struct net_queue *q, unsigned size)
{
	q->size = size;
	q->iov_max = VIREO_CHAIN_PIECES_MAX(size);
	q->iov_used = q->first = q->last = q->pushed = q->burst = 0;
	q->left = 0;
	q->renew = false;
	q->chains = calloc(size, sizeof(*q->chains));
	q->written = calloc(size, sizeof(*q->written));
	q->iov = calloc(q->iov_max, sizeof(*q->iov));
	if (q->chains && q->written && q->iov)
		return 0;
	net_queue_arena_free(q);
	return -ENOMEM;
}

static int net_data_queue_start(struct vireo_net *net, unsigned index, struct vireo_queue *queue)
{
	struct net_queue *q = &net->queues[index];
	if (net_queue_arena_new(q, vireo_queue_size(queue)))
		return -ENOMEM;
	q->string_from_bytes = copy_string_from_bytes();
	q->header_bytes = net_features_header_bytes(net->features);
	q->hashed = net_has(net, VIREO_NET_F_HASH_REPORT_BIT);
	q->offloads = index & 1 ? net_features_transmit_offloads(net->features) : vireo_net_offloads(net);
	q->indirect = net_has(net, VIREO_F_RING_INDIRECT_DESC_BIT);
	q->merge = net_has(net, VIREO_NET_F_MRG_RXBUF_BIT);
	/* What the IOMMU has not told is found when it is popped: early, so that it has come when it is needed. */
	q->stock_min = device_patient(net->device) ? NET_BATCH / 2 : 0;
	q->queue = queue;
	net_coalesce_queue_starts(net, index, queue);
	/*
	 * Nobody waits for receive buffers: a driver need not tell of each of them. It is told so in its memory, which must not be
	 * waited for here.
	 */
	if (!(index & 1) && !device_late(net->device))
		vireo_queue_kick_enable(queue, false);
	if (net->ops.queue_started)
		net->ops.queue_started(net->opaque, index);
	return 0;
}

static void net_queue_started(void *opaque, struct vireo_queue *queue)
{
	struct vireo_net *net = opaque;

	net_state_forget(net);
	if (net_data_queue_start(net, vireo_queue_index(queue), queue))
		vireo_device_break(net->device, "no memory for a queue");
}

static void net_queue_stop(void *opaque, struct vireo_queue *queue)
{
	struct vireo_net *net = opaque;
	unsigned index = vireo_queue_index(queue);

	if (!net->queues[index].queue) /* it could not be started */
		vireo_queue_quiesced(queue);
	else if (net->ops.queue_stop)
		net->ops.queue_stop(net->opaque, index);
	else
		vireo_net_queue_quiesced(net, index);
}

void vireo_net_queue_quiesced(struct vireo_net *net, unsigned queue)
{
	struct net_queue *q = &net->queues[queue];
	struct vireo_queue *running;

	assert(queue < 2 * net->pairs);
	running = q->queue;
	if (!running)
		return;
	assert(!(queue & 1) || !q->first); /* a look was not completed */
	net_queue_unpop(q);
	q->queue = NULL;
	net_queue_arena_free(q);
	vireo_queue_quiesced(running);
}

__cold void net_queue_renew(struct net_queue *q)
{
	/* One step with the look: a flag that is set anew meanwhile stays. */
	if (!__atomic_exchange_n(&q->renew, false, __ATOMIC_ACQUIRE))
		return;
	net_queue_unpop(q);
	q->first = q->last = q->pushed = 0;
	q->iov_used = 0;
}

static int net_queue_memory_goes(void *opaque, struct vireo_queue *queue)
{
	struct vireo_net *net = opaque;
	unsigned index = vireo_queue_index(queue);
	struct net_queue *q = &net->queues[index];

	if (!q->queue || (net->ops.queue_stop && !net->ops.queue_renew))
		return -EOPNOTSUPP;
	__atomic_store_n(&q->renew, true, __ATOMIC_RELEASE);
	if (net->ops.queue_renew)
		return net->ops.queue_renew(net->opaque, index);
	assert(!(index & 1) || !q->first); /* a look was not completed */
	net_queue_renew(q);
	vireo_queue_renewed(queue);
	return 0;
}

void vireo_net_queue_renewed(struct vireo_net *net, unsigned queue)
{
	assert(queue < 2 * net->pairs);
	if (net->queues[queue].queue)
		vireo_queue_renewed(net->queues[queue].queue);
}

static void net_queue_ended(void *opaque, struct vireo_queue *queue)
{
	struct vireo_net *net = opaque;

	if (net->ops.queue_ended)
		net->ops.queue_ended(net->opaque, vireo_queue_index(queue));
}

static void net_queue_enabled(void *opaque, struct vireo_queue *queue, bool enabled)
{
	struct vireo_net *net = opaque;
	unsigned index = vireo_queue_index(queue);

	if (index < 2 * net->pairs && net->ops.queue_enabled)
		net->ops.queue_enabled(net->opaque, index, enabled);
}

/* ---- life ---- */

static const struct vireo_device_ops net_device_ops = {
	.size = sizeof(net_device_ops),
	.queue_started = net_queue_started,
	.queue_stop = net_queue_stop,
	.queue_renew = net_queue_memory_goes,
	.queue_ended = net_queue_ended,
	.queue_kicked = net_control_kicked,
	.queue_enabled = net_queue_enabled,
	.features_set = net_features_set,
	.config_write = net_config_write,
	.connected = net_connected,
	.postcopy = net_postcopy,
	.reset = net_reset,
	.message = net_message,
	.state_save = net_state_save,
	.state_load = net_state_load,
};

static int net_device_new(struct vireo_net *net, const struct vireo_net_config *config)
{
	uint64_t features = net_features_offered(config, &net->ops);
	bool has_control = features & VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT);
	struct virtio_net_config_space space = {
		.status = htole16(NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16((uint16_t)config->pairs),
		.mtu = htole16(config->mtu),
		.speed = htole32(VIREO_NET_SPEED_UNKNOWN),
		.duplex = VIREO_NET_DUPLEX_UNKNOWN,
		.rss_max_key_size = NET_HASH_KEY_BYTES,
		.rss_max_indirection_table_length = htole16(NET_RSS_TABLE_MAX),
		.supported_hash_types = htole32(NET_HASH_TYPES_ALL),
	};
	struct vireo_device_config device = {
		.size = sizeof(device),
		.device_id = NET_DEVICE_ID,
		.features = features,
		.features_untold = net_features_untold(features),
		.queue_count = 2 * config->pairs + has_control,
		.queue_num_told = 2 * config->pairs,
		.queues_absent = 2 * config->pairs - has_control, /* who takes what is told for pairs has twice as many */
		.queue_size_max = config->queue_size_max,
		.control_queues = has_control,
		.control_features = VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT),
		.messages = 1u << VIREO_MESSAGE_NET_ANNOUNCE | 1u << VIREO_MESSAGE_NET_MTU,
		.config = &space,
		.config_bytes = sizeof(space),
		.ops = &net_device_ops,
		.opaque = net,
		.log = config->log,
		.name = config->name,
		.faults = config->faults,
		.notifier = config->notifier,
		.memory = config->memory,
		.memory_max_bytes = config->memory_max_bytes,
		.state_bytes_max = NET_STATE_BYTES_MAX,
	};

	memcpy(space.mac, net->mac, 6);
	device.feature_rules = net_feature_rules(&device.feature_rule_count);
	return vireo_device_new(&device, &net->device);
}

static int net_config_check(struct vireo_net_config *config)
{
	if (!config->pairs)
		config->pairs = 1;
	if (config->pairs > NET_PAIRS_MAX || (config->mtu && config->mtu < NET_MTU_MIN))
		return -EINVAL;
	if (config->set_mac && config->mac[0] & 1) /* a group address */
		return -EINVAL;
	return 0;
}

static int net_new(const struct vireo_net_config *config, struct vireo_net **ret_net)
{
	size_t bytes = sizeof(struct vireo_net) + 2 * config->pairs * sizeof(struct net_queue);
	struct vireo_net *net = aligned_alloc(_Alignof(struct vireo_net), bytes);
	int r = 0;

	if (!net)
		return -ENOMEM;
	memset(net, 0, bytes);
	if (config->ops)
		r = config_copy(&net->ops, sizeof(net->ops), config->ops);
	net->opaque = config->opaque;
	net->pairs = config->pairs;
	net->mtu = config->mtu;
	net->status = NET_S_LINK_UP;
	net->mac_given = config->set_mac;
	if (config->set_mac)
		memcpy(net->mac_config, config->mac, 6);
	memcpy(net->mac, net->mac_config, 6);
	if (!r)
		r = net_device_new(net, config);
	if (r) {
		free(net);
		return r;
	}
	net_state_reset(net);
	*ret_net = net;
	return 0;
}

int vireo_net_new(const struct vireo_net_config *config, struct vireo_net **ret_net)
{
	struct vireo_net_config copy;
	int r = config_copy(&copy, sizeof(copy), config);

	if (!r)
		r = net_config_check(&copy);
	return r ? r : net_new(&copy, ret_net);
}

void vireo_net_free(struct vireo_net *net)
{
	if (!net)
		return;
	vireo_device_free(net->device);
	net_state_forget(net);
	net_rss_free(net);
	for (unsigned i = 0; i < 2 * net->pairs; i++)
		net_queue_arena_free(&net->queues[i]);
	free(net);
}

struct vireo_device *vireo_net_device(struct vireo_net *net)
{
	return net->device;
}

/* ---- for the application ---- */

/* Without CTRL_VQ the driver could never say that it has done so. */
int vireo_net_announce(struct vireo_net *net)
{
	uint64_t needed = VIREO_FEATURE(VIREO_NET_F_STATUS_BIT) |
			  VIREO_FEATURE(VIREO_NET_F_GUEST_ANNOUNCE_BIT) |
			  VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT);

	if ((net->features & needed) != needed)
		return -EOPNOTSUPP;
	return net_status_set(net, net->status | NET_S_ANNOUNCE);
}

int vireo_net_kick_fd(struct vireo_net *net, unsigned queue)
{
	if (queue >= 2 * net->pairs || !net->queues[queue].queue)
		return -1;
	return vireo_queue_kick_fd(net->queues[queue].queue);
}

bool vireo_net_kick_enable(struct vireo_net *net, unsigned queue, bool on)
{
	bool more;

	if (queue >= 2 * net->pairs || !net->queues[queue].queue)
		return false;
	more = vireo_queue_kick_enable(net->queues[queue].queue, on);
	return more || (on && net->queues[queue].first < net->queues[queue].last); /* popped ahead */
}

uint64_t vireo_net_signal_look(struct vireo_net *net, unsigned queue)
{
	return queue < 2 * net->pairs && net->queues[queue].queue ? vireo_queue_signal_look(net->queues[queue].queue) : 0;
}

void vireo_net_signal_now(struct vireo_net *net, unsigned queue)
{
	if (queue < 2 * net->pairs && net->queues[queue].queue)
		vireo_queue_signal_now(net->queues[queue].queue);
}

void vireo_net_queue_stats(const struct vireo_net *net, unsigned queue,
			   struct vireo_net_queue_stats *ret_stats)
{
	struct vireo_net_queue_stats stats = { .size = sizeof(stats) };
	const uint64_t *from = queue < 2 * net->pairs ? &net->queues[queue].stats.frames : NULL;

	_Static_assert(sizeof(stats) == offsetof(struct vireo_net_queue_stats, filtered) + sizeof(uint64_t), "counters alone");
	for (size_t at = offsetof(struct vireo_net_queue_stats, frames); from && at < sizeof(stats); at += sizeof(*from)) {
		uint64_t value = counter_read(from++);

		memcpy((char *)&stats + at, &value, sizeof(value));
	}
	stats.size = min_u64(stats.size, ret_stats->size);
	memcpy(ret_stats, &stats, stats.size);
}
