/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port that writes what it gets into a file, as pcapng.
 *
 * Who delivers copies a frame into a ring; a thread of the port's own takes it from there and writes it, and may wait for the file as long as it
 * takes: what finds no room in the ring meanwhile is lost, and counted. The thread ends when the port does, when the file is as long as it
 * may be, or when it cannot be written; the port stays, and takes no more.
 *
 * A file that is there already is written over only if it is one of these, as its head says, or empty: whoever may add ports cannot destroy others
 * by it. It is locked as long as it is written, by whatever path: two that write it would destroy each other's.
 *
 * Another process goes on with the open file, and so with its lock: the thread writes what is there, and ends, with a whole block. Who goes on starts
 * one that has nothing to write first.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "kernel_frame.h"
#include "port.h"
#include "port_file.h"
#include "port_thread.h"
#include "switch/mirror_ring.h"
#include "switch/pcapng.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10) /* more than the longest frame with all that is said of it */
#define NAP_MS	     1
#define PROGRAM	     "vireo-switchd pcap-out "
#define BYTES_LEAST  (64u << 10)

/* What another process is told, in this machine's order. */
struct out_told {
	char magic[8]; /* "vireopco" */
	uint32_t version, zero;
	uint64_t written, received, lost;
};

#define TOLD_MAGIC   "vireopco"
#define TOLD_VERSION 1u

struct out_port {
	struct port port;
	struct port_thread thread;
	struct mirror_ring ring; /* put by who has claimed the out queue */
	bool sleeping;		 /* atomic; the thread's: whoever puts something has to wake it */
	bool over;		 /* atomic; the thread's: no more is taken */
	bool failed;		 /* atomic; the thread's: and the file is not what it was to be */
	bool holding;		 /* atomic; control thread: the thread is to end, or has, and the file is not to */
	void (*held)(void *opaque, int err); /* control thread: NULL: nobody waits for that */
	void *held_opaque;
	struct out_told told;
	/* Who has claimed the out queue counts what it refuses; the thread what it has written, and what it could not write. */
	struct sw_queue_stats out;
	/* The thread. */
	int fd;
	bool began; /* the file has its head */
	uint64_t written, received;
	uint64_t lost; /* by other processes, before */
	char *buffer; /* whole blocks */
	size_t buffer_bytes;
	uint64_t held_frames, held_bytes; /* which are in those blocks, and count when they are in the file */
};

/* ---- workers ---- */

static bool take(struct out_port *out, const struct vireo_frame *frame, uint64_t ns)
{
	uint32_t bytes = vireo_frame_bytes(frame);
	const struct mirror_record record = {.bytes = bytes, .frame_bytes = bytes, .ns = ns, .out = 1};

	if (__atomic_load_n(&out->over, __ATOMIC_RELAXED))
		counter_add(&out->out.disabled, 1);
	else if (bytes > KERNEL_FRAME_BYTES)
		counter_add(&out->out.too_long, 1);
	else if (!mirror_ring_put(&out->ring, &record, frame, NULL))
		counter_add(&out->out.no_buffer, 1);
	else
		return true;
	return false;
}

static int out_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	uint64_t ns = clock_wall_ns();
	int taken = 0;

	for (unsigned i = 0; i < count; i++)
		taken += take(opaque, frames[i], ns);
	return taken;
}

static void out_flush(void *opaque, unsigned queue)
{
	struct out_port *out = opaque;

	mirror_ring_show(&out->ring);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in rest() */
	if (__atomic_load_n(&out->sleeping, __ATOMIC_RELAXED) && __atomic_exchange_n(&out->sleeping, false, __ATOMIC_RELAXED))
		fd_event_raise(out->thread.wake_fd);
}

static int out_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	return 0;
}

static void out_nothing(void *opaque, unsigned queue)
{
}

static int out_kick_fd(void *opaque, unsigned queue)
{
	return -1;
}

static bool out_kick_enable(void *opaque, unsigned queue, bool on)
{
	return false;
}

static void out_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct out_port *port = opaque;

	sw_queue_stats_read(&port->out, ret);
}

