/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_COMMANDS_H
#define SWITCHD_COMMANDS_H

#include "ctl/command.h"

/* The rows that vireo-switchd serves; their opaque is the struct ports. */
extern const struct ctl_command switchd_commands[];
extern const size_t switchd_command_count;

#endif
