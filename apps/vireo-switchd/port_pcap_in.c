/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port that plays a capture into the switch: a file of pcap or pcapng, which libpcap reads.
 *
 * A thread of the port's own reads the file, waits until each frame is due, and copies it into the next slot of a ring; the in queue's worker shows
 * what lies there in place, and gives the slots back in release. Each end moves one number on, and looks at the other's, as in port_loop.c; here
 * both may sleep: the worker until something is there, the thread until there is room.
 */
#include "base/util.h"
#include "port.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- its SPEC ---- */

#define TIMES_MAX 1000000000u

static struct port_pcap_spec *of(struct spec *spec)
{
	return &container_of(spec, struct port_spec, at)->pcap;
}

static bool set_pace(struct spec *spec, const char *value)
{
	of(spec)->at_once = !strcmp(value, "max");
	return of(spec)->at_once || !strcmp(value, "recorded");
}

static bool set_loop(struct spec *spec, const char *value)
{
	unsigned long n;

	of(spec)->endless = !strcmp(value, "on");
	if (of(spec)->endless)
		return true;
	if (!parse_number(value, 1, TIMES_MAX, &n))
		return false;
	of(spec)->times = (unsigned)n;
	return true;
}

static const struct spec_key keys[] = {
	SPEC_KEY_NAME,
	{"pace", set_pace, "recorded or max", "recorded|max"},
	{"loop", set_loop, "1 to 1000000000 times, or on", "N|on"},
	PORT_KEY_FLOOD_MAX,
	PORT_KEYS_VLAN,
	PORT_KEYS_ROLE_ALONE,
	PORT_KEYS_LIMITS,
	PORT_KEYS_RUNNING,
};

#if VIREO_HAS_PCAP

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "kernel_frame.h"
#include "kernel_port.h"
#include "port_file.h"
#include "port_thread.h"
#include <fcntl.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define IN_SLOTS       128u
#define ETHERNET_BYTES 14u
#define SECOND_NS      UINT64_C(1000000000)
#define GAP_NS_LEAST   UINT64_C(1000000) /* between two passes with pauses */

struct in_port {
	struct port port;
	struct port_thread thread;
	int fd;		  /* the file: the thread's */
	uint8_t *buffers; /* IN_SLOTS of KERNEL_FRAME_BYTES; what has never been needed is never touched */
	struct iovec slots[IN_SLOTS]; /* into the buffers */
	int kick_fd;
	bool kicks;    /* atomic: the worker sleeps, or is about to */
	bool hungry;   /* atomic: the thread waits for room, or is about to */
	bool over, failed; /* atomic; the thread's */
	/* The worker counts frames and bytes, the thread what it does not play. */
	struct sw_queue_stats in;
	/* The thread. */
	uint32_t filled __attribute__((aligned(CACHE_LINE_BYTES))); /* atomic: slots, since the beginning */
	uint64_t first_ns, begin_ns; /* of this pass: the first frame's time in the file, and ours */
	uint64_t last_ns;	     /* of this pass: how long after the first frame the last one was due */
	uint64_t not_before_ns;	     /* when the next pass may begin */
	bool begun;
	uint64_t played;
	/* The worker. */
	uint32_t emptied __attribute__((aligned(CACHE_LINE_BYTES))); /* atomic: likewise */
	uint32_t shown; /* of the slots since then */
};

/* ---- the worker ---- */

static uint32_t waiting(const struct in_port *in)
{
	return __atomic_load_n(&in->filled, __ATOMIC_ACQUIRE) - in->emptied;
}

static int in_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct in_port *in = opaque;
	uint32_t count = min_u32(waiting(in), max);

	for (uint32_t i = 0; i < count; i++) {
		struct iovec *slot = &in->slots[(in->emptied + i) % IN_SLOTS];
		uint32_t bytes = (uint32_t)slot->iov_len;

		frames[i].iov = slot;
		frames[i].iov_count = 1;
		frames[i].len_bytes = bytes;
		frames[i].head_bytes = frames[i].head_skip = 0;
		frames[i].offload = (struct vireo_frame_offload){.flags = 0};
		memcpy(frames[i].head, slot->iov_base, min_u32(bytes, VIREO_FRAME_HEAD_BYTES));
		counter_add(&in->in.bytes, bytes);
	}
	counter_add(&in->in.frames, count);
	in->shown = count;
	return (int)count;
}

