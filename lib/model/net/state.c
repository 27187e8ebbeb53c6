/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a driver has said on the control queue and will not say again when another device takes over from this one.
 *
 *	0	version, 1 to 3		12	pairs in use
 *	2	STATE_*			14	addresses in the unicast table
 *	4	NET_FILTER_*		16	... in the multicast table
 *	6	the MAC address		18	offloads that the driver does not want now, VIREO_OFFLOAD_*
 *	20	unicast addresses, multicast addresses (6 bytes each), then a bit for each VLAN (512 bytes)
 *
 * The offloads came later: where they are not 0, who does not know them refuses the whole, for it could not carry them out.
 * Version 2 has hashes and what they choose behind that, as rss_config.c writes it; it is written where the driver has said something of them,
 * so that whoever knows version 1 alone takes all that it can carry out. For the same reason version 3, whether there are hashes or not
 * (STATE_RSS), is written only where signals are held back: how long, lies behind all else, as coalesce.c writes it.
 *
 * Numbers have 16 bits and are little-endian. The bytes are anybody's: what a driver could not have said is refused, and what
 * it may not say without a feature that has not been agreed on is left out.
 *
 * Theory of operation. A front end tells features anew to whoever goes on, and every SET_FEATURES is the beginning of a driver to us:
 * all that was said on the control queue is forgotten. So what has been saved, or loaded, is kept and put in its place again
 * after each of them, until a queue runs: from then on the driver may change it. A reset forgets it.
 */

#include "model/net/net_internal.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#define STATE_VERSION 1u
#define STATE_VERSION_RSS 2u
#define STATE_VERSION_COALESCE 3u
#define STATE_CONTROLLED 1u
#define STATE_ANNOUNCE 2u
#define STATE_RSS 4u /* version 3 */

#define FILTER_BY_RX (NET_FILTER_PROMISCUOUS | NET_FILTER_ALL_MULTICAST | NET_FILTER_UNICAST_OVERFLOW | NET_FILTER_MULTICAST_OVERFLOW)
#define FILTER_BY_RX_EXTRA (NET_FILTER_ALL_UNICAST | NET_FILTER_NO_MULTICAST | NET_FILTER_NO_UNICAST | NET_FILTER_NO_BROADCAST)
#define FILTER_ALL (FILTER_BY_RX | FILTER_BY_RX_EXTRA | NET_FILTER_VLAN)

#define OFFLOADS_ALL                                                                                                               \
	(VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_TSO6 | VIREO_OFFLOAD_ECN | VIREO_OFFLOAD_UFO | VIREO_OFFLOAD_USO4 | \
	 VIREO_OFFLOAD_USO6)

struct wire_head {
	uint16_t version, flags, filter;
	uint8_t mac[6];
	uint16_t pairs, unicast_count, multicast_count, offloads_off;
};

_Static_assert(sizeof(struct wire_head) == 20, "head of a network device's state");
_Static_assert(NET_STATE_BYTES_MAX == sizeof(struct wire_head) + 2 * 6 * NET_FILTER_ENTRIES + 512 + NET_RSS_STATE_BYTES +
					      NET_COALESCE_STATE_BYTES_MAX, "its longest");

struct net_state {
	uint16_t flags, filter, pairs, offloads_off;
	uint8_t mac[6];
	struct net_filter_table unicast, multicast;
	uint64_t vlans[4096 / 64];
	bool has_rss;
	struct net_rss_config rss;
	bool has_coalesce;
	struct net_coalesce_state coalesce;
};

/* ---- to bytes ---- */

static uint8_t *put_table(uint8_t *to, const struct net_filter_table *table)
{
	for (uint32_t i = 0; i < table->count; i++, to += 6)
		memcpy(to, &table->entries[i], 6);
	return to;
}

static uint16_t version_of(const struct net_state *state)
{
	if (state->has_coalesce)
		return STATE_VERSION_COALESCE;
	return state->has_rss ? STATE_VERSION_RSS : STATE_VERSION;
}

static int state_write(const struct net_state *state, uint8_t *to)
{
	struct wire_head head = {
		.version = htole16(version_of(state)),
		.flags = htole16((uint16_t)(state->flags | (state->has_coalesce && state->has_rss ? STATE_RSS : 0))),
		.filter = htole16(state->filter),
		.pairs = htole16(state->pairs),
		.unicast_count = htole16((uint16_t)state->unicast.count),
		.multicast_count = htole16((uint16_t)state->multicast.count),
		.offloads_off = htole16(state->offloads_off),
	};
	uint8_t *at = to + sizeof(head);

	memcpy(head.mac, state->mac, 6);
	memcpy(to, &head, sizeof(head));
	at = put_table(at, &state->unicast);
	at = put_table(at, &state->multicast);
	for (unsigned i = 0; i < 512; i++)
		*at++ = (uint8_t)(state->vlans[i / 8] >> i % 8 * 8);
	if (state->has_rss) {
		net_rss_write(&state->rss, at);
		at += NET_RSS_STATE_BYTES;
	}
	if (state->has_coalesce)
		at = net_coalesce_write(&state->coalesce, at);
	return (int)(at - to);
}

