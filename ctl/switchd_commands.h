/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CTL_SWITCHD_COMMANDS_H
#define CTL_SWITCHD_COMMANDS_H

#include "ctl/command.h"

/* The commands of vireo-switchd: words, method, parameters, flags, help, who serves, who shows. */
/* clang-format off */
#define CTL_SWITCHD_COMMANDS(X) \
	X("port list", "port.list", "", CTL_WATCH, "list the ports, with their state and traffic", \
	  serve_port_list, show_port_list) \
	X("port add", "port.add", "SPEC", 0, "add a port; SPEC is as in vireo-switchd(8)", \
	  serve_port_add, show_port_add) \
	X("port remove", "port.remove", "NAME", 0, "remove a port, and return when it is gone", \
	  serve_port_remove, show_port_remove) \
	X("port show", "port.show", "NAME", CTL_WATCH, "show a port with all its counters", \
	  serve_port_show, show_port_show) \
	X("port set", "port.set", "NAME SETTINGS", 0, "change VLANs, limits, guards, addresses of a port; SETTINGS is key=value[,key=value...]", \
	  serve_port_set, show_port_set) \
	X("port link", "port.link", "NAME STATE", 0, "set a port's link up or down: pull its cable, or put it back", \
	  serve_port_link, show_port_link) \
	X("bond list", "bond.list", "", CTL_WATCH, "list the bonds, with who of their members carries frames", \
	  serve_bond_list, show_bond_list) \
	X("bond show", "bond.show", "NAME", CTL_WATCH, "show a bond: its members, and what LACP says at each", \
	  serve_bond_show, show_bond_show) \
	X("fdb show", "fdb.show", "", CTL_WATCH, "show the forwarding database: addresses and their ports", \
	  serve_fdb_show, show_fdb_show) \
	X("fdb flush", "fdb.flush", "[PORT]", 0, "forget the addresses behind PORT, or all addresses", \
	  serve_fdb_flush, show_fdb_flush) \
	X("fdb add", "fdb.add", "MAC PORT [VLAN]", 0, "keep an address behind a port, whatever is learned", \
	  serve_fdb_add, show_nothing) \
	X("fdb del", "fdb.del", "MAC [VLAN]", 0, "forget what fdb add has made", \
	  serve_fdb_del, show_nothing) \
	X("fdb clear", "fdb.clear", "[PORT]", 0, "forget all that fdb add has made behind PORT, or behind all ports", \
	  serve_fdb_clear, show_nothing) \
	X("mdb show", "mdb.show", "", CTL_WATCH, "show the multicast database: members of groups, routers, who asks", \
	  serve_mdb_show, show_mdb_show) \
	X("talk show", "talk.show", "", CTL_WATCH, "show who talks to whom: frames from port to port, counted while somebody asks", \
	  serve_talk_show, show_talk) \
	X("trace", "trace", "PORT [--way=from|to] [--count=N] [--id=ID]", CTL_FOLLOWED, "tell of each frame from a port, or to it, why it goes where it goes, or is dropped", \
	  serve_trace, show_trace) \
	X("mirror add", "mirror.add", "PORT [--to=WHERE] [--filter=EXPR] [--program=BPF] [--snaplen=BYTES]", CTL_FD, \
	  "copy a port's frames to a port, a FILE.pcapng or, as pcapng, to standard output (-)", serve_mirror_add, show_mirror_add) \
	X("mirror list", "mirror.list", "", CTL_WATCH, "list the mirrors, with what they have copied", \
	  serve_mirror_list, show_mirror_list) \
	X("mirror remove", "mirror.remove", "ID", 0, "remove a mirror, and return when its file is whole", \
	  serve_mirror_remove, show_nothing) \
	X("worker list", "worker.list", "", CTL_WATCH, "list the workers, with the queues that each serves", \
	  serve_worker_list, show_worker_list) \
	X("worker move", "worker.move", "PORT WORKER", 0, "give a port's queues, or with PORT:QUEUE one of them, to a worker, or to any", \
	  serve_worker_move, show_worker_move) \
	X("stats", "stats", "", CTL_WATCH, "show all counters: ports, workers, forwarding database", \
	  serve_stats, show_stats) \
	X("top", "stats", "", CTL_REPEAT, "show rates, redrawn in place; q quits", \
	  serve_stats, show_top) \
	X("metrics", "stats", "", 0, "print all counters as OpenMetrics text, for Prometheus", \
	  NULL, show_metrics) \
	X("serve", "stats", "[--listen=WHERE] [--hosts=NAMES]", CTL_SERVES | CTL_OWN_PARAMS, \
	  "show a live page and metrics over HTTP, at 127.0.0.1:9871 or ADDRESS:PORT or unix:PATH", NULL, show_nothing) \
	X("doctor", "stats", "", CTL_JUDGED, "tell what is wrong with the switch or this machine, and what to do about it, a line each", \
	  NULL, show_doctor) \
	X("pci list", NULL, "", 0, "list the virtio functions of this machine, and who drives them", \
	  NULL, show_pci_list) \
	X("pci bind", NULL, "ADDRESS [DRIVER]", 0, "give a function to vfio-pci or uio_pci_generic", \
	  NULL, show_pci_function) \
	X("pci unbind", NULL, "ADDRESS", 0, "give a function back to the kernel", \
	  NULL, show_pci_function) \
	X("reload", "reload", "", 0, "read the configuration file again, and do what differs", \
	  serve_reload, show_reload) \
	X("config show", "config.show", "", 0, "print the configuration file of the switch as it runs", \
	  serve_config_show, show_config) \
	X("save", "config.show", "[FILE]", CTL_OWN_PARAMS, "write that into FILE, or into the file that the switch was started with", \
	  NULL, show_save) \
	X("handover", "handover", "SOCKET VERSION [--reopen=yes]", 0, \
	  "give everything to the process that listens at SOCKET: vireo-switchd --takeover asks for it", serve_handover, show_nothing) \
	X("log level", "log.level", "[LEVEL]", 0, "show what goes to the log, or change it: error, warning, info or debug", \
	  serve_log_level, show_log_level) \
	X("version", "version", "", 0, "show the versions of vireoctl and of the daemon", \
	  serve_version, show_version) \
	X("help", NULL, "", 0, "show this list", \
	  NULL, show_help)
/* clang-format on */

#endif
