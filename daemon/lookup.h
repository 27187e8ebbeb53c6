/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_LOOKUP_H
#define DAEMON_LOOKUP_H

/*
 * What a SPEC may have to wait for before a daemon can act on it, which waits aside.
 *
 * A SPEC in which a user or a group has a name is parsed aside: the machine's databases of them (nsswitch.conf(5)) may be
 * on a network, and wait for it. Control thread.
 */

#include "daemon/errand.h"
#include "daemon/spec.h"

#define LOOKUPS_MAX 32u /* under way at a time, of each kind */

struct lookup;
struct loop;

struct lookups {
	const struct spec_kinds *kinds;
	struct errands errands; /* for names, as long as a database likes */
	struct errands locks;
	struct lookup *first; /* for a lock, when there is a place for one more of these */
};

/* `kinds` (borrowed): what SPECs there are. */
int lookups_init(struct lookups *lookups, struct loop *loop, const struct spec_kinds *kinds);
/* What is under way is told -ECANCELED. */
void lookups_end(struct lookups *lookups);
void lookups_fini(struct lookups *lookups);

/*
 * As spec_parse(); `done` is called once, here or from the loop. -EAGAIN: too many are under way, or there is no thread.
 */
typedef void lookup_done_fn(void *opaque, int err, const struct spec *spec, const char *why);
void lookups_spec(struct lookups *lookups, const char *text, lookup_done_fn *done, void *opaque);

/*
 * Calls `done` once, here or from the loop, when nobody holds what opening the endpoint of `spec` would wait for (endpoint_held_up()).
 * -EBUSY: somebody still does, a second later; -EAGAIN: there is no thread. Those that are too many have their turn when others are over.
 * `spec`, one of those kinds, is copied.
 */
void lookups_held_up(struct lookups *lookups, const struct spec *spec, lookup_done_fn *done, void *opaque);

#endif
