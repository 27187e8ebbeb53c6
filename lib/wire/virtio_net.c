/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A transmit header says what the driver left undone: a checksum, segmentation. Whoever carries that
 * out later, in this process or in another guest, takes offsets and sizes from it, so it passes only if it
 * fits the frame. The rules are the driver's in virtio 1.3, 5.1.6.2.1; where one is stricter than the
 * specification's letter, it says why. Pure functions.
 */
#include "wire/virtio_net.h"
#include "base/util.h"
#include "wire/virtio_ring.h"
#include <errno.h>
#include <stdbool.h>

#define ETHERNET_BYTES 14u
#define VLAN_TAG_BYTES 4u
#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_IPV6 0x86ddu
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_QINQ 0x88a8u
#define IPV4_BYTES_MIN 20u
#define IPV6_BYTES_MIN 40u
#define TCP_BYTES_MIN 20u
#define TCP_CSUM_OFFSET 16u
#define UDP_BYTES 8u
#define UDP_CSUM_OFFSET 6u

_Static_assert(sizeof(struct virtio_net_header) == NET_HDR_BYTES, "virtio 1.3, 5.1.6");
_Static_assert(sizeof(struct virtio_net_header) + sizeof(struct virtio_net_header_hash) == NET_HDR_HASH_BYTES, "virtio 1.3, 5.1.6");
_Static_assert(sizeof(struct virtio_net_config_space) == 24, "virtio 1.3, 5.1.4");

/* The link header, as far as the private copy of a frame's head shows it. */
struct link {
	uint32_t bytes;
	uint16_t ethertype; /* behind at most one tag; 0: not shown */
};

static uint16_t be16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool is_tag(uint16_t ethertype)
{
	return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ;
}

static struct link link_of(const uint8_t *head, unsigned head_bytes)
{
	struct link link = { .bytes = ETHERNET_BYTES };

	if (head_bytes < ETHERNET_BYTES)
		return link;
	link.ethertype = be16_at(head + 12);
	if (!is_tag(link.ethertype))
		return link;
	link.bytes += VLAN_TAG_BYTES;
	link.ethertype = head_bytes < ETHERNET_BYTES + VLAN_TAG_BYTES ? 0 : be16_at(head + 16);
	return link;
}

static const char *csum_error(const struct vireo_frame_offload *offload, const struct link *link,
			      uint32_t frame_bytes, unsigned offloads)
{
	if (!(offloads & VIREO_OFFLOAD_CSUM))
		return "checksum offload was not negotiated";
	if ((uint32_t)offload->csum_start + offload->csum_offset + 2 > frame_bytes)
		return "checksum lies beyond the end of the frame";
	/* No protocol sums its link header, and decisions have been taken on what is stored there. */
	if (offload->csum_start < link->bytes)
		return "checksum covers the link header";
	return NULL;
}

/* The type that a header's gso_type stands for, and the offload it takes. False: there is none such. */
static bool gso_type_known(uint8_t type, uint16_t ethertype, enum vireo_gso *ret_gso, unsigned *ret_needed)
{
	switch (type) {
	case NET_HDR_GSO_TCPV4:
		*ret_gso = VIREO_GSO_TCP4;
		*ret_needed = VIREO_OFFLOAD_TSO4;
		return true;
	case NET_HDR_GSO_TCPV6:
		*ret_gso = VIREO_GSO_TCP6;
		*ret_needed = VIREO_OFFLOAD_TSO6;
		return true;
	case NET_HDR_GSO_UDP:
		*ret_gso = VIREO_GSO_UDP_FRAG;
		*ret_needed = VIREO_OFFLOAD_UFO;
		return true;
	case NET_HDR_GSO_UDP_L4: /* one type for both IP versions */
		*ret_gso = ethertype == ETHERTYPE_IPV6 ? VIREO_GSO_UDP6 : VIREO_GSO_UDP4;
		*ret_needed = ethertype == ETHERTYPE_IPV6 ? VIREO_OFFLOAD_USO6 : VIREO_OFFLOAD_USO4;
		return true;
	default:
		return false;
	}
}

