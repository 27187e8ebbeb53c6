/* SPDX-License-Identifier: BSD-3-Clause */
/* What every daemon does beside its devices. */
#include "base/calls.h"
#include "base/util.h"

static const struct call rows[] = {
	CALL("signalfd4", "signals that end the daemon, or have it read its file again"),
};

extern const struct calls daemon_calls;
const struct calls daemon_calls = {"daemon", rows, ARRAY_SIZE(rows), NULL, 0};
