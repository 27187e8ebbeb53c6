/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets and queues of af_xdp ports, whose kernel is played here: it takes what it is told to, and says what real ones say. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* What a call of the kernel does next. */
static struct {
	struct xdp_port *port;
	unsigned sends, wakes; /* how often it was called */
	unsigned takes;	       /* so many pieces in all; what is beyond, it has no place for */
	unsigned drops;	       /* of these, so many are lost on the way */
	int err;	       /* it says this, and does nothing */
	bool late;	       /* it tells how far it has come when it has taken all (before Linux 6.17) */
	uint32_t taken;
} fake;

static ssize_t kernel_send(void);
static ssize_t kernel_wake(void);
#define sendto(...) kernel_send()
#define recvfrom(...) kernel_wake()
#include "xdp_socket.c"
#include "port_af_xdp.c"
#undef sendto
#undef recvfrom

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <poll.h>

#define KERNEL_PIECES 32u /* it takes in one call */

struct rings {
	uint32_t producer[4], consumer[4], flags[4];
	struct xdp_desc go[XDP_OUT_CHUNKS], come[XDP_IN_CHUNKS];
	uint64_t gone[XDP_OUT_CHUNKS], fill[XDP_IN_CHUNKS];
};

static struct rings *rings;

static void piece_take(struct xdp_socket *s)
{
	rings->gone[rings->producer[1]++ & s->gone.mask] = rings->go[fake.taken++ & s->go.mask].addr;
	fake.takes--;
}

static ssize_t fails(int err)
{
	errno = err;
	return -1;
}

static ssize_t kernel_send(void)
{
	struct xdp_socket *s = &fake.port->queues[0];
	ssize_t ret = 0;

	fake.sends++;
	if (fake.err)
		return fails(fake.err);
	for (unsigned i = 0; !ret && fake.taken != rings->producer[0]; i++) {
		if (i == KERNEL_PIECES || !fake.takes) {
			ret = fails(EAGAIN);
			break;
		}
		piece_take(s);
		if (fake.drops) {
			fake.drops--;
			ret = fails(EBUSY);
		}
	}
	if (!fake.late || fake.taken == rings->producer[0])
		rings->consumer[0] = fake.taken;
	return ret;
}

static ssize_t kernel_wake(void)
{
	fake.wakes++;
	rings->flags[2] = 0;
	return fails(EAGAIN);
}

#define RING(number, of, bytes) \
	{.cached_cons = (of), .mask = (bytes)-1, .size = (bytes), .producer = &rings->producer[number], .consumer = &rings->consumer[number], \
	 .flags = &rings->flags[number]}

static int begin(void **state)
{
	struct xdp_port *port = calloc(1, sizeof(*port) + sizeof(port->queues[0]));
	struct xdp_socket *s;

	rings = calloc(1, sizeof(*rings));
	assert_non_null(port);
	assert_non_null(rings);
	s = &port->queues[0];
	s->go = (struct xsk_ring_prod)RING(0, XDP_OUT_CHUNKS, XDP_OUT_CHUNKS);
	s->gone = (struct xsk_ring_cons)RING(1, 0, XDP_OUT_CHUNKS);
	s->fill = (struct xsk_ring_prod)RING(2, XDP_IN_CHUNKS, XDP_IN_CHUNKS);
	s->come = (struct xsk_ring_cons)RING(3, 0, XDP_IN_CHUNKS);
	s->go.ring = rings->go;
	s->gone.ring = rings->gone;
	s->fill.ring = rings->fill;
	s->come.ring = rings->come;
	rings->flags[0] = XDP_RING_NEED_WAKEUP;
	s->pieces = true;
	assert_int_equal(kernel_buffers_new(AREA_BYTES, &s->chunks), 0);
	chunks_share(s);
	port->longest = 9014;
	assert_int_equal(fd_event_new(&port->late_fd), 0);
	memset(&fake, 0, sizeof(fake));
	fake.port = port;
	*state = port;
	return 0;
}

