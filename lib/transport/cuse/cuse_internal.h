/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CUSE_CUSE_INTERNAL_H
#define CUSE_CUSE_INTERNAL_H

/*
 * Map of this room:
 *
 *	endpoint.c	what the program asks; the openers, and which device each of them gets
 *	node.c		the character device: libfuse's CUSE, and the only file that knows it
 *	place.c		where that lies, and whose it is
 *	endpoint_handover.c	an endpoint that stands still, and goes on here or in another process; handover.c: its openers
 *	opener.c	one open of it as a machine: its device, quiet queues, the end
 *	requests.c	one request: whose it is, what it waits for, its answer
 *	table.c		a row per ioctl: its sizes, who may, what must be quiet
 *	handlers.c	ioctls about the device, ring_handlers.c: about one ring, target_handlers.c: a SCSI target's
 *	messages.c	what is read from and written to an opener: addresses as they are asked for
 *	caller.c	the process behind a request, memory.c: its memory, files.c: the files behind that,
 *			maps.c: /proc's text
 */

#include "base/log.h"
#include "device/device.h"
#include "transport/cuse/caller.h"
#include "transport/endpoint.h"
#include "wire/handover.h"
#include <linux/vhost.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cuse_endpoint;
struct iommu;
struct loop;
struct map;
struct node;
struct opener;

/* ---- requests: made by node.c, handled by opener.c ---- */

enum request_kind {
	REQUEST_IOCTL,
	REQUEST_READ,
	REQUEST_WRITE,
	REQUEST_RELEASE, /* the last close */
};

struct request;

/* How a request is answered, once and for good: it is gone afterwards. The kernel's caller waits until then.
 */
struct request_answers {
	void (*done)(struct request *request, const void *out, size_t out_bytes);
	void (*error)(struct request *request, int r); /* a negative errno */
	/* ioctl: ask the kernel for it once more, with so many bytes at `arg` copied in, and room for so many
	 * out. */
	void (*retry)(struct request *request, size_t in_bytes, size_t out_bytes);
};

struct request {
	const struct request_answers *answers;
	struct request *next; /* of an opener's */
	enum request_kind kind;
	pid_t pid; /* the calling thread, as our pid namespace numbers it; 0: it is not in there */
	bool nonblocking; /* read */
	bool interrupted; /* ioctl, write: it is not to wait for queues that renew when its turn comes */
	uint32_t command; /* ioctl */
	size_t room_bytes; /* ioctl, read: for the answer */
	size_t in_bytes; /* ioctl, write: what the caller brought */
	uint8_t in[];
};

/* ---- table.c ---- */

/* What is quiet while the handler runs. */
enum row_quiet {
	ROW_QUIET_NONE,
	ROW_QUIET_ALL,
	ROW_QUIET_RING, /* the one whose index is the first u32 */
	ROW_QUIET_MEMORY, /* those that may use what goes, if what `prepare` has made takes memory away: opener_memory_change() */
};

/* What is done before anything is made quiet; what it refuses disturbs no queue. Returns as row_handler does. */
typedef int row_prepare(struct opener *opener, const struct request *request, const char **why);

/*
 * `out` has the row's size, and is zero. Returns 0 or a negative errno, which is the ioctl's; *why (static)
 * is set with it.
 */
typedef int row_handler(struct opener *opener, const struct request *request, void *out, const char **why);

/* Whose ioctl it is. */
enum row_who {
	ROW_OWNER,
	ROW_FIRST, /* anybody's, as long as nobody owns the device; then the owner's */
	ROW_ANYBODY,
};

/* Of which nodes. */
enum row_node {
	ROW_NODE_ANY,
	ROW_NODE_RINGS, /* each ring begins by itself, as /dev/vhost-net's do */
	ROW_NODE_TARGET, /* it is a SCSI target, whose rings begin together, as /dev/vhost-scsi's do */
};

struct ioctl_row {
	uint32_t command;
	const char *name;
	row_handler *handle;
	row_prepare *prepare; /* or NULL */
	uint16_t in_bytes, out_bytes;
	uint8_t quiet; /* enum row_quiet */
	uint8_t who; /* enum row_who */
	uint8_t node; /* enum row_node */
	bool mends; /* a broken device takes it */
	bool asks; /* a device like it will do: opener_model() */
	bool table; /* what follows in_bytes is as long as they say: struct vhost_memory */
	bool tells; /* where a ring stands; or it stops, and that is asked for next */
};

