/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_TALK_SHOW_H
#define SWITCHD_TALK_SHOW_H

#include "ctl/command.h"

ctl_serve_fn serve_talk_show;

#endif
