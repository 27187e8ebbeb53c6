/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vhost_user/session_lab.h"
#include "wire/iotlb.h"
#include "wire/virtio_ring.h"
#include <linux/vhost_types.h>

/* The dirty log, as a front end tells it: what gets into it, what it stops, and what lies get. */

#define LOG_BYTES 4096u /* 128 MiB */
#define BUFFER	  0x8000u /* in guest memory */
#define USED	  0x2000u /* of ring 0 */
#define FEATURES  (F_PROTOCOL | F_VERSION_1)

struct log {
	int fd;
	uint8_t *bits;
};

static struct log log_new(void)
{
	struct log log = { .fd = memfd_create("log", MFD_CLOEXEC) };

	assert_int_equal(ftruncate(log.fd, LOG_BYTES), 0);
	log.bits = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, log.fd, 0);
	assert_ptr_not_equal(log.bits, MAP_FAILED);
	return log;
}

static void log_free(struct log *log)
{
	munmap(log->bits, LOG_BYTES);
	close(log->fd);
}

static void log_say(struct lab *lab, const struct log *log, uint64_t bytes, uint64_t offset)
{
	const uint64_t payload[] = { bytes, offset };

	say_fds(lab, VU_SET_LOG_BASE, 0, payload, sizeof(payload), &log->fd, 1);
}

static void log_set(struct lab *lab, const struct log *log)
{
	log_say(lab, log, LOG_BYTES, 0);
	assert_int_equal(hear_u64(lab, VU_SET_LOG_BASE), 0);
}

static uint64_t ring_logged(struct lab *lab, bool on, uint64_t gpa)
{
	struct addr_message addr = ring_addr(0);

	addr.flags = on;
	addr.log = gpa;
	return ack(lab, VU_SET_VRING_ADDR, &addr, sizeof(addr));
}

static bool take(const struct log *log, uint64_t gpa)
{
	uint64_t page = gpa / 4096;

	return __atomic_fetch_and(&log->bits[page / 8], (uint8_t)~(1u << page % 8), __ATOMIC_SEQ_CST) >> page % 8 & 1;
}

static unsigned left(const struct log *log)
{
	unsigned count = 0;

	for (unsigned i = 0; i < LOG_BYTES; i++)
		count += (unsigned)__builtin_popcount(log->bits[i]);
	return count;
}

/* The driver offers a buffer, and the device writes to it. */
static void frame_to(struct lab *lab, uint64_t gpa)
{
	struct split_desc *desc = (struct split_desc *)(void *)lab->memory;
	struct split_avail *avail = (struct split_avail *)(void *)(lab->memory + 0x1000);
	struct vireo_queue *queue = lab->type.running[0];
	struct vireo_chain chain;
	struct iovec iov[4];

	desc[0] = (struct split_desc){ .addr = gpa, .len = 64, .flags = DESC_F_WRITE };
	avail->ring[avail->idx % SIZE] = 0;
	__atomic_store_n(&avail->idx, (uint16_t)(avail->idx + 1), __ATOMIC_RELEASE);
	assert_int_equal(vireo_queue_pop(queue, &chain, 1, iov, 4), 1);
	vireo_queue_push(queue, &chain, 64);
	vireo_queue_flush(queue);
}

static void frame(struct lab *lab)
{
	frame_to(lab, GPA + BUFFER);
}

static void log_comes_and_goes_while_a_ring_runs(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new();
	unsigned stopped;

	ready(lab);
	stopped = type_total(lab->type.stopped);
	frame(lab);
	log_set(lab, &log);
	assert_int_equal(left(&log), 0);
	for (int i = 0; i < 3; i++) { /* again and again */
		assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 0);
		assert_int_equal(ring_logged(lab, true, GPA + USED), 0);
		frame(lab);
		assert_true(take(&log, GPA + BUFFER));
		assert_true(take(&log, GPA + USED));
		assert_int_equal(left(&log), 0);
		share_memory(lab); /* the same */
	}
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES), 0);
	assert_int_equal(ring_logged(lab, false, 0), 0);
	frame(lab);
	assert_int_equal(left(&log), 0);
	assert_int_equal(type_total(lab->type.stopped), stopped);
	assert_non_null(strstr(lab->log, "is logged no more"));
	log_free(&log);
	lab_free(lab);
}

