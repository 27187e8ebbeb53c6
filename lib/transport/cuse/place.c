/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fd.h"
#include "transport/cuse/cuse_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Where the node lies: in /dev, by this kernel's devtmpfs, and in sysfs. */

/* The kernel looks for the name among CUSE devices alone; one of another kind would get no node, and no
 * complaint. */
bool place_taken(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/class/cuse/%s", name);
	if (!lstat(path, &st))
		return true;
	snprintf(path, sizeof(path), "/dev/%s", name);
	return !lstat(path, &st);
}

/* The node under /dev, if what lies there is ours. An O_PATH fd, or a negative errno. */
static int place_open(const struct cuse_endpoint *endpoint)
{
	unsigned have_major = 0, have_minor = 0;
	char path[128];
	struct stat st;
	FILE *dev;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/cuse/%s/dev", endpoint->name);
	dev = fopen(path, "re");
	if (!dev && (errno == EMFILE || errno == ENFILE))
		return -errno;
	if (!dev || fscanf(dev, "%u:%u", &have_major, &have_minor) != 2)
		have_major = 0;
	if (dev)
		fclose(dev);
	snprintf(path, sizeof(path), "/dev/%s", endpoint->name);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && !fstat(fd, &st) && S_ISCHR(st.st_mode) &&
	    st.st_rdev == makedev(have_major, have_minor))
		return fd;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		return -errno;
	fd_close(&fd);
	log_warning(endpoint_log(endpoint),
		    "%s: the kernel has made no /dev/%s (no devtmpfs?): the device is %u:%u", endpoint->name,
		    endpoint->name, have_major, have_minor);
	return -ENOENT;
}

/* As the caller's config wants it. A udev rule may have another opinion. */
int place_own(const struct cuse_endpoint *endpoint)
{
	const struct vireo_endpoint_access *access = &endpoint->config.cuse.access;
	int fd = place_open(endpoint), r = 0;
	char path[32];

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (access->set_owner && fchownat(fd, "", access->uid, access->gid, AT_EMPTY_PATH))
		r = -errno;
	if (!r && access->mode && chmod(path, access->mode))
		r = -errno;
	fd_close(&fd);
	return r;
}
