/* SPDX-License-Identifier: BSD-3-Clause */
#include "packet_socket.h"
#include "base/fd.h"
#include "host_interface.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>

#ifndef PACKET_IGNORE_OUTGOING /* Linux 4.20 */
#define PACKET_IGNORE_OUTGOING 23
#endif

#define BUFFER_BYTES (4 << 20)

/* Returns err. */
static int explain(int err, const char *name, char *why)
{
	switch (-err) {
	case EPERM:
	case EACCES:
		snprintf(why, SPEC_WHY_BYTES,
			 "af_packet '%.15s': needs CAP_NET_RAW: run as root, or give the unit AmbientCapabilities=CAP_NET_RAW", name);
		break;
	case EAFNOSUPPORT:
		snprintf(why, SPEC_WHY_BYTES, "af_packet '%.15s': this kernel has no packet sockets: load the module (modprobe af_packet)", name);
		break;
	default:
		host_interface_explain("af_packet", name, err, why);
	}
	return err;
}

static int option_set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) ? -errno : 0;
}

/* Without the privilege for more, as much as there may be. */
static void buffer_set(int fd, int forced, int asked)
{
	const int bytes = BUFFER_BYTES;

	if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, asked, &bytes, sizeof(bytes));
}

/* Not bound yet, so that nothing comes before all is set. */
static int options_set(int fd, int interface)
{
	int err = option_set(fd, PACKET_VNET_HDR, 1);

	if (!err)
		err = option_set(fd, PACKET_AUXDATA, 1);
	if (!err)
		err = host_interface_promiscuous(fd, interface);
	(void)option_set(fd, PACKET_IGNORE_OUTGOING, 1); /* an older kernel shows what is sent, and receivers look at where it goes */
	buffer_set(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	buffer_set(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	return err;
}

static int socket_bind(int fd, int interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = interface};
	int err = options_set(fd, interface);

	if (!err && bind(fd, (struct sockaddr *)&address, sizeof(address)))
		err = -errno;
	return err;
}

static int socket_open(const char *name, int *ret_fd, char *why)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int interface = 0, err;

	if (fd < 0)
		return explain(-errno, name, why);
	err = host_interface_find(fd, name, &interface);
	if (!err)
		err = socket_bind(fd, interface);
	if (err) {
		fd_close(&fd);
		return explain(err, name, why);
	}
	*ret_fd = fd;
	return 0;
}

/* Each frame to one of them, those of a flow to the same. The first finds a number that no other group has. */
static int group_join(const int *fds, unsigned count)
{
	int group = (PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
	socklen_t bytes = sizeof(group);
	int err = option_set(fds[0], PACKET_FANOUT, group);

	if (!err && getsockopt(fds[0], SOL_PACKET, PACKET_FANOUT, &group, &bytes))
		err = -errno;
	group = (group & 0xffff) | PACKET_FANOUT_HASH << 16;
	for (unsigned i = 1; !err && i < count; i++)
		err = option_set(fds[i], PACKET_FANOUT, group);
	return err;
}

int packet_socket_open(const struct port_spec *spec, int *fds, char why[SPEC_WHY_BYTES])
{
	unsigned count = 0;
	int err = 0;

	for (; !err && count < spec->queues; count++) {
		fds[count] = -1;
		err = socket_open(spec->at.address, &fds[count], why);
	}
	if (!err && count > 1) {
		err = group_join(fds, count);
		if (err)
			explain(err, spec->at.address, why);
	}
	for (unsigned i = 0; err && i < count; i++)
		fd_close(&fds[i]);
	return err;
}

static int interface_of(int fd)
{
	struct sockaddr_ll address = {.sll_ifindex = 0};
	socklen_t bytes = sizeof(address);

	return getsockname(fd, (struct sockaddr *)&address, &bytes) ? -1 : address.sll_ifindex;
}

bool packet_socket_bound(int fd)
{
	return interface_of(fd) > 0;
}

static int option_get(int fd, int level, int option)
{
	int value = -1;
	socklen_t bytes = sizeof(value);

	return getsockopt(fd, level, option, &value, &bytes) ? -1 : value;
}

const char *packet_socket_problem(const struct port_spec *spec, int first, int fd)
{
	if (option_get(fd, SOL_SOCKET, SO_DOMAIN) != AF_PACKET || option_get(fd, SOL_SOCKET, SO_TYPE) != SOCK_RAW)
		return "what is to be a queue is no packet socket";
	if (interface_of(fd) <= 0 || interface_of(fd) != interface_of(first))
		return "its sockets are of several interfaces, or of one that is gone";
	if (option_get(fd, SOL_PACKET, PACKET_VNET_HDR) != 1 || option_get(fd, SOL_PACKET, PACKET_AUXDATA) != 1)
		return "a socket is not set as ours are";
	if (option_get(fd, SOL_PACKET, PACKET_FANOUT) != (spec->queues == 1 ? 0 : option_get(first, SOL_PACKET, PACKET_FANOUT)))
		return "what comes is shared with other sockets than its own";
	return NULL;
}

bool packet_socket_running(int fd)
{
	struct host_interface interface;

	return host_interface_look(fd, interface_of(fd), &interface) && interface.running;
}

bool packet_socket_tag(struct msghdr *message, uint8_t tag[PACKET_TAG_BYTES])
{
	struct tpacket_auxdata aux;
	uint16_t type;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA || c->cmsg_len < CMSG_LEN(sizeof(aux)))
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			return false;
		type = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
		tag[0] = (uint8_t)(type >> 8);
		tag[1] = (uint8_t)type;
		tag[2] = (uint8_t)(aux.tp_vlan_tci >> 8);
		tag[3] = (uint8_t)aux.tp_vlan_tci;
		return true;
	}
	return false;
}

uint64_t packet_socket_lost(int fd)
{
	struct tpacket_stats stats = {.tp_drops = 0};
	socklen_t bytes = sizeof(stats);

	return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) ? 0 : stats.tp_drops;
}

json_t *packet_socket_report(int fd)
{
	struct host_interface interface;

	if (!host_interface_look(fd, interface_of(fd), &interface))
		return NULL;
	return json_pack("{s:s, s:s%}", "driver", "af_packet", "interface", interface.name, strlen(interface.name));
}