/* The offset is counted once: not in the mapping and in the address again. */
static void a_log_begins_at_its_offset(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new(), second = { 0 };
	uint8_t *bits;

	assert_int_equal(ftruncate(log.fd, 3 * LOG_BYTES), 0);
	bits = mmap(NULL, 3 * LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, log.fd, 0);
	assert_ptr_not_equal(bits, MAP_FAILED);
	second.bits = bits + LOG_BYTES;
	ready(lab);
	log_say(lab, &log, LOG_BYTES, LOG_BYTES);
	assert_int_equal(hear_u64(lab, VU_SET_LOG_BASE), 0);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 0);
	frame(lab);
	assert_true(take(&second, GPA + BUFFER));
	for (unsigned i = 0; i < 3 * LOG_BYTES; i++)
		assert_int_equal(bits[i], 0);
	munmap(bits, 3 * LOG_BYTES);
	log_free(&log);
	lab_free(lab);
}

/* VHOST_VRING_F_LOG has not been said: then only data is logged, and the other way round. */
static void what_is_not_told_is_not_logged(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new();

	ready(lab);
	log_set(lab, &log);
	assert_int_equal(ring_logged(lab, true, GPA + USED), 0);
	frame(lab);
	assert_int_equal(left(&log), 0);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 0);
	assert_int_equal(ring_logged(lab, false, 0), 0);
	frame(lab);
	assert_true(take(&log, GPA + BUFFER));
	frame(lab);
	assert_true(take(&log, GPA + BUFFER));
	log_free(&log);
	lab_free(lab);
}

/* As QEMU starts a device in the middle of a migration: LOG_ALL, memory, rings, and then the log. */
static void log_that_comes_late_begins_with_everything(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new();

	negotiate(lab, P_ALL);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 0);
	share_memory(lab);
	ring(lab, 0);
	frame(lab);
	log_set(lab, &log);
	assert_int_equal(left(&log), MEMORY_BYTES / 4096);
	assert_true(take(&log, GPA));
	assert_true(take(&log, GPA + MEMORY_BYTES - 1));
	log_free(&log);
	lab_free(lab);
}

/* The front end looks at the old one once more, or has forgotten it. */
static void log_that_replaces_another_one_has_what_was_left_in_it(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new(), next = log_new();

	ready(lab);
	log_set(lab, &log);
	say_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL);
	frame(lab);
	log_set(lab, &next);
	assert_non_null(lab->type.running[0]);
	assert_true(take(&next, GPA + BUFFER));
	frame(lab);
	assert_true(take(&next, GPA + BUFFER));
	assert_true(take(&log, GPA + BUFFER));
	assert_int_equal(left(&log) + left(&next), 0);
	log_free(&log);
	log_free(&next);
	lab_free(lab);
}

static void ring_that_is_reset_tells_where_it_stood_until_it_is_set_up(void **state)
{
	struct lab *lab = lab_new();
	uint32_t words[2] = { 0 };

	ready(lab);
	frame(lab);
	frame(lab);
	say_u64(lab, VU_SET_STATUS, 0);
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, words, sizeof(words)), sizeof(words));
	assert_int_equal(words[1], 2);
	say_u64(lab, VU_SET_STATUS, 0);
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, words, sizeof(words)), sizeof(words));
	assert_int_equal(words[1], 2);
	say_pair(lab, VU_SET_VRING_NUM, 0, SIZE);
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, words, sizeof(words)), sizeof(words));
	assert_int_equal(words[1], 0);
	lab_free(lab);
}

/* ---- lies ---- */

