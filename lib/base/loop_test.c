/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "base/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* An object on the heap, so that a callback for a freed one shows under ASan. */
struct object {
	struct loop *loop;
	struct loop_watch *watch;
	struct object **victim; /* freed in the callback */
	struct object **self;
	int fd;
	int calls;
	int *calls_total;
};

static void object_free(struct object **object)
{
	struct object *o = *object;

	if (!o)
		return;
	*object = NULL;
	loop_remove(&o->watch);
	fd_close(&o->fd);
	free(o);
}

static void object_ready(void *opaque, uint32_t events)
{
	struct object *o = opaque;

	o->calls++;
	if (o->calls_total)
		++*o->calls_total;
	fd_event_clear(o->fd);
	if (o->victim)
		object_free(o->victim);
}

static struct object *object_new(struct loop *loop, loop_fn *fn)
{
	struct object *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->loop = loop;
	assert_int_equal(fd_event_new(&o->fd), 0);
	assert_int_equal(loop_add(loop, o->fd, EPOLLIN, fn, o, &o->watch), 0);
	return o;
}

static struct loop *new_loop(void)
{
	struct loop *loop;

	assert_int_equal(loop_new(&loop), 0);
	return loop;
}

static void callback_runs_while_its_fd_is_ready(void **state)
{
	struct loop *loop = new_loop();
	struct object *o = object_new(loop, object_ready);

	assert_int_equal(loop_dispatch(loop, 0), 0);
	fd_event_raise(o->fd);
	assert_int_equal(loop_dispatch(loop, -1), 1);
	assert_int_equal(o->calls, 1);
	assert_int_equal(loop_dispatch(loop, 0), 0);
	object_free(&o);
	loop_free(loop);
}

static void object_freed_during_dispatch_is_not_called_any_more(void **state)
{
	struct loop *loop = new_loop();
	struct object *a = object_new(loop, object_ready), *b = object_new(loop, object_ready);
	int calls = 0;

	/* Whichever comes first frees the other, whose event is in the same batch. */
	a->victim = &b;
	b->victim = &a;
	a->calls_total = b->calls_total = &calls;
	fd_event_raise(a->fd);
	fd_event_raise(b->fd);
	assert_int_equal(loop_dispatch(loop, -1), 1);
	assert_int_equal(calls, 1);
	assert_true(!a != !b);
	object_free(&a);
	object_free(&b);
	loop_free(loop);
}

static void object_may_free_itself_in_its_callback(void **state)
{
	struct loop *loop = new_loop();
	struct object *o = object_new(loop, object_ready);

	o->victim = &o;
	fd_event_raise(o->fd);
	assert_int_equal(loop_dispatch(loop, -1), 1);
	assert_null(o);
	loop_free(loop);
}

static void replace_self(void *opaque, uint32_t events)
{
	struct object *o = opaque, **self = o->self;
	struct loop *loop = o->loop;
	int *calls = o->calls_total;

	++*calls;
	object_free(self);
	*self = object_new(loop, object_ready); /* gets the same fd number */
	(*self)->calls_total = calls;
}

static void watch_on_a_reused_fd_number_gets_no_stale_event(void **state)
{
	struct loop *loop = new_loop();
	struct object *o = object_new(loop, replace_self);
	int calls = 0;

	o->self = &o;
	o->calls_total = &calls;
	fd_event_raise(o->fd);
	assert_int_equal(loop_dispatch(loop, -1), 1);
	assert_int_equal(loop_dispatch(loop, 0), 0);
	assert_int_equal(calls, 1);
	fd_event_raise(o->fd);
	assert_int_equal(loop_dispatch(loop, -1), 1);
	assert_int_equal(calls, 2);
	object_free(&o);
	loop_free(loop);
}

static void mute(void *opaque, uint32_t events)
{
	struct object *o = opaque;

	o->calls++;
	loop_change((*o->victim)->watch, 0);
}

static void events_that_are_no_longer_wanted_are_dropped(void **state)
{
	struct loop *loop = new_loop();
	struct object *a = object_new(loop, mute), *b = object_new(loop, mute);

	a->victim = &b;
	b->victim = &a;
	fd_event_raise(a->fd);
	fd_event_raise(b->fd);
	assert_int_equal(loop_dispatch(loop, -1), 1);
	assert_int_equal(a->calls + b->calls, 1);
	loop_change(a->watch, EPOLLIN);
	loop_change(b->watch, EPOLLIN);
	assert_true(loop_dispatch(loop, -1) > 0);
	object_free(&a);
	object_free(&b);
	loop_free(loop);
}

