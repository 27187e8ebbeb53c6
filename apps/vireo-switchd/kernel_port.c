/* SPDX-License-Identifier: BSD-3-Clause */
#include "kernel_port.h"
#include "base/util.h"
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>

int kernel_buffers_new(size_t bytes, uint8_t **ret_buffers)
{
	void *buffers = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (buffers == MAP_FAILED)
		return -errno;
	*ret_buffers = buffers;
	return 0;
}

void kernel_buffers_free(uint8_t **buffers, size_t bytes)
{
	if (*buffers)
		munmap(*buffers, bytes);
	*buffers = NULL;
}

bool kernel_kick_enable(int fd, bool on)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	return on && poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLIN);
}

void kernel_refusal_count(struct sw_queue_stats *out, int err)
{
	switch (err) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM:
		counter_add(&out->no_buffer, 1);
		break;
	case EIO: /* a TAP interface that is down */
	case ENETDOWN:
	case ENXIO: /* gone */
		counter_add(&out->disabled, 1);
		break;
	case EMSGSIZE:
		counter_add(&out->too_long, 1);
		break;
	case EINVAL: /* a header that the kernel does not take, or that an edit leaves no place for */
		counter_add(&out->offload_refused, 1);
		break;
	default:
		counter_add(&out->error, 1);
	}
}

/* ---- queues come, and go while another process is to have the port ---- */

static void queues_enter(struct kernel_port *kernel)
{
	struct port *port = &kernel->port;

	for (unsigned i = 0; i < port->spec.queues; i++) {
		int err = sw_queue_present(port->sw, false, i) ? 0 : sw_queue_add(port->sw, false, i);

		if (err)
			retry_later(&kernel->retry, i, err);
	}
}

static void queue_left(void *opaque);

static void queues_leave(struct kernel_port *kernel)
{
	struct port *port = &kernel->port;

	for (unsigned i = 0; i < port->spec.queues; i++) {
		if (!sw_queue_present(port->sw, false, i))
			continue;
		kernel->leaving++;
		sw_queue_remove(port->sw, false, i, queue_left, kernel);
	}
}

static void silent_look(struct kernel_port *kernel)
{
	void (*silenced)(void *port) = kernel->silenced;

	kernel->silenced = NULL;
	if (silenced)
		silenced(&kernel->port);
}

/* One that is still leaving cannot come again: whatever is wanted by now is done when all have left. */
static void settle(void *opaque)
{
	struct kernel_port *kernel = opaque;

	if (kernel->leaving || kernel->port.closing)
		return;
	if (!kernel->silent)
		queues_enter(kernel);
	else
		queues_leave(kernel);
	if (kernel->silent && !kernel->leaving)
		silent_look(kernel);
}

static void queue_left(void *opaque)
{
	struct kernel_port *kernel = opaque;

	kernel->leaving--;
	settle(kernel);
}

int kernel_port_start(struct kernel_port *kernel, unsigned offloads)
{
	struct port *port = &kernel->port;
	int err = retry_init(&kernel->retry, port->ports->loop, &port->log, settle, kernel);

	if (!err)
		err = port_join(port);
	if (err)
		return err;
	port_offloads_set(port, offloads);
	kernel->silent = port->ports->state;
	for (unsigned i = 0; !err && i < port->spec.queues; i++) {
		err = sw_queue_add(port->sw, true, i);
		if (!err && !kernel->silent)
			err = sw_queue_add(port->sw, false, i);
	}
	return err;
}

void kernel_port_fini(struct kernel_port *kernel)
{
	retry_fini(&kernel->retry);
}

void kernel_port_silence(struct port *port, void (*silenced)(void *port))
{
	struct kernel_port *kernel = container_of(port, struct kernel_port, port);

	kernel->silent = true;
	kernel->silenced = silenced;
	settle(kernel);
}

/* Nobody reads, and what is written is the kernel's at once: there is nothing more to wait for. */
int kernel_port_hold(struct port *port, void (*held)(void *opaque, int err), void *opaque)
{
	held(opaque, 0);
	return 0;
}

void kernel_port_go_on(struct port *port)
{
	struct kernel_port *kernel = container_of(port, struct kernel_port, port);

	kernel->silenced = NULL;
	if (!kernel->silent)
		return;
	kernel->silent = false;
	settle(kernel);
}
