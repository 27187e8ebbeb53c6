/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PERSISTENT RESERVE OUT (SPC-4, 5.13 and 6.16). Each action changes the unit's reservations under its lock,
 * or refuses and changes nothing. What has to outlive the process is stored before the answer, and what
 * PREEMPT AND ABORT aborts has been shown before it.
 */
#include "scsi/internal.h"

#define LIST_BYTES     24u
#define MOVE_BYTES_MAX (LIST_BYTES + 228u)

enum { REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_ABORT, REGISTER_IGNORE, REGISTER_MOVE };

/* What becomes of it. */
enum verdict { DONE, CONFLICT, BAD_CDB, BAD_LIST, BAD_RELEASE, NO_ROOM };

struct order {
	struct scsi_lun *lun;
	struct scsi_unit *unit;
	struct scsi_reservations *r;
	unsigned action, type, scope;
	uint64_t key, service_key; /* RESERVATION KEY, SERVICE ACTION RESERVATION KEY */
	bool aptpl, unregister;
	uint16_t to_port;
	uint64_t to_initiator;
	/* What is wrong: byte and bit. */
	unsigned byte;
	int bit;
	/* What is to be done. */
	bool changed;
	struct scsi_nexus doomed[SCSI_REGISTRANTS_MAX];
	unsigned doomed_count;
};

static enum verdict refuse_list(struct order *o, unsigned byte, int bit)
{
	o->byte = byte;
	o->bit = bit;
	return BAD_LIST;
}

/* ---- what happens to others ---- */

static struct scsi_lun *lun_of(const struct order *o, const struct scsi_nexus *nexus)
{
	struct scsi_lun *lun = o->unit->luns;

	while (lun && !nexus_same(&lun->nexus, nexus))
		lun = lun->next_of_unit;
	return lun;
}

static void tell(const struct order *o, const struct scsi_nexus *nexus, enum scsi_attention attention)
{
	struct scsi_lun *lun = lun_of(o, nexus);

	if (lun && lun != o->lun)
		scsi_attend(lun, attention);
}

static void tell_registrants(const struct order *o, enum scsi_attention attention)
{
	for (unsigned i = 0; i < o->r->count; i++)
		tell(o, &o->r->registrants[i].nexus, attention);
}

static void registrant_remove(struct scsi_reservations *r, struct scsi_registrant *one)
{
	r->count--;
	memmove(one, one + 1, (size_t)(&r->registrants[r->count] - one) * sizeof(*one));
}

/* Where only registrants have access the others learn that it has gone. */
static void reservation_end(struct order *o)
{
	uint8_t type = o->r->type;

	o->r->type = 0;
	if (reservation_registrants(type))
		tell_registrants(o, ATTENTION_RELEASED);
}

/* ---- REGISTER ---- */

static enum verdict unregister(struct order *o, struct scsi_registrant *mine)
{
	struct scsi_reservations *r = o->r;
	bool holds = r->type && !reservation_all_registrants(r->type) && nexus_same(&r->holder, &o->lun->nexus);

	registrant_remove(r, mine);
	if (holds || (r->type && !r->count))
		reservation_end(o);
	return DONE;
}

static enum verdict do_register(struct order *o)
{
	struct scsi_reservations *r = o->r;
	struct scsi_registrant *mine = scsi_registrant(r, &o->lun->nexus);

	if (o->action == REGISTER && o->key != (mine ? mine->key : 0))
		return CONFLICT;
	if (!mine && !o->service_key)
		return DONE;
	if (!mine && r->count == SCSI_REGISTRANTS_MAX)
		return NO_ROOM;
	o->changed = true;
	r->generation++;
	r->kept = o->aptpl;
	if (!o->service_key)
		return unregister(o, mine);
	if (!mine) {
		mine = &r->registrants[r->count++];
		mine->nexus = o->lun->nexus;
	}
	mine->key = o->service_key;
	return DONE;
}

/* ---- RESERVE, RELEASE, CLEAR ---- */

static bool type_known(unsigned type)
{
	return type == RESERVE_WRITE || type == RESERVE_EXCLUSIVE || (type >= RESERVE_WRITE_REGISTRANTS && type <= RESERVE_EXCLUSIVE_ALL);
}

