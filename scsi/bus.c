/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where units are, and who sees what changes. A queue that has found a logical unit here keeps it in a path,
 * and comes back only for another one. So one that is removed is marked as gone, and all queues get a message
 * that makes them let go of it; who is the last says so.
 */
#include "scsi/internal.h"

/* ---- names ---- */

/* FNV-1a, as 60 bits of a locally assigned NAA: the same name gives the same one everywhere. */
uint64_t scsi_naa(const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	while (*name)
		hash = (hash ^ (uint8_t)*name++) * UINT64_C(0x100000001b3);
	return UINT64_C(3) << 60 | (hash ^ hash >> 60) % (UINT64_C(1) << 60);
}

/* ---- logical units where they are ---- */

static bool lun_before(const struct scsi_lun *lun, unsigned target, unsigned number)
{
	return lun->target < target || (lun->target == target && lun->number < number);
}

/* Where one of that address is, or would be. */
static struct scsi_lun **lun_place(struct scsi_bus *bus, unsigned target, unsigned number)
{
	struct scsi_lun **at = &bus->luns;

	while (*at && lun_before(*at, target, number))
		at = &(*at)->next;
	return at;
}

static bool lun_is(const struct scsi_lun *lun, unsigned target, unsigned number)
{
	return lun && lun->target == target && lun->number == number;
}

struct scsi_lun *scsi_lun_find(struct scsi_bus *bus, unsigned target, unsigned number)
{
	struct scsi_lun *lun;

	pthread_mutex_lock(&bus->lock);
	lun = *lun_place(bus, target, number);
	if (!lun_is(lun, target, number))
		lun = NULL;
	else
		__atomic_fetch_add(&lun->users, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&bus->lock);
	return lun;
}

bool scsi_bus_has_target(struct scsi_bus *bus, unsigned target)
{
	const struct scsi_lun *lun;

	pthread_mutex_lock(&bus->lock);
	lun = *lun_place(bus, target, 0);
	pthread_mutex_unlock(&bus->lock);
	return lun && lun->target == target;
}

struct scsi_lun *scsi_lun_from(struct scsi_bus *bus, unsigned target, unsigned number)
{
	struct scsi_lun *lun;

	pthread_mutex_lock(&bus->lock);
	lun = *lun_place(bus, target, number);
	if (lun && lun->target == target)
		__atomic_fetch_add(&lun->users, 1, __ATOMIC_RELAXED);
	else
		lun = NULL;
	pthread_mutex_unlock(&bus->lock);
	return lun;
}

void scsi_lun_put(struct scsi_lun *lun)
{
	void (*removed)(void *opaque);
	void *opaque;

	if (__atomic_sub_fetch(&lun->users, 1, __ATOMIC_ACQ_REL))
		return;
	removed = lun->removed;
	opaque = lun->opaque;
	free(lun->copies);
	free(lun);
	if (removed)
		removed(opaque);
}

/* ---- unit attentions ---- */

static const uint16_t attention_codes[ATTENTIONS] = {
	[ATTENTION_POWER_ON] = ASC_POWER_ON,
	[ATTENTION_RESET] = ASC_RESET,
	[ATTENTION_NEXUS_LOSS] = ASC_NEXUS_LOSS,
	[ATTENTION_CLEARED] = ASC_CLEARED,
	[ATTENTION_PREEMPTED] = ASC_RESERVATIONS_PREEMPTED,
	[ATTENTION_RELEASED] = ASC_RESERVATIONS_RELEASED,
	[ATTENTION_REGISTRATIONS] = ASC_REGISTRATIONS_PREEMPTED,
	[ATTENTION_MODES] = ASC_MODES,
	[ATTENTION_CAPACITY] = ASC_CAPACITY,
	[ATTENTION_LUNS] = ASC_LUNS,
};

uint16_t scsi_attention_code(enum scsi_attention attention)
{
	return attention_codes[attention];
}

void scsi_attend(struct scsi_lun *lun, enum scsi_attention attention)
{
	const struct scsi_bus *bus = lun->bus;

	__atomic_fetch_or(&lun->attentions, 1u << attention, __ATOMIC_RELAXED);
	if (bus->attention)
		bus->attention(bus->opaque, lun->target, lun->number, attention_codes[attention]);
}

void scsi_attend_others(struct scsi_unit *unit, const struct scsi_lun *but, enum scsi_attention attention)
{
	for (struct scsi_lun *lun = unit->luns; lun; lun = lun->next_of_unit)
		if (lun != but)
			scsi_attend(lun, attention);
}

int scsi_attention_first(const struct scsi_lun *lun)
{
	return __builtin_ffs((int)__atomic_load_n(&lun->attentions, __ATOMIC_RELAXED)) - 1;
}

