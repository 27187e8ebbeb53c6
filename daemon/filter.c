/* SPDX-License-Identifier: BSD-3-Clause */
/* The seccomp filter, made from what the rooms declare. */
#include "base/util.h"
#include "daemon/sandbox.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if VIREO_HAS_SECCOMP

#include <seccomp.h>

#define NAME_BYTES 48u

/*
 * What nothing in a daemon asks for, whatever C library and sources of names it is run with. Who tries it has taken the process over,
 * and gets no second try.
 */
static const char *const deadly[] = {
	"execve", "execveat", "ptrace", "process_vm_writev", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen",
	"fsmount", "fsconfig", "mount_setattr", "setns", "unshare", "bpf", "init_module", "finit_module", "delete_module", "kexec_load",
	"kexec_file_load", "reboot", "swapon", "swapoff", "perf_event_open", "iopl", "ioperm",
};

/* A room may need one after all, with arguments that do no harm: then the others are refused as any call is. */
static bool declared(const struct calls *const *rooms, const char *name)
{
	for (; *rooms; rooms++)
		for (unsigned i = 0; i < (*rooms)->count; i++)
			if (!strcmp((*rooms)->rows[i].names, name))
				return true;
	return false;
}

static int deadly_add(scmp_filter_ctx filter, const struct calls *const *rooms)
{
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(deadly) && !err; i++) {
		int number = seccomp_syscall_resolve_name(deadly[i]);

		if (number != __NR_SCMP_ERROR && !declared(rooms, deadly[i]))
			err = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, number, 0);
	}
	return err;
}

/* One that this libseccomp has no number for is not in the C library of its day, either. */
static int call_add(scmp_filter_ctx filter, const char *name, const struct call *call)
{
	int number = seccomp_syscall_resolve_name(name);
	struct scmp_arg_cmp tests[CALL_TESTS_MAX];

	if (number == __NR_SCMP_ERROR)
		return 0;
	for (unsigned i = 0; i < call->test_count; i++) {
		const struct call_test *test = &call->tests[i];

		tests[i] = SCMP_CMP64(test->argument, SCMP_CMP_MASKED_EQ, test->mask, test->self ? (uint64_t)getpid() : test->value);
	}
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, call->test_count, tests);
}

static int row_add(scmp_filter_ctx filter, const struct call *call)
{
	const char *at = call->names;
	char name[NAME_BYTES];
	int err = 0;

	while (*at && !err) {
		size_t bytes = strcspn(at, " ");

		if (bytes >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, at, bytes);
		name[bytes] = '\0';
		err = call_add(filter, name, call);
		at += bytes + (at[bytes] == ' ');
	}
	return err;
}

/* C libraries begin a thread by clone3() first, whose flags no filter can see: they are told that there is none, and take clone(). */
static int clone3_add(scmp_filter_ctx filter)
{
	int number = seccomp_syscall_resolve_name("clone3");

	return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0);
}

/*
 * Newer C libraries block all signals before they ask for a child, and where SIGSYS is blocked a trap kills. So children are refused
 * without one, and without a line in the log.
 */
static int children_add(scmp_filter_ctx filter)
{
	static const char *const names[] = {"fork", "vfork", "clone"};
	const struct scmp_arg_cmp no_thread = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
	int err = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(names) && !err; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);

		if (number != __NR_SCMP_ERROR)
			err = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), number, !strcmp(names[i], "clone"), &no_thread);
	}
	return err;
}

int filter_load(const struct calls *const *rooms)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int err;

	if (!filter)
		return -ENOMEM;
	err = deadly_add(filter, rooms);
	if (!err)
		err = clone3_add(filter);
	if (!err)
		err = children_add(filter);
	for (; *rooms && !err; rooms++)
		for (unsigned i = 0; i < (*rooms)->count && !err; i++)
			err = row_add(filter, &(*rooms)->rows[i]);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1); /* the kernel's own errno */
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* by halves, not from the first row to the last */
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

char *filter_call_name(int number)
{
	return seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
}

#else

int filter_load(const struct calls *const *rooms)
{
	return -ENOPKG;
}

char *filter_call_name(int number)
{
	return NULL;
}

#endif
