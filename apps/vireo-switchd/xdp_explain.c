/* SPDX-License-Identifier: BSD-3-Clause */
/* What to do about an af_xdp port that cannot be opened. */
#include "host_interface.h"
#include "port_xdp.h"
#include "xdp_socket.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ETHER_BYTES 14u
#define TAG_BYTES 4u

static int explain_socket(const struct port_spec *spec, int err, char *why)
{
	const char *name = spec->at.address;

	if (err == -EINVAL)
		snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': it has no queue %u, or with this MTU no place for AF_XDP: ethtool -l %.15s says how "
			 "many it has, and up to an MTU of %u will do", name, spec->xdp.queue + spec->queues - 1, name,
			 XDP_ROOM_BYTES - ETHER_BYTES - TAG_BYTES);
	else if (err == -EBUSY)
		snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': another program has an AF_XDP socket at its queue %u: end that, or choose "
			 "another queue=", name, spec->xdp.queue);
	else if (err == -EOPNOTSUPP || err == -EPROTONOSUPPORT)
		snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': its driver cannot do mode=zerocopy: leave mode out, or write mode=copy", name);
	else if (err == -ENETDOWN)
		snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': it is down: ip link set dev %.15s up, and add the port then", name, name);
	else if (err == -ENOBUFS)
		snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': too little memory may be locked: let it lock %u MiB a queue (ulimit -l, or "
			 "LimitMEMLOCK= in the unit)", name, (XDP_IN_CHUNKS + XDP_OUT_CHUNKS) / 256);
	else if (err == -EAFNOSUPPORT)
		snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): use af_packet:%.15s", name, name);
	else
		host_interface_explain("af_xdp", name, err, why);
	return err;
}

int xdp_explain(const struct port_spec *spec, int err, char *why)
{
	const char *name = spec->at.address;

	if (err != -EPERM && err != -EACCES)
		return explain_socket(spec, err, why);
	snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF: start the daemon as root, or give the unit "
		 "AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN CAP_BPF", name);
	return err;
}

int xdp_explain_program(const struct port_spec *spec, int err, char *why)
{
	const char *name = spec->at.address;

	if (err == -EEXIST)
		snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': there is an XDP program already: end who has it (ip link show %.15s), or ip link set dev "
			 "%.15s xdp off", name, name, name);
	else if (err == -EPERM || err == -EACCES)
		return xdp_explain(spec, err, why);
	else
		snprintf(why, SPEC_WHY_BYTES, "af_xdp '%.15s': no XDP program can be attached: %s: its driver may want another MTU or fewer queues, or "
			 "mode=skb", name, strerror(-err));
	return err;
}
