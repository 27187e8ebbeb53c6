/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a caller of a vhost character device may put together, and pure functions read: the text of its
 * mappings with a memory table to lay on it, and IOTLB messages, one after the other.
 */
#include "fuzz.h"
#include "mem/iotlb.h"
#include "transport/cuse/maps.h"
#include "wire/iotlb.h"
#include <assert.h>
#include <stdlib.h>

#define REGIONS_MAX 8u
#define PIECES_MAX 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Each region's pieces follow each other, and are as long as it is. */
static void pieces_check(const struct vhost_memory_region *regions, unsigned count,
			 const struct maps_piece *pieces, unsigned piece_count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t done = 0;

		for (; done < regions[i].memory_size; pieces++, piece_count--) {
			assert(piece_count && pieces->size_bytes && pieces->inode);
			assert(pieces->gpa == regions[i].guest_phys_addr + done);
			assert(pieces->uaddr == regions[i].userspace_addr + done);
			done += pieces->size_bytes;
		}
		assert(done == regions[i].memory_size);
	}
	assert(!piece_count);
}

static void table_fuzz(struct fuzz_input *in, const struct maps_vma *vmas, size_t vma_count)
{
	struct vhost_memory_region regions[REGIONS_MAX] = { 0 };
	struct maps_piece pieces[PIECES_MAX];
	unsigned count = fuzz_u8(in) % (REGIONS_MAX + 1);
	const char *why = NULL;
	int r;

	for (unsigned i = 0; i < count; i++) {
		const struct maps_vma *vma = vma_count ? &vmas[fuzz_u8(in) % vma_count] : NULL;

		fuzz_take(in, &regions[i].guest_phys_addr, sizeof(uint64_t));
		regions[i].memory_size = (uint64_t)fuzz_u16(in) << (fuzz_u8(in) % 64);
		regions[i].userspace_addr = vma ? vma->start + fuzz_u16(in) : fuzz_u32(in);
	}
	r = maps_pieces(vmas, vma_count, regions, count, pieces, PIECES_MAX, &why);
	assert(r >= 0 || why);
	if (r >= 0)
		pieces_check(regions, count, pieces, (unsigned)r);
}

static void maps_fuzz(struct fuzz_input *in)
{
	size_t text_bytes = fuzz_u16(in);
	char *text = calloc(1, text_bytes + 1); /* of its own length: who reads beyond it is caught */
	struct maps_vma *vmas = NULL;
	size_t count = 0;

	fuzz_take(in, text, text_bytes);
	maps_tgid(text);
	maps_mount(text, fuzz_u8(in), fuzz_u8(in));
	if (!maps_parse(text, &vmas, &count)) {
		for (size_t i = 0; i < count; i++) {
			assert(vmas[i].start < vmas[i].end && (!i || vmas[i - 1].end <= vmas[i].start));
			assert(maps_find(vmas, count, vmas[i].end - 1) == &vmas[i]);
		}
		table_fuzz(in, vmas, count);
	}
	free(vmas);
	free(text);
}

static void table_check(const struct iotlb *iotlb)
{
	assert(iotlb->count <= IOTLB_WINDOWS_MAX);
	for (unsigned i = 0; i < iotlb->count; i++) {
		const struct map_window *window = &iotlb->windows[i];

		assert(window->size_bytes && window->gpa + window->size_bytes > window->gpa &&
		       window->access);
		assert(!i || window[-1].gpa + window[-1].size_bytes <= window->gpa);
	}
}

/* A byte tells how much of the message is there; most of them are whole. */
static void iotlb_fuzz(struct fuzz_input *in)
{
	static struct iotlb iotlb;

	iotlb.count = 0;
	while (in->left) {
		struct iotlb_message message;
		uint8_t data[IOTLB_MESSAGE_BYTES];
		size_t bytes =
			IOTLB_MESSAGE_BYTES - (fuzz_u8(in) < 0xf0 ? 0 : fuzz_u8(in) % IOTLB_MESSAGE_BYTES);
		const char *why = NULL;

		fuzz_take(in, data, sizeof(data));
		if (iotlb_parse(data, bytes, &message, &why)) {
			assert(why);
			continue;
		}
		if (message.type == VHOST_IOTLB_UPDATE)
			iotlb_update(&iotlb, &(struct map_window){ message.iova, message.uaddr,
								   message.size_bytes, message.perm });
		else
			iotlb_invalidate(&iotlb, message.iova, message.size_bytes);
		table_check(&iotlb);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct fuzz_input in = { data, bytes };

	if (fuzz_u8(&in) & 1)
		maps_fuzz(&in);
	else
		iotlb_fuzz(&in);
	return 0;
}
