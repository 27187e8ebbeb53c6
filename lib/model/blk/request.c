/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blk/blk_internal.h"
#include <endian.h>
#include <string.h>

/*
 * A chain becomes a request (virtio 1.3, 5.2.6): the first 16 readable bytes are its header, the last writable byte its status, and what is
 * between them, readable or writable, its data. How that is split over descriptors is the driver's affair (2.7.4.3). The header is
 * copied out once, and what is decided is decided by the copy.
 *
 * The pieces are cut in place, so that those of the data can be handed out as they lie: the first ones lose the header, the last
 * one the status, which it gets back before the chain is pushed, for a dirty log goes by the pieces.
 */

#define FILL_BYTES_MAX (64u << 10) /* of a request that is no request, or has failed: a guest asks for that as often as it likes */

/* All before a status counts as written, so it has to be (2.7.8.2). */
void blk_data_clear(struct blk_slot *slot)
{
	const struct vireo_chain *chain = &slot->at.chain;

	for (uint32_t i = 0; i < chain->writable_count; i++) {
		const struct iovec *piece = &chain->iov[chain->readable_count + i];

		memset(piece->iov_base, 0, piece->iov_len);
	}
}

void blk_answer(struct blk_slot *slot, uint8_t status, bool fill)
{
	if (unlikely(fill) && slot->at.chain.writable_bytes > 1 && slot->at.chain.writable_bytes <= FILL_BYTES_MAX)
		blk_data_clear(slot);
	__atomic_store_n(slot->status, status, __ATOMIC_RELAXED);
	slot->status_piece->iov_len++;
	shelf_end(&slot->at, slot->at.chain.writable_bytes);
}

__cold bool blk_refuse(struct blk_slot *slot, uint8_t status)
{
	struct vireo_blk_queue_stats *stats = &blk_queue_of(slot)->stats;

	counter_add(status == BLK_S_UNSUPP ? &stats->unsupported : &stats->refused, 1);
	blk_answer(slot, status, true);
	return false;
}

/* There is nowhere to say anything. */
static __cold bool request_mute(struct blk_slot *slot)
{
	counter_add(&blk_queue_of(slot)->stats.no_status, 1);
	shelf_end(&slot->at, 0);
	return false;
}

/* Takes the status off the end; there is a writable byte. */
static inline void status_cut(struct blk_slot *slot)
{
	struct iovec *last = &slot->at.chain.iov[slot->at.chain.readable_count + slot->at.chain.writable_count - 1];

	while (unlikely(!last->iov_len))
		last--;
	last->iov_len--;
	slot->status = (uint8_t *)last->iov_base + last->iov_len;
	slot->status_piece = last;
	prefetch_write(slot->status);
}

/* Takes the header off the readable pieces; there are so many bytes. */
static __cold void header_cut_slowly(struct blk_slot *slot, struct virtio_blk_header *header)
{
	struct iovec *piece = slot->at.chain.iov;
	uint8_t *to = (uint8_t *)header;

	for (size_t left = sizeof(*header); left; piece++) {
		size_t n = min_u64(piece->iov_len, left);

		memcpy(to, piece->iov_base, n);
		piece->iov_base = (uint8_t *)piece->iov_base + n;
		piece->iov_len -= n;
		to += n;
		left -= n;
	}
}

static inline void header_cut(struct blk_slot *slot, struct virtio_blk_header *header)
{
	struct iovec *piece = slot->at.chain.iov;

	if (unlikely(piece->iov_len < sizeof(*header))) {
		header_cut_slowly(slot, header);
	} else {
		memcpy(header, piece->iov_base, sizeof(*header));
		piece->iov_base = (uint8_t *)piece->iov_base + sizeof(*header);
		piece->iov_len -= sizeof(*header);
	}
	__asm__ volatile("" : : : "memory"); /* guest memory has been copied, and is not read again */
}

/* READ and WRITE: `bytes` of data, from `sector` on. */
static inline bool data_take(struct blk_slot *slot, uint32_t type, uint64_t sector, uint64_t bytes)
{
	const struct vireo_blk *blk = blk_queue_of(slot)->blk;
	struct vireo_blk_request *request = &slot->request;

	if (unlikely(!blk_on_disk(blk, sector, bytes / BLK_SECTOR_BYTES)) ||
	    unlikely((sector * BLK_SECTOR_BYTES | bytes) & blk->align_mask))
		return blk_refuse(slot, BLK_S_IOERR);
	request->type = type;
	request->offset_bytes = sector * BLK_SECTOR_BYTES;
	request->bytes = bytes;
	if (likely(bytes))
		return true;
	blk_answer(slot, BLK_S_OK, true);
	return false;
}

static inline bool read_take(struct blk_slot *slot, uint64_t sector)
{
	const struct vireo_chain *chain = &slot->at.chain;

	if (!data_take(slot, VIREO_BLK_IN, sector, chain->writable_bytes - 1))
		return false;
	slot->request.flags = 0;
	blk_request_iov(slot, chain->iov + chain->readable_count, chain->writable_count);
	return true;
}