static bool is_tcp(uint8_t gso)
{
	return gso == VIREO_GSO_TCP4 || gso == VIREO_GSO_TCP6;
}

static bool ethertype_fits(uint8_t gso, uint16_t ethertype)
{
	switch (gso) {
	case VIREO_GSO_TCP4:
	case VIREO_GSO_UDP4:
		return ethertype == ETHERTYPE_IPV4;
	case VIREO_GSO_TCP6:
	case VIREO_GSO_UDP6:
		return ethertype == ETHERTYPE_IPV6;
	default: /* UFO: either */
		return ethertype == ETHERTYPE_IPV4 || ethertype == ETHERTYPE_IPV6;
	}
}

/*
 * Segmentation of a frame whose checksum request has been checked: csum_start is where its transport header
 * begins (5.1.6.2.1: the checksum of a frame to be segmented is that of its only transport header).
 */
static const char *gso_error(const struct vireo_frame_offload *offload, const struct link *link,
			     uint32_t frame_bytes)
{
	bool tcp = is_tcp(offload->gso);
	uint32_t network_bytes = link->ethertype == ETHERTYPE_IPV6 ? IPV6_BYTES_MIN : IPV4_BYTES_MIN;
	uint32_t headers_bytes = offload->csum_start + (tcp ? TCP_BYTES_MIN : UDP_BYTES);

	if (!offload->segment_bytes)
		return "segments are empty";
	if (!(offload->flags & VIREO_FRAME_NEEDS_CSUM))
		return "segmentation without a checksum request";
	/* Also a frame with two tags, where the head does not show what follows: no driver asks for that. */
	if (!ethertype_fits(offload->gso, link->ethertype))
		return "segmentation type does not fit the frame's ethertype";
	if (offload->csum_offset != (tcp ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET))
		return "segmentation type does not fit the checksum's place";
	if (offload->csum_start < link->bytes + network_bytes)
		return "segmentation of a frame without a network header";
	if (headers_bytes > frame_bytes)
		return "segmentation of a frame shorter than its headers";
	return NULL;
}

/* hdr_len is a hint that nobody may rely on (5.1.6.2.2): made plausible, lest a receiver stumbles over it. */
static uint16_t plausible_header_bytes(uint16_t hint, const struct vireo_frame_offload *offload,
				       uint32_t frame_bytes)
{
	uint32_t least = offload->csum_start + (is_tcp(offload->gso) ? TCP_BYTES_MIN : UDP_BYTES);
	uint32_t bytes = hint > least ? hint : least;

	return (uint16_t)min_u32(min_u32(bytes, frame_bytes), UINT16_MAX);
}

static const char *gso_parse(const struct virtio_net_header *header, const struct link *link,
			     uint32_t frame_bytes, unsigned offloads, struct vireo_frame_offload *offload)
{
	bool ecn = header->gso_type & NET_HDR_GSO_ECN;
	const char *error;
	enum vireo_gso gso;
	unsigned needed;

	if (!gso_type_known(header->gso_type & (uint8_t)~NET_HDR_GSO_ECN, link->ethertype, &gso, &needed))
		return "segmentation type is unknown";
	if (!(offloads & needed))
		return "segmentation type was not negotiated";
	if (ecn && !(is_tcp((uint8_t)gso) && (offloads & VIREO_OFFLOAD_ECN)))
		return "ECN segmentation was not negotiated, or is not TCP";
	offload->gso = (uint8_t)gso;
	offload->segment_bytes = le16(header->gso_size);
	if (ecn)
		offload->flags |= VIREO_FRAME_ECN;
	error = gso_error(offload, link, frame_bytes);
	if (!error)
		offload->header_bytes = plausible_header_bytes(le16(header->hdr_len), offload, frame_bytes);
	return error;
}