static void log_that_is_not_what_it_says_ends_the_session(void **state)
{
	static const uint64_t cases[][2] = {
		{ 0, 0 }, { LOG_BYTES + 1, 0 }, { LOG_BYTES, 1 }, { UINT64_MAX, 0 }, { UINT64_MAX - 4095, 4096 }, { 4096, UINT64_MAX - 4095 },
		{ (GPA + MEMORY_BYTES) / 4096 / 8 - 1, 0 },
	};
	struct log log = log_new();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lab *lab = lab_new();

		ready(lab);
		log_say(lab, &log, cases[i][0], cases[i][1]);
		assert_true(hung_up(lab));
		assert_int_equal(left(&log), 0);
		lab_free(lab);
	}
	log_free(&log);
}

static void log_that_is_no_file_of_memory_ends_the_session(void **state)
{
	struct lab *lab = lab_new();
	struct log no = { .fd = eventfd(0, EFD_CLOEXEC) };

	ready(lab);
	log_say(lab, &no, LOG_BYTES, 0);
	assert_true(hung_up(lab));
	close(no.fd);
	lab_free(lab);
}

static void ring_is_not_logged_behind_the_end_of_the_log(void **state)
{
	static const uint64_t gpas[] = { UINT64_MAX, UINT64_MAX - 3, LOG_BYTES * UINT64_C(8) * 4096, LOG_BYTES * UINT64_C(8) * 4096 - 1 };
	struct lab *lab = lab_new();
	struct log log = log_new();

	ready(lab);
	log_set(lab, &log);
	say_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL);
	for (size_t i = 0; i < ARRAY_SIZE(gpas); i++)
		assert_int_equal(ring_logged(lab, true, gpas[i]), 1);
	frame(lab);
	assert_true(take(&log, GPA + BUFFER));
	assert_int_equal(left(&log), 0);
	log_free(&log);
	lab_free(lab);
}

/* Where it is logged was told before the log. */
static void log_that_ends_before_a_ring_does_is_refused(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new();

	ready(lab);
	assert_int_equal(ring_logged(lab, true, LOG_BYTES * UINT64_C(8) * 4096), 0);
	log_say(lab, &log, LOG_BYTES, 0);
	assert_true(hung_up(lab));
	log_free(&log);
	lab_free(lab);
}

static void memory_does_not_grow_beyond_the_log(void **state)
{
	static const uint64_t far[5] = { 0, LOG_BYTES * UINT64_C(8) * 4096, 4096, UADDR << 1, 0 };
	struct lab *lab = lab_new();
	struct log log = log_new();

	ready(lab);
	log_set(lab, &log);
	say_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, far, 40, &lab->memfd, 1), 1);
	frame(lab);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES), 0);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, far, 40, &lab->memfd, 1), 0);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 1);
	log_free(&log);
	lab_free(lab);
}

/* What it takes away makes queues go by it before its turn has come. */
static void table_that_takes_memory_away_does_not_reach_beyond_the_log(void **state)
{
	static const uint64_t more[5] = { 0, GPA + 4 * MEMORY_BYTES, MEMORY_BYTES, UADDR << 1, 0 };
	static const uint64_t table[9] = { 2, GPA, MEMORY_BYTES, UADDR, 0, LOG_BYTES * UINT64_C(8) * 4096, MEMORY_BYTES, UADDR << 2, 0 };
	struct lab *lab = lab_new();
	struct log log = log_new();

	ready(lab);
	log_set(lab, &log);
	say_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL);
	assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more, sizeof(more), &lab->memfd, 1), 0);
	assert_int_equal(ack_fds(lab, VU_SET_MEM_TABLE, table, sizeof(table), (int[]){ lab->memfd, lab->memfd }, 2), 1);
	frame_to(lab, more[1] + BUFFER); /* it has changed nothing */
	assert_true(take(&log, more[1] + BUFFER));
	assert_int_equal(left(&log), 0);
	log_free(&log);
	lab_free(lab);
}

