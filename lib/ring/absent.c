/* SPDX-License-Identifier: BSD-3-Clause */
#include "ring/ring_internal.h"
#include "vireo/device.h"
#include <stdlib.h>

/*
 * What a ring will miss, before it does. A ring of the same set-up pops what is available, and notes what is not in the map
 * instead of stopping there; none of it is ever pushed. What it tells the driver - kick me from here on - the ring that runs
 * afterwards tells anew.
 *
 * The driver may have made chains that are as long as can be, of pieces of a thousand windows each: so the chains, the lookups and
 * the pieces are counted, and when there are too many the look is over. It is over, too, at a chain whose indirect table
 * is not in the map.
 *
 * A ring that runs is looked at from another thread, too: from what its driver was shown last on, which its worker tells with each burst
 * (ring_shown()). The worker goes on meanwhile, and so does the driver: what has been used by then is looked at in vain, or is not found to be
 * there. It is no more than a hint.
 */

#define LOOK_CHAINS 64u
#define LOOK_CHAINS_RUNNING 128u /* some of which have been popped already */
#define LOOK_PIECES 1024u
#define LOOK_STEPS 4096u

struct ring_look {
	struct ring_absence *absent;
	unsigned count, max;
	unsigned steps; /* that are left */
	bool writable; /* nothing else is noted */
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
		if (!look->steps)
			return -EFAULT;
		look->steps--;
		if (!map_at(ring->map, &ring->buffers, gpa, write, &usable)) {
			usable = RING_PAGE_BYTES - gpa % RING_PAGE_BYTES;
			if (look->count == look->max)
				return -EFAULT;
			if (write >= look->writable && !look_knows(look, gpa, write))
				look->absent[look->count++] = (struct ring_absence){ gpa, write };
		}
		if (usable > last - gpa)
			return 0;
		gpa += usable;
	}
}

static void look_on(struct ring *ring, unsigned chains, struct iovec *iov, unsigned room, unsigned soon_chains, unsigned *ret_soon)
{
	struct vireo_chain chain;
	unsigned pieces = 0;

	for (unsigned i = 0; i < chains && pieces < LOOK_PIECES; i++) {
		int got = ring_pop(ring, &chain, 1, iov, room);

		if (i < soon_chains)
			*ret_soon = ring->look->count;
		if (got <= 0)
			break;
		pieces += chain.readable_count + chain.writable_count;
	}
}

unsigned ring_absent(const struct ring_setup *setup, struct ring_absence *absent, unsigned max, unsigned soon_chains,
		     unsigned *ret_soon)
{
	struct ring_look look = { .absent = absent, .max = max, .steps = LOOK_STEPS };
	unsigned room = VIREO_CHAIN_PIECES_MAX(setup->size);
	struct iovec *iov = malloc(room * sizeof(*iov));
	struct ring_setup ahead = *setup;
	struct ring *ring;
	const char *why;

	ahead.lazy = true;
	ahead.witness = (struct ring_witness){ 0 };
	*ret_soon = 0;
	if (iov && !ring_new(&ahead, &ring, &why)) {
		ring->look = &look;
		look_on(ring, LOOK_CHAINS, iov, room, soon_chains, ret_soon);
		ring_unused(ring);
		ring_free(ring);
	}
	free(iov);
	return look.count;
}

/* A ring of the same areas that stands where `ring` was shown last. It writes nothing: kicks are off, and are not switched off. */
static struct ring *look_beside(const struct ring *ring, const struct map *map)
{
	struct ring *beside = calloc(1, sizeof(*beside));

	if (!beside)
		return NULL;
	beside->map = map;
	beside->size = ring->size;
	beside->is_packed = ring->is_packed;
	beside->indirect = ring->indirect;
	beside->lazy = true;
	if (ring->is_packed) {
		beside->packed.desc = ring->packed.desc;
		beside->packed.avail = beside->packed.used = place_decode(ring_shown(ring));
		return beside;
	}
	beside->split.desc = ring->split.desc;
	beside->split.avail = ring->split.avail;
	beside->split.used = ring->split.used;
	beside->split.next_avail = beside->split.avail_seen = beside->split.fetched = beside->split.published = (uint16_t)ring_shown(ring);
	return beside;
}

unsigned ring_absent_running(const struct ring *ring, const struct map *map, bool writable, struct ring_absence *absent, unsigned max)
{
	struct ring_look look = { .absent = absent, .max = max, .steps = LOOK_STEPS, .writable = writable };
	unsigned room = VIREO_CHAIN_PIECES_MAX(ring->size), soon;
	struct iovec *iov = malloc(room * sizeof(*iov));
	struct ring *beside = look_beside(ring, map);

	if (iov && beside) {
		beside->look = &look;
		look_on(beside, LOOK_CHAINS_RUNNING, iov, room, 0, &soon);
	}
	ring_free(beside);
	free(iov);
	return look.count;
}
