/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Task management (SAM-5, 7). A function becomes a part for each queue in which it may find tasks, which the
 * queue's thread carries out: it aborts them, and when all have ended, and scsi_queue_shown() says that the
 * initiator has been told, the part is done. The last part answers.
 *
 * A task may be aborted by several parts: it ends for all of them. Parts are numbered in their queue, and a task that is being aborted
 * knows the number of the first part that has found it: that one and those after it have counted it.
 */
#include "scsi/internal.h"

/* ---- parts: any thread ---- */

static void management_end(struct scsi_management *m)
{
	struct scsi_part *part = m->parts;

	if (m->found && (m->function == SCSI_QUERY_TASK || m->function == SCSI_QUERY_TASK_SET))
		m->answer = SCSI_FUNCTION_SUCCEEDED;
	while (part) {
		struct scsi_part *next = part->next;

		free(part);
		part = next;
	}
	m->done(m);
}

static void management_part_done(struct scsi_management *m)
{
	if (!__atomic_sub_fetch(&m->left, 1, __ATOMIC_ACQ_REL))
		management_end(m);
}

/* ---- parts: a queue's thread ---- */

/* The lun goes with the part, and does not wait for queues of other buses: its own bus may end before these do. */
void scsi_parts_shown(struct scsi_queue *queue)
{
	while (queue->parts) {
		struct scsi_part *part = queue->parts;

		queue->parts = part->next_of_queue;
		if (part->lun)
			scsi_lun_put(part->lun);
		part->lun = NULL;
		management_part_done(part->management);
	}
}

static bool concerns_path(const struct scsi_part *part, const struct scsi_path *path)
{
	return part->lun ? path->lun == part->lun : path->lun->target == part->management->target;
}

static bool concerns(const struct scsi_management *m, const struct scsi_task *task)
{
	return (m->function != SCSI_ABORT_TASK && m->function != SCSI_QUERY_TASK) || task->tag == m->tag;
}

static bool is_query(const struct scsi_management *m)
{
	return m->function == SCSI_QUERY_TASK || m->function == SCSI_QUERY_TASK_SET;
}

static void part_open(struct scsi_queue *queue, struct scsi_part *part)
{
	part->number = ++queue->part_number;
	part->left = 1;
	part->next_of_queue = queue->parts_open;
	queue->parts_open = part;
}

static void part_let(struct scsi_queue *queue, struct scsi_part *part)
{
	struct scsi_part **at = &queue->parts_open;

	if (--part->left)
		return;
	while (*at != part)
		at = &(*at)->next_of_queue;
	*at = part->next_of_queue;
	part->next_of_queue = queue->parts;
	queue->parts = part;
}

/* Each part has counted what it has found, but for what began after it: that is aborted by a later one. */
static bool has_counted(const struct scsi_part *part, const struct scsi_task *task)
{
	return part->number >= task->aborted_by && !is_query(part->management) && concerns_path(part, task->path) &&
	       concerns(part->management, task);
}

__cold void scsi_parts_task_ended(struct scsi_queue *queue, const struct scsi_task *task)
{
	for (struct scsi_part *part = queue->parts_open, *next; part; part = next) {
		next = part->next_of_queue;
		if (has_counted(part, task))
			part_let(queue, part);
	}
}

/*
 * Of a list; returns how many it has found. What is aborted leaves the list, at once or later, and nothing else does. What is being aborted
 * already is waited for as well (SAM-5, 7).
 */
static unsigned tasks_visit(struct scsi_part *part, struct scsi_task *list)
{
	const struct scsi_management *m = part->management;
	unsigned count = 0;

	for (struct scsi_task *task = list, *next; task; task = next) {
		next = task->next;
		if (!concerns(m, task))
			continue;
		count += task->ends_as == SCSI_OK;
		if (is_query(m))
			continue;
		part->left++;
		scsi_task_abort(task, part->response, part);
	}
	return count;
}

static void path_visit(struct scsi_part *part, struct scsi_path *path)
{
	struct scsi_management *m = part->management;
	struct scsi_queue *queue = path->queue;
	unsigned count;

	scsi_queue_hold_still(queue);
	count = tasks_visit(part, path->held) + tasks_visit(part, path->tasks);
	scsi_queue_go_on(queue);
	if (m->function != SCSI_ABORT_TASK && !is_query(m))
		count += scsi_copies_end(path, false);
	if (count && is_query(m)) {
		__atomic_store_n(&m->found, 1, __ATOMIC_RELAXED);
		return;
	}
	if (!count)
		return;
	if (m->function == SCSI_CLEAR_TASK_SET && !part->first)
		scsi_attend(path->lun, ATTENTION_CLEARED);
	scsi_path_cancel(path);
	scsi_path_begin_held(path);
}

static void part_deliver(struct scsi_queue *queue, struct scsi_message *message)
{
	struct scsi_part *part = container_of(message, struct scsi_part, message);

	part_open(queue, part);
	for (unsigned i = 0; i < SCSI_PATH_BUCKETS; i++)
		for (struct scsi_path *path = queue->buckets[i]; path; path = path->next)
			if (concerns_path(part, path))
				path_visit(part, path);
	part_let(queue, part);
}

/* ---- where they go: any thread ---- */

