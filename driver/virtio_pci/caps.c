/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/virtio_pci/caps.h"
#include "base/util.h"
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>

/* Device ids (4.1.2): 0x1000-0x103f is transitional, with the type in the subsystem; 0x1040 + type is modern.
 */
#define ID_FIRST 0x1000u
#define ID_MODERN 0x1040u
#define ID_LAST 0x107fu

static uint16_t u16_at(const uint8_t *config, unsigned at)
{
	return (uint16_t)(config[at] | config[at + 1] << 8);
}

static uint32_t u32_at(const uint8_t *config, unsigned at)
{
	return u16_at(config, at) | (uint32_t)u16_at(config, at + 2) << 16;
}

int pci_identify(uint16_t vendor, uint16_t device, uint16_t subsystem, struct pci_layout *ret)
{
	if (vendor != PCI_VIRTIO_VENDOR || device < ID_FIRST || device > ID_LAST)
		return -ENODEV;
	ret->transitional = device < ID_MODERN;
	ret->device_id = ret->transitional ? subsystem : device - ID_MODERN;
	return 0;
}

/* What the specification asks of each kind of capability, by cfg_type (4.1.4.3 to 4.1.4.6). */
static const struct cap_rule {
	uint8_t cap_bytes;
	uint8_t align;
	uint32_t area_bytes; /* at least */
	size_t area; /* in struct pci_layout */
} rules[] = {
	[VIRTIO_PCI_CAP_COMMON_CFG] = { 16, 4, VIRTIO_PCI_COMMON_Q_USEDHI + 4,
					offsetof(struct pci_layout, common) },
	[VIRTIO_PCI_CAP_NOTIFY_CFG] = { 20, 2, 2, offsetof(struct pci_layout, notify) },
	[VIRTIO_PCI_CAP_ISR_CFG] = { 16, 1, 1, offsetof(struct pci_layout, isr) },
	[VIRTIO_PCI_CAP_DEVICE_CFG] = { 16, 4, 1, offsetof(struct pci_layout, device) },
};

static const char *area_take(const struct cap_rule *rule, const uint8_t *cap, const struct pci_bar *bar,
			     struct pci_area *area)
{
	uint32_t offset = u32_at(cap, VIRTIO_PCI_CAP_OFFSET), bytes = u32_at(cap, VIRTIO_PCI_CAP_LENGTH);

	if (offset > bar->bytes || bytes > bar->bytes - offset)
		return "a capability points outside its BAR";
	if (bytes > UINT32_MAX - offset) /* what is in there is named by 32 bits */
		return "a capability's area goes beyond 4 GiB";
	if (bytes < rule->area_bytes)
		return "a capability's area is too small for its registers";
	if (offset % rule->align)
		return "a capability's area is not aligned";
	*area = (struct pci_area){ .bar = cap[VIRTIO_PCI_CAP_BAR], .offset = offset, .bytes = bytes };
	return NULL;
}

/*
 * A virtio capability at `at`. The first one of a kind that can be used is taken (4.1.4.1): one in I/O ports
 * cannot, and reserved BARs and kinds are to be passed over. The window into BARs through config space
 * (PCI_CFG) is for firmware that cannot map them.
 */
static const char *virtio_cap_take(const uint8_t *config, unsigned at, const struct pci_bar *bars,
				   struct pci_layout *layout)
{
	const uint8_t *cap = config + at;
	const struct cap_rule *rule;
	struct pci_area *area;
	const char *why;

