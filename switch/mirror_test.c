/* SPDX-License-Identifier: BSD-3-Clause */

/* Ports are mirrored to other ports and into pipes; readers stop, go, and are too slow. What is written is read back here. */

#include "switch/mirror.h"
#include "switch/fake_switch.h"
#include "switch/mirror_internal.h"
#include "switch/mirror_ring.h"
#include "switch/pcapng.h"
#include "switch/port.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
/* cmocka wants the four above */
#include <cmocka.h>

#define SPY 3u /* the port where copies go to */

static const uint8_t stranger[6] = {2, 9, 9, 9, 9, 9}, reserved[6] = {0x01, 0x80, 0xc2, 0, 0, 3};

static struct sw_mirror *mirror_add(struct fixture *x, unsigned source, struct sw_mirror_config config)
{
	struct sw_mirror *mirror = NULL;

	config.source = x->port[source];
	config.where = "test";
	config.program = "mirror_test";
	assert_int_equal(sw_mirror_add(x->sw, &config, &mirror), 0);
	pass_grace(x);
	return mirror;
}

static struct sw_mirror_status status_of(const struct sw_mirror *mirror)
{
	struct sw_mirror_status status;

	sw_mirror_status(mirror, &status);
	return status;
}

static void on_removed(void *opaque)
{
	*(bool *)opaque = true;
}

static void mirror_remove(struct fixture *x, struct sw_mirror *mirror)
{
	bool removed = false;

	assert_int_equal(sw_mirror_remove(mirror, on_removed, &removed), 0);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !removed; i++)
		step(x);
	assert_true(removed);
}

static void send_one(struct fixture *x, unsigned from, const uint8_t *to, unsigned number)
{
	uint8_t mac[6];

	mac_of(mac, from, 0);
	send_raw(x, from, to, mac, number);
	settle(x);
}

