/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The control queue (virtio 1.3, 5.1.6.5): commands are rows of a table. A command is a header, data that the
 * row says the size of, room for what the row has to tell, and one writable byte behind it for the answer (5.1.6.5: what a command has in
 * its data for the driver to read lies before the answer). Control thread only.
 *
 * A command is taken off the guest's memory once, through the cursor, and takes effect only as a whole.
 */

#include "vireo/cursor.h"
#include "model/net/net_internal.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#define CONTROL_VARIABLE UINT32_MAX
#define CONTROL_WORK_MAX 1024u /* commands, and pieces of them, in one go */

#define CONTROL_DATA_BYTES 12u
#define CONTROL_TOLD_BYTES NET_COALESCE_BYTES

/*
 * `data`: a private copy of the row's data_bytes (at most CONTROL_DATA_BYTES), or, CONTROL_VARIABLE, a cursor at the data; `told`: what the driver
 * reads, CONTROL_TOLD_BYTES, zeroes at first. False: refused.
 */
struct control_command {
	uint8_t class;
	uint8_t command;
	uint8_t feature_bit;
	uint32_t data_bytes;
	uint32_t argument;
	bool (*run)(struct vireo_net *net, uint32_t argument, const uint8_t *data);
	bool (*run_variable)(struct vireo_net *net, struct vireo_cursor *data);
	bool (*ask)(const struct vireo_net *net, const uint8_t *data, uint8_t *told); /* in place of both */
};

static uint16_t control_le16(const uint8_t *data)
{
	return (uint16_t)(data[0] | data[1] << 8);
}

static bool control_mode(struct vireo_net *net, uint32_t mode, const uint8_t *data)
{
	if (data[0] > 1)
		return false;
	net_filter_mode_set(&net->filter, mode, data[0]);
	net_filter_tell(net);
	return true;
}

/* One of the two tables. More addresses than we hold: all of that class pass, as 5.1.6.5.2 allows. */
static bool control_mac_table(struct vireo_cursor *data, struct net_filter_table *table)
{
	uint32_t count;

	*table = (struct net_filter_table){0};
	if (!vireo_cursor_take(data, &count, sizeof(count)))
		return false;
	count = le32toh(count);
	if (count > NET_FILTER_ENTRIES) {
		table->overflow = true;
		return vireo_cursor_skip(data, (uint64_t)count * 6);
	}
	for (; table->count < count; table->count++) {
		uint8_t mac[6];

		if (!vireo_cursor_take(data, mac, sizeof(mac)))
			return false;
		table->entries[table->count] = net_filter_mac(mac);
	}
	return true;
}

static bool control_mac_tables(struct vireo_net *net, struct vireo_cursor *data)
{
	struct net_filter_table unicast, multicast;

	if (!control_mac_table(data, &unicast) || !control_mac_table(data, &multicast) || data->left_bytes)
		return false;
	net_filter_tables_set(&net->filter, &unicast, &multicast);
	net_filter_tell(net);
	return true;
}

static bool control_mac_address(struct vireo_net *net, uint32_t argument, const uint8_t *data)
{
	if (data[0] & 1 || net_mac_set(net, data))
		return false;
	net_filter_tell(net);
	return true;
}

static bool control_vlan(struct vireo_net *net, uint32_t on, const uint8_t *data)
{
	uint16_t vlan = control_le16(data);

	if (vlan > 4095)
		return false;
	net_filter_vlan_set(&net->filter, vlan, on);
	net_filter_tell(net);
	return true;
}

static bool control_announce_ack(struct vireo_net *net, uint32_t argument, const uint8_t *data)
{
	return !net_status_set(net, net->status & ~NET_S_ANNOUNCE);
}

static bool control_pairs(struct vireo_net *net, uint32_t argument, const uint8_t *data)
{
	uint16_t pairs = control_le16(data);

	if (pairs < 1 || pairs > net->pairs)
		return false;
	net_rss_steer_end(net); /* the last command says how queues are chosen (5.1.6.5.5) */
	net_pairs_set(net, pairs);
	return true;
}

static bool control_guest_offloads(struct vireo_net *net, uint32_t argument, const uint8_t *data)
{
	uint64_t features;

	memcpy(&features, data, sizeof(features));
	return net_offloads_wanted(net, le64toh(features));
}

static bool control_rss(struct vireo_net *net, struct vireo_cursor *data)
{
	struct net_rss_config config;

	if (!net_rss_parse(data, net->pairs, &config) || !net_rss_set(net, &config))
		return false;
	net_pairs_set(net, net_rss_pairs(&config));
	return true;
}

