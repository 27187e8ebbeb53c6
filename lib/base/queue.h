/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

/*
 * Lists that go through their members, by the names of queue(3), of which musl has none: what is needed here,
 * and no more. STAILQ: singly linked, appended to and taken from the front. TAILQ: doubly linked, so that any
 * member can be removed.
 */

#include <stddef.h>

/* ---- STAILQ ---- */

#define STAILQ_HEAD(name, type)          \
	struct name {                    \
		struct type *first;      \
		struct type **last_link; \
	}
#define STAILQ_ENTRY(type)         \
	struct {                   \
		struct type *next; \
	}
#define STAILQ_INIT(head) ((head)->first = NULL, (head)->last_link = &(head)->first)
#define STAILQ_FIRST(head) ((head)->first)
#define STAILQ_EMPTY(head) (!(head)->first)
#define STAILQ_INSERT_TAIL(head, member, entry)                      \
	((member)->entry.next = NULL, *(head)->last_link = (member), \
	 (head)->last_link = &(member)->entry.next)
#define STAILQ_REMOVE_HEAD(head, entry)                     \
	do {                                                \
		(head)->first = (head)->first->entry.next;  \
		if (!(head)->first)                         \
			(head)->last_link = &(head)->first; \
	} while (0)

/* ---- TAILQ: a member's link is what points to it ---- */

#define TAILQ_HEAD(name, type) STAILQ_HEAD(name, type)
#define TAILQ_ENTRY(type)           \
	struct {                    \
		struct type *next;  \
		struct type **link; \
	}
#define TAILQ_INIT(head) STAILQ_INIT(head)
#define TAILQ_FIRST(head) ((head)->first)
#define TAILQ_EMPTY(head) (!(head)->first)
#define TAILQ_NEXT(member, entry) ((member)->entry.next)
#define TAILQ_FOREACH(at, head, entry) for ((at) = (head)->first; (at); (at) = (at)->entry.next)
#define TAILQ_INSERT_TAIL(head, member, entry_)                                   \
	((member)->entry_.next = NULL, (member)->entry_.link = (head)->last_link, \
	 *(head)->last_link = (member), (head)->last_link = &(member)->entry_.next)
#define TAILQ_REMOVE(head, member, entry)                                        \
	do {                                                                     \
		*(member)->entry.link = (member)->entry.next;                    \
		if ((member)->entry.next)                                        \
			(member)->entry.next->entry.link = (member)->entry.link; \
		else                                                             \
			(head)->last_link = (member)->entry.link;                \
	} while (0)

#endif
