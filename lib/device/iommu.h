/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_IOMMU_H
#define DEVICE_IOMMU_H

/*
 * A device behind a guest's IOMMU (VIRTIO_F_ACCESS_PLATFORM), whatever the transport: what the peer has told of the driver's
 * addresses, the map that it makes, and what has to be asked for. The transport carries the questions and the answers, in the
 * words that its peer has for them. All in the control thread.
 */

#include "mem/view.h"
#include <stdbool.h>
#include <stdint.h>

struct iommu;
struct loop;
struct map;
struct vireo_device;

/* A question: where does `iova` lie? Permitted has to be `access` (MAP_READ, MAP_WRITE). */
struct iommu_question {
	uint64_t iova;
	unsigned access;
};

struct iommu_ops {
	/* There is a question that has not been asked: iommu_ask() has it, now or when the peer can take it. */
	void (*ask)(void *opaque);
	/* A queue may start without what it waited for: iommu_look(), once device_resume() can be called. */
	void (*renew)(void *opaque);
};

/* All queues are quiet. The table is empty: what was mapped before, nobody has told. -ENOMEM, or loop_timer_new()'s. */
int iommu_new(struct vireo_device *device, struct loop *loop, const struct iommu_ops *ops, void *opaque,
	      struct iommu **ret_iommu);
void iommu_free(struct iommu *iommu); /* takes NULL; all queues are quiet */

/* All queues are quiet: it is as new, but for the memory. Before iommu_memory_set(), which makes the map of it. */
void iommu_forget(struct iommu *iommu);

/*
 * The peer's memory is another one (its reference is the caller's), or none. -ENOMEM. All queues are quiet, or what they see is
 * taken from none of them.
 */
int iommu_memory_set(struct iommu *iommu, struct map *memory);
bool iommu_memory_takes_away(struct iommu *iommu, struct map *memory);

/*
 * An answer: a window, not empty and without wrapping round, takes the place of what it overlaps. Queues may run.
 * -EAGAIN: something goes by it (what it overlaps, or the oldest of too many), so nothing has been done: iommu_change() does it.
 * -EFAULT: not in the peer's memory, or there is none. -ENOMEM.
 */
int iommu_answered(struct iommu *iommu, const struct map_window *window);
/* Windows that overlap the range go, see iotlb_invalidate(). -EAGAIN, as above. -EFAULT: no memory. -ENOMEM: there is no map now. */
int iommu_revoked(struct iommu *iommu, uint64_t iova, uint64_t size_bytes);
/*
 * The next call after -EAGAIN. `done` runs inside it or later, when nobody uses what has gone: only queues whose own rings lay there
 * are made quiet for that. No other quiesce may be pending. iommu_changed(), from then on: 0; -ENOMEM: there is no map now.
 */
void iommu_change(struct iommu *iommu, void (*done)(void *opaque), void *opaque);
int iommu_changed(const struct iommu *iommu);

/* After device_resume(): asks for what queues wait for. */
void iommu_look(struct iommu *iommu);

/* The next question, which is asked by that; false: there is none. Asked again from time to time while it has no answer. */
bool iommu_ask(struct iommu *iommu, struct iommu_question *ret_question);
bool iommu_asks(const struct iommu *iommu); /* is there one? */

#endif
