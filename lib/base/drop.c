/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Jobs are in one list, in the order in which they came. A helper is a call of `run` under way: it takes jobs until there
 * are none, and ends. Each new job starts another one, as long as there are fewer than DROP_HELPERS_MAX; a helper that
 * hangs is one less for this list, and nobody else's loss. Each helper holds a reference, so the list outlives its owner
 * until the last job is done.
 *
 * Where `run` fails and there is no helper, the jobs are done by the caller, who then may have to wait: what is
 * never closed would be worse.
 */
#include "base/drop.h"
#include "base/fd.h"
#include "base/util.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Memory goes in pieces: munmap(2) of a large one holds the lock of the address space for long, and whoever maps something
 * else, or meets a page that is not there yet, waits for it. No page is larger than a piece; a mapping of larger
 * pages goes in one.
 */
#define PIECE_BYTES (UINT64_C(1) << 30)

struct job {
	struct job *next;
	int fd; /* -1: it is memory, or work */
	void (*work)(void *opaque); /* or NULL */
	void *start;
	size_t bytes;
	void (*gone)(void *opaque, size_t bytes);
	void *opaque;
};

struct drop {
	drop_run_fn *run;
	void *opaque;
	pthread_mutex_t lock; /* of all below; held for moments */
	unsigned refs;
	unsigned helpers;
	unsigned waiting; /* jobs not done, those in a helper's hands included */
	struct job *first, **end;
};

int drop_new(drop_run_fn *run, void *opaque, struct drop **ret_drop)
{
	struct drop *drop = calloc(1, sizeof(*drop));

	if (!drop)
		return -ENOMEM;
	drop->run = run;
	drop->opaque = opaque;
	pthread_mutex_init(&drop->lock, NULL);
	drop->refs = 1;
	drop->end = &drop->first;
	*ret_drop = drop;
	return 0;
}

struct drop *drop_ref(struct drop *drop)
{
	if (!drop)
		return NULL;
	pthread_mutex_lock(&drop->lock);
	drop->refs++;
	pthread_mutex_unlock(&drop->lock);
	return drop;
}

void drop_unref(struct drop *drop)
{
	bool last;

	if (!drop)
		return;
	pthread_mutex_lock(&drop->lock);
	last = !--drop->refs;
	pthread_mutex_unlock(&drop->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&drop->lock);
	free(drop);
}

/* ---- jobs ---- */

static void unmap(void *start, size_t bytes)
{
	uint8_t *at = start;

	while (bytes > PIECE_BYTES && !munmap(at, PIECE_BYTES)) {
		at += PIECE_BYTES;
		bytes -= PIECE_BYTES;
	}
	munmap(at, bytes);
}

static void job_do(const struct job *job)
{
	if (job->work)
		job->work(job->opaque);
	else if (job->fd >= 0)
		close(job->fd);
	else
		unmap(job->start, job->bytes);
	if (job->gone)
		job->gone(job->opaque, job->bytes);
}

/* The lock is held. */
static struct job *job_take(struct drop *drop)
{
	struct job *job = drop->first;

	if (!job)
		return NULL;
	drop->first = job->next;
	if (!drop->first)
		drop->end = &drop->first;
	return job;
}

/* Does what there is, and is one helper less then. */
static void help(void *argument)
{
	struct drop *drop = argument;
	struct job *job;

	pthread_mutex_lock(&drop->lock);
	while ((job = job_take(drop))) {
		pthread_mutex_unlock(&drop->lock);
		job_do(job);
		free(job);
		pthread_mutex_lock(&drop->lock);
		drop->waiting--;
	}
	drop->helpers--;
	pthread_mutex_unlock(&drop->lock);
	drop_unref(drop);
}

/* A helper has been counted, and its reference. */
static void help_begin(struct drop *drop)
{
	bool alone;

	if (!drop->run(drop->opaque, help, drop))
		return;
	pthread_mutex_lock(&drop->lock);
	alone = drop->helpers == 1;
	if (!alone)
		drop->helpers--;
	pthread_mutex_unlock(&drop->lock);
	if (alone)
		help(drop);
	else
		drop_unref(drop);
}

static void job_add(struct drop *drop, const struct job *what)
{
	int saved_errno = errno;
	struct job *job = drop ? malloc(sizeof(*job)) : NULL;
	bool begins;

	if (!job) {
		job_do(what);
		errno = saved_errno;
		return;
	}
	*job = *what;
	pthread_mutex_lock(&drop->lock);
	*drop->end = job;
	drop->end = &job->next;
	drop->waiting++;
	begins = drop->helpers < DROP_HELPERS_MAX;
	if (begins) {
		drop->helpers++;
		drop->refs++;
	}
	pthread_mutex_unlock(&drop->lock);
	if (begins)
		help_begin(drop);
	errno = saved_errno;
}

int drop_lend(struct drop *drop, void (*work)(void *argument), void *argument)
{
	return drop ? drop->run(drop->opaque, work, argument) : -EOPNOTSUPP;
}

/* ---- what is let go of ---- */

void drop_fd(struct drop *drop, int *fd)
{
	if (*fd >= 0)
		job_add(drop, &(struct job){ .fd = *fd });
	*fd = -1;
}

void drop_socket(struct drop *drop, int *fd)
{
	if (drop && *fd >= 0)
		shutdown(*fd, SHUT_RDWR);
	drop_fd(drop, fd);
}

void drop_memory(struct drop *drop, void *start, size_t bytes, void (*gone)(void *opaque, size_t bytes),
		 void *opaque)
{
	job_add(drop, &(struct job){
			      .fd = -1, .start = start, .bytes = bytes, .gone = gone, .opaque = opaque });
}

void drop_call(struct drop *drop, void (*work)(void *opaque), void *opaque)
{
	job_add(drop, &(struct job){ .fd = -1, .work = work, .opaque = opaque });
}

unsigned drop_waiting(struct drop *drop)
{
	unsigned waiting;

	if (!drop)
		return 0;
	pthread_mutex_lock(&drop->lock);
	waiting = drop->waiting;
	pthread_mutex_unlock(&drop->lock);
	return waiting;
}
