/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers: thread.c, nodes.c. */
#include "base/calls.h"
#include "base/util.h"
#include <linux/prctl.h>

static const struct call rows[] = {
	CALL_WITH("prctl", 0, PR_SET_TIMERSLACK, "naps of a worker that end in time"),
	{"move_pages", "which node memory lies on", "of this process, without nodes to move to",
	 {{0, false, 0xffffffffu, 0}, {3, false, UINT64_MAX, 0}}, 2},
};

extern const struct calls work_calls;
const struct calls work_calls = {"work", rows, ARRAY_SIZE(rows), NULL, 0};
