/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_COMMANDS_H
#define STORE_COMMANDS_H

/* Commands of the control socket that all daemons with disks have, for their tables. Each is served with a struct store. */

#include "ctl/command.h"

struct rpc_call;
struct store;
struct store_disk;

ctl_serve_fn serve_disk_list, serve_disk_add, serve_disk_remove, serve_disk_resize, serve_disk_throttle, serve_disk_forget, serve_disk_show;
ctl_serve_fn serve_export_list, serve_export_add, serve_export_remove, serve_export_show;
ctl_serve_fn serve_worker_list, serve_worker_move;
ctl_serve_fn serve_stats, serve_log_level, serve_version;
ctl_serve_fn serve_store_handover;

/* The one that the parameter `param` names; NULL: there is none, and the call has been answered. */
struct store_disk *command_disk(struct rpc_call *call, const struct store *store, const char *param);
struct export *command_export(struct rpc_call *call, const struct store *store, const char *name);
/* Carries out the parameter "size": a size, or now. Answers the call. */
void command_disk_resize(struct rpc_call *call, struct store *store, struct store_disk *disk);

#endif
