/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VDUSE_INTERNAL_H
#define VDUSE_INTERNAL_H

/*
 * Map of this room:
 *
 *	endpoint.c	where a device is offered: open, close, what the device tells
 *	create.c	the control file: make the kernel's device, or take over a predecessor's
 *	session.c	one message after the other: read, quiet queues, handle, answer
 *	handlers.c	a row per message, and what each does
 *	queues.c	queues start and stop; signals
 *	memory.c	the IOTLB becomes a map
 *	umem.c		bounce pages in huge pages of our own
 *	features.c	what the kernel takes of a device type
 *	state.c		the file that a successor goes on from
 *	attach.c	the vdpa bus: a call that waits for us is made aside
 *	vdpa.c		the calls themselves: netlink and sysfs
 *	kernel.c	the system calls behind it all, a table that tests replace
 */

#include "base/log.h"
#include "device/device.h"
#include "transport/endpoint.h"
#include "wire/vduse.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct loop_timer;
struct loop_watch;
struct vduse;

#define VDUSE_NAME_BYTES 65u /* our limit: it becomes a file's name in three folders */

/* ---- kernel.c ---- */

/* All return what the system call does, or a negative errno. */
struct vduse_kernel {
	int (*open)(void *opaque, const char *path, int flags);
	int (*ioctl)(void *opaque, int fd, unsigned long request, void *argument); /* any thread */
	ssize_t (*read)(void *opaque, int fd, void *data, size_t bytes);
	ssize_t (*write)(void *opaque, int fd, const void *data, size_t bytes);
	/* msg_timeout of a device in seconds; 0: for ever. */
	int (*patience_s)(void *opaque, const char *name);
	/* Before anything is made: -ENODEV, the driver is not there; -EPROTONOSUPPORT, the bus is not; -ENONET, it is, elsewhere. */
	int (*bus_check)(void *opaque, const char *driver);
	/*
	 * These wait until the driver has had its messages answered: aside. -EBUSY: a program has /dev/vhost-vdpa-N open.
	 * `anew`: a driver that has the device already has to let go of it first.
	 */
	int (*bus_add)(void *opaque, const char *name, const char *driver, bool anew);
	int (*bus_remove)(void *opaque, const char *name);
	void *opaque;
};

extern const struct vduse_kernel vduse_kernel_real;

/* ---- state.c ---- */

/* What a device was made with. A successor has to ask for the same. */
struct vduse_key {
	uint64_t features;
	uint64_t newer; /* of these: a device that lacks them was made before they were offered, and is as good */
	uint32_t device_id, queue_count, queue_size, config_bytes;
	bool out_of_order; /* decides what a record is */
	size_t record_bytes; /* of a queue */
	uint64_t api, vduse_features; /* the device's for life: found, not asked for */
};

#define VDUSE_ONCE_BYTES 8u

struct vduse_state_file; /* in memory that survives us */

struct vduse_state {
	struct vduse_state_file *file; /* NULL: not open, or not of this device */
	size_t bytes, record_bytes;
	size_t found_bytes;
	int fd;
	char path[256];
};

/* -EBUSY: another program has it open. -ELOOP: it is not a file of ours. The folder is made if it is not there. */
int vduse_state_open(struct vduse_state *state, const char *folder, const char *name, const struct vduse_key *key);
/* Was it left by a daemon that offered the same? Then api and vduse_features are filled in. */
bool vduse_state_matches(const struct vduse_state *state, struct vduse_key *key);
/* Or by one that did not offer `newer` ones yet? Then `features` are those that it did offer. */
bool vduse_state_is_older(const struct vduse_state *state, struct vduse_key *key);
bool vduse_state_begun(const struct vduse_state *state); /* by us or a predecessor */
int vduse_state_begin(struct vduse_state *state, const struct vduse_key *key); /* all else is 0 */
void *vduse_state_record(const struct vduse_state *state, unsigned queue); /* device_queue_record_set() */
void vduse_state_suspended_set(const struct vduse_state *state, bool suspended);
bool vduse_state_suspended(const struct vduse_state *state);
/* What the driver has read of config space, as vduse_once() gives it. Differs: that is known, and was something else. */
void vduse_state_once_set(const struct vduse_state *state, const uint8_t once[VDUSE_ONCE_BYTES]);
bool vduse_state_once_differs(const struct vduse_state *state, const uint8_t once[VDUSE_ONCE_BYTES]);
/* The file stays, for a successor, or not. Takes one that is not open. */
void vduse_state_close(struct vduse_state *state, bool keep);

