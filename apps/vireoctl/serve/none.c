/* SPDX-License-Identifier: BSD-3-Clause */
/* Of a build without libmicrohttpd. */
#include "serve/serve.h"
#include "ctl/line.h"

int serve_run(const struct invocation *inv)
{
	line_print(stderr, "vireoctl: serve: this build has no HTTP server: build with libmicrohttpd (-Dhttp=enabled)");
	return 1;
}