/* A file in memory that a mirror writes. */
static int file_new(void)
{
	int fd = memfd_create("mirror", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* ---- what was written ---- */

struct packet {
	bool out;
	uint32_t bytes, frame_bytes;
	uint8_t data[256];
	char comment[256];
};

struct capture {
	unsigned count, statistics;
	uint64_t dropped;
	struct packet packet[64];
};

static uint32_t word(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void options_read(const uint8_t *at, const uint8_t *end, struct packet *packet)
{
	while (at + 4 <= end) {
		uint16_t code, bytes;

		memcpy(&code, at, 2);
		memcpy(&bytes, at + 2, 2);
		assert_true(at + 4 + bytes <= end);
		if (code == 2)
			packet->out = (word(at + 4) & 3) == 2;
		if (code == 1) {
			assert_true(bytes < sizeof(packet->comment));
			memcpy(packet->comment, at + 4, bytes);
		}
		at += 4 + ((bytes + 3u) & ~3u);
	}
	assert_ptr_equal(at, end);
}

static void packet_read(const uint8_t *block, uint32_t bytes, struct capture *capture)
{
	struct packet *packet = &capture->packet[capture->count++];

	assert_true(capture->count <= ARRAY_SIZE(capture->packet));
	packet->bytes = word(block + 20);
	packet->frame_bytes = word(block + 24);
	memcpy(packet->data, block + 28, min_u32(packet->bytes, sizeof(packet->data)));
	options_read(block + 28 + ((packet->bytes + 3) & ~3u), block + bytes - 4, packet);
}

/* The whole file, which is as the format wants it. The fd is closed. */
static void capture_read(int fd, struct capture *capture)
{
	off_t bytes = lseek(fd, 0, SEEK_END);
	uint8_t *all = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	off_t at = 0;

	assert_true(bytes > 0 && all != MAP_FAILED);
	memset(capture, 0, sizeof(*capture));
	while (at < bytes) {
		uint32_t type = word(all + at), length = word(all + at + 4);

		assert_true(length >= 12 && length % 4 == 0 && at + length <= bytes);
		assert_int_equal(word(all + at + length - 4), length);
		assert_true(at ? type != 0x0a0d0d0a : type == 0x0a0d0d0a);
		if (type == 6)
			packet_read(all + at, length, capture);
		if (type == 5) {
			capture->statistics++;
			memcpy(&capture->dropped, all + at + 20 + 12 + 4, sizeof(capture->dropped));
		}
		at += length;
	}
	munmap(all, (size_t)bytes);
	close(fd);
}

static const struct packet *packet_to(const struct capture *capture, const uint8_t *mac)
{
	for (unsigned i = 0; i < capture->count; i++)
		if (!memcmp(capture->packet[i].data, mac, 6))
			return &capture->packet[i];
	fail_msg("it is not there");
	return NULL;
}

/* ---- tests ---- */

static void what_a_port_sends_and_gets_is_written_with_its_direction(void **state)
{
	struct fixture *x = *state;
	int fd = file_new();
	struct sw_mirror *mirror = mirror_add(x, 0, (struct sw_mirror_config){.fd = dup(fd)});
	struct capture capture;
	uint8_t mac[6];

	mac_of(mac, 0, 0);
	send_one(x, 0, broadcast, 1);
	send_one(x, 1, mac, 2);
	assert_int_equal(status_of(mirror).frames, 2);
	assert_int_equal(status_of(mirror).bytes, 128);
	mirror_remove(x, mirror);
	capture_read(fd, &capture);
	assert_int_equal(capture.count, 2);
	assert_int_equal(capture.statistics, 1);
	assert_int_equal(capture.dropped, 0);
	assert_false(packet_to(&capture, broadcast)->out);
	assert_true(packet_to(&capture, mac)->out);
	assert_int_equal(capture.packet[0].bytes, 64);
	assert_string_equal(capture.packet[0].comment, "");
	assert_int_equal(fake_port_got(x->fake[1]), 1); /* and all has gone its way */
	assert_int_equal(fake_port_got(x->fake[0]), 1);
}

/* In one burst: each its own reason, and the others none. */
static void what_is_dropped_is_written_with_the_reason(void **state)
{
	struct fixture *x = *state;
	uint8_t own[6], nobody[6] = {0}, peer[6];
	int fd = file_new();
	struct sw_mirror *mirror;
	struct capture capture;

	mac_of(own, 0, 0);
	mac_of(peer, 1, 0);
	send_one(x, 1, broadcast, 0);
	mirror = mirror_add(x, 0, (struct sw_mirror_config){.fd = dup(fd)});
	send_raw(x, 0, reserved, own, 1);
	send_raw(x, 0, stranger, nobody, 2);
	send_raw(x, 0, own, own, 3);
	send_raw(x, 0, peer, own, 4);
	settle(x);
	mirror_remove(x, mirror);
	capture_read(fd, &capture);
	assert_int_equal(capture.count, 4);
	assert_string_equal(packet_to(&capture, reserved)->comment, "dropped: rx_reserved");
	assert_string_equal(packet_to(&capture, stranger)->comment, "dropped: rx_bad_source");
	assert_string_equal(packet_to(&capture, own)->comment, "dropped: rx_hairpin");
	assert_string_equal(packet_to(&capture, peer)->comment, "");
}

static void what_another_port_drops_says_which(void **state)
{
	struct fixture *x = *state;
	int fd = file_new(), there = file_new();
	struct sw_mirror *mirror = mirror_add(x, 0, (struct sw_mirror_config){.fd = dup(fd)});
	struct sw_mirror *at = mirror_add(x, 1, (struct sw_mirror_config){.fd = dup(there)});
	struct capture capture;
	uint8_t mac[6];

	mac_of(mac, 1, 0);
	send_one(x, 1, broadcast, 0);
	sw_port_mtu_set(x->port[1], 20);
	send_one(x, 0, mac, 1);
	mirror_remove(x, mirror);
	mirror_remove(x, at);
	capture_read(fd, &capture);
	assert_string_equal(packet_to(&capture, mac)->comment, "dropped at p1: tx_mtu");
	capture_read(there, &capture);
	assert_string_equal(packet_to(&capture, mac)->comment, "dropped: tx_mtu");
	assert_true(packet_to(&capture, mac)->out);
}

static void what_limits_refuse_is_mirrored_on_both_sides(void **state)
{
	struct fixture *x = *state;
	const struct sw_limits limits = {.frames_out = {.per_second = 1, .burst = 1}};
	int from = file_new(), to = file_new();
	struct sw_mirror *source = mirror_add(x, 0, (struct sw_mirror_config){.fd = dup(from)});
	struct sw_mirror *receiver = mirror_add(x, 1, (struct sw_mirror_config){.fd = dup(to)});
	unsigned dropped = 0, dropped_there = 0;
	struct capture capture;
	uint8_t mac[6];

	mac_of(mac, 1, 0);
	send_one(x, 1, broadcast, 0);
	sw_port_limits_set(x->port[1], &limits); /* the mirror stays */
	for (unsigned i = 0; i < 20; i++)
		send_one(x, 0, mac, i);
	mirror_remove(x, source);
	mirror_remove(x, receiver);
	capture_read(from, &capture);
	for (unsigned i = 0; i < capture.count; i++)
		dropped += !strcmp(capture.packet[i].comment, "dropped at p1: tx_rate_limit");
	assert_int_equal(dropped, stats_of(x, 1).tx_rate_limit);
	assert_true(dropped);
	capture_read(to, &capture);
	assert_int_equal(capture.count, 21);
	for (unsigned i = 0; i < capture.count; i++)
		dropped_there += !strcmp(capture.packet[i].comment, "dropped: tx_rate_limit");
	assert_int_equal(dropped_there, dropped);
}

static void tags_are_as_the_port_gets_them(void **state)
{
	struct fixture *x = *state;
	const uint64_t tagged[SW_VLAN_SET_WORDS] = {1u << 5};
	struct sw_port_config config = {.vlan_aware = true, .tagged = tagged};
	int fd = file_new();
	struct sw_mirror *mirror;
	struct capture capture;

	add_port_in(x, 4, 1, 5);
	add_port_with(x, 5, 1, &config);
	mirror = mirror_add(x, 5, (struct sw_mirror_config){.fd = dup(fd)});
	send_one(x, 4, broadcast, 1);
	mirror_remove(x, mirror);
	capture_read(fd, &capture);
	assert_int_equal(capture.count, 1);
	assert_int_equal(capture.packet[0].frame_bytes, 68);
	assert_memory_equal(capture.packet[0].data + 12, ((uint8_t[]){0x81, 0, 0, 5, 0x88, 0xb5}), 6);
}

static void no_more_than_snaplen_is_kept(void **state)
{
	struct fixture *x = *state;
	int fd = file_new();
	struct sw_mirror *mirror = mirror_add(x, 0, (struct sw_mirror_config){.fd = dup(fd), .snaplen = 30});
	struct capture capture;

	send_one(x, 0, broadcast, 1);
	mirror_remove(x, mirror);
	capture_read(fd, &capture);
	assert_int_equal(capture.packet[0].bytes, 30);
	assert_int_equal(capture.packet[0].frame_bytes, 64);
}

/* ether[14] == 7: the first byte of send_raw()'s number. */
static const struct packet_filter_step sevens[] = {{0x30, 0, 0, 14}, {0x15, 0, 1, 7}, {0x6, 0, 0, 262144}, {0x6, 0, 0, 0}};

static void a_filter_says_which_frames(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror_config config = {.filter = sevens, .filter_steps = ARRAY_SIZE(sevens), .expression = "ether[14] == 7"};
	int fd = file_new();
	struct sw_mirror *to_file, *to_port;
	struct capture capture;

	add_port_in(x, SPY, 1, 9);
	config.fd = dup(fd);
	to_file = mirror_add(x, 0, config);
	config.to = x->port[SPY];
	to_port = mirror_add(x, 0, config);
	for (unsigned i = 0; i < 20; i++)
		send_one(x, 0, broadcast, i);
	assert_int_equal(status_of(to_port).frames, 1);
	assert_int_equal(fake_port_got(x->fake[SPY]), 1);
	mirror_remove(x, to_port);
	mirror_remove(x, to_file);
	capture_read(fd, &capture);
	assert_int_equal(capture.count, 1);
	assert_int_equal(capture.packet[0].data[14], 7);
}

static void what_is_no_program_is_refused(void **state)
{
	struct fixture *x = *state;
	const struct packet_filter_step beyond[] = {{0x15, 5, 5, 0}, {0x6, 0, 0, 0}};
	const struct sw_mirror_config config = {.source = x->port[0], .fd = file_new(), .filter = beyond, .filter_steps = 2};
	struct sw_mirror *mirror;

	assert_int_equal(sw_mirror_add(x->sw, &config, &mirror), -EINVAL);
	close(config.fd); /* still ours */
}

static void copies_go_to_a_port_both_ways_and_dropped_ones_too(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror *mirror;
	uint8_t mac[6];

	add_port_in(x, SPY, 1, 9); /* hears nothing else */
	mirror = mirror_add(x, 0, (struct sw_mirror_config){.to = x->port[SPY]});
	mac_of(mac, 0, 0);
	send_one(x, 0, broadcast, 1);
	send_one(x, 1, mac, 2);
	send_one(x, 0, reserved, 3);
	assert_int_equal(fake_port_got(x->fake[SPY]), 3);
	assert_int_equal(fake_port_got(x->fake[1]), 1);
	assert_int_equal(stats_of(x, 0).rx_reserved, 1);
	mirror_remove(x, mirror);
	send_one(x, 0, broadcast, 4);
	assert_int_equal(fake_port_got(x->fake[SPY]), 3);
}

static void a_port_without_room_for_copies_costs_the_source_nothing(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror *mirror;

	add_port_in(x, SPY, 1, 9);
	x->fake[SPY]->room = 0;
	mirror = mirror_add(x, 0, (struct sw_mirror_config){.to = x->port[SPY]});
	for (unsigned i = 0; i < 100; i++)
		send_one(x, 0, broadcast, i);
	assert_int_equal(fake_port_got(x->fake[1]), 100);
	assert_int_equal(fake_port_got(x->fake[2]), 100);
	assert_int_equal(stats_of(x, SPY).tx_lost, 100);
	mirror_remove(x, mirror);
}

/* As if a page of the port's memory had to come from a disk. */
static int deliver_late(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page != MAP_FAILED) {
		*(volatile char *)page = 1;
		nanosleep(&(struct timespec){.tv_nsec = 8000000}, NULL);
		munmap(page, 4096);
	}
	return fake_port_ops.deliver(opaque, queue, frames, count);
}

static unsigned stalls_of(const struct fixture *x, unsigned p)
{
	return __atomic_load_n(&x->port[p]->stalls.count, __ATOMIC_RELAXED);
}

static void a_target_that_waits_for_memory_accuses_itself_and_not_its_source(void **state)
{
	struct sw_port_ops prompt = fake_port_ops, late = fake_port_ops;
	struct sw_port_config source = {.ops = &prompt}, target = {.ops = &late, .vlan = 9};
	struct fixture *x = *state;
	struct sw_mirror *mirror;

	prompt.peer_memory = late.peer_memory = true;
	late.deliver = deliver_late;
	add_port_with(x, SPY, 1, &target);
	add_port_with(x, SPY + 1, 1, &source);
	mirror = mirror_add(x, SPY + 1, (struct sw_mirror_config){.to = x->port[SPY]});
	for (unsigned i = 0; i < 100 && stalls_of(x, SPY) < STALLS_MAX - 1; i++) /* the first has the worker watch */
		send_one(x, 0, broadcast, i);
	assert_in_range(stalls_of(x, SPY), 1, STALLS_MAX - 1);
	assert_true(stalls_of(x, SPY + 1) < stalls_of(x, SPY));
	mirror_remove(x, mirror);
	remove_port(x, SPY + 1);
	remove_port(x, SPY);
}

static void a_target_is_no_source_and_a_source_no_target(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror *mirror, *refused;
	struct sw_mirror_config config = {.source = x->port[1], .to = x->port[2]};

	mirror = mirror_add(x, 0, (struct sw_mirror_config){.to = x->port[1]});
	assert_int_equal(sw_mirror_add(x->sw, &config, &refused), -ELOOP);
	config = (struct sw_mirror_config){.source = x->port[2], .to = x->port[0]};
	assert_int_equal(sw_mirror_add(x->sw, &config, &refused), -ELOOP);
	config.to = x->port[2];
	assert_int_equal(sw_mirror_add(x->sw, &config, &refused), -ELOOP);
	mirror_remove(x, mirror);
	mirror = mirror_add(x, 1, (struct sw_mirror_config){.to = x->port[2]});
	mirror_remove(x, mirror);
}

/* Two ways round in a circle that no look at the mirrors alone shows: a bond carries by its member, whose copies go to the bond. */
static void copies_are_not_copied_again(void **state)
{
	struct fixture *x = *state;
	struct sw_bond_config as = {.mode = SW_BOND_ACTIVE_BACKUP};
	struct sw_port_config config = {.name = "b", .bond = &as, .flood_copies = SW_FLOOD_ANY}, member = {.member_of = "b"};
	struct sw_mirror *mirror;
	struct sw_port *bond;
	unsigned before;

	assert_int_equal(sw_port_new(x->sw, &config, &bond), 0);
	add_port_with(x, SPY, 1, &member);
	mirror = mirror_add(x, SPY, (struct sw_mirror_config){.to = bond});
	send_one(x, 0, broadcast, 1);
	assert_int_equal(fake_port_got(x->fake[SPY]), 2);
	mirror_remove(x, mirror);
	remove_port(x, SPY);
	before = x->gone;
	sw_port_free(bond, on_gone, x);
	wait_gone(x, before + 1);
}

static void there_are_so_many_of_a_port_and_no_more(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror_config config = {.source = x->port[0], .to = x->port[2]};
	struct sw_mirror *mirror[SW_PORT_MIRRORS_MAX], *refused;

	for (unsigned i = 0; i < SW_PORT_MIRRORS_MAX; i++)
		mirror[i] = mirror_add(x, 0, config);
	assert_int_equal(sw_mirror_add(x->sw, &config, &refused), -ENOSPC);
	for (unsigned i = 0; i < SW_PORT_MIRRORS_MAX; i++)
		mirror_remove(x, mirror[i]);
}

static void wait_mirrors(struct fixture *x, unsigned count)
{
	unsigned left = count + 1;

	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && left != count; i++) {
		left = 0;
		for (struct sw_mirror *mirror = NULL; (mirror = sw_mirror_next(x->sw, mirror));)
			left++;
		step(x);
	}
	assert_int_equal(left, count);
}

/* What comes out of a pipe, until who writes there has closed it, into a file. */
static void drain(struct fixture *x, int pipe_fd, int fd)
{
	uint8_t bytes[4096];
	ssize_t n = -1;

	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && n; i++) {
		n = read(pipe_fd, bytes, sizeof(bytes));
		if (n > 0)
			assert_int_equal(write(fd, bytes, (size_t)n), n);
		step(x);
	}
	assert_int_equal(n, 0);
	close(pipe_fd);
}

