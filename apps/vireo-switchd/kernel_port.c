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

int kernel_port_start(struct port *port, unsigned offloads)
{
	int err = port_join(port);

	if (err)
		return err;
	port_offloads_set(port, offloads);
	for (unsigned i = 0; !err && i < port->spec.queues; i++) {
		err = sw_queue_add(port->sw, true, i);
		if (!err)
			err = sw_queue_add(port->sw, false, i);
	}
	return err;
}