/* ---- session.c ---- */

enum vduse_phase {
	VDUSE_IDLE,
	VDUSE_QUIESCE, /* queues are being made quiet for `job` */
	VDUSE_SERVE, /* queues run for a while, and the message is tried again: see vduse_serve_first() */
	VDUSE_ANSWER, /* the answer waits to be written */
};

enum vduse_job {
	VDUSE_JOB_MESSAGE,
	VDUSE_JOB_REFUSED, /* a message that has been answered, as the queues let it wait too long */
	VDUSE_JOB_RESET, /* the driver's, which came at a moment when it had to be refused */
	VDUSE_JOB_MISS, /* more memory is wanted */
	VDUSE_JOB_BREAK, /* the driver lied: nothing runs any more until it resets the device */
	VDUSE_JOB_CLOSE,
};

struct vduse_row;

/* One device at the kernel. */
struct vduse {
	struct vireo_endpoint base;
	struct vduse_kernel kernel;
	struct vireo_device *device;
	struct loop *loop;
	char name[VDUSE_NAME_BYTES];
	int fd; /* /dev/vduse/NAME */
	struct loop_watch *watch;
	struct vduse_key key;
	struct vduse_state state;

	/* What the driver has said. */
	uint8_t status;
	bool negotiated; /* the device has taken its features */
	bool suspended;

	/* session.c */
	enum vduse_phase phase;
	enum vduse_job job;
	bool busy; /* vduse_run() is on the stack */
	bool mapped; /* all memory has been asked for in this turn: the next message waits for the next */
	bool quiet; /* the quiesce asked for has been granted */
	bool miss_due, break_due, close_due, reset_due;
	bool broken; /* and quiet */
	bool closed; /* and quiet: the last messages are still answered */
	int lost; /* 0, or a negative errno: the device at the kernel is lost */
	int failed; /* the same: it cannot be attached. Messages that this leads to are answered */
	struct vduse_request request;
	struct vduse_response response;
	const struct vduse_row *row;
	bool late; /* the queues do not become quiet: messages are refused meanwhile */
	bool held; /* `request` must not be refused, and comes next */
	struct loop_timer *late_timer;
	bool again; /* the message's handler wants to be called again */
	unsigned served; /* how often it has been put off */
	uint64_t late_ms; /* constant from the beginning of the session; tests have less time */

	/* queues.c */
	int signal_event_fd; /* raised by workers */
	struct loop_watch *signal_watch;
	struct loop_timer *signal_timer;
	unsigned signal_tries;
	bool config_signal_lost;
	struct vduse_queue {
		bool signal_lost; /* set by workers, atomic */
		bool started; /* set up, and not stopped by name since */
		/* As it was set up last. Size 0: not since the reset. */
		struct vduse_wire_queue_info info;
	} *queues;

	/* memory.c */
	struct drop *drop; /* or NULL: the file that a program has mapped for its driver may be anything */

	/* umem.c */
	struct vduse_umem {
		int fd; /* of the bounce pages, or -1 */
		void *at;
		uint64_t bytes;
	} umem;

	/* attach.c */
	unsigned attach; /* enum vireo_attach */
	struct vduse_aside *aside; /* a call under way */
	int (*run_aside)(void *opaque, void (*work)(void *argument), void *argument);
	void *run_opaque;

	/* endpoint.c */
	struct loop_timer *turn_timer; /* another turn is wanted: to start, or to tell a loss */
	bool taken; /* a predecessor's */
	bool started; /* the device is in session */
	bool attached; /* by us: to be taken off the bus in the end */
	bool closing;
	void (*done)(void *opaque);
	void *done_opaque;
};

int vduse_session_new(struct vduse *v);
/*
 * For a message's handler: queues owe what a killed predecessor had in flight. True: they run and serve it, and the handler is called again;
 * what it returns now counts for nothing. False: that has taken too long, or cannot be.
 */
bool vduse_serve_first(struct vduse *v);
void vduse_session_patience(struct vduse *v); /* the device is there: how long does the kernel wait? */
void vduse_session_free(struct vduse *v); /* nothing is watched any more; takes one that is not there */
/* Goes on as far as that goes. The last thing its callers do: the endpoint may be gone afterwards. */
void vduse_run(struct vduse *v);
void vduse_lose(struct vduse *v, int err, const char *why);

/* ---- handlers.c ---- */

enum vduse_quiet {
	VDUSE_QUIET_NONE,
	VDUSE_QUIET_ALL,
	VDUSE_QUIET_QUEUE, /* the request's */
};

