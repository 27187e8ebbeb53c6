/* SPDX-License-Identifier: BSD-3-Clause */
/* What every program asks of the kernel that has threads, files, sockets and a loop, its C library included. */
#include "base/calls.h"
#include "base/util.h"
#include <linux/capability.h>
#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#ifndef PR_SET_VMA /* Linux 5.17 */
#define PR_SET_VMA 0x53564d41
#endif

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)

/* clang-format off */
static const struct call rows[] = {
	/* memory */
	CALL("brk munmap madvise mremap mincore", "the C library's heap, buffers, and memory of guests"),
	{"mmap", "the heap, buffers, stacks, and memory of guests", "without PROT_EXEC", {{2, false, PROT_EXEC, 0}}, 1},
	{"mmap", "a library that the C library loads late: a source of user names (nsswitch.conf), a converter",
	 "of a file, with PROT_EXEC and without PROT_WRITE", {{2, false, PROT_EXEC | PROT_WRITE, PROT_EXEC}, {3, false, MAP_ANONYMOUS, 0}}, 2},
	{"mprotect", "stacks of threads, the heap, and what a loaded library relocates", "without PROT_EXEC",
	 {{2, false, PROT_EXEC, 0}}, 1},
	/* threads */
	{"clone", "threads", "CLONE_THREAD without a namespace", {{0, false, CLONE_THREAD | (uint64_t)NAMESPACES, CLONE_THREAD}}, 1},
	CALL("futex futex_time64 set_robust_list get_robust_list rseq set_tid_address gettid exit exit_group restart_syscall membarrier",
	     "threads that wait for each other, begin and end"),
	CALL("sched_yield sched_getaffinity sched_setaffinity getcpu", "threads and their CPUs"),
	CALL_WITH("prctl", 0, PR_SET_NAME, "names of threads"),
	CALL_WITH("prctl", 0, PR_GET_NAME, "names of threads"),
	CALL_WITH("prctl", 0, PR_CAPBSET_READ, "libcap looks so at its start, with which sources of user names are linked"),
	CALL("capget", "the same"),
	CALL_WITH("prctl", 0, PR_SET_VMA, "newer C libraries name their memory"),
	/* signals */
	CALL("rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack", "signals, as faults in memory of guests are"),
	CALL_SELF("tgkill", 0, "abort(3), and a fault that is our own"),
	CALL_SELF("kill", 0, "raise(3) of some C libraries"),
	/* clocks */
	CALL("clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time", "clocks, where no vDSO has them, and naps"),
	CALL("timerfd_create timerfd_settime timerfd_gettime", "timers of the loop"),
	/* who we are, and what there is */
	CALL("getpid getppid getuid geteuid getgid getegid getgroups getresuid getresgid", "who we are"),
	CALL("uname sysinfo getrusage getrandom times", "the C library: the kernel's release, memory, random numbers"),
	{"prlimit64", "how many files may be open", "of this process", {{0, false, 0xffffffffu, 0}}, 1},
	CALL("getrlimit setrlimit", "the same, by C libraries that call it so"),
	/* fds */
	CALL("read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek", "files, sockets, eventfds, devices"),
	CALL("close close_range dup dup2 dup3 fcntl pipe2", "fds"),
	CALL("eventfd2 epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll select pselect6", "the loop and the workers"),
	CALL("io_setup io_submit io_getevents io_pgetevents io_cancel io_destroy", "eventfds of guests are written by kernel AIO, which never waits"),
	CALL_IOCTL(FIONBIO, "C libraries: a file that does not wait"),
	CALL_IOCTL(FIONREAD, "C libraries: how much there is to read"),
	CALL_IOCTL(TCGETS, "stdio: is it a terminal?"),
	/* files */
	CALL("open openat stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getdents64 getcwd",
	     "files by their paths: settings, sockets, /proc/self/fd, /sys"),
	CALL("memfd_create ftruncate", "memory that is shared with a peer"),
	CALL("unlink unlinkat mkdir mkdirat umask flock", "the paths of sockets, and who may have them"),
	CALL("chmod fchmod fchmodat chown fchown fchownat lchown", "sockets of others: user=, group=, perm="),
	/* sockets */
	CALL_WITH("socket", 0, AF_UNIX, "vhost-user, the control socket, the service manager, nscd"),
	CALL_WITH("socketpair", 0, AF_UNIX, "a wake-up call, and state of a device on its way"),
	CALL("bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt", "sockets"),
	CALL("sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg", "sockets"),
};

static const struct call_privilege privileges[] = {
	CALL_PRIVILEGE(CAP_CHOWN, "user= and group= of a socket that is added later"),
	CALL_PRIVILEGE(CAP_FOWNER, "perm= of a socket that has been given away already, and its removal from a folder like /tmp"),
	CALL_PRIVILEGE(CAP_DAC_OVERRIDE, "sockets and images that are added later in folders of other users"),
	CALL_PRIVILEGE(CAP_SYS_PTRACE, "pages of guests that the kernel itself touches (userfaultfd), and whose process a peer is"),
};
/* clang-format on */

extern const struct calls base_calls;
const struct calls base_calls = {"lib/base", rows, ARRAY_SIZE(rows), privileges, ARRAY_SIZE(privileges)};
