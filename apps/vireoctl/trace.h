/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_TRACE_H
#define VIREOCTL_TRACE_H

#include "options.h"
#include <jansson.h>

/* A trace is read by calls of one method, each with what the one before has answered (NULL: the first one). */

json_t *trace_params(const struct invocation *inv, const json_t *previous);
bool trace_news(const json_t *result, const json_t *previous); /* is there anything to be shown? */
bool trace_goes_on(const json_t *result);
bool trace_done(const json_t *result); /* all frames that were wanted have come */
void trace_rest(const json_t *result); /* before the next call */

#endif
