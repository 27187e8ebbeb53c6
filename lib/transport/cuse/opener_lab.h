/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CUSE_OPENER_LAB_H
#define CUSE_OPENER_LAB_H

/*
 * A device behind a CUSE endpoint without its node: the lab plays the kernel. A call is an ioctl as a process
 * makes it; the lab brings it to the opener with nothing, and again with what is asked for, as the kernel
 * does. The caller is this process, with its own memory and fds, or a child. Each test ends with as many fds
 * as it began with.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the above: */
#include "base/fd.h"
#include "base/util.h"
#include "device/device_test_lab.h"
#include "transport/cuse/cuse_internal.h"
#include "vireo/notifier.h"
#include "wire/virtio_ring.h"
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMORY_BYTES (1u << 20)
#define GPA UINT64_C(0x100000)
#define SIZE 8u
#define OPENERS 4u
#define F_VERSION_1 VIREO_FEATURE(VIREO_F_VERSION_1_BIT)
#define UNTOLD VIREO_FEATURE(4)
#define PENDING 1 /* what ask() returns while the ioctl waits */

struct lab_device {
	struct vireo_device *device;
	struct lab_type type;
	pid_t process;
	unsigned told; /* which one another process had */
	bool missed; /* events, by a device that has some */
};

/* An ioctl on its way. */
struct call {
	struct opener *opener;
	enum request_kind kind;
	pid_t pid;
	uint32_t command;
	void *arg;
	struct request *request; /* until it is answered */
	bool nonblocking;
	unsigned rounds; /* how often the opener has been asked */
	bool answered;
	int r;
	void (*between)(struct call *call); /* before each further round: what a caller does to its memory
					       meanwhile */
};

struct lab {
	struct lab_device devices[OPENERS];
	unsigned device_count, gone;
	int device_new_r;
	struct cuse_endpoint *endpoint;
	struct vireo_notifier *notifier;
	struct vireo_device *like;
	struct opener *opener;
	struct call calls[32];
	unsigned call_count;
	int fds_before;
	bool closed, released;
	bool has_events; /* its devices have */
	bool out_of_order; /* and complete chains so */
	int loop_fd; /* the endpoint's */
	bool watchable; /* ... was still open when it closed */
	char log[LAB_LOG_BYTES];
	/* the caller */
	int memfd, kick, call;
	uint8_t *memory;
};

/* ---- the device ---- */

static const struct vireo_device_ops ops = {
	.size = sizeof(ops),
	.queue_started = type_started,
	.queue_stop = type_stop,
	.queue_renew = type_renew,
	.connected = type_connected,
	.features_set = type_features,
};

static inline bool lab_events_missed(void *opaque)
{
	return container_of((struct lab_type *)opaque, struct lab_device, type)->missed;
}

static inline void lab_events_missed_set(void *opaque, bool missed)
{
	container_of((struct lab_type *)opaque, struct lab_device, type)->missed = missed;
}

static const struct vireo_device_ops ops_with_events = {
	.size = sizeof(ops_with_events),
	.queue_started = type_started,
	.queue_stop = type_stop,
	.queue_renew = type_renew,
	.connected = type_connected,
	.features_set = type_features,
	.events_missed = lab_events_missed,
	.events_missed_set = lab_events_missed_set,
};

static inline struct vireo_device *lab_device_make(struct lab *lab, struct lab_device *device)
{
	struct vireo_device_config config = {
		.size = sizeof(config),
		.features = UNTOLD | VIREO_FEATURE(5) | VIREO_FEATURE(VIREO_F_RING_PACKED_BIT),
		.features_untold = UNTOLD,
		.queue_count = QUEUES,
		.queue_size_max = 256,
		.ops = lab->has_events ? &ops_with_events : &ops,
		.opaque = &device->type,
		.log = { lab_log, lab->log, VIREO_LOG_INFO },
		.name = "lab",
		.notifier = lab->notifier,
		.out_of_order = lab->out_of_order,
	};

	device->type.refused = VIREO_FEATURE(5);
	assert_int_equal(vireo_device_new(&config, &device->device), 0);
	return device->device;
}

