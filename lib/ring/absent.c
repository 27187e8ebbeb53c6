/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/ring_internal.h"
#include "vireo/device.h"
#include <stdlib.h>

/*
 * What a ring will miss, before it does. A ring of the same set-up pops what is available, and notes what is not in the map
 * instead of stopping there; none of it is ever pushed. What it tells the driver - kick me from here on - the ring that runs
 * afterwards tells anew.
 */

#define LOOK_CHAINS 64u /* as far as it looks: that bounds the work */

struct ring_look {
	struct ring_absence *absent;
	unsigned count, max;
};

static bool look_knows(const struct ring_look *look, uint64_t gpa, bool write)
{
	for (unsigned i = 0; i < look->count; i++)
		if (look->absent[i].gpa / RING_PAGE_BYTES == gpa / RING_PAGE_BYTES && look->absent[i].write >= write)
			return true;
	return false;
}

int ring_look_note(struct ring *ring, uint64_t gpa, uint32_t len, bool write)
{
	struct ring_look *look = ring->look;
	uint64_t last = gpa + (len - 1), usable;

	for (;;) {
		if (!map_at(ring->map, &ring->buffers, gpa, write, &usable)) {
			usable = RING_PAGE_BYTES - gpa % RING_PAGE_BYTES;
			if (look->count == look->max)
				return -EFAULT;
			if (!look_knows(look, gpa, write))
				look->absent[look->count++] = (struct ring_absence){ gpa, write };
		}
		if (usable > last - gpa)
			return 0;
		gpa += usable;
	}
}

unsigned ring_absent(const struct ring_setup *setup, struct ring_absence *absent, unsigned max, unsigned *ret_ready)
{
	struct ring_look look = { .absent = absent, .max = max };
	struct ring_setup ahead = *setup;
	unsigned room = VIREO_CHAIN_PIECES_MAX(setup->size), chains = 0;
	struct iovec *iov = malloc(room * sizeof(*iov));
	struct vireo_chain chain;
	struct ring *ring;
	const char *why;

	ahead.lazy = true;
	ahead.record = NULL;
	*ret_ready = 0;
	if (iov && !ring_new(&ahead, &ring, &why)) {
		ring->look = &look;
		while (chains < LOOK_CHAINS && ring_pop(ring, &chain, 1, iov, room) > 0) {
			chains++;
			if (!look.count)
				*ret_ready = chains;
		}
		ring_free(ring);
	}
	free(iov);
	return look.count;
}
