/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Buffers for frames to the guest.
 *
 * A call pops chains ahead, a batch at a time, into the queue's arena and uses them from `first` on; once the driver
 * has been told, the next call's chains are popped. A frame may need several of them; those that are too few for it stay
 * for the next one.
 */

#include "model/net/net_internal.h"
#include <errno.h>

/*
 * A driver that offers crumbs must not cost others their turn. 64 bytes a buffer are less than any driver offers
 * and hold the longest frame in CHAINS_MAX of them.
 */
#define CHAINS_MAX 1024u

void net_receive_push(struct net_queue *q)
{
	if (q->pushed < q->first)
		vireo_queue_push_burst(q->queue, &q->chains[q->pushed], &q->written[q->pushed], q->first - q->pushed);
	q->pushed = q->first;
}

/* Empties the arena: the used chains are pushed, those popped ahead go back unused. */
static void receive_return(struct net_queue *q)
{
	net_receive_push(q);
	net_queue_unpop(q);
	q->first = q->last = q->pushed = 0;
	q->iov_used = 0;
}

int net_receive_refill(struct net_queue *q, unsigned want)
{
	if (q->first == q->last)
		receive_return(q);
	if (q->last == q->size)
		return -ENOBUFS;
	return net_queue_pop(q, min_u32(min_u32(want, NET_BATCH), q->size - q->last));
}

void net_receive_stock(struct net_queue *q, unsigned count)
{
	uint32_t stock = q->last - q->first;

	if (stock >= min_u32(count, NET_BATCH) && stock >= q->stock_min)
		return;
	receive_return(q);
	net_receive_refill(q, NET_BATCH); /* what is wrong, if anything, the next call will find */
}

/* A buffer without room for the header is of no use to anybody: back with length 0. */
static void receive_reject(struct net_queue *q)
{
	const struct vireo_chain *chain = &q->chains[q->first];
	uint32_t work = 1 + chain->readable_count + chain->writable_count;

	q->runt_work -= min_u32(work, q->runt_work);
	q->written[q->first++] = 0;
	q->runts_pushed = true;
	counter_add(&q->stats.runt, 1);
}

/*
 * Ring entries that a chain takes, at least: with INDIRECT_DESC it may be one; without, as many as there are
 * pieces, or fewer where a descriptor crosses memory regions. Good enough to tell a full ring: see
 * net_receive_gather().
 */
static uint32_t receive_entries(const struct net_queue *q, const struct vireo_chain *chain)
{
	return q->indirect ? 1 : chain->readable_count + chain->writable_count;
}

/*
 * Bounded: each round takes a chain more, a frame goes into CHAINS_MAX of them or not at all, and runts end with the call's
 * runt_work.
 */
int net_receive_gather(struct net_queue *q, uint32_t bytes, unsigned want, unsigned *ret_count)
{
	uint64_t room = 0;
	uint32_t entries = 0;
	unsigned n = 0;

	while (q->runt_work) {
		const struct vireo_chain *chain;

		if (q->first + n == q->last) {
			int r = net_receive_refill(q, want);

			if (r == -ENOBUFS && q->first) { /* start again with an empty arena */
				receive_return(q);
				room = entries = n = 0;
				continue;
			}
			if (r == -ENOBUFS)
				return -EMSGSIZE;
			if (r <= 0)
				return !r && entries >= q->size ? -EMSGSIZE : r;
		}
		chain = &q->chains[q->first + n];
		if (!n && chain->writable_bytes < q->header_bytes) {
			receive_reject(q);
			continue;
		}
		room += chain->writable_bytes;
		entries += receive_entries(q, chain);
		n++;
		if (room >= bytes) {
			*ret_count = n;
			return 1;
		}
		if (!q->merge || n == CHAINS_MAX)
			return -EMSGSIZE;
	}
	return 0;
}