static enum verdict type_check(struct order *o)
{
	o->byte = 2;
	o->bit = o->scope ? 7 : 3;
	return o->scope || !type_known(o->type) ? BAD_CDB : DONE;
}

static enum verdict do_reserve(struct order *o)
{
	struct scsi_reservations *r = o->r;

	if (type_check(o) != DONE)
		return BAD_CDB;
	if (r->type)
		return scsi_holds(r, &o->lun->nexus) && r->type == o->type ? DONE : CONFLICT;
	r->type = (uint8_t)o->type;
	r->holder = o->lun->nexus;
	o->changed = true;
	return DONE;
}

static enum verdict do_release(struct order *o)
{
	struct scsi_reservations *r = o->r;

	if (!r->type || !scsi_holds(r, &o->lun->nexus))
		return DONE;
	if (o->scope || r->type != o->type)
		return BAD_RELEASE;
	o->changed = true;
	reservation_end(o);
	return DONE;
}

static enum verdict do_clear(struct order *o)
{
	tell_registrants(o, ATTENTION_PREEMPTED);
	o->r->count = 0;
	o->r->type = 0;
	o->r->generation++;
	o->changed = true;
	return DONE;
}

/* ---- PREEMPT ---- */

static void doom(struct order *o, const struct scsi_nexus *nexus)
{
	if (o->action == PREEMPT_ABORT)
		o->doomed[o->doomed_count++] = *nexus;
}

/* Of that key, or of any (all_keys); not of who asks, unless he names himself. Returns how many there were. */
static unsigned registrants_preempt(struct order *o, bool all_keys)
{
	struct scsi_reservations *r = o->r;
	unsigned found = 0;

	for (unsigned i = 0; i < r->count;) {
		struct scsi_registrant one = r->registrants[i];
		bool mine = nexus_same(&one.nexus, &o->lun->nexus);

		if (!all_keys && one.key == o->service_key)
			found++;
		if (mine || !(all_keys || one.key == o->service_key)) {
			i++;
			continue;
		}
		registrant_remove(r, &r->registrants[i]);
		tell(o, &one.nexus, ATTENTION_REGISTRATIONS);
		doom(o, &one.nexus);
		found += all_keys;
	}
	return found;
}

static void reservation_take(struct order *o)
{
	struct scsi_reservations *r = o->r;
	uint8_t type = r->type;

	r->type = (uint8_t)o->type;
	r->holder = o->lun->nexus;
	if (type != o->type)
		tell_registrants(o, ATTENTION_RELEASED);
}

static bool holder_has_key(const struct scsi_reservations *r, uint64_t key)
{
	for (unsigned i = 0; i < r->count; i++)
		if (nexus_same(&r->registrants[i].nexus, &r->holder))
			return r->registrants[i].key == key;
	return false;
}

static enum verdict do_preempt(struct order *o)
{
	struct scsi_reservations *r = o->r;
	bool all = reservation_all_registrants(r->type);
	bool takes = r->type && (all ? !o->service_key : holder_has_key(r, o->service_key));

	if (!o->service_key && !all)
		return refuse_list(o, 8, -1);
	if (takes && type_check(o) != DONE)
		return BAD_CDB;
	if (!registrants_preempt(o, all && !o->service_key) && !takes)
		return CONFLICT;
	if (takes)
		reservation_take(o);
	r->generation++;
	o->changed = true;
	return DONE;
}

/* ---- REGISTER AND MOVE ---- */

static enum verdict do_move(struct order *o)
{
	struct scsi_reservations *r = o->r;
	struct scsi_nexus to = {o->to_initiator, o->to_port};
	struct scsi_registrant *other;

