/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/fake_port.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/util.h"
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void list_add(struct fake_list *list, struct fake_frame *frame)
{
	if (list->end == list->room) {
		list->room = list->room ? list->room * 2 : 64;
		list->frames = realloc(list->frames, list->room * sizeof(list->frames[0]));
		assert(list->frames);
	}
	list->frames[list->end++] = frame;
}

static void list_drop(struct fake_list *list, unsigned count)
{
	while (count-- > 0)
		free(list->frames[list->first++]);
	if (list->first == list->end)
		list->first = list->end = 0;
}

static void list_clear(struct fake_list *list)
{
	list_drop(list, list->end - list->first);
	free(list->frames);
	*list = (struct fake_list){0};
}

static struct fake_frame *frame_new(unsigned queue, uint32_t bytes, const struct vireo_frame_offload *offload)
{
	struct fake_frame *frame = malloc(sizeof(*frame) + bytes);

	assert(frame);
	frame->queue = queue;
	frame->bytes = bytes;
	frame->offload = offload ? *offload : (struct vireo_frame_offload){0};
	return frame;
}

static void show(struct fake_port *fake, unsigned queue, unsigned at, struct fake_frame *from,
		 struct vireo_frame *frame)
{
	uint32_t cut1 = from->bytes / 3, cut2 = from->bytes / 2;
	struct iovec *pieces = fake->pieces[queue][at];

	pieces[0] = (struct iovec){from->data, cut1};
	pieces[1] = (struct iovec){from->data + cut1, cut2 - cut1};
	pieces[2] = (struct iovec){from->data + cut2, from->bytes - cut2};
	*frame = (struct vireo_frame){
		.iov = pieces, .iov_count = 3, .len_bytes = from->bytes, .offload = from->offload};
	memcpy(frame->head, from->data, min_u32(from->bytes, VIREO_FRAME_HEAD_BYTES));
}

static int fake_receive(void *opaque, unsigned queue, struct vireo_frame *frames, unsigned max)
{
	struct fake_port *fake = opaque;
	struct fake_list *sent = &fake->sent[queue];
	unsigned count;

	pthread_mutex_lock(&fake->lock);
	fake->asked++;
	fake->asked_for = max;
	if (fake->dead[queue]) {
		fake->asked_dead++;
		pthread_mutex_unlock(&fake->lock);
		return -EPROTO;
	}
	count = min_u32(sent->end - sent->first, min_u32(max, 64));
	assert(!fake->shown[queue]);
	for (unsigned i = 0; i < count; i++) {
		struct fake_frame *frame = sent->frames[sent->first + i];

		show(fake, queue, i, frame, &frames[i]);
		counter_add(&fake->in[queue].frames, 1);
		counter_add(&fake->in[queue].bytes, frame->bytes);
	}
	fake->shown[queue] = count;
	pthread_mutex_unlock(&fake->lock);
	return (int)count;
}

/* Something has been shown to the driver. Locked. */
static void hold_signal(struct fake_port *fake, bool out, unsigned queue)
{
	if (fake->holds_ns && !fake->since_ns[out][queue])
		fake->since_ns[out][queue] = clock_now_ns();
}

static uint64_t fake_signal_look(void *opaque, bool out, unsigned queue, bool now)
{
	struct fake_port *fake = opaque;
	uint64_t since_ns, due_ns = 0;

	pthread_mutex_lock(&fake->lock);
	assert(!out || !fake->stopped[queue]);
	since_ns = fake->since_ns[out][queue];
	if (since_ns && (now || since_ns + fake->holds_ns <= clock_now_ns())) {
		fake->signals[out][queue]++;
		fake->since_ns[out][queue] = 0;
	} else if (since_ns) {
		due_ns = since_ns + fake->holds_ns;
	}
	pthread_mutex_unlock(&fake->lock);
	return due_ns;
}

static void fake_release(void *opaque, unsigned queue)
{
	struct fake_port *fake = opaque;

	pthread_mutex_lock(&fake->lock);
	hold_signal(fake, false, queue);
	assert(fake->shown[queue]);
	list_drop(&fake->sent[queue], fake->shown[queue]);
	fake->shown[queue] = 0;
	pthread_mutex_unlock(&fake->lock);
}

