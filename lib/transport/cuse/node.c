/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/system.h"
#include "base/util.h"
#include "transport/cuse/cuse_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
/* after the above: */
#define FUSE_USE_VERSION 35
#include <cuse_lowlevel.h>
#include <fuse_lowlevel.h>

/*
 * The character device, by libfuse: the kernel hands the calls on the device to us through our open file of
 * /dev/cuse, and takes the answers, in any order and at any time, through the same. The file does not block;
 * a turn of the loop takes a bounded number of calls.
 *
 * libfuse's own set-up (cuse_lowlevel_setup()) installs signal handlers and makes a daemon of the program, so
 * it is not used: the session is made apart and given its file by name. The kernel's first request is there
 * when the file has been opened, and it makes the device while it takes the answer, so that the node is
 * there, or refused, when node_new() returns.
 */

#define REQUESTS_PER_TURN 64u

struct node {
	struct cuse_endpoint *endpoint;
	struct fuse_session *session;
	struct fuse_buf buf; /* libfuse allocates it, we free it */
	struct loop_watch *watch;
	bool busy; /* libfuse is on the stack: the session cannot be destroyed */
	bool doomed; /* as soon as it is not */
	bool ready; /* the kernel has had our answer to its first request */
	bool lost;
	uint64_t full_ns; /* when it was last said that it has been opened too often */
	_Alignas(uint64_t) uint8_t first[NODE_FIRST_BYTES_MAX]; /* the kernel's first request, of so many bytes: a successor is told it */
	size_t first_bytes;
};

/* ---- requests and answers ---- */

struct node_request {
	fuse_req_t fuse;
	void *arg; /* ioctl: an address in the caller */
	struct opener *opener; /* of what may be interrupted */
	struct request request; /* the last one: it has no fixed end */
};

static struct node_request *node_request_of(struct request *request)
{
	return container_of(request, struct node_request, request);
}

static void answer_done(struct request *request, const void *out, size_t out_bytes)
{
	fuse_req_t fuse = node_request_of(request)->fuse;

	switch (request->kind) {
	case REQUEST_IOCTL:
		fuse_reply_ioctl(fuse, 0, out, out_bytes);
		break;
	case REQUEST_READ:
		fuse_reply_buf(fuse, out, out_bytes);
		break;
	case REQUEST_WRITE:
		fuse_reply_write(fuse, request->in_bytes);
		break;
	case REQUEST_RELEASE:
		fuse_reply_err(fuse, 0);
		break;
	}
	free(node_request_of(request));
}

static void answer_error(struct request *request, int r)
{
	fuse_reply_err(node_request_of(request)->fuse, -r);
	free(node_request_of(request));
}

static void answer_retry(struct request *request, size_t in_bytes, size_t out_bytes)
{
	struct node_request *n = node_request_of(request);
	const struct iovec in = { n->arg, in_bytes }, out = { n->arg, out_bytes };

	fuse_reply_ioctl_retry(n->fuse, &in, in_bytes ? 1 : 0, &out, out_bytes ? 1 : 0);
	free(n);
}

static const struct request_answers answers = {
	.done = answer_done,
	.error = answer_error,
	.retry = answer_retry,
};

/* NULL: no memory, and the request is answered with that. */
static struct node_request *request_new(fuse_req_t fuse, enum request_kind kind, const void *in,
					size_t in_bytes)
{
	struct node_request *n = calloc(1, sizeof(*n) + in_bytes);

	if (!n) {
		fuse_reply_err(fuse, ENOMEM);
		return NULL;
	}
	n->fuse = fuse;
	n->request.answers = &answers;
	n->request.kind = kind;
	n->request.pid = fuse_req_ctx(fuse)->pid;
	n->request.in_bytes = in_bytes;
	if (in_bytes)
		memcpy(n->request.in, in, in_bytes);
	return n;
}

/*
 * The kernel knows an opener by its number, which stays the same in another process. It is there until its release has been answered. NULL: what
 * another process has handed over says nothing of it (handover.c); whoever has it open is told that there is no device, and closes it.
 */
static struct opener *opener_of(fuse_req_t fuse, const struct fuse_file_info *file)
{
	const struct node *node = fuse_req_userdata(fuse);