	if (!cap[VIRTIO_PCI_CAP_CFG_TYPE] || cap[VIRTIO_PCI_CAP_CFG_TYPE] >= ARRAY_SIZE(rules))
		return NULL;
	rule = &rules[cap[VIRTIO_PCI_CAP_CFG_TYPE]];
	area = (struct pci_area *)(void *)((char *)layout + rule->area);
	if (cap[VIRTIO_PCI_CAP_LEN] < rule->cap_bytes || at + cap[VIRTIO_PCI_CAP_LEN] > PCI_CONFIG_BYTES)
		return "a capability is too short, or does not end within config space";
	if (area->bytes || cap[VIRTIO_PCI_CAP_BAR] >= PCI_BARS)
		return NULL;
	if (bars[cap[VIRTIO_PCI_CAP_BAR]].bytes && !bars[cap[VIRTIO_PCI_CAP_BAR]].memory)
		return NULL;
	why = area_take(rule, cap, &bars[cap[VIRTIO_PCI_CAP_BAR]], area);
	if (why || cap[VIRTIO_PCI_CAP_CFG_TYPE] != VIRTIO_PCI_CAP_NOTIFY_CFG)
		return why;
	layout->notify_multiplier = u32_at(cap, sizeof(struct virtio_pci_cap));
	/* "An even power of 2, or 0" (4.1.4.4.1). */
	if ((layout->notify_multiplier & (layout->notify_multiplier - 1)) || layout->notify_multiplier == 1)
		return "the notify multiplier is no even power of 2";
	return NULL;
}

static const char *walk(const uint8_t *config, const struct pci_bar *bars, struct pci_layout *layout)
{
	unsigned at = config[PCI_CAPABILITY_LIST] & ~3u;
	uint64_t seen = 0; /* a bit for each place where a capability can begin */
	const char *why;

	while (at) {
		if (at < PCI_STD_HEADER_SIZEOF)
			return "a capability lies in the header of config space";
		if (seen >> (at / 4) & 1)
			return "its list of capabilities is a loop";
		seen |= UINT64_C(1) << (at / 4);
		if (config[at] == PCI_CAP_ID_MSIX)
			layout->msix_at = (uint8_t)at;
		why = config[at] == PCI_CAP_ID_VNDR ? virtio_cap_take(config, at, bars, layout) : NULL;
		if (why)
			return why;
		at = config[at + PCI_CAP_LIST_NEXT] & ~3u;
	}
	return NULL;
}

static int missing(const struct pci_layout *layout, const char **why)
{
	if (!layout->common.bytes) {
		*why = layout->transitional ? "it speaks legacy virtio only (QEMU: disable-modern=off)"
					    : "it has no common configuration that can be used";
		return -ENOTSUP;
	}
	if (!layout->notify.bytes || !layout->isr.bytes) {
		*why = "it has no notification area, or no interrupt status, that can be used";
		return -ENOTSUP;
	}
	return 0;
}

int pci_caps_parse(const uint8_t *config, uint32_t bytes, const struct pci_bar bars[PCI_BARS],
		   struct pci_layout *ret, const char **why)
{
	struct pci_layout layout = { 0 };
	int err;

	*why = "config space is cut off: CAP_SYS_ADMIN is missing, run as root";
	if (bytes < PCI_CONFIG_BYTES)
		return -EACCES;
	*why = "it is no virtio function";
	if (pci_identify(u16_at(config, PCI_VENDOR_ID), u16_at(config, PCI_DEVICE_ID),
			 u16_at(config, PCI_SUBSYSTEM_ID), &layout) ||
	    (config[PCI_HEADER_TYPE] & 0x7f) != PCI_HEADER_TYPE_NORMAL)
		return -ENODEV;
	*why = NULL;
	if (u16_at(config, PCI_STATUS) & PCI_STATUS_CAP_LIST)
		*why = walk(config, bars, &layout);
	if (*why)
		return -EPROTO;
	err = missing(&layout, why);
	if (!err)
		*ret = layout;
	return err;
}

int pci_notify_offset(const struct pci_layout *layout, uint16_t queue_notify_off, uint32_t *ret_offset)
{
	uint64_t at = (uint64_t)queue_notify_off * layout->notify_multiplier;

	if (at + sizeof(uint16_t) > layout->notify.bytes)
		return -EPROTO;
	*ret_offset = layout->notify.offset + (uint32_t)at;
	return 0;
}
