/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link is one connection to the server, and a thread that does nothing but this: it sends what queues hand it, hears the
 * answers, and connects anew when the server is gone. It waits in one poll only, so that whatever the server does
 * or does not do, a worker never waits. A server that takes one client at a time is served with one link, however many
 * queues there are.
 *
 * What a server has acknowledged and not flushed may be gone when it comes back. So the disk counts its acknowledged writes
 * and which of them a flush covers; a server that is lost in between makes the disk `unsynced`, and no flush succeeds any
 * more. With several links they must agree on when that was: the first to find the server gone begins a new epoch of the disk, and
 * a link of an older epoch hears no answers: it connects anew, and repeats what it had sent. So no flush of the new
 * epoch can cover a write that only the old server knew.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "disk/nbd_link.h"
#include "disk/nbd_library.h"
#include "work/thread.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define TRY_FIRST_MS 20u  /* between two attempts to connect, doubled each time */
#define TRY_LAST_MS 1000u
#define CONNECT_MS 10000u /* an attempt takes no longer */

/* ---- a server that is gone ---- */

bool nbd_link_gone(const struct nbd_link *link)
{
	return nbd_aio_is_dead(link->handle) || nbd_aio_is_closed(link->handle);
}

void nbd_links_wake_others(struct nbd_link *link)
{
	struct nbd_disk *disk = link->disk;

	pthread_mutex_lock(&disk->lock);
	for (unsigned i = 0; i < disk->link_count; i++)
		if (disk->links[i] && disk->links[i] != link)
			nbd_link_wake(disk->links[i]);
	pthread_mutex_unlock(&disk->lock);
}

static void handle_close(struct nbd_link *link)
{
	nbd_close(link->handle); /* what is under way is heard meanwhile, as done with an error */
	link->handle = NULL;
	link->ready = false;
	nbd_commands_again(link);
}

/* True: this is news. The lock orders it before any answer of a later connection. */
static bool epoch_begin(struct nbd_link *link)
{
	struct nbd_disk *disk = link->disk;
	bool first, lost = false;

	pthread_mutex_lock(&disk->lock);
	first = link->epoch == disk->epoch;
	if (first) {
		disk->epoch++;
		lost = disk->restart == NBD_RESTART_REPORT && disk->export.can_flush && !disk->unsynced &&
		       disk->written > disk->flushed;
		disk->unsynced |= lost;
	}
	pthread_mutex_unlock(&disk->lock);
	if (lost)
		log_error(&disk->log, "what its server had acknowledged and not flushed may be lost: flushes fail from now on; "
				      "check the file system and add the disk anew; restart=trust is for servers that forget nothing");
	return first;
}

static void lose(struct nbd_link *link, const char *why, bool lie)
{
	bool news = epoch_begin(link);

	link->away = true;
	link->shutdown = false;
	link->try_at_ms = clock_now_ms();
	link->try_pause_ms = TRY_FIRST_MS;
	for (struct nbd_op *op = link->sent.first; op && lie; op = op->next)
		op->lies++;
	handle_close(link);
	if (news && !link->told)
		log_warning(&link->disk->log, "its server is lost: %s; trying to connect again", why);
	link->told |= news;
	if (news)
		nbd_links_wake_others(link);
}

/* An attempt that failed: the next one later. */
static void try_later(struct nbd_link *link, const char *why)
{
	if (!link->told)
		log_warning(&link->disk->log, "its server cannot be reached: %s; trying again", why);
	link->told = link->away = true;
	if (link->handle)
		handle_close(link);
	link->try_at_ms = clock_now_ms() + link->try_pause_ms;
	link->try_pause_ms = min_u64(2 * link->try_pause_ms, TRY_LAST_MS);
}

/* ---- connecting ---- */

