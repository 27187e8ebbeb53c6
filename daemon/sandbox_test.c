/* SPDX-License-Identifier: BSD-3-Clause */
/* What is gone when a daemon has entered its sandbox. Each in a child, for there is no way out of it. */
#include "daemon/sandbox.h"
#include "base/loop.h"
#include "base/util.h"
#include "daemon/sandbox_rooms.h"
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#if VIREO_HAS_SECCOMP
#include <seccomp.h>
#endif
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define NO_SANDBOX 99
#define MUST(condition) must((condition), #condition)

static const struct calls *const rooms[] = {SANDBOX_ROOMS_OF_ALL, NULL};
static char said[1024];

static void hear(void *opaque, enum vireo_log_level level, const char *text)
{
	snprintf(said, sizeof(said), "%s", text);
}

static const struct vireo_log test_log = {.write = hear, .max_level = VIREO_LOG_DEBUG};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	dprintf(2, "in the sandbox: %s: %s; the last line: %s\n", what, strerror(errno), said);
	_exit(1);
}

static uint64_t status_of(const char *field)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long long value = UINT64_MAX;
	char line[256];

	MUST(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, field, strlen(field)))
			value = strtoull(line + strlen(field), NULL, 16);
	fclose(file);
	return value;
}

/* Is it there? A build without libseccomp, or with a sanitizer, has none, and neither has an emulator of a CPU. */
static bool filtered(void)
{
	return status_of("Seccomp:") == 2;
}

/* What the child ended with, as waitpid(2) has it. */
static int in_sandbox(void (*work)(struct loop *loop))
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		struct refused *refused = NULL;
		struct loop *loop;

		MUST(!loop_new(&loop) && !sandbox_enter(rooms, loop, &test_log, &refused));
		work(loop);
		sandbox_leave(refused);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SANDBOX)
		skip();
	return status;
}

static void must_fit(bool holds)
{
	if (!holds)
		_exit(NO_SANDBOX);
}

/* ---- what is refused ---- */

static void family(struct loop *loop)
{
	must_fit(filtered());
	MUST(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EPERM);
	MUST(loop_dispatch(loop, 0) == 1);
	MUST(strstr(said, "refused a system call: socket (number ") && strstr(said, ": 0x11, 0x3, 0"));
	said[0] = '\0';
	MUST(socket(AF_UNIX, SOCK_STREAM, 0) >= 0 && loop_dispatch(loop, 0) == 0 && !said[0]);
}

static void a_refused_call_fails_and_is_named(void **state)
{
	assert_int_equal(in_sandbox(family), 0);
}

static void many(struct loop *loop)
{
	must_fit(filtered());
	for (unsigned i = 0; i < 100; i++)
		MUST(socket(AF_PACKET, SOCK_RAW, (int)i) == -1 && errno == EPERM);
	MUST(loop_dispatch(loop, 0) == 1);
	MUST(loop_dispatch(loop, 0) == 0);
	MUST(setsid() == -1 && errno == EPERM && loop_dispatch(loop, 0) == 1 && strstr(said, ": setsid ("));
}

static void refused_calls_that_nobody_has_read_of_hold_nothing_up(void **state)
{
	assert_int_equal(in_sandbox(many), 0);
}

static void *refused_thread(void *opaque)
{
	MUST(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EPERM);
	MUST(prctl(PR_GET_SECCOMP) == -1 && errno == EPERM);
	return opaque;
}

static void thread(struct loop *loop)
{
	pthread_t one;

	must_fit(filtered());
	MUST(!pthread_create(&one, NULL, refused_thread, NULL) && !pthread_join(one, NULL));
	MUST(loop_dispatch(loop, 0) == 1);
}

static void threads_are_made_and_are_in_it_too(void **state)
{
	assert_int_equal(in_sandbox(thread), 0);
}

static void arguments(struct loop *loop)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at;

	must_fit(filtered());
	MUST(mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM);
	MUST(mmap(NULL, page, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM);
	at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(at != MAP_FAILED && mprotect(at, page, PROT_READ | PROT_EXEC) == -1 && errno == EPERM);
	MUST(mprotect(at, page, PROT_READ) == 0);
	MUST(ioctl(0, TIOCSTI, "x") == -1 && errno == EPERM);
	MUST(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1 && errno == EPERM);
	MUST(kill(getppid(), 0) == -1 && errno == EPERM && kill(getpid(), 0) == 0);
	MUST(syscall(SYS_prlimit64, getppid(), 7, NULL, NULL) == -1 && errno == EPERM);
	MUST(socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}) == -1 && errno == EPERM);
}

static void arguments_are_looked_at(void **state)
{
	assert_int_equal(in_sandbox(arguments), 0);
}

/* As newer C libraries ask for one. */
static void child_without_signals(struct loop *loop)
{
	sigset_t all;

	must_fit(filtered());
	sigfillset(&all);
	MUST(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, (size_t)8) == 0);
	MUST(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == -1 && errno == EPERM);
}

static void child_is_refused_where_all_signals_are_blocked(void **state)
{
	assert_int_equal(in_sandbox(child_without_signals), 0);
}

static void processes(struct loop *loop)
{
	must_fit(filtered());
	MUST(fork() == -1 && errno == EPERM);
	MUST(syscall(SYS_clone, CLONE_NEWUSER | CLONE_THREAD | CLONE_VM | CLONE_SIGHAND, 0, 0, 0, 0) == -1 && errno == EPERM);
	MUST(syscall(SYS_clone3, NULL, 0L) == -1 && errno == ENOSYS);
}