static void a_port_that_goes_takes_its_mirrors_along(void **state)
{
	struct fixture *x = *state;
	int fd = file_new(), fds[2];
	struct capture capture;

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	add_port_in(x, SPY, 1, 9);
	mirror_add(x, 1, (struct sw_mirror_config){.fd = fds[1]});
	mirror_add(x, 0, (struct sw_mirror_config){.to = x->port[SPY]});
	send_one(x, 1, broadcast, 1);
	remove_port(x, 1);
	remove_port(x, SPY);
	wait_mirrors(x, 0);
	send_one(x, 0, broadcast, 2); /* copies to nobody */
	drain(x, fds[0], fd);
	capture_read(fd, &capture);
	assert_int_equal(capture.statistics, 1);
	assert_int_equal(capture.count, 1);
}

static void a_reader_that_goes_ends_the_mirror(void **state)
{
	struct fixture *x = *state;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	mirror_add(x, 0, (struct sw_mirror_config){.fd = fds[1]});
	send_one(x, 0, broadcast, 1);
	close(fds[0]);
	wait_mirrors(x, 0); /* also when nothing comes any more */
	send_one(x, 0, broadcast, 2);
	assert_int_equal(fake_port_got(x->fake[1]), 2);
}

/* ---- another process is to go on ---- */

