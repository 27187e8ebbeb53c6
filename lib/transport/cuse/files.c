/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "transport/cuse/caller.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*
 * What /proc has of a caller's memory: its mappings, and the files behind them.
 *
 * The caller may have mapped whatever it likes, and nothing of it may make us wait. So a file is first had by
 * O_PATH, which asks nobody, and looked at with what the kernel knows of it already. It is opened in earnest
 * when it is the one in the mapping, and lies on a file system that no other program serves: that is told by
 * its device's number, because to ask the file system itself is to ask its server. O_NONBLOCK: whoever owns
 * the file may hold a lease on it, and would keep us waiting until that is broken (fcntl(2), "Leases").
 */

#define TEXT_BYTES_MAX \
	(16u << 20) /* 65530 mappings, the kernel's limit, with names of usual length: 10 MiB */
#define HUGE_SHIFT_MIN 14u /* huge pages are of 16 KiB to 16 GiB */
#define HUGE_SHIFT_MAX 34u

/* ---- texts ---- */

/* All of a file of /proc, which has no size to ask for. */
static int read_all(int fd, char **ret_text)
{
	size_t room = 1u << 16, have = 0;
	char *text = malloc(room);
	ssize_t got = 1;
	int r = 0;

	if (!text)
		return -ENOMEM;
	while (got) {
		if (have + 1 == room) {
			char *more = room < TEXT_BYTES_MAX ? realloc(text, room * 2) : NULL;

			r = room < TEXT_BYTES_MAX ? -ENOMEM : -E2BIG;
			if (!more)
				break;
			text = more;
			room *= 2;
		}
		got = read(fd, text + have, room - 1 - have);
		r = got < 0 ? -errno : 0;
		if (got < 0 && r != -EINTR)
			break;
		have += got > 0 ? (size_t)got : 0;
	}
	if (r) {
		free(text);
		return r;
	}
	text[have] = '\0';
	*ret_text = text;
	return 0;
}

static int text_of(int folder_fd, const char *name, char **ret_text)
{
	int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = read_all(fd, ret_text);
	fd_close(&fd);
	return r;
}

int caller_vmas(const struct caller *caller, struct maps_vma **ret_vmas, size_t *ret_count, const char **why)
{
	char *text = NULL;
	int r = text_of(caller_folder(caller), "maps", &text);

	if (r == -EACCES || r == -EPERM) {
		*why = caller_no_ptrace;
		return -EPERM;
	}
	*why = r == -E2BIG ? "the caller has too many mappings" : "the caller's mappings cannot be read";
	caller_out_of_fds(r, why);
	if (!r)
		r = maps_parse(text, ret_vmas, ret_count);
	free(text);
	if (!r && !*ret_count) {
		free(*ret_vmas);
		r = -ESRCH;
	}
	if (!caller_alive(caller)) {
		*why = "the caller has gone";
		r = r ? -ESRCH : 0;
	} else if (r == -ESRCH) { /* /proc shows a process by that one */
		*why = "the caller's first thread has ended, and its memory is not to be seen any more";
	}
	return r;
}

/* ---- looking ---- */

/*
 * 0: the regular file that `vma` maps stands there; -ENODEV: what it maps, but that is no regular file;
 * -ESTALE: something else, or nothing.
 */
static int look(int folder_fd, const char *name, int flags, const struct maps_vma *vma)
{
	struct fd_file file;

	if (fd_look_at(folder_fd, name, flags, &file))
		return -ESTALE;
	if (file.ino != vma->inode || file.dev != makedev(vma->major, vma->minor))
		return -ESTALE;
	return S_ISREG(file.type) ? 0 : -ENODEV;
}