static void dispatch_inner(void *opaque, uint32_t events)
{
	loop_dispatch(opaque, 0);
}

static void loop_can_be_watched_by_another_loop(void **state)
{
	struct loop *outer = new_loop(), *inner = new_loop();
	struct object *o = object_new(inner, object_ready);
	struct loop_watch *watch;

	assert_int_equal(loop_add(outer, loop_fd(inner), EPOLLIN, dispatch_inner, inner, &watch), 0);
	assert_int_equal(loop_dispatch(outer, 0), 0);
	fd_event_raise(o->fd);
	assert_int_equal(loop_dispatch(outer, -1), 1);
	assert_int_equal(o->calls, 1);
	assert_int_equal(loop_dispatch(outer, 0), 0);
	object_free(&o);
	loop_remove(&watch);
	loop_free(inner);
	loop_free(outer);
}

static void free_with_loop(void *opaque, uint32_t events)
{
	struct object *o = opaque;
	struct loop *loop = o->loop;

	object_free(o->self);
	loop_free(loop);
}

static void loop_may_be_freed_in_its_own_callback(void **state)
{
	struct loop *loop = new_loop();
	struct object *o = object_new(loop, free_with_loop);

	o->self = &o;
	fd_event_raise(o->fd);
	assert_int_equal(loop_dispatch(loop, -1), 1);
	assert_null(o);
}

static void dispatch_again_and_die(void *opaque, uint32_t events)
{
	struct object *o = opaque;
	struct loop *loop = o->loop;

	o->calls++;
	fd_event_clear(o->fd);
	object_free(o->self);
	/* Must not free what the outer dispatch still looks at. */
	assert_int_equal(loop_dispatch(loop, 0), 0);
}

static void callback_may_dispatch_the_same_loop(void **state)
{
	struct loop *loop = new_loop();
	struct object *o = object_new(loop, dispatch_again_and_die);

	o->self = &o;
	fd_event_raise(o->fd);
	assert_int_equal(loop_dispatch(loop, -1), 1);
	assert_null(o);
	loop_free(loop);
}

static void more_watches_than_a_batch_are_all_served(void **state)
{
	struct loop *loop = new_loop();
	struct object *objects[200];
	int calls = 0;

	for (int i = 0; i < 200; i++) {
		objects[i] = object_new(loop, object_ready);
		objects[i]->calls_total = &calls;
		fd_event_raise(objects[i]->fd);
	}
	while (loop_dispatch(loop, 0) > 0)
		;
	assert_int_equal(calls, 200);
	for (int i = 0; i < 200; i++)
		object_free(&objects[i]);
	loop_free(loop);
}

static void what_cannot_be_watched_is_refused(void **state)
{
	struct loop *loop = new_loop();
	struct object *o = object_new(loop, object_ready);
	struct loop_watch *untouched = (struct loop_watch *)&o, *watch = untouched;
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_int_equal(loop_add(loop, file, EPOLLIN, object_ready, o, &watch), -EPERM);
	assert_int_equal(loop_add(loop, o->fd, EPOLLIN, object_ready, o, &watch), -EEXIST);
	assert_int_equal(loop_add(loop, -1, EPOLLIN, object_ready, o, &watch), -EBADF);
	assert_ptr_equal(watch, untouched);
	close(file);
	object_free(&o);
	loop_free(loop);
}

static void removing_and_freeing_nothing_is_fine(void **state)
{
	struct loop_watch *watch = NULL;
	struct loop_timer *timer = NULL;

	loop_remove(&watch);
	loop_timer_free(&timer);
	loop_free(NULL);
}

/* ---- timers ---- */

