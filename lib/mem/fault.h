/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEM_FAULT_H
#define MEM_FAULT_H

/* How mappings make themselves known to a fault table. Any thread, but not a signal handler. */

#include "vireo/fault.h"
#include <stdbool.h>
#include <stddef.h>

struct mem_account;

struct fault_area {
	void *start; /* aligned to page_bytes, as is bytes */
	size_t bytes;
	size_t page_bytes; /* of the file behind it: what is replaced at a time */
	int event_fd; /* raised, or -1 */
	unsigned *faulted; /* set to `session` before that, or NULL; never to an older one than it has */
	unsigned session;  /* that the memory belongs to; from 1 on */
	struct mem_account *account; /* makes pages that are not there (mem_account_watch()), or NULL */
};

/* The area stays known until it is removed, which comes before its munmap(). -ENOMEM: no slot is free. */
int fault_area_add(struct vireo_fault_table *table, const struct fault_area *area, unsigned *ret_slot);
void fault_area_remove(struct vireo_fault_table *table, unsigned slot);

#endif
