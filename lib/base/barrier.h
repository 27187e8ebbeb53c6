/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_BARRIER_H
#define BASE_BARRIER_H

#include <stdbool.h>

/*
 * A full memory barrier in every thread of this process, paid by the caller alone (membarrier(2)): who has looked at something before
 * it has made all its stores before that look visible when this returns; who looks behind it sees what the caller stored before. False: the
 * system refuses it, or has none, and that is not certain.
 */
bool barrier_everywhere(void);

#endif