static void in_release(void *opaque, unsigned queue)
{
	struct in_port *in = opaque;

	__atomic_store_n(&in->emptied, in->emptied + in->shown, __ATOMIC_RELEASE);
	in->shown = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in room_wait() */
	if (__atomic_load_n(&in->hungry, __ATOMIC_RELAXED) && __atomic_exchange_n(&in->hungry, false, __ATOMIC_RELAXED))
		fd_event_raise(in->thread.wake_fd);
}

static int in_kick_fd(void *opaque, unsigned queue)
{
	const struct in_port *in = opaque;

	return in->kick_fd;
}

static bool in_kick_enable(void *opaque, unsigned queue, bool on)
{
	struct in_port *in = opaque;

	__atomic_store_n(&in->kicks, on, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in slot_show() */
	return on && waiting(in);
}

/* There is no out queue. */
static int in_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	return 0;
}

static void in_flush(void *opaque, unsigned queue)
{
}

static void in_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	const struct in_port *in = opaque;

	sw_queue_stats_read(&in->in, ret);
}

static const struct sw_port_ops in_ops = {
	.receive = in_receive,
	.release = in_release,
	.deliver = in_deliver,
	.flush = in_flush,
	.kick_fd = in_kick_fd,
	.kick_enable = in_kick_enable,
	.stats = in_stats,
};

/* ---- the thread ---- */

/* Until it is woken, or at most so long. */
static void nap(struct in_port *in, const struct timespec *time)
{
	struct pollfd poll_fd = {.fd = in->thread.wake_fd, .events = POLLIN};

	if (ppoll(&poll_fd, 1, time, NULL) > 0)
		fd_event_clear(in->thread.wake_fd);
}

/* False: the port is to end. */
static bool room_wait(struct in_port *in)
{
	while (!port_thread_stopping(&in->thread)) {
		if (in->filled - __atomic_load_n(&in->emptied, __ATOMIC_ACQUIRE) < IN_SLOTS)
			return true;
		__atomic_store_n(&in->hungry, true, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with that in in_release() */
		if (in->filled - __atomic_load_n(&in->emptied, __ATOMIC_ACQUIRE) == IN_SLOTS)
			nap(in, NULL);
		__atomic_store_n(&in->hungry, false, __ATOMIC_RELAXED);
	}
	return false;
}

static void pass_begin(struct in_port *in, uint64_t ns)
{
	uint64_t now = clock_now_ns();

	in->begun = true;
	in->first_ns = ns;
	in->begin_ns = now > in->not_before_ns ? now : in->not_before_ns;
	in->last_ns = 0;
}

/* Of so many frames. The next one's first frame comes after the pause that was between these on average: a capture of one frame is no flood. */
static void pass_end(struct in_port *in, uint64_t frames)
{
	uint64_t gap = frames > 1 ? in->last_ns / (frames - 1) : 0;

	in->not_before_ns = clock_now_ns() + (gap > GAP_NS_LEAST ? gap : GAP_NS_LEAST);
}

/* A frame that is older than one before it is due at once. */
static bool due_wait(struct in_port *in, uint64_t ns)
{
	uint64_t now, due;

	if (in->port.spec.pcap.at_once)
		return true;
	if (!in->begun)
		pass_begin(in, ns);
	if (ns > in->first_ns && ns - in->first_ns > in->last_ns)
		in->last_ns = ns - in->first_ns;
	due = in->begin_ns + in->last_ns;
	for (now = clock_now_ns(); now < due && !port_thread_stopping(&in->thread); now = clock_now_ns())
		nap(in, &(struct timespec){.tv_sec = (time_t)((due - now) / SECOND_NS), .tv_nsec = (long)((due - now) % SECOND_NS)});
	return now >= due;
}

static void slot_show(struct in_port *in, const uint8_t *data, uint32_t bytes)
{
	uint32_t slot = in->filled % IN_SLOTS;
	uint8_t *buffer = in->buffers + (size_t)slot * KERNEL_FRAME_BYTES;

	memcpy(buffer, data, bytes);
	in->slots[slot] = (struct iovec){buffer, bytes};
	__atomic_store_n(&in->filled, in->filled + 1, __ATOMIC_RELEASE);
	/* Either this sees that the worker is to sleep, or that one sees what has been filled. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&in->kicks, __ATOMIC_RELAXED) && __atomic_exchange_n(&in->kicks, false, __ATOMIC_RELAXED))
		fd_event_raise(in->kick_fd);
}

/* What was not captured as a whole is no frame. */
static bool playable(struct in_port *in, const struct pcap_pkthdr *header)
{
	if (header->caplen < header->len)
		counter_add(&in->in.error, 1);
	else if (header->caplen < ETHERNET_BYTES)
		counter_add(&in->in.runt, 1);
	else if (header->caplen > KERNEL_FRAME_BYTES)
		counter_add(&in->in.too_long, 1);
	else
		return true;
	return false;
}

/* Returns PCAP_ERROR_BREAK: the file has ended; PCAP_ERROR: it cannot be read further; 0: the port is to end. */
static int frames_play(struct in_port *in, pcap_t *capture)
{
	struct pcap_pkthdr *header;
	const u_char *data;
	int ret;

	while ((ret = pcap_next_ex(capture, &header, &data)) > 0) {
		uint64_t ns = (uint64_t)header->ts.tv_sec * SECOND_NS + (uint64_t)header->ts.tv_usec; /* which are nanoseconds here */

		if (!playable(in, header))
			continue;
		if (!due_wait(in, ns) || !room_wait(in))
			return 0;
		slot_show(in, data, header->caplen);
		in->played++;
	}
	return ret;
}

/* The file from its start. NULL: it is none; and why. */
static pcap_t *capture_open(int fd, char text[PCAP_ERRBUF_SIZE])
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	FILE *file = own < 0 || lseek(own, 0, SEEK_SET) < 0 ? NULL : fdopen(own, "r");
	pcap_t *capture;

	if (!file) {
		snprintf(text, PCAP_ERRBUF_SIZE, "%s", strerror(errno));
		fd_close(&own);
		return NULL;
	}
	capture = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, text);
	if (!capture)
		fclose(file);
	return capture;
}