	return endpoint_opener(node->endpoint, file->fh);
}

/* ---- what the kernel asks ---- */

static void on_init_done(void *opaque)
{
	struct node *node = opaque;

	node->ready = true;
}

/* Of what whoever has the node may cause as often as it likes, a line in NODE_FULL_QUIET_S. */
static bool open_refusal_is_told(struct node *node, int r)
{
	uint64_t now = clock_now_ns();

	if (r != -EMFILE && r != -EOVERFLOW)
		return true;
	if (node->full_ns && now - node->full_ns < NODE_FULL_QUIET_S * UINT64_C(1000000000))
		return false;
	node->full_ns = now;
	return true;
}

_Static_assert(ENDPOINT_OPENERS_MAX == 1024, "as the line below says");

static const char *open_refusal(int r)
{
	switch (r) {
	case -EPERM:
		return "it lives in another pid namespace, so its memory and fds cannot be found: run in its namespace, or in one above it";
	case -EMFILE:
		return "the node is open as often as it can be (1024 times): have somebody close it (fuser shows who has it)";
	case -EOVERFLOW:
		return "the node has been opened as often as it can be: make it anew";
	default:
		return system_errno_text(-r);
	}
}

static void on_open(fuse_req_t fuse, struct fuse_file_info *file)
{
	struct node *node = fuse_req_userdata(fuse);
	const struct cuse_endpoint *endpoint = node->endpoint;
	pid_t pid = fuse_req_ctx(fuse)->pid;
	struct opener *opener;
	int r = pid ? endpoint_opener_new(node->endpoint, &opener) : -EPERM;

	if (r) {
		if (open_refusal_is_told(node, r))
			log_error(endpoint_log(endpoint), "%s: open by thread %d refused: %s", endpoint->name, (int)pid, open_refusal(r));
		fuse_reply_err(fuse, -r);
		return;
	}
	log_info(endpoint_log(endpoint), "%s: opener %u: opened by thread %d", endpoint->name, opener->number,
		 (int)pid);
	file->fh = opener->number;
	if (fuse_reply_open(fuse, file) == -ENOENT) /* interrupted: nobody will close it */
		opener_end(opener);
}

static void on_release(fuse_req_t fuse, struct fuse_file_info *file)
{
	struct opener *opener = opener_of(fuse, file);
	struct node_request *n;

	if (!opener) {
		fuse_reply_err(fuse, 0);
		return;
	}
	n = request_new(fuse, REQUEST_RELEASE, NULL, 0);
	if (n)
		opener_request(opener, &n->request);
	else
		opener_end(opener);
}

/* libfuse asks only about requests that have not been answered. */
static void on_interrupt(fuse_req_t fuse, void *opaque)
{
	struct node_request *n = opaque;

	opener_interrupt(n->opener, &n->request);
}

/* False: it is nobody's, is answered with that, and is gone. */
static bool request_interruptible(struct node_request *n, const struct fuse_file_info *file)
{
	n->opener = opener_of(n->fuse, file);
	if (!n->opener) {
		answer_error(&n->request, -ENODEV);
		return false;
	}
	fuse_req_interrupt_func(n->fuse, on_interrupt, n);
	return true;
}

static void on_ioctl(fuse_req_t fuse, int command, void *arg, struct fuse_file_info *file, unsigned flags,
		     const void *in, size_t in_bytes, size_t out_bytes)
{
	struct node_request *n = request_new(fuse, REQUEST_IOCTL, in, in_bytes);

	if (!n)
		return;
	n->arg = arg;
	n->request.command = (uint32_t)command;
	n->request.room_bytes = out_bytes;
	if (request_interruptible(n, file))
		opener_request(n->opener, &n->request);
}

static void poll_wake(void *handle)
{
	fuse_lowlevel_notify_poll(handle);
}

static void poll_free(void *handle)
{
	fuse_pollhandle_destroy(handle);
}

static const struct poll_ops poll_ops = { poll_wake, poll_free };

