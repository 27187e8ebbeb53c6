/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_FAULT_H
#define VIREO_FAULT_H

#include "base.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A table of the guest memory that a program has mapped. A front end can truncate the file behind its memory, and an access to
 * that memory then raises SIGBUS. With the table the process survives, and only that front end's device ends.
 *
 * The program makes one table, names it in each device's config, and calls
 * vireo_fault_handle() from its SIGBUS handler:
 *
 *	static void on_sigbus(int sig, siginfo_t *info, void *context) {
 *		if (!vireo_fault_handle(table, info->si_addr)) { signal(sig, SIG_DFL); raise(sig); }
 *	}
 *
 * vireo_fault_handle() replaces the page by zeroes, and the access goes on. The device that owns the memory then ends the
 * session that the memory belongs to, if it still has that, as if the guest had lied.
 */
struct vireo_fault_table;

/* Makes a table with room for `region_max` memory regions at a time (0: 65536). Any thread. -ENOMEM: also where region_max is too large. */
VIREO_API int vireo_fault_table_new(unsigned region_max, struct vireo_fault_table **ret_table);

/* Frees the table; does nothing for NULL. No device may use the table any more. */
VIREO_API void vireo_fault_table_free(struct vireo_fault_table *table);

/*
 * Any thread; async-signal-safe. True: the page is repaired, return from the signal handler. False: `address` is no guest
 * memory; restore the default action and raise the signal again.
 */
VIREO_API bool vireo_fault_handle(struct vireo_fault_table *table, void *address);

#ifdef __cplusplus
}
#endif
#endif
