/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VIRTIO_NET_H
#define WIRE_VIRTIO_NET_H

/* The network device's structures (virtio 1.3, 5.1), and the check that turns a guest's header into an offload. */

#include "vireo/frame.h"
#include <stdint.h>

struct virtio_net_header { /* 5.1.6, with num_buffers: VERSION_1 or MRG_RXBUF */
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

#define NET_HDR_BYTES 12u

struct virtio_net_header_hash { /* 5.1.6: behind the header with HASH_REPORT, in both directions */
	uint32_t value;
	uint16_t report; /* NET_HASH_REPORT_* */
	uint16_t padding;
};

#define NET_HDR_HASH_BYTES 20u /* both */
#define NET_HDR_F_NEEDS_CSUM 1u
#define NET_HDR_F_DATA_VALID 2u
#define NET_HDR_GSO_NONE 0u
#define NET_HDR_GSO_TCPV4 1u
#define NET_HDR_GSO_UDP 3u
#define NET_HDR_GSO_TCPV6 4u
#define NET_HDR_GSO_UDP_L4 5u
#define NET_HDR_GSO_ECN 0x80u

/*
 * Checks `header` (a private copy) of a frame of frame_bytes, whose first bytes are in head (head_bytes of them),
 * against what was negotiated (offloads that the sender may ask for, VIREO_OFFLOAD_*). 0 and *ret, or -EINVAL with
 * *why (static). DATA_VALID is dropped: a driver must not set it on transmit. Whoever parses the header of a sender
 * that may (the host's kernel) adds VIREO_FRAME_DATA_VALID itself.
 */
int net_header_parse(const struct virtio_net_header *header, uint32_t frame_bytes, const uint8_t *head,
		     unsigned head_bytes, unsigned offloads, struct vireo_frame_offload *ret,
		     const char **why);

/* The header that tells a receiver of `offload`; num_buffers is 1. */
struct virtio_net_header net_header_build(const struct vireo_frame_offload *offload);

/* VIREO_OFFLOAD_* that a frame with this request needs its receiver to take. */
unsigned net_offloads_needed(const struct vireo_frame_offload *offload);

/* Control queue (5.1.6.5). */
struct net_ctrl_header {
	uint8_t class;
	uint8_t command;
};
#define NET_OK 0u
#define NET_ERR 1u
#define NET_CTRL_RX 0u
#define NET_CTRL_RX_PROMISC 0u
#define NET_CTRL_RX_ALLMULTI 1u
#define NET_CTRL_RX_ALLUNI 2u
#define NET_CTRL_RX_NOMULTI 3u
#define NET_CTRL_RX_NOUNI 4u
#define NET_CTRL_RX_NOBCAST 5u
#define NET_CTRL_MAC 1u
#define NET_CTRL_MAC_TABLE_SET 0u
#define NET_CTRL_MAC_ADDR_SET 1u
#define NET_CTRL_VLAN 2u
#define NET_CTRL_VLAN_ADD 0u
#define NET_CTRL_VLAN_DEL 1u
#define NET_CTRL_ANNOUNCE 3u
#define NET_CTRL_ANNOUNCE_ACK 0u
#define NET_CTRL_MQ 4u
#define NET_CTRL_MQ_VQ_PAIRS_SET 0u
#define NET_CTRL_MQ_RSS_CONFIG 1u
#define NET_CTRL_MQ_HASH_CONFIG 2u
#define NET_CTRL_GUEST_OFFLOADS 5u
#define NET_CTRL_GUEST_OFFLOADS_SET 0u
#define NET_CTRL_NOTF_COAL 6u
#define NET_CTRL_NOTF_COAL_TX_SET 0u
#define NET_CTRL_NOTF_COAL_RX_SET 1u
#define NET_CTRL_NOTF_COAL_VQ_SET 2u
#define NET_CTRL_NOTF_COAL_VQ_GET 3u

/* Device config space (5.1.4). */
struct virtio_net_config_space {
	uint8_t mac[6];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
	uint16_t mtu;
	uint32_t speed;
	uint8_t duplex;
	uint8_t rss_max_key_size;
	uint16_t rss_max_indirection_table_length;
	uint32_t supported_hash_types;
} __attribute__((packed));
#define NET_S_LINK_UP 1u
#define NET_S_ANNOUNCE 2u

#endif
