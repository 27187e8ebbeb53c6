/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_running.h"
#include "base/util.h"
#include "daemon/worker_settings.h"
#include "port_spec.h"
#include <stdlib.h>
#include <string.h>

static struct port_running *of(struct spec *spec)
{
	return &container_of(spec, struct port_spec, at)->running;
}

bool port_set_link(struct spec *spec, const char *value)
{
	of(spec)->link_down = !strcmp(value, "down");
	return of(spec)->link_down || !strcmp(value, "up");
}

/* W or Q:W */
static bool part_parse(char *text, struct port_running *running)
{
	unsigned long queue = 0, worker;
	char *colon = strchr(text, ':');

	if (colon)
		*colon++ = '\0';
	if (colon && !parse_number(text, 0, SW_QUEUES_MAX - 1, &queue))
		return false;
	if (!parse_number(colon ? colon : text, 0, WORKERS_MAX - 1, &worker))
		return false;
	if (colon) {
		running->worker[queue] = (uint8_t)(worker + 1);
		running->named_end = (unsigned)max_u64(running->named_end, queue + 1);
	} else {
		memset(running->worker, (int)worker + 1, sizeof(running->worker));
	}
	return true;
}

bool port_set_worker(struct spec *spec, const char *value)
{
	char *text = strdup(value), *rest = text, *part;
	bool good = text;

	memset(of(spec)->worker, 0, sizeof(of(spec)->worker));
	while (good && (part = strsep(&rest, "+")))
		good = part_parse(part, of(spec));
	free(text);
	return good;
}

const char *port_running_problem(const struct port_spec *spec)
{
	return spec->running.named_end > spec->queues ? "worker: expected queues that the port has: queues= says how many" : NULL;
}
