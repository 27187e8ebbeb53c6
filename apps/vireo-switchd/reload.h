/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_RELOAD_H
#define SWITCHD_RELOAD_H

/*
 * The settings are read again while the switch runs, and what differs is done: ports that are written no more are removed, those
 * that are new are added, one that is written otherwise is changed where it can be, else made anew, and all others are not touched. Ports that clients of
 * the control socket have added stay. Settings that make sense of at the start only are named in a line. If the settings do not parse,
 * nothing is done. Control thread; the file is read, and users and groups are looked up, aside.
 */

#include "options.h"
#include "port.h"

struct reload;
struct rpc_call;

/* `argv` (borrowed) is what the daemon was started with, `options` (borrowed) what was made of it. */
int reload_new(struct ports *ports, int argc, char *const *argv, const struct options *options, const struct vireo_log *log,
	       struct reload **ret_reload);
/* The daemon is ending: what is under way is given up, and who waits for it is told. Takes NULL. */
void reload_end(struct reload *reload);
/* All ports are gone. Takes NULL. */
void reload_free(struct reload *reload);

/* `call` is answered when all is done; NULL: nobody has asked but a signal, and lines of the log tell of it. */
void reload_begin(struct reload *reload, struct rpc_call *call);
bool reload_runs(const struct reload *reload); /* takes NULL */

/* Writes the file of settings that would start the switch as it is now: with its settings, and the ports that it has. */
void reload_config(const struct reload *reload, FILE *out);
/* The file that it was started with (to be freed), or NULL: none, or it is not there. */
char *reload_file(const struct reload *reload);

#endif
