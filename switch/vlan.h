/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_VLAN_H
#define SWITCH_VLAN_H

/* In which VLAN a frame lies, and with which tag a port gets it: see vlan.c. */

#include "switch/switch.h"
#include "vireo/frame.h"

#define TAG_TYPE_DEFAULT 0x8100u
#define TAG_TYPE_SERVICE 0x88a8u
#define VLAN_NONE UINT16_MAX
#define VLAN_ID_MASK 0x0fffu
#define VLAN_ID_MAX 4094u /* that a tag may say */

struct burst;
struct forwarder;
struct topology_port;

/* VLANs by number, as bits. */
static inline bool vlan_set_has(const uint64_t *set, uint16_t vlan)
{
	return vlan <= SW_VLAN_MAX && set[vlan / 64] >> vlan % 64 & 1;
}

/* Worker. Sets vlan, tci and tagged of a burst whose port looks at tags. VLAN_NONE: the frame may not come in. */
void vlan_classify(struct burst *burst);
/* Worker. Frames of the burst, and what they have been cut into, get or lose the tag that the receiver is to see. */
void vlan_present(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame *const *frames, unsigned count);

#endif