/* After power on nothing older is of interest (SAM-5, 5.14). */
int scsi_attention_take(struct scsi_lun *lun)
{
	uint32_t had = __atomic_load_n(&lun->attentions, __ATOMIC_RELAXED), left;

	do {
		if (!had)
			return -1;
		left = had & 1u << ATTENTION_POWER_ON ? 0 : had & (had - 1);
	} while (!__atomic_compare_exchange_n(&lun->attentions, &had, left, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return __builtin_ffs((int)had) - 1;
}

/* ---- buses ---- */

int scsi_bus_new(const struct scsi_bus_config *config, struct scsi_bus **ret_bus)
{
	struct scsi_bus *bus;

	if (!config->initiator)
		return -EINVAL;
	bus = calloc(1, sizeof(*bus));
	if (!bus)
		return -ENOMEM;
	bus->initiator = scsi_naa(config->initiator);
	bus->segments_max = config->segments_max;
	bus->attention = config->attention;
	bus->opaque = config->opaque;
	pthread_mutex_init(&bus->lock, NULL);
	*ret_bus = bus;
	return 0;
}

void scsi_bus_free(struct scsi_bus *bus)
{
	if (!bus)
		return;
	assert(!bus->luns && !bus->queues);
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

/* bus.lock is held. */
static void luns_changed(struct scsi_bus *bus, const struct scsi_lun *but, unsigned target)
{
	for (struct scsi_lun *lun = bus->luns; lun; lun = lun->next)
		if (lun != but && lun->target == target)
			scsi_attend(lun, ATTENTION_LUNS);
}

static struct scsi_lun *lun_new(struct scsi_bus *bus, unsigned target, unsigned number, struct scsi_unit *unit)
{
	struct scsi_lun *lun = calloc(1, sizeof(*lun));

	if (!lun)
		return NULL;
	lun->bus = bus;
	lun->unit = unit;
	lun->target = (uint8_t)target;
	lun->number = (uint16_t)number;
	lun->nexus = (struct scsi_nexus){.initiator = bus->initiator, .port = (uint16_t)(target + 1)};
	lun->users = 1;
	lun->attentions = 1u << ATTENTION_POWER_ON;
	return lun;
}

/* Both locks are held. */
static bool lun_put_in(struct scsi_lun *lun)
{
	struct scsi_lun **at = lun_place(lun->bus, lun->target, lun->number);

	if (lun_is(*at, lun->target, lun->number))
		return false;
	lun->next = *at;
	*at = lun;
	lun->next_of_unit = lun->unit->luns;
	lun->unit->luns = lun;
	lun->barred = scsi_bars_of(lun->unit, lun);
	luns_changed(lun->bus, lun, lun->target);
	return true;
}

int scsi_bus_add(struct scsi_bus *bus, unsigned target, unsigned number, struct scsi_unit *unit)
{
	struct scsi_lun *lun;
	bool in;

	if (target >= SCSI_TARGETS || number >= SCSI_LUNS)
		return -EINVAL;
	lun = lun_new(bus, target, number, unit);
	if (!lun)
		return -ENOMEM;
	pthread_mutex_lock(&unit->lock);
	pthread_mutex_lock(&bus->lock);
	in = lun_put_in(lun);
	pthread_mutex_unlock(&bus->lock);
	pthread_mutex_unlock(&unit->lock);
	if (!in)
		free(lun);
	return in ? 0 : -EEXIST;
}

/* Both locks are held. */
static void lun_take_out(struct scsi_lun *lun)
{
	struct scsi_lun **at = lun_place(lun->bus, lun->target, lun->number);

	*at = lun->next;
	for (at = &lun->unit->luns; *at != lun;)
		at = &(*at)->next_of_unit;
	*at = lun->next_of_unit;
	scsi_release_legacy(lun->unit, &lun->nexus);
	__atomic_store_n(&lun->gone, true, __ATOMIC_RELEASE);
	luns_changed(lun->bus, NULL, lun->target);
	for (struct scsi_queue *queue = lun->bus->queues; queue; queue = queue->next)
		scsi_queue_sweep(queue);
}

int scsi_bus_remove(struct scsi_bus *bus, unsigned target, unsigned number, void (*removed)(void *opaque), void *opaque)
{
	struct scsi_lun *lun = scsi_lun_find(bus, target, number);
	struct scsi_unit *unit;

	if (!lun)
		return -ENOENT;
	unit = lun->unit;
	lun->removed = removed;
	lun->opaque = opaque;
	pthread_mutex_lock(&unit->lock);
	pthread_mutex_lock(&bus->lock);
	lun_take_out(lun);
	pthread_mutex_unlock(&bus->lock);
	pthread_mutex_unlock(&unit->lock);
	__atomic_fetch_sub(&lun->users, 1, __ATOMIC_ACQ_REL); /* of the bus; ours is left */
	scsi_lun_put(lun);
	return 0;
}

/* What an initiator has reserved by RESERVE goes with it; persistent reservations stay. */
static void lun_reset(struct scsi_lun *lun)
{
	pthread_mutex_lock(&lun->unit->lock);
	scsi_release_legacy(lun->unit, &lun->nexus);
	scsi_copies_forget(lun);
	pthread_mutex_unlock(&lun->unit->lock);
	__atomic_store_n(&lun->attentions, 1u << ATTENTION_POWER_ON, __ATOMIC_RELAXED);
}

/* The control thread alone adds and removes: the list does not move while it looks. */
void scsi_bus_reset(struct scsi_bus *bus)
{
	for (struct scsi_lun *lun = bus->luns; lun; lun = lun->next)
		lun_reset(lun);
}
