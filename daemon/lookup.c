/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/lookup.h"
#include "base/clock.h"
#include "base/util.h"
#include "daemon/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HELD_UP_MS 1000u
#define HELD_UP_PAUSE_MS 10u
#define NO_THREAD	 "there is no thread that could wait for a lock on its folder: try again later"

struct lookup {
	struct errand errand;
	struct lookups *lookups;
	struct lookup *next; /* of those that wait for their turn */
	uint64_t until_ms; /* then somebody has held it for too long */
	lookup_done_fn *done;
	void *opaque;
	const struct spec_kinds *kinds;
	char *text; /* NULL: it has been parsed, and waits for who holds something */
	/* Of the outcome. */
	int err;
	struct spec *spec;
	char why[SPEC_WHY_BYTES];
};

static struct lookup *lookup_of(struct errand *errand)
{
	return container_of(errand, struct lookup, errand);
}

static void lookup_free(struct errand *errand)
{
	struct lookup *lookup = lookup_of(errand);

	free(lookup->text);
	free(lookup->spec);
	free(lookup);
}

static void lookup_do(struct errand *errand)
{
	struct lookup *lookup = lookup_of(errand);

	lookup->err = spec_parse(lookup->kinds, lookup->text, lookup->spec, lookup->why);
}

static struct lookup *first_take(struct lookups *lookups)
{
	struct lookup *first = lookups->first;

	lookups->first = first->next;
	return first;
}

static bool full(const struct lookups *lookups)
{
	return lookups->locks.count >= lookups->locks.max;
}

/* There is a place. */
static void lookups_next(struct lookups *lookups)
{
	while (lookups->first && !full(lookups)) {
		struct lookup *lookup = first_take(lookups);

		if (!errands_run(&lookups->locks, &lookup->errand))
			continue;
		lookup->done(lookup->opaque, -EAGAIN, NULL, NO_THREAD);
		lookup_free(&lookup->errand);
	}
}

static void lookup_done(struct errand *errand, int err)
{
	const struct lookup *lookup = lookup_of(errand);

	if (err) {
		lookup->done(lookup->opaque, err, NULL, "the daemon is ending");
		return;
	}
	lookups_next(lookup->lookups);
	lookup->done(lookup->opaque, lookup->err, lookup->spec, lookup->why);
}

static void held_up_do(struct errand *errand)
{
	const struct timespec pause = {.tv_nsec = HELD_UP_PAUSE_MS * 1000000L};
	struct lookup *lookup = lookup_of(errand);
	bool held = endpoint_held_up(lookup->spec);

	while (held && clock_now_ms() < lookup->until_ms) {
		nanosleep(&pause, NULL);
		held = endpoint_held_up(lookup->spec);
	}
	lookup->err = held ? -EBUSY : 0;
	if (held)
		lookup->spec->kind->endpoint->explain(-EBUSY, lookup->spec, lookup->why);
}

static const struct errand_ops held_up_ops = {.work = held_up_do, .done = lookup_done, .drop = lookup_free};
static const struct errand_ops lookup_ops = {.work = lookup_do, .done = lookup_done, .drop = lookup_free};

int lookups_init(struct lookups *lookups, struct loop *loop, const struct spec_kinds *kinds)
{
	int err;

	lookups->kinds = kinds;
	lookups->first = NULL;
	lookups->locks = (struct errands){0};
	err = errands_init(&lookups->errands, loop, LOOKUPS_MAX);
	return err ? err : errands_init(&lookups->locks, loop, LOOKUPS_MAX);
}

static void turns_end(struct lookups *lookups)
{
	while (lookups->first) {
		struct lookup *lookup = first_take(lookups);

		lookup_done(&lookup->errand, -ECANCELED);
		lookup_free(&lookup->errand);
	}
}

void lookups_end(struct lookups *lookups)
{
	turns_end(lookups);
	errands_end(&lookups->locks);
	errands_end(&lookups->errands);
}

void lookups_fini(struct lookups *lookups)
{
	lookups->locks.max = 0; /* nobody waits for a turn any more */
	turns_end(lookups);
	errands_fini(&lookups->locks);
	errands_fini(&lookups->errands);
}

/* In its turn. */
static int held_up_run(struct lookups *lookups, struct lookup *lookup)
{
	struct lookup **end = &lookups->first;

	if (!lookups->locks.max || (!full(lookups) && !lookups->first))
		return errands_run(&lookups->locks, &lookup->errand);
	while (*end)
		end = &(*end)->next;
	*end = lookup;
	return 0;
}

/* `text` is parsed, or `spec` waits. */
static int lookup_run(struct lookups *lookups, const char *text, const struct spec *spec, lookup_done_fn *done, void *opaque)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	int err = -ENOMEM;

	if (!lookup)
		return err;
	lookup->errand.ops = text ? &lookup_ops : &held_up_ops;
	lookup->lookups = lookups;
	lookup->until_ms = clock_now_ms() + HELD_UP_MS;
	lookup->done = done;
	lookup->opaque = opaque;
	lookup->kinds = lookups->kinds;
	lookup->text = text ? strdup(text) : NULL;
	lookup->spec = malloc(lookups->kinds->spec_bytes);
	if (lookup->spec && spec)
		memcpy(lookup->spec, spec, lookups->kinds->spec_bytes);
	if (lookup->spec && (lookup->text || spec))
		err = text ? errands_run(&lookups->errands, &lookup->errand) : held_up_run(lookups, lookup);
	if (err)
		lookup_free(&lookup->errand);
	return err;
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
	if (!spec_has_names(text))
		parse_now(lookups, text, done, opaque);
	else if (lookup_run(lookups, text, NULL, done, opaque))
		done(opaque, -EAGAIN, NULL,
		     "users and groups are being looked up for other ports: give numbers, or try again later");
}

void lookups_held_up(struct lookups *lookups, const struct spec *spec, lookup_done_fn *done, void *opaque)
{
	if (!endpoint_held_up(spec))
		done(opaque, 0, spec, "");
	else if (lookup_run(lookups, NULL, spec, done, opaque))
		done(opaque, -EAGAIN, NULL, NO_THREAD);
}