static bool control_hash(struct vireo_net *net, struct vireo_cursor *data)
{
	struct net_rss_config config;

	return net_rss_parse_hash(data, &config) && net_rss_set(net, &config);
}

static bool control_coalesce_all(struct vireo_net *net, uint32_t transmit, const uint8_t *data)
{
	net_coalesce_all_set(net, transmit, net_coalesce_of(data));
	return true;
}

/* The index of a queue, two bytes that are reserved and not looked at, and its limits. */
static bool control_coalesce_queue(struct vireo_net *net, uint32_t argument, const uint8_t *data)
{
	return net_coalesce_queue_set(net, control_le16(data), net_coalesce_of(data + 4));
}

static bool control_coalesce_ask(const struct vireo_net *net, const uint8_t *data, uint8_t *told)
{
	struct net_coalesce limits;
	uint32_t words[2];

	if (!net_coalesce_queue_get(net, control_le16(data), &limits))
		return false;
	words[0] = htole32(limits.max_packets);
	words[1] = htole32(limits.max_us);
	memcpy(told, words, sizeof(words));
	return true;
}

#define RX_MODE(name, feature, mode)                                                                \
	{                                                                                           \
		NET_CTRL_RX, NET_CTRL_RX_##name, VIREO_NET_F_##feature##_BIT, 1, NET_FILTER_##mode, \
			control_mode, NULL, NULL                                                    \
	}

static const struct control_command control_commands[] = {
	RX_MODE(PROMISC, CTRL_RX, PROMISCUOUS),
	RX_MODE(ALLMULTI, CTRL_RX, ALL_MULTICAST),
	RX_MODE(ALLUNI, CTRL_RX_EXTRA, ALL_UNICAST),
	RX_MODE(NOMULTI, CTRL_RX_EXTRA, NO_MULTICAST),
	RX_MODE(NOUNI, CTRL_RX_EXTRA, NO_UNICAST),
	RX_MODE(NOBCAST, CTRL_RX_EXTRA, NO_BROADCAST),
	{NET_CTRL_MAC, NET_CTRL_MAC_TABLE_SET, VIREO_NET_F_CTRL_RX_BIT, CONTROL_VARIABLE, 0, NULL,
	 control_mac_tables, NULL},
	{NET_CTRL_MAC, NET_CTRL_MAC_ADDR_SET, VIREO_NET_F_CTRL_MAC_ADDR_BIT, 6, 0, control_mac_address, NULL, NULL},
	{NET_CTRL_VLAN, NET_CTRL_VLAN_ADD, VIREO_NET_F_CTRL_VLAN_BIT, 2, 1, control_vlan, NULL, NULL},
	{NET_CTRL_VLAN, NET_CTRL_VLAN_DEL, VIREO_NET_F_CTRL_VLAN_BIT, 2, 0, control_vlan, NULL, NULL},
	{NET_CTRL_ANNOUNCE, NET_CTRL_ANNOUNCE_ACK, VIREO_NET_F_GUEST_ANNOUNCE_BIT, 0, 0, control_announce_ack,
	 NULL, NULL},
	{NET_CTRL_MQ, NET_CTRL_MQ_VQ_PAIRS_SET, VIREO_NET_F_MQ_BIT, 2, 0, control_pairs, NULL, NULL},
	{NET_CTRL_MQ, NET_CTRL_MQ_RSS_CONFIG, VIREO_NET_F_RSS_BIT, CONTROL_VARIABLE, 0, NULL, control_rss, NULL},
	{NET_CTRL_MQ, NET_CTRL_MQ_HASH_CONFIG, VIREO_NET_F_HASH_REPORT_BIT, CONTROL_VARIABLE, 0, NULL, control_hash, NULL},
	{NET_CTRL_GUEST_OFFLOADS, NET_CTRL_GUEST_OFFLOADS_SET, VIREO_NET_F_CTRL_GUEST_OFFLOADS_BIT, 8, 0, control_guest_offloads, NULL,
	 NULL},
	{NET_CTRL_NOTF_COAL, NET_CTRL_NOTF_COAL_TX_SET, VIREO_NET_F_NOTF_COAL_BIT, 8, 1, control_coalesce_all, NULL, NULL},
	{NET_CTRL_NOTF_COAL, NET_CTRL_NOTF_COAL_RX_SET, VIREO_NET_F_NOTF_COAL_BIT, 8, 0, control_coalesce_all, NULL, NULL},
	{NET_CTRL_NOTF_COAL, NET_CTRL_NOTF_COAL_VQ_SET, VIREO_NET_F_VQ_NOTF_COAL_BIT, 12, 0, control_coalesce_queue, NULL, NULL},
	{NET_CTRL_NOTF_COAL, NET_CTRL_NOTF_COAL_VQ_GET, VIREO_NET_F_VQ_NOTF_COAL_BIT, 4, 0, NULL, NULL, control_coalesce_ask},
};

