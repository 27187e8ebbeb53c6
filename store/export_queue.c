/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The queues of an export. While one runs it has what answers it (a queue of its own at the disk, say), and is a source of the crew that two fds
 * tell of: its driver has kicked, the disk has completed something. Its worker takes requests from the driver in a burst, hands them to the disk
 * in one call, takes what the disk has done, and shows the driver all of that at once. So queues of one disk that belong to
 * several workers share nothing that is written.
 *
 * Per queue these facts are kept, in the control thread only:
 *   running   the device has handed the queue out, and not asked for it back
 *   joined    it is in the crew
 *   leaving   it has been asked to come to an end: its worker takes nothing more (`ending`, a letter), and posts `ended` when
 *             nothing is in flight; then it is taken out of the crew
 *   stale     its queue at the disk was opened before the disk had a layer that it has now, or by another worker than it is to belong to: it
 *             leaves, and joins anew
 *   home      the worker that it is to belong to, if somebody has said which: where that is another one, it is stale
 *   stopping  the device waits for ops->quiesced()
 * and settle() brings the crew in line with them whenever one changes.
 *
 * A disk that does not answer. CANCEL_MS after a queue has been asked to come to an end, its disk is told that nobody waits for the
 * results any more (`cancelled`, a letter): what merely waits is completed with -ECANCELED, which the driver sees as an I/O error. What the kernel
 * has it may write to guest memory at any moment: the queue is not given back before that is done. Other queues, exports and disks go on.
 *
 * Memory that is taken away (`renew`, a letter): the worker pops by what is left, and answers when all that is in flight lies there, or is
 * done. So a request that hangs in memory that stays holds up no memory table.
 */
#include "store/export_queue.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "vireo/device.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CANCEL_MS 1000u
#define LOOK_MS 100u
#define BUSY_MS 10u /* a machine that has moved here stands still meanwhile */

/* ---- workers ---- */

static struct export_queue *queue_of(struct source *source)
{
	return container_of(container_of(source, struct crew_member, source), struct export_queue, member);
}

/* It has been asked to renew: told once that all that is in flight may stay. */
static void renew_look(struct export_queue *q)
{
	if (!q->ops->kept(q))
		return;
	q->renewing = false;
	vireo_mailbox_post(q->export->exports->drained, &q->renewed);
}

/* It has been asked to end: told once that nothing is in flight. */
static void end_look(struct export_queue *q)
{
	q->ops->reap(q);
	q->ops->flush(q); /* which may submit further ranges */
	if (q->told || !q->ops->idle(q))
		return;
	q->told = true;
	vireo_mailbox_post(q->export->exports->drained, &q->ended);
}

static int serve(struct worker *worker, struct source *source, struct source *next)
{
	struct export_queue *q = queue_of(source), *then = next ? queue_of(next) : NULL;
	unsigned reaped;
	int taken;

	if (then && then->ops->expect)
		then->ops->expect(then);
	reaped = q->ops->reap(q);
	if (unlikely(q->renewing) && !q->ending)
		renew_look(q);
	if (likely(!q->ending && !q->broken)) {
		taken = q->ops->poll(q, EXPORT_BURST);
		q->broken = taken < 0;
		return (int)reaped + (taken > 0 ? taken : 0);
	}
	/* Never dead as long as requests are in flight: the disk's fd is to be heard. */
	if (q->ending)
		end_look(q);
	else
		q->ops->flush(q); /* also if nothing has been reaped: what other machines have asked of a shared unit is answered by it */
	return (int)reaped;
}

static bool arm(struct source *source, bool on)
{
	struct export_queue *q = queue_of(source);
	bool done = q->ops->arm(q, on);

	if (q->ending || q->broken)
		return done;
	return q->ops->kick_enable(q, on) || done;
}

static bool expects(struct source *source)
{
	const struct export_queue *q = queue_of(source);

	return !q->ops->idle(q);
}

static const struct source_ops source_ops = {.serve = serve, .arm = arm, .expects = expects};

static void end(struct vireo_letter *letter)
{
	struct export_queue *q = container_of(container_of(letter, struct worker_letter, letter), struct export_queue, end);

	q->ending = true;
	q->ops->hurry(q);
	end_look(q);
}

