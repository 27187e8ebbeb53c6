/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_MEMBERSHIP_FRAMES_H
#define SWITCH_MEMBERSHIP_FRAMES_H

/*
 * For tests: frames with IGMP and MLD. Groups are 239.1.1.N and ff05::N. Records come as text, four bytes each: type, words of auxiliary
 * data, sources, N.
 */

#include <stdint.h>

struct mframe {
	uint32_t count;
	uint32_t message; /* where it begins */
	uint8_t bytes[1600];
};

void igmp(struct mframe *f, uint8_t type, uint8_t code, uint8_t group); /* a query with group 0: to all */
void igmp3_query(struct mframe *f, uint8_t code, unsigned sources);
void igmp3(struct mframe *f, const char *records, unsigned count);
void mld(struct mframe *f, uint8_t type, uint16_t code, uint8_t group);
void mld2_query(struct mframe *f, uint16_t code, unsigned sources);
void mld2(struct mframe *f, const char *records, unsigned count);
void udp4(struct mframe *f, uint8_t group); /* data */
void udp6(struct mframe *f, uint8_t group);

void store16(struct mframe *f, uint32_t at, uint16_t value);
void mframe_lengths(struct mframe *f); /* as long as it is */
struct mframe *mframe_sum(struct mframe *f);

#endif
