/* SPDX-License-Identifier: BSD-3-Clause */

/* PCI config space of any content: what is taken for an area lies in its BAR, and is large enough for its
 * registers. */
#include "driver/virtio_pci/caps.h"
#include "fuzz.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_area(const struct pci_area *area, const struct pci_bar *bars, uint32_t least)
{
	if (!area->bytes)
		return;
	assert(area->bar < PCI_BARS && bars[area->bar].memory && area->bytes >= least);
	assert((uint64_t)area->offset + area->bytes <= bars[area->bar].bytes);
	assert((uint64_t)area->offset + area->bytes <= UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct pci_bar bars[PCI_BARS];
	uint8_t config[PCI_CONFIG_BYTES];
	struct pci_layout layout;
	const char *why = NULL;
	uint32_t offset;

	for (unsigned i = 0; i < PCI_BARS; i++)
		bars[i] = (struct pci_bar){ (uint64_t)fuzz_u8(&in) << (fuzz_u8(&in) & 31), fuzz_u8(&in) & 1 };
	fuzz_take(&in, config, sizeof(config));
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
