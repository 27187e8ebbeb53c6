/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Theory of operation
 *
 * A watch is a ring of addresses, written under the database's lock by whoever changes a key anyway, and read by one reader. What a change was is
 * not said, only which address to look at again: so changes may come twice, or be late, and the reader is right in the end all the same.
 *
 * The ring is bounded, and nobody waits for its reader. When it is full it is emptied, and `all` says to look at the whole table instead; changes from
 * then on are in the ring again. So a port that sends from a million addresses costs the reader a look at the table each time that he asks, and he
 * decides how often that is.
 *
 * The reader is told once: between that and the moment when he has found the ring empty the event is not raised again.
 */

#include "switch/fdb_watch.h"
#include "base/fd.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct fdb_watch {
	/* Constant. */
	int event_fd;
	uint32_t mask;
	/* Under the database's lock. */
	struct fdb_watch *next;
	uint32_t first, end; /* free-running */
	bool all;
	bool told;
	struct fdb_change ring[];
};

static uint32_t watches_count(const struct fdb *fdb)
{
	uint32_t count = 0;

	for (const struct fdb_watch *watch = fdb->watches; watch; watch = watch->next)
		count++;
	return count;
}

static void reader_tell(struct fdb_watch *watch)
{
	if (!watch->told)
		fd_event_raise(watch->event_fd);
	watch->told = true;
}

static void watch_all(struct fdb_watch *watch)
{
	watch->first = watch->end;
	watch->all = true;
	reader_tell(watch);
}

int fdb_watch_new(struct fdb *fdb, uint32_t room, int event_fd, struct fdb_watch **ret_watch)
{
	struct fdb_watch *watch = malloc(sizeof(*watch) + room * sizeof(watch->ring[0]));
	int err = 0;

	assert(room && !(room & (room - 1)));
	if (!watch)
		return -ENOMEM;
	*watch = (struct fdb_watch){.event_fd = event_fd, .mask = room - 1};
	pthread_mutex_lock(&fdb->lock);
	if (watches_count(fdb) == FDB_WATCHES_MAX)
		err = -ENOSPC;
	if (!err) {
		watch->next = fdb->watches;
		fdb->watches = watch;
		watch_all(watch);
	}
	pthread_mutex_unlock(&fdb->lock);
	if (err)
		free(watch);
	else
		*ret_watch = watch;
	return err;
}

void fdb_watch_free(struct fdb *fdb, struct fdb_watch *watch)
{
	struct fdb_watch **at = &fdb->watches;

	pthread_mutex_lock(&fdb->lock);
	while (*at != watch)
		at = &(*at)->next;
	*at = watch->next;
	pthread_mutex_unlock(&fdb->lock);
	free(watch);
}

uint32_t fdb_watch_take(struct fdb *fdb, struct fdb_watch *watch, struct fdb_change *changes, uint32_t max, bool *ret_all)
{
	uint32_t count = 0;

	pthread_mutex_lock(&fdb->lock);
	*ret_all = watch->all;
	watch->all = false;
	while (count < max && watch->first != watch->end)
		changes[count++] = watch->ring[watch->first++ & watch->mask];
	if (count < max)
		watch->told = false;
	pthread_mutex_unlock(&fdb->lock);
	return count;
}

void fdb_watches_all(struct fdb *fdb)
{
	pthread_mutex_lock(&fdb->lock);
	for (struct fdb_watch *watch = fdb->watches; watch; watch = watch->next)
		watch_all(watch);
	pthread_mutex_unlock(&fdb->lock);
}

void fdb_watches_tell(struct fdb *fdb, struct fdb_change change)
{
	for (struct fdb_watch *watch = fdb->watches; watch; watch = watch->next) {
		if (watch->end - watch->first > watch->mask) {
			watch_all(watch);
			continue;
		}
		watch->ring[watch->end++ & watch->mask] = change;
		reader_tell(watch);
	}
}
