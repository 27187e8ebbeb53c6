/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VHOST_USER_SESSION_INTERNAL_H
#define VHOST_USER_SESSION_INTERNAL_H

/*
 * Map of this room:
 *
 *	endpoint.c	where a device is offered: sessions come and go
 *	endpoint_handover.c	it stands still, and goes on in another process
 *	listen.c	the socket: take over, bind, connect
 *	handed.c	a socket that the program was handed
 *	session.c	one connection: receive a message, quiet queues, handle, reply
 *	message.c	the bytes and fds of one message
 *	table.c		a row per message: what it may carry and what it needs
 *	handlers.c	messages about the device, ring_handlers.c: about one ring, memory.c: about memory
 *	inflight.c	memory in which what is in flight outlives us
 *	log.c		messages about the dirty log
 *	postcopy.c	a machine starts here before its memory has come
 *	absent.c	messages about a ring that the device does not have
 *	channel.c	messages to the front end
 *	hold.c		a session that stands still, to go on here or in another process
 *	handover.c	what it has been told, as a list of messages
 *	state.c		the device's state, to and from another back end
 *	iommu.c		addresses behind a guest's IOMMU: messages both ways
 *	inband.c	kicks and calls as messages, acks.c: what the front end answers to them (acks.h)
 */

#include "base/drop.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "device/device.h"
#include "wire/vhost_user.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;
struct loop_watch;
struct session;

#define VU_HEADER_BYTES 12u

/* ---- message.c ---- */

/*
 * A message being received, or received. It owns its fds: a handler that keeps one moves it out
 * (message_fd_take()), message_clear() lets go of all that are left.
 */
struct message {
	struct vu_header header; /* once have_bytes >= VU_HEADER_BYTES */
	uint32_t have_bytes; /* header included */
	unsigned fd_count;
	int fds[VU_FDS_MAX];
	struct drop *drop; /* where those that nobody takes are let go of, or NULL; borrowed */
	uint8_t raw_header[VU_HEADER_BYTES];
	uint8_t payload[VU_PAYLOAD_BYTES_MAX];
};

struct reply {
	uint32_t bytes, sent_bytes; /* bytes 0: none */
	int fd; /* owned; goes with the first byte; -1: none */
	uint8_t data[VU_HEADER_BYTES + VU_PAYLOAD_BYTES_MAX];
};

/*
 * Goes on receiving; never takes a byte of the next message. 1: complete; 0: more is to come; -EPIPE:
 * the peer has hung up between two messages; other negative errno: *why says what was wrong.
 */
int message_receive(struct message *message, int socket_fd, const char **why);
/*
 * Some of the bytes that are there, and the fds with them, which become the message's. 0: none; -EPIPE: the end, outside a message;
 * another negative errno: *why.
 */
ssize_t message_read(struct message *message, int socket_fd, void *data, size_t bytes, const char **why);
void message_clear(struct message *message); /* ready for the next one */
int message_fd_take(struct message *message, unsigned i);
bool message_begun(const struct message *message);

void reply_begin(struct reply *reply, uint32_t request);
void reply_add(struct reply *reply, const void *data, uint32_t bytes);
void reply_fd(struct reply *reply, int fd); /* one at most; taken over */
/* 1: all sent, 0: more is to go, or a negative errno. */
int reply_send(struct reply *reply, int socket_fd);
void reply_clear(struct reply *reply); /* there is none: what it carries is closed */

/* ---- table.c ---- */

/* Which queues are quiet while the handler runs. */
enum message_quiet {
	QUIET_NONE,
	QUIET_ALL, /* unless `prepare` has found that it changes nothing of what they go by: session->calm */
	QUIET_MEMORY, /* those that may use what goes, if what `prepare` has made takes memory away: session_memory_change() */
	QUIET_IOTLB, /* the same, if `prepare` has found that it takes something away: iommu_change() */
	QUIET_STATE, /* the one whose index is the payload's first u32 */
	QUIET_FD, /* the one whose index is the payload's low byte */
};

/*
 * A handler returns 0; -EPROTO: the message makes no sense, the session is over; another negative errno:
 * refused. *why is set with either.
 */
typedef int message_handler(struct session *session, struct message *message, const char **why);

