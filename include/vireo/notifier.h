/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_NOTIFIER_H
#define VIREO_NOTIFIER_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The way to signal a peer that cannot block. A peer shares the open file of its call eventfd: at any moment
 * it may make it blocking and fill its counter, and a write(2) to it would then wait for ever.
 *
 * The program makes one notifier and names it in the config of each device and front end. Without one, devices write.
 *
 * A notifier raises eventfds by kernel AIO, which never waits. Where that cannot be had (fs.aio-max-nr is used up; a
 * container forbids it) it is asked for again, once a second at most, whenever something is raised; until then each
 * eventfd is raised in a thread of its own, so that a peer holds no other thread than its own. UNIX stream sockets,
 * by which User-mode Linux is signalled, are raised in a thread always.
 */
struct vireo_notifier;

struct vireo_notifier_config {
	size_t size;
	/*
	 * Runs work(argument) once, soon, in a thread that nobody waits for: the library has none of its own. Called in
	 * the control thread, for each eventfd that is set while there is no kernel AIO, and each socket. Work returns when the eventfd is
	 * not used any more, or when a peer that holds it lets it. 0, or a negative errno: there is no thread, and the
	 * eventfd is refused. NULL: without kernel AIO eventfds are written to, and a peer that races may hold who does.
	 */
	int (*run_aside)(void *opaque, void (*work)(void *argument), void *argument);
	void *run_opaque;
};

/* Any thread. -ENOSYS, -EPERM, -EAGAIN (fs.aio-max-nr): the kernel does not let us; -ENOMEM, -EMFILE. */
VIREO_API int vireo_notifier_new(struct vireo_notifier **ret_notifier);

/*
 * The same, and no error if kernel AIO cannot be had: *ret_aio_err (may be NULL) is 0, or says why. `config` may be NULL.
 * -EINVAL, -ENOMEM, -EMFILE.
 */
VIREO_API int vireo_notifier_open(const struct vireo_notifier_config *config, struct vireo_notifier **ret_notifier,
				  int *ret_aio_err);

/* Takes NULL. No device may use the notifier any more. May take some 10 ms: for the end of a program. */
VIREO_API void vireo_notifier_free(struct vireo_notifier *notifier);

#ifdef __cplusplus
}
#endif
#endif
