/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_RAISER_H
#define BASE_RAISER_H

#include <stdbool.h>
#include <stdint.h>

struct raiser;
struct vireo_notifier;

/*
 * A thread (the notifier's run_aside) that raises one eventfd or UNIX socket, which a peer shares, by write(2) or send(2):
 * the peer may make it wait there for ever, and nobody else. All but raiser_raise() in the control thread.
 */
/* Duplicates `fd`. */
int raiser_new(struct vireo_notifier *notifier, int fd, bool socket, struct raiser **ret_raiser);
/* Any thread: soon. Raises that come together become one. */
void raiser_raise(struct raiser *raiser);
/* CPU time of the last raise that has come to an end, told once: 0 until the next one has; any thread. */
uint64_t raiser_cost_take_ns(struct raiser *raiser);
/* It is to raise nothing any more. True: it is gone, or will be. False: it waits in a raise. */
bool raiser_end(struct raiser *raiser);
/* After raiser_end() has said false: has it come out of the raise? Then it is gone. Helps it out of there. */
bool raiser_out(struct raiser *raiser);
/* After raiser_end() has said false: it is left to itself. */
void raiser_leave(struct raiser *raiser);

#endif