static int end(void **state)
{
	struct xdp_port *port = *state;

	kernel_buffers_free(&port->queues[0].chunks, AREA_BYTES);
	fd_close(&port->late_fd);
	free(port);
	free(rings);
	return 0;
}

static uint8_t octets[9014];

/* As the switch does it with a burst. Returns how many went. */
static int burst(struct xdp_port *port, unsigned count, uint32_t bytes)
{
	struct iovec iov = {octets, bytes};
	struct vireo_frame frame = {.iov = &iov, .iov_count = 1, .len_bytes = bytes};
	struct vireo_frame *frames[64];
	int sent;

	for (unsigned i = 0; i < count; i++)
		frames[i] = &frame;
	sent = xdp_ops.deliver(port, 0, frames, count);
	xdp_ops.flush(port, 0);
	return sent;
}

static struct sw_queue_stats out_stats(const struct xdp_port *port)
{
	struct sw_queue_stats stats;

	sw_queue_stats_read(&port->queues[0].out, &stats);
	stats.no_buffer += port->queues[0].lost;
	return stats;
}

static bool called(const struct xdp_port *port)
{
	struct pollfd fd = {.fd = port->late_fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void what_a_slow_interface_leaves_is_called_for(void **state)
{
	struct xdp_port *port = *state;
	struct xdp_socket *s = &port->queues[0];

	fake.takes = 10;
	assert_int_equal(burst(port, 40, 60), 40);
	assert_int_equal(fake.taken, 10);
	assert_true(called(port));
	fd_event_clear(port->late_fd);
	assert_int_equal(burst(port, 1, 60), 1);
	assert_false(called(port)); /* somebody has been called, and looks */
	fake.takes = 1000;
	assert_true(xdp_socket_push(s));
	assert_int_equal(fake.taken, 41);
	assert_int_equal(out_stats(port).frames, 41);
	__atomic_store_n(&port->late, false, __ATOMIC_SEQ_CST);
	assert_int_equal(burst(port, 1, 60), 1);
	assert_false(called(port));
}

static void what_an_interface_takes_goes_at_once(void **state)
{
	struct xdp_port *port = *state;

	fake.takes = 1000;
	for (unsigned late = 0; late < 2; late++) {
		fake.late = late;
		assert_int_equal(burst(port, 50, 9000), 50); /* of three pieces each */
		assert_int_equal(fake.taken, (late + 1) * 150);
		assert_false(called(port));
	}
	assert_int_equal(out_stats(port).bytes, 2 * 50 * 9000);
}

static void nobody_waits_for_a_slow_interface(void **state)
{
	struct xdp_port *port = *state;

	for (unsigned i = 0; i < XDP_OUT_CHUNKS / 64; i++)
		assert_int_equal(burst(port, 64, 60), 64);
	assert_true(fake.sends <= XDP_OUT_CHUNKS / 64 * FRUITLESS_MAX);
	fake.sends = 0;
	assert_int_equal(burst(port, 64, 60), 0); /* no place is left, for any of them */
	assert_true(fake.sends <= 2 * FRUITLESS_MAX);
	assert_int_equal(out_stats(port).no_buffer, 64);
	assert_int_equal(out_stats(port).frames, XDP_OUT_CHUNKS);
	fake.takes = 16;
	assert_int_equal(burst(port, 64, 60), 16); /* the burst itself has made place */
}

static void a_frame_that_a_driver_drops_is_not_counted_as_sent(void **state)
{
	struct xdp_port *port = *state;
	struct xdp_socket *s = &port->queues[0];

	fake.takes = 1000;
	fake.drops = 3;
	assert_int_equal(burst(port, 10, 60), 10);
	assert_int_equal(fake.taken, 10); /* what comes after one goes at once */
	assert_int_equal(out_stats(port).frames, 7);
	assert_int_equal(out_stats(port).bytes, 7 * 60);
	assert_int_equal(out_stats(port).no_buffer, 3);
	fake.takes = 0;
	assert_int_equal(burst(port, 2, 60), 2);
	assert_int_equal(out_stats(port).frames, 9);
	fake.takes = 1000;
	fake.drops = 2; /* which have been counted */
	assert_true(xdp_socket_push(s));
	assert_int_equal(out_stats(port).frames, 9); /* a counter goes up only */
	assert_int_equal(out_stats(port).no_buffer, 5);
	burst(port, 4, 60);
	assert_int_equal(out_stats(port).frames, 11);
	assert_int_equal(out_stats(port).bytes, 11 * 60);
}

static void an_interface_that_is_down_is_called_once(void **state)
{
	struct xdp_port *port = *state;

	fake.err = ENETDOWN;
	assert_int_equal(burst(port, 40, 60), 40);
	assert_int_equal(fake.sends, 1);
	port->longest = 0; /* it has been seen */
	fd_event_clear(port->late_fd);
	__atomic_store_n(&port->late, false, __ATOMIC_SEQ_CST);
	assert_int_equal(burst(port, 40, 60), 0);
	assert_false(called(port));
	assert_int_equal(out_stats(port).disabled, 40);
}

/* The kernel asks for a call when it has looked at the ring for chunks in vain, which may be after we have looked whether it does. */
static void who_polls_wakes_the_kernel(void **state)
{
	struct xdp_port *port = *state;
	struct vireo_frame frames[KERNEL_BURST];

	assert_int_equal(xdp_ops.receive(port, 0, frames, KERNEL_BURST), 0);
	assert_int_equal(fake.wakes, 0);
	rings->flags[2] = XDP_RING_NEED_WAKEUP;
	assert_int_equal(xdp_ops.receive(port, 0, frames, KERNEL_BURST), 0);
	assert_int_equal(fake.wakes, 1);
	assert_int_equal(xdp_ops.receive(port, 0, frames, KERNEL_BURST), 0);
	assert_int_equal(fake.wakes, 1);
}

static void frames_come_and_their_chunks_go_back(void **state)
{
	struct xdp_port *port = *state;
	struct vireo_frame frames[KERNEL_BURST];

	for (uint32_t i = 0; i < 4; i++) /* a frame, one that is too short, and one of two pieces */
		rings->come[i] = (struct xdp_desc){.addr = i * XDP_CHUNK_BYTES + 256, .len = i == 1 ? 13 : 100, .options = i == 2 ? XDP_PKT_CONTD : 0};
	rings->producer[3] = 4;
	rings->consumer[2] = XDP_IN_CHUNKS; /* the kernel has all chunks */
	assert_int_equal(xdp_ops.receive(port, 0, frames, KERNEL_BURST), 2);
	assert_int_equal(frames[0].len_bytes, 100);
	assert_int_equal(frames[1].len_bytes, 200);
	xdp_ops.release(port, 0);
	assert_int_equal(rings->consumer[3], 4);
	assert_int_equal(rings->producer[2], XDP_IN_CHUNKS + 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(rings->fill[i], i * XDP_CHUNK_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_slow_interface_leaves_is_called_for, begin, end),
		cmocka_unit_test_setup_teardown(what_an_interface_takes_goes_at_once, begin, end),
		cmocka_unit_test_setup_teardown(nobody_waits_for_a_slow_interface, begin, end),
		cmocka_unit_test_setup_teardown(a_frame_that_a_driver_drops_is_not_counted_as_sent, begin, end),
		cmocka_unit_test_setup_teardown(an_interface_that_is_down_is_called_once, begin, end),
		cmocka_unit_test_setup_teardown(who_polls_wakes_the_kernel, begin, end),
		cmocka_unit_test_setup_teardown(frames_come_and_their_chunks_go_back, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