struct clock {
	struct loop_timer *timer, *other;
	int expired;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void expired(void *opaque)
{
	((struct clock *)opaque)->expired++;
}

static void timer_expires_once_and_not_early(void **state)
{
	struct loop *loop = new_loop();
	struct clock c = { 0 };
	uint64_t start = now_ms();

	assert_int_equal(loop_timer_new(loop, expired, &c, &c.timer), 0);
	assert_int_equal(loop_dispatch(loop, 5), 0); /* not started */
	loop_timer_start(c.timer, 20);
	assert_int_equal(loop_dispatch(loop, 10000), 1);
	assert_int_equal(c.expired, 1);
	assert_true(now_ms() - start >= 20);
	assert_int_equal(loop_dispatch(loop, 30), 0);
	loop_timer_free(&c.timer);
	assert_null(c.timer);
	loop_free(loop);
}

static void timer_of_no_delay_expires_at_once(void **state)
{
	struct loop *loop = new_loop();
	struct clock c = { 0 };

	assert_int_equal(loop_timer_new(loop, expired, &c, &c.timer), 0);
	loop_timer_start(c.timer, 0);
	assert_int_equal(loop_dispatch(loop, 10000), 1);
	assert_int_equal(c.expired, 1);
	loop_timer_free(&c.timer);
	loop_free(loop);
}

static void stopped_timer_does_not_expire(void **state)
{
	struct loop *loop = new_loop();
	struct clock c = { 0 };

	assert_int_equal(loop_timer_new(loop, expired, &c, &c.timer), 0);
	loop_timer_start(c.timer, 5);
	loop_timer_stop(c.timer);
	assert_int_equal(loop_dispatch(loop, 30), 0);
	loop_timer_start(c.timer, UINT64_MAX); /* no overflow into the past */
	assert_int_equal(loop_dispatch(loop, 30), 0);
	loop_timer_start(c.timer, 1); /* restarts */
	assert_int_equal(loop_dispatch(loop, 10000), 1);
	assert_int_equal(c.expired, 1);
	loop_timer_free(&c.timer);
	loop_free(loop);
}

static void stop_the_other(void *opaque)
{
	struct clock *c = opaque;

	c->expired++;
	loop_timer_stop(c->other);
	loop_timer_stop(c->timer);
}

static void timer_stopped_by_a_callback_of_the_same_batch_does_not_expire(void **state)
{
	struct loop *loop = new_loop();
	struct clock c = { 0 };

	assert_int_equal(loop_timer_new(loop, stop_the_other, &c, &c.timer), 0);
	assert_int_equal(loop_timer_new(loop, stop_the_other, &c, &c.other), 0);
	loop_timer_start(c.timer, 0);
	loop_timer_start(c.other, 0);
	usleep(2000);
	loop_dispatch(loop, 10000);
	assert_int_equal(c.expired, 1);
	loop_timer_free(&c.timer);
	loop_timer_free(&c.other);
	loop_free(loop);
}

static void free_timer(void *opaque)
{
	struct clock *c = opaque;

	c->expired++;
	loop_timer_free(&c->timer);
}

static void timer_may_be_freed_in_its_callback(void **state)
{
	struct loop *loop = new_loop();
	struct clock c = { 0 };

	assert_int_equal(loop_timer_new(loop, free_timer, &c, &c.timer), 0);
	loop_timer_start(c.timer, 1);
	assert_int_equal(loop_dispatch(loop, 10000), 1);
	assert_int_equal(c.expired, 1);
	assert_null(c.timer);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(callback_runs_while_its_fd_is_ready),
		cmocka_unit_test(object_freed_during_dispatch_is_not_called_any_more),
		cmocka_unit_test(object_may_free_itself_in_its_callback),
		cmocka_unit_test(watch_on_a_reused_fd_number_gets_no_stale_event),
		cmocka_unit_test(events_that_are_no_longer_wanted_are_dropped),
		cmocka_unit_test(loop_can_be_watched_by_another_loop),
		cmocka_unit_test(loop_may_be_freed_in_its_own_callback),
		cmocka_unit_test(callback_may_dispatch_the_same_loop),
		cmocka_unit_test(more_watches_than_a_batch_are_all_served),
		cmocka_unit_test(what_cannot_be_watched_is_refused),
		cmocka_unit_test(removing_and_freeing_nothing_is_fine),
		cmocka_unit_test(timer_expires_once_and_not_early),
		cmocka_unit_test(timer_of_no_delay_expires_at_once),
		cmocka_unit_test(stopped_timer_does_not_expire),
		cmocka_unit_test(timer_stopped_by_a_callback_of_the_same_batch_does_not_expire),
		cmocka_unit_test(timer_may_be_freed_in_its_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
