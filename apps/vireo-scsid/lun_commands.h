/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCSID_LUN_COMMANDS_H
#define SCSID_LUN_COMMANDS_H

#include "ctl/command.h"

/* For the table; each is served with the struct store of a struct scsid. */
ctl_serve_fn serve_lun_list, serve_lun_add, serve_lun_remove, serve_lun_resize;

#endif
