/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/iommu.h"
#include "base/loop.h"
#include "device/device.h"
#include "mem/iotlb.h"
#include "mem/map.h"
#include <errno.h>
#include <stdlib.h>

/*
 * VIRTIO_F_ACCESS_PLATFORM: the addresses in rings, and those of the rings, are the driver's through an IOMMU
 * that only the peer knows. It tells piece by piece, when asked:
 *
 *	a queue meets an address that is not in the map -> it waits, and there is a question: ops->ask
 *	iommu_answered() -> a map with that window, which queues that run take at their next pop
 *	iommu_revoked() -> a map without the windows, by iommu_change(): when that is done, nobody uses them
 *
 * Each queue waits for DEVICE_MISSES_MAX addresses at most, so there is room for as many questions for each, and a
 * peer that does not take them piles nothing up. A question is asked once, again when something has been taken away or
 * another answer has come, and then from time to time: who has taken it may have died, or looked too early,
 * before the driver had mapped the address.
 *
 * What is mapped for reading is not written to, whatever the driver's ring says: the guest's IOMMU is there
 * to protect it from its own drivers. Writing to it is a miss as well. An answer that does not help is asked
 * for again only after a while.
 */

#define AGAIN_MS 500u

struct miss {
	uint64_t iova;
	unsigned access;
	bool asked; /* for this address, and not to be asked for again yet */
	bool unread; /* the transport has not taken the question */
};

/* Of a queue, in the order that the device has them in. */
struct misses {
	unsigned count;
	struct miss all[DEVICE_MISSES_MAX];
};

struct iommu {
	struct vireo_device *device;
	const struct iommu_ops *ops;
	void *opaque;
	struct map *memory; /* or NULL */
	struct iotlb iotlb, next; /* next: while a change is tried */
	struct iommu_pending {
		struct map *view; /* or NULL: there was no memory for one */
		int result; /* why */
		bool answer; /* to this: */
		struct map_window window;
		void (*done)(void *opaque);
		void *opaque;
	} pending; /* from -EAGAIN to the end of iommu_change() */
	struct loop_timer *timer;
	bool timed; /* it runs */
	struct misses misses[]; /* per queue of the device */
};

static void ask_again(void *opaque);

int iommu_new(struct vireo_device *device, struct loop *loop, const struct iommu_ops *ops, void *opaque,
	      struct iommu **ret_iommu)
{
	struct iommu *iommu = calloc(1, sizeof(*iommu) + device_queue_count(device) * sizeof(iommu->misses[0]));
	int r;

	if (!iommu)
		return -ENOMEM;
	iommu->device = device;
	iommu->ops = ops;
	iommu->opaque = opaque;
	r = loop_timer_new(loop, ask_again, iommu, &iommu->timer);
	if (r) {
		free(iommu);
		return r;
	}
	device_patient_set(device, true);
	*ret_iommu = iommu;
	return 0;
}

void iommu_free(struct iommu *iommu)
{
	if (!iommu)
		return;
	device_patient_set(iommu->device, false);
	loop_timer_free(&iommu->timer);
	device_log_memory_set(iommu->device, NULL);
	map_unref(iommu->memory);
	free(iommu);
}

void iommu_forget(struct iommu *iommu)
{
	iommu->iotlb.count = 0;
	for (unsigned i = 0; i < device_queue_count(iommu->device); i++)
		iommu->misses[i].count = 0;
	device_patient_set(iommu->device, true); /* and what queues wait for */
}

/* ---- the map ---- */

/*
 * The table is what `next` has, and so is the map. Where there is no memory for one, better none than the one before, which may show
 * what has been taken away.
 */
static int view_set(struct iommu *iommu)
{
	struct map *view = NULL;
	int r = iommu->memory ? iotlb_view(&iommu->next, iommu->memory, &view) : 0;

	if (device_map_takes_away(iommu->device, view)) {
		iommu->pending = (struct iommu_pending){ .view = view, .result = r };
		return -EAGAIN;
	}
	iotlb_copy(&iommu->iotlb, &iommu->next);
	device_map_set(iommu->device, view);
	return r;
}

/* What was missed is asked for anew, also if it has been asked for before. */
static void misses_renew(struct iommu *iommu)
{
	for (unsigned i = 0; i < device_queue_count(iommu->device); i++)
		for (unsigned nth = 0; nth < iommu->misses[i].count; nth++)
			iommu->misses[i].all[nth].asked = false;
}

/*
 * The same when a window has come, but for what it was to show, and for what is one of several: their answers are still on the
 * way.
 */
static void misses_renew_last(struct iommu *iommu, const struct map_window *window)
{
	for (unsigned i = 0; i < device_queue_count(iommu->device); i++) {
		struct misses *misses = &iommu->misses[i];

		if (misses->count == 1 && misses->all[0].iova - window->gpa >= window->size_bytes)
			misses->all[0].asked = false;
	}
}

/* Something may have been taken away. */
static int view_renew(struct iommu *iommu)
{
	int r = view_set(iommu);

	if (r == -EAGAIN)
		return r;
	misses_renew(iommu);
	device_misses_look(iommu->device);
	return r;
}

bool iommu_memory_takes_away(struct iommu *iommu, struct map *memory)
{
	struct map *view = NULL;
	bool takes;

	iotlb_copy(&iommu->next, &iommu->iotlb);
	takes = (memory && iotlb_view(&iommu->next, memory, &view)) || device_map_takes_away(iommu->device, view);
	map_unref(view);
	return takes;
}

