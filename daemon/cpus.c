/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/cpus.h"
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>

static bool number(const char **at, unsigned *ret)
{
	unsigned n = 0;

	if (!isdigit((unsigned char)**at))
		return false;
	for (; isdigit((unsigned char)**at); (*at)++) {
		n = n * 10 + (unsigned)(**at - '0');
		if (n >= CPU_SETSIZE)
			return false;
	}
	*ret = n;
	return true;
}

static bool set_of(const char *text, cpu_set_t *set)
{
	unsigned from, to;

	CPU_ZERO(set);
	while (*text) {
		if (!number(&text, &from))
			return false;
		to = from;
		if (*text == '-' && (text++, !number(&text, &to)))
			return false;
		if (to < from || (*text && *text != ','))
			return false;
		for (; from <= to; from++) {
			if (CPU_ISSET(from, set))
				return false;
			CPU_SET(from, set);
		}
		text += *text == ',';
	}
	return true;
}

int cpus_parse(const char *text, int *cpus, unsigned max)
{
	cpu_set_t set, allowed;
	unsigned count = 0;

	if (!set_of(text, &set))
		return -EINVAL;
	if (CPU_COUNT(&set) == 0 || (unsigned)CPU_COUNT(&set) > max)
		return -EINVAL;
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -errno;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set) && !CPU_ISSET(cpu, &allowed))
			return -ENODEV;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[count++] = cpu;
	return (int)count;
}
