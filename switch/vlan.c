/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A frame lies in one VLAN (IEEE 802.1Q). A port that does not look at tags puts all its frames into its own; tags are payload to
 * it. Of a port that looks at them, a frame without a tag, or with one that says a priority only, lies in the port's own VLAN,
 * if it has one; a frame with a tag lies in the tag's, if the port is in that. What may not come in is neither
 * forwarded nor learned from.
 *
 * Each receiver gets a frame with the tag or without it, as it is to see that VLAN. The tag is an edit of the frame's head, made right
 * before the receiver copies: a bit per frame says whether it bears its VLAN's tag at the moment. A tag's priority is kept
 * for who gets it again, and so are tags behind the first. What a flooded frame has been cut into changes with it.
 */

#include "switch/cuts.h"
#include "switch/forwarder.h"
#include "switch/headers.h"

#define TYPE_AT       12u
#define TCI_AT        14u
#define TAGGED_BYTES  18u

/* The tag's control information if it lies in a VLAN by its tag. False: it may not come in. */
static bool tag_read(const struct port_rules *from, struct vireo_frame *frame, uint16_t *ret_tci)
{
	uint16_t tci;

	if (frame->len_bytes < TAGGED_BYTES)
		return false;
	tci = load_be16(frame->head + TCI_AT);
	if (tci & VLAN_ID_MASK) {
		*ret_tci = tci;
		return rules_in_vlan(from, tci & VLAN_ID_MASK);
	}
	if (from->vlan > VLAN_ID_MAX)
		return false;
	*ret_tci = tci | from->vlan;
	store_be16(frame->head + TCI_AT, *ret_tci);
	return true;
}

void vlan_classify(struct burst *burst)
{
	const struct port_rules *from = burst->rules;

	for (unsigned i = 0; i < burst->count; i++) {
		struct vireo_frame *frame = &burst->frames[i];
		bool tag = load_be16(frame->head + TYPE_AT) == from->tag_type, in = true;

		burst->tci[i] = from->vlan;
		if (tag)
			in = tag_read(from, frame, &burst->tci[i]);
		burst->tagged |= (uint64_t)(tag && in) << i;
		burst->vlan[i] = !in ? VLAN_NONE : tag ? burst->tci[i] & VLAN_ID_MASK : from->vlan;
	}
}

static void present(struct vireo_frame *frame, bool has, bool wants, uint16_t type, uint16_t tci)
{
	if (has && wants)
		store_be16(frame->head + TYPE_AT, type);
	else if (wants)
		vireo_frame_tag_push(frame, type, tci);
	else
		vireo_frame_tag_pop(frame);
}

/* What the frame has been cut into. */
static __cold void present_pieces(struct offload_slot *slots, const struct cut *cut, bool has, bool wants, uint16_t type, uint16_t tci)
{
	for (unsigned piece = 0; cut->state == CUT_MADE && piece < cut->count; piece++)
		present(&slots[cut->first + piece].frame, has, wants, type, tci);
}

void vlan_present(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count)
{
	const struct vlan_set *own = to->rules.tagged;
	const struct cuts *cuts = forwarder->cuts;
	struct burst *burst = &forwarder->burst;
	const struct vireo_frame *first = burst->frames;
	uint64_t tagged = burst->tagged, cut = cuts->frames; /* a frame's head may be anything, to the compiler */
	const bool aware = burst->rules->aware;
	uint16_t type = to->rules.tag_type, vlan = burst->rules->vlan, tci = vlan;

	for (unsigned k = 0; k < count; k++) {
		unsigned i = (unsigned)(frames[k] - first);
		bool has = tagged >> i & 1, wants;

		if (aware) {
			vlan = burst->vlan[i];
			tci = burst->tci[i];
		}
		wants = own && vlan_set_has(own->words, vlan);
		if (!has && !wants)
			continue;
		present(frames[k], has, wants, type, tci);
		if (unlikely(cut >> i & 1))
			present_pieces(cuts->arena->slots, &cuts->of[i], has, wants, type, tci);
		tagged ^= (uint64_t)(has != wants) << i;
	}
	burst->tagged = tagged;
}
