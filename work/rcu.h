/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_RCU_H
#define WORK_RCU_H

/*
 * Quiescent-state RCU, as workers use it. Workers are readers: what they got from the published topology
 * they use until their next rcu_quiet() or rcu_leave(). The grace thread waits for them.
 *
 * ThreadSanitizer does not see inside liburcu; `key` names for it what a worker's quiet moment releases and the
 * grace thread acquires.
 */

#include <urcu-qsbr.h>

#if defined(__SANITIZE_THREAD__)
#define WORK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WORK_TSAN 1
#endif
#endif

#ifdef WORK_TSAN
#include <sanitizer/tsan_interface.h>
#define RCU_RELEASE(key) __tsan_release(key)
#define RCU_ACQUIRE(key) __tsan_acquire(key)
#else
#define RCU_RELEASE(key) ((void)(key))
#define RCU_ACQUIRE(key) ((void)(key))
#endif

static inline void rcu_worker_begin(void)
{
	urcu_qsbr_register_thread();
}

static inline void rcu_worker_end(void *key)
{
	RCU_RELEASE(key);
	urcu_qsbr_unregister_thread();
}

/* Nothing read before is used any more. */
static inline void rcu_quiet(void *key)
{
	RCU_RELEASE(key);
	urcu_qsbr_quiescent_state();
}

/* As quiet until rcu_enter(): around whatever sleeps. */
static inline void rcu_leave(void *key)
{
	RCU_RELEASE(key);
	urcu_qsbr_thread_offline();
}

static inline void rcu_enter(void)
{
	urcu_qsbr_thread_online();
}

static inline void rcu_wait(void *key)
{
	urcu_qsbr_synchronize_rcu();
	RCU_ACQUIRE(key);
}

#endif
