/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_ENDPOINT_H
#define VIREO_ENDPOINT_H

#include "base.h"
#include <stdbool.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * An endpoint offers a device to a peer. Its address names the transport:
 *
 *	vhost-user:/run/vm1.sock		a UNIX socket; the path may be long, its
 *					last component at most about 88 bytes then
 *	vhost-user:fd:N			an open UNIX stream socket of this process, such as a service manager
 *					hands over. One that listens: as with a path, which is not removed at
 *					the end. One that is connected: its peer is served until it
 *					disconnects; vireo_endpoint_dispatch() returns -ENOTCONN then. A path that begins
 *					so is written ./fd:N
 *	vduse:NAME			a device of this kernel's own (Linux 5.15): /dev/vduse/NAME; needs a library
 *					that was built with libmnl. NAME: 1 to 64
 *					letters, digits, '.', '_', '-'. The kernel accepts network and block
 *					devices, and refuses others (-EOPNOTSUPP)
 *	cuse:vhost0			a character device, /dev/vhost0, that speaks the VHOST_* ioctls of
 *					linux/vhost.h as /dev/vhost-net does, or, with cuse.target, as /dev/vhost-scsi
 *					does; needs root, the kernel's module
 *					cuse, and a library that was built with libfuse3 (which may write to stderr
 *					by itself: fuse_set_log_func() is the program's to call)
 *
 * An endpoint owns no thread: poll its fd for reading, and call vireo_endpoint_dispatch() when it is readable. The device's
 * control thread calls all functions.
 */
struct vireo_endpoint;
struct vireo_device;

/* VDUSE: the driver to which the device is attached. */
enum vireo_attach {
	VIREO_ATTACH_NONE, /* somebody else puts it on the vdpa bus: vdpa dev add name NAME mgmtdev vduse */
	VIREO_ATTACH_VIRTIO, /* this kernel's own: a network interface */
	VIREO_ATTACH_VHOST, /* /dev/vhost-vdpa-N: a virtual machine's, or another program's */
};

/* The files in which guest memory may lie. */
enum vireo_files {
	VIREO_FILES_MEMORY, /* memfd, tmpfs (/dev/shm), hugetlbfs, ramfs: files whose pages never have to be fetched */
	VIREO_FILES_ANY, /* those on the file system of a disk, too; never ones that another program serves (FUSE, NFS, ...) */
};

/* The process that has opened a CUSE node. */
struct vireo_endpoint_opener {
	size_t size;
	unsigned number; /* counts the opens of this node, from 1 on */
	pid_t process; /* in our own pid namespace: the one that owns the device, or is about to (VHOST_SET_OWNER) */
	/* Another process has handed the opener over, whose cuse.device_number said this of its device: hand out the same one. 0: any. */
	unsigned device;
};

/* The peer at the other end of a vhost-user socket. */
struct vireo_endpoint_peer {
	size_t size;
	pid_t process; /* that connected, or listens; 0: not known, or in another pid namespace */
	bool started;  /* some queue has run in this session */
};

/* The file that peers open, a socket's or a node's. */
struct vireo_endpoint_access {
	mode_t mode;	/* 0: see where it is used */
	bool set_owner; /* uid and gid hold; (uid_t)-1 or (gid_t)-1: that one is left as it is */
	uid_t uid;
	gid_t gid;
};

/*
 * Each transport has its own part of the config below. A part ends in reserved words, which must be 0: later versions put fields
 * there, so that no part moves.
 */
struct vireo_vhost_user_config {
	bool client; /* connect, and keep reconnecting, instead of listening */
	struct vireo_endpoint_access access; /* server: the socket's; mode 0: 0660 */
	unsigned reconnect_min_ms; /* client: first and largest pause between tries; 0: 50 and 1000 */
	unsigned reconnect_max_ms;
	/*
	 * Server: a peer that for so long has said nothing at all, or not the rest of a message, or has not read its
	 * reply, is hung up on when another one waits for the socket. 0: 10000. One that has negotiated, and whose queues
	 * do not run, stays: a machine may be in its firmware for as long as it likes.
	 */
	unsigned hello_ms;
	/*
	 * Offer postcopy live migration (VHOST_USER_PROTOCOL_F_PAGEFAULT): a machine starts here before its memory has come. The library
	 * sends the peer a userfaultfd of this process for that, and by that fd the peer has power over all of the process's memory:
	 * set it for peers that you trust as you trust the program itself. It needs run_aside or close_aside (-EINVAL without), since
	 * rings are then read in such a thread; see ops->postcopy in device.h. Dispatch an endpoint that you close until `done`.
	 */
	uint64_t postcopy; /* 0 or 1 */
	/*
	 * Offer notifications as messages in the place of eventfds (VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS), for machines in simulated
	 * time. They are slower, and some front ends use them wherever they are offered. It needs run_aside or close_aside (-EINVAL
	 * without): such a thread reads the peer's answers.
	 */
	uint64_t inband; /* 0 or 1 */
	/*
	 * Keep open what a successor needs (the files of guest memory), so that vireo_endpoint_hold() can be called. That is one fd more
	 * for each region.
	 */
	uint64_t handover; /* 0 or 1 */
	uint64_t reserved[5];
};

struct vireo_vduse_config {
	unsigned attach; /* enum vireo_attach; needs run_aside */
	unsigned queue_size; /* at most, a power of two; 0: 256 */
	/*
	 * Where a file `vduse-NAME` keeps what a successor needs to go on if this process is killed; NULL: /run/vireo. It
	 * is made if it is not there.
	 */
	const char *state_folder;
	uint64_t reserved[8];
};

/*
 * Each open of a CUSE node is a vhost device by itself. An endpoint that was opened with a device serves one
 * opener at a time with it, and refuses others (EBUSY). One that was opened without a device (NULL) calls
 * device_new for each, with the first ioctl that needs a device: it hands one out that is on no endpoint, or
 * a negative errno, which the ioctl gets. device_gone (may be NULL): the device is not used by the endpoint
 * any more; it may free it, but not a device whose op is being called.
 * A node is open 1024 times at most: a further open gets EMFILE, until somebody has closed it.
 * An opener may change processes between its first ioctl and VHOST_SET_OWNER: device_gone, device_new again.
 */
struct vireo_cuse_config {
	struct vireo_endpoint_access access; /* the node's; mode 0: as it is */
	int (*device_new)(void *opaque, const struct vireo_endpoint_opener *opener, struct vireo_device **ret_device);
	void (*device_gone)(void *opaque, struct vireo_device *device);
	void *device_opaque;
	/*
	 * A device like those that device_new hands out, or one of them (borrowed). An opener that only asks what there is
	 * (VHOST_GET_FEATURES) is answered with this one's features, and device_new is not called for it. NULL: device_new is called.
	 */
	const struct vireo_device *device_like;
	/*
	 * The name of the SCSI target that the node is, as its caller says it: QEMU's wwpn=. Copied; 1 to 223 bytes. All rings begin with
	 * VHOST_SCSI_SET_ENDPOINT, which has to name it, and end with VHOST_SCSI_CLEAR_ENDPOINT. NULL: each ring begins and ends by
	 * itself, with VHOST_NET_SET_BACKEND, whatever sort of device it is.
	 */
	const char *target;
	/*
	 * Keep open what a successor needs (the files of guest memory), so that vireo_endpoint_hold() can be called; not for a target. That is
	 * one fd more for each region.
	 */
	uint64_t handover; /* 0 or 1 */
	/*
	 * Which one of its devices that is, from 1 on, or 0: with vireo_endpoint_export() a successor is told it, whose device_new is called
	 * with it. For who tells his devices apart. NULL: a successor is told nothing.
	 */
	unsigned (*device_number)(void *opaque, const struct vireo_device *device);
	uint64_t reserved[5];
};

/* What an endpoint has that another process is to go on with. */
struct vireo_endpoint_state {
	size_t size;
	const void *data;
	size_t bytes;
	const int *fds; /* belong to `data`, in this order */
	unsigned fd_count;
};

struct vireo_endpoint_config {
	size_t size;
	struct vireo_log log; /* without a device: what concerns the endpoint itself */
	/*
	 * enum vireo_files; 0: memory alone. The library refuses a peer whose memory lies in other files, with a line of log that says
	 * what to do. With VIREO_FILES_ANY a thread that touches a page that is not there waits for the disk (the control thread
	 * reads rings when they start), and the peer chooses which pages are there: serve the device by a worker of its own.
	 */
	unsigned files;
	/*
	 * Runs work(argument) once, soon, in any thread but the control thread: the call that attaches a VDUSE device returns
	 * only when the driver has been answered. The library has no thread of its own. Needed with vduse.attach. 0, or a
	 * negative errno if there is no thread: the work is not done then, and the device not attached, or left behind.
	 *
	 * While it is under way the kernel may hold locks until the control thread has answered the driver: those of generic
	 * netlink and of its network interfaces (RTNL). Make no system call in the control thread that needs one of them meanwhile.
	 *
	 * vhost-user, CUSE: see close_aside.
	 */
	int (*run_aside)(void *opaque, void (*work)(void *argument), void *argument);
	/*
	 * Runs work(argument) once, soon, in any thread but the control thread, even if it never returns. `work` closes and unmaps
	 * what a peer has handed over (fds, sockets on which fds are in flight, memory); the peer may make that call wait. Let no
	 * other thread wait for it. At most two calls are under way for an endpoint; they may outlive it. Return 0, or a negative
	 * errno if there is no thread: the control thread does the work then. NULL: run_aside does it, but not for VDUSE. With
	 * neither, the control thread does.
	 */
	int (*close_aside)(void *opaque, void (*work)(void *argument), void *argument);
	void *run_opaque; /* for both */
	/* What one transport has of its own; the library ignores the parts of the others. */
	struct vireo_vhost_user_config vhost_user;
	struct vireo_vduse_config vduse;
	struct vireo_cuse_config cuse;
	/*
	 * vhost-user, CUSE: what vireo_endpoint_export() has said of an endpoint at the same address, with a device of the same kind (borrowed
	 * during the call; the fds stay the caller's). Nothing is bound and nobody connected to: the endpoint begins held, and
	 * nothing happens before vireo_endpoint_go_on(). The bytes are checked as what a peer says is. -EINVAL, with a line of log: they
	 * are cut short, foreign, of another version, or say what cannot be; -EOPNOTSUPP: not this transport.
	 */
	const struct vireo_endpoint_state *state;
};

/*
 * Offers `device` (borrowed, one endpoint at a time; NULL: see struct vireo_cuse_config) at `address`. `config` may be NULL.
 * -EINVAL: the address is not valid, there is no device, or a reserved word is not 0; -ENAMETOOLONG: the address's last component;
 * -EADDRINUSE: another process answers on that socket, or there is a device of this name: choose another address, or end that
 * process; -EEXIST: something else than a socket lies at the path, remove it; -EACCES: this user may not read and write the
 * folder; -EBUSY: another process has held a lock (flock(2)) on the folder for a second, try again; -EOPNOTSUPP: the library was
 * built without this transport; or the errno of socket(2), bind(2) or chown(2). A client whose server is not there yet is no error:
 * it goes on trying.
 *
 * vhost-user:fd:N: on success the fd is the endpoint's, which makes it non-blocking and close-on-exec and closes it in the
 * end; on failure it stays the caller's, as it was. -EBADF: no such fd; -ENOTSOCK; -EPROTONOSUPPORT: no UNIX stream socket;
 * -ENOTCONN: it neither listens nor is connected; -EINVAL: no number, or vhost_user.client or .access is set: the socket
 * itself says whether it listens, and has a mode and an owner.
 *
 * CUSE: -EINVAL: the name of the target is empty or too long; -ENOENT, -ENODEV, -ENXIO: /dev/cuse is not there (modprobe cuse); -EACCES, -EPERM: no access to it; -ESRCH: /proc is
 * not mounted, or of another pid namespace; -ETIMEDOUT: the kernel has not asked for the device.
 *
 * VDUSE: -ENOENT: /dev/vduse/control is not there (modprobe vduse); -EACCES, -EPERM: no access to it, or a network
 * device without CAP_NET_ADMIN; -EPROTONOSUPPORT: there is no vdpa bus (modprobe vdpa); -ENONET: the vdpa bus belongs to the first
 * network namespace, and this process is in another one; -ENODEV: the driver to attach to is not loaded (modprobe virtio_vdpa or
 * vhost_vdpa); -EBUSY: another program serves NAME; -EEXIST: NAME is in use and was made otherwise (vdpa dev del NAME);
 * -EADDRNOTAVAIL: /dev/vduse/NAME has not appeared; -ELOOP: the file in state_folder is not one of this program's, remove it;
 * -EOPNOTSUPP: the kernel refuses this device type. If a killed program left a device of this name behind, the library takes it
 * over when it was made with the same settings, and otherwise makes it anew. Its features are the device's less those that the
 * kernel refuses: of a network device all that need a control queue, and so all pairs of queues but
 * the first; of a block device the switch of its write cache.
 */
VIREO_API int vireo_endpoint_open(struct vireo_device *device, const char *address,
				  const struct vireo_endpoint_config *config,
				  struct vireo_endpoint **ret_endpoint);

/* Returns the fd to poll for reading (level-triggered). The endpoint owns it. */
VIREO_API int vireo_endpoint_fd(const struct vireo_endpoint *endpoint);

/*
 * Handles the peer's messages that are there, without blocking. Returns 0, or a negative errno: the endpoint cannot be used any more,
 * close it (-ENOTCONN: the peer of a connected fd:N has disconnected; others: the socket or the device node has failed). The fd is
 * readable when there is something to handle or such an error to return.
 */
VIREO_API int vireo_endpoint_dispatch(struct vireo_endpoint *endpoint);

/* Returns whether a peer is connected (VDUSE: whether a driver is attached). */
VIREO_API bool vireo_endpoint_connected(const struct vireo_endpoint *endpoint);

/*
 * Fills in who the peer is. The caller sets ret_peer->size to sizeof(*ret_peer); afterwards it is the number of bytes filled in.
 * Returns false and leaves *ret_peer alone if no peer is connected, or if the transport cannot tell.
 */
VIREO_API bool vireo_endpoint_peer(const struct vireo_endpoint *endpoint, struct vireo_endpoint_peer *ret_peer);

/*
 * As vhost_user.hello_ms of the config (0: the default) from now on, for a peer that is there already, too: one that has owed something for
 * longer is hung up on by the next vireo_endpoint_dispatch() if somebody waits. Returns 0; -EOPNOTSUPP: the endpoint listens at no
 * vhost-user socket, and nothing has changed. Control thread.
 */
VIREO_API int vireo_endpoint_hello_set(struct vireo_endpoint *endpoint, unsigned hello_ms);

/*
 * Hand-over to another process, which is to go on without the peer's notice (vhost-user and CUSE, with their .handover):
 *
 *	vireo_endpoint_hold()	all queues are quiesced, and the peer's messages left unread
 *	vireo_endpoint_export()	what another process needs, for it to open the endpoint with config.state
 *	vireo_endpoint_go_on()	in one of the two processes. In the other one vireo_endpoint_close(), or the end of the process:
 *				as long as an endpoint is held, neither touches the connection or the path
 *
 * hold: held(opaque, 0) is called when it stands still, in this call or later; or held(opaque, errno): it does not, and goes
 * on: -EBUSY: the session's machine is migrating, its driver is behind an IOMMU, its notifications are messages, or too many files
 * are open, as a line of log says; CUSE: also that its caller has ended, and another process has its file open. A peer that has said half a message, or has not read a reply, is disconnected after 20 ms.
 * Where it is closed meanwhile, held(opaque, -ECANCELED) is called in that call. Returns 0; or a negative errno, and calls nobody:
 * -EOPNOTSUPP: this transport cannot, or its .handover is not set; -EBUSY: it is held, closed or lost already.
 *
 * export: ret_state->size is the caller's; what the other fields point to is the endpoint's, until the next export, go_on or close.
 * -EBUSY: it is not held; -ENOMEM; -E2BIG.
 *
 * go_on: 0, or -EBUSY: it is not held.
 */
VIREO_API int vireo_endpoint_hold(struct vireo_endpoint *endpoint, void (*held)(void *opaque, int err), void *opaque);
VIREO_API int vireo_endpoint_export(struct vireo_endpoint *endpoint, struct vireo_endpoint_state *ret_state);
VIREO_API int vireo_endpoint_go_on(struct vireo_endpoint *endpoint);

/*
 * Ends the session, quiesces all queues and removes the address. `done` (may be NULL) is called when the endpoint has been freed, in
 * this call or later. Go on dispatching until then: when the kernel removes a VDUSE device from the vdpa bus, its driver sends
 * requests. (A vhost-user endpoint without postcopy waits for its queues only, and its fd need not be polled any more.) Does
 * nothing for NULL.
 */
VIREO_API void vireo_endpoint_close(struct vireo_endpoint *endpoint, void (*done)(void *opaque), void *opaque);

#ifdef __cplusplus
}
#endif
#endif