/* NULL: there is no such ioctl, of a node that is a target or of one that is none. */
const struct ioctl_row *ioctl_row(uint32_t command, bool target);

/*
 * Is all there that the row needs? 1: yes; 0: ask for *ret_in_bytes and *ret_out_bytes; or a negative errno.
 * What the caller has in memory may change from one try to the next, so each is judged by itself.
 */
int ioctl_sizes(const struct ioctl_row *row, const struct request *request, size_t *ret_in_bytes,
		size_t *ret_out_bytes, const char **why);

#define IOCTL_OUT_BYTES_MAX 8u

/* ---- opener.c ---- */

struct poll_ops {
	void (*wake)(void *handle);
	void (*free)(void *handle);
};

enum opener_state {
	OPENER_IDLE, /* nothing is under way */
	OPENER_QUIESCE, /* the current request waits for its queues to be quiet */
	OPENER_MISS, /* a queue has missed an address: waits for it to be quiet, asks, and goes on */
	OPENER_BREAK, /* the device is broken: waits for all queues, then begins anew */
	OPENER_HELD, /* to be handed over: waits for all queues, then stands still */
	OPENER_END, /* closed: waits for all queues */
};

struct opener {
	struct cuse_endpoint *endpoint;
	struct opener *next; /* of the endpoint's */
	unsigned number;

	enum opener_state state;
	bool busy; /* opener_run() is on the stack */
	bool quiet; /* the quiesce asked for has been granted */
	bool ending, breaking, missed, holding; /* as soon as nothing else is under way */
	bool still; /* HELD, and all is quiet: opener_still_set() */
	bool endpoint_set; /* a SCSI target's rings have begun */
	bool broken; /* until RESET_OWNER, or SET_OWNER of the first owner */

	struct request *first; /* that wait for their turn */
	struct request *current; /* in QUIESCE */
	const struct ioctl_row *row; /* current's; NULL: it is a write */
	struct request *release;

	struct vireo_device *device; /* NULL until it is needed */
	pid_t process; /* whom the device was made for */
	unsigned device_told; /* of the opener's device in another process: for struct vireo_endpoint_opener; else 0 */
	uint32_t *busyloop_us; /* per queue of the device */
	struct caller *owner; /* NULL: nobody */
	struct map *memory; /* of the last table, or NULL; the device's map is this or a view of it */
	struct map *memory_next; /* of a table whose request is under way, or NULL */
	bool memory_changed; /* the device's map is that already */

	/* messages.c */
	struct iommu *iommu; /* VIRTIO_F_ACCESS_PLATFORM has been accepted, or NULL */
	uint64_t backend_features;
	struct request *readers; /* that wait for a message */
	void *poll_handle; /* node.c's: who polls, or NULL */
	const struct poll_ops *poll_ops;
};

int opener_new(struct cuse_endpoint *endpoint, unsigned number, struct opener **ret_opener);
/* Takes the request over. The opener may be gone afterwards. */
void opener_request(struct opener *opener, struct request *request);
/*
 * The caller of `request`, which has not been answered, has been interrupted: a read ends, and what waits for queues that renew waits no longer than
 * they take to stop.
 */
void opener_interrupt(struct opener *opener, struct request *request);
/* Ends it: endpoint_opener_gone() is called inside or later. */
void opener_end(struct opener *opener);

/* Asks for what is to be quiet in `state`. */
void opener_quiesce(struct opener *opener, enum opener_state state, uint32_t queue);
/*
 * With the requests that have come it is done first; then it stands still, which endpoint_opener_still() is told, here or later. Off: it goes on, and may
 * be gone afterwards.
 */
