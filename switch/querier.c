/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The switch asks for members (IGMP version 3, RFC 3376, 4.1; MLD version 2, RFC 3810, 5.1): a frame that comes from no port. The
 * control thread makes it and a worker delivers it, as who may touch the ports' queues. A letter names a port by its serial number, since
 * the port may be gone when it is delivered.
 */

#include "switch/multicast.h"
#include "switch/checksum.h"
#include "switch/core.h"
#include "switch/forwarder.h"
#include "switch/headers.h"
#include <stdlib.h>
#include <string.h>

#define QUESTIONS_MAX  64u
#define ETHERNET_BYTES 14u
#define IPV4_BYTES     24u /* with the router alert */
#define IGMP_BYTES     12u
#define IPV6_BYTES     40u
#define ALERT_BYTES    8u
#define MLD_BYTES      28u
#define FRAME_BYTES_MIN 60u
#define FRAME_BYTES_MAX (ETHERNET_BYTES + IPV6_BYTES + ALERT_BYTES + MLD_BYTES)
#define LAST_IS_3      0x02u /* robustness, which is 2; nobody is asked to hold back */

struct query {
	struct worker_letter letter;
	uint16_t vlan;
	uint64_t serial; /* of the port; 0: all of the VLAN's */
	uint32_t bytes;
	uint8_t data[FRAME_BYTES_MAX];
};

/* ---- in the worker ---- */

static void send_to(struct forwarder *forwarder, struct vireo_frame *frame, const struct topology_port *to)
{
	struct vireo_frame *list = frame;

	forwarder->burst.from = to->port;
	forwarder->burst.rules = &to->rules;
	forwarder->burst.origin = to->port;
	deliver(forwarder, to, &list, 1);
}

/* Nothing else is on its way in this worker: letters come between two bursts. */
static void send_all(struct forwarder *forwarder, const struct query *query)
{
	const struct topology *topology = topology_of(forwarder->worker.table);
	const struct topology_vlan *vlan = topology_vlan(topology, query->vlan);
	struct iovec iov = {(void *)(uintptr_t)query->data, query->bytes};
	struct vireo_frame frame = {.iov = &iov, .iov_count = 1, .len_bytes = query->bytes};
	struct burst *burst = &forwarder->burst;

	memcpy(frame.head, query->data, VIREO_FRAME_HEAD_BYTES);
	burst->topology = topology;
	burst->frames = &frame;
	burst->count = 1;
	burst->needs = 0;
	burst->longest_bytes = query->bytes;
	burst->flooded = burst->tagged = 0;
	burst->vlan[0] = burst->tci[0] = query->vlan;
	for (uint32_t i = 0; i < vlan->port_count; i++)
		if (vlan->ports[i]->out_count && (!query->serial || query->serial == vlan->ports[i]->port->serial))
			send_to(forwarder, &frame, vlan->ports[i]);
}

static void query_drop(struct worker_letter *letter)
{
	free(container_of(letter, struct query, letter));
}

static void query_deliver(struct vireo_letter *letter)
{
	struct query *query = container_of(letter, struct query, letter.letter);

	send_all(container_of(query->letter.worker, struct forwarder, worker), query);
	query_drop(&query->letter);
}

/* ---- the frame ---- */

/* A response time as it stands in a message: in units, or with an exponent. */
static uint32_t encode(uint32_t units, unsigned bits)
{
	unsigned exponent = 0;

	if (units < 1u << (bits + 3))
		return units;
	while (units >> (exponent + 3) >= 2u << bits)
		exponent++;
	return 1u << (bits + 3) | exponent << bits | (units >> (exponent + 3) & ((1u << bits) - 1));
}

static void put_ethernet(uint8_t *at, const uint8_t to[6], const uint8_t source6[16], uint16_t type)
{
	memcpy(at, to, 6);
	memcpy(at + 6, (uint8_t[]){source6[8] ^ 2, source6[9], source6[10], source6[13], source6[14], source6[15]}, 6);
	store_be16(at + 12, type);
}

