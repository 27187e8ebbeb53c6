/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/loop.h"
#include "mem/iotlb.h"
#include "transport/cuse/cuse_internal.h"
#include "wire/iotlb.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * VIRTIO_F_ACCESS_PLATFORM: the addresses in rings, and those of the rings, are the driver's through an IOMMU
 * that only the caller knows. He tells piece by piece, when asked:
 *
 *	a queue meets an address that is not in the map -> it waits, and MISS lies ready to be read
 *	the caller reads MISS, looks, and writes UPDATE -> a map with that window, once all queues are quiet
 *	the caller writes INVALIDATE -> a map without the windows, likewise: when the write returns, nobody
 *	uses them
 *
 * Each queue waits for DEVICE_MISSES_MAX addresses at most, so there is room for as many MISSes for each, and a
 * caller that does not read piles nothing up. MISS is told once, again when something has been taken away or
 * another answer has come, and then from time to time: who has read it may have died, or looked too early,
 * before the driver had mapped the address.
 *
 * What is mapped for reading is not written to, whatever the driver's ring says: the guest's IOMMU is there
 * to protect it from its own drivers. Writing to it is a miss as well. An answer that does not help is asked
 * for again only after a while.
 */

#define AGAIN_MS 500u

_Static_assert(MAP_READ == VHOST_ACCESS_RO && MAP_WRITE == VHOST_ACCESS_WO,
	       "UPDATE's permissions are a window's");

struct miss {
	uint64_t iova;
	uint8_t perm;
	bool asked; /* for this address, and not to be asked for again yet */
	bool unread;
};

/* Of a queue, in the order that the device has them in. */
struct misses {
	unsigned count;
	struct miss all[DEVICE_MISSES_MAX];
};

static void ask_again(void *opaque);

/* ---- the map ---- */

static void forget_misses(struct opener *opener)
{
	memset(opener->misses, 0, device_queue_count(opener->device) * sizeof(*opener->misses));
}

static int view_set(struct opener *opener, const char **why)
{
	struct map *view;
	int r = iotlb_view(opener->iotlb, opener->memory, &view);

	*why = "out of memory";
	/* Better no map than the one before, which may show what has been taken away. */
	device_map_set(opener->device, r ? NULL : view);
	return r;
}

/* What was missed is asked for anew, also if it has been asked for before. */
static void misses_renew(struct opener *opener)
{
	for (unsigned i = 0; opener->iommu && i < device_queue_count(opener->device); i++)
		for (unsigned nth = 0; nth < opener->misses[i].count; nth++)
			opener->misses[i].all[nth].asked = false;
}

/*
 * The same when a window has come, but for what it was to show, and for what is one of several: their answers are still on the
 * way.
 */
static void misses_renew_last(struct opener *opener, const struct map_window *window)
{
	for (unsigned i = 0; i < device_queue_count(opener->device); i++) {
		struct misses *misses = &opener->misses[i];

		if (misses->count == 1 && misses->all[0].iova - window->gpa >= window->size_bytes)
			misses->all[0].asked = false;
	}
}

static int map_apply(struct opener *opener, const char **why)
{
	if (opener->memory && opener->iommu)
		return view_set(opener, why);
	device_map_set(opener->device, opener->memory ? map_ref(opener->memory) : NULL);
	return 0;
}

int iommu_apply(struct opener *opener, const char **why)
{
	misses_renew(opener);
	device_misses_look(opener->device);
	return map_apply(opener, why);
}

/*
 * Also if it was on before: as with the kernel's vhost the table begins empty whenever it is asked for. The
 * driver may be a new one by then, and what its predecessor unmapped while the rings stood still, nobody has
 * told.
 */
int iommu_set(struct opener *opener, bool on, const char **why)
{
	if (!on && !opener->iommu)
		return 0;
	if (on && !opener->iotlb) {
		opener->iotlb = calloc(1, sizeof(*opener->iotlb));
		opener->misses = calloc(device_queue_count(opener->device), sizeof(*opener->misses));
	}
	if (on && (!opener->iotlb || !opener->misses)) {
		*why = "out of memory";
		return -ENOMEM;
	}
	if (opener->iotlb)
		opener->iotlb->count = 0;
	if (opener->misses)
		forget_misses(opener);
	if (!opener->miss_timer) {
		int r = loop_timer_new(opener->endpoint->loop, ask_again, opener, &opener->miss_timer);

		if (r) {
			*why = "no timer";
			return r;
		}
	}
	opener->iommu = on;
	device_patient_set(opener->device, on);
	return iommu_apply(opener, why);
}

void iommu_forget(struct opener *opener)
{
	struct request *request;

	map_unref(opener->memory);
	free(opener->iotlb);
	free(opener->misses);
	opener->memory = NULL;
	opener->iotlb = NULL;
	opener->misses = NULL;
	if (opener->miss_timer)
		loop_timer_free(&opener->miss_timer);
	opener->iommu = opener->miss_timed = false;
	opener->backend_features = 0;
	while ((request = opener->readers)) {
		opener->readers = request->next;
		request->answers->error(request, -EBADFD);
	}
}

/* ---- MISS ---- */

