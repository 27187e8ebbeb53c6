/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/iotlb.h"
#include <errno.h>
#include <string.h>

_Static_assert(MAP_VIEW_PARTS_MAX >= MAP_REGIONS_MAX, "a window that has been taken alone has room");

/* The first window that ends beyond `iova`. */
static unsigned window_at(const struct iotlb *iotlb, uint64_t iova)
{
	unsigned low = 0, high = iotlb->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (iotlb->windows[middle].gpa + iotlb->windows[middle].size_bytes <= iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Moves the windows from `from` on to `to`. */
static void windows_move(struct iotlb *iotlb, unsigned from, unsigned to)
{
	unsigned count = iotlb->count - from;

	memmove(&iotlb->windows[to], &iotlb->windows[from], count * sizeof(iotlb->windows[0]));
	memmove(&iotlb->numbers[to], &iotlb->numbers[from], count * sizeof(iotlb->numbers[0]));
	iotlb->count = to + count;
}

bool iotlb_touches(const struct iotlb *iotlb, uint64_t iova, uint64_t size_bytes)
{
	unsigned at = window_at(iotlb, iova);

	return at < iotlb->count && iotlb->windows[at].gpa <= iova + (size_bytes - 1);
}

void iotlb_invalidate(struct iotlb *iotlb, uint64_t iova, uint64_t size_bytes)
{
	unsigned first = window_at(iotlb, iova), end = first;

	while (end < iotlb->count && iotlb->windows[end].gpa <= iova + (size_bytes - 1))
		end++;
	windows_move(iotlb, end, first);
}

void iotlb_forget_oldest(struct iotlb *iotlb)
{
	unsigned oldest = 0;

	for (unsigned i = 1; i < iotlb->count; i++)
		if (iotlb->numbers[i] < iotlb->numbers[oldest])
			oldest = i;
	windows_move(iotlb, oldest + 1, oldest);
}

void iotlb_update(struct iotlb *iotlb, const struct map_window *window)
{
	unsigned at;

	iotlb_invalidate(iotlb, window->gpa, window->size_bytes);
	if (iotlb->count == IOTLB_WINDOWS_MAX)
		iotlb_forget_oldest(iotlb);
	at = window_at(iotlb, window->gpa);
	windows_move(iotlb, at, at + 1);
	iotlb->windows[at] = *window;
	iotlb->numbers[at] = iotlb->made++;
}

/* What is in it, and not the room that it has. */
void iotlb_copy(struct iotlb *to, const struct iotlb *from)
{
	to->count = from->count;
	to->made = from->made;
	memcpy(to->windows, from->windows, from->count * sizeof(from->windows[0]));
	memcpy(to->numbers, from->numbers, from->count * sizeof(from->numbers[0]));
}

int iotlb_view(struct iotlb *iotlb, const struct map *memory, struct map **ret_map)
{
	int r;

	while ((r = map_view(memory, iotlb->windows, iotlb->count, ret_map, NULL)) == -E2BIG)
		iotlb_forget_oldest(iotlb); /* there are more windows than one: the one has room */
	if (r != -EFAULT)
		return r;
	iotlb->count = 0;
	return map_view(memory, iotlb->windows, 0, ret_map, NULL);
}