#define HOLDS 300u

static bool held_by_now(struct fixture *x, const bool *held)
{
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !*held; i++)
		step(x);
	return *held;
}

/* What is told of all that still copy: fds that are open. Returns how many frames those have copied. */
static uint64_t told(struct fixture *x)
{
	uint64_t frames = 0;

	for (struct sw_mirror *mirror = NULL; (mirror = sw_mirror_next(x->sw, mirror));) {
		const struct packet_filter_step *filter;
		struct sw_mirror_past past;
		unsigned steps;
		int fd;

		if (status_of(mirror).err)
			continue;
		sw_mirror_tell(mirror, &past, &fd, &filter, &steps);
		assert_true(fcntl(fd, F_GETFL) >= 0);
		assert_int_equal(past.rest_bytes, 0);
		frames += past.frames;
	}
	return frames;
}

/* Its thread has ended, which nobody has looked at yet. */
static void a_mirror_whose_reader_has_gone_is_not_told_of(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror *mirror;
	bool held = false;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	mirror = mirror_add(x, 0, (struct sw_mirror_config){.fd = fds[1]});
	close(fds[0]);
	for (unsigned i = 0; i < WAIT_MS_MAX && !mirror_writer_finished(&mirror->writer); i++)
		usleep(1000);
	assert_true(mirror_writer_finished(&mirror->writer));
	sw_mirrors_hold(x->sw, on_removed, &held);
	assert_true(held_by_now(x, &held));
	assert_int_equal(told(x), 0);
	sw_mirrors_go_on(x->sw);
	wait_mirrors(x, 0);
}

