/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_STUBBORN_TEST_H
#define BASE_STUBBORN_TEST_H

/*
 * A file whose server lets everybody wait: FUSE, with a server that opens it and then answers nothing, neither what the
 * file is, nor on which file system, nor that it may be closed. Who asks it hangs until the server dies, and so
 * does a test of something that asks. Needs root; without it there is none.
 */

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct stubborn {
	int fd;
	pid_t server;
};

static inline void stubborn_answer(int fuse_fd, uint64_t unique, const void *data, size_t bytes)
{
	char answer[sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out)] = { 0 };
	struct fuse_out_header header = { .len = (uint32_t)(sizeof(header) + bytes), .unique = unique };

	memcpy(answer, &header, sizeof(header));
	memcpy(answer + sizeof(header), data, bytes);
	if (write(fuse_fd, answer, header.len) < 0)
		_exit(1);
}

static inline void stubborn_serve(int fuse_fd)
{
	static char buffer[1 << 18];
	const struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096 };
	const struct fuse_open_out opened = { .fh = 1 };
	const struct fuse_in_header *in = (const struct fuse_in_header *)(const void *)buffer;

	while (read(fuse_fd, buffer, sizeof(buffer)) > 0) {
		if (in->opcode == FUSE_INIT)
			stubborn_answer(fuse_fd, in->unique, &init, sizeof(init));
		else if (in->opcode == FUSE_OPEN)
			stubborn_answer(fuse_fd, in->unique, &opened, sizeof(opened));
	}
	_exit(0);
}

/* Its folder's inode is the file: there is nothing else on that file system. `type`: S_IFREG, S_IFIFO. */
static inline int stubborn_mount(const char *path, int fuse_fd, mode_t type)
{
	char options[96];

	snprintf(options, sizeof(options), "fd=%d,rootmode=%o,user_id=0,group_id=0", fuse_fd, type | 0666u);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	return mount("vireo-test", path, "fuse", MS_NOSUID | MS_NODEV, options);
}

/* False: this user may not, or there is no FUSE. */
static inline bool stubborn_new(struct stubborn *ret, mode_t type, int flags)
{
	char path[] = "/tmp/vireo-stubborn-XXXXXX";
	int fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), file_fd = mkstemp(path);
	pid_t server = -1;
	int fd = -1;

	if (fuse_fd >= 0 && !stubborn_mount(path, fuse_fd, type)) {
		server = fork();
		if (!server)
			stubborn_serve(fuse_fd);
		fd = open(path, flags | O_CLOEXEC);
		umount2(path, MNT_DETACH);
	}
	unlink(path);
	close(file_fd);
	close(fuse_fd);
	*ret = (struct stubborn){ fd, server };
	return fd >= 0;
}

/* Whoever waits for it is told that it is gone. */
static inline void stubborn_kill(struct stubborn *stubborn)
{
	kill(stubborn->server, SIGKILL);
	waitpid(stubborn->server, NULL, 0);
}

#endif
