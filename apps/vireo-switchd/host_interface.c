/* SPDX-License-Identifier: BSD-3-Clause */
#include "host_interface.h"
#include "base/fd.h"
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int host_interface_find(int fd, const char *name, int *ret_number)
{
	struct ifreq ifr = {.ifr_flags = 0};
	int number;

	memcpy(ifr.ifr_name, name, strlen(name) + 1); /* whose length spec_parse() has checked */
	if (ioctl(fd, SIOCGIFINDEX, &ifr))
		return -errno;
	number = ifr.ifr_ifindex;
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		return -errno;
	if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER && ifr.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK)
		return -EMEDIUMTYPE;
	*ret_number = number;
	return 0;
}

static bool name_of(int fd, int number, struct ifreq *ret_ifr)
{
	*ret_ifr = (struct ifreq){.ifr_ifindex = number};
	if (number <= 0 || ioctl(fd, SIOCGIFNAME, ret_ifr))
		return false;
	ret_ifr->ifr_name[IFNAMSIZ - 1] = '\0';
	return true;
}

bool host_interface_look(int fd, int number, struct host_interface *ret_interface)
{
	struct ifreq ifr;

	if (!name_of(fd, number, &ifr))
		return false;
	memcpy(ret_interface->name, ifr.ifr_name, sizeof(ret_interface->name));
	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		return false;
	ret_interface->running = ifr.ifr_flags & IFF_UP && ifr.ifr_flags & IFF_RUNNING;
	ret_interface->bond = ifr.ifr_flags & IFF_MASTER;
	if (ioctl(fd, SIOCGIFMTU, &ifr))
		return false;
	ret_interface->mtu = (unsigned)ifr.ifr_mtu;
	return true;
}

int host_interface_promiscuous(int fd, int number)
{
	struct packet_mreq promiscuous = {.mr_ifindex = number, .mr_type = PACKET_MR_PROMISC};

	return setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) ? -errno : 0;
}

int host_interface_all_multicast(int fd, int number)
{
	struct ifreq ifr;

	if (!name_of(fd, number, &ifr))
		return -ENODEV;
	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		return -errno;
	if (ifr.ifr_flags & (IFF_ALLMULTI | IFF_PROMISC))
		return 0;
	ifr.ifr_flags |= IFF_ALLMULTI;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) ? -errno : 0;
}

static int flags_of(int fd, int number, uint32_t command, struct ethtool_value *flags)
{
	struct ifreq ifr;

	if (!name_of(fd, number, &ifr))
		return -ENODEV;
	flags->cmd = command;
	ifr.ifr_data = (char *)flags;
	return ioctl(fd, SIOCETHTOOL, &ifr) ? -errno : 0;
}

int host_interface_keep_tags(int fd, int number, bool keep, bool *ret_changed)
{
	struct ethtool_value flags = {.data = 0};
	int err = flags_of(fd, number, ETHTOOL_GFLAGS, &flags);

	*ret_changed = false;
	if (err)
		return err;
	if (!(flags.data & ETH_FLAG_RXVLAN) == keep)
		return 0;
	flags.data ^= ETH_FLAG_RXVLAN;
	err = flags_of(fd, number, ETHTOOL_SFLAGS, &flags);
	if (!err)
		*ret_changed = true;
	return err;
}

int host_interface_changes(int *ret_fd)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		int err = -errno;

		fd_close(&fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

/* Whatever they say, who is interested looks for himself: so none that is lost is missed. */
void host_interface_changes_read(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0 || errno == ENOBUFS)
		;
}

void host_interface_explain(const char *type, const char *name, int err, char why[SPEC_WHY_BYTES])
{
	if (err == -ENODEV)
		snprintf(why, SPEC_WHY_BYTES, "%s '%.15s': there is no such interface here: ip link shows those that there are", type, name);
	else if (err == -EMEDIUMTYPE)
		snprintf(why, SPEC_WHY_BYTES, "%s '%.15s': it is no Ethernet interface: choose one that has link/ether in ip link", type, name);
	else
		snprintf(why, SPEC_WHY_BYTES, "%s '%.15s': %s", type, name, strerror(-err));
}
