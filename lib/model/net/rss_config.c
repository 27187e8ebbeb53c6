/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a driver says of hashes and queues (virtio 1.3, 5.1.6.5.6 and 5.1.6.5.7), out of its commands and out of a saved state:
 *
 *	RSS_CONFIG				HASH_CONFIG
 *	le32 hash_types				le32 hash_types
 *	le16 indirection_table_mask		le16 reserved[4], the place of the four
 *	le16 unclassified_queue			fields beside it; Linux 6.1 says something
 *	le16 indirection_table[mask + 1]	there, and it is not looked at
 *	le16 max_tx_vq
 *	u8 hash_key_length, hash_key_data	u8 hash_key_length, hash_key_data
 *
 * A queue is named by its pair; bit 15 is reserved and must be 0. A key shorter than we take is filled up with zeroes.
 */

#include "model/net/rss.h"
#include "base/util.h"
#include "vireo/cursor.h"
#include <endian.h>
#include <string.h>

struct wire_state {
	uint32_t types;
	uint16_t mask, unclassified, transmit_pairs;
	uint8_t key_bytes, steers;
	uint8_t key[NET_HASH_KEY_BYTES];
	uint16_t table[NET_RSS_TABLE_MAX];
};

_Static_assert(sizeof(struct wire_state) == NET_RSS_STATE_BYTES, "state of hashes");

static bool take_le16(struct vireo_cursor *data, uint16_t *ret)
{
	if (!vireo_cursor_take(data, ret, sizeof(*ret)))
		return false;
	*ret = le16toh(*ret);
	return true;
}

/* To the end of the data, exactly. */
static bool take_key(struct vireo_cursor *data, struct net_rss_config *config)
{
	return vireo_cursor_take(data, &config->key_bytes, sizeof(config->key_bytes)) &&
	       config->key_bytes <= sizeof(config->key) && data->left_bytes == config->key_bytes &&
	       vireo_cursor_take(data, config->key, config->key_bytes);
}

static bool take_types(struct vireo_cursor *data, struct net_rss_config *config)
{
	*config = (struct net_rss_config){ 0 };
	if (!vireo_cursor_take(data, &config->types, sizeof(config->types)))
		return false;
	config->types = le32toh(config->types);
	return true;
}

/* Of a copy: whatever the driver does to its memory, this holds of what is used. */
static bool config_good(const struct net_rss_config *config, unsigned pairs)
{
	if (config->types & ~NET_HASH_TYPES_ALL || config->key_bytes > sizeof(config->key))
		return false;
	if (config->types && !config->key_bytes)
		return false;
	if (!config->steers)
		return true;
	if (config->mask >= NET_RSS_TABLE_MAX || config->mask & (config->mask + 1u))
		return false;
	for (unsigned i = 0; i <= config->mask; i++)
		if (config->table[i] >= pairs)
			return false;
	return config->unclassified < pairs && config->transmit_pairs && config->transmit_pairs <= pairs;
}

bool net_rss_parse(struct vireo_cursor *data, unsigned pairs, struct net_rss_config *ret_config)
{
	if (!take_types(data, ret_config) || !take_le16(data, &ret_config->mask) || !take_le16(data, &ret_config->unclassified) ||
	    ret_config->mask >= NET_RSS_TABLE_MAX)
		return false;
	for (unsigned i = 0; i <= ret_config->mask; i++)
		if (!take_le16(data, &ret_config->table[i]))
			return false;
	ret_config->steers = true;
	return take_le16(data, &ret_config->transmit_pairs) && take_key(data, ret_config) && config_good(ret_config, pairs);
}

bool net_rss_parse_hash(struct vireo_cursor *data, struct net_rss_config *ret_config)
{
	return take_types(data, ret_config) && vireo_cursor_skip(data, 8) && take_key(data, ret_config) &&
	       config_good(ret_config, 0);
}

/* Those of transmit queues, or as many as there are receive queues that a frame may go to. */
unsigned net_rss_pairs(const struct net_rss_config *config)
{
	unsigned pairs = config->transmit_pairs > config->unclassified ? config->transmit_pairs : config->unclassified + 1u;

	for (unsigned i = 0; i <= config->mask; i++)
		if (config->table[i] >= pairs)
			pairs = config->table[i] + 1u;
	return pairs;
}

void net_rss_write(const struct net_rss_config *config, uint8_t to[NET_RSS_STATE_BYTES])
{
	struct wire_state state = {
		.types = htole32(config->types),
		.mask = htole16(config->mask),
		.unclassified = htole16(config->unclassified),
		.transmit_pairs = htole16(config->transmit_pairs),
		.key_bytes = config->key_bytes,
		.steers = config->steers,
	};

	memcpy(state.key, config->key, sizeof(state.key));
	for (unsigned i = 0; i < NET_RSS_TABLE_MAX; i++)
		state.table[i] = htole16(config->table[i]);
	memcpy(to, &state, sizeof(state));
}

bool net_rss_read(const uint8_t from[NET_RSS_STATE_BYTES], unsigned pairs, struct net_rss_config *ret_config)
{
	struct wire_state state;

	memcpy(&state, from, sizeof(state));
	*ret_config = (struct net_rss_config){
		.types = le32toh(state.types),
		.steers = state.steers,
		.mask = le16toh(state.mask),
		.unclassified = le16toh(state.unclassified),
		.transmit_pairs = le16toh(state.transmit_pairs),
		.key_bytes = state.key_bytes,
	};
	memcpy(ret_config->key, state.key, sizeof(state.key));
	for (unsigned i = 0; i < NET_RSS_TABLE_MAX; i++)
		ret_config->table[i] = le16toh(state.table[i]);
	return state.steers <= 1 && config_good(ret_config, pairs);
}
