/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VDUSE_FAKE_TEST_H
#define VDUSE_FAKE_TEST_H

/*
 * A kernel to test against: its control file and one device, behind the table of kernel.c, and a driver in front of it
 * whose rings lie in a memfd. Everything is in shared memory and every fd made in advance, so that a daemon may run in a
 * child process and be killed.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/fd.h"
#include "base/loop.h"
#include "driver/ring/ring.h"
#include "mem/map.h"
#include "transport/vduse/vduse_internal.h"
#include "vireo/driver.h"
#include "vireo/endpoint.h"
#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAKE_QUEUES 3u
#define FAKE_RANGES 8u
#define FAKE_NAME "test0"
#define FAKE_OPENS	4u
#define FAKE_OPENS_MAX	256u

#define MEMORY_BYTES (4u << 20)
#define BOUNCE_BYTES (2u << 20) /* IOVA 0 to here, as virtio-vdpa has it */
#define RING_AT(queue) (BOUNCE_BYTES + (queue) * 0x40000u)
#define TABLES_AT 0x20000u /* behind a ring */

#define STATUS_FEATURES 11u /* ACKNOWLEDGE, DRIVER, FEATURES_OK */
#define STATUS_OK 15u
#define F(name) VIREO_FEATURE(VIREO_F_##name##_BIT)
#define F_PLATFORM VIREO_FEATURE(VDUSE_F_ACCESS_PLATFORM_BIT)

struct fake_queue {
	struct vduse_wire_queue_info info;
	uint16_t size_max;
	uint32_t group;
	bool kick; /* an eventfd has been set */
	unsigned irqs;
};

struct fake_range {
	uint64_t first, last, offset;
	uint8_t perm;
	int fd;
};

struct fake {
	/* What the kernel can. */
	bool no_module, no_permission, no_bus, no_driver;
	uint64_t api_max, vduse_features;
	int write_error; /* of the next answer */
	int attach_error, remove_error;
	int patience_s; /* 0: for ever */
	/* The device. */
	bool exists, attached, given_up;
	bool out_of_order; /* so the daemons that serve it complete its chains */
	uint64_t api, taken_features;
	struct vduse_wire_config config;
	uint8_t space[64];
	uint8_t status; /* as far as it has been answered */
	uint64_t features; /* the driver's */
	struct fake_queue queues[FAKE_QUEUES];
	struct fake_range ranges[FAKE_RANGES];
	unsigned range_count, range_asks;
	unsigned bound_anew;
	unsigned removes; /* has the bus been asked to let go of it? */
	unsigned config_irqs, config_sets, destroyed, umem_asks;
	uint32_t next_id;
	/* Files: pairs of sockets, one per opener to come. */
	int control_fd, pairs[FAKE_OPENS_MAX][2];
	unsigned opens, opens_max;
	/* Memory. */
	int memfd;
	uint8_t *memory;
	char folder[64];
};

/* ---- the kernel's side of the table ---- */

static int fake_peer_fd(const struct fake *f)
{
	return f->pairs[f->opens ? f->opens - 1 : 0][1];
}

/* Has somebody the device open? */
static bool fake_connected(const struct fake *f)
{
	struct pollfd poll_fd = { .fd = fake_peer_fd(f) };

	return f->opens && !poll(&poll_fd, 1, 0);
}

static int fake_dup(int fd)
{
	int copy = dup(fd);

	return copy < 0 ? -errno : copy;
}

static int fake_open(void *opaque, const char *path, int flags)
{
	struct fake *f = opaque;

	if (f->no_module)
		return -ENOENT;
	if (f->no_permission)
		return -EACCES;
	if (!strcmp(path, "/dev/vduse/control"))
		return fake_dup(f->control_fd);
	if (strcmp(path, "/dev/vduse/" FAKE_NAME) != 0 || !f->exists)
		return -ENOENT;
	return fake_connected(f) ? -EBUSY : f->pairs[f->opens++][0];
}