/* One of the caller's own fds is another way to the same file. fds may come and go meanwhile. */
static int look_among_fds(struct caller_files *files, const struct maps_vma *vma, int *ret_fd)
{
	int folder_fd = openat(caller_folder(files->caller), "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	    fd = -1;
	int r = folder_fd < 0 && (errno == EMFILE || errno == ENFILE) ? -errno : -EPERM;
	DIR *folder = folder_fd < 0 ? NULL : fdopendir(folder_fd);
	const struct dirent *entry;

	if (!folder) {
		fd_close(&folder_fd);
		return r;
	}
	while (r == -EPERM && files->looks && (entry = readdir(folder))) {
		files->looks--;
		if (entry->d_name[0] == '.' || look(folder_fd, entry->d_name, 0, vma) == -ESTALE)
			continue;
		fd = openat(folder_fd, entry->d_name, O_PATH | O_CLOEXEC);
		r = fd < 0 ? (errno == EMFILE || errno == ENFILE ? -errno : -ESTALE) : look(fd, "", AT_EMPTY_PATH, vma);
		if (r == -ESTALE) {
			fd_close(&fd);
			r = -EPERM;
		}
	}
	closedir(folder);
	if (r == -EPERM)
		return r;
	*ret_fd = fd;
	return r;
}

/* What `vma` maps, by O_PATH in *ret_fd; 0 or -ENODEV as look(), and another errno without an fd. */
static int file_find(struct caller_files *files, const struct maps_vma *vma, int *ret_fd, const char **why)
{
	char name[64];
	int fd, r;

	snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)vma->start,
		 (unsigned long long)vma->end);
	fd = openat(caller_folder(files->caller), name, O_PATH | O_CLOEXEC);
	r = fd < 0 ? -errno : look(fd, "", AT_EMPTY_PATH, vma);
	if (r == -EPERM || r == -EACCES) {
		*why = "no permission to open what the caller has mapped: run with CAP_CHECKPOINT_RESTORE or "
		       "CAP_SYS_ADMIN";
		return caller_out_of_fds(look_among_fds(files, vma, ret_fd), why);
	}
	*why = "what the caller has mapped cannot be looked at";
	if (r == -ENOENT || r == -ESTALE) {
		fd_close(&fd);
		*why = "a region's file is another one, or its file system tells another device than the "
		       "mapping";
		return -EAGAIN;
	}
	if (fd >= 0)
		*ret_fd = fd;
	return caller_out_of_fds(r, why);
}

/* ---- file systems ---- */

/* These three need an fd to look: 1, 0, or a negative errno, where there is none. */
static int is_memfd_of(unsigned flags, const struct maps_vma *vma)
{
	int fd = memfd_create("vireo", MFD_CLOEXEC | flags);
	struct fd_file file;
	bool same = fd >= 0 && !fd_look(fd, &file) && file.dev == makedev(vma->major, vma->minor);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		return -errno;
	fd_close(&fd);
	return same;
}

/*
 * Memory without a mount that could be seen: memfds are all on one, those of huge pages on one for each size.
 */
static int is_memfd(const struct maps_vma *vma)
{
	int same = is_memfd_of(0, vma);

	for (unsigned shift = HUGE_SHIFT_MIN; !same && shift <= HUGE_SHIFT_MAX; shift++)
		same = is_memfd_of(MFD_HUGETLB | shift << MFD_HUGE_SHIFT, vma);
	return same;
}

static int mount_of(int folder_fd, const char *name, const struct maps_vma *vma, enum maps_mount *ret_mount)
{
	char *text = NULL;
	int r = text_of(folder_fd, name, &text);

	*ret_mount = r ? MAPS_MOUNT_NONE : maps_mount(text, vma->major, vma->minor);
	free(text);
	return r == -EMFILE || r == -ENFILE ? r : 0;
}

/*
 * Is it this kernel alone that answers for it? A file system with a disk of its own is mounted by root only.
 */
static int is_kernels(struct caller_files *files, const struct maps_vma *vma)
{
	enum maps_mount mount = MAPS_MOUNT_NONE;
	int r;

	if (vma->major || (files->known && vma->minor == files->known_minor))
		return 1;
	r = is_memfd_of(0, vma);
	if (!r)
		r = mount_of(caller_folder(files->caller), "mountinfo", vma, &mount);
	if (!r && mount == MAPS_MOUNT_NONE)
		r = mount_of(AT_FDCWD, "/proc/self/mountinfo", vma, &mount);
	if (!r)
		r = mount == MAPS_MOUNT_KERNEL ? 1 : mount == MAPS_MOUNT_NONE ? is_memfd(vma) : 0;
	if (r > 0) {
		files->known = true;
		files->known_minor = vma->minor;
	}
	return r;
}

static int kernels_check(struct caller_files *files, const struct maps_vma *vma, const char **why)
{
	int r = is_kernels(files, vma);

	if (r > 0)
		return 0;
	*why = "a region's file lies on a file system that another program may serve";
	return r ? caller_out_of_fds(r, why) : -EINVAL;
}

/* ---- opening ---- */

int caller_file(struct caller_files *files, const struct maps_vma *vma, int *ret_fd, const char **why)
{
	char name[64];
	int looked_fd = -1, fd, err;
	int r = file_find(files, vma, &looked_fd, why);

	if (r == -ENODEV)
		*why = "a region is no file of memory";
	if (!r)
		r = kernels_check(files, vma, why);
	if (r) {
		fd_close(&looked_fd);
		return r;
	}
	snprintf(name, sizeof(name), "/proc/self/fd/%d", looked_fd);
	fd = open(name, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	err = -errno;
	fd_close(&looked_fd);
	*why = err == -EWOULDBLOCK ? "somebody holds a lease on the file behind a region"
				   : "the file behind a region cannot be opened for writing";
	if (fd < 0)
		return err == -EWOULDBLOCK ? -EACCES : caller_out_of_fds(err, why); /* once more would not help */
	*ret_fd = fd;
	return 0;
}
