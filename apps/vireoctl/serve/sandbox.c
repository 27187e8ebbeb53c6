/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From here on the process can talk to who connects, and connect to UNIX sockets: it opens no file but folders (a long path of a socket is
 * named by its folder), runs no program, and reaches no network of its own accord. Of root's capabilities it keeps the one by which it
 * reaches the socket of a daemon that runs as somebody else. Where a part of this cannot be had, it goes on without.
 */
#include "serve/serve.h"
#include "base/util.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __has_feature
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif
/* The runtimes of these make calls of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer) || \
	HAS_FEATURE(memory_sanitizer)
#define LOOKS_FOR_OUR_MISTAKES true
#else
#define LOOKS_FOR_OUR_MISTAKES false
#endif

static void privileges_keep(unsigned number)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_capget, &header, data))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		data[i].permitted &= i ? 0 : 1u << number;
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	syscall(SYS_capset, &header, data);
}

#if VIREO_HAS_SECCOMP

#include <seccomp.h>

static const char *const calls[] = {
	"read", "readv", "write", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg", "sendfile", "accept", "accept4", "connect", "shutdown",
	"close", "getsockname", "getpeername", "getsockopt", "setsockopt", "fcntl", "fstat", "newfstatat", "lseek", "epoll_create1", "epoll_ctl",
	"epoll_wait", "epoll_pwait", "poll", "ppoll", "eventfd2", "pipe2", "munmap", "mremap", "madvise", "brk", "futex", "clock_gettime",
	"clock_nanosleep", "gettimeofday", "nanosleep", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "restart_syscall", "getpid", "gettid",
	"getrandom", "tgkill", "exit", "exit_group", "uname",
};

/* O_TMPFILE, which makes a file, has the bit of O_DIRECTORY in it. */
#define OPEN_BITS ((unsigned)(O_ACCMODE | O_CREAT | O_TMPFILE))

static int call_add(scmp_filter_ctx filter, const char *name, unsigned tests, struct scmp_arg_cmp test)
{
	int number = seccomp_syscall_resolve_name(name);

	return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, tests, test);
}

static int filter_fill(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp any = {0};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(calls) && !err; i++)
		err = call_add(filter, calls[i], 0, any);
	err = err ? err : call_add(filter, "socket", 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	err = err ? err : call_add(filter, "mmap", 1, SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));
	err = err ? err : call_add(filter, "mprotect", 1, SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0));
	return err ? err : call_add(filter, "openat", 1, SCMP_A2(SCMP_CMP_MASKED_EQ, OPEN_BITS, O_DIRECTORY));
}

static void filter_put_on(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (filter && !filter_fill(filter))
		seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
}

#else

static void filter_put_on(void)
{
}

#endif

bool serve_sandbox_enter(void)
{
	if (LOOKS_FOR_OUR_MISTAKES)
		return false;
	privileges_keep(CAP_DAC_OVERRIDE);
	filter_put_on();
	return true;
}
