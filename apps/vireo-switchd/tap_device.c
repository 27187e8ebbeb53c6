/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap_device.h"
#include "base/fd.h"
#include "vireo/frame.h"
#include "wire/virtio_net.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef TUNSETCARRIER /* Linux 5.0 */
#define TUNSETCARRIER _IOW('T', 226, int)
#endif

/* The rest of "ip link set dev NAME": what the port would do itself. */
static const char *link_words(const struct port_spec *spec, char words[24])
{
	if (spec->mtu)
		snprintf(words, 24, "mtu %u up", spec->mtu);
	else
		snprintf(words, 24, "up");
	return words;
}

static void explain(int err, const struct port_spec *spec, char *why)
{
	const char *name = spec->at.address, *queues = spec->queues > 1 ? " multi_queue" : "";
	char words[24];

	switch (-err) {
	case EPERM:
	case EACCES:
		snprintf(why, SPEC_WHY_BYTES,
			 "tap '%.15s': needs CAP_NET_ADMIN: run as root, or let root make the interface "
			 "first: "
			 "ip tuntap add dev %.15s mode tap user NAME%s && ip link set dev %.15s %s",
			 name, name, queues, name, link_words(spec, words));
		break;
	case EBUSY:
		snprintf(why, SPEC_WHY_BYTES,
			 "tap '%.15s': another program uses it: choose another interface", name);
		break;
	case EINVAL:
		snprintf(why, SPEC_WHY_BYTES,
			 "tap '%.15s': an interface of that name exists and is no tap with %s: choose another name, or if it is "
			 "yours, let root make it anew (ip link del %.15s) with: ip tuntap add dev %.15s mode tap user NAME%s",
			 name, spec->queues > 1 ? "several queues" : "one queue", name, name, queues);
		break;
	case ENOENT:
	case ENODEV:
	case ENXIO:
		snprintf(why, SPEC_WHY_BYTES,
			 "tap '%.15s': no /dev/net/tun here: load the module (modprobe tun)", name);
		break;
	default:
		snprintf(why, SPEC_WHY_BYTES, "tap '%.15s': %s", name, strerror(-err));
	}
}

static int queue_open(const struct port_spec *spec, const char *path, int *ret_fd)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int header_bytes = NET_HDR_BYTES, little_endian = 1;
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (spec->queues > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(ifr.ifr_name, spec->at.address,
	       strlen(spec->at.address) + 1); /* spec_parse() has checked the length */
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) ||
	    ioctl(fd, TUNSETVNETLE, &little_endian)) {
		int err = -errno;

		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

/*
 * What frames the kernel may give us is what it takes from us, too; UFO it only takes (it cuts such frames
 * itself).
 */
static int offloads_set(int fd, unsigned *ret_offloads)
{
	const unsigned base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	unsigned offloads = VIREO_OFFLOAD_CSUM | VIREO_OFFLOAD_TSO4 | VIREO_OFFLOAD_TSO6 | VIREO_OFFLOAD_ECN |
			    VIREO_OFFLOAD_UFO;

	if (!ioctl(fd, TUNSETOFFLOAD, (unsigned long)(base | TUN_F_USO4 | TUN_F_USO6)))
		offloads |= VIREO_OFFLOAD_USO4 | VIREO_OFFLOAD_USO6;
	else if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)base))
		return -errno;
	*ret_offloads = offloads;
	return 0;
}

/* A user who was given an existing interface may not change it, and need not, if it is as wanted already. */
static int interface_set(const struct port_spec *spec)
{
	struct ifreq ifr = {.ifr_flags = 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, spec->at.address, strlen(spec->at.address) + 1);
	if (spec->mtu && (ioctl(fd, SIOCGIFMTU, &ifr) || ifr.ifr_mtu != spec->mtu)) {
		ifr.ifr_mtu = spec->mtu;
		err = ioctl(fd, SIOCSIFMTU, &ifr) ? -errno : 0;
	}
	if (!err && ioctl(fd, SIOCGIFFLAGS, &ifr))
		err = -errno;
	if (!err && !(ifr.ifr_flags & IFF_UP)) {
		ifr.ifr_flags |= IFF_UP;
		err = ioctl(fd, SIOCSIFFLAGS, &ifr) ? -errno : 0;
	}
	close(fd);
	return err;
}

int tap_device_interface_by(int sock, int fd, int *ret_number)
{
	struct ifreq ifr = {.ifr_flags = 0};

	if (ioctl(fd, TUNGETIFF, &ifr) || ioctl(sock, SIOCGIFINDEX, &ifr))
		return -errno;
	*ret_number = ifr.ifr_ifindex;
	return 0;
}

int tap_device_interface(int fd, int *ret_number)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err;

	if (sock < 0)
		return -errno;
	err = tap_device_interface_by(sock, fd, ret_number);
	close(sock);
	return err;
}

int tap_device_carrier(int fd, bool on)
{
	int carrier = on;

	return ioctl(fd, TUNSETCARRIER, &carrier) ? -errno : 0;
}

