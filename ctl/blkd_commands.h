/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_BLKD_COMMANDS_H
#define CTL_BLKD_COMMANDS_H

#include "ctl/store_commands.h"

/* The commands of vireo-blkd: words, method, parameters, flags, help, who serves, who shows. */
/* clang-format off */
#define CTL_BLKD_COMMANDS(X) \
	X("disk list", "disk.list", "", CTL_WATCH, "list the disks, with their size and traffic", \
	  serve_disk_list, NULL) \
	X("disk add", "disk.add", "SPEC", 0, "open a disk; SPEC is NAME=TYPE:ADDRESS as in vireo-blkd(8)", \
	  serve_disk_add, NULL) \
	X("disk remove", "disk.remove", "NAME", 0, "close a disk that no export uses", \
	  serve_disk_remove, NULL) \
	CTL_STORE_DISK_COMMANDS(X) \
	X("export add", "export.add", "SPEC", 0, "offer a disk at an endpoint; SPEC is as in vireo-blkd(8)", \
	  serve_export_add, NULL) \
	X("export remove", "export.remove", "NAME", 0, "remove an export, and return when it is gone", \
	  serve_export_remove, NULL) \
	X("export show", "export.show", "NAME", CTL_WATCH, "show an export with its queues and counters", \
	  serve_export_show, NULL) \
	X("handover", "handover", "SOCKET VERSION", 0, \
	  "give everything to the process that listens at SOCKET: vireo-blkd --takeover asks for it", serve_store_handover, NULL) \
	CTL_STORE_DAEMON_COMMANDS(X)
/* clang-format on */

#endif