static inline struct vireo_device *lab_device_new(struct lab *lab)
{
	return lab_device_make(lab, &lab->devices[lab->device_count++]);
}

static inline int lab_device_for(void *opaque, const struct vireo_endpoint_opener *opener,
				 struct vireo_device **ret_device)
{
	struct lab *lab = opaque;

	if (lab->device_new_r)
		return lab->device_new_r;
	*ret_device = lab_device_new(lab);
	lab->devices[lab->device_count - 1].process = opener->process;
	lab->devices[lab->device_count - 1].told = opener->device;
	return 0;
}

static inline unsigned lab_device_number(void *opaque, const struct vireo_device *device)
{
	const struct lab *lab = opaque;
	unsigned i = 0;

	while (lab->devices[i].device != device)
		i++;
	return i + 1;
}

static inline void lab_device_gone(void *opaque, struct vireo_device *device)
{
	struct lab *lab = opaque;

	for (unsigned i = 0; i < lab->device_count; i++)
		if (lab->devices[i].device == device)
			lab->devices[i].device = NULL;
	vireo_device_free(device);
	lab->gone++;
}

/* ---- the kernel ---- */

struct lab_request {
	struct lab *lab;
	struct call *call; /* NULL: release */
	struct request request;
};

static inline void call_send(struct lab *lab, struct call *call, size_t in_bytes, size_t room_bytes);

static inline struct lab_request *lab_request_of(struct request *request)
{
	return container_of(request, struct lab_request, request);
}

static inline void lab_done(struct request *request, const void *out, size_t out_bytes)
{
	struct lab_request *l = lab_request_of(request);

	assert_true(request->kind == REQUEST_RELEASE || out_bytes <= request->room_bytes);
	if (l->call) {
		if (out_bytes)
			memcpy(l->call->arg, out, out_bytes);
		l->call->r = l->call->kind == REQUEST_READ ? (int)out_bytes : 0;
		l->call->answered = true;
	} else {
		l->lab->released = true;
	}
	free(l);
}

static inline void lab_error(struct request *request, int r)
{
	struct lab_request *l = lab_request_of(request);

	assert_true(r < 0);
	l->call->answered = true;
	l->call->r = r;
	free(l);
}

static inline void lab_retry(struct request *request, size_t in_bytes, size_t out_bytes)
{
	struct lab_request *l = lab_request_of(request);
	struct lab *lab = l->lab;
	struct call *call = l->call;

	free(l);
	if (call->between)
		call->between(call);
	call_send(lab, call, in_bytes, out_bytes);
}

static const struct request_answers lab_answers = { lab_done, lab_error, lab_retry };

static inline void call_send(struct lab *lab, struct call *call, size_t in_bytes, size_t room_bytes)
{
	struct lab_request *l = calloc(1, sizeof(*l) + in_bytes);

	assert_true(++call->rounds < 10);
	l->lab = lab;
	l->call = call;
	l->request.answers = &lab_answers;
	l->request.kind = call->kind;
	l->request.nonblocking = call->nonblocking;
	l->request.pid = call->pid;
	call->request = &l->request;
	l->request.command = call->command;
	l->request.in_bytes = in_bytes;
	l->request.room_bytes = room_bytes;
	if (in_bytes)
		memcpy(l->request.in, call->arg, in_bytes);
	opener_request(call->opener, &l->request);
}

static inline struct call *call_new(struct lab *lab, struct opener *opener, pid_t pid, uint32_t command,
				    void *arg)
{
	struct call *call = &lab->calls[lab->call_count++ % ARRAY_SIZE(lab->calls)];

	*call = (struct call){ .opener = opener, .pid = pid, .command = command, .arg = arg };
	return call;
}

/* A read's bytes or a write's 0, a negative errno, or PENDING. */
static inline int ask_read(struct lab *lab, bool nonblocking, void *data, size_t bytes)
{
	struct call *call = call_new(lab, lab->opener, getpid(), 0, data);

	call->kind = REQUEST_READ;
	call->nonblocking = nonblocking;
	call_send(lab, call, 0, bytes);
	return call->answered ? call->r : PENDING;
}

