/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_SPEC_CALL_H
#define DAEMON_SPEC_CALL_H

/* Commands whose parameter "spec" is a SPEC: "port add", "export add". */

#include "daemon/lookup.h"

struct rpc_call;

/*
 * Parses it, aside if that may wait, and calls `known`, here or from the loop, with a SPEC that lives no longer than the call.
 * One that makes no sense is refused, and so is a path that begins where the daemon happens to be: the client is somewhere else.
 */
typedef void spec_known_fn(void *opaque, struct rpc_call *call, const struct spec *spec);
void spec_call(struct lookups *lookups, struct rpc_call *call, spec_known_fn *known, void *opaque);

#endif
