/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include "base/system.h"
#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Under virtio-vdpa all data passes through bounce pages, by default 64 MiB of single pages that the kernel allocates as
 * they are used. It takes memory of ours for them (CAP_UMEM says for which region), all of it or none. That pays where
 * ours is better: in huge pages, which cost a worker no page faults and few entries of its TLB. Single pages of ours
 * would only be pinned and counted against the memlock limit, so without huge pages to be had, or without leave to lock
 * them, it stays as it is.
 *
 * What is registered stays so until the device's file is closed: a reset takes the region away and leaves the pages,
 * and a kill gives them back to the kernel with what is in them.
 */

#define HUGE_BYTES (UINT64_C(2) << 20)

static bool umem_wanted(struct vduse *v, uint64_t last)
{
	struct vduse_wire_iova_info info = { .first = 0, .last = last };

	return !vduse_ioctl(v, VDUSE_WIRE_IOTLB_GET_INFO, &info) && !info.first && info.last == last &&
	       (info.capability & VDUSE_WIRE_CAP_UMEM) && !((last + 1) % HUGE_BYTES);
}

/* Reserved at once: a page that is missing later would be a SIGBUS. */
static int umem_make(struct vduse_umem *umem, uint64_t bytes)
{
	int fd = memfd_create("vduse-bounce", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	void *at;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes)) {
		fd_close(&fd);
		return -errno;
	}
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		fd_close(&fd);
		return -ENOMEM;
	}
	*umem = (struct vduse_umem){ .fd = fd, .at = at, .bytes = bytes };
	return 0;
}

bool vduse_umem_offer(struct vduse *v, uint64_t last)
{
	struct vduse_wire_umem wire = { .bytes = last + 1 };
	int r;

	if (!umem_wanted(v, last)) /* asked for each time: a program's memory may begin at 0, too */
		return false;
	if (v->umem.fd >= 0)
		return v->umem.bytes == last + 1;
	if (umem_make(&v->umem, last + 1))
		return false;
	wire.uaddr = (uintptr_t)v->umem.at;
	r = vduse_ioctl(v, VDUSE_WIRE_REG_UMEM, &wire);
	if (r) {
		log_debug(device_log(v->device), "%s: no huge bounce pages: %s", device_name(v->device),
			  system_errno_text(-r));
		vduse_umem_drop(v);
		return false;
	}
	log_info(device_log(v->device), "%s: bounce pages lie in huge pages", device_name(v->device));
	return true;
}

/* The file is closed, or does not know of it. */
void vduse_umem_drop(struct vduse *v)
{
	if (v->umem.fd < 0)
		return;
	munmap(v->umem.at, v->umem.bytes);
	fd_close(&v->umem.fd);
}