/* One handle for all who poll this open file: a single wake wakes them. */
static void on_poll(fuse_req_t fuse, struct fuse_file_info *file, struct fuse_pollhandle *handle)
{
	struct opener *opener = opener_of(fuse, file);

	if (!opener) {
		if (handle)
			poll_free(handle);
		fuse_reply_err(fuse, ENODEV);
		return;
	}
	if (handle) {
		if (opener->poll_handle)
			poll_free(opener->poll_handle);
		opener->poll_handle = handle;
		opener->poll_ops = &poll_ops;
	}
	fuse_reply_poll(fuse, messages_readable(opener) ? POLLIN | POLLRDNORM : 0);
}

static void on_read(fuse_req_t fuse, size_t bytes, off_t offset, struct fuse_file_info *file)
{
	struct node_request *n = request_new(fuse, REQUEST_READ, NULL, 0);

	if (!n)
		return;
	n->request.room_bytes = bytes;
	n->request.nonblocking = file->flags & O_NONBLOCK;
	if (!request_interruptible(n, file))
		return;
	if (fuse_req_interrupted(fuse)) /* before: there will be no other call */
		answer_error(&n->request, -EINTR);
	else
		opener_request(n->opener, &n->request);
}

static void on_write(fuse_req_t fuse, const char *data, size_t bytes, off_t offset,
		     struct fuse_file_info *file)
{
	struct node_request *n = request_new(fuse, REQUEST_WRITE, data, bytes);

	if (!n)
		return;
	if (request_interruptible(n, file))
		opener_request(n->opener, &n->request);
}

static const struct cuse_lowlevel_ops node_ops = {
	.init_done = on_init_done,
	.open = on_open,
	.release = on_release,
	.ioctl = on_ioctl,
	.read = on_read,
	.write = on_write,
	.poll = on_poll,
};

/* ---- turns ---- */

static void node_destroy(struct node *node)
{
	if (node->session)
		fuse_session_destroy(node->session); /* closes its file: the kernel takes the device down */
	free(node->buf.mem);
	free(node);
}

/* 1: it is in the buffer; 0: none is there; or a negative errno. */
static int node_receive(struct node *node)
{
	int r = fuse_session_receive_buf(node->session, &node->buf);

	if (r == -EAGAIN || r == -EINTR)
		return 0;
	if (r <= 0)
		return r ? r : -ENODEV;
	return 1;
}

/* One request. 1: handled; or as above. */
static int node_take(struct node *node)
{
	int r = node_receive(node);

	if (r > 0)
		fuse_session_process_buf(node->session, &node->buf);
	return r;
}

static void node_readable(void *opaque, uint32_t events)
{
	struct node *node = opaque;
	int r = 1;

	if (node->lost) /* as the next dispatch of the endpoint will say */
		return;
	node->busy = true;
	for (unsigned i = 0; r > 0 && node->watch && i < REQUESTS_PER_TURN; i++)
		r = node_take(node);
	node->busy = false;
	if (node->doomed) {
		node_destroy(node);
	} else if (r < 0) {
		node->lost = true;
		endpoint_node_lost(node->endpoint, r);
	}
}

/* ---- the node ---- */

/* Takes the fd over, if it says 0. */
static int session_new(struct node *node, int fd)
{
	char program[] = "vireo", *arguments[] = { program, NULL }, name[128], path[32];
	const char *info[] = { name };
	struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
	const struct cuse_info cuse = {
		.dev_info_argc = 1, /* major and minor 0: the kernel chooses */
		.dev_info_argv = info,
		.flags = CUSE_UNRESTRICTED_IOCTL,
	};

	snprintf(name, sizeof(name), "DEVNAME=%s", node->endpoint->name);
	node->session = cuse_lowlevel_new(&args, &cuse, &node_ops, node);
	fuse_opt_free_args(&args);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	if (node->session && !fuse_session_mount(node->session, path))
		return 0; /* the file is the session's now */
	return -ENOMEM;
}

static int session_open(struct node *node, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK), r;

	if (fd < 0)
		return -errno;
	r = session_new(node, fd);
	if (r)
		fd_close(&fd);
	return r;
}

/* ---- the kernel's first request ---- */

static void first_answer(struct node *node)
{
	struct fuse_buf buf = { .mem = node->first, .size = node->first_bytes };

	fuse_session_process_buf(node->session, &buf);
}