/* ---- from bytes ---- */

static const uint8_t *take_table(const uint8_t *from, uint32_t count, struct net_filter_table *table)
{
	for (; table->count < count; table->count++, from += 6)
		table->entries[table->count] = net_filter_mac(from);
	return from;
}

static const char *head_wrong(const struct net_state *state, const struct wire_head *head)
{
	if (le16toh(head->version) < STATE_VERSION || le16toh(head->version) > STATE_VERSION_COALESCE)
		return "its network part is of a version that is not known here";
	if (state->flags & ~(STATE_CONTROLLED | STATE_ANNOUNCE) || state->filter & ~FILTER_ALL || state->offloads_off & ~OFFLOADS_ALL)
		return "it has flags that are not known here";
	if (le16toh(head->unicast_count) > NET_FILTER_ENTRIES || le16toh(head->multicast_count) > NET_FILTER_ENTRIES)
		return "an address table holds more than a table can";
	return state->mac[0] & 1 ? "the device's address is a group's" : NULL;
}

static const char *state_read(const uint8_t *from, size_t bytes, unsigned pairs, struct net_state *state)
{
	struct wire_head head;
	size_t fixed_bytes;
	const char *why;

	*state = (struct net_state){ 0 };
	if (bytes < sizeof(head))
		return "its network part is cut short";
	memcpy(&head, from, sizeof(head));
	state->flags = le16toh(head.flags);
	state->has_coalesce = le16toh(head.version) == STATE_VERSION_COALESCE;
	state->has_rss = le16toh(head.version) == STATE_VERSION_RSS || (state->has_coalesce && state->flags & STATE_RSS);
	if (state->has_coalesce)
		state->flags &= (uint16_t)~STATE_RSS;
	state->filter = le16toh(head.filter);
	state->pairs = le16toh(head.pairs);
	state->offloads_off = le16toh(head.offloads_off);
	memcpy(state->mac, head.mac, 6);
	why = head_wrong(state, &head);
	if (why)
		return why;
	fixed_bytes = sizeof(head) + 6u * (le16toh(head.unicast_count) + le16toh(head.multicast_count)) + 512 +
		      (state->has_rss ? NET_RSS_STATE_BYTES : 0);
	if (state->has_coalesce ? bytes < fixed_bytes : bytes != fixed_bytes)
		return "its tables are not as long as it says";
	if (state->has_coalesce && !net_coalesce_read(from + fixed_bytes, bytes - fixed_bytes, pairs, &state->coalesce))
		return "how long signals are held back is not told as it has to be";
	from = take_table(from + sizeof(head), le16toh(head.unicast_count), &state->unicast);
	from = take_table(from, le16toh(head.multicast_count), &state->multicast);
	for (unsigned i = 0; i < 512; i++)
		state->vlans[i / 8] |= (uint64_t)from[i] << i % 8 * 8;
	if (state->has_rss && !net_rss_read(from + 512, pairs, &state->rss))
		return "its hashes or the queues that they choose cannot be";
	return NULL;
}

/* ---- from and to the device ---- */

static void table_of(struct net_filter_table *table, const uint64_t *entries, uint32_t count)
{
	table->count = count;
	memcpy(table->entries, entries, count * sizeof(*entries));
}

static void state_of(const struct vireo_net *net, struct net_state *state)
{
	const struct net_filter *filter = &net->filter;
	const struct net_rss_config *said = net_rss_said(net);

	*state = (struct net_state){
		.flags = (uint16_t)((net->controlled ? STATE_CONTROLLED : 0) | (net->status & NET_S_ANNOUNCE ? STATE_ANNOUNCE : 0)),
		.filter = (uint16_t)filter->mode,
		.pairs = (uint16_t)(net->controlled ? net->pairs_active : 1),
		.offloads_off = (uint16_t)net->offloads_off,
	};
	memcpy(state->mac, net->mac, 6);
	memcpy(state->vlans, filter->vlans, sizeof(state->vlans));
	state->has_rss = said;
	if (said)
		state->rss = *said;
	state->has_coalesce = net_coalesce_said(net);
	if (state->has_coalesce)
		net_coalesce_read_out(net, &state->coalesce);
	table_of(&state->unicast, filter->unicast, filter->unicast_count);
	table_of(&state->multicast, filter->multicast, filter->multicast_count);
	state->unicast.overflow = filter->mode & NET_FILTER_UNICAST_OVERFLOW;
	state->multicast.overflow = filter->mode & NET_FILTER_MULTICAST_OVERFLOW;
}

