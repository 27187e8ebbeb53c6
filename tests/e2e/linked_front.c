/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * linked_front SOCKET: fills a buffer from the entropy device behind the socket. It uses both libraries, so that what
 * both have is linked once. Prints how many bytes came; fails if they are all zero.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <vireo/driver.h>
#include <vireo/vireo.h>

#define BYTES 256u

/* Returns how many bytes the device has written, or a negative errno. */
static int fill(struct vireo_front *front, uint8_t *buffer)
{
	struct vireo_driver_ring *ring = vireo_front_ring(front, 0);
	struct pollfd call = {.fd = vireo_driver_ring_call_fd(ring), .events = POLLIN};
	struct iovec piece = {.iov_base = buffer, .iov_len = BYTES};
	uint32_t len_bytes = 0;
	void *cookie;
	int r;

	vireo_driver_ring_signal_enable(ring, true);
	r = vireo_driver_ring_add(ring, &piece, 0, 1, false, buffer);
	if (r < 0)
		return r;
	vireo_driver_ring_kick(ring);
	if (poll(&call, 1, 30000) < 1)
		return -ETIMEDOUT;
	r = vireo_driver_ring_get(ring, &cookie, &len_bytes);
	return r < 0 ? r : (int)len_bytes;
}

int main(int argc, char **argv)
{
	struct vireo_front_config config = {
		.size = sizeof(config),
		.path = argv[1],
		.timeout_ms = 30000,
		.features = 1ull << 32,
		.queue_count = 1,
		.memory_bytes = BYTES,
	};
	static const uint8_t zeroes[BYTES];
	struct vireo_notifier *notifier = NULL;
	struct vireo_front *front;
	int r = argc == 2 ? vireo_notifier_open(NULL, &notifier, NULL) : -EINVAL; /* libvireo's */

	if (!r)
		r = vireo_front_open(&config, &front);
	if (!r) {
		uint8_t *buffer = vireo_front_memory(front);

		r = fill(front, buffer);
		if (r > 0 && !memcmp(buffer, zeroes, BYTES))
			r = -EIO;
		vireo_front_close(front);
	}
	vireo_notifier_free(notifier);
	printf("%d bytes from a device of %s\n", r, vireo_version());
	return r > 0 ? 0 : 1;
}