/* 0, or a negative errno and *why: the message is answered by a refusal. */
typedef int vduse_handler(struct vduse *v, const struct vduse_request *request, struct vduse_response *response,
			  const char **why);

struct vduse_row {
	const char *name; /* NULL: no such message */
	vduse_handler *handle;
	uint8_t quiet; /* enum vduse_quiet */
	uint8_t api; /* from this API version on */
	uint8_t feature; /* bit + 1 of the feature that it needs; 0: none */
	bool patient; /* waits for the queues as long as it takes: a refusal would be the end */
	bool tells; /* where a queue stands; or it stops, and that is asked for next */
};

/* NULL, and *why. */
const struct vduse_row *vduse_row(const struct vduse *v, uint32_t type, const char **why);
/* Back to the beginning; all queues quiet. */
void vduse_reset(struct vduse *v);

/* ---- queues.c ---- */

/* DRIVER_OK: features, memory, queues. `again`: a predecessor has run them. All quiet. */
int vduse_start(struct vduse *v, bool again, const char **why);
/* After that, of a device that does not run: where do its queues stand? */
int vduse_suspended_recover(struct vduse *v, const char **why);
int vduse_negotiate(struct vduse *v, const char **why);
int vduse_queue_start(struct vduse *v, unsigned index, bool again, const char **why);
void vduse_queue_stop(struct vduse *v, unsigned index);
void vduse_queues_forget(struct vduse *v); /* the driver has reset the device */
/* Starts what may run. */
void vduse_resume(struct vduse *v);
void vduse_signal(void *opaque, unsigned queue); /* any thread */
void vduse_config_signal(struct vduse *v); /* without a driver there is nobody to tell */
int vduse_queues_new(struct vduse *v);
void vduse_queues_free(struct vduse *v);

/* ---- memory.c, umem.c ---- */

/* All queues quiet. */
int vduse_memory_map(struct vduse *v, const char **why);

/*
 * Bounce pages of our own for the region [0, last], if they can be had: true, and the region is to be mapped from
 * v->umem.fd at offset 0.
 */
bool vduse_umem_offer(struct vduse *v, uint64_t last);
void vduse_umem_drop(struct vduse *v);

/* ---- features.c ---- */

#define VDUSE_F_ACCESS_PLATFORM_BIT 33

/* What of the device can be offered. -EOPNOTSUPP: the kernel takes no such device. */
int vduse_offer(const struct vireo_device *device, struct vduse_key *key);

/* What a driver reads of config space when it begins, and never again: a change does not reach it. Its name for the log, or NULL: nothing. */
const char *vduse_once(struct vireo_device *device, uint8_t ret_once[VDUSE_ONCE_BYTES]);

/* ---- create.c ---- */

int vduse_control_check(const struct vduse *v); /* what open says of the control file: the module comes first */

/*
 * Fills in v->fd and v->key; *ret_taken: a predecessor's device. -ENOENT: no module; -EACCES, -EPERM; -EEXIST: it is
 * there, made otherwise, and in use; -EBUSY: open in another program; -EADDRNOTAVAIL: its node has not appeared.
 */
int vduse_create(struct vduse *v, bool *ret_taken);
/* v->fd is closed. -EBUSY: it is in use. */
int vduse_destroy(struct vduse *v);
int vduse_config_write(const struct vduse *v); /* config space as it is now */

/* ---- attach.c ---- */

const char *vduse_driver(unsigned attach); /* NULL: none */
/* Starts the call; vduse_aside_done() of endpoint.c hears of its end. */
int vduse_attach(struct vduse *v, bool add);
void vduse_aside_done(struct vduse *v, bool add, int result);

/* vdpa.c */
int vdpa_bus_check(void *opaque, const char *driver);
int vdpa_bus_add(void *opaque, const char *name, const char *driver, bool anew);
int vdpa_bus_remove(void *opaque, const char *name);

/* endpoint.c */
int vduse_open_on(struct vireo_device *device, const char *name, const struct vireo_endpoint_config *config,
		  const struct vduse_kernel *kernel, struct vireo_endpoint **ret_endpoint);
/* If it is closed: takes it off the bus, or frees it. */
void vduse_close_go_on(struct vduse *v);

static inline int vduse_ioctl(const struct vduse *v, unsigned long request, void *argument)
{
	return v->kernel.ioctl(v->kernel.opaque, v->fd, request, argument);
}

static inline bool vduse_packed(const struct vduse *v)
{
	return vireo_device_features(v->device) & VIREO_FEATURE(VIREO_F_RING_PACKED_BIT);
}

#endif
