/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_SHORT_TEST_H
#define BASE_SHORT_TEST_H

/*
 * A process that is short of something, at every moment at which it can be: a scenario is carried out again and again, and each time
 * another one of its calls fails, the first, the second, until none is left that could. It says itself what has to hold then; after each time
 * there are as many fds as before. What of memory is left over LeakSanitizer says, in the checks' build that has it.
 *
 * The linker leads the calls here, in every file of the program but those of its libraries (meson.build: short_args).
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>
/* after the above, and setjmp.h: */
#include <cmocka.h>

enum shortage_kind {
	SHORT_OF_MEMORY, /* malloc() and its kind: ENOMEM */
	SHORT_OF_FDS,	 /* whatever makes one: EMFILE */
	SHORT_OF_ROOM,	 /* mappings and watches: ENOMEM */
	SHORT_KINDS,
};

static struct {
	bool on;
	enum shortage_kind kind;
	unsigned calls, fails_at; /* from 1 on */
} shortage;

static bool shortage_hits(enum shortage_kind kind)
{
	if (!shortage.on || shortage.kind != kind || ++shortage.calls != shortage.fails_at)
		return false;
	errno = kind == SHORT_OF_FDS ? EMFILE : ENOMEM;
	return true;
}

/* Has the call failed that was to? */
static inline bool shortage_was(void)
{
	return shortage.calls >= shortage.fails_at;
}

static unsigned shortage_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

#define SHORT_MOMENTS_MAX 3000u

/* So many calls could fail, and have. `scenario` sets shortage.on around what it is about. */
static unsigned shortage_run(enum shortage_kind kind, void (*scenario)(void))
{
	unsigned fds = shortage_fds(), at = 0;

	do {
		assert_true(at < SHORT_MOMENTS_MAX);
		shortage.kind = kind;
		shortage.calls = 0;
		shortage.fails_at = ++at;
		scenario();
		shortage.on = false;
		assert_int_equal(shortage_fds(), fds);
	} while (shortage_was());
	return at - 1;
}

/* A test of that name: the scenario comes short of each kind of things in turn, at more than `least` moments in all. */
#define SHORT(scenario, least)                                               \
	static void scenario##_where_something_is_short(void **state)        \
	{                                                                    \
		unsigned moments = 0;                                        \
									     \
		for (unsigned kind = 0; kind < SHORT_KINDS; kind++)          \
			moments += shortage_run((enum shortage_kind)kind, scenario); \
		assert_true(moments > (least));                              \
	}

/* ---- what the linker puts in the place of what is meant ---- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
char *__real_strdup(const char *text);
int __real_fcntl(int fd, int command, ...);
int __real_open(const char *path, int flags, ...);
int __real_openat(int folder, const char *path, int flags, ...);
int __real_pipe2(int ends[2], int flags);
int __real_dup(int fd);
int __real_eventfd(unsigned value, int flags);
int __real_epoll_create1(int flags);
int __real_socketpair(int family, int type, int protocol, int pair[2]);
int __real_socket(int family, int type, int protocol);
int __real_accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags);
int __real_memfd_create(const char *name, unsigned flags);
int __real_timerfd_create(int clock, int flags);
void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);
char *__wrap_strdup(const char *text);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat64(int folder, const char *path, int flags, ...);
int __wrap_pipe2(int ends[2], int flags);
int __wrap_dup(int fd);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_epoll_create1(int flags);
int __wrap_socketpair(int family, int type, int protocol, int pair[2]);
int __wrap_socket(int family, int type, int protocol);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_timerfd_create(int clock, int flags);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);

void *__wrap_malloc(size_t bytes)
{
	return shortage_hits(SHORT_OF_MEMORY) ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return shortage_hits(SHORT_OF_MEMORY) ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return shortage_hits(SHORT_OF_MEMORY) ? NULL : __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
	return shortage_hits(SHORT_OF_MEMORY) ? NULL : __real_aligned_alloc(align, bytes);
}

char *__wrap_strdup(const char *text)
{
	return shortage_hits(SHORT_OF_MEMORY) ? NULL : __real_strdup(text);
}

static int shortage_fcntl(int fd, int command, uintptr_t argument)
{
	bool makes = command == F_DUPFD || command == F_DUPFD_CLOEXEC;

	return makes && shortage_hits(SHORT_OF_FDS) ? -1 : __real_fcntl(fd, command, argument);
}

int __wrap_fcntl(int fd, int command, ...)
{
	va_list more;
	uintptr_t argument;

	va_start(more, command);
	argument = va_arg(more, uintptr_t); /* an int or a pointer: on the machines that there are, a register */
	va_end(more);
	return shortage_fcntl(fd, command, argument);
}

int __wrap_fcntl64(int fd, int command, ...)
{
	va_list more;
	uintptr_t argument;

	va_start(more, command);
	argument = va_arg(more, uintptr_t);
	va_end(more);
	return shortage_fcntl(fd, command, argument);
}

#ifndef SHORT_OPENS_ITSELF /* a test that leads these elsewhere has them itself */
/* What is made has no more than its owner's rights, as all that is made here. */
int __wrap_open(const char *path, int flags, ...)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_open(path, flags, 0600);
}

int __wrap_openat(int folder, const char *path, int flags, ...)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_openat(folder, path, flags, 0600);
}
#endif

int __wrap_open64(const char *path, int flags, ...)
{
	return __wrap_open(path, flags);
}

int __wrap_openat64(int folder, const char *path, int flags, ...)
{
	return __wrap_openat(folder, path, flags);
}

int __wrap_pipe2(int ends[2], int flags)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_pipe2(ends, flags);
}

int __wrap_dup(int fd)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_dup(fd);
}

int __wrap_eventfd(unsigned value, int flags)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_eventfd(value, flags);
}

int __wrap_epoll_create1(int flags)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_epoll_create1(flags);
}

int __wrap_socketpair(int family, int type, int protocol, int pair[2])
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_socketpair(family, type, protocol, pair);
}

int __wrap_socket(int family, int type, int protocol)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_socket(family, type, protocol);
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_accept4(fd, address, bytes, flags);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_memfd_create(name, flags);
}

int __wrap_timerfd_create(int clock, int flags)
{
	return shortage_hits(SHORT_OF_FDS) ? -1 : __real_timerfd_create(clock, flags);
}

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	return shortage_hits(SHORT_OF_ROOM) ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, fd, offset);
}

void *__wrap_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	return __wrap_mmap(at, bytes, protection, flags, fd, offset);
}

int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
	return what == EPOLL_CTL_ADD && shortage_hits(SHORT_OF_ROOM) ? -1 : __real_epoll_ctl(epoll, what, fd, event);
}

#endif
