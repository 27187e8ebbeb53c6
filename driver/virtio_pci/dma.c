/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/virtio_pci/dma.h"
#include "base/log.h"
#include "base/util.h"
#include "driver/virtio_pci/access.h"
#include "driver/virtio_pci/physical.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct pci_dma_chunk {
	struct pci_dma_chunk *next;
	struct pci_physical physical; /* host NULL: mapped through the access */
	uint8_t *host;
	uint64_t address, bytes, used;
};

static int chunk_physical(struct pci_dma *dma, struct pci_dma_chunk *chunk, uint64_t bytes)
{
	int err;

	if (bytes > PHYSICAL_BYTES) {
		log_error(dma->log,
			  "%llu KiB in one stretch are needed, and without an IOMMU %llu is the most: "
			  "take vfio-pci behind an IOMMU",
			  (unsigned long long)bytes >> 10, (unsigned long long)PHYSICAL_BYTES >> 10);
		return -E2BIG;
	}
	err = pci_physical_new(dma->log, &chunk->physical);
	if (err)
		return err;
	if (chunk->physical.pin_fd < 0 && !dma->chunks)
		log_warning(dma->log,
			    "huge pages cannot be pinned (is io_uring disabled? ulimit -l?): do not migrate "
			    "this process's memory, and let no other have its pages after a kill");
	chunk->host = chunk->physical.host;
	chunk->address = chunk->physical.address;
	chunk->bytes = PHYSICAL_BYTES;
	return 0;
}

/* The kernel pins it as it maps it. */
static int chunk_mapped(struct pci_dma *dma, struct pci_dma_chunk *chunk, uint64_t bytes)
{
	void *host = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	if (host == MAP_FAILED)
		return -errno;
	madvise(host, bytes, MADV_HUGEPAGE); /* fewer misses; does not matter if it is refused */
	err = madvise(host, bytes, MADV_DONTFORK) ? -errno : 0;
	if (!err)
		err = dma->access->ops->dma_map(dma->access, host, bytes, &chunk->address);
	if (err) {
		munmap(host, bytes);
		return err;
	}
	chunk->host = host;
	chunk->bytes = bytes;
	return 0;
}

static int chunk_new(struct pci_dma *dma, uint64_t bytes)
{
	struct pci_dma_chunk *chunk = calloc(1, sizeof(*chunk));
	int err;

	if (!chunk)
		return -ENOMEM;
	chunk->physical.pin_fd = -1;
	if (dma->access->ops->dma_map)
		err = chunk_mapped(dma, chunk, bytes);
	else
		err = chunk_physical(dma, chunk, bytes);
	if (err) {
		free(chunk);
		return err;
	}
	chunk->next = dma->chunks;
	dma->chunks = chunk;
	return 0;
}

int pci_dma_take(struct pci_dma *dma, uint64_t bytes, struct pci_dma_area *ret)
{
	struct pci_dma_chunk *chunk = dma->chunks;
	int err;

	if (bytes > UINT64_MAX / 2)
		return -ENOMEM;
	bytes = align_up(bytes, (uint64_t)sysconf(_SC_PAGESIZE)); /* less cannot be mapped for the device */
	if (!chunk || bytes > chunk->bytes - chunk->used) {
		err = chunk_new(dma, bytes);
		if (err)
			return err;
		chunk = dma->chunks;
	}
	ret->host = chunk->host + chunk->used;
	ret->address = chunk->address + chunk->used;
	ret->bytes = bytes;
	chunk->used += bytes;
	return 0;
}

static struct pci_dma_chunk *chunk_pop(struct pci_dma *dma)
{
	struct pci_dma_chunk *chunk = dma->chunks;

	if (chunk)
		dma->chunks = chunk->next;
	return chunk;
}

void pci_dma_free(struct pci_dma *dma)
{
	struct pci_dma_chunk *chunk;

	while ((chunk = chunk_pop(dma))) {
		if (chunk->physical.host)
			pci_physical_free(&chunk->physical);
		else
			munmap(chunk->host, chunk->bytes);
		free(chunk);
	}
}

/* Its mapping and its pin stay. */
void pci_dma_leave(struct pci_dma *dma)
{
	struct pci_dma_chunk *chunk;

	while ((chunk = chunk_pop(dma)))
		free(chunk);
}