static const struct control_command *control_find(const struct vireo_net *net,
						  const struct net_ctrl_header *header)
{
	for (size_t i = 0; i < ARRAY_SIZE(control_commands); i++) {
		const struct control_command *row = &control_commands[i];

		if (row->class == header->class && row->command == header->command)
			return net_has(net, row->feature_bit) ? row : NULL;
	}
	return NULL;
}

/* *ret_told: in front of the answer go so many bytes, of `told`. */
static bool control_run(struct vireo_net *net, struct vireo_cursor *c, uint8_t *told, uint32_t *ret_told)
{
	const struct control_command *row;
	struct net_ctrl_header header;
	uint8_t data[CONTROL_DATA_BYTES];

	if (!net_has(net, VIREO_NET_F_CTRL_VQ_BIT) || !vireo_cursor_take(c, &header, sizeof(header)))
		return false;
	net_copied();
	row = control_find(net, &header);
	if (!row)
		return false;
	*ret_told = row->ask ? CONTROL_TOLD_BYTES : 0;
	if (row->data_bytes == CONTROL_VARIABLE)
		return row->run_variable(net, c);
	if (c->left_bytes != row->data_bytes || !vireo_cursor_take(c, data, row->data_bytes))
		return false;
	net_copied();
	return row->ask ? row->ask(net, data, told) : row->run(net, row->argument, data);
}

/*
 * The answer is the chain's first writable byte behind what the command tells. Without any the driver could never learn it: it lies. One that has
 * room for an answer and not for what is told before is refused in the first.
 */
static int control_chain(struct vireo_net *net, struct vireo_queue *queue, const struct vireo_chain *chain)
{
	struct vireo_cursor in = vireo_chain_readable(chain);
	struct vireo_cursor out = vireo_chain_writable(chain);
	uint8_t told[CONTROL_TOLD_BYTES + 1] = {0};
	uint32_t bytes = 0;
	bool done;

	if (!chain->writable_bytes) {
		vireo_queue_push(queue, chain, 0);
		vireo_device_break(net->device, "control queue: a command has no room for its answer");
		return -EPROTO;
	}
	done = control_run(net, &in, told, &bytes);
	if (bytes >= chain->writable_bytes) {
		bytes = 0;
		done = false;
	}
	told[bytes++] = done ? NET_OK : NET_ERR;
	vireo_cursor_put(&out, told, bytes);
	vireo_queue_push(queue, chain, bytes);
	return 0;
}

/* Kicks go on again only when nothing is left; a command that came in between is seen by kick_enable. */
static void control_process(struct vireo_net *net, struct vireo_queue *queue, struct iovec *iov,
			    unsigned iov_max)
{
	struct vireo_chain chain = {.iov = iov};

	for (unsigned work = 0; work < CONTROL_WORK_MAX;
	     work += 1 + chain.readable_count + chain.writable_count) {
		int r = vireo_queue_pop(queue, &chain, 1, iov, iov_max);

		if (r == 0 && !vireo_queue_kick_enable(queue, true))
			break;
		if (r < 0 || (r > 0 && control_chain(net, queue, &chain)))
			break;
	}
	vireo_queue_flush(queue);
}

/*
 * Carries out what is there: at most CONTROL_WORK_MAX of it, so that a driver that keeps adding commands, or adds
 * some of thousands of pieces, cannot hold the control thread. The device comes back for what is left. The first call is the
 * queue's start.
 */
void net_control_kicked(void *opaque, struct vireo_queue *queue)
{
	struct vireo_net *net = opaque;
	unsigned iov_max = VIREO_CHAIN_PIECES_MAX(vireo_queue_size(queue));
	struct iovec *iov = calloc(iov_max, sizeof(*iov));

	net_control_begins(net);
	if (iov)
		control_process(net, queue, iov, iov_max);
	else
		vireo_device_break(net->device, "no memory for the control queue");
	free(iov);
}
