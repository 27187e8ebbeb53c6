/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reservations that are stored in a file. A worker brings a text and its order (keeper_keep()); the control thread gathers what has come, and has the text with
 * the highest order stored by a thread, for that waits for the disk; then all that it stands for are answered. What comes late with an order lower
 * than that is in the file already.
 */
#include "unit.h"
#include "base/log.h"
#include "daemon/errand.h"
#include "vireo/mailbox.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct keep_note {
	struct vireo_letter letter; /* first */
	struct keep_note *next;
	struct keeper *keeper;
	struct scsi_keep *keep;
};

struct storing {
	struct errand errand; /* first */
	struct keeper *keeper;
	struct keep_note *notes;
	uint64_t order;
	char *path, *text;
	int err;
};

static void notes_done(struct keep_note *note, int err)
{
	while (note) {
		struct keep_note *next = note->next;

		scsi_keep_done(note->keep, err);
		free(note);
		note = next;
	}
}

static void store(struct errand *errand)
{
	struct storing *s = (struct storing *)errand;

	s->err = scsi_keep_file(s->path, s->text);
}

static void drop(struct errand *errand)
{
	struct storing *s = (struct storing *)errand;

	free(s->path);
	free(s->text);
	free(s);
}

static void store_next(struct keeper *keeper);

static void stored(struct errand *errand, int err)
{
	struct storing *s = (struct storing *)errand;
	struct keeper *keeper = s->keeper;

	if (!err)
		err = s->err;
	if (err)
		log_error(&keeper->log, "%s: reservations are not kept: %s", keeper->path, strerror(-err));
	else
		keeper->stored_order = s->order;
	keeper->storing = false;
	notes_done(s->notes, err);
	store_next(keeper);
}

static const struct errand_ops ops = {.work = store, .done = stored, .drop = drop};

static const struct scsi_keep *newest(const struct keep_note *notes)
{
	const struct scsi_keep *keep = notes->keep;

	for (; notes; notes = notes->next)
		if (notes->keep->order > keep->order)
			keep = notes->keep;
	return keep;
}

static int storing_run(struct keeper *keeper, const struct scsi_keep *keep)
{
	struct storing *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (!s)
		return err;
	*s = (struct storing){.errand.ops = &ops, .keeper = keeper, .notes = keeper->waiting, .order = keep->order};
	s->path = strdup(keeper->path);
	s->text = strdup(keep->text);
	if (s->path && s->text)
		err = errands_run(keeper->errands, &s->errand);
	if (err)
		drop(&s->errand);
	return err;
}

static void store_next(struct keeper *keeper)
{
	struct keep_note *notes = keeper->waiting;
	int err = 0;

	if (!notes || keeper->storing)
		return;
	if (newest(notes)->order > keeper->stored_order) {
		err = storing_run(keeper, newest(notes));
		keeper->storing = !err;
	}
	keeper->waiting = NULL;
	if (!keeper->storing)
		notes_done(notes, err);
}

static void arrived(struct vireo_letter *letter)
{
	struct keep_note *note = (struct keep_note *)letter;
	struct keeper *keeper = note->keeper;

	note->next = keeper->waiting;
	keeper->waiting = note;
	store_next(keeper);
}

void keeper_keep(void *opaque, struct scsi_keep *keep)
{
	struct keeper *keeper = opaque;
	struct keep_note *note = malloc(sizeof(*note));

	if (!note) {
		scsi_keep_done(keep, -ENOMEM);
		return;
	}
	*note = (struct keep_note){.letter.deliver = arrived, .keeper = keeper, .keep = keep};
	vireo_mailbox_post(keeper->mailbox, &note->letter);
}
