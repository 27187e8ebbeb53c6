/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/barrier.h"
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

/*
 * To register again does nothing. Where the quick way is forbidden or missing there is the slow one, and without either
 * a store is still visible long before another process can have an answer from us.
 */
bool barrier_everywhere(void)
{
	bool made;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return true;
	made = !membarrier(MEMBARRIER_CMD_GLOBAL);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return made;
}
