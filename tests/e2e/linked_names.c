/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names that an application may well have, and that the libraries have inside: whoever calls one of these instead of
 * the library's own ends here. Linked with examples/vireo-rng and with linked_front.c by linked.py.
 */
#include <stdlib.h>

#define OURS(name) \
	void name(void); \
	void name(void) \
	{ \
		abort(); \
	}

OURS(bell_raise)
OURS(channel_set)
OURS(copy_long)
OURS(cursor_take)
OURS(device_reset)
OURS(endpoint_log)
OURS(fd_close)
OURS(fd_take)
OURS(loop_new)
OURS(map_at)
OURS(map_new)
OURS(map_unref)
OURS(ring_free)
OURS(ring_new)
OURS(ring_pop)
OURS(ring_push)
OURS(session_new)
OURS(unix_listen)
