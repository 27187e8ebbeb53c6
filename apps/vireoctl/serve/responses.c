/* SPDX-License-Identifier: BSD-3-Clause */
#include "serve/serve.h"
#include "base/util.h"
#include <microhttpd.h>
#include <stdlib.h>

/* No other page's script, style, frame or window gets at ours, ours gets nothing from elsewhere, and nobody keeps what is old in a moment. */
static const char *const headers[][2] = {
	{"Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Referrer-Policy", "no-referrer"},
	{"Cache-Control", "no-store"},
};

struct MHD_Response *serve_response_new(char *bytes, size_t count, bool lent, const char *type)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(count, bytes, lent ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
	enum MHD_Result done;

	if (!response) {
		if (!lent)
			free(bytes);
		return NULL;
	}
	done = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	for (size_t i = 0; i < ARRAY_SIZE(headers) && done == MHD_YES; i++)
		done = MHD_add_response_header(response, headers[i][0], headers[i][1]);
	if (done == MHD_YES)
		return response;
	MHD_destroy_response(response);
	return NULL;
}
