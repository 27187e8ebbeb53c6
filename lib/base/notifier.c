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
 *
 * Anybody may use up fs.aio-max-nr, for a while. So there may be no context at the start, and whoever raises something
 * asks for one again, once a second at most; once there, it stays.
 */
#include "vireo/notifier.h"
#include "base/fd.h"
#include "base/notifier.h"
#include "base/util.h"
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
	struct vireo_notifier_config config;
	int null_fd;
	/* Any thread. */
	aio_context_t context; /* 0: not yet */
	unsigned references;
	unsigned submitted;
	uint64_t asked_s; /* for a context, last */
};

static uint64_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec;
}

/* The release pairs with the acquire in context_of(). */
static int context_ask(struct vireo_notifier *notifier)
{
	aio_context_t context = 0, none = 0;

	if (syscall(SYS_io_setup, PLACES, &context) < 0)
		return -errno;
	if (!__atomic_compare_exchange_n(&notifier->context, &none, context, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		syscall(SYS_io_destroy, context); /* another thread was first */
	return 0;
}

static __cold aio_context_t context_ask_again(struct vireo_notifier *notifier)
{
	uint64_t now = now_s(), asked = __atomic_load_n(&notifier->asked_s, __ATOMIC_RELAXED);
	int saved_errno = errno;

	if (now == asked || !__atomic_compare_exchange_n(&notifier->asked_s, &asked, now, false, __ATOMIC_RELAXED,
							 __ATOMIC_RELAXED))
		return 0;
	context_ask(notifier);
	errno = saved_errno;
	return __atomic_load_n(&notifier->context, __ATOMIC_ACQUIRE);
}

static aio_context_t context_of(struct vireo_notifier *notifier)
{
	aio_context_t context = __atomic_load_n(&notifier->context, __ATOMIC_ACQUIRE);

	return likely(context) ? context : context_ask_again(notifier);
}

int vireo_notifier_open(const struct vireo_notifier_config *config, struct vireo_notifier **ret_notifier,
			int *ret_aio_err)
{
	struct vireo_notifier *notifier = calloc(1, sizeof(*notifier));
	int err = notifier ? 0 : -ENOMEM;

	if (!err && config)
		err = config_copy(&notifier->config, sizeof(notifier->config), config);
	if (!err) {
		notifier->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		err = notifier->null_fd < 0 ? -errno : 0;
	}
	if (err) {
		free(notifier);
		return err;
	}
	notifier->references = 1;
	notifier->asked_s = now_s();
	err = context_ask(notifier);
	if (ret_aio_err)
		*ret_aio_err = err;
	*ret_notifier = notifier;
	return 0;
}

int vireo_notifier_new(struct vireo_notifier **ret_notifier)
{
	struct vireo_notifier *notifier;
	int aio_err, err = vireo_notifier_open(NULL, &notifier, &aio_err);

	if (err)
		return err;
	if (aio_err) {
		vireo_notifier_free(notifier);
		return aio_err;
	}
	*ret_notifier = notifier;
	return 0;
}

struct vireo_notifier *notifier_get(struct vireo_notifier *notifier)
{
	__atomic_add_fetch(&notifier->references, 1, __ATOMIC_RELAXED);
	return notifier;
}

void notifier_put(struct vireo_notifier *notifier)
{
	if (__atomic_sub_fetch(&notifier->references, 1, __ATOMIC_ACQ_REL))
		return;
	if (notifier->context)
		syscall(SYS_io_destroy, notifier->context);
	fd_close(&notifier->null_fd);
	free(notifier);
}

void vireo_notifier_free(struct vireo_notifier *notifier)
{
	if (notifier)
		notifier_put(notifier);
}

bool notifier_has_aio(struct vireo_notifier *notifier)
{
	return notifier && context_of(notifier);
}

bool notifier_has_aside(const struct vireo_notifier *notifier)
{
	return notifier && notifier->config.run_aside;
}

int notifier_run_aside(struct vireo_notifier *notifier, void (*work)(void *argument), void *argument)
{
	return notifier->config.run_aside(notifier->config.run_opaque, work, argument);
}

static void reap(struct vireo_notifier *notifier, aio_context_t context)
{
	struct io_event events[REAP_EVERY];
	struct timespec now = { 0 };

	while (syscall(SYS_io_getevents, context, 0L, (long)REAP_EVERY, events, &now) == (long)REAP_EVERY)
		;
}

bool notifier_raise_aio(struct vireo_notifier *notifier, int fd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *requests[] = { &request };
	aio_context_t context = notifier ? context_of(notifier) : 0;
	int saved_errno = errno;
	long r;

	if (!context)
		return false;
	request.aio_fildes = (uint32_t)notifier->null_fd;
	if (!(__atomic_add_fetch(&notifier->submitted, 1, __ATOMIC_RELAXED) % REAP_EVERY))
		reap(notifier, context);
	/* EAGAIN: no place left. */
	while ((r = syscall(SYS_io_submit, context, 1L, requests)) < 0 && (errno == EAGAIN || errno == EINTR))
		reap(notifier, context);
	errno = saved_errno;
	return r >= 0;
}

void notifier_raise(struct vireo_notifier *notifier, int fd)
{
	if (!notifier_raise_aio(notifier, fd))
		fd_event_raise(fd);
}
