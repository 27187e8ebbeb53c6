/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/letters.h"

struct vireo_letter *letters_take(struct letters *letters)
{
	struct vireo_letter *last = __atomic_exchange_n(&letters->last, NULL, __ATOMIC_ACQUIRE);
	struct vireo_letter *first = NULL;

	while (last) {
		struct vireo_letter *before = last->next;

		last->next = first;
		first = last;
		last = before;
	}
	return first;
}

unsigned letters_deliver(struct letters *letters)
{
	struct vireo_letter *letter = letters_take(letters), *next;
	unsigned count = 0;

	for (; letter; letter = next, count++) {
		next = letter->next; /* before it goes where it likes */
		letter->deliver(letter);
	}
	return count;
}