static inline int ask_write_as(struct lab *lab, pid_t pid, void *data, size_t bytes)
{
	struct call *call = call_new(lab, lab->opener, pid, 0, data);

	call->kind = REQUEST_WRITE;
	call_send(lab, call, bytes, 0);
	return call->answered ? call->r : PENDING;
}

/* The ioctl's result: 0, a negative errno, or PENDING. */
static inline int ask_as(struct lab *lab, struct opener *opener, pid_t pid, uint32_t command, void *arg)
{
	struct call *call = call_new(lab, opener, pid, command, arg);

	call_send(lab, call, 0, 0);
	return call->answered ? call->r : PENDING;
}

static inline int ask(struct lab *lab, uint32_t command, void *arg)
{
	return ask_as(lab, lab->opener, getpid(), command, arg);
}

static inline struct call *last_call(struct lab *lab)
{
	return &lab->calls[(lab->call_count - 1) % ARRAY_SIZE(lab->calls)];
}

static inline void release(struct lab *lab, struct opener *opener)
{
	struct lab_request *l = calloc(1, sizeof(*l));

	lab->released = false;
	l->lab = lab;
	l->request.answers = &lab_answers;
	l->request.kind = REQUEST_RELEASE;
	opener_request(opener, &l->request);
}

static inline struct opener *lab_open(struct lab *lab)
{
	struct opener *opener;

	return endpoint_opener_new(lab->endpoint, &opener) ? NULL : opener;
}

static inline void pump(struct lab *lab)
{
	struct pollfd poll_fd = { .fd = vireo_endpoint_fd(&lab->endpoint->base), .events = POLLIN };

	for (int i = 0; i < 100 && poll(&poll_fd, 1, 0) > 0; i++)
		assert_int_equal(vireo_endpoint_dispatch(&lab->endpoint->base), 0);
}

/* ---- the lab ---- */

/* With one device, or with one for each opener; one of these is there. */
static inline struct lab *lab_make_as(bool many, const char *target)
{
	struct lab *lab = test_calloc(1, sizeof(*lab));
	struct lab_device like = { 0 };
	struct vireo_endpoint_config config = {
		.size = sizeof(config),
		.cuse = {
			.device_new = many ? lab_device_for : NULL,
			.device_gone = lab_device_gone,
			.device_number = lab_device_number,
			.device_opaque = lab,
			.target = target,
		},
		.log = { lab_log, lab->log, VIREO_LOG_INFO },
	};

	lab->has_events = target;
	assert_int_equal(vireo_notifier_new(&lab->notifier), 0);
	lab->fds_before = count_fds();
	lab->memfd = lab->kick = lab->call = -1;
	config.cuse.device_like = many ? lab_device_make(lab, &like) : NULL;
	lab->like = like.device;
	assert_int_equal(cuse_endpoint_new(many ? NULL : lab_device_new(lab), "lab", &config, &lab->endpoint),
			 0);
	lab->loop_fd = vireo_endpoint_fd(&lab->endpoint->base);
	lab->opener = lab_open(lab);
	assert_non_null(lab->opener);
	return lab;
}

static inline struct lab *lab_make(bool many)
{
	return lab_make_as(many, NULL);
}

static inline struct lab *lab_new(void)
{
	return lab_make(true);
}

static inline void on_closed(void *opaque)
{
	struct lab *lab = opaque;

	lab->closed = true;
	lab->watchable = fcntl(lab->loop_fd, F_GETFD) >= 0;
}