static void memory_that_comes_and_goes_while_it_is_logged_is_logged_where_the_guest_sees_it(void **state)
{
	static const uint64_t more[5] = { 0, GPA + 4 * MEMORY_BYTES, MEMORY_BYTES, UADDR << 1, 0 };
	struct lab *lab = lab_new();
	struct log log = log_new();

	ready(lab);
	log_set(lab, &log);
	say_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL);
	for (unsigned i = 0; i < 3; i++) {
		frame(lab);
		assert_int_equal(ack_fds(lab, VU_ADD_MEM_REG, more, sizeof(more), &lab->memfd, 1), 0);
		frame_to(lab, more[1] + BUFFER); /* the same page of the file, and not of the guest */
		assert_true(take(&log, GPA + BUFFER));
		assert_true(take(&log, more[1] + BUFFER));
		assert_int_equal(left(&log), 0);
		assert_int_equal(ack(lab, VU_REM_MEM_REG, more, sizeof(more)), 0);
		assert_non_null(lab->type.running[0]);
	}
	log_free(&log);
	lab_free(lab);
}

/* As at the end of a migration: nothing is written, and so nothing logged, while the device is suspended and its state is fetched. */
static void nothing_is_logged_of_a_suspended_device(void **state)
{
	const uint32_t words[] = { 0, 0 };
	struct lab *lab = lab_new();
	struct log log = log_new();
	uint32_t base[2];
	uint64_t value;

	ready(lab);
	log_set(lab, &log);
	say_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL);
	assert_int_equal(ring_logged(lab, true, GPA + USED), 0);
	frame(lab);
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, base, sizeof(base)), sizeof(base));
	assert_true(take(&log, GPA + BUFFER) && take(&log, GPA + USED));
	say_fds(lab, VU_SET_DEVICE_STATE_FD, 0, words, sizeof(words), &lab->kick, 1);
	assert_int_equal(hear(lab, VU_SET_DEVICE_STATE_FD, &value, sizeof(value)), sizeof(value));
	assert_int_equal(value, 0);
	assert_int_equal(ask_u64(lab, VU_CHECK_DEVICE_STATE), 0);
	say_u64(lab, VU_SET_FEATURES, FEATURES);
	assert_int_equal(left(&log), 0);
	log_free(&log);
	lab_free(lab);
}

/* ---- SET_LOG_FD ---- */

static int bell_set_by(struct lab *lab)
{
	int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(ack_fds(lab, VU_SET_LOG_FD, NULL, 0, &bell, 1), 0);
	return bell;
}

static bool raised(int bell)
{
	uint64_t count;

	return read(bell, &count, sizeof(count)) == sizeof(count);
}

static bool hears(struct lab *lab, int bell)
{
	for (int i = 0; i < 100 && !raised(bell); i++)
		if (i == 99)
			return false;
		else
			pump_wait(lab, 100);
	return true;
}

/* For some of the times at which somebody looks whether there is something to tell. */
static bool silent(struct lab *lab, int bell)
{
	for (int i = 0; i < 3; i++)
		pump_wait(lab, 25);
	return !raised(bell);
}

static void who_wants_to_hear_of_what_is_logged_does(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new();
	int bell, other;

	ready(lab);
	bell = bell_set_by(lab);
	log_set(lab, &log);
	frame(lab);
	assert_true(silent(lab, bell)); /* nothing is logged yet */
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 0);
	frame(lab);
	assert_true(hears(lab, bell));
	frame(lab);
	assert_true(silent(lab, bell)); /* it is there already */
	assert_true(take(&log, GPA + BUFFER));
	frame(lab);
	assert_true(hears(lab, bell));
	other = bell_set_by(lab);
	assert_true(take(&log, GPA + BUFFER));
	frame(lab);
	assert_true(hears(lab, other));
	assert_false(raised(bell));
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES), 0);
	assert_true(take(&log, GPA + BUFFER));
	frame(lab);
	assert_true(silent(lab, other));
	close(bell);
	close(other);
	log_free(&log);
	lab_free(lab);
}

