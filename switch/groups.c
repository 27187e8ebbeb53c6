/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/groups.h"

static unsigned find(const struct groups *groups, verdict_t verdict)
{
	unsigned at = groups->newest[verdict_fate(verdict)];

	while (at && groups->group[at - 1].verdict != verdict)
		at = groups->group[at - 1].older;
	return at;
}

static unsigned add(struct groups *groups, verdict_t verdict)
{
	uint8_t *newest = &groups->newest[verdict_fate(verdict)];

	groups->group[groups->count] = (struct group){.verdict = verdict, .older = *newest};
	*newest = (uint8_t)++groups->count;
	return groups->count;
}

void groups_make(struct groups *groups, const verdict_t *verdicts, unsigned count)
{
	groups->count = 0;
	for (unsigned i = 0; i < count; i++) {
		unsigned at = find(groups, verdicts[i]);

		if (!at)
			at = add(groups, verdicts[i]);
		groups->group[at - 1].frames |= 1ull << i;
	}
}

void groups_reset(struct groups *groups)
{
	for (unsigned i = 0; i < groups->count; i++)
		groups->newest[verdict_fate(groups->group[i].verdict)] = 0;
	groups->count = 0;
}

uint64_t groups_frames(const struct groups *groups, verdict_t verdict)
{
	unsigned at = find(groups, verdict);

	return at ? groups->group[at - 1].frames : 0;
}
