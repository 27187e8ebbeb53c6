/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/backing.h"
#include "base/drop.h"
#include "base/fd.h"
#include "mem/budget.h"
#include "mem/fault.h"
#include "mem/kind.h"
#include "mem/late.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

struct map_backing {
	unsigned refs; /* atomic */
	dev_t dev; /* the file, and where the region begins in it */
	ino_t ino;
	uint64_t mmap_offset;
	enum backing_kind kind;
	int fd; /* kept for a successor; -1: not */
	void *start;
	size_t bytes;
	struct vireo_fault_table *table; /* or NULL */
	unsigned slot; /* in table */
	struct drop *drop; /* or NULL */
	struct mem_account *account; /* or NULL */
	struct late *late; /* or NULL */
	struct late_range range; /* late's */
};

/* What of the file gets mapped: the region, widened to whole pages of the file. */
struct extent {
	uint64_t offset;
	size_t bytes;
	size_t page_bytes;
	dev_t dev;
	ino_t ino;
};

/* NULL: it is taken. */
static const char *kind_complaint(enum file_kind file, bool vouched, bool disks)
{
	switch (file) {
	case FILE_MEMORY:
		return NULL;
	case FILE_KERNELS:
		if (vouched)
			return NULL;
		break;
	case FILE_DISK:
		return disks ? NULL
			     : "a region's file lies on a disk, whose pages may have to be waited for: use memory "
			       "(memfd, /dev/shm, hugetlbfs), or permit it with files=any";
	case FILE_FOREIGN:
		return "a region's file lies on a file system that another program may serve: use memory (memfd, "
		       "/dev/shm, hugetlbfs)";
	case FILE_NONE:
		break;
	}
	return "a region's fd is not a file of memory";
}

/* Memory of the kernel's own has an inode without a type (an anonymous one), and no size to hold against anything. */
static int file_extent(int fd, uint64_t offset, uint64_t size_bytes, enum file_kind file, struct extent *ret,
		       const char **why)
{
	uint64_t end, page, first, last, file_bytes;
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || fstatfs(fd, &fs) < 0) {
		*why = "a region's fd is not a file of memory";
		return -EINVAL;
	}
	file_bytes = file == FILE_KERNELS ? INT64_MAX : (uint64_t)st.st_size;
	if (__builtin_add_overflow(offset, size_bytes, &end) || end > file_bytes) {
		*why = "a region lies beyond the end of its file";
		return -EINVAL;
	}
	/* Only hugetlbfs has to be mapped in pages of its own size (mmap(2), "Huge page mappings"). */
	page = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : (uint64_t)sysconf(_SC_PAGESIZE);
	first = offset - offset % page;
	last = (end + page - 1) / page * page; /* no overflow: end fits off_t */
	*ret = (struct extent){ .offset = first,
				.bytes = (size_t)(last - first),
				.page_bytes = (size_t)page,
				.dev = st.st_dev,
				.ino = st.st_ino };
	return 0;
}

/* Huge pages are of another purse, and what is mapped privately must stay what the file has. */
static bool watchable(const struct map_backing *backing, size_t page_bytes)
{
	return backing->kind != BACKING_READ_ONLY && page_bytes == (size_t)sysconf(_SC_PAGESIZE);
}

/* What is late is watched when that is over. */
static struct mem_account *watch_untouched(struct map_backing *backing, size_t page_bytes)
{
	if (!watchable(backing, page_bytes))
		return NULL;
	if (backing->late)
		return backing->range.account;
	return mem_account_watch(backing->account, backing->start, backing->bytes) ? backing->account : NULL;
}

static int begin_late(struct map_backing *backing, struct late *late, size_t page_bytes)
{
	bool watched = backing->account && backing->account->memory && watchable(backing, page_bytes);
	int err;

	backing->range = (struct late_range){
		.start = backing->start, .bytes = backing->bytes, .account = watched ? backing->account : NULL
	};
	err = late_begin(late, &backing->range);
	if (!err)
		backing->late = late_ref(late);
	return err;
}

/* The watch begins first: from then on an untouched page has the handler called, which has to know the area. */
static int watch_faults(struct map_backing *backing, size_t page_bytes, const struct map_faults *faults)
{
	const struct fault_area area = {
		.start = backing->start,
		.bytes = backing->bytes,
		.page_bytes = page_bytes,
		.event_fd = faults->event_fd,
		.faulted = faults->faulted,
		.session = faults->session,
		.account = watch_untouched(backing, page_bytes),
	};
	int err = fault_area_add(faults->table, &area, &backing->slot);

	if (!err)
		backing->table = faults->table;
	return err;
}

static struct mem_account *backing_account(const struct map_faults *faults)
{
	return faults ? faults->account : NULL;
}

