/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/sandbox.h"
#include "base/log.h"
#include "base/util.h"
#include <errno.h>
#include <string.h>

/* The runtimes of these make calls of their own, at the end (a leak check stops all threads, by ptrace) and when they find something. */
#ifdef __has_feature
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS(address_sanitizer) || HAS(thread_sanitizer) || HAS(memory_sanitizer)
#define LOOKS_FOR_OUR_MISTAKES true
#else
#define LOOKS_FOR_OUR_MISTAKES false
#endif

/* ---- entering ---- */

static void filter_put_on(const struct calls *const *rooms, const struct vireo_log *log)
{
	int err = filter_load(rooms);

	if (err == -ENOPKG)
		log_debug(log, "no filter of system calls: this build has none (libseccomp)");
	else if (err)
		log_warning(log,
			    "no filter of system calls: %s: going on without; a kernel has it by CONFIG_SECCOMP_FILTER, and a container may "
			    "forbid it",
			    strerror(-err));
}

int sandbox_enter(const struct calls *const *rooms, struct loop *loop, const struct vireo_log *log, struct refused **ret_refused)
{
	int err;

	if (LOOKS_FOR_OUR_MISTAKES) {
		log_debug(log, "no sandbox: this build has a sanitizer, which makes calls of its own");
		return 0;
	}
	err = refused_open(loop, log, ret_refused);
	if (err)
		return err;
	err = privileges_drop(rooms);
	if (err)
		log_warning(log, "capabilities are kept: %s: going on with them", strerror(-err));
	filter_put_on(rooms, log);
	return 0;
}

void sandbox_leave(struct refused *refused)
{
	refused_close(refused);
}

/* ---- printing ---- */

static void call_print(const struct call *call, FILE *out)
{
	fprintf(out, "  %s%s%s%s: %s\n", call->names, call->only ? " (" : "", call->only ? call->only : "", call->only ? ")" : "", call->why);
}

void sandbox_print(const struct calls *const *rooms, FILE *out)
{
	fprintf(out, "Capabilities, of those that it is started with:\n");
	for (const struct calls *const *at = rooms; *at; at++)
		for (unsigned i = 0; i < (*at)->privilege_count; i++)
			fprintf(out, "  %s: %s (%s)\n", (*at)->privileges[i].name, (*at)->privileges[i].why, (*at)->room);
	fprintf(out, "\nSystem calls:\n");
	for (const struct calls *const *at = rooms; *at; at++) {
		fprintf(out, " of %s:\n", (*at)->room);
		for (unsigned i = 0; i < (*at)->count; i++)
			call_print(&(*at)->rows[i], out);
	}
}
