/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREOCTL_FILTER_H
#define VIREOCTL_FILTER_H

/* An expression of pcap-filter(7) as the program that it means, as `tcpdump -ddd` prints it (the caller frees it). NULL: a line has been said. */
char *filter_program(const char *expression);

#endif
