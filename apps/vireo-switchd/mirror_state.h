/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_MIRROR_STATE_H
#define SWITCHD_MIRROR_STATE_H

/*
 * Mirrors, as one process tells another of them (handover_state.h):
 *
 *	[{"id": ID, "port": NAME, "to": WHERE, "fd": true, "filter": EXPR, "program": BPF, "snaplen": BYTES,
 *	  "frames": N, "bytes": N, "lost": N, "rest": BYTES}]
 *
 * "filter" and "program" are left out where there is none. If "fd" is true of any a parcel follows: the fds of those of which it is, and the
 * bytes that their readers are still to get ("rest"), one after the other. A mirror that has failed copies nothing, and is not told of.
 */

#include "port.h"

struct handover;

json_t *mirror_state_json(const struct ports *ports); /* NULL: no memory */
int mirror_state_give(const struct ports *ports, struct handover *handover); /* the parcel, if there is one */

bool mirror_state_has_parcel(const json_t *mirrors);
/*
 * Makes them, held (sw_mirrors_go_on()). `rest` and `fds` are the parcel's; fds that are taken are -1 then. 0, or -EINVAL and why: what is said is no
 * mirror that this process could have.
 */
int mirror_state_take(const json_t *mirrors, const struct ports *ports, const uint8_t *rest, size_t rest_bytes, int *fds, unsigned fd_count,
		      char why[SPEC_WHY_BYTES]);

#endif
