/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_WRITTEN_ENTRIES_H
#define SWITCHD_WRITTEN_ENTRIES_H

/* Static forwarding entries that stand in the settings: fdb MAC PORT [VLAN]. Control thread. */

#include "static_entries.h"
#include <stdio.h>

struct daemon_options;
struct vireo_log;

struct written_entries {
	struct static_entry *of;
	unsigned count;
};

/* One more; false, and why. */
bool written_entries_add(struct written_entries *entries, const char *text, unsigned line, char why[SPEC_WHY_BYTES]);
void written_entries_free(struct written_entries *entries);
int written_entries_copy(const struct written_entries *from, struct written_entries *ret);

/* Makes them; what cannot be is said with its line. Returns how many could not. */
unsigned written_entries_hold(const struct ports *ports, const struct written_entries *entries, const struct daemon_options *options,
			      const struct vireo_log *log);
/* Lets go of those that are written no more. */
void written_entries_leave(const struct ports *ports, const struct written_entries *old, const struct written_entries *now);

/* All that there are, whoever has made them, as settings. */
void written_entries_write(const struct ports *ports, FILE *out);

#endif
