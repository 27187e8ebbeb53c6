/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_SCSID_COMMANDS_H
#define CTL_SCSID_COMMANDS_H

#include "ctl/store_commands.h"

/* The commands of vireo-scsid: words, method, parameters, flags, help, who serves, who shows. */
/* clang-format off */
#define CTL_SCSID_COMMANDS(X) \
	X("lun list", "lun.list", "", CTL_WATCH, "list the LUNs of all exports, with their disk and size", \
	  serve_lun_list, NULL) \
	X("lun add", "lun.add", "SPEC", 0, "show a disk; SPEC is [EXPORT/]TARGET:LUN=DISK as in vireo-scsid(8)", \
	  serve_lun_add, NULL) \
	X("lun remove", "lun.remove", "LUN", 0, "remove [EXPORT/]TARGET:LUN, and return when its disk has answered what it had", \
	  serve_lun_remove, NULL) \
	X("lun resize", "lun.resize", "LUN SIZE", 0, "make its disk larger, or look how large it is now: SIZE is 20G, or now", \
	  serve_lun_resize, NULL) \
	X("disk list", "disk.list", "", CTL_WATCH, "list the disks, with their size", \
	  serve_disk_list, NULL) \
	X("disk add", "disk.add", "SPEC", 0, "open a disk; SPEC is NAME=TYPE:ADDRESS as in vireo-scsid(8)", \
	  serve_disk_add, NULL) \
	X("disk remove", "disk.remove", "NAME", 0, "close a disk that no LUN shows", \
	  serve_disk_remove, NULL) \
	CTL_STORE_DISK_COMMANDS(X) \
	X("export add", "export.add", "SPEC", 0, "offer a SCSI host at an endpoint; SPEC is as in vireo-scsid(8)", \
	  serve_export_add, NULL) \
	X("export remove", "export.remove", "NAME", 0, "remove an export with its LUNs, and return when it is gone", \
	  serve_export_remove, NULL) \
	X("export show", "export.show", "NAME", CTL_WATCH, "show an export with its LUNs, queues and counters", \
	  serve_export_show, NULL) \
	X("handover", "handover", "SOCKET VERSION", 0, \
	  "give everything to the process that listens at SOCKET: vireo-scsid --takeover asks for it", serve_store_handover, NULL) \
	CTL_STORE_DAEMON_COMMANDS(X)
/* clang-format on */

#endif
