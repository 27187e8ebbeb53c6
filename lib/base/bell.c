/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a bell is raised
 *
 *	an eventfd              by kernel AIO (notifier.c), which never waits
 *	... without kernel AIO  in a thread of the bell's own (raiser.c), which the peer may hold for ever
 *	... and no run_aside    poll(2), then write(2): a peer that races may hold the caller
 *	a UNIX stream socket    send(2), which is asked not to wait, in a thread as well if there is one: the kernel may
 *	                        collect sockets that others have sent each other before it sends
 *
 * A peer that holds a bell's thread keeps it when the bell is set anew. A bell leaves up to BELL_HELD_MAX of them
 * behind and takes no fd after that, until one has come out: a liar has as many, and nobody else has fewer for it.
 */
#include "base/bell.h"
#include "base/drop.h"
#include "base/fd.h"
#include "base/notifier.h"
#include "base/raiser.h"
#include "base/util.h"
#include <errno.h>

/* Returns a free place among those that are held, or NULL. */
static struct raiser **held_place(struct bell *bell)
{
	struct raiser **place = NULL;

	for (unsigned i = 0; i < BELL_HELD_MAX; i++) {
		if (bell->held[i] && raiser_out(bell->held[i]))
			bell->held[i] = NULL;
		if (!bell->held[i])
			place = &bell->held[i];
	}
	return place;
}

void bell_unset(struct bell *bell)
{
	struct raiser **place = held_place(bell); /* there is one: see bell_set() */

	if (bell->raiser && !raiser_end(bell->raiser))
		*place = bell->raiser;
	bell->raiser = NULL;
	drop_fd(bell->drop, &bell->fd);
}

void bell_forget(struct bell *bell)
{
	bell_unset(bell);
	for (unsigned i = 0; i < BELL_HELD_MAX; i++)
		if (bell->held[i])
			raiser_leave(bell->held[i]);
	*bell = (struct bell)BELL_INIT;
}

/* Raised by write(2), the fd must not wait. Otherwise the peer's open file is left alone. */
static int fd_prepare(struct vireo_notifier *notifier, int fd)
{
	return notifier_has_aio(notifier) ? fd_notifier_borrow(fd) : fd_notifier_take(fd);
}

static int raiser_for(struct bell *bell, struct vireo_notifier *notifier, int fd, bool socket,
		      struct raiser **ret)
{
	unsigned held = 0;

	if (!notifier_has_aside(notifier) || (!socket && notifier_has_aio(notifier)))
		return 0;
	held_place(bell);
	for (unsigned i = 0; i < BELL_HELD_MAX; i++)
		held += bell->held[i] != NULL;
	/* The one that it has now, and the new one, may have to be held as well. */
	if (held + (bell->raiser != NULL) >= BELL_HELD_MAX)
		return -EBUSY;
	return raiser_new(notifier, fd, socket, ret);
}

int bell_set(struct bell *bell, struct vireo_notifier *notifier, int fd)
{
	struct raiser *raiser = NULL;
	bool socket = fd >= 0 && !fd_socket_take(fd);
	int r = fd < 0 || socket ? 0 : fd_prepare(notifier, fd);

	if (!r && fd >= 0)
		r = raiser_for(bell, notifier, fd, socket, &raiser);
	if (r)
		return r;
	bell_unset(bell);
	bell->notifier = notifier;
	bell->raiser = raiser;
	bell->fd = fd;
	bell->socket = socket;
	return 0;
}

uint64_t bell_cost_take_ns(const struct bell *bell)
{
	return unlikely(bell->raiser) ? raiser_cost_take_ns(bell->raiser) : 0;
}

bool bell_raise(const struct bell *bell)
{
	if (bell->fd < 0 || (!bell->socket && notifier_raise_aio(bell->notifier, bell->fd)))
		return false;
	if (bell->raiser)
		raiser_raise(bell->raiser);
	else if (bell->socket)
		fd_socket_raise(bell->fd);
	else
		notifier_raise(bell->notifier, bell->fd);
	return bell->raiser;
}