/* And has come into the mirror's ring. */
static void send_copied(struct fixture *x, const struct sw_mirror *mirror, unsigned number)
{
	send_one(x, 0, broadcast, number);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && status_of(mirror).frames <= number; i++)
		step(x);
	assert_int_equal(status_of(mirror).frames, number + 1);
}

/* What was copied before that is written. One that has gone on and is held again at once rests, and does not only seem to, as it did before. */
static void mirrors_rest_as_often_as_they_are_held(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror *mirror = mirror_add(x, 0, (struct sw_mirror_config){.fd = file_new()});

	for (unsigned i = 0; i < HOLDS; i++) {
		bool held = false, again = false;

		send_copied(x, mirror, 2 * i);
		sw_mirrors_hold(x->sw, on_removed, &held);
		assert_true(held_by_now(x, &held));
		sw_mirrors_go_on(x->sw);
		send_copied(x, mirror, 2 * i + 1);
		sw_mirrors_hold(x->sw, on_removed, &again);
		assert_true(held_by_now(x, &again));
		assert_int_equal(told(x), 2 * i + 2);
		sw_mirrors_go_on(x->sw);
	}
	mirror_remove(x, mirror);
}

/* The pipe is full, then the ring is: copies are lost, and frames are not. The mirror can be removed all the same. */
static void a_reader_that_stops_loses_copies_only(void **state)
{
	struct fixture *x = *state;
	static uint8_t frame[60000];
	struct sw_mirror *mirror;
	unsigned sent = 0;
	int fds[2];

	memcpy(frame, broadcast, 6);
	mac_of(frame + 6, 0, 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	mirror = mirror_add(x, 0, (struct sw_mirror_config){.fd = fds[1]});
	for (; sent < 1000 && !status_of(mirror).lost; sent++) {
		fake_port_send(x->fake[0], 0, frame, sizeof(frame), NULL);
		settle(x);
	}
	assert_true(status_of(mirror).lost);
	assert_int_equal(fake_port_got(x->fake[1]), sent);
	assert_int_equal(status_of(mirror).frames + status_of(mirror).lost, sent);
	mirror_remove(x, mirror);
	close(fds[0]);
}

/* It stays, and says why; its source goes on. */
static void a_full_disk_stops_the_mirror(void **state)
{
	struct fixture *x = *state;
	struct sw_mirror *mirror;
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		skip();
	mirror = mirror_add(x, 0, (struct sw_mirror_config){.fd = fd});
	send_one(x, 0, broadcast, 1);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !status_of(mirror).err; i++)
		step(x);
	assert_int_equal(status_of(mirror).err, -ENOSPC);
	pass_grace(x);
	send_one(x, 0, broadcast, 2);
	assert_int_equal(fake_port_got(x->fake[1]), 2);
	assert_ptr_equal(sw_mirror_find(x->sw, status_of(mirror).id), mirror);
	mirror_remove(x, mirror);
	assert_null(sw_mirror_next(x->sw, NULL));
}