static int fake_control(struct fake *f, unsigned long request, void *argument)
{
	uint64_t *number = argument;

	switch (request) {
	case VDUSE_WIRE_SET_API_VERSION:
		f->api = *number;
		return *number > f->api_max ? -EINVAL : 0;
	case VDUSE_WIRE_GET_FEATURES:
		*number = f->vduse_features;
		return f->vduse_features ? 0 : -EINVAL;
	case VDUSE_WIRE_SET_FEATURES:
		f->taken_features = *number;
		return *number & ~f->vduse_features ? -EINVAL : 0;
	case VDUSE_WIRE_CREATE_DEV:
		if (f->exists)
			return -EEXIST;
		memcpy(&f->config, argument, sizeof(f->config));
		if (!(f->config.features & F_PLATFORM) || f->config.group_count != f->api)
			return -EINVAL;
		memcpy(f->space, (uint8_t *)argument + sizeof(f->config), f->config.config_bytes);
		f->exists = true;
		return 0;
	case VDUSE_WIRE_DESTROY_DEV:
		if (!f->exists)
			return -EINVAL;
		if (fake_connected(f) || f->attached)
			return -EBUSY;
		f->exists = f->given_up = false;
		f->destroyed++;
		return 0;
	default:
		return -EINVAL;
	}
}

static int fake_iotlb(struct fake *f, struct vduse_wire_iotlb *entry)
{
	f->range_asks++;
	for (unsigned i = 0; i < f->range_count; i++) {
		const struct fake_range *range = &f->ranges[i];

		if (range->last < entry->first || range->first > entry->last)
			continue;
		*entry = (struct vduse_wire_iotlb){ range->offset, range->first, range->last, range->perm };
		return fake_dup(range->fd);
	}
	return -EINVAL;
}

static int fake_queue_ioctl(struct fake *f, unsigned long request, void *argument)
{
	uint32_t index;

	memcpy(&index, argument, sizeof(index));
	if (index >= f->config.queue_count)
		return -EINVAL;
	switch (request) {
	case VDUSE_WIRE_VQ_SETUP:
		f->queues[index].size_max = ((struct vduse_wire_queue_config *)argument)->size_max;
		f->queues[index].group = ((struct vduse_wire_queue_config *)argument)->group;
		return 0;
	case VDUSE_WIRE_VQ_GET_INFO:
		memcpy(argument, &f->queues[index].info, sizeof(f->queues[index].info));
		memcpy(argument, &index, sizeof(index));
		return 0;
	case VDUSE_WIRE_VQ_SETUP_KICKFD:
		f->queues[index].kick = ((struct vduse_wire_kick *)argument)->fd >= 0;
		return 0;
	case VDUSE_WIRE_VQ_INJECT_IRQ:
		if (!(f->status & VIREO_STATUS_DRIVER_OK))
			return -EINVAL;
		f->queues[index].irqs++;
		return 0;
	default:
		return -ENOTTY;
	}
}

static int fake_ioctl(void *opaque, int fd, unsigned long request, void *argument)
{
	struct fake *f = opaque;
	const struct vduse_wire_config_data *data = argument;

	if (_IOC_NR(request) < 0x10)
		return fake_control(f, request, argument);
	switch (request) {
	case VDUSE_WIRE_IOTLB_GET_FD:
		return fake_iotlb(f, argument);
	case VDUSE_WIRE_IOTLB_GET_INFO:
		f->umem_asks++;
		return -ENOTTY;
	case VDUSE_WIRE_DEV_GET_FEATURES:
		if (f->given_up)
			return -EPERM;
		*(uint64_t *)argument = f->features;
		return 0;
	case VDUSE_WIRE_DEV_SET_CONFIG:
		memcpy(f->space + data->offset, data + 1, data->bytes);
		f->config_sets++;
		return 0;
	case VDUSE_WIRE_INJECT_CONFIG_IRQ:
		if (f->given_up)
			return -EPERM;
		if (!(f->status & VIREO_STATUS_DRIVER_OK))
			return -EINVAL;
		f->config_irqs++;
		return 0;
	default:
		return fake_queue_ioctl(f, request, argument);
	}
}

