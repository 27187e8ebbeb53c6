/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_FAULT_H
#define DAEMON_FAULT_H

/* The process's SIGBUS handler: guest memory that a peer truncates costs that peer's device, and nobody else (vireo/fault.h). */

struct vireo_fault_table;

/* Makes the one table, and takes SIGBUS. -ENOMEM, or what sigaction says. */
int fault_handler_open(struct vireo_fault_table **ret_table);
/* No device uses the table any more. Without one it does nothing. */
void fault_handler_close(void);

#endif