/* The kernel's first request, and what became of our answer. */
static int session_begin(struct node *node)
{
	struct pollfd poll_fd = { .fd = fuse_session_fd(node->session), .events = POLLIN };
	int r = poll(&poll_fd, 1, 0); /* the kernel has put it there in open(2) */

	if (r < 0)
		return -errno;
	if (!r)
		return -ETIMEDOUT;
	r = node_receive(node);
	if (r <= 0)
		return r ? r : -ETIMEDOUT;
	if (node->buf.size > sizeof(node->first))
		return -EPROTO;
	node->first_bytes = node->buf.size;
	memcpy(node->first, node->buf.mem, node->first_bytes);
	first_answer(node);
	poll_fd.events = 0;
	if (!node->ready || (poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLERR)))
		return -EADDRINUSE; /* the one reason that is not memory */
	return 0;
}

/*
 * Callers are numbered as our pid namespace has it. A /proc of another one, which containers may have, would
 * show other processes by these numbers, whose memory is none of the callers' business.
 */
static bool proc_is_ours(void)
{
	char link[16];
	ssize_t bytes = readlink("/proc/self", link, sizeof(link) - 1);

	link[bytes > 0 ? bytes : 0] = '\0';
	return atoi(link) == getpid();
}

int node_new(struct cuse_endpoint *endpoint, struct node **ret_node)
{
	struct node *node;
	int r;

	if (!proc_is_ours())
		return -ESRCH;
	if (place_taken(endpoint->name))
		return -EADDRINUSE;
	node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	node->endpoint = endpoint;
	r = session_open(node, "/dev/cuse");
	if (!r)
		r = session_begin(node);
	if (!r)
		r = place_own(endpoint);
	if (!r)
		r = loop_add(endpoint->loop, fuse_session_fd(node->session), EPOLLIN, node_readable, node,
			     &node->watch);
	if (r) {
		node_destroy(node);
		return r;
	}
	log_info(endpoint_log(endpoint), "%s: /dev/%s is there", endpoint->name, endpoint->name);
	*ret_node = node;
	return 0;
}

/* What another process says that the kernel has said. */
static bool first_valid(const void *data, size_t bytes)
{
	struct fuse_in_header header;

	if (bytes < sizeof(header) + sizeof(struct cuse_init_in) || bytes > NODE_FIRST_BYTES_MAX)
		return false;
	memcpy(&header, data, sizeof(header));
	return header.len == bytes && header.opcode == CUSE_INIT;
}

/*
 * The session is told once more what the kernel has said first, and answers it to nobody: to /dev/null, in whose place the node's file
 * comes then.
 */
int node_new_handed(struct cuse_endpoint *endpoint, int fd, const void *first, size_t first_bytes, struct node **ret_node)
{
	struct node *node = proc_is_ours() && first_valid(first, first_bytes) ? calloc(1, sizeof(*node)) : NULL;
	int r = node ? 0 : -EINVAL;

	if (!r) {
		node->endpoint = endpoint;
		node->first_bytes = first_bytes;
		memcpy(node->first, first, first_bytes);
		r = session_open(node, "/dev/null");
	}
	if (!r) {
		first_answer(node);
		r = node->ready ? 0 : -EINVAL;
	}
	if (!r && dup3(fd, fuse_session_fd(node->session), O_CLOEXEC) < 0)
		r = -errno;
	fd_close(&fd);
	if (!r)
		r = loop_add(endpoint->loop, fuse_session_fd(node->session), 0, node_readable, node, &node->watch);
	if (!r)
		*ret_node = node;
	else if (node)
		node_destroy(node);
	return r;
}

int node_fd(const struct node *node)
{
	return node ? fuse_session_fd(node->session) : -1;
}

const void *node_first(const struct node *node, size_t *ret_bytes)
{
	*ret_bytes = node->first_bytes;
	return node->first;
}

void node_pause(struct node *node, bool on)
{
	if (node && node->watch)
		loop_change(node->watch, on ? 0 : EPOLLIN);
}

void node_mute(struct node *node)
{
	if (node)
		loop_remove(&node->watch);
}

bool node_lost(const struct node *node)
{
	return node && node->lost;
}

void node_free(struct node *node)
{
	if (!node)
		return;
	loop_remove(&node->watch);
	node->doomed = node->busy;
	if (!node->busy)
		node_destroy(node);
}