static void cancel(struct vireo_letter *letter)
{
	struct export_queue *q = container_of(container_of(letter, struct worker_letter, letter), struct export_queue, cancel);

	if (!q->told) {
		q->ops->cancel(q);
		end_look(q);
	}
	__atomic_store_n(&q->cancelled, true, __ATOMIC_RELEASE); /* the control thread may take it out of the crew from here on */
}

/* A pop makes the ring go by the memory that is left. */
static void renew(struct vireo_letter *letter)
{
	struct export_queue *q = container_of(container_of(letter, struct worker_letter, letter), struct export_queue, renew);

	if (!q->broken)
		q->broken = q->ops->poll(q, EXPORT_BURST) < 0;
	q->renewing = true;
	renew_look(q);
}

static void letter_dropped(struct worker_letter *letter)
{
}

/* ---- the control thread ---- */

static void settle(struct export_queue *q);

static void renew_end(struct export_queue *q)
{
	bool waits = q->renew_waits;

	q->renew_waits = false;
	if (waits)
		q->ops->renewed(q);
}

static void moved_end(struct export_queue *q)
{
	void (*moved)(void *opaque) = q->moved;

	q->moved = NULL;
	if (moved)
		moved(q->moved_opaque);
}

static void left(struct crew_member *member)
{
	struct export_queue *q = container_of(member, struct export_queue, member);

	q->ops->close(q);
	q->joined = q->leaving = false;
	renew_end(q); /* its worker has ended before it could answer, and nothing is in flight any more */
	moved_end(q);
	settle(q);
	if (!q->joined && q->ops->closed)
		q->ops->closed(q);
}

/* Nothing is in flight, and no letter is on its way to the worker. */
static void drained_look(struct export_queue *q)
{
	if (!q->drained || (q->cancel_sent && !__atomic_load_n(&q->cancelled, __ATOMIC_ACQUIRE)))
		return;
	q->drained = q->cancel_sent = false;
	crew_remove(&q->member, left);
}

static void ended(struct vireo_letter *letter)
{
	struct export_queue *q = container_of(letter, struct export_queue, ended);

	q->drained = true;
	drained_look(q);
	if (q->drained)
		loop_timer_start(q->export->patience, LOOK_MS);
}

static void letter_send(struct export_queue *q, struct worker_letter *letter, void (*deliver)(struct vireo_letter *letter))
{
	*letter = (struct worker_letter){.letter.deliver = deliver, .drop = letter_dropped};
	worker_post(q->member.source.worker, letter);
}

static bool wanted(const struct export_queue *q);

/* Its driver waits for the results, and so do we. */
static bool comes_back(const struct export_queue *q)
{
	return wanted(q) || (q->export->held && !q->export->closing);
}

static void leave(struct export_queue *q)
{
	struct export *export = q->export;

	q->leaving = true;
	q->drained = q->cancel_sent = false;
	q->cancel_at_ms = clock_now_ms() + CANCEL_MS;
	q->ended.deliver = ended;
	letter_send(q, &q->end, end);
	loop_timer_start(export->patience, LOOK_MS);
}

/* Returns whether it is to be looked at again. */
static bool leaving_look(struct export_queue *q)
{
	if (!q->leaving)
		return false;
	if (q->drained) {
		drained_look(q);
	} else if (!q->cancel_sent && !comes_back(q) && clock_now_ms() >= q->cancel_at_ms) {
		log_warning(&q->export->log, "its disk does not answer: what waits in queue %u, which is being stopped, gets an I/O error; what the disk holds is waited for",
			    q->index);
		q->cancel_sent = true;
		letter_send(q, &q->cancel, cancel);
	}
	return !q->cancel_sent || q->drained;
}

static void patience_over(void *opaque)
{
	struct export *export = opaque;
	bool again = false;

	for (unsigned i = 0; i < export->queue_count; i++)
		again |= leaving_look(export_queue(export, i));
	if (again)
		loop_timer_start(export->patience, LOOK_MS);
}

static void renewed(struct vireo_letter *letter)
{
	renew_end(container_of(letter, struct export_queue, renewed));
}

static int join(struct export_queue *q)
{
	struct crew *crew = q->export->exports->crew;
	int err = q->ops->open(q);

	if (err)
		return err;
	q->ending = q->broken = q->told = q->stale = q->renewing = q->cancelled = false;
	source_init(&q->member.source, &source_ops, q->ops->kick_fd(q));
	source_also(&q->member.source, q->ops->back_fd(q));
	err = q->home ? crew_add_to(crew, &q->member, q->home - 1) : crew_add(crew, &q->member);
	if (err)
		q->ops->close(q);
	q->joined = !err;
	return err;
}

