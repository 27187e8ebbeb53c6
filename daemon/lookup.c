/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/lookup.h"
#include "daemon/aside.h"
#include "base/loop.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lookup {
	struct lookup *next;
	lookup_done_fn *done;
	void *opaque;
	const struct spec_kinds *kinds;
	char *text;
	/* The thread's, until it has put down its reference; then the control thread's. */
	int err;
	struct spec *spec;
	char why[SPEC_WHY_BYTES];
	/* Atomic: the thread's and the control thread's. */
	unsigned refs;
	bool ready;
};

static void lookup_free(struct lookup *lookup)
{
	free(lookup->text);
	free(lookup->spec);
	free(lookup);
}

static void lookup_put(struct lookup *lookup)
{
	if (__atomic_sub_fetch(&lookup->refs, 1, __ATOMIC_ACQ_REL))
		return;
	lookup_free(lookup);
}

static void lookup_do(void *argument)
{
	struct lookup *lookup = argument;

	lookup->err = spec_parse(lookup->kinds, lookup->text, lookup->spec, lookup->why);
	__atomic_store_n(&lookup->ready, true, __ATOMIC_RELEASE);
	lookup_put(lookup);
}

static void look(void *opaque)
{
	struct lookups *lookups = opaque;
	struct lookup **at = &lookups->first;

	while (*at) {
		struct lookup *lookup = *at;

		if (!__atomic_load_n(&lookup->ready, __ATOMIC_ACQUIRE)) {
			at = &lookup->next;
			continue;
		}
		*at = lookup->next;
		lookups->count--;
		lookup->done(lookup->opaque, lookup->err, lookup->spec, lookup->why);
		lookup_put(lookup);
		at = &lookups->first; /* `done` may have changed the list */
	}
	if (lookups->first)
		loop_timer_start(lookups->timer, ASIDE_LOOK_MS);
}

int lookups_init(struct lookups *lookups, struct loop *loop, const struct spec_kinds *kinds)
{
	*lookups = (struct lookups){.kinds = kinds};
	return loop_timer_new(loop, look, lookups, &lookups->timer);
}

void lookups_end(struct lookups *lookups)
{
	struct lookup *lookup;

	while ((lookup = lookups->first)) {
		lookups->first = lookup->next;
		lookups->count--;
		lookup->done(lookup->opaque, -ECANCELED, NULL, "the daemon is ending");
		lookup_put(lookup);
	}
}

void lookups_fini(struct lookups *lookups)
{
	lookups_end(lookups);
	if (lookups->timer)
		loop_timer_free(&lookups->timer);
}

static struct lookup *lookup_new(const struct spec_kinds *kinds, const char *text, lookup_done_fn *done, void *opaque)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup)
		return NULL;
	lookup->refs = 2;
	lookup->done = done;
	lookup->opaque = opaque;
	lookup->kinds = kinds;
	lookup->text = strdup(text);
	lookup->spec = malloc(kinds->spec_bytes);
	if (lookup->text && lookup->spec && !aside_run(NULL, lookup_do, lookup))
		return lookup;
	lookup_free(lookup);
	return NULL;
}

static void parse_now(const struct lookups *lookups, const char *text, lookup_done_fn *done, void *opaque)
{
	struct spec *spec = malloc(lookups->kinds->spec_bytes);
	char why[SPEC_WHY_BYTES] = "out of memory";
	int err = spec ? spec_parse(lookups->kinds, text, spec, why) : -ENOMEM;

	done(opaque, err, spec, why);
	free(spec);
}

void lookups_spec(struct lookups *lookups, const char *text, lookup_done_fn *done, void *opaque)
{
	struct lookup *lookup;

	if (!spec_has_names(text)) {
		parse_now(lookups, text, done, opaque);
		return;
	}
	lookup = lookups->count < LOOKUPS_MAX ? lookup_new(lookups->kinds, text, done, opaque) : NULL;
	if (!lookup) {
		done(opaque, -EAGAIN, NULL,
		     "users and groups are being looked up for other ports: give numbers, or try again later");
		return;
	}
	lookup->next = lookups->first;
	lookups->first = lookup;
	lookups->count++;
	loop_timer_start(lookups->timer, ASIDE_LOOK_MS);
}