int tap_device_mtu(int fd, uint16_t mtu)
{
	struct ifreq ifr = {.ifr_flags = 0};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;

	if (sock < 0)
		return -errno;
	if (ioctl(fd, TUNGETIFF, &ifr))
		err = -errno;
	if (!err && (ioctl(sock, SIOCGIFMTU, &ifr) || ifr.ifr_mtu != mtu)) {
		ifr.ifr_mtu = mtu;
		err = ioctl(sock, SIOCSIFMTU, &ifr) ? -errno : 0;
	}
	close(sock);
	return err;
}

int tap_device_open(const struct port_spec *spec, int *fds, unsigned *ret_offloads, char why[SPEC_WHY_BYTES])
{
	unsigned open_count = 0;
	char words[24];
	int err = 0;

	for (; !err && open_count < spec->queues; open_count++) {
		fds[open_count] = -1;
		err = queue_open(spec, "/dev/net/tun", &fds[open_count]);
	}
	for (unsigned i = 0; !err && i < open_count; i++)
		err = offloads_set(fds[i], ret_offloads);
	if (err) {
		explain(err, spec, why);
	} else {
		err = interface_set(spec);
		if (err)
			snprintf(
				why, SPEC_WHY_BYTES,
				"tap '%.15s': cannot bring it up%s: %s: let root do it: ip link set dev %.15s %s",
				spec->at.address, spec->mtu ? " or set its MTU" : "", strerror(-err), spec->at.address,
				link_words(spec, words));
	}
	for (unsigned i = 0; err && i < open_count; i++)
		fd_close(&fds[i]);
	return err;
}

/* The nodes are of all network namespaces together, and the numbers of each. */
static int name_check(const struct port_spec *spec, int fd)
{
	struct ifreq ifr = {.ifr_flags = 0};

	if (ioctl(fd, TUNGETIFF, &ifr))
		return -errno;
	return strncmp(ifr.ifr_name, spec->at.address, IFNAMSIZ) != 0 ? -EXDEV : 0;
}

int tap_device_open_number(const struct port_spec *spec, int number, int *ret_fd, unsigned *ret_offloads)
{
	char path[32];
	int fd = -1, err;

	snprintf(path, sizeof(path), "/dev/tap%d", number);
	err = queue_open(spec, path, &fd);
	if (!err)
		err = name_check(spec, fd);
	if (!err)
		err = offloads_set(fd, ret_offloads);
	if (err)
		fd_close(&fd);
	else
		*ret_fd = fd;
	return err;
}

static bool reads(int fd, unsigned long request, int wanted)
{
	int value = -1;

	return !ioctl(fd, request, &value) && value == wanted;
}

/* Whether frames have packet information before them (IFF_NO_PI) the kernel does not tell: what it says there is IFF_NOFILTER. */
const char *tap_device_problem(const struct port_spec *spec, int first, int fd)
{
	struct ifreq ifr = {.ifr_flags = 0}, of_first = {.ifr_flags = 0};
	unsigned wanted = IFF_TAP | IFF_VNET_HDR | (spec->queues > 1 ? IFF_MULTI_QUEUE : 0u);
	int flags = fcntl(fd, F_GETFL);

	if (ioctl(fd, TUNGETIFF, &ifr) || ioctl(first, TUNGETIFF, &of_first))
		return "what is to be a queue is of no TAP interface, or of one that is gone";
	if (((unsigned short)ifr.ifr_flags & (wanted | IFF_TUN | IFF_MULTI_QUEUE)) != wanted)
		return "its interface is of another sort";
	if (memcmp(ifr.ifr_name, of_first.ifr_name, IFNAMSIZ) != 0)
		return "its queues are of several interfaces";
	if (!reads(fd, TUNGETVNETHDRSZ, NET_HDR_BYTES) || !reads(fd, TUNGETVNETLE, 1) || flags < 0 || !(flags & O_NONBLOCK))
		return "a queue is not set as ours are";
	return NULL;
}

/* To the calls above both are alike. A TAP interface's fd is of the one node of that, /dev/net/tun (10, 200), in whatever folder it lies. */
const char *tap_device_number_problem(const struct port_spec *spec, int first, int fd)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISCHR(st.st_mode) || st.st_rdev == makedev(10, 200))
		return "what is to be a queue is of no macvtap interface";
	return tap_device_problem(spec, first, fd);
}

json_t *tap_device_report(int fd)
{
	static const struct {
		unsigned flag;
		const char *name;
	} flags[] = {{IFF_VNET_HDR, "vnet_hdr"}, {IFF_MULTI_QUEUE, "multi_queue"}, {IFF_PERSIST, "persist"}};
	struct ifreq ifr = {.ifr_flags = 0};
	json_t *list;

	if (ioctl(fd, TUNGETIFF, &ifr))
		return NULL;
	list = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if ((unsigned short)ifr.ifr_flags & flags[i].flag)
			json_array_append_new(list, json_string(flags[i].name));
	ifr.ifr_name[IFNAMSIZ - 1] = '\0';
	return json_pack("{s:s, s:s%, s:o}", "driver", "tun", "interface", ifr.ifr_name, strlen(ifr.ifr_name), "features", list);
}