static const struct sw_port_ops out_ops = {
	.receive = out_receive,
	.release = out_nothing,
	.deliver = out_deliver,
	.flush = out_flush,
	.kick_fd = out_kick_fd,
	.kick_enable = out_kick_enable,
	.stats = out_stats,
};

/* ---- the thread ---- */

/* A negative errno. The file ends with a whole block, whatever happens. */
static int buffer_write(struct out_port *out)
{
	size_t done = 0;

	while (done < out->buffer_bytes) {
		ssize_t n = write(out->fd, out->buffer + done, out->buffer_bytes - done);
		int err = errno;

		if (n > 0) {
			done += (size_t)n;
		} else if (n == 0 || err != EINTR) {
			(void)!ftruncate(out->fd, (off_t)out->written); /* if that fails as well, readers stop at half a block */
			return n == 0 ? -EIO : -err;
		}
	}
	out->written += done;
	return 0;
}

/* A negative errno: nothing of what was in the buffer is in the file. */
static int write_out(struct out_port *out)
{
	int err = buffer_write(out);

	if (err) {
		counter_add(&out->out.error, out->held_frames);
	} else {
		counter_add(&out->out.frames, out->held_frames);
		counter_add(&out->out.bytes, out->held_bytes);
	}
	out->buffer_bytes = 0;
	out->held_frames = out->held_bytes = 0;
	return err;
}

static int need(struct out_port *out, size_t bytes)
{
	return out->buffer_bytes + bytes > BUFFER_BYTES ? write_out(out) : 0;
}

static uint8_t *buffer_at(const struct out_port *out)
{
	return (uint8_t *)out->buffer + out->buffer_bytes;
}

static void head_add(struct out_port *out)
{
	const struct pcapng_head head = {
		.program = PROGRAM VIREO_VERSION,
		.interface = out->port.spec.at.name,
		.snaplen = KERNEL_FRAME_BYTES,
	};

	out->buffer_bytes += pcapng_head(buffer_at(out), &head);
}

/* -ECANCELED: the file is as long as it may be. */
static int record_add(struct out_port *out, const struct mirror_record *record, const uint8_t *bytes)
{
	const struct pcapng_packet packet = {.ns = record->ns, .bytes = record->bytes, .frame_bytes = record->frame_bytes, .out = true};
	size_t most = record->bytes + PCAPNG_EXTRA_MAX;
	int err = need(out, most);

	if (!err && out->written + out->buffer_bytes + most + PCAPNG_END_MAX > out->port.spec.pcap.bytes_max)
		err = -ECANCELED;
	if (err)
		return err;
	out->buffer_bytes += pcapng_packet(buffer_at(out), &packet, bytes);
	out->held_frames++;
	out->held_bytes += record->bytes;
	return 0;
}

/* What is in the ring. Returns how many, or a negative errno. */
static int drain(struct out_port *out)
{
	const struct mirror_record *record;
	const uint8_t *bytes;
	int taken = 0;

	while ((record = mirror_ring_first(&out->ring, &bytes))) {
		int err = record_add(out, record, bytes);

		if (err)
			return err;
		mirror_ring_drop(&out->ring);
		out->received++;
		taken++;
	}
	if (out->buffer_bytes) {
		int err = write_out(out);

		if (err)
			return err;
	}
	return taken;
}

