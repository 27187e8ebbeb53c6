/* SPDX-License-Identifier: BSD-3-Clause */
#include "api.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * The control thread says which queues run; the polling thread is between enter and leave when it uses them. When
 * one is to stop, `running` is written first, then `used` read; entering, `used` is written first, then `running`
 * read: one of the two sees the other (both orders are sequential).
 */
#define QUEUES	    2u /* receive and transmit; there is a control queue as well */
#define BOTH_QUEUES 3u

static struct vireo_net *net;
static struct vireo_endpoint *endpoint;
static struct vireo_fault_table *faults;
static pthread_t control_thread;
static int end_fd = -1;
static bool started[QUEUES]; /* the control thread's */
static unsigned running; /* a bit per queue */
static bool used;

struct vireo_net *api_device_enter(void)
{
	__atomic_store_n(&used, true, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&running, __ATOMIC_SEQ_CST) == BOTH_QUEUES ? net : NULL;
}

void api_device_leave(void)
{
	__atomic_store_n(&used, false, __ATOMIC_RELEASE);
}

bool api_device_running(void)
{
	return __atomic_load_n(&running, __ATOMIC_RELAXED) == BOTH_QUEUES;
}

/* ---- control thread ---- */

static void queue_take(unsigned queue)
{
	__atomic_fetch_and(&running, ~(1u << queue), __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&used, __ATOMIC_SEQ_CST))
		sched_yield(); /* a burst at most; it may share our CPU */
}

static void queue_give(unsigned queue)
{
	vireo_net_kick_enable(net, queue, false); /* who polls needs no kicks */
	__atomic_fetch_or(&running, 1u << queue, __ATOMIC_SEQ_CST);
}

/* Frames for a disabled queue would be dropped, and measured as if they had gone: it counts as not running. */
static void queue_settle(unsigned queue)
{
	if (started[queue] && vireo_queue_enabled(vireo_device_queue(vireo_net_device(net), queue)))
		queue_give(queue);
	else
		queue_take(queue);
}

static void queue_started(void *opaque, unsigned queue)
{
	if (queue >= QUEUES)
		return;
	started[queue] = true;
	queue_settle(queue);
}

static void queue_enabled(void *opaque, unsigned queue, bool enabled)
{
	if (queue < QUEUES)
		queue_settle(queue);
}

static void queue_stop(void *opaque, unsigned queue)
{
	if (queue < QUEUES) {
		started[queue] = false;
		queue_settle(queue);
	}
	vireo_net_queue_quiesced(net, queue);
}

static void *control_run(void *opaque)
{
	struct pollfd fds[] = {
		{.fd = end_fd, .events = POLLIN},
		{.fd = vireo_endpoint_fd(endpoint), .events = POLLIN},
	};
	int error = 0;

	while (!error && !fds[0].revents) {
		if (poll(fds, 2, -1) > 0 && fds[1].revents)
			error = vireo_endpoint_dispatch(endpoint);
	}
	if (error)
		fprintf(stderr, "bench-api: the socket is lost: %s\n", strerror(-error));
	vireo_endpoint_close(endpoint, NULL, NULL); /* all queues are quiet at once: so is it gone */
	return NULL;
}

/* ---- making and ending it ---- */

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	if (vireo_fault_handle(faults, info->si_addr))
		return;
	signal(sig, SIG_DFL);
	raise(sig);
}

static void log_line(void *opaque, enum vireo_log_level level, const char *line)
{
	fprintf(stderr, "bench-api: %s\n", line);
}

static int faults_handle(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	int error = vireo_fault_table_new(0, &faults);

	if (error)
		return error;
	return sigaction(SIGBUS, &action, NULL) ? -errno : 0;
}

static int net_new(const struct api_options *options)
{
	static const struct vireo_net_ops ops = {
		.size = sizeof(ops),
		.queue_started = queue_started,
		.queue_stop = queue_stop,
		.queue_enabled = queue_enabled,
	};
	const struct vireo_net_config config = {
		.size = sizeof(config),
		.features_off = options->mergeable ? 0 : VIREO_FEATURE(VIREO_NET_F_MRG_RXBUF_BIT),
		.ops = &ops,
		.log = {.write = log_line, .max_level = VIREO_LOG_WARNING},
		.name = "net",
		.faults = faults,
	};

	return vireo_net_new(&config, &net);
}

static int endpoint_new(const char *socket)
{
	char address[4096];
	int n = snprintf(address, sizeof(address), "vhost-user:%s", socket);

	if (n < 0 || (size_t)n >= sizeof(address))
		return -ENAMETOOLONG;
	return vireo_endpoint_open(vireo_net_device(net), address, NULL, &endpoint);
}

int api_device_offer(const struct api_options *options)
{
	int error = faults_handle();

	if (!error)
		error = net_new(options);
	if (!error)
		error = endpoint_new(options->socket);
	if (!error) {
		end_fd = eventfd(0, EFD_CLOEXEC);
		error = end_fd < 0 ? -errno : -pthread_create(&control_thread, NULL, control_run, NULL);
	}
	if (error)
		fprintf(stderr, "bench-api: %s cannot be offered: %s\n", options->socket, strerror(-error));
	return error;
}

void api_device_withdraw(void)
{
	eventfd_write(end_fd, 1);
	pthread_join(control_thread, NULL);
	vireo_net_free(net);
	vireo_fault_table_free(faults);
	close(end_fd);
}
