/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire/feature_names.h"
#include "base/util.h"
#include <stddef.h>
#include <stdio.h>

#define TYPE_NET 1u
#define TYPE_BLK 2u
#define TYPE_SCSI 8u

/* virtio 1.3, 5.1.3; 6 is a legacy interface's. */
static const char *const net_names[64] = {
	[0] = "CSUM", [1] = "GUEST_CSUM", [2] = "CTRL_GUEST_OFFLOADS", [3] = "MTU", [5] = "MAC", [6] = "GSO",
	[7] = "GUEST_TSO4", [8] = "GUEST_TSO6", [9] = "GUEST_ECN", [10] = "GUEST_UFO", [11] = "HOST_TSO4",
	[12] = "HOST_TSO6", [13] = "HOST_ECN", [14] = "HOST_UFO", [15] = "MRG_RXBUF", [16] = "STATUS", [17] = "CTRL_VQ",
	[18] = "CTRL_RX", [19] = "CTRL_VLAN", [20] = "CTRL_RX_EXTRA", [21] = "GUEST_ANNOUNCE", [22] = "MQ",
	[23] = "CTRL_MAC_ADDR", [50] = "DEVICE_STATS", [51] = "HASH_TUNNEL", [52] = "VQ_NOTF_COAL", [53] = "NOTF_COAL",
	[54] = "GUEST_USO4", [55] = "GUEST_USO6", [56] = "HOST_USO", [57] = "HASH_REPORT", [59] = "GUEST_HDRLEN",
	[60] = "RSS", [61] = "RSC_EXT", [62] = "STANDBY", [63] = "SPEED_DUPLEX",
};

/* virtio 1.3, 5.2.3; 0 and 7 are a legacy interface's. */
static const char *const blk_names[64] = {
	[0] = "BARRIER", [1] = "SIZE_MAX", [2] = "SEG_MAX", [4] = "GEOMETRY", [5] = "RO", [6] = "BLK_SIZE", [7] = "SCSI",
	[9] = "FLUSH", [10] = "TOPOLOGY", [11] = "CONFIG_WCE", [12] = "MQ", [13] = "DISCARD", [14] = "WRITE_ZEROES",
	[15] = "LIFETIME", [16] = "SECURE_ERASE", [17] = "ZONED",
};

/* virtio 1.3, 5.6.3 */
static const char *const scsi_names[64] = {[0] = "INOUT", [1] = "HOTPLUG", [2] = "CHANGE", [3] = "T10_PI"};

/*
 * virtio 1.3, 6. Three bits are vhost's, between us and who serves the guest: 26 and 30, and 27, which was a legacy
 * interface's ANY_LAYOUT and which a device of ours does not offer to drivers.
 */
static const char *const common_names[64] = {
	[24] = "NOTIFY_ON_EMPTY", [26] = "LOG_ALL", [27] = "VIRTIO_NET_HDR", [28] = "RING_INDIRECT_DESC",
	[29] = "RING_EVENT_IDX", [30] = "PROTOCOL_FEATURES", [32] = "VERSION_1", [33] = "ACCESS_PLATFORM",
	[34] = "RING_PACKED", [35] = "IN_ORDER", [36] = "ORDER_PLATFORM", [37] = "SR_IOV", [38] = "NOTIFICATION_DATA",
	[39] = "NOTIF_CONFIG_DATA", [40] = "RING_RESET", [41] = "ADMIN_VQ",
};

static const char *const protocol_names[64] = {
	[0] = "MQ", [1] = "LOG_SHMFD", [2] = "RARP", [3] = "REPLY_ACK", [4] = "MTU", [5] = "BACKEND_REQ",
	[6] = "CROSS_ENDIAN", [7] = "CRYPTO_SESSION", [8] = "PAGEFAULT", [9] = "CONFIG", [10] = "BACKEND_SEND_FD",
	[11] = "HOST_NOTIFIER", [12] = "INFLIGHT_SHMFD", [13] = "RESET_DEVICE", [14] = "INBAND_NOTIFICATIONS",
	[15] = "CONFIGURE_MEM_SLOTS", [16] = "STATUS", [17] = "XEN_MMAP", [18] = "SHARED_OBJECT", [19] = "DEVICE_STATE",
	[20] = "GET_VRING_BASE_INFLIGHT", [21] = "GPA_ADDRESSES",
};

const char *feature_name(uint32_t device_type, unsigned bit)
{
	const char *own = NULL;

	if (bit >= ARRAY_SIZE(common_names))
		return NULL;
	if (device_type == TYPE_NET)
		own = net_names[bit];
	else if (device_type == TYPE_BLK)
		own = blk_names[bit];
	else if (device_type == TYPE_SCSI)
		own = scsi_names[bit];
	return own ? own : common_names[bit];
}

const char *protocol_feature_name(unsigned bit)
{
	return bit < ARRAY_SIZE(protocol_names) ? protocol_names[bit] : NULL;
}

static size_t text_add(char *text, size_t used, const char *name, unsigned bit)
{
	const char *gap = used ? " " : "";
	int len = name ? snprintf(text + used, FEATURES_TEXT_BYTES - used, "%s%s", gap, name) :
			 snprintf(text + used, FEATURES_TEXT_BYTES - used, "%sbit %u", gap, bit);

	return min_u64(used + (size_t)len, FEATURES_TEXT_BYTES - 1);
}

const char *features_text(char text[FEATURES_TEXT_BYTES], uint32_t device_type, uint64_t features)
{
	size_t used = 0;

	snprintf(text, FEATURES_TEXT_BYTES, "none");
	for (unsigned bit = 0; bit < 64; bit++)
		if (features >> bit & 1)
			used = text_add(text, used, feature_name(device_type, bit), bit);
	return text;
}

const char *protocol_features_text(char text[FEATURES_TEXT_BYTES], uint64_t features)
{
	size_t used = 0;

	snprintf(text, FEATURES_TEXT_BYTES, "none");
	for (unsigned bit = 0; bit < 64; bit++)
		if (features >> bit & 1)
			used = text_add(text, used, protocol_feature_name(bit), bit);
	return text;
}
