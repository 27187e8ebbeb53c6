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
 * An endpoint: where a device is offered to its peer. Which transport it is, the address says:
 *
 *	vhost-user:/run/vm1.sock		a UNIX socket; the path may be long, its
 *					last component at most about 88 bytes then
 *	vduse:NAME			a device of this kernel's own (Linux 5.15): /dev/vduse/NAME. NAME: 1 to 64
 *					letters, digits, '.', '_', '-'. Network devices only: a
 *					successor goes on from a place in each ring, so chains must have been
 *					completed in the order in which they came
 *
 * An endpoint owns no thread: poll its fd for reading, and call vireo_endpoint_dispatch() when it
 * is readable. All functions: the device's control thread.
 */
struct vireo_endpoint;
struct vireo_device;

/* VDUSE: which driver gets the device. */
enum vireo_attach {
	VIREO_ATTACH_NONE, /* somebody else puts it on the vdpa bus: vdpa dev add name NAME mgmtdev vduse */
	VIREO_ATTACH_VIRTIO, /* this kernel's own: a network interface */
	VIREO_ATTACH_VHOST, /* /dev/vhost-vdpa-N: a virtual machine's, or another program's */
};

struct vireo_endpoint_config {
	size_t size;
	bool client; /* vhost-user: connect, and keep reconnecting, instead of listening */
	/* vhost-user server: the socket's mode and owner; 0 mode: 0660; -1: left alone. */
	mode_t mode;
	bool set_owner; /* uid and gid hold */
	uid_t uid;
	gid_t gid;
	unsigned reconnect_min_ms; /* client: first and largest pause between tries; 0: 50 and 1000 */
	unsigned reconnect_max_ms;
	/* VDUSE. */
	unsigned attach; /* enum vireo_attach */
	unsigned queue_size; /* at most, a power of two; 0: 256 */
	/*
	 * Where a file `vduse-NAME` keeps what a successor needs to go on if this process is killed; NULL: /run/vireo. It
	 * is made if it is not there.
	 */
	const char *state_folder;
	/*
	 * Runs work(argument) once, soon, in any thread but the control thread: the call that attaches a device returns
	 * only when the driver has been answered. The library has no thread of its own. Needed with `attach`. 0, or a
	 * negative errno if there is no thread: the work is not done then, and the device not attached, or left behind.
	 *
	 * While it is under way the kernel may hold locks until the control thread has answered the driver: those of generic
	 * netlink and of its network interfaces (RTNL). The control thread makes no call that takes one of them meanwhile.
	 */
	int (*run_aside)(void *opaque, void (*work)(void *argument), void *argument);
	void *run_opaque;
};

/*
 * Offers `device` (borrowed, one endpoint at a time) at `address`. `config` may be NULL.
 * -EINVAL: address; -ENAMETOOLONG: its last component; -EADDRINUSE: somebody answers on that socket; or what
 * socket, bind, chown say. A client whose server is not there yet is no error: it goes on trying.
 *
 * VDUSE: -ENOENT: /dev/vduse/control is not there (modprobe vduse); -EACCES, -EPERM: no access to it, or a network
 * device without CAP_NET_ADMIN; -EPROTONOSUPPORT: no vdpa bus; -ENODEV: the driver to attach to is not loaded; -EBUSY:
 * another program serves NAME; -EEXIST: NAME is in use and was made otherwise (vdpa dev del NAME); -EADDRNOTAVAIL:
 * /dev/vduse/NAME has not appeared; -ELOOP: the file in state_folder is not one of this program's; -EOPNOTSUPP: a
 * device type that the kernel does not take, or that completes chains out of order. A device that a killed program left behind is taken over if it was made
 * with the same settings, and otherwise made anew. Its features are the device's less those that the kernel refuses: of
 * a network device all that need a control queue, and so all pairs of queues but the first.
 */
VIREO_API int vireo_endpoint_open(struct vireo_device *device, const char *address,
				  const struct vireo_endpoint_config *config,
				  struct vireo_endpoint **ret_endpoint);

/* To poll for reading (level-triggered). Owned by the endpoint. */
VIREO_API int vireo_endpoint_fd(const struct vireo_endpoint *endpoint);

/*
 * Handles what is there without blocking. 0, or a negative errno if the endpoint itself is lost; the fd is readable when
 * that is to be told.
 */
VIREO_API int vireo_endpoint_dispatch(struct vireo_endpoint *endpoint);

/* Is a peer attached? VDUSE: a driver. */
VIREO_API bool vireo_endpoint_connected(const struct vireo_endpoint *endpoint);

/*
 * Ends the session, quiesces all queues and takes the address down. `done` (may be NULL) is called, here
 * or later, when the endpoint is gone. Until then go on dispatching: taking a VDUSE device off the vdpa bus
 * makes its driver ask for things. (vhost-user awaits the queues' quiesce alone, and its fd need no longer be polled.)
 * Takes NULL.
 */
VIREO_API void vireo_endpoint_close(struct vireo_endpoint *endpoint, void (*done)(void *opaque), void *opaque);

#ifdef __cplusplus
}
#endif
#endif
