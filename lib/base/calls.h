/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_CALLS_H
#define BASE_CALLS_H

/*
 * What a room asks of the kernel: system calls and capabilities, each with its reason. The list of a room stands beside the code that
 * needs it, in a file calls.c, and a daemon lets through what its rooms have declared, and nothing else. Data only: whoever makes a new
 * call adds a row in the room of that call.
 */

#include <stdbool.h>
#include <stdint.h>

#define CALL_TESTS_MAX 2u

/* (argument & mask) == value. Of what is wider than 32 bits here, the kernel looks at the lower half: mask what it looks at. */
struct call_test {
	uint8_t argument; /* from 0 on */
	bool self;	  /* the value is the number of this process */
	uint64_t mask, value;
};

struct call {
	const char *names; /* "read readv": as section 2 of the manual has them, one blank between two */
	const char *why;
	const char *only; /* which arguments it may have, in words; NULL: any */
	struct call_test tests[CALL_TESTS_MAX];
	unsigned test_count;
};

struct call_privilege {
	const char *name; /* "CAP_CHOWN" */
	unsigned number;
	const char *why;
};

struct calls {
	const char *room; /* "lib/base" */
	const struct call *rows;
	unsigned count;
	const struct call_privilege *privileges;
	unsigned privilege_count;
};

#define CALL(names, why) {names, why}
/* A call whose argument `number` is `value`, of 32 bits. */
#define CALL_WITH(name, number, value, why) {name, why, #value, {{number, false, 0xffffffffu, value}}, 1}
#define CALL_SELF(name, number, why) {name, why, "of this process", {{number, true, 0xffffffffu, 0}}, 1}
#define CALL_IOCTL(request, why) {"ioctl", why, #request, {{1, false, 0xffffffffu, request}}, 1}
#define CALL_PRIVILEGE(name, why) {#name, name, why}

#endif
