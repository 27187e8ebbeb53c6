/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refused calls. The kernel sends SIGSYS in place of the call, to the thread that made it: the handler notes which it was, wakes the loop, and
 * lets the call fail. It may run between any two instructions, so it only touches the table and an eventfd; the control thread says the line.
 */
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/rate.h"
#include "daemon/sandbox.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <ucontext.h>
#include <unistd.h>

#define PLACES 16u /* refused calls that are not told of yet; of more, nothing is said */
#define ARGUMENTS 3u
/* Of calls that are newer than this list, the C library is told that the kernel is older, and does it another way. */
#define NEWEST_KNOWN 450 /* Linux 6.1 */

enum { PLACE_FREE, PLACE_TAKEN, PLACE_FULL };

struct refused_call {
	int state; /* atomic */
	int number;
	unsigned long arguments[ARGUMENTS];
};

struct refused {
	struct loop_watch *watch;
	const struct vireo_log *log;
	struct rate rate;
	struct sigaction before;
};

/* The handler has no other way to it. */
static struct {
	int event_fd;
	struct refused_call calls[PLACES];
} table = {.event_fd = -1};

#if defined(__x86_64__)
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#define ARGUMENT(context, n) \
	((unsigned long)(context)->uc_mcontext.gregs[(n) == 0 ? REG_RDI : (n) == 1 ? REG_RSI : REG_RDX])
#elif defined(__aarch64__)
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#define ARGUMENT(context, n) ((unsigned long)(context)->uc_mcontext.regs[n])
#else
#error "where does this machine keep the result of a system call?"
#endif

static struct refused_call *place_take(void)
{
	for (unsigned i = 0; i < PLACES; i++) {
		int expected = PLACE_FREE;

		if (__atomic_compare_exchange_n(&table.calls[i].state, &expected, PLACE_TAKEN, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return &table.calls[i];
	}
	return NULL;
}

static void on_sigsys(int sig, siginfo_t *info, void *opaque)
{
	int saved = errno, number = info->si_syscall;
	struct refused_call *call = place_take();
	const uint64_t one = 1;
	ucontext_t *context = opaque;

	if (call) {
		call->number = number;
		for (unsigned i = 0; i < ARGUMENTS; i++)
			call->arguments[i] = ARGUMENT(context, i);
		__atomic_store_n(&call->state, PLACE_FULL, __ATOMIC_RELEASE);
		if (write(table.event_fd, &one, sizeof(one)) < 0)
			call = NULL; /* it is woken already */
	}
	RESULT(context) = number > NEWEST_KNOWN ? -ENOSYS : -EPERM;
	errno = saved;
}

static void say(struct refused *refused, const struct refused_call *call)
{
	uint32_t left_out;
	char *name;

	if (!rate_pass_now(&refused->rate, &left_out))
		return;
	name = filter_call_name(call->number);
	log_warning(refused->log,
		    "the sandbox has refused a system call: %s (number %d: %#lx, %#lx, %#lx): what asked for it goes without; please report "
		    "it, and use --no-sandbox until that is mended",
		    name ? name : "one without a name", call->number, call->arguments[0], call->arguments[1], call->arguments[2]);
	free(name);
}

static void on_refused(void *opaque, uint32_t events)
{
	fd_event_clear(table.event_fd);
	for (unsigned i = 0; i < PLACES; i++) {
		struct refused_call *call = &table.calls[i];

		if (__atomic_load_n(&call->state, __ATOMIC_ACQUIRE) != PLACE_FULL)
			continue;
		say(opaque, call);
		__atomic_store_n(&call->state, PLACE_FREE, __ATOMIC_RELEASE);
	}
}

int refused_open(struct loop *loop, const struct vireo_log *log, struct refused **ret_refused)
{
	const struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
	struct refused *refused = calloc(1, sizeof(*refused));
	int err;

	if (!refused)
		return -ENOMEM;
	refused->log = log;
	err = fd_event_new(&table.event_fd);
	if (!err)
		err = loop_add(loop, table.event_fd, EPOLLIN, on_refused, refused, &refused->watch);
	if (!err && sigaction(SIGSYS, &action, &refused->before))
		err = -errno;
	if (err) {
		loop_remove(&refused->watch);
		fd_close(&table.event_fd);
		free(refused);
		return err;
	}
	*ret_refused = refused;
	return 0;
}

/* The handler stays: a call is refused until the process ends. */
void refused_close(struct refused *refused)
{
	if (!refused)
		return;
	on_refused(refused, 0);
	loop_remove(&refused->watch);
	fd_close(&table.event_fd);
	free(refused);
}
