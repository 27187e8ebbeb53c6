/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_MIRROR_H
#define SWITCH_MIRROR_H

/*
 * Mirrors: copies of what a port sends and receives, to another port, or into a file, a pipe or a socket as pcapng. Part of switch.h;
 * control thread.
 */

#include "switch/packet_filter.h"
#include "switch/switch.h"

struct sw_mirror;
struct sw_mirror_past;

#define SW_MIRRORS_MAX      16u /* of a switch */
#define SW_PORT_MIRRORS_MAX 4u
#define SW_MIRROR_SNAPLEN   (65535u + 78u)

struct sw_mirror_config {
	struct sw_port *source;
	/* Where copies go to: a port, which is the source of no mirror, as no source is where one goes to: -ELOOP. */
	struct sw_port *to;
	/*
	 * Or, without one, an fd to be written to, which is taken over on success. Writing may wait: a thread of the mirror's own does it. When whoever
	 * reads a pipe or a socket has gone, the mirror goes, too; after any other failure it copies no more, and says why.
	 */
	int fd;
	const char *where; /* how people call that; copied */
	const char *program; /* as what writes the file; copied */
	/* Which frames: all steps are copied, -EINVAL: they are no valid program. 0 steps: all frames. */
	const struct packet_filter_step *filter;
	unsigned filter_steps;
	const char *expression; /* that it was made of; copied; NULL: unknown */
	uint32_t snaplen; /* so many bytes of each frame are written; 0: SW_MIRROR_SNAPLEN */
	const struct sw_mirror_past *past; /* another process has copied until now; NULL: none has */
};

/*
 * A mirror as one process hands it over to another: what it has copied, and of what it has written to its fd so much that the rest begins
 * anywhere in a block.
 */
struct sw_mirror_past {
	unsigned id; /* from 1 on, no other mirror's here: else -EINVAL */
	uint64_t frames, bytes, lost;
	const void *rest; /* what is still to be written first */
	size_t rest_bytes; /* to SW_MIRROR_REST_MAX: else -EINVAL */
};

#define SW_MIRROR_REST_MAX (256u << 10)

struct sw_mirror_status {
	unsigned id;
	const char *source, *where, *expression; /* valid until the loop goes on; expression: NULL: none */
	bool filters;
	uint32_t snaplen;
	int err; /* negative: it copies no more, for that reason */
	uint64_t frames, bytes; /* copied */
	uint64_t lost; /* no room was left in the ring, for who writes is slow; or the port where they were to go is not there */
};

/*
 * From the next burst on. What the source sends is copied, whatever becomes of it, and what goes to it as it is to get it. A copy that finds no room
 * is lost and counted; nobody waits for it. The mirror goes when its source or the port it goes to does. -ENOSPC: as many as there may be, of
 * the switch or of this port; -ELOOP, -EINVAL, -ENOMEM, or why there is no thread.
 */
int sw_mirror_add(struct sw *sw, const struct sw_mirror_config *config, struct sw_mirror **ret_mirror);
/*
 * Another process is to go on with all mirrors. Their threads come to rest, as far as what they write to takes what there is at once, and then
 * `held` is called, here or from the loop; or by sw_mirrors_go_on(), if one still waits in the kernel. Workers go on, and should have nothing
 * to copy.
 */
void sw_mirrors_hold(struct sw *sw, void (*held)(void *opaque), void *opaque);
void sw_mirrors_go_on(struct sw *sw); /* the end of that, at any moment; and the beginning of those with a past */
/* Of one that is held, until it goes on: *ret_fd: borrowed, or -1: it goes to a port. */
void sw_mirror_tell(const struct sw_mirror *mirror, struct sw_mirror_past *ret_past, int *ret_fd, const struct packet_filter_step **ret_filter,
		    unsigned *ret_steps);
/* `done` (or NULL) is called, once the file is whole and closed. A second time for the same mirror: -EALREADY, and it is not called. */
int sw_mirror_remove(struct sw_mirror *mirror, void (*done)(void *opaque), void *opaque);
struct sw_mirror *sw_mirror_find(struct sw *sw, unsigned id); /* NULL: there is none, or it is going */
struct sw_mirror *sw_mirror_next(struct sw *sw, struct sw_mirror *previous); /* NULL: the first; ends with NULL */
bool sw_mirrors_leave(const struct sw *sw); /* one is going, and its file is not whole yet */
void sw_mirror_status(const struct sw_mirror *mirror, struct sw_mirror_status *ret_status);

#endif
