/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_SCSID_COMMANDS_H
#define CTL_SCSID_COMMANDS_H

#include "ctl/command.h"

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
	X("disk resize", "disk.resize", "NAME SIZE", 0, "make a disk larger, or look how large it is now: SIZE is 20G, or now", \
	  serve_disk_resize, NULL) \
	X("disk throttle", "disk.throttle", "NAME LIMITS", 0, \
	  "change how much may be asked of a disk: LIMITS is iops=1000,bps=20M, a value of 0 takes one away, off all", \
	  serve_disk_throttle, NULL) \
	X("disk forget", "disk.forget", "NAME", 0, "for tests: cut the power of a disk with forget=SIZE, which loses what was not flushed", \
	  serve_disk_forget, NULL) \
	X("disk show", "disk.show", "NAME", CTL_WATCH, "show a disk with all its counters", \
	  serve_disk_show, NULL) \
	X("export list", "export.list", "", CTL_WATCH, "list the exports, with their state and traffic", \
	  serve_export_list, NULL) \
	X("export add", "export.add", "SPEC", 0, "offer a SCSI host at an endpoint; SPEC is as in vireo-scsid(8)", \
	  serve_export_add, NULL) \
	X("export remove", "export.remove", "NAME", 0, "remove an export with its LUNs, and return when it is gone", \
	  serve_export_remove, NULL) \
	X("export show", "export.show", "NAME", CTL_WATCH, "show an export with its LUNs, queues and counters", \
	  serve_export_show, NULL) \
	X("worker list", "worker.list", "", CTL_WATCH, "list the workers, with the queues that each serves", \
	  serve_worker_list, NULL) \
	X("worker move", "worker.move", "EXPORT WORKER", 0, "give an export's queues, or with EXPORT:QUEUE one of them, to a worker", \
	  serve_worker_move, NULL) \
	X("stats", "stats", "", CTL_WATCH, "show all counters: disks, exports, workers", \
	  serve_stats, NULL) \
	X("log level", "log.level", "[LEVEL]", 0, "show what goes to the log, or change it: error, warning, info or debug", \
	  serve_log_level, NULL) \
	X("version", "version", "", 0, "show the version of the daemon", \
	  serve_version, NULL)
/* clang-format on */

#endif
