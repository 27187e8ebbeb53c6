/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities, and the way to new ones. */
#include "base/util.h"
#include "daemon/sandbox.h"
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORDS _LINUX_CAPABILITY_U32S_3

static uint64_t privileges_of(const struct calls *const *rooms)
{
	uint64_t kept = 0;

	for (; *rooms; rooms++)
		for (unsigned i = 0; i < (*rooms)->privilege_count; i++)
			kept |= UINT64_C(1) << (*rooms)->privileges[i].number;
	return kept;
}

/* Who may not (without CAP_SETPCAP) needs not: without new privileges no execve() gives any. */
static void bounds_drop(uint64_t kept)
{
	for (unsigned number = 0; number < 64; number++)
		if (!(kept >> number & 1) && prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1)
			prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
}

int privileges_drop(const struct calls *const *rooms)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[WORDS];
	uint64_t kept = privileges_of(rooms);
	uint32_t surplus = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_capget, &header, data))
		return -errno;
	bounds_drop(kept);
	for (unsigned i = 0; i < WORDS; i++) {
		surplus |= data[i].inheritable | (data[i].permitted & ~(uint32_t)(kept >> 32 * i));
		data[i].permitted &= (uint32_t)(kept >> 32 * i);
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	if (!surplus) /* as of a service, whose manager may refuse the call */
		return 0;
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}
