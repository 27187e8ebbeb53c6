/* SPDX-License-Identifier: BSD-3-Clause */
#include "net_driver.h"
#include "base/util.h"
#include "port_features.h"
#include "vireo/device.h"
#include "vireo/net.h"

/* What the device and we must both know, by our name for it: to be sent to it (HOST), to be taken from it
 * (GUEST). */
static const struct offload_bits {
	unsigned offload;
	uint64_t host, guest;
} offload_bits[] = {
	{VIREO_OFFLOAD_CSUM, VIREO_FEATURE(VIREO_NET_F_CSUM_BIT), VIREO_FEATURE(VIREO_NET_F_GUEST_CSUM_BIT)},
	{VIREO_OFFLOAD_TSO4, VIREO_FEATURE(VIREO_NET_F_HOST_TSO4_BIT),
	 VIREO_FEATURE(VIREO_NET_F_GUEST_TSO4_BIT)},
	{VIREO_OFFLOAD_TSO6, VIREO_FEATURE(VIREO_NET_F_HOST_TSO6_BIT),
	 VIREO_FEATURE(VIREO_NET_F_GUEST_TSO6_BIT)},
	{VIREO_OFFLOAD_ECN, VIREO_FEATURE(VIREO_NET_F_HOST_ECN_BIT),
	 VIREO_FEATURE(VIREO_NET_F_GUEST_ECN_BIT)},
	{VIREO_OFFLOAD_UFO, VIREO_FEATURE(VIREO_NET_F_HOST_UFO_BIT),
	 VIREO_FEATURE(VIREO_NET_F_GUEST_UFO_BIT)},
	{VIREO_OFFLOAD_USO4, VIREO_FEATURE(VIREO_NET_F_HOST_USO_BIT),
	 VIREO_FEATURE(VIREO_NET_F_GUEST_USO4_BIT)},
	{VIREO_OFFLOAD_USO6, VIREO_FEATURE(VIREO_NET_F_HOST_USO_BIT),
	 VIREO_FEATURE(VIREO_NET_F_GUEST_USO6_BIT)},
};

uint64_t net_driver_features(unsigned pairs)
{
	uint64_t features = VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) |
			    VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) |
			    VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) | VIREO_FEATURE(VIREO_F_IN_ORDER_BIT) |
			    VIREO_FEATURE(VIREO_NET_F_MTU_BIT) | VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT) |
			    VIREO_FEATURE(VIREO_NET_F_STATUS_BIT) | VIREO_FEATURE(VIREO_NET_F_CTRL_VQ_BIT) |
			    VIREO_FEATURE(VIREO_NET_F_CTRL_RX_BIT);

	if (pairs > 1)
		features |= VIREO_FEATURE(VIREO_NET_F_MQ_BIT);
	for (size_t i = 0; i < ARRAY_SIZE(offload_bits); i++)
		features |= offload_bits[i].host | offload_bits[i].guest;
	return features;
}

unsigned net_driver_offloads(uint64_t features, bool host)
{
	unsigned offloads = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_bits); i++)
		if (features & (host ? offload_bits[i].host : offload_bits[i].guest))
			offloads |= offload_bits[i].offload;
	return offloads;
}

uint64_t net_driver_features_large(void)
{
	uint64_t features = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_bits); i++)
		if (offload_bits[i].offload != VIREO_OFFLOAD_CSUM)
			features |= offload_bits[i].guest;
	return features;
}

/* ---- its report ---- */

static json_t *ring_report(const char *direction, unsigned queue, const struct vireo_driver_ring *ring)
{
	return json_pack("{s:s, s:i, s:i}", "direction", direction, "queue", (int)queue, "size", (int)vireo_driver_ring_size(ring));
}

json_t *net_driver_session(unsigned pairs, uint64_t features, const struct driver_queue *queues)
{
	json_t *rings = json_array();

	for (unsigned i = 0; i < pairs; i++) {
		json_array_append_new(rings, ring_report("rx", i, queues[i].s.rx));
		json_array_append_new(rings, ring_report("tx", i, queues[i].s.tx));
	}
	return json_pack("{s:o, s:s, s:o}", "features", port_features_report(features), "ring",
			 features & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) ? "packed" : "split", "rings", rings);
}
