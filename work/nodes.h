/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORK_NODES_H
#define WORK_NODES_H

/* NUMA: which CPU and which memory lies on which node. Any thread; nothing waits. */

#include <sched.h>
#include <stdint.h>

#define NODES_PATH "/sys/devices/system/node"
#define NODES_MAX  1024u

struct nodes {
	unsigned count; /* 0: the machine does not say */
	int16_t of_cpu[CPU_SETSIZE]; /* -1: not known */
};

/* As the folder at `path` tells it, which is NODES_PATH but in tests: what cannot be read is not there. */
void nodes_read(const char *path, struct nodes *ret_nodes);

/* The node of each page that the addresses lie on, as move_pages(2) tells it; negative: there is none. 0, or -errno: nothing is known. */
typedef int nodes_ask_fn(unsigned count, void *const *addresses, int *ret_nodes);

/*
 * The kernel's answer. It touches no page, and waits for none: one that this process has not used yet is none (-ENOENT), wherever it may
 * lie, and an address without memory does no harm.
 */
int nodes_ask(unsigned count, void *const *addresses, int *ret_nodes);

/*
 * Where the memory lies that something uses, by one address of it now and then: what most of the last ones said. 0 at first, which is
 * nothing known.
 */
struct nodes_vote {
	int node;
	unsigned count;
};
#define NODES_VOTES_MAX	  16u
#define NODES_VOTES_KNOWN 8u

/* found: its node, or negative: that says nothing. */
void nodes_vote(struct nodes_vote *vote, int found);
/* -1: not known, or it lies here and there. */
int nodes_voted(const struct nodes_vote *vote);

#endif
