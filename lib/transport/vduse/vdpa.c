/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include "base/fd.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/vdpa.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The vdpa bus. A device is put on it, and taken off, by generic netlink, as vdpa(8) does it: VDPA_CMD_DEV_NEW with the
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

struct vdpa_message {
	struct nlmsghdr nl;
	struct genlmsghdr gen;
	uint8_t attributes[512];
};

static void message_begin(struct vdpa_message *m, uint16_t family, uint8_t command, uint8_t version)
{
	*m = (struct vdpa_message){
		.nl = { .nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
			.nlmsg_type = family,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.gen = { .cmd = command, .version = version },
	};
}

/* Names only: there is room for all of them. */
static void message_string(struct vdpa_message *m, uint16_t type, const char *text)
{
	size_t bytes = strlen(text) + 1;
	struct nlattr attribute = { .nla_len = (uint16_t)(NLA_HDRLEN + bytes), .nla_type = type };
	uint8_t *at = (uint8_t *)m + NLMSG_ALIGN(m->nl.nlmsg_len);

	memcpy(at, &attribute, sizeof(attribute));
	memcpy(at + NLA_HDRLEN, text, bytes);
	m->nl.nlmsg_len = NLMSG_ALIGN(m->nl.nlmsg_len) + (uint32_t)NLA_ALIGN(attribute.nla_len);
}

/* The 16-bit attribute `type` of a reply, or -ENOENT. */
static int reply_u16(const uint8_t *reply, size_t bytes, uint16_t type)
{
	size_t at = NLMSG_LENGTH(GENL_HDRLEN);

	while (at + NLA_HDRLEN <= bytes) {
		struct nlattr attribute;
		uint16_t value;

		memcpy(&attribute, reply + at, sizeof(attribute));
		if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > bytes - at)
			break;
		if ((attribute.nla_type & NLA_TYPE_MASK) == type &&
		    attribute.nla_len >= NLA_HDRLEN + sizeof(value)) {
			memcpy(&value, reply + at + NLA_HDRLEN, sizeof(value));
			return value;
		}
		at += NLA_ALIGN(attribute.nla_len);
	}
	return -ENOENT;
}

/* Sends, and reads one reply: its bytes, 0 for an acknowledgement, or the errno that came instead. */
static ssize_t converse(int fd, const struct vdpa_message *m, uint8_t *reply, size_t reply_bytes)
{
	struct nlmsghdr header;
	struct nlmsgerr error;
	ssize_t n = send(fd, m, m->nl.nlmsg_len, 0);

	if (n < 0)
		return -errno;
	do
		n = recv(fd, reply, reply_bytes, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(header))
		return -EPROTO;
	memcpy(&header, reply, sizeof(header));
	if (header.nlmsg_type != NLMSG_ERROR)
		return header.nlmsg_len <= (size_t)n ? (ssize_t)header.nlmsg_len : -EPROTO;
	if ((size_t)n < NLMSG_HDRLEN + sizeof(error))
		return -EPROTO;
	memcpy(&error, reply + NLMSG_HDRLEN, sizeof(error));
	return error.error > 0 ? -EPROTO : error.error;
}

static int family_open(int *ret_fd, uint16_t *ret_family)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC), family = -EPROTONOSUPPORT;
	struct vdpa_message m;
	uint8_t reply[8192];
	ssize_t n;

	if (fd < 0)
		return -errno;
	message_begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	m.nl.nlmsg_flags = NLM_F_REQUEST; /* the reply is enough */
	message_string(&m, CTRL_ATTR_FAMILY_NAME, VDPA_GENL_NAME);
	n = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : converse(fd, &m, reply, sizeof(reply));
	if (n > 0)
		family = reply_u16(reply, (size_t)n, CTRL_ATTR_FAMILY_ID);
	else if (n < 0 && n != -ENOENT)
		family = (int)n;
	if (family < 0) {
		fd_close(&fd);
		return family;
	}
	*ret_fd = fd;
	*ret_family = (uint16_t)family;
	return 0;
}

static int netlink_call(uint8_t command, const char *name)
{
	struct vdpa_message m;
	uint8_t reply[8192];
	uint16_t family = 0;
	int fd = -1, r = family_open(&fd, &family);

	if (r)
		return r;
	message_begin(&m, family, command, VDPA_GENL_VERSION);
	if (command == VDPA_CMD_DEV_NEW)
		message_string(&m, VDPA_ATTR_MGMTDEV_DEV_NAME, MGMT_NAME);
	message_string(&m, VDPA_ATTR_DEV_NAME, name);
	r = (int)converse(fd, &m, reply, sizeof(reply));
	fd_close(&fd);
	return r > 0 ? -EPROTO : r;
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

/* By looks alone: generic netlink may be locked by who waits for an answer of ours. */
int vdpa_bus_check(void *opaque, const char *driver)
{
	char path[PATH_BYTES];

	if (access(SYSFS, F_OK))
		return -EPROTONOSUPPORT;
	snprintf(path, sizeof(path), SYSFS "/drivers/%s", driver);
	return access(path, F_OK) ? -ENODEV : 0;
}

/* A successor finds it there. */
int vdpa_bus_add(void *opaque, const char *name, const char *driver, bool anew)
{
	int r = netlink_call(VDPA_CMD_DEV_NEW, name);

	return r && r != -EEXIST ? r : driver_bind(name, driver, r && anew);
}

int vdpa_bus_remove(void *opaque, const char *name)
{
	int r = vhost_check(name);

	if (!r)
		r = netlink_call(VDPA_CMD_DEV_DEL, name);
	return r == -ENODEV ? 0 : r;
}
