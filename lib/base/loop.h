/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>

/*
 * A set of watched fds: epoll with callbacks. A loop's own fd can be watched by another loop, which is how an
 * endpoint hands out one fd for all it waits for. One thread at a time.
 *
 * Safe inside callbacks: removing any watch (its pending event is dropped), adding, freeing the
 * object that a removed watch belongs to.
 */
struct loop;
struct loop_watch;

typedef void loop_fn(void *opaque, uint32_t events);

int loop_new(struct loop **ret_loop);
void loop_free(struct loop *loop); /* takes NULL; no watch is left */
int loop_fd(const struct loop *loop);

/* events as in epoll_ctl(2). The fd is borrowed and outlives the watch. -EEXIST, -ENOMEM, -EPERM (cannot be polled). */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *opaque,
	     struct loop_watch **ret_watch);
void loop_change(struct loop_watch *watch, uint32_t events);
void loop_remove(struct loop_watch **watch); /* empties the variable; takes an empty one */

/* Waits up to timeout_ms (-1: for ever, 0: not at all) and runs callbacks. Returns how many ran, or -errno. */
int loop_dispatch(struct loop *loop, int timeout_ms);

/* One-shot timers on a timerfd of their own. */
struct loop_timer;
int loop_timer_new(struct loop *loop, void (*fn)(void *opaque), void *opaque, struct loop_timer **ret_timer);
void loop_timer_start(struct loop_timer *timer, uint64_t delay_ms); /* restarts a running one */
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_free(struct loop_timer **timer);

#endif
