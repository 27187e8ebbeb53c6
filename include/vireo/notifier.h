/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_NOTIFIER_H
#define VIREO_NOTIFIER_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A notifier signals peers without ever blocking the caller. A peer shares the open file of its call eventfd: at any moment the
 * peer may make that file blocking and fill its counter, and a write(2) to it would then wait for ever.
 *
 * The program makes one notifier and names it in the config of each device and front end. A device without a notifier uses
 * write(2).
 *
 * A notifier writes to eventfds by kernel AIO, which never waits. Kernel AIO may be unavailable: fs.aio-max-nr is used up, or a
 * container forbids it. The notifier then tries again with each signal, at most once a second, and until it succeeds each
 * eventfd is written to by a helper thread of its own, so that a peer blocks that thread only. UNIX stream sockets, by
 * which User-mode Linux is signalled, are always written to by a helper thread.
 */
struct vireo_notifier;

struct vireo_notifier_config {
	size_t size;
	/*
	 * Runs work(argument) once, soon, in a helper thread: the library has no thread of its own. The library calls it in the
	 * control thread, for each eventfd that a peer hands over while there is no kernel AIO, and for each socket. `work`
	 * returns when the eventfd is not used any more, or when a peer that blocks it lets go. Return 0, or a negative errno if
	 * there is no thread: the eventfd is then refused. NULL: without kernel AIO the caller writes to eventfds itself, and
	 * a peer that makes one blocking at the right moment blocks the caller.
	 */
	int (*run_aside)(void *opaque, void (*work)(void *argument), void *argument);
	void *run_opaque;
};

/*
 * Makes a notifier that needs kernel AIO. Any thread. -ENOSYS, -EPERM: the kernel or the container forbids AIO, use
 * vireo_notifier_open(); -EAGAIN: fs.aio-max-nr is used up, raise it; -ENOMEM, -EMFILE.
 */
VIREO_API int vireo_notifier_new(struct vireo_notifier **ret_notifier);

/*
 * Makes a notifier with or without kernel AIO: *ret_aio_err is 0, or a negative errno that says why there is no AIO. `config` and
 * `ret_aio_err` may be NULL. Any thread. -EINVAL: config->size is 0; -ENOMEM, -EMFILE.
 */
VIREO_API int vireo_notifier_open(const struct vireo_notifier_config *config, struct vireo_notifier **ret_notifier,
				  int *ret_aio_err);

/* Frees the notifier; does nothing for NULL. No device may use it any more. The call may last some 10 ms. */
VIREO_API void vireo_notifier_free(struct vireo_notifier *notifier);

#ifdef __cplusplus
}
#endif
#endif
