/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Hashes of frames to the guest, and the queues that they choose.
 *
 * Theory of operation. The control thread writes, workers read, nobody waits. There are two sets of what the driver has said last, made when
 * it says something for the first time; a change goes into the one that is not current, and makes it so. Each word is read and
 * written atomically. A set's `sequence` is odd while it is written: a worker that finds it odd, or changed when it has read,
 * was overtaken by two changes and looks again, at the current one; after RSS_TRIES it gives up, and the frame has no hash. So a driver that
 * does nothing but change its mind steers its own frames to wherever, and keeps nobody.
 *
 * Ordering: as in filter.c. The reader loads with acquire, so its second look at `sequence` comes after all words; the writer stores with
 * release, so the odd number comes before them, and the even one after.
 */

#include "model/net/net_internal.h"
#include <endian.h>
#include <stdlib.h>

#define RSS_TRIES 4u

struct rss_set {
	uint32_t sequence;
	uint32_t types;
	uint32_t steers;
	uint32_t mask, unclassified;
	uint8_t table[NET_RSS_TABLE_MAX];
	struct net_hash_table hash;
};

struct net_rss {
	uint32_t current; /* atomic: of `sets` */
	struct rss_set sets[2];
	/* Control thread. */
	bool said_any;
	struct net_rss_config said;
};

_Static_assert(NET_PAIRS_MAX <= UINT8_MAX, "a pair is a byte of the table");

/* ---- control thread ---- */

