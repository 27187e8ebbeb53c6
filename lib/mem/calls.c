/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of guests that is watched, or comes late (post-copy migration): sparse.c, late.c. */
#include "base/calls.h"
#include "base/util.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#ifndef USERFAULTFD_IOC_NEW /* Linux 6.1 */
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

static const struct call rows[] = {
	CALL("userfaultfd", "pages that nobody has touched, and pages that another host still has"),
	CALL_IOCTL(USERFAULTFD_IOC_NEW, "the same, by /dev/userfaultfd"),
	CALL_IOCTL(UFFDIO_API, "the same"),
	CALL_IOCTL(UFFDIO_REGISTER, "memory of a guest that is watched"),
	CALL_IOCTL(UFFDIO_UNREGISTER, "and is no longer"),
	CALL_IOCTL(UFFDIO_ZEROPAGE, "a page within memory-max="),
	CALL_IOCTL(UFFDIO_WAKE, "who waits for a page that will not come"),
};

extern const struct calls mem_calls;
const struct calls mem_calls = {"lib/mem", rows, ARRAY_SIZE(rows), NULL, 0};
