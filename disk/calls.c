/* SPDX-License-Identifier: BSD-3-Clause */
/* Where block requests end: files and block devices, memory, servers of NBD, and clusters of Ceph. */
#include "base/calls.h"
#include "base/util.h"
#include <linux/blkzoned.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const struct call rows[] = {
	CALL("io_uring_setup io_uring_enter io_uring_register", "requests to a file"),
	CALL("fallocate fsync fdatasync sync_file_range fadvise64", "flushes, discards and zeroes"),
	CALL_IOCTL(BLKGETSIZE64, "a block device"),
	CALL_IOCTL(BLKSSZGET, "a block device"),
	CALL_IOCTL(BLKPBSZGET, "a block device"),
	CALL_IOCTL(BLKIOOPT, "a block device"),
	CALL_IOCTL(BLKROTATIONAL, "a block device"),
	CALL_IOCTL(BLKDISCARD, "what a guest discards on a block device"),
	CALL_IOCTL(BLKSECDISCARD, "what a guest erases on a block device"),
	CALL_IOCTL(BLKGETZONESZ, "a zoned block device"),
	CALL_IOCTL(BLKREPORTZONE, "a zoned block device"),
	CALL_IOCTL(BLKOPENZONE, "zones of a block device"),
	CALL_IOCTL(BLKCLOSEZONE, "zones of a block device"),
	CALL_IOCTL(BLKFINISHZONE, "zones of a block device"),
	CALL_IOCTL(BLKRESETZONE, "zones of a block device"),
};

extern const struct calls disk_calls;
const struct calls disk_calls = {"disk", rows, ARRAY_SIZE(rows), NULL, 0};

/* Whatever the flags of its type are. */
#define SERVER_SOCKET(family, type, why) \
	{"socket", why, #family ", " #type, {{0, false, 0xffffffffu, family}, {1, false, 0xf, type}}, 2}

/* The kernel is asked for them by its routing messages. */
#define OWN_ADDRESSES(why) \
	{"socket", why, "AF_NETLINK, NETLINK_ROUTE", {{0, false, 0xffffffffu, AF_NETLINK}, {2, false, 0xffffffffu, 0}}, 2}

#define NBD_SERVERS "servers of NBD, and of names"

static const struct call nbd_rows[] = {
	SERVER_SOCKET(AF_INET, SOCK_STREAM, NBD_SERVERS),
	SERVER_SOCKET(AF_INET, SOCK_DGRAM, NBD_SERVERS),
	SERVER_SOCKET(AF_INET6, SOCK_STREAM, NBD_SERVERS),
	SERVER_SOCKET(AF_INET6, SOCK_DGRAM, NBD_SERVERS),
	CALL_IOCTL(SIOCGIFINDEX, "a link-local address of a server names an interface"),
	CALL_WITH("socket", 0, AF_VSOCK, "servers of NBD (nbd+vsock)"),
	OWN_ADDRESSES("getaddrinfo(3) asks which addresses this machine has"),
};

extern const struct calls nbd_calls;
const struct calls nbd_calls = {"disk/nbd", nbd_rows, ARRAY_SIZE(nbd_rows), NULL, 0};

#define RBD_SERVERS "monitors and storage servers of Ceph, and servers of names"

static const struct call rbd_rows[] = {
	SERVER_SOCKET(AF_INET, SOCK_STREAM, RBD_SERVERS),
	SERVER_SOCKET(AF_INET, SOCK_DGRAM, RBD_SERVERS),
	SERVER_SOCKET(AF_INET6, SOCK_STREAM, RBD_SERVERS),
	SERVER_SOCKET(AF_INET6, SOCK_DGRAM, RBD_SERVERS),
	OWN_ADDRESSES("librados: which addresses this machine has"),
	CALL("epoll_create pipe", "librados: its threads' loops"),
};

extern const struct calls rbd_calls;
const struct calls rbd_calls = {"disk/rbd", rbd_rows, ARRAY_SIZE(rbd_rows), NULL, 0};