/* False: no further pass. */
static bool pass_play(struct in_port *in)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	pcap_t *capture = capture_open(in->fd, text);
	uint64_t before = in->played;
	int ret = PCAP_ERROR;

	in->begun = false;
	if (capture) {
		ret = frames_play(in, capture);
		snprintf(text, sizeof(text), "%s", pcap_geterr(capture));
		pcap_close(capture);
	}
	pass_end(in, in->played - before);
	if (ret == PCAP_ERROR) {
		log_error(&in->port.log, "cannot read the capture further: %s", text);
		__atomic_store_n(&in->failed, true, __ATOMIC_RELAXED);
	}
	return ret == PCAP_ERROR_BREAK && in->played != before; /* an empty one is not played for ever */
}

static void in_main(void *opaque)
{
	struct in_port *in = opaque;
	const struct port_pcap_spec *pcap = &in->port.spec.pcap;
	uint64_t passes = 0, wanted = pcap->times ? pcap->times : 1;

	do
		passes++;
	while (pass_play(in) && (pcap->endless || passes < wanted));
	if (!__atomic_load_n(&in->failed, __ATOMIC_RELAXED) && !port_thread_stopping(&in->thread))
		log_info(&in->port.log, "the capture has been played: %llu frames", (unsigned long long)in->played);
	__atomic_store_n(&in->over, true, __ATOMIC_RELAXED);
	fd_close(&in->fd); /* which may wait, too */
}

static void in_ended(void *opaque)
{
	struct in_port *in = opaque;

	if (in->port.closing)
		port_closed(&in->port);
}

/* ---- making and ending it ---- */

static int explain(const struct port_spec *spec, int err, const char *text, char *why)
{
	snprintf(why, SPEC_WHY_BYTES, "pcap-in '%.200s': %.200s", spec->at.address, text);
	return err;
}