/* The pieces, behind their first bytes, for which the head stands. */
static void copy_out(const struct vireo_frame *frame, uint8_t *dst)
{
	uint32_t at = 0, skip = vireo_frame_skip_bytes(frame), head_bytes = vireo_frame_head_bytes(frame);
	uint8_t *whole = malloc(frame->len_bytes);

	assert(whole);
	for (uint32_t i = 0; i < frame->iov_count; i++) {
		assert(at + frame->iov[i].iov_len <= frame->len_bytes);
		memcpy(whole + at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += (uint32_t)frame->iov[i].iov_len;
	}
	assert(at == frame->len_bytes);
	memcpy(dst, frame->head, head_bytes);
	memcpy(dst + head_bytes, whole + skip, at - skip);
	free(whole);
}

static void take_in(struct fake_port *fake, unsigned queue, const struct vireo_frame *frame)
{
	struct vireo_frame_offload offload;
	struct fake_frame *copy;
	bool moved = vireo_frame_offload_moved(frame, &offload);

	assert(moved);
	fake->room--;
	counter_add(&fake->out[queue].frames, 1);
	counter_add(&fake->out[queue].bytes, vireo_frame_bytes(frame));
	copy = frame_new(queue, vireo_frame_bytes(frame), &offload);
	copy_out(frame, copy->data);
	if (fake->keep)
		list_add(&fake->got, copy);
	else
		free(copy);
}

static int fake_deliver(void *opaque, unsigned queue, struct vireo_frame *const *frames, unsigned count)
{
	struct fake_port *fake = opaque;
	int gone = 0;

	pthread_mutex_lock(&fake->lock);
	assert(!fake->claimed[queue] || pthread_equal(fake->owner[queue], pthread_self()));
	fake->claimed[queue] = true;
	fake->owner[queue] = pthread_self();
	assert(!fake->stopped[queue]);
	fake->left[queue] = 0;
	fake->goes[queue] += fake->drips;
	for (unsigned i = 0; i < count; i++) {
		if (fake->waits[queue] && !fake->goes[queue]) {
			fake->left[queue] = count - i;
			break;
		}
		fake->goes[queue] -= fake->waits[queue];
		if (!fake->room) {
			counter_add(&fake->out[queue].no_buffer, 1);
			continue;
		}
		take_in(fake, queue, frames[i]);
		if (fake->slow_us)
			nanosleep(&(struct timespec){.tv_nsec = fake->slow_us * 1000l}, NULL);
		gone++;
	}
	pthread_mutex_unlock(&fake->lock);
	return gone;
}

static void fake_flush(void *opaque, unsigned queue)
{
	struct fake_port *fake = opaque;

	pthread_mutex_lock(&fake->lock);
	fake->flushes++;
	hold_signal(fake, true, queue);
	assert(!fake->stopped[queue]);
	assert(!fake->claimed[queue] || pthread_equal(fake->owner[queue], pthread_self()));
	fake->claimed[queue] = false;
	pthread_mutex_unlock(&fake->lock);
}

static unsigned fake_left(void *opaque, unsigned queue)
{
	struct fake_port *fake = opaque;
	unsigned left;

	pthread_mutex_lock(&fake->lock);
	left = fake->left[queue];
	fake->left[queue] = 0;
	pthread_mutex_unlock(&fake->lock);
	return left;
}

static bool fake_starves(void *opaque, unsigned queue)
{
	struct fake_port *fake = opaque;
	bool starves;

	pthread_mutex_lock(&fake->lock);
	starves = fake->starves;
	pthread_mutex_unlock(&fake->lock);
	return starves;
}

static bool fake_leaves(void *opaque, unsigned queue)
{
	const struct fake_port *fake = opaque;

	return fake->may_wait;
}

static unsigned fake_room(void *opaque, unsigned queue)
{
	struct fake_port *fake = opaque;
	uint64_t room;

	pthread_mutex_lock(&fake->lock);
	assert(!fake->stopped[queue]);
	room = fake->room;
	pthread_mutex_unlock(&fake->lock);
	return room < UINT32_MAX ? (unsigned)room : UINT32_MAX;
}

static bool fake_awaits(void *opaque, unsigned queue)
{
	struct fake_port *fake = opaque;
	bool awaits;

	pthread_mutex_lock(&fake->lock);
	assert(!fake->stopped[queue]);
	awaits = !fake->polls;
	pthread_mutex_unlock(&fake->lock);
	return awaits;
}

static int fake_kick_fd(void *opaque, unsigned queue)
{
	struct fake_port *fake = opaque;

	return fake->kick_fd[queue];
}

static bool fake_kick_enable(void *opaque, unsigned queue, bool on)
{
	struct fake_port *fake = opaque;
	bool there;

	pthread_mutex_lock(&fake->lock);
	if (on && fake->late) {
		list_add(&fake->sent[queue], fake->late);
		fake->late = NULL;
	}
	fake->kicks[queue] = on;
	there = on && fake->sent[queue].end != fake->sent[queue].first;
	pthread_mutex_unlock(&fake->lock);
	return there;
}

static void fake_stats(void *opaque, bool out, unsigned queue, struct sw_queue_stats *ret)
{
	struct fake_port *fake = opaque;

	sw_queue_stats_read(out ? &fake->out[queue] : &fake->in[queue], ret);
}

static bool fake_steer(void *opaque, struct vireo_frame *const *frames, unsigned count, uint8_t *ret_queues)
{
	struct fake_port *fake = opaque;
	bool steers;

	pthread_mutex_lock(&fake->lock);
	steers = fake->steers;
	pthread_mutex_unlock(&fake->lock);
	for (unsigned i = 0; steers && i < count; i++)
		ret_queues[i] = frames[i]->head[14];
	return steers;
}

const struct sw_port_ops fake_port_ops = {
	.receive = fake_receive,
	.release = fake_release,
	.deliver = fake_deliver,
	.left = fake_left,
	.starves = fake_starves,
	.leaves = fake_leaves,
	.flush = fake_flush,
	.signal_look = fake_signal_look,
	.kick_fd = fake_kick_fd,
	.kick_enable = fake_kick_enable,
	.room = fake_room,
	.awaits = fake_awaits,
	.steer = fake_steer,
	.stats = fake_stats,
};

void fake_port_slow(struct fake_port *fake, unsigned slow_us)
{
	pthread_mutex_lock(&fake->lock);
	fake->slow_us = slow_us;
	pthread_mutex_unlock(&fake->lock);
}

#define HEAP_STEP_BYTES (64 << 20)

/*
 * Frames are kept in memory that grows in the workers' hands. Each time it does, whoever wants more waits for the lock of the process's address space, and on a loaded machine
 * for one who has it and is off his CPU: a worker that stands for long is stood in for (relief.c), and frames for the port that it stands in are lost. So it grows seldom.
 */
static void heap_grow_seldom(void)
{
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 1); /* others grow by mprotect(2), a few pages at a time */
	mallopt(M_TOP_PAD, HEAP_STEP_BYTES);
#endif
}

