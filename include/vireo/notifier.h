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
 * The program makes one notifier and names it in each device's config. Without one, devices write.
 */
struct vireo_notifier;

/* Any thread. -ENOSYS, -EPERM, -EAGAIN (fs.aio-max-nr): the kernel does not let us; -ENOMEM, -EMFILE. */
VIREO_API int vireo_notifier_new(struct vireo_notifier **ret_notifier);

/* Takes NULL. No device may use the notifier any more. May take some 10 ms: for the end of a program. */
VIREO_API void vireo_notifier_free(struct vireo_notifier *notifier);

#ifdef __cplusplus
}
#endif
#endif
