/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_PACKET_FILTER_H
#define SWITCH_PACKET_FILTER_H

/*
 * Programs of the classic BPF, as libpcap compiles expressions to: which frames are wanted. A program comes from outside and is checked
 * once; whatever it does then, it ends, and looks at no byte that is not there.
 */

#include <stdbool.h>
#include <stdint.h>

#define PACKET_FILTER_STEPS_MAX 4096u

/* As in struct sock_filter of the kernel, and struct bpf_insn of libpcap. */
struct packet_filter_step {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

/* False: it could jump or write to where nothing is, divides by 0, has a code that there is not, or no end. */
bool packet_filter_valid(const struct packet_filter_step *steps, unsigned count);

/* It looks at no byte behind the first so many of a frame. UINT32_MAX: that cannot be told. */
uint32_t packet_filter_reach(const struct packet_filter_step *steps, unsigned count);

/* Of a valid program. `have` bytes of the frame are there, of all_bytes. What looks beyond is no match. */
bool packet_filter_match(const struct packet_filter_step *steps, const uint8_t *bytes, uint32_t have, uint32_t all_bytes);

#endif
