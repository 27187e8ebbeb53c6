/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_BASE_H
#define VIREO_BASE_H

/*
 * The marks of exported functions, log sinks and the library's version: every other Vireo header includes this one.
 *
 * Conventions of the whole API:
 * - Functions that can fail return 0 or a positive count, or a negative errno. Outputs named ret_*
 *   are not touched on failure.
 * - What to do about an errno, where a function says nothing else. -EINVAL: the call is wrong, correct the program. -ENOMEM,
 *   -EMFILE: the process has used up memory or fds; free some, or raise the limit, and call again. -EPROTO: the peer has broken
 *   the specification; stop using the object, and close it. A function that makes something and fails leaves nothing to free.
 * - A config struct starts with `size`, which the caller sets to sizeof(the struct). A field that the caller's header does not
 *   have yet counts as zero. A config with `size` 0 is refused (-EINVAL).
 * - "Control thread": the one thread (at a time) that calls an object's control functions.
 *   "Worker": the thread that owns a queue at the moment. Each function says which one calls it.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIREO_API __attribute__((visibility("default")))

enum vireo_log_level {
	VIREO_LOG_ERROR, /* something has ended that should go on: a session, a port */
	VIREO_LOG_WARNING,
	VIREO_LOG_INFO, /* life cycle: connected, started, stopped */
	VIREO_LOG_DEBUG, /* each message */
};

/*
 * An object's log lines are handed to `write`, one at a time and without a newline, by the control thread or a worker. The
 * libraries print nothing themselves. If `write` is NULL, lines are dropped; lines above `max_level` are not even
 * formatted. A line is UTF-8 and safe to print, whatever a peer has put into it: control characters, bytes that are
 * no UTF-8, and characters that reverse or hide text are written as \xNN.
 */
struct vireo_log {
	void (*write)(void *opaque, enum vireo_log_level level, const char *line);
	void *opaque;
	enum vireo_log_level max_level;
};

/* Returns the library's version, "MAJOR.MINOR.PATCH". Any thread. The string is static. */
VIREO_API const char *vireo_version(void);

#ifdef __cplusplus
}
#endif
#endif
