/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHOST_USER_ACKS_H
#define VHOST_USER_ACKS_H

/*
 * The answers that a front end gives on the channel that it has handed us. It may have kept that end as well, and whoever reads
 * from a UNIX socket into memory that never comes holds the socket's lock meanwhile, whatever O_NONBLOCK says: so it is read
 * from in the threads that may wait for the peer (base/drop.h).
 */

#include <stdint.h>

struct acks;
struct drop;
struct loop;

/*
 * `told` is called for each answer; `lost` once, at the end: *why is NULL if the peer has closed its end, or says how it lies.
 * Either may call acks_free(). `channel_fd` is dup'd. -EMFILE, -ENOMEM and the like.
 */
struct acks_ops {
	void (*told)(void *opaque, uint32_t request, uint64_t value);
	void (*lost)(void *opaque, const char *why);
};

int acks_new(struct loop *loop, struct drop *drop, int channel_fd, const struct acks_ops *ops, void *opaque,
	     struct acks **ret_acks);
void acks_free(struct acks *acks); /* takes NULL */

#endif