static void there_are_no_children_and_no_namespaces(void **state)
{
	assert_int_equal(in_sandbox(processes), 0);
}

static void later(struct loop *loop)
{
	must_fit(filtered());
	MUST(syscall(511, 0L) == -1 && errno == ENOSYS);
}

/* A C library that is newer than we are tries them first, and knows what to do. */
static void of_newer_calls_it_is_said_that_there_are_none(void **state)
{
	assert_int_equal(in_sandbox(later), 0);
}

static void names(struct loop *loop)
{
	must_fit(filtered());
	MUST(getpwnam("root") && !getpwnam("no-such-user"));
	loop_dispatch(loop, 0);
	MUST(!said[0]);
}

static void users_are_still_found_by_name(void **state)
{
	assert_int_equal(in_sandbox(names), 0);
}

/* ---- what ends the process ---- */

static void execute(struct loop *loop)
{
	must_fit(filtered());
	execl("/bin/true", "true", NULL);
}

static void trace(struct loop *loop)
{
	must_fit(filtered());
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void leave_namespace(struct loop *loop)
{
	must_fit(filtered());
	unshare(CLONE_NEWUSER);
}

static void whoever_has_taken_it_over_ends_it(void **state)
{
	void (*const works[])(struct loop *) = {execute, trace, leave_namespace};

	for (unsigned i = 0; i < ARRAY_SIZE(works); i++) {
		int status = in_sandbox(works[i]);

		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
}

/* ---- privileges ---- */

static void privileges(struct loop *loop)
{
	uint64_t kept = 0;

	must_fit(status_of("NoNewPrivs:") == 1);
	for (const struct calls *const *room = rooms; *room; room++)
		for (unsigned i = 0; i < (*room)->privilege_count; i++)
			kept |= UINT64_C(1) << (*room)->privileges[i].number;
	MUST(!(status_of("CapEff:") & ~kept) && !(status_of("CapPrm:") & ~kept));
	MUST(!status_of("CapInh:") && !status_of("CapAmb:"));
	if (!geteuid())
		MUST(!(status_of("CapBnd:") & ~kept));
}

static void capabilities_that_no_room_has_declared_are_gone(void **state)
{
	assert_int_equal(in_sandbox(privileges), 0);
}

/* ---- a kernel without ---- */

#if VIREO_HAS_SECCOMP
static void kernel_without(int (*work)(void))
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	must_fit(filter && !seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0) && !seccomp_load(filter));
	seccomp_release(filter);
	_exit(work());
}

static int go_on(void)
{
	struct refused *refused = NULL;
	struct loop *loop;

	MUST(!loop_new(&loop) && !sandbox_enter(rooms, loop, &test_log, &refused));
	if (!refused)
		return NO_SANDBOX;
	MUST(strstr(said, "no filter of system calls: ") && strstr(said, "going on without"));
	MUST(status_of("NoNewPrivs:") == 1 && socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	sandbox_leave(refused);
	return 0;
}
#endif

static void a_kernel_without_filters_is_told_of_in_a_line(void **state)
{
#if VIREO_HAS_SECCOMP
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		kernel_without(go_on);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SANDBOX)
		skip();
	assert_int_equal(status, 0);
#else
	skip();
#endif
}

/* ---- the list ---- */

static void each_row_has_a_reason_and_a_call(void **state)
{
	static const struct calls *const every[] = {SANDBOX_ROOMS_OF_ALL, &cuse_calls, &pci_calls, NULL};
	size_t bytes;
	char *text = NULL;
	FILE *out = open_memstream(&text, &bytes);

	for (const struct calls *const *room = every; *room; room++) {
		assert_true((*room)->count && (*room)->room);
		for (unsigned i = 0; i < (*room)->count; i++) {
			const struct call *call = &(*room)->rows[i];

			assert_true(call->names && *call->names && call->why && *call->why);
			assert_int_equal(!call->only, !call->test_count);
			assert_false(strstr(call->names, "  "));
		}
	}
	sandbox_print(every, out);
	fclose(out);
	assert_non_null(strstr(text, "CAP_NET_ADMIN: "));
	assert_non_null(strstr(text, "  ioctl (VDUSE_WIRE_VQ_SETUP): "));
	assert_non_null(strstr(text, "  mmap (without PROT_EXEC): "));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refused_call_fails_and_is_named),
		cmocka_unit_test(refused_calls_that_nobody_has_read_of_hold_nothing_up),
		cmocka_unit_test(threads_are_made_and_are_in_it_too),
		cmocka_unit_test(arguments_are_looked_at),
		cmocka_unit_test(there_are_no_children_and_no_namespaces),
		cmocka_unit_test(child_is_refused_where_all_signals_are_blocked),
		cmocka_unit_test(of_newer_calls_it_is_said_that_there_are_none),
		cmocka_unit_test(users_are_still_found_by_name),
		cmocka_unit_test(whoever_has_taken_it_over_ends_it),
		cmocka_unit_test(capabilities_that_no_room_has_declared_are_gone),
		cmocka_unit_test(a_kernel_without_filters_is_told_of_in_a_line),
		cmocka_unit_test(each_row_has_a_reason_and_a_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
