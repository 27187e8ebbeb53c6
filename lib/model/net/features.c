/* SPDX-License-Identifier: BSD-3-Clause */

/* Feature bits of the network device: what is offered, what fits together. What they mean for offloads: offloads.c. */

#include "model/net/net_internal.h"

#define BIT(name) VIREO_FEATURE(VIREO_NET_F_##name##_BIT)

#define NET_FEATURES_ALL                                                                                     \
	(VIREO_FEATURE(VIREO_F_VERSION_1_BIT) | VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) |              \
	 VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) | VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) |                \
	 VIREO_FEATURE(VIREO_F_IN_ORDER_BIT) | VIREO_FEATURE(VIREO_F_RING_RESET_BIT) | BIT(CSUM) |           \
	 BIT(GUEST_CSUM) | BIT(MTU) | BIT(MAC) | BIT(GUEST_TSO4) | BIT(GUEST_TSO6) | BIT(GUEST_ECN) |        \
	 BIT(GUEST_UFO) | BIT(HOST_TSO4) | BIT(HOST_TSO6) | BIT(HOST_ECN) | BIT(HOST_UFO) | BIT(MRG_RXBUF) | \
	 BIT(STATUS) | BIT(CTRL_VQ) | BIT(CTRL_RX) | BIT(CTRL_VLAN) | BIT(CTRL_RX_EXTRA) |                   \
	 BIT(GUEST_ANNOUNCE) | BIT(MQ) | BIT(CTRL_MAC_ADDR) | BIT(GUEST_USO4) | BIT(GUEST_USO6) |            \
	 BIT(HOST_USO) | BIT(RSS) | BIT(HASH_REPORT) | BIT(CTRL_GUEST_OFFLOADS) |    \
	 BIT(SPEED_DUPLEX) | BIT(NOTF_COAL) | BIT(VQ_NOTF_COAL))

/* virtio 1.3, 5.1.3.1. */
static const struct vireo_feature_rule feature_rules[] = {
	{BIT(GUEST_TSO4), BIT(GUEST_CSUM), "GUEST_TSO4 without GUEST_CSUM"},
	{BIT(GUEST_TSO6), BIT(GUEST_CSUM), "GUEST_TSO6 without GUEST_CSUM"},
	{BIT(GUEST_ECN), BIT(GUEST_TSO4) | BIT(GUEST_TSO6), "GUEST_ECN without GUEST_TSO4 or GUEST_TSO6"},
	{BIT(GUEST_UFO), BIT(GUEST_CSUM), "GUEST_UFO without GUEST_CSUM"},
	{BIT(GUEST_USO4), BIT(GUEST_CSUM), "GUEST_USO4 without GUEST_CSUM"},
	{BIT(GUEST_USO6), BIT(GUEST_CSUM), "GUEST_USO6 without GUEST_CSUM"},
	{BIT(HOST_TSO4), BIT(CSUM), "HOST_TSO4 without CSUM"},
	{BIT(HOST_TSO6), BIT(CSUM), "HOST_TSO6 without CSUM"},
	{BIT(HOST_ECN), BIT(HOST_TSO4) | BIT(HOST_TSO6), "HOST_ECN without HOST_TSO4 or HOST_TSO6"},
	{BIT(HOST_UFO), BIT(CSUM), "HOST_UFO without CSUM"},
	{BIT(HOST_USO), BIT(CSUM), "HOST_USO without CSUM"},
	{BIT(CTRL_RX), BIT(CTRL_VQ), "CTRL_RX without CTRL_VQ"},
	{BIT(CTRL_RX_EXTRA), BIT(CTRL_RX), "CTRL_RX_EXTRA without CTRL_RX"},
	{BIT(CTRL_VLAN), BIT(CTRL_VQ), "CTRL_VLAN without CTRL_VQ"},
	{BIT(CTRL_MAC_ADDR), BIT(CTRL_VQ), "CTRL_MAC_ADDR without CTRL_VQ"},
	{BIT(RSS), BIT(CTRL_VQ), "RSS without CTRL_VQ"},
};

/*
 * Rules for what we offer alone: a front end that serves the control queue itself (QEMU does) accepts these in the guest's
 * name and keeps CTRL_VQ to itself. HASH_REPORT decides how long headers are, whoever may be asked for hashes.
 */
static const struct vireo_feature_rule offer_rules[] = {
	{BIT(GUEST_ANNOUNCE), BIT(CTRL_VQ), "GUEST_ANNOUNCE without CTRL_VQ"},
	{BIT(MQ), BIT(CTRL_VQ), "MQ without CTRL_VQ"},
	{BIT(HASH_REPORT), BIT(CTRL_VQ), "HASH_REPORT without CTRL_VQ"},
	{BIT(CTRL_GUEST_OFFLOADS), BIT(CTRL_VQ), "CTRL_GUEST_OFFLOADS without CTRL_VQ"},
	{BIT(NOTF_COAL), BIT(CTRL_VQ), "NOTF_COAL without CTRL_VQ"},
	{BIT(VQ_NOTF_COAL), BIT(CTRL_VQ), "VQ_NOTF_COAL without CTRL_VQ"},
};

const struct vireo_feature_rule *net_feature_rules(size_t *ret_count)
{
	*ret_count = ARRAY_SIZE(feature_rules);
	return feature_rules;
}

/* A rule's `needs` stand before what depends on them in turn, so one pass is enough. */
static uint64_t features_fit(const struct vireo_feature_rule *rules, size_t count, uint64_t features)
{
	for (size_t i = 0; i < count; i++)
		if (!(features & rules[i].needs))
			features &= ~rules[i].feature;
	return features;
}

uint64_t net_features_offered(const struct vireo_net_config *config, const struct vireo_net_ops *ops)
{
	uint64_t features = NET_FEATURES_ALL & ~config->features_off;

	if (!ops->offloads_set)
		features &= ~BIT(CTRL_GUEST_OFFLOADS);
	if (!ops->signals_set)
		features &= ~(BIT(NOTF_COAL) | BIT(VQ_NOTF_COAL));
	if (config->pairs <= 1)
		features &= ~(BIT(MQ) | BIT(RSS));
	if (!config->mtu)
		features &= ~BIT(MTU);
	if (!config->set_mac)
		features &= ~BIT(MAC);
	features = features_fit(feature_rules, ARRAY_SIZE(feature_rules), features);
	features = features_fit(offer_rules, ARRAY_SIZE(offer_rules), features);
	return features | VIREO_FEATURE(VIREO_F_VERSION_1_BIT);
}

/* 5.1.6 */
uint32_t net_features_header_bytes(uint64_t features)
{
	if (features & BIT(HASH_REPORT))
		return NET_HDR_HASH_BYTES;
	return features & (VIREO_FEATURE(VIREO_F_VERSION_1_BIT) | BIT(MRG_RXBUF)) ? NET_HDR_BYTES : NET_HDR_LEGACY_BYTES;
}

uint64_t net_features_untold(uint64_t offered)
{
	return offered & (BIT(CSUM) | BIT(HOST_TSO4) | BIT(HOST_TSO6) | BIT(HOST_ECN) | BIT(HOST_UFO) | BIT(HOST_USO));
}
