/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_FDB_WATCH_H
#define SWITCH_FDB_WATCH_H

/* Who keeps a copy of the forwarding database hears which addresses to look at again: fdb_watch.c. */

#include "switch/fdb.h"

#define FDB_WATCHES_MAX 8u /* each costs whoever learns an address a little */

struct fdb_watch;

/* An address, which has come, moved to another port, or gone: where it is by now, fdb_lookup() says. */
struct fdb_change {
	uint64_t mac;
	uint16_t vlan;
};

/*
 * Room for so many changes, a power of two. event_fd (borrowed) is raised when there are some, and then not again until fdb_watch_take()
 * has found none. All of it begins with a look at the whole table. -ENOMEM; -ENOSPC: there are FDB_WATCHES_MAX.
 */
int fdb_watch_new(struct fdb *fdb, uint32_t room, int event_fd, struct fdb_watch **ret_watch);
void fdb_watch_free(struct fdb *fdb, struct fdb_watch *watch);

/*
 * Takes up to `max` changes, in order; who has got fewer has all of them. *ret_all: there were more than there was room for, so that the whole table is to be
 * looked at, and what is taken here came later than that.
 */
uint32_t fdb_watch_take(struct fdb *fdb, struct fdb_watch *watch, struct fdb_change *changes, uint32_t max, bool *ret_all);
/* All watches: something has changed that concerns any address. */
void fdb_watches_all(struct fdb *fdb);

/* Under lock, for who changes a key: of one that is there, before it goes or after it has come. */
void fdb_watches_tell(struct fdb *fdb, struct fdb_change change);

#endif
