/* SPDX-License-Identifier: BSD-3-Clause */
#include "work/nodes.h"
#include "base/util.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- CPUs ---- */

/* "0-3,8": what is no such list ends it. */
static void cpus_note(const char *list, int node, struct nodes *nodes)
{
	while (*list >= '0' && *list <= '9') {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

		for (unsigned long cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
			nodes->of_cpu[cpu] = (int16_t)node;
		list = end + (*end == ',');
	}
}

/* False: there is no such node. */
static bool node_read(const char *path, int node, struct nodes *nodes)
{
	char name[256], list[1024];
	FILE *file;

	snprintf(name, sizeof(name), "%s/node%d/cpulist", path, node);
	file = fopen(name, "re");
	if (!file)
		return false;
	if (fgets(list, sizeof(list), file))
		cpus_note(list, node, nodes);
	fclose(file);
	return true;
}

/* "possible" names the highest number that a node may have: "0", or "0-7". */
static unsigned nodes_end(const char *path)
{
	char name[256], list[256] = "";
	unsigned long last = 0;
	FILE *file;

	snprintf(name, sizeof(name), "%s/possible", path);
	file = fopen(name, "re");
	if (!file)
		return 0;
	if (fgets(list, sizeof(list), file)) {
		const char *at = list + strcspn(list, "\n");

		while (at > list && at[-1] >= '0' && at[-1] <= '9')
			at--;
		last = strtoul(at, NULL, 10);
	}
	fclose(file);
	return (unsigned)min_u64(last + 1, NODES_MAX);
}

void nodes_read(const char *path, struct nodes *ret_nodes)
{
	unsigned end = nodes_end(path);

	ret_nodes->count = 0;
	memset(ret_nodes->of_cpu, 0xff, sizeof(ret_nodes->of_cpu)); /* -1 */
	for (unsigned node = 0; node < end; node++)
		ret_nodes->count += node_read(path, (int)node, ret_nodes);
}

/* ---- memory ---- */

int nodes_ask(unsigned count, void *const *addresses, int *ret_nodes)
{
	return syscall(SYS_move_pages, 0, (unsigned long)count, addresses, NULL, ret_nodes, 0) ? -errno : 0;
}

void nodes_vote(struct nodes_vote *vote, int found)
{
	if (found < 0)
		return;
	if (!vote->count)
		vote->node = found;
	if (vote->node != found)
		vote->count--;
	else if (vote->count < NODES_VOTES_MAX)
		vote->count++;
}

int nodes_voted(const struct nodes_vote *vote)
{
	return vote->count >= NODES_VOTES_KNOWN ? vote->node : -1;
}
