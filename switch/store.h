/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_STORE_H
#define SWITCH_STORE_H

/*
 * Copies of frames on their way from one thread to another, in order, as many as fit. One thread puts, another takes; who
 * they are may change when both are quiet. A store takes STORE_BYTES of address space, and as much memory as has been
 * used of that, until it begins anew, or its end.
 */

#include "base/util.h"
#include "vireo/frame.h"
#include <stdbool.h>
#include <stdint.h>

#define STORE_BYTES       (2u << 20)
#define STORE_FRAME_BYTES (65535u + 78u) /* the longest frame that is taken */
#define STORE_RECORD_MAX  (STORE_FRAME_BYTES + 128u)
#define STORE_KEPT_BYTES  (128u << 10) /* of memory, by a store that begins anew */

struct store {
	uint8_t *bytes; /* STORE_BYTES; constant. Positions below count on for ever. */
	/* Who puts. */
	uint32_t put __attribute__((aligned(64))); /* not yet shown */
	uint32_t shown;                            /* read by who takes */
	/* Who takes. */
	uint32_t seen __attribute__((aligned(64)));
	uint32_t taken; /* read by who puts */
};

int store_init(struct store *store); /* -ENOMEM. Costs memory as it is used. */
void store_fini(struct store *store); /* takes one that is all zeroes */

/* Who puts. So many frames of any length have room. */
unsigned store_room(const struct store *store);
/* With its edit. False: no room, longer than any frame, or a lying edit. Does not wait, and does not show the frame yet. */
bool store_put(struct store *store, const struct vireo_frame *frame);
void store_show(struct store *store);

/* Who takes. Up to max frames in place, each with one piece of iov[], until store_drop(). */
unsigned store_see(struct store *store, struct vireo_frame *frames, struct iovec *iov, unsigned max);
void store_drop(struct store *store); /* all that were seen */
/* Of what was seen the first ones; the others have not been seen, and store_see() shows them again. */
void store_drop_first(struct store *store, unsigned count);
unsigned store_count(const struct store *store); /* shown, and not seen. Who takes, or anybody when both are quiet. */
/* Where one thread puts and takes. */
static inline uint32_t store_bytes(const struct store *store) /* that are in use */
{
	return store->put - store->taken;
}
/* Empty: the next frame lies where the first one did, and the system gets back the memory behind STORE_KEPT_BYTES. */
void store_restart(struct store *store);
static inline bool store_empty(const struct store *store)
{
	return __atomic_load_n(&store->shown, __ATOMIC_ACQUIRE) == store->seen;
}

#endif
