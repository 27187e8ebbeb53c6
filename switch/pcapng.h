/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_PCAPNG_H
#define SWITCH_PCAPNG_H

/* Blocks of pcapng (draft-ietf-opsawg-pcapng), in this machine's byte order. Pure functions: bytes go into a buffer that the caller has. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCAPNG_HEAD_MAX   8192u /* pcapng_head() */
#define PCAPNG_FILTER_MAX 4096u
#define PCAPNG_EXTRA_MAX  512u /* pcapng_packet(), beside the packet's bytes */
#define PCAPNG_END_MAX    128u /* pcapng_end() */

struct pcapng_head {
	const char *program, *interface, *filter; /* filter: NULL: none. Longer ones than PCAPNG_FILTER_MAX are cut. */
	uint32_t snaplen;
};

struct pcapng_packet {
	uint64_t ns; /* since 1970 */
	uint32_t bytes, frame_bytes; /* that are here, that there were */
	bool out; /* it was sent by the interface, and not received */
	const char *comment; /* at most PCAPNG_EXTRA_MAX / 2 bytes are taken; NULL: none */
};

struct pcapng_end {
	uint64_t ns, received, dropped; /* dropped: what the mirror lost */
};

/* The section's header and its one interface. Returns how many bytes. */
size_t pcapng_head(uint8_t *to, const struct pcapng_head *head);
size_t pcapng_packet(uint8_t *to, const struct pcapng_packet *packet, const uint8_t *bytes);
size_t pcapng_end(uint8_t *to, const struct pcapng_end *end); /* the interface's counters */

/* Do these bytes (any) begin with a section's header of pcapng_head(), whose program begins so? They are enough if they are PCAPNG_LOOK_BYTES. */
#define PCAPNG_LOOK_BYTES 320u
bool pcapng_is_by(const uint8_t *bytes, size_t count, const char *program);

#endif