static void put32(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void set_write(struct rss_set *set, const struct net_rss_config *config)
{
	uint8_t key[NET_HASH_KEY_BYTES] = { 0 };

	memcpy(key, config->key, config->key_bytes);
	put32(&set->sequence, set->sequence + 1);
	put32(&set->types, config->types);
	put32(&set->steers, config->steers);
	put32(&set->mask, config->mask);
	put32(&set->unclassified, config->unclassified);
	for (unsigned i = 0; i < NET_RSS_TABLE_MAX; i++)
		__atomic_store_n(&set->table[i], (uint8_t)config->table[i], __ATOMIC_RELEASE);
	net_hash_table_fill(&set->hash, key);
	put32(&set->sequence, set->sequence + 1);
}

static void rss_publish(struct vireo_net *net)
{
	struct net_rss *rss = net->rss;
	uint32_t other = !rss->current;

	set_write(&rss->sets[other], &rss->said);
	put32(&rss->current, other);
}

static void steering_tell(const struct vireo_net *net, bool before)
{
	if (net->ops.steering_set && net->rss->said.steers != before)
		net->ops.steering_set(net->opaque, !before);
}

bool net_rss_set(struct vireo_net *net, const struct net_rss_config *config)
{
	struct net_rss *rss = net->rss;
	bool steered = rss && rss->said.steers;

	if (!rss) {
		rss = calloc(1, sizeof(*rss));
		if (!rss)
			return false;
		/* Pairs with rss_of(): who sees the pointer sees the zeroes. */
		__atomic_store_n(&net->rss, rss, __ATOMIC_RELEASE);
	}
	rss->said = *config;
	rss->said_any = true;
	rss_publish(net);
	steering_tell(net, steered);
	return true;
}

void net_rss_steer_end(struct vireo_net *net)
{
	struct net_rss_config config;

	if (!net->rss || !net->rss->said.steers)
		return;
	config = (struct net_rss_config){ .types = net->rss->said.types, .key_bytes = net->rss->said.key_bytes };
	memcpy(config.key, net->rss->said.key, sizeof(config.key));
	net_rss_set(net, &config); /* it has its memory */
}

void net_rss_forget(struct vireo_net *net)
{
	static const struct net_rss_config nothing;

	if (!net->rss || !net->rss->said_any)
		return;
	net_rss_set(net, &nothing);
	net->rss->said_any = false;
}

const struct net_rss_config *net_rss_said(const struct vireo_net *net)
{
	return net->rss && net->rss->said_any ? &net->rss->said : NULL;
}

void vireo_net_rss(const struct vireo_net *net, struct vireo_net_rss *ret_rss)
{
	const struct net_rss_config *said = net_rss_said(net);
	struct vireo_net_rss rss = { .size = sizeof(rss), .reports = net_has(net, VIREO_NET_F_HASH_REPORT_BIT) };

	if (said) {
		rss.steers = said->steers;
		rss.table_entries = said->steers ? (uint16_t)(said->mask + 1) : 0;
		rss.unclassified = said->unclassified;
		rss.hash_types = said->types;
	}
	rss.size = min_u64(rss.size, ret_rss->size);
	memcpy(ret_rss, &rss, rss.size);
}

void net_rss_free(struct vireo_net *net)
{
	free(net->rss);
}

/* ---- workers ---- */

static uint32_t get32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* The receiver's first bytes of the frame. Guest memory is copied, and the copy counts. */
static uint32_t peek(const struct vireo_frame *frame, uint8_t *to)
{
	uint32_t at = vireo_frame_head_bytes(frame);
	uint64_t skip = frame->head_skip ? frame->head_skip : vireo_frame_skip_bytes(frame);

	memcpy(to, frame->head, at);
	for (uint32_t i = 0; i < frame->iov_count && at < NET_HASH_PEEK_BYTES; i++) {
		uint64_t skipped = min_u64(frame->iov[i].iov_len, skip);
		uint32_t bytes = (uint32_t)min_u64(frame->iov[i].iov_len - skipped, NET_HASH_PEEK_BYTES - at);

		memcpy(to + at, (const uint8_t *)frame->iov[i].iov_base + skipped, bytes);
		skip -= skipped;
		at += bytes;
	}
	net_copied();
	return at;
}

struct verdict {
	uint32_t hash;
	uint16_t report;
	uint16_t pair;
};

/* False: a change came between, and nothing holds. */
static bool set_look(const struct rss_set *set, const struct vireo_frame *frame, struct verdict *ret)
{
	uint32_t sequence = get32(&set->sequence), types = get32(&set->types);
	struct net_hash_input input = { .report = NET_HASH_REPORT_NONE };
	uint8_t bytes[NET_HASH_PEEK_BYTES];

	if (types)
		net_hash_input_of(bytes, peek(frame, bytes), types, &input);
	*ret = (struct verdict){ .report = input.report };
	if (input.report != NET_HASH_REPORT_NONE) {
		ret->hash = net_hash_of(&set->hash, &input);
		ret->pair = __atomic_load_n(&set->table[ret->hash & get32(&set->mask) & (NET_RSS_TABLE_MAX - 1)], __ATOMIC_ACQUIRE);
	} else {
		ret->pair = (uint16_t)get32(&set->unclassified);
	}
	return !(sequence & 1) && get32(&set->sequence) == sequence;
}

static struct verdict verdict_of(const struct net_rss *rss, const struct vireo_frame *frame)
{
	struct verdict verdict;

	for (unsigned i = 0; i < RSS_TRIES; i++)
		if (likely(set_look(&rss->sets[get32(&rss->current)], frame, &verdict)))
			return verdict;
	return (struct verdict){ .report = NET_HASH_REPORT_NONE };
}

static const struct net_rss *rss_of(const struct vireo_net *net)
{
	return __atomic_load_n(&net->rss, __ATOMIC_ACQUIRE);
}

void net_rss_report(const struct vireo_net *net, const struct vireo_frame *frame, struct virtio_net_header_hash *ret_hash)
{
	const struct net_rss *rss = rss_of(net);
	struct verdict verdict = { .report = NET_HASH_REPORT_NONE };

	if (rss)
		verdict = verdict_of(rss, frame);
	*ret_hash = (struct virtio_net_header_hash){ .value = htole32(verdict.hash), .report = htole16(verdict.report) };
}

bool vireo_net_steer(const struct vireo_net *net, struct vireo_frame *const *frames, unsigned count, uint8_t *ret_pairs)
{
	const struct net_rss *rss = rss_of(net);

	if (!rss || !get32(&rss->sets[get32(&rss->current)].steers))
		return false;
	for (unsigned i = 0; i < count; i++)
		ret_pairs[i] = (uint8_t)verdict_of(rss, frames[i]).pair;
	return true;
}
