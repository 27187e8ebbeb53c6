/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_SHOW_H
#define VIREOCTL_SHOW_H

#include "ctl/command.h"
#include <stdio.h>

/* What a row's show function gets: the daemon's answer, and where to print it. */
struct show {
	FILE *out;
	const struct ctl_command *commands;
	size_t command_count;
	const char *daemon; /* as --daemon names it */
	const json_t *result;
	const json_t *previous; /* the answer before, when repeating; NULL: this is the first */
	const char *word; /* the first parameter that was given, or NULL */
	bool failed;	  /* set by whoever has more to do than to print, and has told on stderr why it is not done */
	size_t columns;		/* of the terminal that it is drawn on; 0: of none */
	unsigned fixed_lines;	/* what is printed first and stays in sight when the rest is scrolled; set by whoever prints */
};

ctl_show_fn show_bond_list, show_bond_show;
ctl_show_fn show_doctor;
ctl_show_fn show_mdb_show;
ctl_show_fn show_mirror_add, show_mirror_list;
ctl_show_fn show_metrics; /* of "stats", whichever daemon's */
void metrics_print(const json_t *stats, bool plain, FILE *out); /* the same; `plain`: as Prometheus's older text format */
ctl_show_fn show_save;
ctl_show_fn show_talk;
ctl_show_fn show_trace; /* of `previous`: how many frames were lost by then */
ctl_show_fn show_port_list, show_port_add, show_port_remove, show_port_show, show_port_link, show_port_set, show_nothing, show_worker_list, show_worker_move, show_log_level, show_reload, show_config, show_fdb_show, show_fdb_flush,
	show_stats, show_top, show_version, show_pci_list, show_pci_function, show_help,
	show_any;

/* --help: usage, and the commands with their help. */
void show_usage(FILE *out, const char *daemon, const struct ctl_command *commands, size_t count);

#endif
