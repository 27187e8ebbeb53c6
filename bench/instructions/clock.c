/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Time stands still here, in place of the C library's clock: otherwise a second that begins during a run makes the
 * switch note the age of each address once more than in other runs.
 */

#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	*ret = (struct timespec){.tv_sec = 1000};
	return 0;
}
