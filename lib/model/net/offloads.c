/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Which offloads frames may have, of either direction, VIREO_OFFLOAD_*. The features say so at first. On the control queue the driver
 * gives up some of those that it takes, and takes them again (virtio 1.3, 5.1.6.5.8), while workers deliver frames: each receive queue
 * has a mask of its own, which the control thread writes and the queue's worker reads, a word for itself.
 */

#include "model/net/net_internal.h"

#define BIT(name) VIREO_FEATURE(VIREO_NET_F_##name##_BIT)

struct feature_offload {
	uint64_t feature;
	unsigned offloads;
};

/* What GUEST_OFFLOADS_SET can name. */
#define GUEST_OFFLOADS \
	(BIT(GUEST_CSUM) | BIT(GUEST_TSO4) | BIT(GUEST_TSO6) | BIT(GUEST_ECN) | BIT(GUEST_UFO) | BIT(GUEST_USO4) | BIT(GUEST_USO6))

static unsigned features_offloads(const struct feature_offload *map, size_t count, uint64_t features)
{
	unsigned offloads = 0;

	for (size_t i = 0; i < count; i++)
		if (features & map[i].feature)
			offloads |= map[i].offloads;
	return offloads;
}

unsigned net_features_receive_offloads(uint64_t features)
{
	static const struct feature_offload map[] = {
		{BIT(GUEST_CSUM), VIREO_OFFLOAD_CSUM}, {BIT(GUEST_TSO4), VIREO_OFFLOAD_TSO4},
		{BIT(GUEST_TSO6), VIREO_OFFLOAD_TSO6}, {BIT(GUEST_ECN), VIREO_OFFLOAD_ECN},
		{BIT(GUEST_UFO), VIREO_OFFLOAD_UFO},   {BIT(GUEST_USO4), VIREO_OFFLOAD_USO4},
		{BIT(GUEST_USO6), VIREO_OFFLOAD_USO6},
	};

	return features_offloads(map, ARRAY_SIZE(map), features);
}

unsigned net_features_transmit_offloads(uint64_t features)
{
	static const struct feature_offload map[] = {
		{BIT(CSUM), VIREO_OFFLOAD_CSUM},
		{BIT(HOST_TSO4), VIREO_OFFLOAD_TSO4},
		{BIT(HOST_TSO6), VIREO_OFFLOAD_TSO6},
		{BIT(HOST_ECN), VIREO_OFFLOAD_ECN},
		{BIT(HOST_UFO), VIREO_OFFLOAD_UFO},
		{BIT(HOST_USO), VIREO_OFFLOAD_USO4 | VIREO_OFFLOAD_USO6},
	};

	return features_offloads(map, ARRAY_SIZE(map), features);
}

/* ---- those that the driver gives up ---- */

unsigned vireo_net_offloads(const struct vireo_net *net)
{
	return net_features_receive_offloads(net->features) & ~net->offloads_off;
}

static void queues_take(struct vireo_net *net, unsigned offloads)
{
	for (unsigned pair = 0; pair < net->pairs; pair++)
		__atomic_store_n(&net_receive_queue(net, pair)->offloads, offloads, __ATOMIC_RELAXED);
}

/*
 * The queues refuse frames with other offloads at once. In between they take what they took and what they will take, so that frames are
 * right of a caller that knows the one, and of a caller that has just heard of the other.
 */
void net_offloads_off_set(struct vireo_net *net, unsigned off)
{
	unsigned before = vireo_net_offloads(net), after;

	net->offloads_off = off & net_features_receive_offloads(net->features);
	after = vireo_net_offloads(net);
	if (after == before)
		return;
	queues_take(net, before | after);
	if (net->ops.offloads_set)
		net->ops.offloads_set(net->opaque);
	queues_take(net, after);
}

bool net_offloads_wanted(struct vireo_net *net, uint64_t features)
{
	if (features & ~(net->features & GUEST_OFFLOADS))
		return false;
	net_offloads_off_set(net, ~net_features_receive_offloads(features));
	return true;
}
