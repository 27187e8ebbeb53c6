/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/util.h"
#include "driver/virtio_pci/access.h"
#include "wire/virtio_ring.h"
#include <errno.h>
#include <sys/mman.h>

static volatile void *register_at(struct pci_access *access, unsigned bar, uint32_t offset)
{
	return container_of(access, struct pci_mapped, access)->host[bar] + offset;
}

int pci_mapped_map(struct pci_mapped *mapped, unsigned bar, int fd, uint64_t offset)
{
	void *at;

	if (mapped->host[bar])
		return 0;
	at = mmap(NULL, mapped->access.bars[bar].bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  (off_t)offset);
	if (at == MAP_FAILED)
		return -errno;
	mapped->host[bar] = at;
	return 0;
}

void pci_mapped_unmap(struct pci_mapped *mapped)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (mapped->host[i])
			munmap(mapped->host[i], mapped->access.bars[i].bytes);
}

uint32_t pci_mapped_read(struct pci_access *access, unsigned bar, uint32_t offset, unsigned bytes)
{
	volatile void *at = register_at(access, bar, offset);

	switch (bytes) {
	case 1:
		return *(volatile uint8_t *)at;
	case 2:
		return le16(*(volatile uint16_t *)at);
	default:
		return le32(*(volatile uint32_t *)at);
	}
}

void pci_mapped_write(struct pci_access *access, unsigned bar, uint32_t offset, unsigned bytes,
		      uint32_t value)
{
	volatile void *at = register_at(access, bar, offset);

	device_write_barrier();
	switch (bytes) {
	case 1:
		*(volatile uint8_t *)at = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)at = le16((uint16_t)value);
		break;
	default:
		*(volatile uint32_t *)at = le32(value);
	}
}

volatile uint16_t *pci_mapped_doorbell(struct pci_access *access, unsigned bar, uint32_t offset)
{
	return register_at(access, bar, offset);
}
