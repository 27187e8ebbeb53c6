/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RING_ORDER_H
#define RING_ORDER_H

/*
 * Memory order between us and the driver. Each pair names our side and the driver's (in brackets, where Linux' virtio_ring.c has it):
 *
 *  pair AVAIL   we: acquire load of avail->idx (packed: of the head's flags), then read ring and descriptors
 *               (quad.h: one load of the whole descriptor instead, which x86 orders like that)
 *               driver: writes descriptors and ring, then release store of it [virtio_wmb() in virtqueue_add]
 *  pair USED    we: write payload and used entries, then release store of used->idx (packed: of the first
 *               entry's flags). Our reads of the chain are before it as well: the driver may reuse it then
 *               driver: acquire load of it, then read entries and payload [virtio_rmb() in virtqueue_get_buf]
 *  pair KICK    we: store "kick me" (avail_event, used->flags, device event), ring_fence(), look for chains
 *               driver: makes chains available, full barrier, reads "kick me" [virtio_mb() in kick_prepare]
 *  pair SIGNAL  we: show used entries, ring_fence(), read "signal me" (used_event, avail->flags, driver
 *               event)
 *               driver: store "signal me", full barrier, looks for used entries [virtio_store_mb() in
 *               enable_cb]
 *
 * KICK and SIGNAL are the store-load pattern that needs a full barrier on both sides: whoever comes second
 * sees the other's store, so either the notification is sent or the sleeper-to-be sees the work. wakeup_test.c goes through every order.
 */

/* ThreadSanitizer knows C's memory model, and nothing of what a CPU promises beyond it. */
#if defined(__SANITIZE_THREAD__)
#define RING_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RING_TSAN 1
#endif
#endif
#ifndef RING_TSAN
#define RING_TSAN 0
#endif

/* gcc has a warning that its thread sanitizer does not model fences; the barrier itself is there. */
static inline void ring_fence(void)
{
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

#endif