/* Is it a capture of Ethernet? What is wrong further on in it is found when that is played. */
static int file_look(const struct port_spec *spec, int fd, char *why)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	pcap_t *capture;
	struct stat st;
	int link;

	if (fstat(fd, &st))
		return explain(spec, -errno, strerror(errno), why);
	if (!S_ISREG(st.st_mode))
		return explain(spec, -EMEDIUMTYPE, "it is no plain file: choose another", why);
	capture = capture_open(fd, text);
	if (!capture) {
		snprintf(why, SPEC_WHY_BYTES, "pcap-in '%.200s': it is no capture of pcap or pcapng: %.200s", spec->at.address, text);
		return -EINVAL;
	}
	link = pcap_datalink(capture);
	pcap_close(capture);
	if (link == DLT_EN10MB)
		return 0;
	snprintf(why, SPEC_WHY_BYTES, "pcap-in '%.200s': it is a capture of type %d, expected Ethernet (1): capture at another interface", spec->at.address, link);
	return -EMEDIUMTYPE;
}

static int in_file_open(const struct port_spec *spec, int *ret_fd, char *why)
{
	int fd = open(spec->at.address, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int err = fd < 0 ? explain(spec, -errno, strerror(errno), why) : file_look(spec, fd, why);

	if (err)
		fd_close(&fd);
	else
		*ret_fd = fd;
	return err;
}

static void in_free(struct port *port)
{
	struct in_port *in = container_of(port, struct in_port, port);

	port_thread_fini(&in->thread);
	kernel_buffers_free(&in->buffers, IN_SLOTS * KERNEL_FRAME_BYTES);
	fd_close(&in->kick_fd);
	port_file_close(&in->fd);
	free(in);
}

static void in_close(struct port *port)
{
	struct in_port *in = container_of(port, struct in_port, port);

	if (!port_thread_stop(&in->thread))
		port_closed(port);
}

static int in_start(struct in_port *in)
{
	int err = kernel_buffers_new(IN_SLOTS * KERNEL_FRAME_BYTES, &in->buffers);

	if (!err)
		err = fd_event_new(&in->kick_fd);
	if (!err)
		err = port_join(&in->port);
	if (!err)
		err = sw_queue_add(in->port.sw, false, 0);
	if (!err)
		err = port_thread_start(&in->thread, in->port.ports->loop, "pcap-in", in_main, in_ended, in);
	return err;
}

static int in_open_on(struct ports *ports, const struct port_spec *spec, int fd, struct port **ret_port, char *why)
{
	struct in_port *in = aligned_alloc(CACHE_LINE_BYTES, sizeof(*in));

	explain(spec, 0, "out of memory or ports", why);
	if (!in) {
		port_file_close(&fd);
		return -ENOMEM;
	}
	memset(in, 0, sizeof(*in));
	in->fd = fd;
	in->kick_fd = -1;
	port_thread_init(&in->thread);
	port_init(&in->port, ports, &port_pcap_in, spec);
	in->port.in_queues = 1;
	return port_opened(&in->port, in_start(in), ret_port);
}

static const char *in_state(const struct port *port)
{
	const struct in_port *in = (const struct in_port *)port;

	if (__atomic_load_n(&in->failed, __ATOMIC_RELAXED))
		return "failed";
	return __atomic_load_n(&in->over, __ATOMIC_RELAXED) ? "ended" : "up";
}

#else

static const struct sw_port_ops in_ops;

#define in_open_on NULL

static int in_file_open(const struct port_spec *spec, int *ret_fd, char *why)
{
	snprintf(why, SPEC_WHY_BYTES, "pcap-in '%.200s': not built in: build with libpcap (-Dpcap=enabled)", spec->at.address);
	return -EOPNOTSUPP;
}

static const char *in_state(const struct port *port)
{
	return "failed";
}

static void in_close(struct port *port)
{
}

static void in_free(struct port *port)
{
}

#endif

const struct port_kind port_pcap_in = {
	.spec = {
		.type = "pcap-in",
		.address = "FILE",
		.address_is_path = true,
		.address_problem = port_file_problem,
		.keys = keys,
		.key_count = ARRAY_SIZE(keys),
	},
	.ops = &in_ops,
	.file_open = in_file_open,
	.open_on = in_open_on,
	.close = in_close,
	.free = in_free,
	.state = in_state,
};
