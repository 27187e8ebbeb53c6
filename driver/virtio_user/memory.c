/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * One memfd, seen by the back end as two regions: rings and indirect tables, then the caller's buffers. They
 * lie far apart in guest physical addresses, and neither starts where this process has mapped it: a back end
 * that confuses the three kinds of address does not get far.
 */

#include "base/fd.h"
#include "base/util.h"
#include "driver/ring/ring.h"
#include "driver/virtio_user/front.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RINGS_GPA UINT64_C(0x40000000)
#define BUFFERS_GPA UINT64_C(0x4000000000)
#define PAGE_BYTES UINT64_C(4096)
#define AREA_ALIGN_BYTES UINT64_C(64) /* no two areas in one cache line */

/* Places one ring's areas at `at`; with memory NULL it only measures. Returns where the next one goes. */
static uint64_t ring_place(struct vireo_front *front, struct front_ring *r, uint64_t at)
{
	uint32_t size = front->config.queue_size;
	struct driver_ring_areas need = driver_ring_areas(front_agreed(front, FRONT_F_RING_PACKED_BIT),
							  front_agreed(front, FRONT_F_INDIRECT_BIT), size);
	uint64_t bytes[4] = { need.desc_bytes, need.driver_bytes, need.device_bytes, need.tables_bytes };
	void **areas[4] = { &r->desc, &r->driver, &r->device, &r->tables };

	for (unsigned i = 0; i < 4; i++) {
		*areas[i] = front->memory && bytes[i] ? front->memory + at : NULL;
		at += align_up(bytes[i], AREA_ALIGN_BYTES);
	}
	return align_up(at, PAGE_BYTES);
}

static uint64_t rings_place(struct vireo_front *front)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < front->config.queue_count; i++)
		at = ring_place(front, &front->rings[i], at);
	return at;
}

static int memory_map(struct vireo_front *front)
{
	void *mapped;
	int fd = memfd_create("vireo-driver", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	front->memory_fd = fd;
	if (ftruncate(fd, (off_t)front->memory_bytes) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		return -errno;
	mapped = mmap(NULL, front->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		return -errno;
	front->memory = mapped;
	return 0;
}

int front_memory_new(struct vireo_front *front)
{
	uint64_t buffer_bytes = align_up(front->config.memory_bytes, PAGE_BYTES);
	int ret;

	front->rings_bytes = rings_place(front);
	front->memory_bytes = front->rings_bytes + buffer_bytes;
	ret = memory_map(front);
	if (ret)
		return ret;
	rings_place(front);
	front->regions[0] = (struct vu_region){
		.gpa = RINGS_GPA,
		.size_bytes = front->rings_bytes,
		.uaddr = (uintptr_t)front->memory,
	};
	front->regions[1] = (struct vu_region){
		.gpa = BUFFERS_GPA,
		.size_bytes = buffer_bytes,
		.uaddr = (uintptr_t)front->memory + front->rings_bytes,
		.mmap_offset = front->rings_bytes,
	};
	front->region_count = buffer_bytes ? 2 : 1;
	return 0;
}

static int share_slots(struct vireo_front *front)
{
	uint64_t slots;
	int ret = front_get_u64(front, VU_GET_MAX_MEM_SLOTS, &slots);

	if (!ret && slots < front->region_count)
		ret = -ENOTSUP;
	for (unsigned i = 0; i < front->region_count && !ret; i++) {
		struct {
			uint64_t padding;
			struct vu_region region;
		} payload = { .region = front->regions[i] };

		ret = front_set(front, VU_ADD_MEM_REG, &payload, sizeof(payload), front->memory_fd);
	}
	return ret;
}

static int share_table(struct vireo_front *front)
{
	struct {
		uint32_t count, padding;
		struct vu_region regions[FRONT_REGIONS_MAX];
	} payload = { .count = front->region_count };
	int fds[FRONT_REGIONS_MAX];

	for (unsigned i = 0; i < front->region_count; i++) {
		payload.regions[i] = front->regions[i];
		fds[i] = front->memory_fd;
	}
	return front_set_fds(front, VU_SET_MEM_TABLE, &payload,
			     (uint32_t)(8 + front->region_count * sizeof(struct vu_region)), fds,
			     front->region_count);
}

int front_memory_share(struct vireo_front *front)
{
	if (front_protocol(front, VU_PROTO_CONFIGURE_MEM_SLOTS_BIT))
		return share_slots(front);
	return share_table(front);
}

void front_memory_free(struct vireo_front *front)
{
	if (front->memory)
		munmap(front->memory, front->memory_bytes);
	fd_close(&front->memory_fd);
}
