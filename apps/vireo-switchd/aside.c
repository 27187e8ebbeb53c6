/* SPDX-License-Identifier: BSD-3-Clause */
#include "aside.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct aside {
	void (*work)(void *argument);
	void *argument;
	bool rtnl;
};

/* Atomic. The threads belong to nobody, and may outlive whatever they work for by a moment. */
static unsigned under_way;

static void *aside_main(void *opaque)
{
	struct aside aside = *(struct aside *)opaque;

	free(opaque);
	aside.work(aside.argument);
	if (aside.rtnl)
		__atomic_fetch_sub(&under_way, 1, __ATOMIC_RELEASE);
	return NULL;
}

static int run(void (*work)(void *argument), void *argument, bool rtnl)
{
	struct aside *aside = malloc(sizeof(*aside));
	pthread_attr_t attributes;
	pthread_t thread;
	int err;

	if (!aside)
		return -ENOMEM;
	*aside = (struct aside){.work = work, .argument = argument, .rtnl = rtnl};
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	err = -pthread_create(&thread, &attributes, aside_main, aside);
	pthread_attr_destroy(&attributes);
	if (err)
		free(aside);
	return err;
}

int aside_run(void *opaque, void (*work)(void *argument), void *argument)
{
	return run(work, argument, false);
}

int aside_run_rtnl(void *opaque, void (*work)(void *argument), void *argument)
{
	int err;

	__atomic_fetch_add(&under_way, 1, __ATOMIC_RELAXED);
	err = run(work, argument, true);
	if (err)
		__atomic_fetch_sub(&under_way, 1, __ATOMIC_RELAXED);
	return err;
}

bool aside_rtnl(void)
{
	return __atomic_load_n(&under_way, __ATOMIC_ACQUIRE);
}