static ssize_t fake_read(void *opaque, int fd, void *data, size_t bytes)
{
	ssize_t n = recv(fd, data, bytes, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static ssize_t fake_write(void *opaque, int fd, const void *data, size_t bytes)
{
	struct fake *f = opaque;
	ssize_t n = f->write_error;

	f->write_error = 0;
	if (!n)
		n = send(fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n == -1 ? -errno : n;
}

static int fake_patience_s(void *opaque, const char *name)
{
	return ((struct fake *)opaque)->patience_s;
}

static int fake_bus_check(void *opaque, const char *driver)
{
	struct fake *f = opaque;

	return f->no_bus ? -EPROTONOSUPPORT : f->no_driver ? -ENODEV : 0;
}

static int fake_bus_add(void *opaque, const char *name, const char *driver, bool anew)
{
	struct fake *f = opaque;

	if (f->attach_error)
		return f->attach_error;
	f->bound_anew += f->attached && anew;
	f->attached = true;
	return 0;
}

static int fake_bus_remove(void *opaque, const char *name)
{
	struct fake *f = opaque;

	f->removes++;
	if (f->remove_error)
		return f->remove_error;
	f->attached = false;
	return 0;
}

static struct vduse_kernel fake_kernel(struct fake *f)
{
	return (struct vduse_kernel){
		.open = fake_open,
		.ioctl = fake_ioctl,
		.read = fake_read,
		.write = fake_write,
		.patience_s = fake_patience_s,
		.bus_check = fake_bus_check,
		.bus_add = fake_bus_add,
		.bus_remove = fake_bus_remove,
		.opaque = f,
	};
}

/* ---- memory ---- */

static void fake_range(struct fake *f, uint64_t first, uint64_t bytes, uint64_t offset, uint8_t perm)
{
	f->ranges[f->range_count++] = (struct fake_range){ first, first + bytes - 1, offset, perm, f->memfd };
}

/* Rings and bounce pages, as virtio-vdpa lays them out; the latter only when buffers are there. */
static void fake_ranges(struct fake *f, bool bounce)
{
	f->range_count = 0;
	if (bounce)
		fake_range(f, 0, BOUNCE_BYTES, 0, 3);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		fake_range(f, RING_AT(i), 0x40000, RING_AT(i), 3);
}

static struct fake *fake_new_for(unsigned opens)
{
	struct fake *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(f, MAP_FAILED);
	assert_true(opens <= FAKE_OPENS_MAX);
	f->opens_max = opens;
	f->control_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (unsigned i = 0; i < f->opens_max; i++)
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, f->pairs[i]), 0);
	f->memfd = memfd_create("vduse-test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->memfd, MEMORY_BYTES), 0);
	f->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
	assert_ptr_not_equal(f->memory, MAP_FAILED);
	snprintf(f->folder, sizeof(f->folder), "/tmp/vduse-test-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	fake_ranges(f, true);
	return f;
}

static inline struct fake *fake_new(void)
{
	return fake_new_for(FAKE_OPENS);
}

static void fake_free(struct fake *f)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/vduse-" FAKE_NAME, f->folder);
	unlink(path);
	rmdir(f->folder);
	fd_close(&f->control_fd);
	fd_close(&f->memfd);
	for (unsigned i = 0; i < f->opens_max; i++) {
		if (i >= f->opens)
			fd_close(&f->pairs[i][0]);
		fd_close(&f->pairs[i][1]);
	}
	munmap(f->memory, MEMORY_BYTES);
	munmap(f, sizeof(*f));
}

/* ---- messages ---- */

struct fake_request {
	uint32_t type, id, reserved[4], body[32];
};

struct fake_response {
	uint32_t id, result, reserved[4], body[32];
};

static uint32_t fake_send(struct fake *f, uint32_t type, uint32_t word0, uint32_t word1)
{
	struct fake_request request = { .type = type, .id = ++f->next_id, .body = { word0, word1 } };

	assert_int_equal(send(fake_peer_fd(f), &request, sizeof(request), 0), sizeof(request));
	return request.id;
}

/* UPDATE_IOTLB of everything, as the kernel sends it. */
static inline uint32_t fake_send_update(struct fake *f)
{
	struct fake_request request = { .type = VDUSE_MSG_UPDATE_IOTLB, .id = ++f->next_id,
					.body = { 0, 0, UINT32_MAX, UINT32_MAX } };

	assert_int_equal(send(fake_peer_fd(f), &request, sizeof(request), 0), sizeof(request));
	return request.id;
}

static inline bool fake_answered(struct fake *f, struct fake_response *ret)
{
	return recv(fake_peer_fd(f), ret, sizeof(*ret), MSG_DONTWAIT) == (ssize_t)sizeof(*ret);
}

/* ---- the driver ---- */

struct fake_driver {
	struct fake *fake;
	struct vireo_driver_ring *rings[FAKE_QUEUES];
	bool packed;
};

static void driver_queue(struct fake_driver *d, unsigned queue, uint32_t size)
{
	struct fake *f = d->fake;
	struct vduse_wire_queue_info *info = &f->queues[queue].info;
	uint8_t *at = f->memory + RING_AT(queue);
	struct driver_ring_setup setup = {
		.packed = d->packed,
		.event_idx = f->features & F(RING_EVENT_IDX),
		.indirect = f->features & F(RING_INDIRECT_DESC),
		.size = size,
		.desc = at,
		.driver = at + 0x8000,
		.device = at + 0x10000,
		.tables = at + TABLES_AT,
		.tables_gpa = RING_AT(queue) + TABLES_AT,
		.memory = { .host = f->memory, .gpa = 0, .bytes = BOUNCE_BYTES },
		.call_fd = -1,
	};

	memset(at, 0, 0x20000);
	assert_int_equal(driver_ring_new(&setup, &d->rings[queue]), 0);
	*info = (struct vduse_wire_queue_info){ .index = queue, .size = size, .desc = RING_AT(queue),
						.driver = RING_AT(queue) + 0x8000, .device = RING_AT(queue) + 0x10000,
						.ready = 1 };
	info->state = vduse_state(d->packed ? 0x80008000u : 0, d->packed);
}

static void driver_new(struct fake *f, struct fake_driver *d, uint64_t features, uint32_t size)
{
	*d = (struct fake_driver){ .fake = f, .packed = features & F(RING_PACKED) };
	f->features = features | F_PLATFORM | F(VERSION_1);
	driver_queue(d, 0, size);
	driver_queue(d, 1, size);
}

static void driver_free(struct fake_driver *d)
{
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		driver_ring_free(d->rings[i]);
}

/* Makes a buffer of `bytes` at `offset` of the bounce pages available. */
static inline void driver_add(struct fake_driver *d, unsigned queue, uint32_t offset, uint32_t bytes, uintptr_t cookie)
{
	struct iovec iov = { d->fake->memory + offset, bytes };

	/* The cookie is only a name: never looked through. */
	assert_int_equal(vireo_driver_ring_add(d->rings[queue], &iov, 1, 0, false, (void *)cookie), 0); /* NOLINT */
	vireo_driver_ring_kick(d->rings[queue]);
}

/* The next buffer that came back, or 0. */
static inline uintptr_t driver_get(struct fake_driver *d, unsigned queue)
{
	uint32_t bytes;
	void *cookie;

	return vireo_driver_ring_get(d->rings[queue], &cookie, &bytes) > 0 ? (uintptr_t)cookie : 0;
}

#endif
