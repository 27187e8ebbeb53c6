/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of port kinds, in the order of the help. A new one is a line here: docs/adding-a-port.md. */
#include "base/util.h"
#include "port.h"

static const struct spec_kind *const rows[] = {
	&port_vhost_user.spec, &port_vduse.spec, &port_cuse.spec, &port_tap.spec, &port_macvtap.spec, &port_af_packet.spec, &port_af_xdp.spec,
	&port_dpdk.spec, &port_virtio_pci.spec, &port_virtio_user.spec, &port_bond.spec, &port_pcap_in.spec, &port_pcap_out.spec, &port_loop.spec, &port_null.spec,
};

const struct spec_kinds port_kinds = {
	.rows = rows,
	.count = ARRAY_SIZE(rows),
	.spec_bytes = sizeof(struct port_spec),
	.defaults = port_spec_defaults,
	.problem = port_spec_problem,
};
