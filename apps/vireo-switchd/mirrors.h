/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_MIRRORS_H
#define SWITCHD_MIRRORS_H

#include "ctl/command.h"
#include "switch/mirror.h"
#include <stdbool.h>

ctl_serve_fn serve_mirror_add, serve_mirror_list, serve_mirror_remove;

/* ---- what of a mirror is a stranger's ---- */

#define MIRROR_SNAPLEN_MIN 14u
#define MIRROR_TEXT_MAX    4096u /* a path's length, and what a file has of a filter (switch/pcapng.h) */
#define MIRROR_PROGRAM     "vireo-switchd " VIREO_VERSION

/* As `tcpdump -ddd` prints it: how many steps, and each step's four numbers, with commas or ends of lines in between. -EINVAL, -ENOMEM. */
int mirror_program_parse(const char *text, struct packet_filter_step **ret_steps, unsigned *ret_count);
/* It can be written to, and is what mirrors go to; it is looked at without asking whoever is behind it. A pipe or a socket does not block from now on. */
bool mirror_fd_usable(int fd);

#endif
