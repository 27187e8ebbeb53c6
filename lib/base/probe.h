/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_PROBE_H
#define BASE_PROBE_H

/*
 * Probes (USDT) for bpftrace, perf and SystemTap: each is a nop where it stands, and a note in the ELF file that says where that is and where its
 * arguments lie. Arguments are things at hand: what has to be worked out first belongs behind a semaphore (switch/drop_probe.h). The provider is "vireo",
 * names and arguments are in docs/observing.md. Without sys/sdt.h there are none.
 */

#if VIREO_HAS_SDT
#include <sys/sdt.h>

#define PROBE1(name, a)	      DTRACE_PROBE1(vireo, name, a)
#define PROBE2(name, a, b)    DTRACE_PROBE2(vireo, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(vireo, name, a, b, c)
#else
#define PROBE1(name, a)	      ((void)0)
#define PROBE2(name, a, b)    ((void)0)
#define PROBE3(name, a, b, c) ((void)0)
#endif

#endif
