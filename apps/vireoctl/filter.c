/* SPDX-License-Identifier: BSD-3-Clause */
/* By libpcap, where vireoctl was built with it. It may ask for names of hosts and services, which is our affair and not the daemon's. */
#include "filter.h"
#include "ctl/line.h"
#include <stdio.h>

#if VIREO_HAS_PCAP
#include <pcap/pcap.h>
#include <stdlib.h>

#define SNAPLEN 262144

static char *program_text(const struct bpf_program *program)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	fprintf(out, "%u", program->bf_len);
	for (unsigned i = 0; i < program->bf_len; i++)
		fprintf(out, ",%u %u %u %u", program->bf_insns[i].code, program->bf_insns[i].jt, program->bf_insns[i].jf, program->bf_insns[i].k);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

char *filter_program(const char *expression)
{
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, SNAPLEN);
	struct bpf_program program;
	char *text = NULL;

	if (!pcap) {
		line_print(stderr, "vireoctl: --filter: out of memory");
		return NULL;
	}
	if (pcap_compile(pcap, &program, expression, 1, PCAP_NETMASK_UNKNOWN)) {
		line_print(stderr, "vireoctl: --filter '%.200s': %s: see pcap-filter(7)", expression, pcap_geterr(pcap));
	} else {
		text = program_text(&program);
		pcap_freecode(&program);
		if (!text)
			line_print(stderr, "vireoctl: --filter: out of memory");
	}
	pcap_close(pcap);
	return text;
}
#else
char *filter_program(const char *expression)
{
	line_print(stderr, "vireoctl: --filter: this vireoctl was built without libpcap: give what `tcpdump -ddd` prints as --program");
	return NULL;
}
#endif