void opener_hold(struct opener *opener, bool on);
void opener_still_set(struct opener *opener, bool still); /* and its endpoint counts it */
int opener_device_make(struct opener *opener, pid_t process); /* for that process */
void opener_iommu_change(struct opener *opener); /* after messages_write() has said -EAGAIN */
void opener_memory_change(struct opener *opener); /* where memory_next takes something away */
void opener_hurry(struct opener *opener); /* the current request's caller has been interrupted */
/* What has no address to start, or goes on waiting for one, says so. */
void opener_resume(struct opener *opener);
/* A queue may start that waited for what others ask for. */
void opener_renew(struct opener *opener);
/* The device for whom this request comes from. */
int opener_device_need(struct opener *opener, const struct request *request, const char **why);
/* The opener's device, or one like it if it has none, or NULL. */
const struct vireo_device *opener_model(const struct opener *opener);
/* For handlers: the device as after open; the owner stays. All queues are quiet. */
void opener_session_renew(struct opener *opener);
const struct vireo_log *opener_log(const struct opener *opener);
const char *opener_name(const struct opener *opener);

extern const struct device_transport opener_transport;

/* ---- requests.c ---- */

void request_take(struct opener *opener); /* in IDLE: the first of those that wait */
void request_handle(struct opener *opener); /* in QUIESCE, as soon as that is granted: the current one */

/* ---- messages.c ---- */

/* All queues are quiet, or nothing is taken from them: the device's map is what the opener's memory and IOMMU make. -ENOMEM. */
int messages_memory_set(struct opener *opener, const char **why);
bool messages_memory_takes_away(const struct opener *opener, struct map *memory);
int messages_iommu_set(struct opener *opener, bool on, const char **why);
/* -EAGAIN: it takes something away from queues that run: opener_iommu_change() does it. */
int messages_write(struct opener *opener, const struct request *request, const char **why);
void messages_tell(struct opener *opener); /* to those who wait for one */
void messages_read(struct opener *opener, struct request *request); /* takes the request over */
bool messages_reader_leave(struct opener *opener, struct request *request); /* false: it does not wait to read */
bool messages_readable(const struct opener *opener);
void messages_poll_wake(struct opener *opener); /* whoever polls asks again */
void messages_forget(struct opener *opener); /* as after open */

/* ---- handover.c: what another process needs to go on with openers ---- */

const char *opener_handover_refused(const struct opener *opener); /* still. NULL, or (static) what no other process can go on with */
void openers_export(const struct cuse_endpoint *endpoint, struct handover_writer *writer); /* all of them are still */
/* Openers that are still; -EINVAL and *why (static), or another errno: what has been made of them is the endpoint's all the same. */
int openers_import(struct cuse_endpoint *endpoint, struct handover_reader *reader, const int *fds, const char **why);

/* ---- endpoint.c ---- */

/*
 * So often is a node open at most. A machine opens it once for each pair of queues (128 at most, of vireo-switchd), and whoever starts
 * the machine may have it open as well. Who has the node could open it as often as it likes otherwise: openers cost memory here, each
 * request looks through them, and all of them go over in the time that a hand-over has.
 */
#define ENDPOINT_OPENERS_MAX 1024u

struct cuse_endpoint {
	struct vireo_endpoint base;
	struct vireo_device *device; /* the only one, or NULL: each opener gets one of its own */
	struct vireo_endpoint_config config;
	char *name; /* of the node, without /dev/ */
	char *target; /* that it is; or NULL */
	struct loop *loop;
	struct drop *drop; /* or NULL */
	struct node *node;
	struct opener *openers; /* the last one first */
	unsigned opener_count, still_count; /* of them; and those that are still */
	uint32_t opened; /* so far: the number of the last opener; 0 is nobody's */
	bool closing;
	bool holds, still; /* is about to be handed over, and stands still */
	void (*held)(void *opaque, int err); /* who waits for that, or NULL */
	void *held_opaque;
	struct handover_writer state; /* as it was exported */
	void (*done)(void *opaque);
	void *done_opaque;
};

int cuse_endpoint_new(struct vireo_device *device, const char *name,
		      const struct vireo_endpoint_config *config, struct cuse_endpoint **ret_endpoint);
/*
 * -ENODEV: it closes; -EBUSY: it has one device, which is somebody's; -EMFILE: ENDPOINT_OPENERS_MAX; -EOVERFLOW: there is no number left;
 * -ENOMEM.
 */
