/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * A capture of any content at a port that plays it: a file that is taken for one of Ethernet is played to its end, one time or a few, by a clock
 * that goes on when the thread sleeps. The worker comes when the thread waits for room, and takes what there is in bursts of the
 * input's. Each frame that it gets is a frame, in order, and has the bytes that the file says; whatever times the file names, no nap is
 * one that a kernel refuses, and each pass ends.
 */
#include "base/clock.h"
#include <poll.h>
#include <time.h>

static uint64_t clock_of_input(void);
static int sleep_of_input(struct pollfd *fds, nfds_t count, const struct timespec *time);

#define clock_now_ns()			clock_of_input()
#define ppoll(fds, count, time, signals) sleep_of_input(fds, count, time)
#include "apps/vireo-switchd/port_pcap_in.c"
#include "fuzz.h"
#include <assert.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BURST	  64u
#define NAPS_MAX  100000u /* none is without its cause: a frame, or room */

static struct {
	struct in_port *in;
	struct fuzz_input *input;
	uint64_t now_ns, frames, naps;
	int file;
} t = {.file = -1};

static uint64_t clock_of_input(void)
{
	return t.now_ns;
}

static void worker_comes(void)
{
	static struct vireo_frame frames[BURST];
	int count = in_receive(t.in, 0, frames, fuzz_u8(t.input) % BURST + 1);
	unsigned sum = 0;

	for (int i = 0; i < count; i++) {
		const struct vireo_frame *f = &frames[i];

		assert(f->iov_count == 1 && f->iov[0].iov_len == f->len_bytes);
		assert(f->len_bytes >= ETHERNET_BYTES && f->len_bytes <= KERNEL_FRAME_BYTES);
		assert(!memcmp(f->head, f->iov[0].iov_base, min_u32(f->len_bytes, VIREO_FRAME_HEAD_BYTES)));
		for (uint32_t at = 0; at < f->len_bytes; at++)
			sum += ((const uint8_t *)f->iov[0].iov_base)[at];
	}
	t.frames += (unsigned)count + (sum & 0); /* all of it has been read */
	in_release(t.in, 0);
}

static int sleep_of_input(struct pollfd *fds, nfds_t count, const struct timespec *time)
{
	assert(t.naps++ < NAPS_MAX);
	if (!time) { /* for room */
		worker_comes();
		return 0;
	}
	assert(time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < 1000000000);
	t.now_ns += (uint64_t)time->tv_sec * SECOND_NS + (uint64_t)time->tv_nsec;
	return 0;
}

static void file_write(const uint8_t *data, size_t size)
{
	if (t.file < 0)
		t.file = memfd_create("capture", MFD_CLOEXEC);
	if (t.file < 0 || ftruncate(t.file, 0) || pwrite(t.file, data, size, 0) != (ssize_t)size)
		abort();
}

static void play(struct in_port *in)
{
	struct sw_queue_stats stats;

	t.in = in;
	in_main(in);
	while (waiting(in))
		worker_comes();
	in_stats(in, false, 0, &stats);
	assert(in->fd < 0 && in->over && t.frames == in->played && stats.frames == in->played);
}

/* The head says how it is to be played, and in what bursts it is taken; the file follows. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how = size ? data[0] : 0;
	size_t head = min_u32(size ? 1 + how % 16 : 0, (uint32_t)size);
	struct fuzz_input input = {data + (head ? 1 : 0), head ? head - 1 : 0};
	static struct port_spec spec;
	struct in_port *in;
	char why[SPEC_WHY_BYTES];

	file_write(data + head, size - head);
	if (file_look(&spec, t.file, why)) {
		assert(memchr(why, '\0', sizeof(why)));
		return 0;
	}
	in = aligned_alloc(CACHE_LINE_BYTES, sizeof(*in));
	if (!in)
		abort();
	memset(in, 0, sizeof(*in));
	t.input = &input;
	t.now_ns = SECOND_NS;
	t.frames = t.naps = 0;
	in->fd = fcntl(t.file, F_DUPFD_CLOEXEC, 0);
	in->kick_fd = -1;
	port_thread_init(&in->thread);
	in->port.spec.pcap.at_once = how & 0x10;
	in->port.spec.pcap.times = how >> 5;
	if (in->fd < 0 || kernel_buffers_new(IN_SLOTS * KERNEL_FRAME_BYTES, &in->buffers))
		abort();
	play(in);
	kernel_buffers_free(&in->buffers, IN_SLOTS * KERNEL_FRAME_BYTES);
	port_thread_fini(&in->thread);
	free(in);
	return 0;
}
