/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_REOPEN_H
#define SWITCHD_REOPEN_H

/*
 * Ports that were not handed over (handover.h: `anew`) are opened when the process that had them has ended. All others go on meanwhile, and their
 * front ends come and go; only clients of the control socket, who would find a switch that lacks ports, and a reload wait. Control thread.
 */

#include <stdbool.h>

struct daemon;
struct ports;
struct switch_reopen;
struct switch_takeover;

/*
 * What `takeover` has is this one's from now on. `over` is called when all have been opened or given up, each with a line, from the
 * loop; not if it has ended before. 0, or -ENOMEM and the like: nothing is begun, and nothing has been taken.
 */
int switch_reopen_begin(struct switch_takeover *takeover, void (*over)(void *opaque), void *opaque, struct switch_reopen **ret_reopen);
/* The daemon is ending: what is not open stays so. Takes NULL, and one that is over, and empties the variable. */
void switch_reopen_end(struct switch_reopen **reopen);

#endif