static void on_removed_remove(void *opaque)
{
	struct sw_mirror **other = opaque;
	static bool removed;

	assert_int_equal(sw_mirror_remove(*other, on_removed, &removed), 0);
	*other = NULL;
}

/* As a client does whose next line is there already. */
static void whoever_hears_of_an_end_may_remove_the_next_one(void **state)
{
	struct fixture *x = *state;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct sw_mirror *first, *failed;

	if (full < 0)
		skip();
	first = mirror_add(x, 0, (struct sw_mirror_config){.fd = file_new()});
	failed = mirror_add(x, 0, (struct sw_mirror_config){.fd = full});
	send_one(x, 0, broadcast, 1);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !status_of(failed).err; i++)
		step(x);
	pass_grace(x);
	assert_int_equal(sw_mirror_remove(first, on_removed_remove, &failed), 0);
	wait_mirrors(x, 0);
	assert_null(failed);
}

static void a_switch_that_ends_waits_for_no_reader(void **state)
{
	struct fixture *x = *state;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0); /* blocks: whoever writes there never comes back */
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) > 0);
	mirror_add(x, 0, (struct sw_mirror_config){.fd = fds[1]});
	for (unsigned i = 0; i < 200; i++)
		send_one(x, 0, broadcast, i);
	teardown(state);
	close(fds[0]); /* now it does, and finds nobody who wants to hear of it */
	*state = NULL;
}