int iommu_memory_set(struct iommu *iommu, struct map *memory)
{
	map_unref(iommu->memory);
	iommu->memory = memory ? map_ref(memory) : NULL;
	device_log_memory_set(iommu->device, memory);
	iotlb_copy(&iommu->next, &iommu->iotlb);
	return view_renew(iommu);
}

int iommu_answered(struct iommu *iommu, const struct map_window *window)
{
	struct map *alone;
	int r = iommu->memory ? map_view(iommu->memory, window, 1, &alone, NULL) : -EFAULT;

	if (r)
		return r;
	map_unref(alone);
	iotlb_copy(&iommu->next, &iommu->iotlb);
	iotlb_update(&iommu->next, window);
	r = view_set(iommu);
	if (r != -EAGAIN)
		misses_renew_last(iommu, window);
	iommu->pending.answer = true;
	iommu->pending.window = *window;
	return r;
}

int iommu_revoked(struct iommu *iommu, uint64_t iova, uint64_t size_bytes)
{
	if (!iommu->memory)
		return -EFAULT;
	if (device_map(iommu->device) && !iotlb_touches(&iommu->iotlb, iova, size_bytes)) {
		misses_renew(iommu);
		device_misses_look(iommu->device);
		return 0;
	}
	iotlb_copy(&iommu->next, &iommu->iotlb);
	iotlb_invalidate(&iommu->next, iova, size_bytes);
	return view_renew(iommu);
}

static void change_done(void *opaque)
{
	struct iommu *iommu = opaque;

	if (iommu->pending.answer) {
		misses_renew_last(iommu, &iommu->pending.window);
	} else {
		misses_renew(iommu);
		device_misses_look(iommu->device);
	}
	iommu->pending.done(iommu->pending.opaque);
}

void iommu_change(struct iommu *iommu, void (*done)(void *opaque), void *opaque)
{
	struct map *view = iommu->pending.view;

	iommu->pending.view = NULL;
	iommu->pending.done = done;
	iommu->pending.opaque = opaque;
	iotlb_copy(&iommu->iotlb, &iommu->next);
	device_map_change(iommu->device, view, false, change_done, iommu);
}

int iommu_changed(const struct iommu *iommu)
{
	return iommu->pending.result;
}

/* ---- questions ---- */

static struct miss *miss_unread(struct iommu *iommu)
{
	for (unsigned i = 0; i < device_queue_count(iommu->device); i++)
		for (unsigned nth = 0; nth < iommu->misses[i].count; nth++)
			if (iommu->misses[i].all[nth].unread)
				return &iommu->misses[i].all[nth];
	return NULL;
}

bool iommu_asks(const struct iommu *iommu)
{
	for (unsigned i = 0; i < device_queue_count(iommu->device); i++)
		for (unsigned nth = 0; nth < iommu->misses[i].count; nth++)
			if (iommu->misses[i].all[nth].unread)
				return true;
	return false;
}

bool iommu_ask(struct iommu *iommu, struct iommu_question *ret_question)
{
	struct miss *miss = miss_unread(iommu);

	if (!miss)
		return false;
	miss->unread = false;
	*ret_question = (struct iommu_question){ miss->iova, miss->access };
	return true;
}

/* The place of what has been asked for already, or NULL. */
static const struct miss *miss_find(const struct misses *misses, uint64_t iova, unsigned access)
{
	for (unsigned nth = 0; nth < misses->count; nth++) {
		const struct miss *miss = &misses->all[nth];

		if (miss->asked && miss->iova == iova && miss->access == access)
			return miss;
	}
	return NULL;
}

/* Does queue `index` wait? Then *misses are what for. *unasked is set if one of them has not been asked for. */
static bool misses_look(const struct iommu *iommu, unsigned index, struct misses *misses, bool *unasked)
{
	const struct misses before = *misses;
	uint64_t iova;
	bool write;

	misses->count = 0;
	while (device_queue_missed(iommu->device, index, misses->count, &iova, &write)) {
		unsigned access = write ? MAP_READ | MAP_WRITE : MAP_READ;
		const struct miss *known = miss_find(&before, iova, access);

		*unasked |= !known;
		misses->all[misses->count++] =
			known ? *known : (struct miss){ .iova = iova, .access = access, .asked = true, .unread = true };
	}
	return misses->count;
}

void iommu_look(struct iommu *iommu)
{
	bool waiting = false, unasked = false;

	for (unsigned i = 0; i < device_queue_count(iommu->device); i++)
		waiting |= misses_look(iommu, i, &iommu->misses[i], &unasked);
	if (waiting && !iommu->timed) { /* also while others are answered: this one may not be */
		iommu->timed = true;
		loop_timer_start(iommu->timer, AGAIN_MS);
	}
	if (unasked)
		iommu->ops->ask(iommu->opaque);
}

/* What has been taken, and is still missing. The last thing that is done here: ops->renew may go as far as iommu_free(). */
static void ask_again(void *opaque)
{
	struct iommu *iommu = opaque;

	iommu->timed = false;
	if (iommu_asks(iommu)) /* the peer could not take a question then, and can perhaps now */
		iommu->ops->ask(iommu->opaque);
	for (unsigned i = 0; i < device_queue_count(iommu->device); i++)
		for (unsigned nth = 0; nth < iommu->misses[i].count; nth++)
			iommu->misses[i].all[nth].asked = iommu->misses[i].all[nth].unread;
	if (device_misses_settle(iommu->device))
		iommu->ops->renew(iommu->opaque);
	else
		iommu_look(iommu);
}