/* What a ring has marked is told before the front end hears where it stands; the next log has that in it, and says so when rings run. */
static void a_suspended_device_has_told_of_what_it_has_logged(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new(), next = log_new();
	uint32_t base[2];
	int bell;

	ready(lab);
	bell = bell_set_by(lab);
	log_set(lab, &log);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 0);
	frame(lab);
	say_pair(lab, VU_GET_VRING_BASE, 0, 0);
	assert_true(raised(bell));
	assert_int_equal(hear(lab, VU_GET_VRING_BASE, base, sizeof(base)), sizeof(base));
	log_set(lab, &next); /* what was left in the other one is carried over */
	assert_true(silent(lab, bell));
	assert_true(take(&next, GPA + BUFFER));
	ring(lab, 0);
	assert_true(hears(lab, bell));
	close(bell);
	log_free(&log);
	log_free(&next);
	lab_free(lab);
}

/* The next front end's log is nothing that this one hears of. */
static void a_log_s_bell_goes_with_its_session(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new();
	int bell;

	ready(lab);
	bell = bell_set_by(lab);
	front_close(lab);
	pump(lab);
	ready(lab);
	log_set(lab, &log);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 0);
	frame(lab);
	assert_true(silent(lab, bell));
	close(bell);
	log_free(&log);
	lab_free(lab);
}

/* The device has taken those that were refused for want of a channel. */
static void features_after_refused_ones_are_looked_at_in_full(void **state)
{
	const uint64_t platform = VIREO_FEATURE(33), packed = VIREO_FEATURE(VIREO_F_RING_PACKED_BIT);
	struct lab *lab = lab_new();

	ready(lab);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | packed | platform), 1);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | VU_FEATURE_LOG_ALL), 0);
	assert_int_equal(vireo_device_features(lab->device) & packed, 0);
	lab_free(lab);
}

static void log_without_its_protocol_feature_ends_the_session(void **state)
{
	struct lab *lab = lab_new();
	struct log log = log_new();

	negotiate(lab, P_ALL & ~P(LOG_SHMFD));
	share_memory(lab);
	log_say(lab, &log, LOG_BYTES, 0);
	assert_true(hung_up(lab));
	log_free(&log);
	lab_free(lab);
}

/* ---- behind an IOMMU ---- */

#define BUFFER_IOVA UINT64_C(0x40000)

static void window(struct lab *lab, uint8_t type, uint64_t iova, uint64_t bytes, uint64_t at)
{
	const struct vhost_iotlb_msg body = { .iova = iova, .size = bytes, .uaddr = UADDR + at, .perm = VHOST_ACCESS_RW, .type = type };

	assert_int_equal(ack(lab, VU_IOTLB_MSG, &body, sizeof(body)), 0);
}

/* The ring's pages are where their addresses say, for a start. */
static struct lab *behind_an_iommu(int *ret_channel)
{
	struct lab *lab = lab_new();
	int pair[2];