static void start_connecting(struct nbd_link *link)
{
	struct nbd_disk *disk = link->disk;
	char why[DISK_WHY_BYTES] = "";

	/* Before the server is asked: what happens from here on makes it old. */
	pthread_mutex_lock(&disk->lock);
	link->epoch = disk->epoch;
	link->renewing = disk->renewals;
	pthread_mutex_unlock(&disk->lock);
	link->trying_since_ms = clock_now_ms();
	if (nbd_way_start(&disk->way, &link->handle, why)) {
		link->handle = NULL;
		try_later(link, why);
	}
}

/* It must be what the disk was opened as. NULL, or what is wrong. */
static const char *export_problem(const struct nbd_disk *disk, const struct nbd_export *export)
{
	uint32_t block = disk->disk.info.logical_block_bytes;

	if (export->size_bytes < disk_size(&disk->disk))
		return "the export is smaller now";
	if (export->read_only && !disk->disk.info.read_only)
		return "the export is read-only now";
	if (block && (export->block_min > block || (export->block_max && export->block_max < disk->chunk_bytes)))
		return "the export has other blocks now";
	if (export->can_flush < disk->export.can_flush || export->can_fua < disk->export.can_fua ||
	    export->can_trim < disk->export.can_trim || export->can_zero < disk->export.can_zero)
		return "the export can do less now";
	return NULL;
}

static void connected(struct nbd_link *link, const struct nbd_export *export)
{
	struct nbd_disk *disk = link->disk;

	pthread_mutex_lock(&disk->lock);
	disk->size_told = export->size_bytes;
	link->renewed = link->renewing;
	pthread_cond_broadcast(&disk->renewed);
	pthread_mutex_unlock(&disk->lock);
	if (link->told)
		log_info(&disk->log, "its server is back");
	link->told = link->away = false;
	link->ready = true;
	link->try_pause_ms = TRY_FIRST_MS;
}

static void go_on_connecting(struct nbd_link *link)
{
	uint64_t most_ms = min_u64(CONNECT_MS, link->disk->timeout_ms);
	char why[DISK_WHY_BYTES] = "";
	struct nbd_export export;
	int ready = nbd_way_ready(link->handle, &export, why);
	const char *problem = ready > 0 ? export_problem(link->disk, &export) : NULL;

	if (ready > 0 && !problem)
		connected(link, &export);
	else if (ready)
		try_later(link, problem ? problem : why);
	else if (clock_now_ms() - link->trying_since_ms >= most_ms)
		try_later(link, "nobody answers there");
}

/* ---- the thread ---- */

/* Old: the server was lost meanwhile, or its size is to be heard anew. */
static void look_at_disk(struct nbd_link *link)
{
	struct nbd_disk *disk = link->disk;
	bool old, renew;

	pthread_mutex_lock(&disk->lock);
	old = link->epoch != disk->epoch;
	renew = link->renewed < disk->renewals;
	pthread_mutex_unlock(&disk->lock);
	if (old) {
		lose(link, "", false);
	} else if (renew && !link->sent.first) {
		nbd_aio_disconnect(link->handle, 0);
		handle_close(link);
		link->try_at_ms = 0;
	}
}

static bool renewal_waits(struct nbd_link *link)
{
	bool waits;

	pthread_mutex_lock(&link->disk->lock);
	waits = link->renewed < link->disk->renewals;
	pthread_mutex_unlock(&link->disk->lock);
	return waits;
}

static void serve(struct nbd_link *link)
{
	const struct nbd_disk *disk = link->disk;
	const struct nbd_op *oldest;
	char why[80];

	look_at_disk(link);
	if (!link->handle)
		return;
	if (!renewal_waits(link))
		nbd_commands_send(link);
	oldest = link->sent.first;
	if (nbd_link_gone(link) || link->shutdown) {
		lose(link, "it has ended the connection", false);
	} else if (oldest && disk->timeout_ms != NBD_FOREVER && clock_now_ms() - oldest->sent_ms >= disk->timeout_ms) {
		snprintf(why, sizeof(why), "it has owed an answer for %llu s", (unsigned long long)disk->timeout_ms / 1000);
		lose(link, why, false);
	}
}

