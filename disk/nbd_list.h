/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_NBD_LIST_H
#define DISK_NBD_LIST_H

/* Commands, in the order in which they came. Each is in one list at most. */

#include "disk/nbd.h"

struct op_list {
	struct nbd_op *first, *last;
};

static inline void list_append(struct op_list *list, struct nbd_op *op)
{
	op->next = NULL;
	op->prev = list->last;
	if (list->last)
		list->last->next = op;
	else
		list->first = op;
	list->last = op;
}

static inline void list_remove(struct op_list *list, struct nbd_op *op)
{
	if (op->prev)
		op->prev->next = op->next;
	else
		list->first = op->next;
	if (op->next)
		op->next->prev = op->prev;
	else
		list->last = op->prev;
}

static inline void list_move(struct op_list *to, struct op_list *from)
{
	while (from->first) {
		struct nbd_op *op = from->first;

		list_remove(from, op);
		list_append(to, op);
	}
}

#endif
