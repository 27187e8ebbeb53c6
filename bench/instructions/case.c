/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/instructions/case.h"
#include "base/util.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 64

static const char *const kinds[] = {"dequeue", "enqueue", "forward", "request", "scsi"};
static const char *const rings[] = {"split", "split-in-order", "packed", "packed-in-order"};
static const uint32_t sizes_bytes[] = {64, 1518, 4096};

#define BURSTS_TOO  (1u << CASE_DEQUEUE | 1u << CASE_ENQUEUE)
#define FORWARDS    (1u << CASE_FORWARD)
#define REQUESTS    (1u << CASE_REQUEST | 1u << CASE_SCSI)
#define SET(member) offsetof(struct bench_case, member)

/* What is measured by itself, the members that say so, and of which kinds there are such cases. */
static const struct {
	const char *name;
	unsigned kinds;
	unsigned count;
	size_t sets[2];
} options[] = {
	{"", BURSTS_TOO | FORWARDS | REQUESTS, 0, {0}},
	{"/two", BURSTS_TOO | FORWARDS, 1, {SET(two)}},
	{"/indirect", BURSTS_TOO | FORWARDS | REQUESTS, 2, {SET(two), SET(indirect)}},
	{"/plain", 1u << CASE_ENQUEUE | FORWARDS, 1, {SET(plain)}},
	{"/flows", FORWARDS, 1, {SET(flows)}},
	{"/logged", FORWARDS, 1, {SET(logged)}},
	{"/tracked", FORWARDS | REQUESTS, 1, {SET(tracked)}},
	{"/translated", FORWARDS, 1, {SET(translated)}},
	{"/limited", FORWARDS, 1, {SET(limited)}},
	{"/guarded", FORWARDS, 1, {SET(guarded)}},
	{"/relayed", FORWARDS, 1, {SET(relayed)}},
	{"/bonded", FORWARDS, 1, {SET(bonded)}},
	{"/rss", FORWARDS, 1, {SET(rss)}},
	{"/hashed", FORWARDS, 1, {SET(hashed)}},
	{"/gro", FORWARDS, 1, {SET(gro)}},
	{"/retried", FORWARDS, 1, {SET(retried)}},
	{"/snooped", FORWARDS, 1, {SET(snooped)}},
	{"/classed", FORWARDS, 1, {SET(classed)}},
	{"/adaptive", FORWARDS, 1, {SET(adaptive)}},
	{"/paired", FORWARDS, 1, {SET(paired)}},
	{"/crowded", FORWARDS, 1, {SET(crowded)}},
	{"/polled", FORWARDS, 2, {SET(crowded), SET(polled)}},
	{"/off", FORWARDS, 1, {SET(off)}},
	{"/fixed", FORWARDS, 1, {SET(fixed)}},
	{"/locked", FORWARDS, 1, {SET(locked)}},
	{"/addressed", FORWARDS, 1, {SET(addressed)}},
	{"/stormed", FORWARDS, 1, {SET(stormed)}},
	{"/tagged", FORWARDS, 1, {SET(tagged)}},
	{"/access", FORWARDS, 2, {SET(tagged), SET(access)}},
	{"/trunked", FORWARDS, 1, {SET(trunked)}},
	{"/qinq", FORWARDS, 1, {SET(qinq)}},
	{"/spread", FORWARDS, 1, {SET(spread)}},
	{"/passed", FORWARDS, 1, {SET(passed)}},
	{"/summed", FORWARDS, 1, {SET(summed)}},
	{"/coalesced", FORWARDS, 1, {SET(coalesced)}},
	{"/mirrored", FORWARDS, 1, {SET(mirrored)}},
	{"/counted", FORWARDS, 1, {SET(counted)}},
};

/* Options are measured with short frames, where they weigh most, on the two basic rings. */
static bool exists(unsigned kind, unsigned ring, unsigned size, unsigned option)
{
	bool request = REQUESTS >> kind & 1;

	if (request != (sizes_bytes[size] == 4096) || !(options[option].kinds >> kind & 1))
		return false;
	return request ? ring % 2 == 0 : !option || (!size && ring % 2 == 0);
}

static void option_set(struct bench_case *c, unsigned option)
{
	for (unsigned i = 0; i < options[option].count; i++)
		*(bool *)((char *)c + options[option].sets[i]) = true;
}

/* The number-th case, from 0 on. False: there are not so many. */
static bool case_at(unsigned number, char *name, struct bench_case *ret)
{
	unsigned option = number % ARRAY_SIZE(options), rest = number / ARRAY_SIZE(options);
	unsigned size = rest % ARRAY_SIZE(sizes_bytes), ring = rest / ARRAY_SIZE(sizes_bytes) % ARRAY_SIZE(rings);
	unsigned kind = rest / ARRAY_SIZE(sizes_bytes) / ARRAY_SIZE(rings);

	name[0] = '\0';
	if (kind >= ARRAY_SIZE(kinds))
		return false;
	if (!exists(kind, ring, size, option))
		return true;
	snprintf(name, NAME_BYTES, "%s/%s/%u%s", kinds[kind], rings[ring], sizes_bytes[size], options[option].name);
	*ret = (struct bench_case){.kind = kind, .packed = ring / 2, .in_order = ring % 2, .size_bytes = sizes_bytes[size]};
	option_set(ret, option);
	return true;
}

bool case_parse(const char *name, struct bench_case *ret)
{
	char there[NAME_BYTES];

	for (unsigned i = 0; case_at(i, there, ret); i++)
		if (there[0] && !strcmp(name, there))
			return true;
	return false;
}

void case_list(void)
{
	char name[NAME_BYTES];
	struct bench_case c;

	for (unsigned i = 0; case_at(i, name, &c); i++)
		if (name[0])
			puts(name);
}