static struct miss *miss_unread(const struct opener *opener)
{
	if (!opener->iommu)
		return NULL;
	for (unsigned i = 0; i < device_queue_count(opener->device); i++)
		for (unsigned nth = 0; nth < opener->misses[i].count; nth++)
			if (opener->misses[i].all[nth].unread)
				return &opener->misses[i].all[nth];
	return NULL;
}

bool iommu_readable(const struct opener *opener)
{
	return miss_unread(opener);
}

static void miss_tell(const struct opener *opener, struct miss *miss, struct request *request)
{
	const struct iotlb_message message = {
		.v2 = opener->backend_features & (UINT64_C(1) << VHOST_BACKEND_F_IOTLB_MSG_V2),
		.type = VHOST_IOTLB_MISS,
		.iova = miss->iova,
		.perm = miss->perm,
	};
	uint8_t data[IOTLB_MESSAGE_BYTES];

	iotlb_build(&message, data);
	miss->unread = false;
	request->answers->done(request, data, sizeof(data));
}

void iommu_read(struct opener *opener, struct request *request)
{
	struct request **end = &opener->readers;
	struct miss *miss = miss_unread(opener);

	if (!opener->iommu)
		request->answers->error(request, -EBADFD);
	else if (request->room_bytes < IOTLB_MESSAGE_BYTES)
		request->answers->done(request, NULL, 0);
	else if (miss)
		miss_tell(opener, miss, request);
	else if (request->nonblocking)
		request->answers->error(request, -EAGAIN);
	else {
		while (*end)
			end = &(*end)->next;
		*end = request;
	}
}

bool iommu_reader_leave(struct opener *opener, struct request *request)
{
	struct request **at = &opener->readers;

	while (*at && *at != request)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = request->next;
	return true;
}

/* The place of what has been asked for already, or NULL. */
static const struct miss *miss_find(const struct misses *misses, uint64_t iova, uint8_t perm)
{
	for (unsigned nth = 0; nth < misses->count; nth++) {
		const struct miss *miss = &misses->all[nth];

		if (miss->asked && miss->iova == iova && miss->perm == perm)
			return miss;
	}
	return NULL;
}

/* Does queue `index` wait? Then *misses are what for. *unasked is set if one of them has not been asked for. */
static bool misses_look(const struct opener *opener, unsigned index, struct misses *misses, bool *unasked)
{
	const struct misses before = *misses;
	uint64_t iova;
	bool write;

	misses->count = 0;
	while (device_queue_missed(opener->device, index, misses->count, &iova, &write)) {
		uint8_t perm = write ? VHOST_ACCESS_RW : VHOST_ACCESS_RO;
		const struct miss *known = miss_find(&before, iova, perm);

		*unasked |= !known;
		misses->all[misses->count++] =
			known ? *known : (struct miss){ .iova = iova, .perm = perm, .asked = true, .unread = true };
	}
	return misses->count;
}

void iommu_missed(struct opener *opener)
{
	bool waiting = false, unasked = false;
	struct miss *miss;

	for (unsigned i = 0; opener->iommu && i < device_queue_count(opener->device); i++)
		waiting |= misses_look(opener, i, &opener->misses[i], &unasked);
	if (waiting && !opener->miss_timed) { /* also while others are answered: this one may not be */
		opener->miss_timed = true;
		loop_timer_start(opener->miss_timer, AGAIN_MS);
	}
	while (opener->readers && (miss = miss_unread(opener))) {
		struct request *request = opener->readers;

		opener->readers = request->next;
		miss_tell(opener, miss, request);
	}
	if (unasked && miss_unread(opener) && opener->poll_handle)
		opener->poll_ops->wake(opener->poll_handle);
}

/* What has been read, and is still missing. */
static void ask_again(void *opaque)
{
	struct opener *opener = opaque;

	opener->miss_timed = false;
	for (unsigned i = 0; opener->iommu && i < device_queue_count(opener->device); i++)
		for (unsigned nth = 0; nth < opener->misses[i].count; nth++)
			opener->misses[i].all[nth].asked = opener->misses[i].all[nth].unread;
	if (opener->iommu && device_misses_settle(opener->device))
		opener_renew(opener);
	else
		iommu_missed(opener);
}

/* ---- UPDATE, INVALIDATE ---- */

/* All queues are quiet. */
int iommu_write(struct opener *opener, const struct request *request, const char **why)
{
	struct iotlb_message message;
	struct map_window window;
	struct map *view;
	int r = iotlb_parse(request->in, request->in_bytes, &message, why);

	if (r)
		return r;
	*why = "no IOTLB: VIRTIO_F_ACCESS_PLATFORM or memory has not been set";
	if (!opener->iommu || !opener->memory)
		return -EFAULT;
	if (message.type == VHOST_IOTLB_INVALIDATE) {
		iotlb_invalidate(opener->iotlb, message.iova, message.size_bytes);
		return iommu_apply(opener, why);
	}
	window = (struct map_window){ message.iova, message.uaddr, message.size_bytes, message.perm };
	*why = "an IOTLB entry outside the memory table";
	r = map_view(opener->memory, &window, 1, &view, NULL);
	if (r)
		return r;
	map_unref(view);
	iotlb_update(opener->iotlb, &window);
	misses_renew_last(opener, &window);
	return map_apply(opener, why);
}
