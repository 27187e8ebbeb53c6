/* SPDX-License-Identifier: BSD-3-Clause */
/* Character devices that take VHOST_* ioctls: the caller's fds and memory are taken from its process. */
#include "base/calls.h"
#include "base/util.h"
#include <linux/capability.h>

#ifndef CAP_CHECKPOINT_RESTORE /* Linux 5.9 */
#define CAP_CHECKPOINT_RESTORE 40
#endif

static const struct call rows[] = {
	CALL("pidfd_open pidfd_getfd", "the caller, and the fds that its ioctls name"),
	{"kill", "is a caller that has a device still there?", "signal 0", {{1, false, 0xffffffffu, 0}}, 1},
	CALL("splice vmsplice", "libfuse, if it is built to move requests so"),
};

static const struct call_privilege privileges[] = {
	CALL_PRIVILEGE(CAP_SYS_PTRACE, "fds and memory of a caller that is another user's"),
	CALL_PRIVILEGE(CAP_CHECKPOINT_RESTORE, "files behind the memory of a caller (/proc/PID/map_files)"),
};

extern const struct calls cuse_calls;
const struct calls cuse_calls = {"lib/transport/cuse", rows, ARRAY_SIZE(rows), privileges, ARRAY_SIZE(privileges)};
