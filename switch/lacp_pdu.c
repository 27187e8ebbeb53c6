/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * LACPDUs (IEEE 802.1AX-2014, 6.4.2.3) and markers (6.5.3.3) as they stand in a frame. What a later version has added lies behind what
 * version 1 has, and is not looked at. Types and lengths of the TLVs are as they must be, or the frame lies.
 */

#include "switch/headers.h"
#include "switch/lacp.h"
#include <string.h>

#define TYPE_SLOW	  0x8809u
#define SUBTYPE_LACP	  1u
#define SUBTYPE_MARKER	  2u
#define SUBTYPE_AT	  14u
#define VERSION_AT	  15u
#define ACTOR_AT	  16u
#define PARTNER_AT	  36u
#define COLLECTOR_AT	  56u
#define TERMINATOR_AT	  72u
#define MARKER_AT	  16u
#define MARKER_END_AT	  32u
#define END_TLV_BYTES	  20u
#define COLLECTOR_BYTES	  16u
#define MARKER_BYTES	  16u

enum tlv { TLV_TERMINATOR, TLV_ACTOR, TLV_PARTNER, TLV_COLLECTOR };
enum marker { MARKER_INFORMATION = 1, MARKER_RESPONSE = 2 };

static const uint8_t slow_address[6] = {0x01, 0x80, 0xc2, 0, 0, 2};

static bool tlv_is(const uint8_t *at, unsigned type, unsigned bytes)
{
	return at[0] == type && at[1] == bytes;
}

static struct lacp_end end_of(const uint8_t *tlv)
{
	struct lacp_end end = {
		.system_priority = load_be16(tlv + 2),
		.key = load_be16(tlv + 10),
		.port_priority = load_be16(tlv + 12),
		.port = load_be16(tlv + 14),
		.state = tlv[16],
	};

	memcpy(end.system, tlv + 4, sizeof(end.system));
	return end;
}

static void end_put(uint8_t *tlv, enum tlv type, const struct lacp_end *end)
{
	tlv[0] = (uint8_t)type;
	tlv[1] = END_TLV_BYTES;
	store_be16(tlv + 2, end->system_priority);
	memcpy(tlv + 4, end->system, sizeof(end->system));
	store_be16(tlv + 10, end->key);
	store_be16(tlv + 12, end->port_priority);
	store_be16(tlv + 14, end->port);
	tlv[16] = end->state;
}

/* A system has an address of its own. */
static bool system_valid(const uint8_t system[6])
{
	static const uint8_t none[6];

	return !(system[0] & 1) && memcmp(system, none, sizeof(none)) != 0;
}

static enum lacp_heard parse_lacp(const uint8_t *frame, struct lacp_pdu *ret_pdu)
{
	struct lacp_pdu pdu;

	if (!tlv_is(frame + ACTOR_AT, TLV_ACTOR, END_TLV_BYTES) || !tlv_is(frame + PARTNER_AT, TLV_PARTNER, END_TLV_BYTES) ||
	    !tlv_is(frame + COLLECTOR_AT, TLV_COLLECTOR, COLLECTOR_BYTES))
		return LACP_HEARD_BAD;
	if (frame[VERSION_AT] == 1 && !tlv_is(frame + TERMINATOR_AT, TLV_TERMINATOR, 0))
		return LACP_HEARD_BAD;
	pdu.actor = end_of(frame + ACTOR_AT);
	pdu.partner = end_of(frame + PARTNER_AT);
	if (!system_valid(pdu.actor.system))
		return LACP_HEARD_BAD;
	*ret_pdu = pdu;
	return LACP_HEARD_PDU;
}

static enum lacp_heard parse_marker(const uint8_t *frame)
{
	if (!tlv_is(frame + MARKER_END_AT, TLV_TERMINATOR, 0))
		return LACP_HEARD_BAD;
	if (tlv_is(frame + MARKER_AT, MARKER_INFORMATION, MARKER_BYTES))
		return LACP_HEARD_MARKER;
	return tlv_is(frame + MARKER_AT, MARKER_RESPONSE, MARKER_BYTES) ? LACP_HEARD_RESPONSE : LACP_HEARD_BAD;
}

enum lacp_heard lacp_pdu_parse(const uint8_t *frame, uint32_t bytes, struct lacp_pdu *ret_pdu)
{
	if (bytes < LACP_FRAME_BYTES || memcmp(frame, slow_address, sizeof(slow_address)) != 0 || load_be16(frame + 12) != TYPE_SLOW ||
	    frame[6] & 1 || !frame[VERSION_AT])
		return LACP_HEARD_BAD;
	if (frame[SUBTYPE_AT] == SUBTYPE_LACP)
		return parse_lacp(frame, ret_pdu);
	return frame[SUBTYPE_AT] == SUBTYPE_MARKER ? parse_marker(frame) : LACP_HEARD_BAD;
}

static void put_ethernet(uint8_t *frame, const uint8_t source[6])
{
	memcpy(frame, slow_address, sizeof(slow_address));
	memcpy(frame + 6, source, 6);
	store_be16(frame + 12, TYPE_SLOW);
}

void lacp_pdu_put(uint8_t frame[LACP_FRAME_BYTES], const struct lacp_pdu *pdu)
{
	memset(frame, 0, LACP_FRAME_BYTES);
	put_ethernet(frame, pdu->actor.system);
	frame[SUBTYPE_AT] = SUBTYPE_LACP;
	frame[VERSION_AT] = 1;
	end_put(frame + ACTOR_AT, TLV_ACTOR, &pdu->actor);
	end_put(frame + PARTNER_AT, TLV_PARTNER, &pdu->partner);
	frame[COLLECTOR_AT] = TLV_COLLECTOR;
	frame[COLLECTOR_AT + 1] = COLLECTOR_BYTES;
}

void lacp_marker_answer(uint8_t answer[LACP_FRAME_BYTES], const uint8_t *marker, const uint8_t source[6])
{
	memcpy(answer, marker, LACP_FRAME_BYTES);
	put_ethernet(answer, source);
	answer[MARKER_AT] = MARKER_RESPONSE;
}
