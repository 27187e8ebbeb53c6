/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include "wire/vdpa.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The vdpa bus. A device is put on it, and taken off, by generic netlink, as vdpa(8) does it: DEV_NEW with the
 * name of the management device, which is vduse, and of the device. A driver takes it at once: of those that are loaded
 * the one that was first, unless it is told otherwise in sysfs, by driver_override, and bound anew.
 *
 * Generic netlink has one lock for all of it, which is held while a driver takes a device, and so while the driver waits
 * for our answers. Nothing here but the check is called in the thread that gives them.
 */

#define MGMT_NAME "vduse"
#define SYSFS "/sys/bus/vdpa"
#define PATH_BYTES 160u
#define VHOST_PREFIX "vhost-vdpa-"

/* ---- netlink ---- */

struct family {
	struct mnl_socket *socket;
	uint16_t id;
};

static struct nlmsghdr *message_new(void *bytes, uint16_t family, uint8_t command, uint8_t version)
{
	struct nlmsghdr *nl = mnl_nlmsg_put_header(bytes);
	struct genlmsghdr *gen = mnl_nlmsg_put_extra_header(nl, sizeof(*gen));

	nl->nlmsg_type = family;
	nl->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	gen->cmd = command;
	gen->version = version;
	return nl;
}

/* Sends, and hands what is answered to `reply` (may be NULL) until it is acknowledged: 0, or the errno that came instead. */
static int converse(struct mnl_socket *socket, const struct nlmsghdr *nl, mnl_cb_t reply, void *opaque)
{
	_Alignas(struct nlmsghdr) uint8_t bytes[8192];
	int r = MNL_CB_OK;

	if (mnl_socket_sendto(socket, nl, nl->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(socket, bytes, sizeof(bytes));

		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? MNL_CB_ERROR
			  : mnl_cb_run(bytes, (size_t)n, 0, mnl_socket_get_portid(socket), reply, opaque);
	}
	return r < 0 ? -errno : 0;
}

static int family_take(const struct nlmsghdr *nl, void *opaque)
{
	struct family *family = opaque;
	struct nlattr *attribute; /* not const: the macro casts */

	mnl_attr_for_each(attribute, nl, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID &&
		    mnl_attr_validate(attribute, MNL_TYPE_U16) >= 0)
			family->id = mnl_attr_get_u16(attribute);
	return MNL_CB_OK;
}

/* -EPROTONOSUPPORT: the kernel has no vdpa bus. */
static int family_find(struct family *family)
{
	_Alignas(struct nlmsghdr) uint8_t bytes[512];
	struct nlmsghdr *nl = message_new(bytes, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	int r = mnl_socket_bind(family->socket, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;

	mnl_attr_put_strz(nl, CTRL_ATTR_FAMILY_NAME, VDPA_WIRE_FAMILY);
	if (!r)
		r = converse(family->socket, nl, family_take, family);
	return r && r != -ENOENT ? r : family->id ? 0 : -EPROTONOSUPPORT;
}

static int netlink_call(uint8_t command, const char *name)
{
	struct family family = { .socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC) };
	_Alignas(struct nlmsghdr) uint8_t bytes[512];
	struct nlmsghdr *nl;
	int r;

	if (!family.socket)
		return -errno;
	r = family_find(&family);
	nl = message_new(bytes, family.id, command, VDPA_WIRE_VERSION);
	if (command == VDPA_WIRE_DEV_NEW)
		mnl_attr_put_strz(nl, VDPA_WIRE_ATTR_MGMT_NAME, MGMT_NAME);
	mnl_attr_put_strz(nl, VDPA_WIRE_ATTR_DEV_NAME, name);
	if (!r)
		r = converse(family.socket, nl, NULL, NULL);
	mnl_socket_close(family.socket);
	return r;
}

/* ---- sysfs ---- */

/* The character device that vhost_vdpa has made for it: 0, and its path; -ENOENT. */
static int vhost_path(const char *name, char path[PATH_BYTES])
{
	const struct dirent *entry;
	int r = -ENOENT;
	DIR *folder;

	snprintf(path, PATH_BYTES, SYSFS "/devices/%s", name);
	folder = opendir(path);
	while (folder && r && (entry = readdir(folder))) {
		if (strncmp(entry->d_name, VHOST_PREFIX, strlen(VHOST_PREFIX)) != 0)
			continue;
		snprintf(path, PATH_BYTES, "/dev/%.64s", entry->d_name);
		r = 0;
	}
	if (folder)
		closedir(folder);
	return r;
}

/*
 * -EBUSY: a program has the character device open, or it cannot be known. vhost_vdpa lets go of the device when that
 * program has closed it and not before: whoever takes it away sleeps until then, cannot be killed, and holds the lock of
 * all generic netlink. The character device takes one opener, so opening it is the question. It must not stay open
 * meanwhile, so somebody may come in between; the answer is right for all who were there.
 */
static int vhost_check(const char *name)
{
	char path[PATH_BYTES];
	int fd;

	if (vhost_path(name, path))
		return 0;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -EBUSY;
	fd_close(&fd);
	return 0;
}

static int sysfs_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	fd_close(&fd);
	return r;
}

enum bound { BOUND_NOT, BOUND_OTHERWISE, BOUND_RIGHT };

static enum bound driver_bound(const char *name, const char *driver)
{
	char path[PATH_BYTES], target[PATH_BYTES];
	const char *slash;
	ssize_t n;

	snprintf(path, sizeof(path), SYSFS "/devices/%s/driver", name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return BOUND_NOT;
	target[n] = '\0';
	slash = strrchr(target, '/');
	return strcmp(slash ? slash + 1 : target, driver) ? BOUND_OTHERWISE : BOUND_RIGHT;
}

static int driver_bind(const char *name, const char *driver, bool anew)
{
	enum bound bound = driver_bound(name, driver);
	char path[PATH_BYTES];
	int r;

	snprintf(path, sizeof(path), SYSFS "/devices/%s/driver_override", name);
	r = sysfs_write(path, driver);
	if (r && r != -ENOENT) /* kernels before 5.17 have none; bind then says whether it may */
		return r;
	if (bound == BOUND_RIGHT && !anew)
		return 0;
	if (bound != BOUND_NOT) {
		r = vhost_check(name);
		snprintf(path, sizeof(path), SYSFS "/devices/%s/driver/unbind", name);
		if (!r)
			r = sysfs_write(path, name);
		if (r)
			return r;
	}
	snprintf(path, sizeof(path), SYSFS "/drivers/%s/bind", driver);
	return sysfs_write(path, name);
}

/* ---- what attach.c calls ---- */

/*
 * The kernel's generic netlink family of the vdpa bus is there in the first network namespace alone. Which one is ours the
 * kernel does not tell; of net/core, others have a few entries only.
 */
static bool in_first_namespace(void)
{
	return access("/proc/sys/net/core/somaxconn", F_OK) || !access("/proc/sys/net/core/netdev_budget", F_OK);
}

/* By looks alone: generic netlink may be locked by who waits for an answer of ours. */
int vdpa_bus_check(void *opaque, const char *driver)
{
	char path[PATH_BYTES];

	if (!in_first_namespace())
		return -ENONET;

	if (access(SYSFS, F_OK))
		return -EPROTONOSUPPORT;
	snprintf(path, sizeof(path), SYSFS "/drivers/%s", driver);
	return access(path, F_OK) ? -ENODEV : 0;
}

/* A successor finds it there. */
int vdpa_bus_add(void *opaque, const char *name, const char *driver, bool anew)
{
	int r = netlink_call(VDPA_WIRE_DEV_NEW, name);

	return r && r != -EEXIST ? r : driver_bind(name, driver, r && anew);
}

int vdpa_bus_remove(void *opaque, const char *name)
{
	int r = vhost_check(name);

	if (!r)
		r = netlink_call(VDPA_WIRE_DEV_DEL, name);
	return r == -ENODEV ? 0 : r;
}
