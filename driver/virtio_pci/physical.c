/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Locked pages are not enough: mlock() keeps a page in memory, but not at its address, for the kernel may
 * still move it: a transparent huge page whenever it tidies up, a reserved one when somebody asks for it
 * (migratepages, a cpuset that moves, memory that is taken offline). Neither is moved while it is pinned as
 * memory of a device's is; the one interface that pins memory for any process is io_uring's registered
 * buffers.
 *
 * The pin also decides what happens to a process that is killed. Its memory goes before its files do; with a
 * file goes the device's right to memory (uio.c, vfio.c). A page that is only mapped would be somebody
 * else's in between, and the device still writing to it. A pinned one stays until the pin's file is closed,
 * and then as long as the kernel takes to wind the ring up, which is after all files are.
 */

#include "driver/virtio_pci/physical.h"
#include "base/fd.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif
#ifndef MADV_COLLAPSE /* Linux 6.1 */
#define MADV_COLLAPSE 25
#endif

/* An entry of pagemap (the kernel's admin-guide/mm/pagemap). */
#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_FRAME_MASK ((UINT64_C(1) << 55) - 1)

int pci_physical_address(int pagemap_fd, const void *host, uint64_t bytes, uint64_t *ret_address)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)host / page_bytes;
	uint64_t pages = ((uintptr_t)host + bytes - 1) / page_bytes - first + 1, start = 0;

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t entry, frame;

		if (pread(pagemap_fd, &entry, sizeof(entry), (off_t)((first + i) * sizeof(entry))) !=
		    sizeof(entry))
			return -EFAULT;
		frame = entry & ENTRY_FRAME_MASK;
		if (!(entry & ENTRY_PRESENT))
			return -EFAULT;
		if (!frame) /* what a process without CAP_SYS_ADMIN is told */
			return -EPERM;
		if (!i)
			start = frame;
		else if (frame != start + i)
			return -ERANGE;
	}
	*ret_address = start * page_bytes + (uintptr_t)host % page_bytes;
	return 0;
}

static int pin(void *host, int *ret_fd)
{
	struct iovec iov = { .iov_base = host, .iov_len = PHYSICAL_BYTES };
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params), err;

	if (fd < 0)
		return -errno;
	if (!syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1)) {
		*ret_fd = fd;
		return 0;
	}
	err = -errno;
	close(fd);
	return err;
}

/* For a page that moves, and outlives us, only by rare events: the caller is told by pin_fd. */
static int pin_if_allowed(struct pci_physical *p)
{
	int err = pin(p->host, &p->pin_fd);

	return err == -EPERM || err == -EACCES || err == -ENOSYS || err == -ENOMEM ? 0 : err;
}

static int reserved_page(struct pci_physical *p)
{
	void *host = mmap(NULL, PHYSICAL_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB | MAP_POPULATE, -1, 0);

	if (host == MAP_FAILED)
		return -errno;
	p->host = host;
	return pin_if_allowed(p);
}

/* The huge page that lies aligned in a mapping twice its size; the rest is given back. */
static int transparent_page(struct pci_physical *p)
{
	uint8_t *at =
		mmap(NULL, 2 * PHYSICAL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;
	int err;

	if (at == MAP_FAILED)
		return -errno;
	before = (size_t)(-(uintptr_t)at % PHYSICAL_BYTES);
	if (before)
		munmap(at, before);
	munmap(at + before + PHYSICAL_BYTES, PHYSICAL_BYTES - before);
	p->host = at + before;
	madvise(p->host, PHYSICAL_BYTES, MADV_HUGEPAGE);
	memset(p->host, 0, PHYSICAL_BYTES);
	madvise(p->host, PHYSICAL_BYTES, MADV_COLLAPSE); /* if it came in small pages */
	err = pin(p->host, &p->pin_fd);
	return err == -EPERM || err == -EACCES ? -ENOSYS : err; /* who may not pin may use reserved pages */
}

static int address_find(struct pci_physical *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = pci_physical_address(fd, p->host, PHYSICAL_BYTES, &p->address);
	close(fd);
	return err;
}

int pci_physical_new(const struct vireo_log *log, struct pci_physical *ret)
{
	struct pci_physical p = { .pin_fd = -1 };
	int err = reserved_page(&p);

	if (!p.host) /* none is reserved, or free */
		err = transparent_page(&p);

	/* A child's copy-on-write would take the page away from under the device. */
	if (!err && madvise(p.host, PHYSICAL_BYTES, MADV_DONTFORK))
		err = -errno;
	if (!err)
		err = address_find(&p);
	if (!err) {
		*ret = p;
		return 0;
	}
	pci_physical_free(&p);
	if (err == -EPERM || err == -EACCES) {
		log_error(log,
			  "without an IOMMU the device is told physical addresses, which the kernel does "
			  "not tell us: CAP_SYS_ADMIN is missing");
		return -EPERM;
	}
	log_error(log,
		  "no memory in one stretch (%s): reserve huge pages: "
		  "echo 64 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
		  strerror(-err));
	return -ENOMEM;
}

void pci_physical_free(struct pci_physical *p)
{
	fd_close(&p->pin_fd);
	if (p->host)
		munmap(p->host, PHYSICAL_BYTES);
	p->host = NULL;
}
