/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A guard over frames of any content: it looks at nothing beyond what it is given, and how much that is changes no verdict, but for "more".
 */
#include "fuzz.h"
#include "switch/guard.h"
#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX 2048u

static const uint16_t types[] = {0x0800, 0x0806, 0x86dd, 0x8035, 0x8100, 0x88a8, 40, 0};

static enum guard_verdict ask(const struct sw_guard *guard, const uint8_t *bytes, uint32_t have, uint32_t len)
{
	uint8_t *exact = malloc(have); /* whose end the sanitizer knows */
	enum guard_verdict verdict;
	uint32_t looked;

	if (!exact)
		abort();
	memcpy(exact, bytes, have);
	verdict = guard_check(guard, exact, have, len, &looked);
	assert(verdict != GUARD_PASS || looked <= have);
	free(exact);
	return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct sw_guard guard = {.addresses = {{4, 0, {0}}, {6, 3, {0x20}}}};
	static uint8_t bytes[FRAME_BYTES_MAX];
	uint8_t kind = fuzz_u8(&in), type = fuzz_u8(&in);
	uint32_t len = 14 + fuzz_u16(&in) % (FRAME_BYTES_MAX - 14), have = 14 + fuzz_u16(&in) % (len - 13);
	enum guard_verdict whole, part;

	guard.neighbours = kind & 1;
	guard.dhcp_servers = kind & 2;
	guard.routers = kind & 4;
	guard.address_count = kind >> 3 & 1 ? 2 : 0;
	memset(bytes, 0, sizeof(bytes));
	fuzz_take(&in, bytes, in.left < len ? in.left : len);
	if (types[type % 8]) {
		bytes[12] = (uint8_t)(types[type % 8] >> 8);
		bytes[13] = (uint8_t)types[type % 8];
	}
	whole = ask(&guard, bytes, len, len);
	part = ask(&guard, bytes, have, len);
	assert(whole != GUARD_MORE);
	assert(part == whole || (part == GUARD_MORE && have < len));
	return 0;
}
