/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/fault.h"
#include "vireo/fault.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>

/* The handler has no other way to it. */
static struct vireo_fault_table *table;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	if (!vireo_fault_handle(table, info->si_addr)) { /* not guest memory: our own bug, and the end */
		signal(sig, SIG_DFL);
		raise(sig);
	}
	errno = saved;
}

int fault_handler_open(struct vireo_fault_table **ret_table)
{
	const struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};
	int err = vireo_fault_table_new(0, &table);

	if (err)
		return err;
	if (sigaction(SIGBUS, &bus, NULL)) {
		err = -errno;
		fault_handler_close();
		return err;
	}
	*ret_table = table;
	return 0;
}

void fault_handler_close(void)
{
	signal(SIGBUS, SIG_DFL);
	vireo_fault_table_free(table);
	table = NULL;
}
