/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The receive filter: RX mode, MAC tables and VLANs that the driver set on the control queue.
 *
 * Theory of operation. The control thread writes, workers read, nobody waits. Every word is read and written
 * atomically; `sequence` is odd while a change is under way. A reader that finds it odd, or changed
 * after a search, cannot know what the answer is, and lets the frame pass: filtering is best effort
 * (virtio 1.3, 5.1.6.5.1: "unwanted packets could still arrive"), and a wanted frame is
 * never lost to a change. So there is no retry and nothing to retire.
 *
 * Ordering: the reader loads all words with acquire, so its second look at `sequence` comes after them; the
 * writer stores all words with release, so the odd number comes before them, and the even one after.
 *
 * A device starts in promiscuous mode (as virtio-net devices have always done; the specification leaves it
 * open): a driver that never asks for less gets everything.
 */

#include "model/net/net_internal.h"
#include <string.h>

static void filter_put32(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void filter_put64(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static uint32_t filter_get32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static uint64_t filter_get64(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

uint64_t net_filter_mac(const uint8_t bytes[6])
{
	uint64_t mac = 0;

	memcpy(&mac, bytes, 6);
	return mac;
}

static void filter_change_begin(struct net_filter *filter)
{
	filter_put32(&filter->sequence, filter->sequence + 1);
}

static void filter_change_end(struct net_filter *filter)
{
	filter_put32(&filter->sequence, filter->sequence + 1);
}

static void filter_table_put(uint32_t *count, uint64_t *entries, const struct net_filter_table *table)
{
	for (uint32_t i = 0; i < table->count; i++)
		filter_put64(&entries[i], table->entries[i]);
	filter_put32(count, table->count);
}

void net_filter_reset(struct net_filter *filter, const uint8_t mac[6])
{
	filter_change_begin(filter);
	filter_put32(&filter->mode, NET_FILTER_PROMISCUOUS);
	filter_put64(&filter->mac, net_filter_mac(mac));
	filter_put32(&filter->unicast_count, 0);
	filter_put32(&filter->multicast_count, 0);
	for (size_t i = 0; i < ARRAY_SIZE(filter->vlans); i++)
		filter_put64(&filter->vlans[i], 0);
	filter_change_end(filter);
}

static void filter_mode_put(struct net_filter *filter, uint32_t bit, bool on)
{
	filter_put32(&filter->mode, on ? filter->mode | bit : filter->mode & ~bit);
}

void net_filter_mode_set(struct net_filter *filter, uint32_t bit, bool on)
{
	filter_change_begin(filter);
	filter_mode_put(filter, bit, on);
	filter_change_end(filter);
}

void net_filter_mac_set(struct net_filter *filter, const uint8_t mac[6])
{
	filter_change_begin(filter);
	filter_put64(&filter->mac, net_filter_mac(mac));
	filter_change_end(filter);
}

void net_filter_tables_set(struct net_filter *filter, const struct net_filter_table *unicast,
			   const struct net_filter_table *multicast)
{
	filter_change_begin(filter);
	filter_table_put(&filter->unicast_count, filter->unicast, unicast);
	filter_table_put(&filter->multicast_count, filter->multicast, multicast);
	filter_mode_put(filter, NET_FILTER_UNICAST_OVERFLOW, unicast->overflow);
	filter_mode_put(filter, NET_FILTER_MULTICAST_OVERFLOW, multicast->overflow);
	filter_change_end(filter);
}

void net_filter_vlan_set(struct net_filter *filter, uint16_t vlan, bool on)
{
	uint64_t *word = &filter->vlans[vlan / 64];
	uint64_t bit = UINT64_C(1) << vlan % 64;

	filter_change_begin(filter);
	filter_put64(word, on ? *word | bit : *word & ~bit);
	filter_change_end(filter);
}

static bool filter_table_has(const uint32_t *count, const uint64_t *entries, uint64_t mac)
{
	uint32_t n = min_u32(filter_get32(count), NET_FILTER_ENTRIES);

	for (uint32_t i = 0; i < n; i++)
		if (filter_get64(&entries[i]) == mac)
			return true;
	return false;
}

static bool filter_multicast(const struct net_filter *filter, uint32_t mode, uint64_t mac)
{
	if (mac == UINT64_C(0xffffffffffff))
		return !(mode & NET_FILTER_NO_BROADCAST);
	if (mode & NET_FILTER_NO_MULTICAST)
		return false;
	return mode & (NET_FILTER_ALL_MULTICAST | NET_FILTER_MULTICAST_OVERFLOW) ||
	       filter_table_has(&filter->multicast_count, filter->multicast, mac);
}

static bool filter_unicast(const struct net_filter *filter, uint32_t mode, uint64_t mac)
{
	uint64_t own;

	if (mode & NET_FILTER_NO_UNICAST)
		return false;
	own = filter_get64(&filter->mac);
	return !own || own == mac || mode & (NET_FILTER_ALL_UNICAST | NET_FILTER_UNICAST_OVERFLOW) ||
	       filter_table_has(&filter->unicast_count, filter->unicast, mac);
}

static bool filter_vlan(const struct net_filter *filter, uint32_t mode, const uint8_t *head)
{
	unsigned vlan;

	if (!(mode & NET_FILTER_VLAN) || head[12] != 0x81 || head[13] != 0x00)
		return true;
	vlan = (head[14] << 8 | head[15]) & 0xfff;
	return filter_get64(&filter->vlans[vlan / 64]) >> vlan % 64 & 1;
}

bool net_filter_match(const struct net_filter *filter, const uint8_t *head)
{
	uint32_t sequence = filter_get32(&filter->sequence);
	uint32_t mode = filter_get32(&filter->mode);
	uint64_t mac = net_filter_mac(head);
	bool pass;

	if (mode & NET_FILTER_PROMISCUOUS)
		return true;
	pass = filter_vlan(filter, mode, head) &&
	       (head[0] & 1 ? filter_multicast(filter, mode, mac) : filter_unicast(filter, mode, mac));
	if (pass || sequence & 1)
		return true;
	return filter_get32(&filter->sequence) != sequence;
}

/* ---- filter, as the application sees it ---- */

static unsigned net_filter_list(uint8_t (*macs)[6], const uint64_t *entries, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		memcpy(macs[i], &entries[i], 6);
	return count;
}

void net_filter_tell(struct vireo_net *net)
{
	uint8_t unicast[NET_FILTER_ENTRIES][6], multicast[NET_FILTER_ENTRIES][6], vlans[512];
	const struct net_filter *f = &net->filter;
	struct vireo_net_filter told = {
		.promiscuous = f->mode & NET_FILTER_PROMISCUOUS,
		.all_multicast = f->mode & (NET_FILTER_ALL_MULTICAST | NET_FILTER_MULTICAST_OVERFLOW),
		.all_unicast = f->mode & (NET_FILTER_ALL_UNICAST | NET_FILTER_UNICAST_OVERFLOW),
		.no_multicast = f->mode & NET_FILTER_NO_MULTICAST,
		.no_unicast = f->mode & NET_FILTER_NO_UNICAST,
		.no_broadcast = f->mode & NET_FILTER_NO_BROADCAST,
		.vlan_filtered = f->mode & NET_FILTER_VLAN,
		.unicast = unicast,
		.multicast = multicast,
		.vlans = vlans,
	};

	if (!net->ops.filter_changed)
		return;
	memcpy(told.mac, net->mac, 6);
	told.unicast_count = (uint16_t)net_filter_list(unicast, f->unicast, f->unicast_count);
	told.multicast_count = (uint16_t)net_filter_list(multicast, f->multicast, f->multicast_count);
	for (unsigned i = 0; i < sizeof(vlans); i++)
		vlans[i] = (uint8_t)(f->vlans[i / 8] >> i % 8 * 8);
	net->ops.filter_changed(net->opaque, &told);
}
