/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_MIRRORS_H
#define SWITCHD_MIRRORS_H

#include "ctl/command.h"

ctl_serve_fn serve_mirror_add, serve_mirror_list, serve_mirror_remove;

#endif