int net_header_parse(const struct virtio_net_header *header, uint32_t frame_bytes, const uint8_t *head,
		     unsigned head_bytes, unsigned offloads, struct vireo_frame_offload *ret,
		     const char **why)
{
	struct vireo_frame_offload offload = { .gso = VIREO_GSO_NONE };
	const struct link link = link_of(head, head_bytes);
	const char *error = NULL;

	/*
	 * 5.1.6.2.2: unknown flags are ignored. So is DATA_VALID, which no driver may set: a guest cannot
	 * vouch for its own checksums to another one.
	 */
	if (header->flags & NET_HDR_F_NEEDS_CSUM) {
		offload.flags |= VIREO_FRAME_NEEDS_CSUM;
		offload.csum_start = le16(header->csum_start);
		offload.csum_offset = le16(header->csum_offset);
		error = csum_error(&offload, &link, frame_bytes, offloads);
	}
	if (!error && header->gso_type != NET_HDR_GSO_NONE)
		error = gso_parse(header, &link, frame_bytes, offloads, &offload);
	if (error) {
		*why = error;
		return -EINVAL;
	}
	*ret = offload;
	return 0;
}

static uint8_t gso_type_of(const struct vireo_frame_offload *offload)
{
	static const uint8_t types[] = {
		[VIREO_GSO_NONE] = NET_HDR_GSO_NONE,   [VIREO_GSO_TCP4] = NET_HDR_GSO_TCPV4,
		[VIREO_GSO_TCP6] = NET_HDR_GSO_TCPV6,  [VIREO_GSO_UDP_FRAG] = NET_HDR_GSO_UDP,
		[VIREO_GSO_UDP4] = NET_HDR_GSO_UDP_L4, [VIREO_GSO_UDP6] = NET_HDR_GSO_UDP_L4,
	};
	uint8_t ecn = is_tcp(offload->gso) && (offload->flags & VIREO_FRAME_ECN) ? NET_HDR_GSO_ECN : 0;

	return types[offload->gso] | ecn;
}

struct virtio_net_header net_header_build(const struct vireo_frame_offload *offload)
{
	struct virtio_net_header header = { .num_buffers = le16(1) };

	if (offload->flags & VIREO_FRAME_NEEDS_CSUM) {
		header.flags = NET_HDR_F_NEEDS_CSUM;
		header.csum_start = le16(offload->csum_start);
		header.csum_offset = le16(offload->csum_offset);
	} else if (offload->flags & VIREO_FRAME_DATA_VALID) {
		header.flags = NET_HDR_F_DATA_VALID;
	}
	if (offload->gso != VIREO_GSO_NONE) {
		header.gso_type = gso_type_of(offload);
		header.gso_size = le16(offload->segment_bytes);
		header.hdr_len = le16(offload->header_bytes);
	}
	return header;
}

unsigned net_offloads_needed(const struct vireo_frame_offload *offload)
{
	static const unsigned needed[] = {
		[VIREO_GSO_NONE] = 0,
		[VIREO_GSO_TCP4] = VIREO_OFFLOAD_TSO4,
		[VIREO_GSO_TCP6] = VIREO_OFFLOAD_TSO6,
		[VIREO_GSO_UDP_FRAG] = VIREO_OFFLOAD_UFO,
		[VIREO_GSO_UDP4] = VIREO_OFFLOAD_USO4,
		[VIREO_GSO_UDP6] = VIREO_OFFLOAD_USO6,
	};
	unsigned mask = needed[offload->gso];

	if (offload->flags & VIREO_FRAME_NEEDS_CSUM)
		mask |= VIREO_OFFLOAD_CSUM;
	if (is_tcp(offload->gso) && (offload->flags & VIREO_FRAME_ECN))
		mask |= VIREO_OFFLOAD_ECN;
	return mask;
}