	if (!r->type || !scsi_holds(r, &o->lun->nexus) || reservation_all_registrants(r->type))
		return CONFLICT;
	if (o->scope || o->type != r->type)
		return type_check(o) == DONE ? CONFLICT : BAD_CDB;
	if (!o->service_key)
		return refuse_list(o, 8, -1);
	if (!lun_of(o, &to) || nexus_same(&to, &o->lun->nexus))
		return refuse_list(o, LIST_BYTES, -1);
	other = scsi_registrant(r, &to);
	if (!other && r->count == SCSI_REGISTRANTS_MAX)
		return NO_ROOM;
	if (!other)
		other = &r->registrants[r->count++];
	*other = (struct scsi_registrant){to, o->service_key};
	r->holder = to;
	if (o->unregister)
		registrant_remove(r, scsi_registrant(r, &o->lun->nexus));
	r->kept = o->aptpl;
	r->generation++;
	o->changed = true;
	return DONE;
}

/* ---- any of them ---- */

static enum verdict order_do(struct order *o)
{
	static enum verdict (*const actions[])(struct order *o) = {
		[REGISTER] = do_register, [RESERVE] = do_reserve, [RELEASE] = do_release, [CLEAR] = do_clear,
		[PREEMPT] = do_preempt, [PREEMPT_ABORT] = do_preempt, [REGISTER_IGNORE] = do_register, [REGISTER_MOVE] = do_move,
	};
	const struct scsi_registrant *mine = scsi_registrant(o->r, &o->lun->nexus);

	if (o->r->legacy)
		return CONFLICT;
	if (o->action != REGISTER && o->action != REGISTER_IGNORE && (!mine || mine->key != o->key))
		return CONFLICT;
	return actions[o->action](o);
}

/* A text to be kept, with its order, if there is anything to be kept or there was. */
static bool keep_fill(struct order *o, bool was_kept, struct scsi_keep *keep)
{
	struct scsi_unit *unit = o->unit;
	char *text;

	if (!o->changed || !unit->keep || !(was_kept || o->r->kept))
		return true;
	text = malloc(SCSI_KEEP_BYTES);
	if (!text)
		return false;
	*text = '\0';
	if (o->r->kept)
		scsi_keep_write(o->r, unit->naa, text);
	keep->text = text;
	keep->order = ++unit->keep_order;
	return true;
}

static void verdict_end(struct scsi_task *task, const struct order *o, enum verdict verdict)
{
	switch (verdict) {
	case CONFLICT:
		scsi_end_status(task, SCSI_CONFLICT);
		break;
	case BAD_CDB:
		scsi_end_cdb(task, o->byte, o->bit);
		break;
	case BAD_LIST:
		scsi_end_list(task, o->byte, o->bit);
		break;
	case BAD_RELEASE:
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_RELEASE);
		break;
	case NO_ROOM:
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_REGISTRATIONS);
		break;
	default:
		scsi_end(task);
	}
}

/* ---- what comes before the answer ---- */

/* In the job's memory. Who is preempted is known by name: a lun of another bus would be kept from ending as long as a text is stored. */
struct abortion {
	struct scsi_management management;
	struct scsi_job *job;
	unsigned count;
	struct scsi_nexus doomed[];
};

enum { KEEPS, ABORTS, ANSWERS };

static void aborted(struct scsi_management *management)
{
	scsi_keep_done(&container_of(management, struct abortion, management)->job->keep, 0); /* a message to the job */
}

static void abort_all(struct scsi_job *job)
{
	struct abortion *abortion = (struct abortion *)(void *)job->buffer;

	abortion->job = job;
	abortion->management.done = aborted;
	scsi_unit_abort(job->path->lun->unit, abortion->doomed, abortion->count, &abortion->management);
}

/* Also for a task that has been aborted itself: what it has changed holds. */
static void order_step(struct scsi_job *job, int result)
{
	if (job->state == KEEPS) {
		job->state = ABORTS;
		if (job->keep.text) {
			scsi_job_keep(job);
			return;
		}
	} else if (job->state == ABORTS) {
		job->done = result != 0; /* could not be stored */
	}
	if (job->state == ABORTS) {
		job->state = ANSWERS;
		if (job->buffer) {
			abort_all(job);
			return;
		}
	}
	if (job->task && job->done)
		scsi_end_check(job->task, KEY_HARDWARE_ERROR, ASC_INTERNAL); /* it holds, but may be forgotten */
	else if (job->task)
		scsi_end(job->task);
	scsi_job_end(job);
}

