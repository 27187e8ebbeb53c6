/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_HOLDING_H
#define STORE_HOLDING_H

/*
 * Disks that other processes may have meanwhile (lock=running): one is held from the first of its queues that is to be served until the last one has
 * gone. To take it and to let it go may wait for a file server, so threads do that. Control thread.
 */

struct store;
struct store_disk;

/*
 * May queues of the disk be opened? 0. -EINPROGRESS: it is being taken, and store_kind.disk_held() is called when that is done, or is refused. Another
 * -errno: nobody can be asked for it: try again later.
 */
int disk_hold_ask(struct store *store, struct store_disk *disk);
/* A queue of it has gone: is there another one (store_kind.disk_wanted())? */
void disk_hold_look(struct store *store, struct store_disk *disk);
/* Before a hand-over: it waits until no disk is held, which is soon after their queues have gone, for the other process asks for them at once. */
void disk_holds_await(struct store *store);
void disk_holds_given_up(struct store *store); /* it waits no more */

#endif