/* How long until there is something to be done that no fd tells of. */
static uint64_t next_look_ms(const struct nbd_link *link)
{
	uint64_t now = clock_now_ms(), most = NBD_FOREVER;

	if (!link->handle)
		most = link->try_at_ms > now ? link->try_at_ms - now : 0;
	else if (!link->ready)
		most = 500;
	else if (link->sent.first && link->disk->timeout_ms != NBD_FOREVER)
		most = min_u64(1000, link->disk->timeout_ms);
	return most;
}

static void wait_for_server(struct nbd_link *link)
{
	char why[DISK_WHY_BYTES] = "";
	int done = nbd_way_wait(link->handle, link->wake_fd, next_look_ms(link), why);

	if (done > 0)
		fd_event_clear(link->wake_fd);
	if (!link->ready && done < 0) {
		try_later(link, why);
	} else if (link->ready) {
		nbd_commands_hear(link);
		if (done < 0 || nbd_link_gone(link))
			lose(link, *why ? why : "it has ended the connection", done == -EPROTO);
	}
}

static bool ends(struct nbd_link *link)
{
	bool end;

	pthread_mutex_lock(&link->lock);
	end = link->end;
	pthread_mutex_unlock(&link->lock);
	return end;
}

static void pause_without(struct nbd_link *link)
{
	struct pollfd fd = {.fd = link->wake_fd, .events = POLLIN};

	if (poll(&fd, 1, (int)min_u64(next_look_ms(link), TRY_LAST_MS)) > 0)
		fd_event_clear(link->wake_fd);
}

static void *link_main(void *opaque)
{
	struct nbd_link *link = opaque;

	while (!ends(link)) {
		nbd_commands_take(link);
		nbd_commands_prune(link);
		nbd_commands_give_up(link);
		if (!link->handle && clock_now_ms() >= link->try_at_ms)
			start_connecting(link);
		else if (link->handle && !link->ready)
			go_on_connecting(link);
		if (link->handle && link->ready)
			serve(link);
		nbd_commands_prune(link);
		if (link->handle)
			wait_for_server(link);
		else
			pause_without(link);
	}
	nbd_way_leave(link->handle);
	return NULL;
}

/* ---- other threads ---- */

void nbd_link_wake(struct nbd_link *link)
{
	fd_event_raise(link->wake_fd);
}

void nbd_link_send(struct nbd_link *link, struct nbd_op *first)
{
	struct nbd_op *next;

	pthread_mutex_lock(&link->lock);
	for (; first; first = next) {
		next = first->next;
		list_append(&link->incoming, first);
	}
	pthread_mutex_unlock(&link->lock);
	nbd_link_wake(link);
}

void nbd_link_part(struct nbd_link *link)
{
	pthread_mutex_lock(&link->lock);
	pthread_mutex_unlock(&link->lock);
}

uint64_t nbd_link_renewals(const struct nbd_link *link)
{
	return link->renewed;
}

int nbd_link_new(struct nbd_disk *disk, struct nbd_handle *handle, struct nbd_link **ret_link)
{
	struct nbd_link *link = calloc(1, sizeof(*link));
	int err;

	if (!link)
		return -ENOMEM;
	link->disk = disk;
	link->try_pause_ms = TRY_FIRST_MS;
	pthread_mutex_init(&link->lock, NULL);
	err = fd_event_new(&link->wake_fd);
	if (err) {
		link->wake_fd = -1;
	} else {
		link->handle = handle;
		link->ready = handle;
		err = thread_start(&link->thread, "disk-nbd", -1, link_main, link);
	}
	link->started = !err;
	if (err)
		nbd_link_free(link);
	else
		*ret_link = link;
	return err;
}

void nbd_link_free(struct nbd_link *link)
{
	if (!link)
		return;
	pthread_mutex_lock(&link->lock);
	link->end = true;
	pthread_mutex_unlock(&link->lock);
	if (link->started) {
		nbd_link_wake(link);
		pthread_join(link->thread, NULL);
	}
	link->started = false;
	nbd_commands_forget(link);
	fd_close(&link->wake_fd);
	pthread_mutex_destroy(&link->lock);
	free(link);
}
