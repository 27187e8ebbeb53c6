/* SPDX-License-Identifier: BSD-3-Clause */
/* TAP and macvtap interfaces (tap_device.c), interfaces of the host (packet_socket.c), and the list of the rooms that the switch stands on. */
#include "base/calls.h"
#include "base/util.h"
#include "commands.h"
#include "daemon/sandbox_rooms.h"
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef TUNSETCARRIER /* Linux 5.0 */
#define TUNSETCARRIER _IOW('T', 226, int)
#endif

static const struct call rows[] = {
	CALL_IOCTL(TUNSETIFF, "an interface is made, or taken"),
	CALL_IOCTL(TUNGETIFF, "what it can"),
	CALL_IOCTL(TUNSETVNETHDRSZ, "frames with a header"),
	CALL_IOCTL(TUNSETVNETLE, "frames with a header"),
	CALL_IOCTL(TUNGETVNETHDRSZ, "is an interface that another process hands over set so?"),
	CALL_IOCTL(TUNGETVNETLE, "is an interface that another process hands over set so?"),
	CALL_IOCTL(TUNSETOFFLOAD, "frames that are large, or without a checksum"),
	CALL_IOCTL(TUNSETCARRIER, "port link"),
	{"socket", "an interface is asked and set by such a socket", "AF_INET, SOCK_DGRAM",
	 {{0, false, 0xffffffffu, AF_INET}, {1, false, 0xf, SOCK_DGRAM}}, 2},
	CALL_IOCTL(SIOCGIFFLAGS, "is an interface up?"),
	CALL_IOCTL(SIOCSIFFLAGS, "an interface is brought up"),
	CALL_IOCTL(SIOCGIFMTU, "mtu="),
	CALL_IOCTL(SIOCSIFMTU, "mtu="),
	{"socket", "an interface of the host is a port", "AF_PACKET, SOCK_RAW",
	 {{0, false, 0xffffffffu, AF_PACKET}, {1, false, 0xf, SOCK_RAW}}, 2},
	CALL_IOCTL(SIOCGIFINDEX, "which interface it is"),
	CALL_IOCTL(SIOCGIFHWADDR, "does it speak Ethernet?"),
	CALL_IOCTL(SIOCGIFNAME, "what it is called by now"),
	{"socket", "a bridge is told of addresses, and an interface changes", "AF_NETLINK, NETLINK_ROUTE",
	 {{0, false, 0xffffffffu, AF_NETLINK}, {2, false, 0xffffffffu, NETLINK_ROUTE}}, 2},
};

static const struct call_privilege privileges[] = {
	CALL_PRIVILEGE(CAP_NET_ADMIN, "a TAP interface is made, or set, for a port that is added later; a bridge is told of addresses"),
	CALL_PRIVILEGE(CAP_NET_RAW, "an interface of the host is a port that is added later"),
};

static const struct calls interface_calls = {"apps/vireo-switchd", rows, ARRAY_SIZE(rows), privileges, ARRAY_SIZE(privileges)};

/* What an af_xdp port needs beyond it, where the XDP program could be loaded. */
#if VIREO_HAS_XDP
static const struct call xdp_rows[] = {
	CALL_WITH("socket", 0, AF_XDP, "an interface of the host is a port by AF_XDP"),
	CALL_IOCTL(SIOCETHTOOL, "tags of VLANs stay in frames"),
	CALL_WITH("bpf", 0, BPF_LINK_CREATE, "the program that has been loaded before is attached to an interface"),
	CALL_WITH("bpf", 0, BPF_MAP_UPDATE_ELEM, "it is told of a socket"),
	CALL_WITH("bpf", 0, BPF_MAP_DELETE_ELEM, "and that it is no longer there"),
};

static const struct call_privilege xdp_privileges[] = {
	CALL_PRIVILEGE(CAP_BPF, "kernels before 5.19 let nobody else tell a program of a socket"),
};

static const struct calls xdp_calls = {
	"apps/vireo-switchd, for af_xdp", xdp_rows, ARRAY_SIZE(xdp_rows), xdp_privileges, ARRAY_SIZE(xdp_privileges),
};
#define XDP_ROOM &xdp_calls,
#else
#define XDP_ROOM
#endif

#if VIREO_HAS_DPDK
static const struct call dpdk_rows[] = {
	CALL("epoll_create", "DPDK's thread begins anew with each fd that its drivers bring or take"),
};

static const struct calls dpdk_calls = {"apps/vireo-switchd, for dpdk", dpdk_rows, ARRAY_SIZE(dpdk_rows), NULL, 0};
#define DPDK_ROOM &dpdk_calls,
#else
#define DPDK_ROOM
#endif

#define ROOMS SANDBOX_ROOMS_OF_ALL, &work_calls, &cuse_calls, &pci_calls, &interface_calls

const struct calls *const switchd_rooms[] = {ROOMS, XDP_ROOM DPDK_ROOM NULL};
static const struct calls *const without_dpdk[] = {ROOMS, XDP_ROOM NULL};
static const struct calls *const without_xdp[] = {ROOMS, DPDK_ROOM NULL};
static const struct calls *const without_both[] = {ROOMS, NULL};

const struct calls *const *switchd_rooms_of(bool xdp, bool dpdk)
{
	if (xdp)
		return dpdk ? switchd_rooms : without_dpdk;
	return dpdk ? without_xdp : without_both;
}
