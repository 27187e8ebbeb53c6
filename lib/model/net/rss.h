/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NET_RSS_H
#define NET_RSS_H

/*
 * The hash of frames to the guest, and the receive queue that it chooses (virtio 1.3, 5.1.6.4.3, 5.1.6.5.6, 5.1.6.5.7): what the driver has
 * said of them, and how workers come to know it.
 */

#include "vireo/frame.h"
#include "wire/net_hash.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vireo_cursor;
struct vireo_net;
struct virtio_net_header_hash;

#define NET_RSS_TABLE_MAX 128u /* entries: what 5.1.4 asks for at least, and drivers have room for */

/* As the driver says it. */
struct net_rss_config {
	uint32_t types;
	bool steers; /* queues are chosen by the table; else as ever, and the four below are 0 */
	uint16_t mask, unclassified, transmit_pairs;
	uint16_t table[NET_RSS_TABLE_MAX];
	uint8_t key_bytes;
	uint8_t key[NET_HASH_KEY_BYTES];
};

#define NET_RSS_STATE_BYTES 308u

/* ---- rss_config.c: pure but for `pairs` ---- */

/* The data of the two commands. False: it cannot be, and *ret_config is undefined. */
bool net_rss_parse(struct vireo_cursor *data, unsigned pairs, struct net_rss_config *ret_config);
bool net_rss_parse_hash(struct vireo_cursor *data, struct net_rss_config *ret_config);
unsigned net_rss_pairs(const struct net_rss_config *config); /* in use */
/* To and from a device's state: state.c. */
void net_rss_write(const struct net_rss_config *config, uint8_t to[NET_RSS_STATE_BYTES]);
bool net_rss_read(const uint8_t from[NET_RSS_STATE_BYTES], unsigned pairs, struct net_rss_config *ret_config);

/* ---- rss.c ---- */

/* Control thread. False: no memory; nothing has changed. */
bool net_rss_set(struct vireo_net *net, const struct net_rss_config *config);
void net_rss_steer_end(struct vireo_net *net); /* queues are chosen as ever; hashes go on being reported */
void net_rss_forget(struct vireo_net *net);
const struct net_rss_config *net_rss_said(const struct vireo_net *net); /* NULL: nothing */
void net_rss_free(struct vireo_net *net);

/* Worker. What HASH_REPORT says of the frame, as its next receiver gets it. */
void net_rss_report(const struct vireo_net *net, const struct vireo_frame *frame, struct virtio_net_header_hash *ret_hash);

#endif