struct message_row {
	message_handler *handle; /* NULL: no such message */
	message_handler *prepare; /* or NULL; called before, while queues run. What it refuses is refused, and not handled */
	uint16_t payload_min_bytes, payload_max_bytes;
	uint8_t fds_min, fds_max;
	uint8_t gate; /* protocol feature bit + 1; 0: none */
	uint8_t quiet; /* enum message_quiet */
	bool replies; /* has a reply of its own, and therefore no acknowledgement */
	bool tells; /* where the ring stands */
};

/* NULL, and *why: there is no such message, or this one is not as it should be. */
const struct message_row *message_row(const struct session *session, const struct message *message,
				      const char **why);

/* ---- session.c ---- */

enum session_state {
	SESSION_RECEIVE,
	SESSION_QUIESCE, /* the message waits for queues to be quiet */
	SESSION_MISS, /* queues that have missed an address are about to be quiet */
	SESSION_REPLY, /* the reply waits for room in the socket */
	SESSION_HOLD, /* waits for all queues to be quiet, to be held */
	SESSION_HELD, /* nothing is read, no queue runs, until it goes on or ends (hold.c) */
	SESSION_END, /* closed; waits for all queues to be quiet */
};

/* See postcopy.c. */
enum postcopy_state {
	POSTCOPY_OFF,
	POSTCOPY_ADVISED, /* the front end has a userfaultfd */
	POSTCOPY_LISTENING, /* what is mapped is late */
	POSTCOPY_TOLD, /* what has been mapped is not looked at before the front end has acknowledged it */
};

/* After a refusal the device may have some of what was refused: nobody tells these, so the next ones are carried out in full. */
#define FEATURES_UNKNOWN (~VU_FEATURE_LOG_ALL)

struct session {
	struct vireo_device *device;
	struct loop *loop;
	void (*ended)(void *opaque, bool fruitful);
	void *opaque;

	int fd;
	struct loop_watch *watch; /* NULL while waiting for queues */
	enum session_state state;
	bool busy; /* session_run() is on the stack */
	bool failing; /* to be ended as soon as it is not */
	bool quiet; /* the quiesce asked for has been granted */
	uint64_t messages;
	uint64_t heard_ms; /* when the peer's last byte came */
	bool ran; /* a ring of it has run */

	struct message message;
	const struct message_row *row; /* message's */
	int prepared; /* what its `prepare` has returned, and said */
	const char *prepared_why;
	struct map *map; /* made by `prepare`, or NULL */
	struct dirty_log *log; /* the same */
	bool calm; /* `prepare` has found that no queue need be quiet */
	struct reply reply;

	struct map *memory; /* as the front end has told, or NULL */
	struct iommu *iommu; /* NULL: what is in rings are addresses of `memory` */
	bool missed; /* a queue stands still: SESSION_MISS comes next */
	bool revokes; /* the IOTLB message takes something away: `prepare` has done nothing */
	int iotlb_result; /* what `prepare` has done otherwise */
	bool changed; /* the device has `map` already */

	uint64_t features_told; /* by the last SET_FEATURES, all bits of it; or FEATURES_UNKNOWN */
	struct loop_timer *again_timer; /* or NULL; see session_again() */
	unsigned agains;
	bool again;

	uint64_t protocol_features; /* accepted by the front end */
	struct map_backing *inflight; /* see inflight.c; NULL: none */
	uint8_t *inflight_at; /* where it is seen */
	struct vu_inflight inflight_told;
	int channel_fd; /* to the front end, or -1 */
	bool config_changed; /* the front end is to be told */
	struct inband *inband; /* inband.c's; NULL: not negotiated */
	struct transfer *transfer; /* state.c's: of the device's state; or NULL */

	void (*held)(void *opaque, int err); /* whom session_hold() is to tell; or NULL */
	uint16_t mtu_told; /* by NET_SET_MTU; 0: not */

	uint64_t offered; /* protocol features that the program has said its peers may have */
	enum postcopy_state postcopy;
	struct late *late; /* NULL while it is off */
	struct map *told; /* TOLD: becomes the device's map when it is acknowledged */
	uint32_t told_by; /* the request */
};