	negotiate(lab, P_ALL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(ack_fds(lab, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	*ret_channel = pair[0];
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | F_IOMMU), 0);
	share_memory(lab);
	window(lab, VHOST_IOTLB_UPDATE, UADDR, 0x3000, 0);
	window(lab, VHOST_IOTLB_UPDATE, BUFFER_IOVA, 0x1000, BUFFER);
	ring(lab, 0);
	assert_non_null(lab->type.running[0]);
	return lab;
}

/* Not at the driver's addresses; the one of the log that its front end tells does not count. */
static void what_is_written_behind_an_iommu_is_logged_where_the_guest_sees_it(void **state)
{
	int channel;
	struct lab *lab = behind_an_iommu(&channel);
	struct log log = log_new();

	log_set(lab, &log);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | F_IOMMU | VU_FEATURE_LOG_ALL), 0);
	assert_int_equal(ring_logged(lab, true, UADDR + USED), 0);
	memset(log.bits, 0, LOG_BYTES);
	frame_to(lab, BUFFER_IOVA);
	assert_true(take(&log, GPA + BUFFER));
	assert_true(take(&log, GPA + USED));
	assert_int_equal(left(&log), 0);
	window(lab, VHOST_IOTLB_INVALIDATE, BUFFER_IOVA, 0x1000, 0);
	window(lab, VHOST_IOTLB_UPDATE, BUFFER_IOVA, 0x1000, BUFFER + 0x3000);
	frame_to(lab, BUFFER_IOVA);
	assert_true(take(&log, GPA + BUFFER + 0x3000));
	assert_true(take(&log, GPA + USED));
	assert_int_equal(left(&log), 0);
	log_free(&log);
	fd_close(&channel);
	lab_free(lab);
}

/* The driver has another page for it, and the ring stands still in between. */
static void ring_that_moves_behind_its_iommu_is_logged_where_it_has_gone(void **state)
{
	int channel;
	struct lab *lab = behind_an_iommu(&channel);
	struct log log = log_new();

	log_set(lab, &log);
	assert_int_equal(ack_u64(lab, VU_SET_FEATURES, FEATURES | F_IOMMU | VU_FEATURE_LOG_ALL), 0);
	assert_int_equal(ring_logged(lab, true, 0), 0);
	window(lab, VHOST_IOTLB_INVALIDATE, UADDR, 0x3000, 0);
	assert_null(lab->type.running[0]);
	window(lab, VHOST_IOTLB_UPDATE, UADDR, 0x2000, 0);
	window(lab, VHOST_IOTLB_UPDATE, UADDR + USED, 0x1000, 0x5000);
	assert_non_null(lab->type.running[0]);
	memset(log.bits, 0, LOG_BYTES);
	frame_to(lab, BUFFER_IOVA);
	assert_true(take(&log, GPA + BUFFER));
	assert_true(take(&log, GPA + 0x5000));
	assert_int_equal(left(&log), 0);
	log_free(&log);
	fd_close(&channel);
	lab_free(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_comes_and_goes_while_a_ring_runs),
		cmocka_unit_test(a_log_begins_at_its_offset),
		cmocka_unit_test(what_is_not_told_is_not_logged),
		cmocka_unit_test(log_that_comes_late_begins_with_everything),
		cmocka_unit_test(log_that_replaces_another_one_has_what_was_left_in_it),
		cmocka_unit_test(ring_that_is_reset_tells_where_it_stood_until_it_is_set_up),
		cmocka_unit_test(log_that_is_not_what_it_says_ends_the_session),
		cmocka_unit_test(log_that_is_no_file_of_memory_ends_the_session),
		cmocka_unit_test(ring_is_not_logged_behind_the_end_of_the_log),
		cmocka_unit_test(log_that_ends_before_a_ring_does_is_refused),
		cmocka_unit_test(memory_does_not_grow_beyond_the_log),
		cmocka_unit_test(table_that_takes_memory_away_does_not_reach_beyond_the_log),
		cmocka_unit_test(features_after_refused_ones_are_looked_at_in_full),
		cmocka_unit_test(memory_that_comes_and_goes_while_it_is_logged_is_logged_where_the_guest_sees_it),
		cmocka_unit_test(nothing_is_logged_of_a_suspended_device),
		cmocka_unit_test(who_wants_to_hear_of_what_is_logged_does),
		cmocka_unit_test(a_suspended_device_has_told_of_what_it_has_logged),
		cmocka_unit_test(a_log_s_bell_goes_with_its_session),
		cmocka_unit_test(log_without_its_protocol_feature_ends_the_session),
		cmocka_unit_test(what_is_written_behind_an_iommu_is_logged_where_the_guest_sees_it),
		cmocka_unit_test(ring_that_moves_behind_its_iommu_is_logged_where_it_has_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
