/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_FORGET_LINE_H
#define DISK_FORGET_LINE_H

/*
 * Who goes to the disk past what is held, and when: several at once, or one alone. Who cannot go yet stands in one line, whatever queue it is of,
 * and nobody overtakes it; so nobody waits for ever. A queue's requests wait in a list of the queue's own, and the line knows the
 * number of its first one. All of it under the lock of the layer.
 */

#include "base/util.h"
#include "disk/wake.h"
#include <stdbool.h>
#include <stdint.h>

#define FORGET_NOBODY UINT64_MAX

struct forget_place {
	struct forget_place *next;
	const struct wake *wake;
	uint64_t first; /* the number of the first that waits there; FORGET_NOBODY */
};

struct forget_line {
	struct forget_place *places;
	uint64_t numbers; /* that have been given */
	unsigned several; /* are on their way */
	bool alone;	  /* one is, which wants nobody beside it */
};

static inline void forget_line_join(struct forget_line *line, struct forget_place *place, const struct wake *wake)
{
	*place = (struct forget_place){.next = line->places, .wake = wake, .first = FORGET_NOBODY};
	line->places = place;
}

static inline void forget_line_leave(struct forget_line *line, struct forget_place *place)
{
	struct forget_place **at = &line->places;

	while (*at != place)
		at = &(*at)->next;
	*at = place->next;
}

static inline uint64_t forget_line_number(struct forget_line *line)
{
	return line->numbers++;
}

/* NULL: nobody waits. */
static inline const struct forget_place *forget_line_head(const struct forget_line *line)
{
	const struct forget_place *head = NULL;

	for (const struct forget_place *p = line->places; p; p = p->next)
		if (p->first != FORGET_NOBODY && (!head || p->first < head->first))
			head = p;
	return head;
}

static inline bool forget_line_may(const struct forget_line *line, uint64_t number, bool alone)
{
	const struct forget_place *head = forget_line_head(line);

	return !line->alone && !(alone && line->several) && (!head || number <= head->first);
}

/* It may. */
static inline void forget_line_go(struct forget_line *line, bool alone)
{
	line->alone = alone;
	line->several += !alone;
}

/* Whoever is first now is to look again. */
static inline void forget_line_moved(const struct forget_line *line)
{
	const struct forget_place *head = forget_line_head(line);

	if (head)
		wake_at(head->wake, 0);
}

static inline void forget_line_back(struct forget_line *line, bool alone)
{
	line->alone = line->alone && !alone;
	line->several -= !alone;
	forget_line_moved(line);
}

#endif
