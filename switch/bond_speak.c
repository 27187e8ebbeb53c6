/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a bond says at one of its members: LACPDUs, answers to markers, and, when another member of an active-backup bond carries, who is behind
 * us: a frame from each of those addresses (RARP, as who moves a guest sends it), from which the bridges there learn the way. The control thread makes
 * them and a worker delivers them, as who may touch a port's queues; a letter names the port by its serial number, since it may be gone by then.
 */

#include "switch/bond.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/headers.h"
#include <stdlib.h>
#include <string.h>

#define ANNOUNCED_MAX	1024u
#define RARP_BYTES	60u
#define TAG_BYTES	4u
#define TYPE_RARP	0x8035u
#define RARP_REQUEST	3u

struct said {
	struct worker_letter letter;
	uint64_t serial;
	uint16_t port;
	uint32_t bytes;
	uint8_t data[LACP_FRAME_BYTES];
};

/* ---- worker ---- */

/* Nothing else is on its way in this worker: letters come between two bursts. */
static void said_send(struct forwarder *forwarder, const struct said *said)
{
	const struct topology *topology = topology_of(forwarder->worker.table);
	const struct topology_port *to = topology_port(topology, said->port);
	struct iovec iov = {(void *)(uintptr_t)said->data, said->bytes};
	struct vireo_frame frame = {.iov = &iov, .iov_count = 1, .len_bytes = said->bytes}, *list = &frame;
	struct burst *burst = &forwarder->burst;

	if (!to || to->port->serial != said->serial || !to->out_count)
		return;
	memcpy(frame.head, said->data, VIREO_FRAME_HEAD_BYTES);
	burst->topology = topology;
	burst->from = burst->origin = to->port;
	burst->rules = &to->rules;
	burst->frames = &frame;
	burst->count = 1;
	burst->needs = 0;
	burst->longest_bytes = said->bytes;
	burst->flooded = burst->tagged = 0;
	deliver_ready(forwarder, to, &list, 1);
}

static void said_drop(struct worker_letter *letter)
{
	free(container_of(letter, struct said, letter));
}

static void said_deliver(struct vireo_letter *letter)
{
	struct said *said = container_of(letter, struct said, letter.letter);

	said_send(container_of(said->letter.worker, struct forwarder, worker), said);
	said_drop(&said->letter);
}

/* ---- control thread ---- */

void bond_say(struct sw_port *member, const uint8_t *frame, uint32_t bytes)
{
	struct sw *sw = member->sw;
	struct said *said = calloc(1, sizeof(*said));

	if (!said)
		return;
	said->letter = (struct worker_letter){.letter = {.deliver = said_deliver}, .drop = said_drop};
	said->serial = member->serial;
	said->port = member->id;
	said->bytes = min_u32(bytes, sizeof(said->data));
	memcpy(said->data, frame, said->bytes);
	worker_post(&sw->forwarders[member->id % sw->worker_count]->worker, &said->letter);
}

struct announcing {
	const struct bond *bond;
	struct sw_port *member;
	unsigned count;
};

static void mac_put(uint8_t *at, uint64_t mac)
{
	for (unsigned i = 0; i < MAC_BYTES; i++)
		at[i] = (uint8_t)(mac >> (40 - 8 * i));
}

static void announce(void *opaque, const struct fdb_entry *entry)
{
	struct announcing *a = opaque;
	const struct port_rules *rules = &a->bond->port->rules;
	bool tagged = rules->tagged && vlan_set_has(rules->tagged->words, entry->vlan);
	uint8_t frame[RARP_BYTES + TAG_BYTES] = {0}, *type = frame + 2 * MAC_BYTES;

	if (entry->port == a->bond->port->id || !rules_in_vlan(rules, entry->vlan) || a->count++ >= ANNOUNCED_MAX)
		return;
	memset(frame, 0xff, MAC_BYTES);
	mac_put(frame + MAC_BYTES, entry->mac);
	if (tagged) {
		store_be16(type, rules->tag_type);
		store_be16(type + 2, entry->vlan);
		type += TAG_BYTES;
	}
	store_be16(type, TYPE_RARP);
	memcpy(type + 2, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, RARP_REQUEST}, 8); /* RFC 903: for its own address */
	mac_put(type + 10, entry->mac);
	mac_put(type + 20, entry->mac);
	bond_say(a->member, frame, RARP_BYTES + (tagged ? TAG_BYTES : 0));
}

void bond_announce(const struct bond *bond, struct sw_port *member)
{
	struct announcing a = {bond, member, 0};

	fdb_each(member->sw->fdb, switch_now_s(), announce, &a);
}
