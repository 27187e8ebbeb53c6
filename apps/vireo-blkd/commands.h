/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BLKD_COMMANDS_H
#define BLKD_COMMANDS_H

#include "ctl/command.h"

/* The commands of the control socket; each is served with a struct exports. */
extern const struct ctl_command blkd_commands[];
extern const size_t blkd_command_count;

#endif