/* It naps first, so that steady traffic does not make workers wake it for each burst. */
static void rest(struct out_port *out, int ms)
{
	struct pollfd poll_fd = {.fd = out->thread.wake_fd, .events = POLLIN};
	const uint8_t *bytes;

	if (ms < 0) {
		__atomic_store_n(&out->sleeping, true, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in out_flush() */
		if (mirror_ring_first(&out->ring, &bytes) || port_thread_stopping(&out->thread))
			ms = 0;
	}
	if (poll(&poll_fd, 1, ms) > 0)
		fd_event_clear(out->thread.wake_fd);
	__atomic_store_n(&out->sleeping, false, __ATOMIC_RELAXED);
}

/* What the ring has left, and comes meanwhile, is not written. */
static void rest_drop(struct out_port *out)
{
	const uint8_t *bytes;

	while (mirror_ring_first(&out->ring, &bytes)) {
		mirror_ring_drop(&out->ring);
		out->received++;
		counter_add(&out->out.error, 1);
	}
}

static int end_write(struct out_port *out)
{
	const struct pcapng_end end = {
		.ns = clock_wall_ns(),
		.received = out->received + counter_read(&out->out.no_buffer),
		.dropped = out->lost + counter_read(&out->out.no_buffer) + counter_read(&out->out.error),
	};
	int err = need(out, PCAPNG_END_MAX);

	if (err)
		return err;
	out->buffer_bytes += pcapng_end(buffer_at(out), &end);
	return write_out(out);
}

static int serve(struct out_port *out)
{
	int taken;
	bool stop;

	do {
		stop = port_thread_stopping(&out->thread); /* what was put before that is taken below */
		taken = drain(out);
		if (taken >= 0 && !stop)
			rest(out, taken ? NAP_MS : -1);
	} while (taken >= 0 && (!stop || taken));
	return taken < 0 ? taken : 0;
}

/* What was there may be long, and take long. */
static int begin(struct out_port *out)
{
	if (out->began)
		return 0;
	if (ftruncate(out->fd, 0))
		return -errno;
	head_add(out);
	out->began = true;
	return 0;
}

static void out_main(void *opaque)
{
	struct out_port *out = opaque;
	int err = begin(out);

	if (!err)
		err = serve(out);
	if (!err && __atomic_load_n(&out->holding, __ATOMIC_RELAXED)) /* seen by whoever sees that it is to stop */
		return;
	__atomic_store_n(&out->over, true, __ATOMIC_RELAXED);
	rest_drop(out);
	if (err == -ECANCELED) {
		log_warning(&out->port.log, "the file is as long as size-max= lets it be: nothing is written any more; remove and add the port");
		err = 0;
	}
	if (!err)
		err = end_write(out);
	if (err) {
		log_error(&out->port.log, "cannot write into '%.200s': %s: nothing is written any more; remove and add the port", out->port.spec.at.address,
			  strerror(-err));
		__atomic_store_n(&out->failed, true, __ATOMIC_RELAXED);
	}
	fd_close(&out->fd); /* which may wait, too */
}

static void out_ended(void *opaque)
{
	struct out_port *out = opaque;
	void (*held)(void *opaque, int err) = out->held;

	out->held = NULL;
	if (out->port.closing)
		port_closed(&out->port);
	if (held) /* one that has failed says so */
		held(out->held_opaque, out->over ? -EBUSY : 0);
}

static int writer_start(struct out_port *out)
{
	port_thread_fini(&out->thread);
	port_thread_init(&out->thread);
	return port_thread_start(&out->thread, out->port.ports->loop, "pcap-out", out_main, out_ended, out);
}

/* ---- to another process, and from one ---- */

static const char *out_hold_refused(const struct port *port)
{
	const struct out_port *out = (const struct out_port *)port;

	return __atomic_load_n(&out->over, __ATOMIC_RELAXED) ? "its file has come to its end: remove it first" : NULL;
}

static int out_hold(struct port *port, void (*held)(void *opaque, int err), void *opaque)
{
	struct out_port *out = container_of(port, struct out_port, port);

	__atomic_store_n(&out->holding, true, __ATOMIC_RELAXED);
	if (!port_thread_stop(&out->thread))
		return -EBUSY;
	out->held = held;
	out->held_opaque = opaque;
	return 0;
}

/* While its thread has not ended it is called once more, by whoever waits for that. */
static void out_go_on(struct port *port)
{
	struct out_port *out = container_of(port, struct out_port, port);
	int err;

	if (!out->holding || out->held || port->closing)
		return;
	__atomic_store_n(&out->holding, false, __ATOMIC_RELAXED);
	err = out->over ? 0 : writer_start(out);
	if (!err)
		return;
	log_error(&port->log, "no thread is to be had: %s: nothing is written any more; remove and add the port", strerror(-err));
	__atomic_store_n(&out->over, true, __ATOMIC_RELAXED);
	__atomic_store_n(&out->failed, true, __ATOMIC_RELAXED);
}

static int out_export(struct port *port, struct vireo_endpoint_state *ret_state)
{
	struct out_port *out = container_of(port, struct out_port, port);
	uint64_t lost = counter_read(&out->out.no_buffer);

	out->told = (struct out_told){
		.version = TOLD_VERSION,
		.written = out->written,
		.received = out->received + lost,
		.lost = out->lost + lost,
	};
	memcpy(out->told.magic, TOLD_MAGIC, sizeof(out->told.magic));
	ret_state->data = &out->told;
	ret_state->bytes = sizeof(out->told);
	ret_state->fds = &out->fd;
	ret_state->fd_count = 1;
	return 0;
}

/* Is it such a file, as far as has been told, and is its lock the other process's? */
static const char *taken_problem(int fd, const struct out_told *told)
{
	uint8_t head[PCAPNG_LOOK_BYTES];
	int flags = fcntl(fd, F_GETFL);
	struct stat st;
	ssize_t n;

	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return "its descriptor is of no file that can be written";
	if ((uint64_t)st.st_size != told->written || lseek(fd, 0, SEEK_CUR) != st.st_size)
		return "its file is not as long as is said";
	n = pread(fd, head, sizeof(head), 0);
	if (n <= 0 || !pcapng_is_by(head, (size_t)n, PROGRAM))
		return "its file is none that such a port has written";
	return flock(fd, LOCK_EX | LOCK_NB) ? "its file is locked by somebody else" : NULL;
}

static const char *told_problem(const struct vireo_endpoint_state *state, struct out_told *told)
{
	if (state->bytes != sizeof(*told))
		return state->bytes < sizeof(*told) ? "it is cut short" : "it says what is not known here";
	memcpy(told, state->data, sizeof(*told));
	if (memcmp(told->magic, TOLD_MAGIC, sizeof(told->magic)) != 0)
		return "it is no state of such a port";
	if (told->version != TOLD_VERSION)
		return "its version is not known";
	return told->zero || told->lost > told->received ? "it says what is not known here" : NULL;
}

static int state_take(struct out_port *out, char *why)
{
	struct out_told told = {.version = 0};
	const char *problem = told_problem(out->port.ports->state, &told);

	if (!problem)
		problem = taken_problem(out->fd, &told);
	if (problem) {
		snprintf(why, SPEC_WHY_BYTES, "pcap-out '%.200s': the state that was handed over is refused: %s", out->port.spec.at.address, problem);
		return -EINVAL;
	}
	out->holding = out->began = true;
	out->written = told.written;
	out->received = told.received;
	out->lost = told.lost;
	return 0;
}

/* ---- making and ending it ---- */

static int explain(const struct port_spec *spec, int err, char *why)
{
	const char *text = err == -EEXIST ? "there is a file already that no pcap-out port has written: choose another, or remove it"
			 : err == -EWOULDBLOCK ? "another port or program is writing it: choose another"
			 : err == -EMEDIUMTYPE ? "it is no plain file: choose another"
			 : err == -ELOOP ? "it is a symbolic link: give the path of what it points to"
			 : strerror(-err);

	snprintf(why, SPEC_WHY_BYTES, "pcap-out '%.200s': %s", spec->at.address, text);
	return err;
}

/* One that may be written over: empty, or what such a port has written, and nobody writes it. The thread empties it. */
static int file_look(int fd)
{
	uint8_t head[PCAPNG_LOOK_BYTES];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EMEDIUMTYPE;
	if (flock(fd, LOCK_EX | LOCK_NB))
		return -errno;
	n = pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return -errno;
	return n && !pcapng_is_by(head, (size_t)n, PROGRAM) ? -EEXIST : 0;
}

/* What guests say is nobody else's to read. */
static int out_file_open(const struct port_spec *spec, int *ret_fd, char *why)
{
	int fd = open(spec->at.address, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	int err = fd < 0 ? -errno : file_look(fd);

	if (!err) {
		*ret_fd = fd;
		return 0;
	}
	fd_close(&fd);
	return explain(spec, err == -ENXIO || err == -EISDIR ? -EMEDIUMTYPE : err, why);
}

static void out_free(struct port *port)
{
	struct out_port *out = container_of(port, struct out_port, port);

	port_thread_fini(&out->thread);
	port_file_close(&out->fd);
	mirror_ring_fini(&out->ring);
	free(out->buffer);
	free(out);
}

/* First no more is delivered; then the thread writes what is there; then the port goes. */
static void queue_left(void *opaque)
{
	struct out_port *out = opaque;

	if (!port_thread_stop(&out->thread))
		port_closed(&out->port);
}

static void out_close(struct port *port)
{
	struct out_port *out = container_of(port, struct out_port, port);

	sw_queue_remove(port->sw, true, 0, queue_left, out);
}

static int out_start(struct out_port *out)
{
	int err;

	out->buffer = malloc(BUFFER_BYTES);
	err = out->buffer ? mirror_ring_init(&out->ring) : -ENOMEM;
	if (!err)
		err = port_join(&out->port);
	if (!err)
		err = sw_queue_add(out->port.sw, true, 0);
	if (!err && !out->holding)
		err = writer_start(out);
	return err;
}

static int out_open_on(struct ports *ports, const struct port_spec *spec, int fd, struct port **ret_port, char *why)
{
	struct out_port *out = aligned_alloc(CACHE_LINE_BYTES, sizeof(*out));
	int err;

	snprintf(why, SPEC_WHY_BYTES, "pcap-out '%.200s': out of memory or ports", spec->at.address);
	if (!out) {
		port_file_close(&fd);
		return -ENOMEM;
	}
	memset(out, 0, sizeof(*out));
	out->fd = fd;
	port_thread_init(&out->thread);
	port_init(&out->port, ports, &port_pcap_out, spec);
	if (!spec->pcap.bytes_max)
		out->port.spec.pcap.bytes_max = PORT_PCAP_BYTES_DEFAULT;
	out->port.out_queues = 1;
	err = ports->state ? state_take(out, why) : 0;
	if (!err)
		err = out_start(out);
	return port_opened(&out->port, err, ret_port);
}

static const char *out_state(const struct port *port)
{
	const struct out_port *out = (const struct out_port *)port;

	if (__atomic_load_n(&out->failed, __ATOMIC_RELAXED))
		return "failed";
	return __atomic_load_n(&out->over, __ATOMIC_RELAXED) ? "ended" : "up";
}

/* ---- its SPEC ---- */

const char *port_file_problem(const char *address)
{
	return address[strlen(address) - 1] == '/' ? "expected the path of a file" : NULL;
}

static bool set_size_max(struct spec *spec, const char *value)
{
	struct port_pcap_spec *pcap = &container_of(spec, struct port_spec, at)->pcap;

	if (strcmp(value, "any") != 0)
		return parse_size(value, &pcap->bytes_max) && pcap->bytes_max >= BYTES_LEAST && pcap->bytes_max <= INT64_MAX;
	pcap->bytes_max = INT64_MAX;
	return true;
}

static const struct spec_key keys[] = {
	SPEC_KEY_NAME,
	{"size-max", set_size_max, "64K or more bytes, such as 100M, or any", "BYTES|any"},
	PORT_KEYS_VLAN,
	PORT_KEYS_ROLE_ALONE,
	PORT_KEYS_LIMITS,
	PORT_KEY_LINK,
};

const struct port_kind port_pcap_out = {
	.spec = {
		.type = "pcap-out",
		.address = "FILE",
		.address_is_path = true,
		.address_problem = port_file_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &out_ops,
	.file_open = out_file_open,
	.open_on = out_open_on,
	.close = out_close,
	.free = out_free,
	.state = out_state,
	.hold_refused = out_hold_refused,
	.hold = out_hold,
	.export = out_export,
	.go_on = out_go_on,
};
