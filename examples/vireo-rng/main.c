/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Serves an entropy device at an endpoint until SIGTERM or SIGINT:
 *
 *	vireo-rng vhost-user:/tmp/rng.sock
 *	qemu-system-x86_64 -m 256M -object memory-backend-memfd,id=m,size=256M,share=on -numa node,memdev=m \
 *		-chardev socket,id=c,path=/tmp/rng.sock -device vhost-user-rng-pci,chardev=c ...
 *
 * or, as root, at a character device /dev/rng that takes the kernel's vhost ioctls:
 *
 *	vireo-rng cuse:rng
 *
 * All that a program with a device of its own needs is here: a fault table and its SIGBUS handler, a device,
 * an endpoint, and a loop around poll(2).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <vireo/vireo.h>

static struct vireo_fault_table *faults; /* for the signal handler */

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	if (vireo_fault_handle(faults, info->si_addr))
		return;
	signal(sig, SIG_DFL); /* not guest memory: our own bug, and the end */
	raise(sig);
}

/* SIGTERM, SIGINT and SIGHUP become readable; SIGPIPE, which a guest's pipes could raise, is ignored. */
static int signals_set_up(void)
{
	struct sigaction bus = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigaddset(&stop, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	if (sigaction(SIGBUS, &bus, NULL) || sigprocmask(SIG_BLOCK, &stop, NULL))
		return -errno;
	return signalfd(-1, &stop, SFD_CLOEXEC);
}

static void log_line(void *opaque, enum vireo_log_level level, const char *line)
{
	fprintf(stderr, "vireo-rng: %s\n", line);
}

/* Returns 0 when a signal asks for the end. */
static int serve(struct vireo_endpoint *endpoint, int signal_fd)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = vireo_endpoint_fd(endpoint), .events = POLLIN },
	};
	int r = 0;

	while (!r) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[0].revents)
			return 0;
		r = vireo_endpoint_dispatch(endpoint);
	}
	return r;
}

static int run(const char *address, int signal_fd)
{
	struct vireo_rng_config config = {
		.size = sizeof(config),
		.log = { .write = log_line, .max_level = VIREO_LOG_INFO },
		.faults = faults,
	};
	struct vireo_endpoint *endpoint;
	struct vireo_rng *rng;
	int r = vireo_rng_new(&config, &rng);

	if (r)
		return r;
	r = vireo_endpoint_open(vireo_rng_device(rng), address, NULL, &endpoint);
	if (!r) {
		r = serve(endpoint, signal_fd);
		/* The only queue is served in this thread: it is quiet at once, and so is the endpoint gone. */
		vireo_endpoint_close(endpoint, NULL, NULL);
	}
	vireo_rng_free(rng);
	return r;
}

/* What an endpoint that cannot be opened wants of the user. */
static const char *advice(int err)
{
	switch (-err) {
	case EINVAL:
		return "not an address of an endpoint: vhost-user:PATH or cuse:NAME";
	case EOPNOTSUPP:
		return "not for this device, or not in this build: vhost-user:PATH or cuse:NAME";
	case ENOENT:
	case ENODEV:
		return "not there: the socket's folder, or the kernel's module: modprobe cuse";
	case EACCES:
	case EPERM:
		return "not permitted: run it as root";
	case EADDRINUSE:
	case EBUSY:
		return "somebody has it already: choose another name";
	default:
		return strerror(-err);
	}
}

int main(int argc, char **argv)
{
	int signal_fd, r;

	if (argc != 2) {
		fprintf(stderr, "usage: vireo-rng vhost-user:PATH | cuse:NAME\n");
		return 2;
	}
	r = vireo_fault_table_new(0, &faults);
	signal_fd = r ? -1 : signals_set_up();
	if (!r)
		r = signal_fd < 0 ? signal_fd : run(argv[1], signal_fd);
	if (r)
		fprintf(stderr, "vireo-rng: %s: %s\n", argv[1], advice(r));
	vireo_fault_table_free(faults);
	return r ? 1 : 0;
}
