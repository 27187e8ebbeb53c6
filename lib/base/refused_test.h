/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_REFUSED_TEST_H
#define BASE_REFUSED_TEST_H

/*
 * What a container's filter does: a test runs in a thread in which one system call fails. There is no way back for that
 * thread, and none of the others is touched. Where no filter can be set (emulated programs), the test does not run.
 */

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

struct refused {
	unsigned call;
	int err;
	void (*test)(void);
	bool ran;
};

static inline bool refused_begin(unsigned call, int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static inline void *refused_main(void *opaque)
{
	struct refused *refused = opaque;

	if (!refused_begin(refused->call, refused->err))
		return NULL;
	refused->ran = true;
	refused->test();
	return NULL;
}

/* False: no filter can be set here, and `test` has not run. A failed assertion in it ends the program. */
static inline bool refused_run(unsigned call, int err, void (*test)(void))
{
	struct refused refused = { .call = call, .err = err, .test = test };
	pthread_t thread;

	if (pthread_create(&thread, NULL, refused_main, &refused))
		return false;
	pthread_join(thread, NULL);
	return refused.ran;
}

#endif
