/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuzz.h"
#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_memory_init(struct fuzz_memory *memory)
{
	static const struct map_faults none = {.event_fd = -1};
	const char *why = NULL;
	uint8_t *base;
	int fds[2], ret;

	memory->memfd = memfd_create("fuzz", 0);
	ret = ftruncate(memory->memfd, FUZZ_MEMORY_BYTES);
	assert(ret == 0);
	base = mmap(NULL, FUZZ_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory->memfd, 0);
	assert(base != MAP_FAILED);
	memory->host[0] = base + FUZZ_REGION_BYTES;
	memory->host[1] = base;
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = memory->memfd;
		memory->specs[i] = (struct map_spec){
			.gpa = i * FUZZ_REGION_BYTES,
			.size_bytes = FUZZ_REGION_BYTES,
			.uaddr = FUZZ_UADDR + i * FUZZ_REGION_BYTES,
			.mmap_offset = (1 - i) * FUZZ_REGION_BYTES,
		};
	}
	ret = map_new(NULL, memory->specs, fds, 2, &none, &memory->map, &why);
	assert(ret == 0);
}

void fuzz_memory_write(struct fuzz_memory *memory, uint32_t at, const void *data, uint32_t bytes)
{
	const uint8_t *src = data;

	for (uint32_t i = 0; i < bytes && at + i < FUZZ_MEMORY_BYTES; i++)
		memory->host[(at + i) / FUZZ_REGION_BYTES][(at + i) % FUZZ_REGION_BYTES] = src[i];
}

void fuzz_memory_clear(struct fuzz_memory *memory)
{
	memset(memory->host[1], 0, FUZZ_MEMORY_BYTES);
}