int endpoint_opener_new(struct cuse_endpoint *endpoint, struct opener **ret_opener);
void endpoint_opener_add(struct cuse_endpoint *endpoint, struct opener *opener); /* there is room for it */
struct opener *endpoint_opener(const struct cuse_endpoint *endpoint, uint64_t number); /* or NULL */
void endpoint_opener_gone(struct cuse_endpoint *endpoint, struct opener *opener);
/* The device for an opener whose process is known now, attached and in a session; and back. */
int endpoint_device_take(struct cuse_endpoint *endpoint, struct opener *opener,
			 struct vireo_device **ret_device);
unsigned endpoint_device_number(const struct cuse_endpoint *endpoint, const struct opener *opener); /* of the one it has; 0: none */
void endpoint_device_give(struct cuse_endpoint *endpoint, struct vireo_device *device);
void endpoint_node_lost(struct cuse_endpoint *endpoint, int err); /* no request comes any more, and no release */
const struct vireo_log *endpoint_log(const struct cuse_endpoint *endpoint);

/* ---- endpoint_handover.c: to another process, and from one ---- */

int cuse_hold(struct vireo_endpoint *base, void (*held)(void *opaque, int err), void *opaque);
int cuse_export(struct vireo_endpoint *base, struct vireo_endpoint_state *ret_state);
int cuse_go_on(struct vireo_endpoint *base);
int cuse_import(struct cuse_endpoint *endpoint, const struct vireo_endpoint_state *state); /* its node, and its openers */
void endpoint_opener_still(struct cuse_endpoint *endpoint); /* one more, or one that waited has gone */
void cuse_hold_forget(struct cuse_endpoint *endpoint); /* it is closed meanwhile */

/* ---- handlers.c, ring_handlers.c, target_handlers.c ---- */

/* r, and if it is an error, the text that says why. */
static inline int refuse(int r, const char *text, const char **why)
{
	if (r)
		*why = text;
	return r;
}

row_prepare ioctl_prepare_mem_table;
row_handler ioctl_get_features, ioctl_set_features, ioctl_set_owner, ioctl_reset_owner, ioctl_set_mem_table;
row_handler ioctl_set_log_base, ioctl_set_log_fd, ioctl_get_backend_features, ioctl_set_backend_features;
row_handler ioctl_set_vring_num, ioctl_set_vring_addr, ioctl_set_vring_base, ioctl_get_vring_base;
row_handler ioctl_set_vring_kick, ioctl_set_vring_call, ioctl_set_vring_err;
row_handler ioctl_set_vring_endian, ioctl_get_vring_endian, ioctl_set_busyloop, ioctl_get_busyloop;
row_handler ioctl_net_set_backend;
row_handler ioctl_scsi_set_endpoint, ioctl_scsi_clear_endpoint, ioctl_scsi_get_abi_version;
row_handler ioctl_scsi_set_events_missed, ioctl_scsi_get_events_missed;

/* ---- node.c ---- */

#define NODE_FULL_QUIET_S 5u /* for so long no second line says that the node has been opened too often */

/* Makes /dev/NAME: it appears soon, in a turn of the endpoint's loop. */
int node_new(struct cuse_endpoint *endpoint, struct node **ret_node);
#define NODE_FIRST_BYTES_MAX 256u

/* The same node, which another process has made, and hands over with the kernel's first request. It hears nothing yet. */
int node_new_handed(struct cuse_endpoint *endpoint, int fd, const void *first, size_t first_bytes, struct node **ret_node);
int node_fd(const struct node *node);
const void *node_first(const struct node *node, size_t *ret_bytes); /* the kernel's first request */
void node_pause(struct node *node, bool on); /* requests stay with the kernel; takes NULL */
/* Takes NULL. From now on no request comes any more; the node is there until node_free(). */
void node_mute(struct node *node);
bool node_lost(const struct node *node); /* the kernel has let go of it */
/* Takes NULL. No request is left. */
void node_free(struct node *node);

/* ---- place.c ---- */

bool place_taken(const char *name);
/* Gives /dev/NAME the mode and owner that the endpoint's config has. */
int place_own(const struct cuse_endpoint *endpoint);

#endif
