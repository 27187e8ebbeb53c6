/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * To be preloaded: who looks up a user makes a system call that no daemon has declared, as a source of user names might; the user is found
 * for all that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

typedef int call(const char *name, struct passwd *entry, char *buffer, size_t bytes, struct passwd **found);

int getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t bytes, struct passwd **found)
{
	call *next = (call *)dlsym(RTLD_NEXT, "getpwnam_r");
	int fd = socket(AF_ALG, SOCK_RAW, 0);

	if (fd >= 0)
		close(fd);
	return next(name, entry, buffer, bytes, found);
}
