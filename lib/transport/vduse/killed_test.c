/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/killed_test.h"
#include "transport/vduse/fake_test.h"

/* The daemon is killed, as by kill -9, and another one takes its device over; the kernel and its driver go on all the time. */

static struct vireo_queue *running;
static struct killed_device *device;

static void started(void *opaque, struct vireo_queue *queue)
{
	running = vireo_queue_index(queue) ? running : queue;
}

static void stop(void *opaque, struct vireo_queue *queue)
{
	if (queue == running) {
		killed_gives_back(device, queue);
		running = NULL;
	}
	vireo_queue_quiesced(queue);
}

static void log_line(void *opaque, enum vireo_log_level level, const char *line)
{
	if (level <= VIREO_LOG_WARNING)
		fprintf(stderr, "%s\n", line);
}

static void daemon_runs(struct fake *f)
{
	static const struct vireo_device_ops ops = { .size = sizeof(ops), .queue_started = started, .queue_stop = stop };
	const struct vireo_device_config device_config = {
		.size = sizeof(device_config), .device_id = 1, .name = "killed", .ops = &ops, .queue_count = 2, .queue_size_max = 256,
		.features = F(RING_PACKED) | F(RING_INDIRECT_DESC) | F(RING_EVENT_IDX), .config = "0123456789abcdef",
		.config_bytes = 16, .log = { .write = log_line }, .out_of_order = true,
	};
	struct vireo_endpoint_config config = { .size = sizeof(config), .vduse.state_folder = f->folder };
	const struct vduse_kernel kernel = fake_kernel(f);
	struct vireo_endpoint *endpoint;
	struct vireo_device *made;

	device = killed_device_new();
	if (vireo_device_new(&device_config, &made) || vduse_open_on(made, FAKE_NAME, &config, &kernel, &endpoint))
		_exit(2);
	for (;;) {
		struct pollfd poll_fd = { .fd = vireo_endpoint_fd(endpoint), .events = POLLIN };

		if (poll(&poll_fd, 1, running ? 0 : 1000) > 0 && vireo_endpoint_dispatch(endpoint))
			_exit(3);
		if (running)
			killed_serves(device, running);
	}
}

static pid_t serve(struct fake *f)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		daemon_runs(f);
	return child;
}

/* The first daemon finds these messages when it has made its device. */
static void driver_begins(struct fake *f)
{
	f->opens++;
	fake_send(f, VDUSE_MSG_SET_STATUS, STATUS_FEATURES, 0);
	fake_send(f, VDUSE_MSG_SET_STATUS, STATUS_OK, 0);
	f->opens--;
}

static void dies(struct fake *f, struct killed_driver *driver)
{
	unsigned opens = f->opens;

	killed_lives_and_dies(driver, serve(f));
	assert_int_equal(f->opens, opens + 1);
	close(f->pairs[opens][0]); /* ours; the child's has the same number, which stays where it is written */
	assert_true(f->exists);
	f->status = STATUS_OK;
}

static void killed_again_and_again(uint64_t features)
{
	struct fake *f = fake_new_for(killed_times() + 1);
	struct killed_driver driver = { .host = f->memory + 0x10000, .seed = features + 1 };
	struct fake_driver rings;

	driver_new(f, &rings, features, KILLED_SIZE);
	driver.ring = rings.rings[0];
	driver_begins(f);
	for (unsigned n = 0; n < killed_times(); n++)
		dies(f, &driver);
	killed_ends(&driver, serve(f));
	driver_free(&rings);
	fake_free(f);
}

int main(void)
{
	return killed_tests();
}
