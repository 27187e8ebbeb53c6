/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_PCAP_H
#define SWITCHD_PORT_PCAP_H

/* What ports have in their SPEC whose frames come out of a file, or go into one. */

#include <stdbool.h>
#include <stdint.h>

#define PORT_PCAP_BYTES_DEFAULT (UINT64_C(1) << 30)

struct port_pcap_spec {
	bool at_once;	    /* pcap-in: without the pauses that there were */
	bool endless;	    /* pcap-in: again and again */
	unsigned times;	    /* pcap-in: 0: not given, which is once */
	uint64_t bytes_max; /* pcap-out: 0: not given */
};

/* As address_problem of a kind whose address is a file. */
const char *port_file_problem(const char *address);

#endif