/*
 * Takes `fd` over, in any case. The device is attached. `offered`: PAGEFAULT and INBAND_NOTIFICATIONS are, as it has them. Once the session is gone, `ended` is called with
 * whether any of its rings has run: inside session_new() only if the device's connected op closes the
 * endpoint, so the last thing to do with *ret_session is to have it stored.
 */
int session_new(struct vireo_device *device, struct loop *loop, int fd, uint64_t offered,
		void (*ended)(void *opaque, bool fruitful), void *opaque, struct session **ret_session);
/* The same, of one that comes from another process: held. Nothing is read before session_go_on(). */
int session_new_held(struct vireo_device *device, struct loop *loop, int fd, uint64_t offered,
		     void (*ended)(void *opaque, bool fruitful), void *opaque, struct session **ret_session);
/* Ends it; `ended` is called inside or later. */
void session_end(struct session *session);
void session_lies(struct session *session, const char *why); /* the same, with a line: what its peer has sent beside its messages */
/* A queue has missed an address, or may go on without one. */
void session_missed(struct session *session);

/*
 * For how long the peer owes something: a first message, the rest of one, to take its reply, or what postcopy wants of it. 0: it does not. One that has
 * negotiated and runs nothing may be a machine in its firmware, and owes nothing.
 */
uint64_t session_owes_ms(const struct session *session);

/*
 * For a handler that cannot answer yet: its queue runs for a moment, is made quiet again, and the handler is called once more. False:
 * that has been done for long enough.
 */
bool session_again(struct session *session);

static inline bool session_accepted(const struct session *session, unsigned protocol_feature_bit)
{
	return session->protocol_features & (UINT64_C(1) << protocol_feature_bit);
}

/* ---- handlers.c, ring_handlers.c ---- */

message_handler handle_get_features, prepare_set_features, handle_set_features, handle_set_owner, handle_reset_owner;
message_handler handle_get_protocol_features, handle_set_protocol_features, handle_get_queue_num;
message_handler prepare_mem_table, prepare_add_mem_reg, prepare_rem_mem_reg, handle_memory;
int memory_check(struct session *session, const char **why); /* of `map`, as soon as it is made; what is refused is let go of */
message_handler handle_get_max_mem_slots;
message_handler handle_send_rarp, handle_net_set_mtu, handle_set_backend_req_fd;
message_handler handle_get_config, handle_set_config, handle_reset_device, handle_set_status,
	handle_get_status;
message_handler handle_set_vring_num, handle_set_vring_addr, handle_set_vring_base, handle_get_vring_base;
message_handler prepare_iotlb, handle_iotlb; /* iommu.c */
message_handler handle_set_vring_kick, handle_set_vring_call, handle_set_vring_err, handle_set_vring_enable;

void reply_u64(struct session *session, uint64_t value);

/* r, and if it is an error, the text that says why. */
static inline int refuse(int r, const char *text, const char **why)
{
	if (r)
		*why = text;
	return r;
}

/* ---- inflight.c ---- */

message_handler handle_get_inflight_fd, handle_set_inflight_fd;
/* All queues quiet: the rings' format may be another one than when the region was given. -EPROTO: it has no room for these. */
void inflight_format_changed(struct session *session);
void inflight_forget(struct session *session); /* no queue has it any more */

/* ---- postcopy.c ---- */

/* True: *ret_row holds in the place of the message's row; NULL, and *why: the message makes no sense now. */
bool postcopy_row(const struct session *session, const struct message *message, const struct message_row **ret_row,
		  const char **why);
message_handler handle_postcopy_advise, handle_postcopy_listen, prepare_postcopy_end, handle_postcopy_end;
void postcopy_wake(struct session *session); /* no thread sleeps in a page of the front end's from now on */
void postcopy_forget(struct session *session); /* and there was none */

/* ---- log.c ---- */

message_handler prepare_set_log_base, handle_set_log_base, handle_set_log_fd, prepare_set_vring_addr;
bool log_features_alone(const struct session *session, uint64_t features); /* SET_FEATURES changes logging, or nothing */
int log_features(struct session *session, uint64_t features, const char **why); /* logging, as SET_FEATURES says */
int log_vring(struct session *session, const struct vu_vring_addr *addr, const char **why);

/* ---- absent.c ---- */

