/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/instructions/case.h"
#include "base/util.h"
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 64

static const char *const kinds[] = {"dequeue", "enqueue", "forward", "request", "scsi"};
static const char *const rings[] = {"split", "split-in-order", "packed", "packed-in-order"};
static const uint32_t sizes_bytes[] = {64, 1518, 4096};

enum option { NONE, TWO, INDIRECT, PLAIN, FLOWS, LOGGED, TRACKED, TRANSLATED, LIMITED, GUARDED, RELAYED,
	      BONDED, RSS, HASHED, GRO, RETRIED, SNOOPED, CLASSED, ADAPTIVE, PAIRED, CROWDED };
static const char *const options[] = {"", "/two", "/indirect", "/plain", "/flows", "/logged", "/tracked", "/translated", "/limited", "/guarded",
				      "/relayed", "/bonded", "/rss", "/hashed", "/gro", "/retried", "/snooped",
				      "/classed", "/adaptive", "/paired", "/crowded"};

/* Options are measured with short frames, where they weigh most, on the two basic rings. */
static bool exists(unsigned kind, unsigned ring, unsigned size, enum option option)
{
	bool request = kind == CASE_REQUEST || kind == CASE_SCSI;

	if (request != (sizes_bytes[size] == 4096))
		return false;
	if (request)
		return ring % 2 == 0 && (option == NONE || option == INDIRECT || option == TRACKED);
	if (option == NONE)
		return true;
	if (size || ring % 2)
		return false;
	if (option == FLOWS || option >= LOGGED)
		return kind == CASE_FORWARD;
	return option != PLAIN || kind != CASE_DEQUEUE;
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
	snprintf(name, NAME_BYTES, "%s/%s/%u%s", kinds[kind], rings[ring], sizes_bytes[size], options[option]);
	*ret = (struct bench_case){
		.kind = kind,
		.packed = ring / 2,
		.in_order = ring % 2,
		.two = option == TWO || option == INDIRECT,
		.indirect = option == INDIRECT,
		.plain = option == PLAIN,
		.flows = option == FLOWS,
		.logged = option == LOGGED,
		.tracked = option == TRACKED,
		.translated = option == TRANSLATED,
		.limited = option == LIMITED,
		.guarded = option == GUARDED,
		.relayed = option == RELAYED,
		.bonded = option == BONDED,
		.rss = option == RSS,
		.hashed = option == HASHED,
		.gro = option == GRO,
		.retried = option == RETRIED,
		.snooped = option == SNOOPED,
		.classed = option == CLASSED,
		.adaptive = option == ADAPTIVE,
		.paired = option == PAIRED,
		.crowded = option == CROWDED,
		.size_bytes = sizes_bytes[size],
	};
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
