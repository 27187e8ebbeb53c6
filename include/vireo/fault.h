/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_FAULT_H
#define VIREO_FAULT_H

#include "base.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A table of the guest memory that a program has mapped, so that a front end which truncates the
 * file behind its memory costs only its own device and not the process (SIGBUS).
 *
 * The program makes one table, names it in each device's config, and calls
 * vireo_fault_handle() from its SIGBUS handler:
 *
 *	static void on_sigbus(int sig, siginfo_t *info, void *context) {
 *		if (!vireo_fault_handle(table, info->si_addr)) { signal(sig, SIG_DFL); raise(sig); }
 *	}
 *
 * The handled page is replaced by zeroes, the access goes on, and the device that owns the memory
 * is told: it ends its session as if the guest had lied.
 */
struct vireo_fault_table;

/* Room for `region_max` memory regions at a time (0: 65536). Any thread. -ENOMEM. */
VIREO_API int vireo_fault_table_new(unsigned region_max, struct vireo_fault_table **ret_table);

/* Takes NULL. No device may use the table any more. */
VIREO_API void vireo_fault_table_free(struct vireo_fault_table *table);

/* Async-signal-safe, any thread. True: repaired, return from the handler. False: not guest memory. */
VIREO_API bool vireo_fault_handle(struct vireo_fault_table *table, void *address);

#ifdef __cplusplus
}
#endif
#endif