/*
 * Peers that tell of many regions leave half of the fds that this process may have to whatever else needs some: the number of a new
 * one says how many there are. Without it there is no hand-over of this session, and nothing else is missed.
 */
static int file_keep(int fd)
{
	struct rlimit limit;
	int kept = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (kept >= 0 && (getrlimit(RLIMIT_NOFILE, &limit) || (rlim_t)kept >= limit.rlim_cur / 2))
		fd_close(&kept); /* the caller has it as well: it is not the last */
	return kept;
}

int backing_new(int fd, uint64_t mmap_offset, uint64_t size_bytes, enum backing_kind kind,
		const struct map_faults *faults, struct map_backing **ret_backing, uint8_t **ret_host,
		const char **why)
{
	int share = kind == BACKING_READ_ONLY ? MAP_PRIVATE : MAP_SHARED;
	enum file_kind file = file_kind(fd);
	const char *complaint = kind_complaint(file, kind != BACKING_FILE, faults && faults->disks);
	struct map_backing *backing;
	struct extent extent;
	int err;

	if (complaint) {
		*why = complaint;
		return -EINVAL;
	}
	err = file_extent(fd, mmap_offset, size_bytes, file, &extent, why); /* looked at by now: nobody else is asked */
	if (err)
		return err;
	backing = calloc(1, sizeof(*backing));
	if (!backing) {
		*why = "out of memory";
		return -ENOMEM;
	}
	backing->refs = 1;
	backing->dev = extent.dev;
	backing->ino = extent.ino;
	backing->mmap_offset = mmap_offset;
	backing->kind = kind;
	backing->fd = -1;
	backing->bytes = extent.bytes;
	err = mem_account_take(backing_account(faults), extent.bytes, 1, why);
	if (err) {
		free(backing);
		return err;
	}
	backing->account = backing_account(faults);
	backing->start = mmap(NULL, extent.bytes, PROT_READ | PROT_WRITE, share | MAP_NORESERVE, fd,
			      (off_t)extent.offset);
	if (backing->start == MAP_FAILED) {
		err = -errno;
		*why = "a region cannot be mapped";
		mem_account_give(backing->account, extent.bytes, 1);
		free(backing);
		return err;
	}
	backing->drop = file != FILE_KERNELS && faults ? drop_ref(faults->drop) : NULL;
	if (faults && faults->keep)
		backing->fd = file_keep(fd);
	/* A guest's secrets do not belong in our core file. */
	madvise(backing->start, backing->bytes, MADV_DONTDUMP);
	complaint = "the userfaultfd does not take a region: its file is no shared memory, or another one has it";
	err = faults && faults->late ? begin_late(backing, faults->late, extent.page_bytes) : 0;
	if (!err) {
		complaint = "the fault table is full";
		err = faults && faults->table ? watch_faults(backing, extent.page_bytes, faults) : 0;
	}
	if (err) {
		*why = complaint;
		backing_unref(backing);
		return err;
	}
	*ret_backing = backing;
	*ret_host = (uint8_t *)backing->start + (mmap_offset - extent.offset);
	return 0;
}

/* Its end did not wrap round when it was mapped. */
static bool file_reaches(int fd, uint64_t end)
{
	struct stat st;

	return !fstat(fd, &st) && end <= (uint64_t)st.st_size;
}

bool backing_is(const struct map_backing *backing, int fd, uint64_t mmap_offset, uint64_t size_bytes, enum backing_kind kind)
{
	struct fd_file file;

	if (mmap_offset != backing->mmap_offset || kind != backing->kind || fd_look(fd, &file) || file.dev != backing->dev ||
	    file.ino != backing->ino)
		return false;
	return kind != BACKING_FILE || file_reaches(fd, mmap_offset + size_bytes); /* nobody else serves it: fstat(2) does not wait */
}

int backing_file(const struct map_backing *backing, uint64_t *ret_mmap_offset)
{
	*ret_mmap_offset = backing->mmap_offset;
	return backing->fd;
}

struct map_backing *backing_ref(struct map_backing *backing)
{
	__atomic_fetch_add(&backing->refs, 1, __ATOMIC_RELAXED);
	return backing;
}

static void unmapped(void *account, size_t bytes)
{
	mem_account_give(account, bytes, 1);
}

void backing_unref(struct map_backing *backing)
{
	/* Release: my last access; acquire: everybody's, before the pages go. */
	if (__atomic_fetch_sub(&backing->refs, 1, __ATOMIC_ACQ_REL) > 1)
		return;
	if (backing->table)
		fault_area_remove(backing->table, backing->slot);
	if (backing->late)
		late_leave(backing->late, &backing->range);
	late_unref(backing->late);
	/* They may be the last that hold the file. */
	drop_fd(backing->drop, &backing->fd);
	drop_memory(backing->drop, backing->start, backing->bytes, unmapped, backing->account);
	drop_unref(backing->drop);
	free(backing);
}
