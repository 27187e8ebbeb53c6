/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_BASE_H
#define VIREO_BASE_H

/*
 * What every other Vireo header needs: export marks, log sinks, the version.
 *
 * Conventions of the whole API:
 * - Functions that can fail return 0 or a positive count, or a negative errno. Outputs named ret_*
 *   are not touched on failure.
 * - A config struct starts with `size`, which the caller sets to sizeof(the struct); fields that
 *   the caller's header does not know yet take their defaults (zero).
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
	VIREO_LOG_ERROR, /* something is lost: a session, a port */
	VIREO_LOG_WARNING,
	VIREO_LOG_INFO, /* life cycle: connected, started, stopped */
	VIREO_LOG_DEBUG, /* each message */
};

/*
 * Where an object's log lines go. The libraries print nothing themselves. `write` gets one line
 * without a newline, from the control thread or a worker; NULL drops it. Lines above `max_level`
 * are not even formatted. A line is UTF-8 and safe to print, whatever a peer has put into it: control
 * characters, bytes that are no UTF-8 and characters that turn or hide text are shown as \xNN.
 */
struct vireo_log {
	void (*write)(void *opaque, enum vireo_log_level level, const char *line);
	void *opaque;
	enum vireo_log_level max_level;
};

/* The library's version, "MAJOR.MINOR.PATCH". Any thread. The string is static. */
VIREO_API const char *vireo_version(void);

#ifdef __cplusplus
}
#endif
#endif