static inline bool write_take(struct blk_slot *slot, uint64_t sector)
{
	const struct vireo_chain *chain = &slot->at.chain;
	const struct vireo_blk *blk = blk_queue_of(slot)->blk;

	if (unlikely(blk->read_only))
		return blk_refuse(slot, BLK_S_IOERR);
	if (!data_take(slot, VIREO_BLK_OUT, sector, chain->readable_bytes - sizeof(struct virtio_blk_header)))
		return false;
	slot->request.flags = __atomic_load_n(&blk->write_flags, __ATOMIC_RELAXED);
	blk_request_iov(slot, chain->iov, chain->readable_count);
	return true;
}

static bool flush_take(struct blk_slot *slot)
{
	slot->request.type = VIREO_BLK_FLUSH;
	slot->request.flags = 0;
	slot->request.offset_bytes = slot->request.bytes = 0;
	slot->request.iov = NULL;
	slot->request.iov_count = 0;
	return true;
}

/* What the device knows itself; the rest of the room, if there is any, is zero. A driver gives as much as there is (5.2.6.1). */
static bool told(struct blk_slot *slot, const void *data, size_t bytes)
{
	struct vireo_cursor c = vireo_chain_writable(&slot->at.chain); /* without the status */

	blk_data_clear(slot);
	vireo_cursor_put(&c, data, min_u64(bytes, c.left_bytes));
	blk_answer(slot, BLK_S_OK, false);
	return false;
}

static bool lifetime_told(struct blk_slot *slot)
{
	uint64_t words = __atomic_load_n(&blk_queue_of(slot)->blk->lifetime, __ATOMIC_RELAXED);
	const struct virtio_blk_lifetime lifetime = {
		.pre_eol_info = htole16((uint16_t)words),
		.device_lifetime_est_typ_a = htole16((uint16_t)(words >> 16)),
		.device_lifetime_est_typ_b = htole16((uint16_t)(words >> 32)),
	};

	if (slot->at.chain.writable_bytes - 1 < sizeof(lifetime))
		return blk_refuse(slot, BLK_S_IOERR);
	return told(slot, &lifetime, sizeof(lifetime));
}

/* Those from ZONE_REPORT on are even numbers, and 16 and 18 are the first two. */
static bool zone_type(uint32_t type)
{
	return type == VIREO_BLK_ZONE_APPEND || (type >= VIREO_BLK_ZONE_REPORT && type <= VIREO_BLK_ZONE_RESET_ALL && !(type & 1));
}

/* What has not been negotiated is not known. */
static __cold bool other_take(struct blk_slot *slot, uint32_t type, uint64_t sector)
{
	const struct vireo_blk *blk = blk_queue_of(slot)->blk;

	if (zone_type(type) && blk_has(blk, VIREO_BLK_F_ZONED_BIT))
		return blk_zone_take(slot, type, sector);
	if (slot->at.chain.writable_bytes > FILL_BYTES_MAX)
		return blk_refuse(slot, BLK_S_IOERR);
	if (type == VIREO_BLK_FLUSH || (type == BLK_T_FLUSH_OUT && !blk_has(blk, VIREO_F_VERSION_1_BIT)))
		return flush_take(slot);
	if (type == BLK_T_GET_ID)
		return told(slot, blk->id, sizeof(blk->id));
	if (type == BLK_T_GET_LIFETIME && blk_has(blk, VIREO_BLK_F_LIFETIME_BIT))
		return lifetime_told(slot);
	if (type == VIREO_BLK_DISCARD && blk_has(blk, VIREO_BLK_F_DISCARD_BIT))
		return blk_ranges_take(slot, &blk->discard);
	if (type == VIREO_BLK_WRITE_ZEROES && blk_has(blk, VIREO_BLK_F_WRITE_ZEROES_BIT))
		return blk_ranges_take(slot, &blk->zeroes);
	if (type == VIREO_BLK_SECURE_ERASE && blk_has(blk, VIREO_BLK_F_SECURE_ERASE_BIT))
		return blk_ranges_take(slot, &blk->erase);
	return blk_refuse(slot, BLK_S_UNSUPP);
}

bool blk_request_take(struct blk_slot *slot)
{
	const struct vireo_chain *chain = &slot->at.chain;
	struct virtio_blk_header header;
	uint32_t type;

	if (unlikely(!chain->writable_bytes))
		return request_mute(slot);
	status_cut(slot);
	if (unlikely(chain->readable_bytes < sizeof(header)))
		return blk_refuse(slot, BLK_S_IOERR);
	header_cut(slot, &header);
	type = le32toh(header.type);
	slot->request.type = type;
	if (type == VIREO_BLK_IN)
		return read_take(slot, le64toh(header.sector));
	if (type == VIREO_BLK_OUT)
		return write_take(slot, le64toh(header.sector));
	return other_take(slot, type, le64toh(header.sector));
}