/* What a driver with these features may have said of the filter; of the rest the initial state holds. */
static void filter_apply(struct vireo_net *net, const struct net_state *state)
{
	uint32_t may = (net_has(net, VIREO_NET_F_CTRL_RX_BIT) ? FILTER_BY_RX : 0) |
		       (net_has(net, VIREO_NET_F_CTRL_RX_EXTRA_BIT) ? FILTER_BY_RX_EXTRA : 0) |
		       (net_has(net, VIREO_NET_F_CTRL_VLAN_BIT) ? NET_FILTER_VLAN : 0);

	if (net_has(net, VIREO_NET_F_CTRL_RX_BIT))
		net_filter_tables_set(&net->filter, &state->unicast, &state->multicast);
	for (uint32_t bit = 1; bit <= FILTER_ALL; bit <<= 1)
		if (bit & may)
			net_filter_mode_set(&net->filter, bit, state->filter & bit);
	for (unsigned vlan = 0; vlan < 4096 && net_has(net, VIREO_NET_F_CTRL_VLAN_BIT); vlan++)
		net_filter_vlan_set(&net->filter, (uint16_t)vlan, state->vlans[vlan / 64] >> vlan % 64 & 1);
}

/* Without RSS nothing steers; without either there is no hash. */
static void rss_apply(struct vireo_net *net, const struct net_state *state)
{
	bool steers = state->rss.steers;

	if (!state->has_rss || (!net_has(net, VIREO_NET_F_RSS_BIT) && (steers || !net_has(net, VIREO_NET_F_HASH_REPORT_BIT))))
		return;
	if (!net_rss_set(net, &state->rss))
		vireo_device_break(net->device, "no memory for what the driver has said of hashes");
}

void net_state_apply(struct vireo_net *net)
{
	const struct net_state *state = net->restored;

	if (!state || !net_has(net, VIREO_NET_F_CTRL_VQ_BIT) || !(state->flags & STATE_CONTROLLED))
		return;
	net->controlled = true;
	filter_apply(net, state);
	if (net_has(net, VIREO_NET_F_CTRL_MAC_ADDR_BIT))
		net_mac_set(net, state->mac);
	if (net_has(net, VIREO_NET_F_MQ_BIT) || net_has(net, VIREO_NET_F_RSS_BIT))
		net_pairs_set(net, state->pairs);
	rss_apply(net, state);
	if (net_has(net, VIREO_NET_F_CTRL_GUEST_OFFLOADS_BIT))
		net_offloads_off_set(net, state->offloads_off);
	if (state->has_coalesce)
		net_coalesce_apply(net, &state->coalesce);
	if (net_has(net, VIREO_NET_F_GUEST_ANNOUNCE_BIT) && state->flags & STATE_ANNOUNCE)
		net_status_set(net, net->status | NET_S_ANNOUNCE);
	net_filter_tell(net);
}

void net_state_forget(struct vireo_net *net)
{
	free(net->restored);
	net->restored = NULL;
}

int net_state_save(void *opaque, void *data, size_t room)
{
	struct vireo_net *net = opaque;
	struct net_state *state = net->restored ? net->restored : malloc(sizeof(*state));

	if (!state)
		return -ENOMEM;
	if (!net->restored)
		state_of(net, state);
	net->restored = state;
	return state_write(state, data);
}

int net_state_load(void *opaque, const void *data, size_t bytes, const char **why)
{
	struct vireo_net *net = opaque;
	struct net_state *state = malloc(sizeof(*state));

	*why = state ? state_read(data, bytes, net->pairs, state) : "there is no memory for it";
	if (!*why && (state->pairs < 1 || state->pairs > net->pairs))
		*why = "more queue pairs are in use than the device has";
	if (*why) {
		free(state);
		return -EINVAL;
	}
	state->unicast.overflow = state->filter & NET_FILTER_UNICAST_OVERFLOW;
	state->multicast.overflow = state->filter & NET_FILTER_MULTICAST_OVERFLOW;
	net_state_forget(net);
	net->restored = state;
	net_state_apply(net);
	return 0;
}
