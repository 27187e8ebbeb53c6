/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CUSE_CALLER_H
#define CUSE_CALLER_H

/*
 * The process behind a request: held by a pidfd and by its folder under /proc, both of which go on meaning
 * this process and no later one with its number.
 *
 * What it takes to look into another process: its user (and no yama in the way), or CAP_SYS_PTRACE; to open
 * what it has mapped, CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN, or an fd of the file among its own. `why` is a
 * static string that says what was wrong, and which of these is missing.
 */

#include "transport/cuse/maps.h"
#include <stdbool.h>
#include <sys/types.h>

struct caller;
struct map;
struct map_faults;

/*
 * The process that thread `pid` is of: the thread of a request that has not been answered yet. -ESRCH (`pid`
 * 0: it lives in another pid namespace), -EPERM, -EMFILE, -ENFILE, -ENOMEM.
 */
int caller_new(pid_t pid, struct caller **ret_caller, const char **why);
void caller_free(struct caller *caller); /* takes NULL */

/* Hands r on; if it says that we have no fds left, *why says so, and what to do. */
int caller_out_of_fds(int r, const char **why);

pid_t caller_process(const struct caller *caller);
bool caller_alive(const struct caller *caller);
bool caller_has_thread(const struct caller *caller, pid_t pid);

int caller_folder(const struct caller *caller); /* an fd, borrowed */
extern const char caller_no_ptrace[];

/*
 * Has the caller an fd of this number? 0, -EBADF, -EPERM, -ESRCH. It is not taken, and so never waited for.
 */
int caller_has_fd(const struct caller *caller, int fd, const char **why);
/*
 * A new fd of the eventfd that `fd` is in the caller. -EBADF (there is none), -EINVAL (something else),
 * -EPERM, -ESRCH, -EMFILE. A caller that changes its fds meanwhile may have had us take something else: look,
 * and mind that to close it may wait for whoever serves it.
 */
int caller_eventfd(const struct caller *caller, int fd, int *ret_fd, const char **why);

/*
 * The map of these regions, with the mmaps of `old` (may be NULL) for those that are as they were. Errors as maps_pieces() and map_new(), and -EPERM, -ESRCH, -EAGAIN (the caller
 * keeps changing its mappings), -EOPNOTSUPP (a file that cannot be told by its mapping). 0: *why is NULL, or
 * what there is to say nevertheless.
 */
int caller_map(const struct caller *caller, const struct map *old, const struct vhost_memory_region *regions,
	       unsigned count, const struct map_faults *faults, struct map **ret_map, const char **why);

/* ---- for caller_map(): what /proc has of the caller's memory ---- */

/* All lines of its maps: free() *ret_vmas. */
int caller_vmas(const struct caller *caller, struct maps_vma **ret_vmas, size_t *ret_count, const char **why);

/* Of one table. */
struct caller_files {
	const struct caller *caller;
	unsigned looks; /* at the caller's fds, that are left */
	bool known; /* known_minor holds: files on this device (of major 0) are the kernel's */
	uint32_t known_minor;
};

#define CALLER_LOOKS_MAX 65536u

/*
 * An fd, readable and writable, of the file that `vma` maps. -EAGAIN: another file stands there; -ENODEV: it
 * is a device, or something else that is no file; -EINVAL: its file system is not this kernel's alone;
 * -EACCES, -EPERM.
 */
int caller_file(struct caller_files *files, const struct maps_vma *vma, int *ret_fd, const char **why);

#endif
