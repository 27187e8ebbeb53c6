/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_TRACE_SHOW_H
#define SWITCHD_TRACE_SHOW_H

#include "ctl/command.h"

ctl_serve_fn serve_trace;

#endif
