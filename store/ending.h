/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_ENDING_H
#define STORE_ENDING_H

/* Disks that are closed when the daemon ends, by threads that it waits for so long and no longer. */

#include <stdbool.h>

struct disks_end;
struct store_disk;

struct disks_end *disks_end_new(void); /* NULL: no memory, or no fd: then disks are closed here, however long that takes */
void disks_end_close(struct disks_end *end, struct store_disk *disk); /* takes it over */
bool disks_end_wait(struct disks_end *end, unsigned patience_ms); /* true: all are closed; else threads have the rest. Takes NULL */

#endif
