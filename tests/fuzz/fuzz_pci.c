/* SPDX-License-Identifier: BSD-3-Clause */

/* PCI config space of any content: what is taken for an area lies in its BAR, and is large enough for its
 * registers. */
#include "driver/virtio_pci/caps.h"
#include "fuzz.h"
#include <assert.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#define CAPS_AT	  0x40u
#define CAPS	  6u
#define CAP_BYTES 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_area(const struct pci_area *area, const struct pci_bar *bars, uint32_t least)
{
	if (!area->bytes)
		return;
	assert(area->bar < PCI_BARS && bars[area->bar].memory && area->bytes >= least);
	assert((uint64_t)area->offset + area->bytes <= bars[area->bar].bytes);
	assert((uint64_t)area->offset + area->bytes <= UINT32_MAX);
}

/* Bit by bit: what else the input says there. Or hardly one would come beyond the ids, and none to a capability. */
static void header_take(uint8_t *config, uint8_t lies)
{
	if (!(lies & 1))
		memcpy(config + PCI_VENDOR_ID, (uint8_t[]){ 0xf4, 0x1a }, 2);
	if (!(lies & 2))
		memcpy(config + PCI_DEVICE_ID, (uint8_t[]){ config[PCI_DEVICE_ID] & 0x7f, 0x10 }, 2);
	if (!(lies & 4))
		config[PCI_HEADER_TYPE] &= 0x80;
	if (!(lies & 8))
		config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
}

/* One after the other, each of a kind, BAR, place and length of the input's, or not written at all: what is there is any list then. */
static void caps_take(struct fuzz_input *in, uint8_t *config)
{
	for (unsigned i = 0, at = CAPS_AT; i < CAPS; i++, at += CAP_BYTES) {
		uint8_t lies = fuzz_u8(in);
		struct virtio_pci_cap cap = { .cap_vndr = PCI_CAP_ID_VNDR, .cap_len = CAP_BYTES };

		if (lies & 1)
			continue;
		cap.cap_next = i + 1 < CAPS ? (uint8_t)(at + CAP_BYTES) : 0;
		cap.cfg_type = lies >> 1 & 7;
		cap.bar = fuzz_u8(in) & 7;
		cap.offset = lies & 16 ? fuzz_u32(in) : fuzz_u8(in);
		cap.length = lies & 32 ? fuzz_u32(in) : fuzz_u8(in);
		memcpy(config + at, &cap, sizeof(cap));
	}
	config[PCI_CAPABILITY_LIST] = CAPS_AT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct pci_bar bars[PCI_BARS];
	uint8_t config[PCI_CONFIG_BYTES], lies;
	struct pci_layout layout;
	const char *why = NULL;
	uint32_t offset;

	for (unsigned i = 0; i < PCI_BARS; i++)
		bars[i] = (struct pci_bar){ (uint64_t)fuzz_u8(&in) << (fuzz_u8(&in) & 31), fuzz_u8(&in) & 1 };
	lies = fuzz_u8(&in);
	fuzz_take(&in, config, sizeof(config));
	header_take(config, lies);
	if (!(lies & 16))
		caps_take(&in, config);
	if (pci_caps_parse(config, sizeof(config), bars, &layout, &why)) {
		assert(why);
		return 0;
	}
	assert(layout.common.bytes && layout.notify.bytes && layout.isr.bytes);
	check_area(&layout.common, bars, 56);
	check_area(&layout.notify, bars, 2);
	check_area(&layout.isr, bars, 1);
	check_area(&layout.device, bars, 1);
	if (!pci_notify_offset(&layout, fuzz_u16(&in), &offset))
		assert(offset >= layout.notify.offset &&
		       (uint64_t)offset + 2 <= (uint64_t)layout.notify.offset + layout.notify.bytes);
	return 0;
}
