/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_NET_HASH_H
#define WIRE_NET_HASH_H

/* What a network device's hash is of (virtio 1.3, 5.1.6.4.3), and the hash. Pure functions. */

#include <stdbool.h>
#include <stdint.h>

/* Hash types, a mask; what is reported is the type's bit number plus 1. */
#define NET_HASH_TYPE_IPV4	(1u << 0)
#define NET_HASH_TYPE_TCPV4	(1u << 1)
#define NET_HASH_TYPE_UDPV4	(1u << 2)
#define NET_HASH_TYPE_IPV6	(1u << 3)
#define NET_HASH_TYPE_TCPV6	(1u << 4)
#define NET_HASH_TYPE_UDPV6	(1u << 5)
#define NET_HASH_TYPE_IP_EX	(1u << 6) /* IPv6 with extension headers */
#define NET_HASH_TYPE_TCP_EX	(1u << 7)
#define NET_HASH_TYPE_UDP_EX	(1u << 8)
#define NET_HASH_TYPES_ALL	0x1ffu
#define NET_HASH_TYPES		9u
#define NET_HASH_REPORT_NONE	0u

#define NET_HASH_INPUT_BYTES 36u /* two IPv6 addresses, two ports */
#define NET_HASH_KEY_BYTES   40u /* a window of 32 bits for each bit of the input */
/*
 * So many of a frame's first bytes show all that is hashed, unless there are more extension headers than anybody sends. What is behind them
 * counts as if it were not there.
 */
#define NET_HASH_PEEK_BYTES 192u

struct net_hash_input {
	uint16_t report; /* NET_HASH_REPORT_NONE: the frame has no hash, and nothing else holds */
	uint8_t len_bytes;
	uint8_t bytes[NET_HASH_INPUT_BYTES];
};

/* Of a frame whose first have_bytes are `bytes` (a private copy). `types`: those that are enabled. */
void net_hash_input_of(const uint8_t *bytes, uint32_t have_bytes, uint32_t types, struct net_hash_input *ret_input);

/*
 * The Toeplitz hash takes a window of the key for each bit of its input. This has for each four bits of the input the sixteen words that
 * may come of them.
 */
struct net_hash_table {
	uint32_t words[2 * NET_HASH_INPUT_BYTES][16];
};

void net_hash_table_fill(struct net_hash_table *table, const uint8_t key[NET_HASH_KEY_BYTES]);

/* Words are read one by one, atomically: see model/net/rss.c for who changes them meanwhile. */
static inline uint32_t net_hash_of(const struct net_hash_table *table, const struct net_hash_input *input)
{
	uint32_t hash = 0;

	for (unsigned i = 0; i < input->len_bytes; i++) {
		hash ^= __atomic_load_n(&table->words[2 * i][input->bytes[i] >> 4], __ATOMIC_ACQUIRE);
		hash ^= __atomic_load_n(&table->words[2 * i + 1][input->bytes[i] & 15], __ATOMIC_ACQUIRE);
	}
	return hash;
}

#endif