/* A queue that is disabled is not served: what waits there is looked at when it comes again. */
static bool wanted(const struct export_queue *q)
{
	const struct vireo_queue *queue = vireo_device_queue(q->export->device, q->export->exports->kind->first_queue + q->index);

	return q->running && queue && vireo_queue_enabled(queue);
}

static void held_up(struct export_queue *q, int err)
{
	if (err == -EBUSY) /* its disk has said who it waits for */
		retry_wait(&q->export->retry, BUSY_MS);
	else
		retry_later(&q->export->retry, q->index, err);
}

static void settle(struct export_queue *q)
{
	int err;

	if (q->leaving)
		return; /* left() comes back here */
	if (wanted(q) && !q->joined) {
		err = join(q);
		if (err && err != -EINPROGRESS)
			held_up(q, err);
	} else if (q->joined && (q->stale || !wanted(q))) {
		leave(q);
	} else if (q->stopping) {
		q->stopping = false;
		q->ops->quiesced(q);
	}
}

void export_queues_settle(struct export *export)
{
	for (unsigned i = 0; i < export->queue_count && !export->closing; i++)
		settle(export_queue(export, i));
}

void export_queues_held_up(struct export *export, int err)
{
	for (unsigned i = 0; i < export->queue_count && !export->closing; i++)
		if (wanted(export_queue(export, i)) && !export_queue(export, i)->joined)
			held_up(export_queue(export, i), err);
}

bool export_queues_wanted(const struct export *export)
{
	for (unsigned i = 0; i < export->queue_count; i++)
		if (export_queue(export, i)->joined || wanted(export_queue(export, i)))
			return true;
	return false;
}

void export_queues_reopen(struct export *export)
{
	for (unsigned i = 0; i < export->queue_count; i++)
		export_queue(export, i)->stale = export_queue(export, i)->joined;
	export_queues_settle(export);
}

/* ---- what the device asks for ---- */

void export_queue_started(void *export, unsigned queue)
{
	struct export_queue *q = export_queue(export, queue);

	q->running = true;
	settle(q);
}

void export_queue_stop(void *export, unsigned queue)
{
	struct export_queue *q = export_queue(export, queue);

	q->running = false;
	q->stopping = true;
	settle(q);
}

int export_queue_renew(void *export, unsigned queue)
{
	struct export_queue *q = export_queue(export, queue);

	if (!q->joined || q->leaving)
		return -EOPNOTSUPP;
	q->renewed.deliver = renewed;
	q->renew_waits = true;
	letter_send(q, &q->renew, renew);
	return 0;
}

void export_queue_enabled(void *export, unsigned queue, bool enabled)
{
	settle(export_queue(export, queue));
}

/* ---- all of an export ---- */

int export_queues_new(struct export *export)
{
	const struct export_kind *kind = export->exports->kind;
	size_t bytes = export->queue_count * kind->queue_bytes;

	export->queues = aligned_alloc(CACHE_LINE_BYTES, bytes);
	if (!export->queues)
		return -ENOMEM;
	memset(export->queues, 0, bytes);
	for (unsigned i = 0; i < export->queue_count; i++) {
		struct export_queue *q = export_queue(export, i);

		q->export = export;
		q->index = i;
		q->ops = kind->queue_ops(export, i);
	}
	return loop_timer_new(export->exports->loop, patience_over, export, &export->patience);
}

void export_queues_free(struct export *export)
{
	if (export->patience)
		loop_timer_free(&export->patience);
	free(export->queues);
}

int export_queue_worker(const struct export *export, unsigned queue)
{
	const struct export_queue *q = export_queue(export, queue);

	return q->joined ? (int)q->member.source.worker->index : -1;
}

int export_queue_move(struct export *export, unsigned queue, unsigned worker, void (*moved)(void *opaque), void *opaque)
{
	struct export_queue *q = export_queue(export, queue);

	if (worker >= crew_workers(export->exports->crew))
		return -ERANGE;
	if (q->moved)
		return -EBUSY;
	q->home = worker + 1;
	if (!q->joined || (!q->leaving && q->member.source.worker->index == worker)) {
		moved(opaque);
		return 0;
	}
	q->moved = moved;
	q->moved_opaque = opaque;
	q->stale = true;
	settle(q);
	return 0;
}
