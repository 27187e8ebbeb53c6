/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Whoever shares an eventfd shares its open file, O_NONBLOCK included: a peer may clear that and fill the
 * counter between any check and the write(2) that follows, which then waits for ever and a worker with it.
 * Kernel AIO raises an eventfd another way: a request may name one to be raised when it is done
 * (IOCB_FLAG_RESFD), and the kernel does that in the completion, where it must not and does not wait; a full
 * counter stays full. So a signal is an empty read of /dev/null, done before io_submit(2) returns. It costs
 * what a write costs.
 *
 * Its results are of no interest, but take up places in a ring of the context: they are fetched now and then.
 */
#include "vireo/notifier.h"
#include "base/fd.h"
#include "base/notifier.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PLACES 256u /* the kernel makes them twice as many */
#define REAP_EVERY 64u /* leaves places enough for threads that come meanwhile */

struct vireo_notifier {
	/* Constant. */
	aio_context_t context;
	int null_fd;
	/* Any thread. */
	unsigned submitted;
};

int vireo_notifier_new(struct vireo_notifier **ret_notifier)
{
	struct vireo_notifier *notifier = calloc(1, sizeof(*notifier));
	int err;

	if (!notifier)
		return -ENOMEM;
	notifier->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (notifier->null_fd < 0 || syscall(SYS_io_setup, PLACES, &notifier->context) < 0) {
		err = -errno;
		fd_close(&notifier->null_fd);
		free(notifier);
		return err;
	}
	*ret_notifier = notifier;
	return 0;
}

void vireo_notifier_free(struct vireo_notifier *notifier)
{
	if (!notifier)
		return;
	syscall(SYS_io_destroy, notifier->context);
	fd_close(&notifier->null_fd);
	free(notifier);
}

static void reap(struct vireo_notifier *notifier)
{
	struct io_event events[REAP_EVERY];
	struct timespec now = { 0 };

	while (syscall(SYS_io_getevents, notifier->context, 0L, (long)REAP_EVERY, events, &now) ==
	       (long)REAP_EVERY)
		;
}

void notifier_raise(struct vireo_notifier *notifier, int fd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *requests[] = { &request };
	int saved_errno = errno;
	long r;

	if (!notifier) {
		fd_event_raise(fd);
		return;
	}
	request.aio_fildes = (uint32_t)notifier->null_fd;
	if (!(__atomic_add_fetch(&notifier->submitted, 1, __ATOMIC_RELAXED) % REAP_EVERY))
		reap(notifier);
	/* EAGAIN: no place left. */
	while ((r = syscall(SYS_io_submit, notifier->context, 1L, requests)) < 0 &&
	       (errno == EAGAIN || errno == EINTR))
		reap(notifier);
	errno = saved_errno;
	if (r < 0) /* no eventfd but a pipe, whose open file is our own: fd_notifier_take() */
		fd_event_raise(fd);
}