static uint32_t put_igmp(uint8_t *frame, const struct mdb_question *q, const uint8_t source6[16])
{
	static const uint8_t all[16] = {224, 0, 0, 1};
	bool general = q->group.bytes[0] == 0;
	const uint8_t *to = general ? all : q->group.bytes;
	uint8_t *ip = frame + ETHERNET_BYTES, *igmp = ip + IPV4_BYTES;
	uint16_t sum;

	put_ethernet(frame, (uint8_t[]){1, 0, 0x5e, to[1] & 0x7f, to[2], to[3]}, source6, 0x0800);
	memcpy(ip, (uint8_t[]){0x46, 0xc0, 0, IPV4_BYTES + IGMP_BYTES, 0, 0, 0x40, 0, 1, 2}, 10);
	memcpy(ip + 16, to, 4);
	memcpy(ip + 20, (uint8_t[]){0x94, 4, 0, 0}, 4);
	sum = checksum_fold(checksum_add(0, ip, IPV4_BYTES));
	memcpy(ip + 10, &sum, 2);
	igmp[0] = 0x11;
	igmp[1] = (uint8_t)encode(q->response_ms / 100, 4);
	memcpy(igmp + 4, q->group.bytes, 4);
	igmp[8] = LAST_IS_3;
	igmp[9] = (uint8_t)encode(q->interval_s, 4);
	sum = checksum_fold(checksum_add(0, igmp, IGMP_BYTES));
	memcpy(igmp + 2, &sum, 2);
	return FRAME_BYTES_MIN;
}

static uint32_t put_mld(uint8_t *frame, const struct mdb_question *q, const uint8_t source6[16])
{
	static const uint8_t all[16] = {0xff, 2, [15] = 1};
	bool general = q->group.bytes[0] == 0;
	const uint8_t *to = general ? all : q->group.bytes;
	uint8_t *ip = frame + ETHERNET_BYTES, *mld = ip + IPV6_BYTES + ALERT_BYTES;
	uint64_t pseudo;
	uint16_t sum;

	put_ethernet(frame, (uint8_t[]){0x33, 0x33, to[12], to[13], to[14], to[15]}, source6, 0x86dd);
	memcpy(ip, (uint8_t[]){0x60, 0, 0, 0, 0, ALERT_BYTES + MLD_BYTES, 0, 1}, 8);
	memcpy(ip + 8, source6, 16);
	memcpy(ip + 24, to, 16);
	memcpy(ip + IPV6_BYTES, (uint8_t[]){58, 0, 5, 2, 0, 0, 1, 0}, ALERT_BYTES);
	mld[0] = 130;
	store_be16(mld + 4, (uint16_t)encode(q->response_ms, 12));
	memcpy(mld + 8, q->group.bytes, 16);
	mld[24] = LAST_IS_3;
	mld[25] = (uint8_t)encode(q->interval_s, 4);
	pseudo = checksum_add_u16(checksum_add_u16(checksum_add(0, ip + 8, 32), MLD_BYTES), 58);
	sum = checksum_fold(checksum_add(pseudo, mld, MLD_BYTES));
	memcpy(mld + 2, &sum, 2);
	return FRAME_BYTES_MAX;
}

/* ---- in the control thread ---- */

/* What is not asked for want of memory is asked the next time. */
static void ask(const struct multicast *multicast, const struct mdb_question *q)
{
	const struct sw_port *port = q->port >= 0 ? multicast->sw->by_id[q->port] : NULL;
	struct query *query = calloc(1, sizeof(*query));
	uint8_t source6[16];

	if (!query || (q->port >= 0 && !port)) {
		free(query);
		return;
	}
	query->letter = (struct worker_letter){.letter = {.deliver = query_deliver}, .drop = query_drop};
	query->vlan = q->vlan;
	query->serial = port ? port->serial : 0;
	mdb_source6(multicast->mdb, source6);
	query->bytes = q->group.family == 4 ? put_igmp(query->data, q, source6) : put_mld(query->data, q, source6);
	worker_post(&multicast->sw->forwarders[0]->worker, &query->letter);
}

void querier_ask(struct multicast *multicast, uint64_t now_ms)
{
	struct mdb_question questions[QUESTIONS_MAX];
	unsigned count;

	do {
		count = mdb_ask(multicast->mdb, now_ms, questions, QUESTIONS_MAX);
		for (unsigned i = 0; i < count; i++)
			ask(multicast, &questions[i]);
	} while (count == QUESTIONS_MAX);
}
