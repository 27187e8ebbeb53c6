/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_VIRTIO_RING_H
#define WIRE_VIRTIO_RING_H

/*
 * Layouts of the split (virtio 1.3, 2.7) and packed (2.8) virtqueue, as they lie in guest memory. All
 * fields are little-endian: convert with le16(), le32(), le64(), which work both ways.
 */

#include <stdint.h>

static inline uint16_t le16(uint16_t v)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap16(v);
}

static inline uint32_t le32(uint32_t v)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap32(v);
}

static inline uint64_t le64(uint64_t v)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap64(v);
}

#define RING_SIZE_MAX 32768u

/* Descriptor flags of both formats. */
#define DESC_F_NEXT 1u /* the chain goes on */
#define DESC_F_WRITE 2u /* device-writable */
#define DESC_F_INDIRECT 4u /* addr and len name a table of descriptors */

/* ---- split (2.7) ---- */

#define SPLIT_DESC_ALIGN 16u
#define SPLIT_AVAIL_ALIGN 2u
#define SPLIT_USED_ALIGN 4u

struct split_desc { /* 2.7.5; also an entry of an indirect table, 2.7.5.3 */
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

#define SPLIT_AVAIL_F_NO_INTERRUPT 1u

struct split_avail { /* 2.7.6; after ring[size] comes used_event, a uint16_t */
	uint16_t flags;
	uint16_t idx;
	uint16_t ring[];
};

struct split_used_elem {
	uint32_t id;
	uint32_t len;
};

#define SPLIT_USED_F_NO_NOTIFY 1u

struct split_used { /* 2.7.8; after ring[size] comes avail_event, a uint16_t */
	uint16_t flags;
	uint16_t idx;
	struct split_used_elem ring[];
};

/* Bytes of the three areas of a ring of `size` entries, event fields included. */
static inline uint64_t split_desc_bytes(uint32_t size)
{
	return UINT64_C(16) * size;
}

static inline uint64_t split_avail_bytes(uint32_t size)
{
	return 6 + UINT64_C(2) * size;
}

static inline uint64_t split_used_bytes(uint32_t size)
{
	return 6 + UINT64_C(8) * size;
}

static inline uint16_t *split_used_event(struct split_avail *avail, uint32_t size)
{
	return &avail->ring[size];
}

static inline uint16_t *split_avail_event(struct split_used *used, uint32_t size)
{
	return (uint16_t *)(void *)&used->ring[size];
}

/* 2.7.7.1, 2.7.10: did the index on its way from `was` to `now` pass the event index? */
static inline int split_event_passed(uint16_t event, uint16_t now, uint16_t was)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - was);
}

/* ---- packed (2.8) ---- */

#define PACKED_DESC_ALIGN 16u
#define PACKED_EVENT_ALIGN 4u

struct packed_desc { /* 2.8.13; also an entry of an indirect table, where id and AVAIL/USED mean nothing */
	uint64_t addr;
	uint32_t len;
	uint16_t id;
	uint16_t flags;
};

#define PACKED_DESC_AVAIL_BIT 7
#define PACKED_DESC_USED_BIT 15
#define PACKED_DESC_AVAIL_MASK (1u << PACKED_DESC_AVAIL_BIT)
#define PACKED_DESC_USED_MASK (1u << PACKED_DESC_USED_BIT)

struct packed_event { /* 2.8.14: an event suppression structure */
	uint16_t off_wrap; /* bits 0-14: descriptor offset, bit 15: its wrap counter; with EVENT_DESC */
	uint16_t flags; /* bits 0-1: PACKED_EVENT_*; the others are reserved */
};

#define PACKED_EVENT_OFFSET_MASK 0x7fffu
#define PACKED_EVENT_WRAP_BIT 15
#define PACKED_EVENT_WRAP_MASK (1u << PACKED_EVENT_WRAP_BIT)

#define PACKED_EVENT_FLAGS_MASK 3u
#define PACKED_EVENT_ENABLE 0u
#define PACKED_EVENT_DISABLE 1u
#define PACKED_EVENT_DESC 2u /* needs EVENT_IDX */

static inline uint64_t packed_desc_bytes(uint32_t size)
{
	return UINT64_C(16) * size;
}

_Static_assert(sizeof(struct split_desc) == 16, "virtio 1.3, 2.7.5");
_Static_assert(sizeof(struct split_used_elem) == 8, "virtio 1.3, 2.7.8");
_Static_assert(sizeof(struct packed_desc) == 16, "virtio 1.3, 2.8.13");
_Static_assert(sizeof(struct packed_event) == 4, "virtio 1.3, 2.8.14");

#endif