struct fake_port *fake_port_new(bool with_kick_fds)
{
	struct fake_port *fake;

	heap_grow_seldom();
	fake = calloc(1, sizeof(*fake));
	assert(fake);
	pthread_mutex_init(&fake->lock, NULL);
	fake->keep = true;
	fake->room = UINT64_MAX;
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		fake->kick_fd[i] = -1;
		fake->kicks[i] = true;
		if (with_kick_fds)
			assert(!fd_event_new(&fake->kick_fd[i]));
	}
	return fake;
}

void fake_port_free(struct fake_port *fake)
{
	for (unsigned i = 0; i < FAKE_QUEUES; i++) {
		list_clear(&fake->sent[i]);
		fd_close(&fake->kick_fd[i]);
	}
	list_clear(&fake->got);
	pthread_mutex_destroy(&fake->lock);
	free(fake);
}

void fake_port_send(struct fake_port *fake, unsigned queue, const void *data, uint32_t bytes,
		    const struct vireo_frame_offload *offload)
{
	struct fake_frame *frame = frame_new(queue, bytes, offload);
	bool kick;

	memcpy(frame->data, data, bytes);
	pthread_mutex_lock(&fake->lock);
	list_add(&fake->sent[queue], frame);
	kick = fake->kicks[queue] && fake->kick_fd[queue] >= 0;
	pthread_mutex_unlock(&fake->lock);
	if (kick)
		fd_event_raise(fake->kick_fd[queue]);
}

void fake_port_send_late(struct fake_port *fake, const void *data, uint32_t bytes)
{
	struct fake_frame *frame = frame_new(0, bytes, NULL);

	memcpy(frame->data, data, bytes);
	pthread_mutex_lock(&fake->lock);
	fake->late = frame;
	pthread_mutex_unlock(&fake->lock);
}

unsigned fake_port_got(struct fake_port *fake)
{
	unsigned count;

	pthread_mutex_lock(&fake->lock);
	count = fake->got.end - fake->got.first;
	pthread_mutex_unlock(&fake->lock);
	return count;
}

bool fake_port_idle(struct fake_port *fake)
{
	bool idle = true;

	pthread_mutex_lock(&fake->lock);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		idle &= fake->sent[i].end == fake->sent[i].first;
	pthread_mutex_unlock(&fake->lock);
	return idle;
}

void fake_port_forget(struct fake_port *fake)
{
	pthread_mutex_lock(&fake->lock);
	list_drop(&fake->got, fake->got.end - fake->got.first);
	pthread_mutex_unlock(&fake->lock);
}

void fake_step(struct loop *loop)
{
	loop_dispatch(loop, 0);
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void fake_gone(void *count)
{
	++*(unsigned *)count;
}
