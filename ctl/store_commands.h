/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_STORE_COMMANDS_H
#define CTL_STORE_COMMANDS_H

#include "ctl/command.h"

/* What vireo-blkd and vireo-scsid have in common (store/commands.h serves it): parts of their tables, which keep the order of help. */
/* clang-format off */
#define CTL_STORE_DISK_COMMANDS(X) \
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
	  serve_export_list, NULL)

#define CTL_STORE_DAEMON_COMMANDS(X) \
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
