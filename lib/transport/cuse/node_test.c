/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "transport/cuse/opener_lab.h"
/* after the above: */
#include <linux/fuse.h>
#include <sys/socket.h>

/*
 * The node, with libfuse, and this test in the kernel's place: at the other end of a socket, whose messages are as those of /dev/cuse. The
 * node is one that another process has handed over, so it may be asked for openers that this one does not know.
 */

struct kernel {
	struct lab *lab;
	int fd;
	uint64_t asked; /* so often */
};

static struct kernel kernel_new(void)
{
	struct {
		struct fuse_in_header header;
		struct cuse_init_in init;
	} first = { { .len = sizeof(first), .opcode = CUSE_INIT, .unique = 1 },
		    { FUSE_KERNEL_VERSION, FUSE_KERNEL_MINOR_VERSION, 0, CUSE_UNRESTRICTED_IOCTL } };
	struct kernel kernel = { .lab = lab_new(), .asked = 1 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	kernel.fd = fds[0];
	assert_int_equal(node_new_handed(kernel.lab->endpoint, fds[1], &first, sizeof(first), &kernel.lab->endpoint->node), 0);
	node_pause(kernel.lab->endpoint->node, false);
	return kernel;
}

static void kernel_free(struct kernel *kernel)
{
	fd_close(&kernel->fd);
	lab_free(kernel->lab);
}

/* What the node answers at once: 0 and the first bytes of it, or a negative errno. */
static int ask_node(struct kernel *kernel, uint32_t opcode, const void *arg, size_t arg_bytes, void *out, size_t out_bytes)
{
	struct {
		struct fuse_in_header header;
		uint8_t arg[64];
	} question = { .header = { .len = (uint32_t)(sizeof(question.header) + arg_bytes),
				   .opcode = opcode,
				   .unique = ++kernel->asked,
				   .pid = (uint32_t)getpid() } };
	struct {
		struct fuse_out_header header;
		uint8_t out[64];
	} answer = { 0 };

	assert_true(arg_bytes <= sizeof(question.arg) && out_bytes <= sizeof(answer.out));
	memcpy(question.arg, arg, arg_bytes);
	assert_int_equal(send(kernel->fd, &question, question.header.len, 0), question.header.len);
	assert_int_equal(vireo_endpoint_dispatch(&kernel->lab->endpoint->base), 0);
	assert_true(recv(kernel->fd, &answer, sizeof(answer), 0) >= (ssize_t)sizeof(answer.header));
	assert_true(answer.header.unique == kernel->asked);
	if (!answer.header.error && out_bytes)
		memcpy(out, answer.out, out_bytes);
	return answer.header.error;
}

static int ask_open(struct kernel *kernel, uint64_t *ret_number)
{
	struct fuse_open_in in = { .flags = O_RDWR };
	struct fuse_open_out out = { 0 };
	int r = ask_node(kernel, FUSE_OPEN, &in, sizeof(in), &out, sizeof(out));

	*ret_number = out.fh;
	return r;
}

static int ask_release(struct kernel *kernel, uint64_t number)
{
	struct fuse_release_in in = { .fh = number };

	return ask_node(kernel, FUSE_RELEASE, &in, sizeof(in), NULL, 0);
}

static int ask_ioctl(struct kernel *kernel, uint64_t number)
{
	struct fuse_ioctl_in in = { .fh = number, .flags = FUSE_IOCTL_UNRESTRICTED, .cmd = VHOST_SET_OWNER };

	return ask_node(kernel, FUSE_IOCTL, &in, sizeof(in), NULL, 0);
}

static int ask_poll(struct kernel *kernel, uint64_t number, uint32_t flags)
{
	struct fuse_poll_in in = { .fh = number, .kh = 7, .flags = flags, .events = POLLIN };

	return ask_node(kernel, FUSE_POLL, &in, sizeof(in), NULL, 0);
}

/* What a file is asked for that another process has not told of, and what becomes of the one beside it: nothing. */
static void opener_that_nobody_knows_gets_enodev(void **state)
{
	static const uint64_t numbers[] = { 0, 3, UINT64_C(1) << 32 | 1, UINT64_MAX };
	struct kernel kernel = kernel_new();
	uint64_t known;

	assert_int_equal(ask_open(&kernel, &known), 0);
	assert_int_equal(known, 2);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct fuse_read_in in = { .fh = numbers[i], .size = 8 };
		struct {
			struct fuse_write_in in;
			uint8_t data[8];
		} out = { .in = { .fh = numbers[i], .size = 8 } };

		assert_int_equal(ask_ioctl(&kernel, numbers[i]), -ENODEV);
		assert_int_equal(ask_poll(&kernel, numbers[i], 0), -ENODEV);
		assert_int_equal(ask_poll(&kernel, numbers[i], FUSE_POLL_SCHEDULE_NOTIFY), -ENODEV);
		assert_int_equal(ask_node(&kernel, FUSE_READ, &in, sizeof(in), NULL, 0), -ENODEV);
		assert_int_equal(ask_node(&kernel, FUSE_WRITE, &out, sizeof(out), NULL, 0), -ENODEV);
		assert_int_equal(ask_release(&kernel, numbers[i]), 0);
	}
	assert_int_equal(ask_ioctl(&kernel, known), 0);
	assert_int_equal(ask_release(&kernel, known), 0);
	assert_int_equal(ask_ioctl(&kernel, known), -ENODEV);
	kernel_free(&kernel);
}

/* The numbers end before they begin anew: one may be in use still. */
static void no_two_openers_have_one_number(void **state)
{
	struct kernel kernel = kernel_new();
	uint64_t last, none;

	kernel.lab->endpoint->opened = UINT32_MAX - 1;
	assert_int_equal(ask_open(&kernel, &last), 0);
	assert_true(last == UINT32_MAX);
	assert_int_equal(ask_open(&kernel, &none), -EOVERFLOW);
	assert_int_equal(ask_ioctl(&kernel, last), 0);
	assert_int_equal(ask_release(&kernel, last), 0);
	assert_int_equal(ask_open(&kernel, &none), -EOVERFLOW);
	kernel_free(&kernel);
}

/* Whoever has the node may open it and open it: it is told so, and the log a few times. */
static void node_is_not_opened_without_end(void **state)
{
	struct kernel kernel = kernel_new();
	uint64_t before_ns = clock_now_ns(), number = 0, lines = 0;

	while (kernel.lab->endpoint->opener_count < ENDPOINT_OPENERS_MAX)
		assert_int_equal(ask_open(&kernel, &number), 0);
	assert_true(number == 1024);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t none;

		kernel.lab->log[0] = '\0';
		assert_int_equal(ask_open(&kernel, &none), -EMFILE);
		lines += logged(kernel.lab, "refused: the node is open as often as it can be");
	}
	assert_in_range(lines, 1, 2 + (clock_now_ns() - before_ns) / (NODE_FULL_QUIET_S * UINT64_C(1000000000)));
	assert_int_equal(ask_release(&kernel, 512), 0);
	assert_int_equal(ask_open(&kernel, &number), 0);
	assert_true(number == 1025);
	assert_int_equal(ask_ioctl(&kernel, number), 0);
	kernel_free(&kernel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opener_that_nobody_knows_gets_enodev),
		cmocka_unit_test(no_two_openers_have_one_number),
		cmocka_unit_test(node_is_not_opened_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
