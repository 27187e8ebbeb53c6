/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_LACP_H
#define SWITCH_LACP_H

/*
 * lacp.c: the link aggregation control protocol (IEEE 802.1AX-2014, 6.4) of one group of ports. Pure: frames, links and the time in, state and
 * frames out. It has no clock and knows no port but by its number in the group. lacp_pdu.c: bytes <-> what they say.
 *
 * After each call that is given the time: whose turn it is to speak, lacp_speak() tells; when to call lacp_run(), lacp_due_ms(); and which
 * members may carry frames, lacp_collecting() and lacp_distributing().
 */

#include <stdbool.h>
#include <stdint.h>

#define LACP_MEMBERS_MAX 16u
#define LACP_FRAME_BYTES 124u /* of a LACPDU or a marker, with the Ethernet header */
#define LACP_NEVER	 UINT64_MAX

/* A port's state, as a LACPDU tells it: 6.4.2.3. */
#define LACP_ACTIVITY	     0x01u
#define LACP_TIMEOUT	     0x02u /* short: it wants to hear every second */
#define LACP_AGGREGATION     0x04u
#define LACP_SYNCHRONIZATION 0x08u
#define LACP_COLLECTING	     0x10u
#define LACP_DISTRIBUTING    0x20u
#define LACP_DEFAULTED	     0x40u
#define LACP_EXPIRED	     0x80u

/* What a LACPDU says of one end of a link. */
struct lacp_end {
	uint16_t system_priority;
	uint8_t system[6];
	uint16_t key;
	uint16_t port_priority, port;
	uint8_t state;
};

struct lacp_pdu {
	struct lacp_end actor, partner; /* who has sent it, and what he knows of us */
};

enum lacp_heard {
	LACP_HEARD_PDU,
	LACP_HEARD_MARKER,   /* the answer is to be sent */
	LACP_HEARD_RESPONSE, /* to a marker: we send none */
	LACP_HEARD_BAD,	     /* cut short, or it lies */
};

/* A frame to 01:80:c2:00:00:02 of type 0x8809: a LACPDU is taken apart, anything else is told from it. Subtypes: 6.4.2.3, 6.5.3.3. */
enum lacp_heard lacp_pdu_parse(const uint8_t *frame, uint32_t bytes, struct lacp_pdu *ret_pdu);
/* A whole frame, from `source`. */
void lacp_pdu_put(uint8_t frame[LACP_FRAME_BYTES], const struct lacp_pdu *pdu);
/* Makes the answer of a marker. */
void lacp_marker_answer(uint8_t answer[LACP_FRAME_BYTES], const uint8_t *marker, const uint8_t source[6]);

/* ---- the machines ---- */

enum lacp_receive { LACP_RECEIVE_DISABLED, LACP_RECEIVE_EXPIRED, LACP_RECEIVE_DEFAULTED, LACP_RECEIVE_CURRENT }; /* 6.4.12 */
enum lacp_periodic { LACP_PERIODIC_NONE, LACP_PERIODIC_FAST, LACP_PERIODIC_SLOW };			      /* 6.4.13 */
enum lacp_selected { LACP_UNSELECTED, LACP_STANDBY, LACP_SELECTED };					      /* 6.4.14 */
enum lacp_mux { LACP_MUX_DETACHED, LACP_MUX_WAITING, LACP_MUX_ATTACHED, LACP_MUX_COLLECTING, LACP_MUX_DISTRIBUTING }; /* 6.4.15 */

#define LACP_SENT_MAX 3u /* LACPDUs of a port within LACP_FAST_MS: 6.4.16 */
#define LACP_FAST_MS  1000u
#define LACP_SLOW_MS  30000u
#define LACP_SHORT_MS 3000u
#define LACP_LONG_MS  90000u
#define LACP_WAIT_MS  2000u

struct lacp_counters {
	uint64_t heard, sent, bad, markers;
};

struct lacp_member {
	bool there, up, ntt; /* ntt: need to transmit */
	enum lacp_receive receive;
	enum lacp_periodic periodic;
	enum lacp_selected selected;
	enum lacp_mux mux;
	struct lacp_end actor, partner;
	uint64_t current_ms, periodic_ms, wait_ms; /* when the timers end; LACP_NEVER: they do not run */
	uint64_t sent_ms[LACP_SENT_MAX]; /* a ring */
	uint64_t sent;			 /* by now */
	struct lacp_counters counters;
};

/* Where a member's machines stood in another process. Of its own end all follows from that. */
struct lacp_past {
	bool leads, nobody; /* nobody: none is known at the other end */
	enum lacp_receive receive;
	enum lacp_periodic periodic;
	enum lacp_selected selected;
	enum lacp_mux mux;
	struct lacp_end partner;
	uint64_t current_ms, periodic_ms, wait_ms; /* as of a member, but from then on */
};

struct lacp_config {
	uint8_t system[6];
	uint16_t system_priority, key;
	bool passive; /* silent until it is spoken to */
	bool fast;    /* asks for a LACPDU every second, and gives up after three */
};

struct lacp {
	struct lacp_config config;
	struct lacp_member members[LACP_MEMBERS_MAX];
	bool chosen; /* there is an aggregator: `leader` is a member of it, whose partner is everybody's */
	unsigned leader;
};

void lacp_init(struct lacp *lacp, const struct lacp_config *config);
/* Its link is down at first. `port`: its number, as the partner is told. */
void lacp_member_add(struct lacp *lacp, unsigned member, uint16_t port);
void lacp_member_remove(struct lacp *lacp, unsigned member, uint64_t now_ms);
/*
 * What is said of `count` members of a group together, each of which is there and whose link is up. False: no order of events comes to that, as to two who lead,
 * to who carries with another partner than the one that leads, or to a timer that ends later than any is started for.
 */
bool lacp_pasts_valid(const struct lacp_config *config, const struct lacp_past *pasts, unsigned count);
/* Of one that is there: its link is up, and has been. False: that cannot be. */
bool lacp_past_set(struct lacp *lacp, unsigned member, const struct lacp_past *past, uint64_t now_ms);
void lacp_past_tell(const struct lacp *lacp, unsigned member, uint64_t now_ms, struct lacp_past *ret_past);
void lacp_link_set(struct lacp *lacp, unsigned member, bool up, uint64_t now_ms);
/* A frame of the slow protocols has come. LACP_HEARD_MARKER: `answer` is to go out there. */
enum lacp_heard lacp_hear(struct lacp *lacp, unsigned member, const uint8_t *frame, uint32_t bytes, uint64_t now_ms,
			  uint8_t answer[LACP_FRAME_BYTES]);
void lacp_run(struct lacp *lacp, uint64_t now_ms);
/* True: this frame is to go out of the member, and has been counted as sent. */
bool lacp_speak(struct lacp *lacp, unsigned member, uint64_t now_ms, uint8_t frame[LACP_FRAME_BYTES]);
uint64_t lacp_due_ms(const struct lacp *lacp, uint64_t now_ms);

/* Which members frames may be taken from, and be given to: bits. */
uint32_t lacp_collecting(const struct lacp *lacp);
uint32_t lacp_distributing(const struct lacp *lacp);
/* The partner is this system itself: a cable between two of its ports, or somebody who says so. It is not aggregated with. */
bool lacp_loops(const struct lacp *lacp, unsigned member);

#endif