bool absent_ring(const struct session *session); /* the message is about a ring that the device does not have */
message_handler handle_absent_ring;

/* ---- state.c ---- */

message_handler handle_set_device_state_fd, handle_check_device_state;
void state_forget(struct session *session); /* what is under way, or done, is no more */

bool state_pending(const struct session *session); /* a transfer whose outcome the front end has not asked for */

/* ---- hold.c ---- */

/*
 * As soon as it is between two messages, all queues are made quiet, and held(opaque, 0) is called, here or later; a negative errno:
 * it cannot be held, and goes on. If it ends first, `ended` is called alone.
 */
void session_hold(struct session *session, void (*held)(void *opaque, int err));
bool session_hold_waits(const struct session *session); /* for its peer: half a message has come, or a reply is not read */
void session_hold_end(struct session *session); /* session.c's: its queues are quiet */
void session_go_on(struct session *session); /* held */

/* ---- handover.c ---- */

struct handover_reader;
struct handover_writer;

const char *session_handover_refused(const struct session *session); /* quiet; NULL: session_export() can tell all of it */
void session_export(const struct session *session, struct handover_writer *writer); /* held */
/*
 * Of a session that is held, and nothing else has been told: what the list says, with copies of `fds`. A negative errno, and *why: it
 * says what it may not, or this process lacks something; the session is to be ended.
 */
int session_import(struct session *session, struct handover_reader *reader, const int *fds, const char **why);

/* ---- channel.c ---- */

int channel_set(struct session *session, int fd); /* takes fd over on success */
void channel_drop(struct session *session); /* there is none any more */
void channel_config_changed(struct session *session);
bool channel_tells(const struct session *session); /* does the front end take such news? */
/* Sends what is to be told, if the front end may hear it now. */
void channel_tell(struct session *session);

/* The front end takes no message now. */
bool channel_full(const struct session *session);
/* What fits a channel that is not full. -ENOTCONN: there is none. */
int channel_send(struct session *session, uint32_t request, const void *payload, uint32_t bytes);
int channel_ask(struct session *session, uint32_t request, const void *payload, uint32_t bytes); /* with an answer to come */

/* ---- inband.c ---- */

message_handler prepare_vring_kick, handle_vring_kick;
int inband_new(struct session *session, struct inband **ret_inband);
void inband_free(struct inband *inband); /* tells of errors first; takes NULL */
int inband_channel_set(struct inband *inband, int fd); /* borrowed; -1: there is none */
int inband_ring_ready(struct inband *inband, uint32_t index); /* it gets eventfds of ours, for what the front end has named none */
void inband_fd_named(struct inband *inband, uint32_t request, uint32_t index); /* by SET_VRING_KICK, CALL, ERR */
void inband_settle(struct inband *inband); /* some rings may have stopped */

/* ---- iommu.c ---- */

/* All queues are quiet. */
int session_iommu_set(struct session *session, bool on, const char **why);
int session_memory_set(struct session *session, struct map *memory, const char **why); /* takes `memory` over; not quiet: it takes nothing away */
bool session_memory_takes_away(const struct session *session, struct map *memory);
void session_memory_change(struct session *session, void (*done)(void *opaque)); /* `map` takes something away */
void session_memory_forget(struct session *session);
/* Asks the front end for what queues wait for, if it is time. */
void session_ask(struct session *session);

/* ---- listen.c ---- */

struct vireo_endpoint_config;

/* As config says; see base/unix_socket.h. */
int listener_open(const char *path, const struct vireo_endpoint_config *config, struct drop *drop,
		  struct unix_listener *ret_listener);
int listener_accept(const struct unix_listener *listener); /* an fd, or a negative errno */

/* ---- handed.c ---- */

bool handed_is(const char *where); /* "fd:N", and no path */
/*
 * What it is; the fd stays as it is. -EINVAL: no number; -EBADF; -ENOTSOCK; -EPROTONOSUPPORT: no UNIX stream socket; -ENOTCONN:
 * it neither listens nor is connected.
 */
int handed_look(const char *where, int *ret_fd, bool *ret_listening);
int handed_check(int fd, bool *ret_listening); /* the same, of an fd */
int handed_take(int fd); /* non-blocking and close-on-exec from now on */

#endif
