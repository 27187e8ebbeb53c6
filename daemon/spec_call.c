/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/spec_call.h"
#include "ctl/rpc.h"
#include "daemon/endpoint.h"
#include <errno.h>
#include <stdlib.h>

struct spec_call {
	struct rpc_call *call;
	spec_known_fn *known;
	void *opaque;
};

static void parsed(void *opaque, int err, const struct spec *spec, const char *why)
{
	struct spec_call c = *(struct spec_call *)opaque;
	const char *text = rpc_call_param(c.call, "spec");

	free(opaque);
	if (err)
		rpc_call_error(c.call, err == -EINVAL ? RPC_INVALID_PARAMS : RPC_FAILED, "SPEC %.100s: %s", text, why);
	else if (spec->kind->address_is_path && *spec->address != '/' && endpoint_handed_fd(spec) < 0)
		rpc_call_error(c.call, RPC_INVALID_PARAMS, "SPEC %.100s: expected an absolute path", text);
	else
		c.known(c.opaque, c.call, spec);
}

void spec_call(struct lookups *lookups, struct rpc_call *call, spec_known_fn *known, void *opaque)
{
	struct spec_call *c = malloc(sizeof(*c));

	if (!c) {
		rpc_call_error(call, RPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	*c = (struct spec_call){call, known, opaque};
	lookups_spec(lookups, rpc_call_param(call, "spec"), parsed, c);
}
