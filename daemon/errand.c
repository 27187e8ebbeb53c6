/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/errand.h"
#include "base/loop.h"
#include "base/util.h"
#include "daemon/aside.h"
#include <errno.h>
#include <stddef.h>
#include <time.h>

#define NAP_NS	   100000 /* grows to ... */
#define NAP_NS_MAX 10000000

static void errand_put(struct errand *errand)
{
	if (!__atomic_sub_fetch(&errand->refs, 1, __ATOMIC_ACQ_REL))
		errand->ops->drop(errand);
}

static void errand_do(void *argument)
{
	struct errand *errand = argument;

	errand->ops->work(errand);
	__atomic_store_n(&errand->ready, true, __ATOMIC_RELEASE);
	errand_put(errand);
}

static void look(void *opaque)
{
	struct errands *errands = opaque;
	struct errand **at = &errands->first;

	while (*at) {
		struct errand *errand = *at;

		if (!__atomic_load_n(&errand->ready, __ATOMIC_ACQUIRE)) {
			at = &errand->next;
			continue;
		}
		*at = errand->next;
		errands->count--;
		errand->ops->done(errand, 0);
		errand_put(errand);
		at = &errands->first; /* `done` may have changed the list */
	}
	if (!errands->first)
		return;
	errands->look_ms = min_u32(2 * errands->look_ms, ASIDE_LOOK_MS);
	loop_timer_start(errands->timer, errands->look_ms);
}

int errands_init(struct errands *errands, struct loop *loop, unsigned max)
{
	*errands = (struct errands){.max = max};
	return loop_timer_new(loop, look, errands, &errands->timer);
}

int errands_run(struct errands *errands, struct errand *errand)
{
	int err;

	if (errands->count >= errands->max)
		return -EAGAIN;
	errand->refs = 2;
	errand->ready = false;
	err = aside_run(NULL, errand_do, errand);
	if (err)
		return err;
	errand->next = errands->first;
	errands->first = errand;
	errands->count++;
	errands->look_ms = 1;
	loop_timer_start(errands->timer, errands->look_ms);
	return 0;
}

int errands_wait(struct errands *errands, const struct errand *errand, bool (*ending)(void *opaque), void *opaque)
{
	struct timespec nap = {.tv_nsec = NAP_NS};

	while (!__atomic_load_n(&errand->ready, __ATOMIC_ACQUIRE)) {
		if (ending(opaque))
			return -ECANCELED;
		nanosleep(&nap, NULL);
		nap.tv_nsec += nap.tv_nsec < NAP_NS_MAX ? nap.tv_nsec : 0;
	}
	look(errands);
	return 0;
}

void errands_end(struct errands *errands)
{
	struct errand *errand;

	while ((errand = errands->first)) {
		errands->first = errand->next;
		errands->count--;
		errand->ops->done(errand, -ECANCELED);
		errand_put(errand);
	}
}

void errands_fini(struct errands *errands)
{
	errands->max = 0; /* who comes while the rest of the daemon ends is refused, and so is who asks again in `done` */
	errands_end(errands);
	if (errands->timer)
		loop_timer_free(&errands->timer);
}
