/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCH_MIRROR_INTERNAL_H
#define SWITCH_MIRROR_INTERNAL_H

/* Mirrors inside: mirror.c comes, goes and tells (control thread), mirror_burst.c copies (workers), mirror_writer.c writes (its own thread). */

#include "base/queue.h"
#include "base/util.h"
#include "switch/forwarder.h"
#include "switch/mirror.h"
#include "switch/mirror_ring.h"
#include "switch/reasons.h"
#include "work/grace.h"
#include <pthread.h>

/* What one worker counts. */
struct mirror_counters {
	uint64_t frames, bytes, lost;
} __attribute__((aligned(CACHE_LINE_BYTES)));

/* The thread that writes. Constant, or as said. */
struct mirror_writer {
	int fd, wake_fd;
	bool stop;     /* atomic; control thread: no more is put; write what is there, and end */
	bool sleeping; /* atomic; the thread's: whoever puts something has to wake it */
	bool finished; /* atomic; the thread's, the last thing that it says */
	uint32_t hold; /* atomic; control thread: 0, or come to rest, for the so many-th time */
	uint32_t held; /* atomic; the thread's: for which of them it rests, or rested last; it touches nothing until `hold` is another */
	uint32_t last_hold; /* control thread */
	int err;       /* the thread's, until it has finished */
	bool joined;   /* control thread */
	pthread_t thread;
	pthread_mutex_t lock; /* event_fd */
	int event_fd; /* the switch's, raised when it has finished; -1: nobody wants to hear of it any more */
	char *buffer;
	size_t buffer_bytes, written_bytes; /* written: of the buffer */
};

struct sw_mirror {
	/* Constant. */
	struct sw *sw;
	unsigned id;
	struct sw_port *source; /* until it is unhooked */
	char *source_name, *where, *program, *expression;
	struct packet_filter_step *filter;
	unsigned filter_steps;
	uint32_t filter_reach;
	uint32_t snaplen;
	bool to_port;
	uint16_t to_id;
	uint64_t to_serial;
	unsigned workers;
	struct mirror_ring *rings; /* one per worker; NULL: to a port */
	struct mirror_counters *counters; /* one per worker */
	struct mirror_counters past; /* another process's, before */
	bool began; /* by another process: the file has its head */
	struct mirror_writer writer;
	/* Control thread. */
	TAILQ_ENTRY(sw_mirror) link; /* sw.mirrors */
	bool hooked;   /* workers know it */
	bool quiet;    /* none does any more */
	bool removing;
	int err;
	struct grace_item gone;
	void (*done)(void *opaque);
	void *done_opaque;
};

/* ---- mirror_burst.c: workers ---- */

#define MIRRORING_IN  (1u << 0) /* in forwarder.mirroring: a burst comes from a port that is mirrored */
#define MIRRORING_OUT (1u << 1) /* a list goes to one */
#define MIRRORING_COPY (1u << 2) /* copies go to a port: whose copies they are has been looked at, and nobody copies them again */
#define MIRRORING_TRACED (1u << 3) /* a burst comes from a port that is traced: trace_burst.c */

/* Why a frame was dropped, and where. */
struct mirror_note {
	uint16_t reason;
	const struct sw_port *at;
};

/* A worker's scratch. A frame in hand has its number plus 1 as mark: notes have the place of that. */
struct mirror_room {
	/* The burst as it came, and from whom: a port, or a member of a bond, and the bond. */
	unsigned count, sources;
	struct vireo_frame *frames, came[BURST_FRAMES];
	struct {
		const struct sw_port *port;
		uint64_t frames; /* bit i: frame i of those that came */
	} source[2];
	struct mirror_note in[BURST_FRAMES + 1], out[BURST_FRAMES + 1];
	uint8_t bytes[SW_MIRROR_SNAPLEN];
};

/* What follows is copied if the burst's port is mirrored. A second time for a burst: it is of another port by now, too. */
void mirror_in_begin(struct forwarder *forwarder, struct burst *burst, const struct sw_port *port);
void mirror_in_end(struct forwarder *forwarder, struct burst *burst);
/* The same for a list that goes to a port that is mirrored. True: to be ended. */
bool mirror_out_begin(struct forwarder *forwarder, struct vireo_frame *const *frames, unsigned count);
void mirror_out_end(struct forwarder *forwarder, const struct topology_port *to, struct vireo_frame **frames, unsigned count, bool begun);
/* A frame that has not come so far as to be in such a list. */
void mirror_out_dropped(struct forwarder *forwarder, const struct sw_port *to, const uint64_t *counter, struct vireo_frame *frame);

/* ---- mirror_writer.c ---- */

int mirror_writer_start(struct sw_mirror *mirror, int event_fd, const struct sw_mirror_past *past);
void mirror_writer_wake(struct mirror_writer *writer); /* any thread: something was put */
void mirror_writer_stop(struct mirror_writer *writer);
void mirror_writer_hold(struct mirror_writer *writer, bool hold); /* the switch's event tells when it has come to rest, or has finished */
bool mirror_writer_held(const struct mirror_writer *writer);
bool mirror_writer_finished(struct mirror_writer *writer);
void mirror_writer_join(struct mirror_writer *writer); /* it has finished */
/* The mirror is the thread's from now on, who may wait for ever. False: it has finished after all, and the mirror is still the caller's. */
bool mirror_writer_abandon(struct mirror_writer *writer);
/* One that has been joined, or was never started. */
void mirror_writer_fini(struct mirror_writer *writer);

/* ---- mirror.c ---- */

void mirror_free(struct sw_mirror *mirror); /* nobody uses it any more; any thread */
void mirrors_look(struct sw *sw);                    /* has a writer finished? */
void mirrors_port_left(const struct sw_port *port);  /* it is being removed */
void mirrors_end(struct sw *sw);                     /* no worker is left */

#endif
