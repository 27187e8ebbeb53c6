/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_INSTRUCTIONS_CASE_H
#define BENCH_INSTRUCTIONS_CASE_H

/*
 * A case, by its name KIND/RING/SIZE[/OPTION]:
 *
 *	KIND	dequeue, enqueue: the burst API; forward: the switch between two net devices, both ways; request: the block device;
 *		scsi: the SCSI host
 *	RING	split, split-in-order, packed, packed-in-order
 *	SIZE	bytes of a frame, or of a request's data
 *	OPTION	two: header and frame are two descriptors of a chain; indirect: the same in an indirect table;
 *		plain: without mergeable buffers; flows: each frame of a burst has other addresses; logged: into a dirty log;
 *		tracked: what is in flight is written down for a successor; translated: behind an IOMMU, each page by itself;
 *		limited: bytes and frames, in and out, are counted against limits that are never reached; guarded: each frame is
 *		looked at and its first bytes are copied; its type is none that a rule is about; relayed: one guest's port is an
 *		uplink, the other's is vm2vm=hardware; bonded: one guest is behind an uplink that is a bond of two ports, which balances by
 *		layer3+4; rss: UDP over IPv4, whose hash chooses the queue by the driver's table; hashed: the same, and the hash is told to
 *		the receiver; gro: the segments of a burst, of ten bytes of TCP each, become one frame, which is cut again for the receiver;
 *		retried: half of each burst finds no buffers, and waits until the next one comes; snooped: UDP to a group of
 *		IPv4, in a switch that snoops, before anybody has asked for members: each frame is looked into, and goes to all; classed: the receiver's
 *		port has priorities by DSCP, which are looked for in each frame; adaptive: the worker is one that would sleep; paired: two workers, each
 *		with a pair of guests; crowded: as adaptive, beside 254 more ports, whose guests are silent; polled: beside as many, and the worker never
 *		sleeps; off: one guest's port is an uplink, the other's is
 *		vm2vm=off; fixed: each port has an address that alone it may send from; locked: the first one that it sends from; addressed: UDP whose
 *		source must be the port's, all guards are on; stormed: frames to all, counted against a limit that is never reached; tagged: one guest
 *		has a trunk, whose tag is put in and taken out, and the other's port looks at no tags; access: the other's looks at
 *		tags, as vlan= makes it; trunked: both have trunks, and tags are looked at; qinq: as tagged, with 0x88a8 around the
 *		guests' own tags; spread: UDP to a port of two queues, of which the flow keeps one; passed: UDP whose checksum the sender leaves
 *		to the receiver; summed: the same, and the receiver wants it; coalesced: drivers ask for one signal for two bursts; mirrored: all that one port
 *		sends and gets goes to a third one, too, which throws it away; counted: somebody asks who talks to whom
 *
 * Without an option header and frame are one descriptor, buffers are mergeable, and all frames have the same
 * addresses.
 */

#include <stdbool.h>
#include <stdint.h>

#define BURST 32u
/*
 * Bursts that are counted, and before them those that are not. 64: whole rounds of each ring (256 entries, 128
 * chains of two), and of the worker's look at the clock.
 */
#define BURSTS	    64u
#define WARM_BURSTS 64u

enum case_kind { CASE_DEQUEUE, CASE_ENQUEUE, CASE_FORWARD, CASE_REQUEST, CASE_SCSI };

struct bench_case {
	enum case_kind kind;
	bool packed, in_order;
	bool two, indirect, plain, flows, logged, tracked, translated, limited, guarded, relayed;
	bool bonded, rss, hashed, gro, retried, snooped, classed, adaptive, paired, crowded;
	bool polled; /* of crowded: the worker does not sleep */
	bool off, fixed, locked, addressed, stormed, tagged, trunked, qinq, spread, passed, summed, coalesced, mirrored, counted;
	bool access; /* of tagged: both ports look at tags */
	bool silent; /* of a guest: it never sends, and has a notifier */
	uint32_t size_bytes;
};

/* False: there is no such case. */
bool case_parse(const char *name, struct bench_case *ret);
void case_list(void); /* all names, to stdout */

/* Each runs its case and returns the frames, or requests, whose instructions were counted. */
uint64_t run_bursts(const struct bench_case *c);
uint64_t run_forward(const struct bench_case *c);
uint64_t run_requests(const struct bench_case *c);

#endif
