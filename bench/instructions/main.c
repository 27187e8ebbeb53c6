/* SPDX-License-Identifier: BSD-3-Clause */

/* Runs one case, for callgrind to count what the device side does: see `run`, which starts this. */

#include "bench/instructions/case.h"
#include <gnu/libc-version.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#ifdef __clang__
#define COMPILER "clang-" __clang_version__
#else
#define COMPILER "gcc-" __VERSION__
#endif

#if defined(__x86_64__)
#define MACHINE "x86_64"
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#else
#define MACHINE "another"
#endif

static int usage(void)
{
	fprintf(stderr, "usage: bench-instructions CASE | --list | --about\n"
			"CASE: KIND/RING/SIZE[/OPTION], one of those that --list prints\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct bench_case c;

	if (argc != 2)
		return usage();
	if (!strcmp(argv[1], "--list")) {
		case_list();
		return 0;
	}
	if (!strcmp(argv[1], "--about")) { /* all that decides how many instructions a case takes, but for the CPU */
		printf("%s %s %s glibc-%s\n", COMPILER, MACHINE, BENCH_BUILD, gnu_get_libc_version());
		return 0;
	}
	if (!case_parse(argv[1], &c))
		return usage();
	printf("%" PRIu64 "\n", c.kind == CASE_FORWARD				 ? run_forward(&c) :
			     c.kind == CASE_REQUEST || c.kind == CASE_SCSI ? run_requests(&c) :
									     run_bursts(&c));
	return 0;
}