/* Records of 88 bytes: at the end of the ring 8 are left, which is the smallest gap. What the ring has written there is the ring's own. */
static void the_smallest_gap_is_within_the_ring(void **state)
{
	uint8_t *behind, bytes[60] = {0};
	struct iovec piece = {bytes, sizeof(bytes)};
	struct vireo_frame frame = {.iov = &piece, .iov_count = 1, .len_bytes = sizeof(bytes)};
	struct mirror_record record = {.bytes = sizeof(bytes), .frame_bytes = sizeof(bytes)};
	const struct mirror_record *came;
	struct mirror_ring ring = {0};
	const uint8_t *data;

	behind = mmap(NULL, 2 * MIRROR_RING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(behind, MAP_FAILED);
	ring.bytes = behind;
	behind += MIRROR_RING_BYTES;
	for (uint32_t i = 0; i < 250000; i++) {
		memcpy(bytes, &i, sizeof(i));
		memcpy(frame.head, &i, sizeof(i));
		record.ns = i;
		assert_true(mirror_ring_put(&ring, &record, &frame, NULL));
		mirror_ring_show(&ring);
		came = mirror_ring_first(&ring, &data);
		assert_non_null(came);
		assert_int_equal(came->ns, i);
		assert_int_equal(came->bytes, sizeof(bytes));
		assert_memory_equal(data, &i, sizeof(i));
		mirror_ring_drop(&ring);
	}
	assert_true(ring.put < UINT32_MAX && ring.put / MIRROR_RING_BYTES >= 2);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(behind[i], 0);
	munmap(ring.bytes, 2 * MIRROR_RING_BYTES);
}

static int teardown_if_left(void **state)
{
	return *state ? teardown(state) : 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_if_left)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_a_port_sends_and_gets_is_written_with_its_direction),
		TEST(what_is_dropped_is_written_with_the_reason),
		TEST(what_another_port_drops_says_which),
		TEST(what_limits_refuse_is_mirrored_on_both_sides),
		TEST(tags_are_as_the_port_gets_them),
		TEST(no_more_than_snaplen_is_kept),
		TEST(a_filter_says_which_frames),
		TEST(what_is_no_program_is_refused),
		TEST(copies_go_to_a_port_both_ways_and_dropped_ones_too),
		TEST(a_port_without_room_for_copies_costs_the_source_nothing),
		TEST(a_target_that_waits_for_memory_accuses_itself_and_not_its_source),
		TEST(a_target_is_no_source_and_a_source_no_target),
		TEST(copies_are_not_copied_again),
		TEST(there_are_so_many_of_a_port_and_no_more),
		TEST(a_port_that_goes_takes_its_mirrors_along),
		TEST(a_reader_that_goes_ends_the_mirror),
		TEST(a_mirror_whose_reader_has_gone_is_not_told_of),
		TEST(mirrors_rest_as_often_as_they_are_held),
		TEST(a_reader_that_stops_loses_copies_only),
		TEST(a_full_disk_stops_the_mirror),
		TEST(whoever_hears_of_an_end_may_remove_the_next_one),
		TEST(a_switch_that_ends_waits_for_no_reader),
		cmocka_unit_test(the_smallest_gap_is_within_the_ring),
	};

	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	return cmocka_run_group_tests_name("mirror", tests, NULL, NULL);
}