/* False: no memory; it has changed already. */
static bool dooms_fill(const struct order *o, struct scsi_job *job)
{
	size_t bytes = o->doomed_count * sizeof(*o->doomed);
	struct abortion *abortion;

	if (!bytes)
		return true;
	abortion = calloc(1, sizeof(*abortion) + bytes);
	if (!abortion)
		return false;
	abortion->count = o->doomed_count;
	memcpy(abortion->doomed, o->doomed, bytes);
	job->buffer = (uint8_t *)abortion;
	return true;
}

static void order_carry_out(struct scsi_task *task, struct order *o)
{
	struct scsi_job *job = scsi_job_new(task, 0, order_step);
	struct scsi_unit *unit = o->unit;
	enum verdict verdict;
	bool was_kept, room;

	if (!job)
		return;
	pthread_mutex_lock(&unit->lock);
	was_kept = o->r->kept;
	verdict = order_do(o);
	if (o->changed)
		scsi_bars_apply(unit);
	room = keep_fill(o, was_kept, &job->keep);
	pthread_mutex_unlock(&unit->lock);
	room &= dooms_fill(o, job);
	if (!room) {
		scsi_end_check(task, KEY_HARDWARE_ERROR, ASC_INTERNAL);
		scsi_job_drop(job);
	} else if (job->keep.text || job->buffer) {
		scsi_job_start_now(job);
	} else {
		verdict_end(task, o, verdict);
		scsi_job_drop(job);
	}
}

/* ---- the parameter list ---- */

#define SPEC_I_PT  0x08u
#define ALL_TG_PT  0x04u
#define APTPL	   0x01u
#define UNREGISTER 0x02u

/* False: the task has ended. */
static bool list_parse(struct scsi_task *task, struct order *o, const uint8_t *list)
{
	o->key = get_be64(list);
	o->service_key = get_be64(list + 8);
	o->aptpl = list[20] & APTPL;
	if (list[20] & SPEC_I_PT)
		scsi_end_list(task, 20, 3);
	else if (list[20] & ALL_TG_PT)
		scsi_end_list(task, 20, 2);
	else if (o->aptpl && !o->unit->keep)
		scsi_end_list(task, 20, 0);
	else
		return true;
	return false;
}

/* Of REGISTER AND MOVE, which has a transport identifier. */
static bool move_parse(struct scsi_task *task, struct order *o, const uint8_t *list, size_t bytes)
{
	o->key = get_be64(list);
	o->service_key = get_be64(list + 8);
	o->aptpl = list[17] & APTPL;
	o->unregister = list[17] & UNREGISTER;
	o->to_port = get_be16(list + 18);
	if (get_be32(list + 20) != bytes - LIST_BYTES)
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
	else if (bytes < LIST_BYTES + TRANSPORT_ID_BYTES || list[LIST_BYTES] != 6)
		scsi_end_list(task, LIST_BYTES, -1); /* of our kind alone */
	else if (o->aptpl && !o->unit->keep)
		scsi_end_list(task, 17, 0);
	else {
		o->to_initiator = get_be64(list + LIST_BYTES + 4);
		return true;
	}
	return false;
}

void scsi_do_persist_out(struct scsi_task *task)
{
	struct scsi_unit *unit = unit_of(task);
	struct order order = {.lun = task->path->lun, .unit = unit, .r = &unit->reservations};
	size_t bytes = get_be32(task->cdb + 5);
	uint8_t list[MOVE_BYTES_MAX];

	order.action = scsi_service_action(task->cdb);
	order.scope = task->cdb[2] >> 4;
	order.type = task->cdb[2] & 0xf;
	if (bytes < LIST_BYTES || bytes > (order.action == REGISTER_MOVE ? MOVE_BYTES_MAX : LIST_BYTES)) {
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
		return;
	}
	if (!scsi_list_take(task, list, bytes))
		return;
	if (order.action == REGISTER_MOVE ? move_parse(task, &order, list, bytes) : list_parse(task, &order, list))
		order_carry_out(task, &order);
}