static inline void lab_free(struct lab *lab)
{
	if (lab->endpoint)
		vireo_endpoint_close(&lab->endpoint->base, on_closed, lab);
	for (unsigned i = 0; i < lab->device_count; i++) {
		type_quiesced_all(&lab->devices[i].type);
		assert_int_equal(lab->devices[i].type.connected, lab->devices[i].type.disconnected);
		vireo_device_free(lab->devices[i].device);
	}
	vireo_device_free(lab->like);
	assert_true(lab->closed);
	assert_true(lab->watchable);
	fd_close(&lab->memfd);
	fd_close(&lab->kick);
	fd_close(&lab->call);
	if (lab->memory)
		munmap(lab->memory, MEMORY_BYTES);
	assert_int_equal(count_fds(), lab->fds_before);
	vireo_notifier_free(lab->notifier);
	test_free(lab);
}

/* ---- the caller ---- */

static inline void make_memory(struct lab *lab)
{
	lab->memfd = memfd_create("cuse", MFD_CLOEXEC);
	assert_int_equal(ftruncate(lab->memfd, MEMORY_BYTES), 0);
	lab->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, lab->memfd, 0);
	assert_ptr_not_equal(lab->memory, MAP_FAILED);
}

struct table {
	uint32_t count, padding;
	struct vhost_memory_region regions[4];
};

static inline struct table one_region(const struct lab *lab)
{
	return (struct table){
		.count = 1,
		.regions = { { .guest_phys_addr = GPA,
			       .memory_size = MEMORY_BYTES,
			       .userspace_addr = (uintptr_t)lab->memory } },
	};
}

static inline int share_memory(struct lab *lab)
{
	struct table table;

	if (!lab->memory)
		make_memory(lab);
	table = one_region(lab);
	return ask(lab, VHOST_SET_MEM_TABLE, &table);
}

static inline struct vhost_vring_addr ring_addr(const struct lab *lab, uint32_t index)
{
	uintptr_t at = (uintptr_t)lab->memory + index * 0x4000;

	return (struct vhost_vring_addr){
		.index = index,
		.desc_user_addr = at,
		.avail_user_addr = at + 0x1000,
		.used_user_addr = at + 0x2000,
	};
}

static inline int ask_state(struct lab *lab, uint32_t command, uint32_t index, uint32_t num)
{
	static struct vhost_vring_state state; /* a call that waits reads and writes it later */

	state = (struct vhost_vring_state){ index, num };
	return ask(lab, command, &state);
}

static inline int ask_fd(struct lab *lab, uint32_t command, uint32_t index, int fd)
{
	static struct vhost_vring_file file; /* as above */

	file = (struct vhost_vring_file){ index, fd };
	return ask(lab, command, &file);
}

static inline int ask_u64(struct lab *lab, uint32_t command, uint64_t value)
{
	return ask(lab, command, &value);
}

static inline void make_fds(struct lab *lab)
{
	if (lab->kick < 0)
		lab->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (lab->call < 0)
		lab->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

/* Everything but the back end. */
static inline void ring_set_up(struct lab *lab, uint32_t index)
{
	struct vhost_vring_addr addr = ring_addr(lab, index);

	make_fds(lab);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_NUM, index, SIZE), 0);
	assert_int_equal(ask_state(lab, VHOST_SET_VRING_BASE, index, 0), 0);
	assert_int_equal(ask(lab, VHOST_SET_VRING_ADDR, &addr), 0);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_KICK, index, lab->kick), 0);
	assert_int_equal(ask_fd(lab, VHOST_SET_VRING_CALL, index, lab->call), 0);
}

static inline void owned(struct lab *lab)
{
	assert_int_equal(ask(lab, VHOST_SET_OWNER, NULL), 0);
	assert_int_equal(ask_u64(lab, VHOST_SET_FEATURES, F_VERSION_1), 0);
	assert_int_equal(share_memory(lab), 0);
}

/* Ring 0 runs. */
static inline void ready(struct lab *lab)
{
	owned(lab);
	ring_set_up(lab, 0);
	assert_int_equal(ask_fd(lab, VHOST_NET_SET_BACKEND, 0, lab->memfd), 0);
	assert_non_null(lab->devices[0].type.running[0]);
}

static inline bool logged(const struct lab *lab, const char *text)
{
	return strstr(lab->log, text);
}

#endif