/* To all queues of the bus, whose lock is held. False: no memory. */
static bool parts_post(struct scsi_management *m, struct scsi_bus *bus, struct scsi_lun *lun, bool first)
{
	for (struct scsi_queue *queue = bus->queues; queue; queue = queue->next) {
		struct scsi_part *part = calloc(1, sizeof(*part));

		if (!part)
			return false;
		part->message.deliver = part_deliver;
		part->management = m;
		part->lun = lun;
		part->first = first;
		part->response = m->function == SCSI_LOGICAL_UNIT_RESET ? SCSI_RESET : SCSI_ABORTED;
		if (lun)
			__atomic_fetch_add(&lun->users, 1, __ATOMIC_RELAXED);
		part->next = m->parts;
		m->parts = part;
		__atomic_fetch_add(&m->left, 1, __ATOMIC_RELAXED);
		scsi_queue_post(queue, &part->message);
	}
	return true;
}

static void lun_post(struct scsi_management *m, struct scsi_lun *lun, bool first)
{
	pthread_mutex_lock(&lun->bus->lock);
	if (!parts_post(m, lun->bus, lun, first))
		m->answer = SCSI_FUNCTION_REJECTED;
	pthread_mutex_unlock(&lun->bus->lock);
}

/* All who see the unit. */
static void unit_post(struct scsi_management *m, struct scsi_lun *first)
{
	struct scsi_unit *unit = first->unit;
	bool reset = m->function == SCSI_LOGICAL_UNIT_RESET;

	pthread_mutex_lock(&unit->lock);
	if (reset) {
		scsi_release_legacy(unit, NULL);
		scsi_modes_default(unit);
	}
	for (struct scsi_lun *lun = unit->luns; lun; lun = lun->next_of_unit) {
		if (reset) {
			scsi_attend(lun, ATTENTION_RESET);
			scsi_copies_forget(lun);
		}
		lun_post(m, lun, lun == first);
	}
	pthread_mutex_unlock(&unit->lock);
}

/* What the initiator has reserved by RESERVE of a target's logical units. A unit's lock is taken before the bus's: one after the other. */
static void nexus_release(const struct scsi_management *m, struct scsi_bus *bus)
{
	struct scsi_lun *lun;
	unsigned from = 0;

	while ((lun = scsi_lun_from(bus, m->target, from)) != NULL) {
		pthread_mutex_lock(&lun->unit->lock);
		scsi_release_legacy(lun->unit, &lun->nexus);
		pthread_mutex_unlock(&lun->unit->lock);
		from = lun->number + 1u;
		scsi_lun_put(lun);
	}
}

/* Those that see what the initiator sees of a target; what it has reserved by RESERVE is free. */
static void nexus_post(struct scsi_management *m, struct scsi_bus *bus)
{
	nexus_release(m, bus);
	pthread_mutex_lock(&bus->lock);
	for (struct scsi_lun *lun = bus->luns; lun; lun = lun->next)
		if (lun->target == m->target)
			scsi_attend(lun, ATTENTION_NEXUS_LOSS);
	if (!parts_post(m, bus, NULL, true))
		m->answer = SCSI_FUNCTION_REJECTED;
	pthread_mutex_unlock(&bus->lock);
}

static void asynchronous_event(struct scsi_management *m, const struct scsi_lun *lun)
{
	int attention = scsi_attention_first(lun);

	if (attention < 0)
		return;
	m->answer = SCSI_FUNCTION_SUCCEEDED;
	m->additional = UINT64_C(1) << 31 | (uint64_t)KEY_UNIT_ATTENTION << 16 | scsi_attention_code((enum scsi_attention)attention);
}

static void lun_manage(struct scsi_management *m, struct scsi_lun *lun)
{
	switch (m->function) {
	case SCSI_QUERY_ASYNC_EVENT:
		asynchronous_event(m, lun);
		break;
	case SCSI_CLEAR_TASK_SET:
	case SCSI_LOGICAL_UNIT_RESET:
		unit_post(m, lun);
		break;
	default:
		lun_post(m, lun, true);
	}
}

static bool is_of(const struct scsi_lun *lun, const struct scsi_nexus *nexuses, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (nexus_same(&lun->nexus, &nexuses[i]))
			return true;
	return false;
}

void scsi_unit_abort(struct scsi_unit *unit, const struct scsi_nexus *nexuses, unsigned count, struct scsi_management *m)
{
	m->function = SCSI_ABORT_TASK_SET;
	m->answer = SCSI_FUNCTION_COMPLETE;
	m->left = 1;
	m->found = 0;
	m->parts = NULL;
	pthread_mutex_lock(&unit->lock);
	for (struct scsi_lun *lun = unit->luns; lun; lun = lun->next_of_unit)
		if (is_of(lun, nexuses, count))
			lun_post(m, lun, true);
	pthread_mutex_unlock(&unit->lock);
	management_part_done(m);
}

void scsi_bus_manage(struct scsi_bus *bus, struct scsi_management *m)
{
	int number = scsi_lun_decode(m->lun);
	struct scsi_lun *lun = NULL;

	m->answer = SCSI_FUNCTION_COMPLETE;
	m->additional = 0;
	m->left = 1;
	m->found = 0;
	m->parts = NULL;
	if (!scsi_bus_has_target(bus, m->target))
		m->answer = SCSI_NO_TARGET;
	else if (m->function == SCSI_CLEAR_ACA || m->function >= SCSI_FUNCTIONS)
		m->answer = SCSI_FUNCTION_REJECTED;
	else if (m->function == SCSI_I_T_NEXUS_RESET)
		nexus_post(m, bus);
	else if (number < 0 || !(lun = scsi_lun_find(bus, m->target, (unsigned)number)))
		m->answer = SCSI_INCORRECT_LUN;
	else
		lun_manage(m, lun);
	if (lun)
		scsi_lun_put(lun);
	management_part_done(m);
}
