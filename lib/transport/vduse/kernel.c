/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/vduse/vduse_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int kernel_open(void *opaque, const char *path, int flags)
{
	int fd = open(path, flags);

	return fd < 0 ? -errno : fd;
}

/* Workers call it in the middle of what sets errno, too. */
static int kernel_ioctl(void *opaque, int fd, unsigned long request, void *argument)
{
	int saved_errno = errno, r;

	do
		r = ioctl(fd, request, argument);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		r = -errno;
	errno = saved_errno;
	return r;
}

static ssize_t kernel_read(void *opaque, int fd, void *data, size_t bytes)
{
	ssize_t n;

	do
		n = read(fd, data, bytes);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t kernel_write(void *opaque, int fd, const void *data, size_t bytes)
{
	ssize_t n;

	do
		n = write(fd, data, bytes);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int kernel_patience_s(void *opaque, const char *name)
{
	char path[sizeof("/sys/class/vduse//msg_timeout") + VDUSE_NAME_BYTES], text[16] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/vduse/%s/msg_timeout", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = kernel_read(NULL, fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 ? (int)strtoul(text, NULL, 10) : -EIO;
}

const struct vduse_kernel vduse_kernel_real = {
	.open = kernel_open,
	.ioctl = kernel_ioctl,
	.read = kernel_read,
	.write = kernel_write,
	.patience_s = kernel_patience_s,
	.bus_check = vdpa_bus_check,
	.bus_add = vdpa_bus_add,
	.bus_remove = vdpa_bus_remove,
};
