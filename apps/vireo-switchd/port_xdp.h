/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_PORT_XDP_H
#define SWITCHD_PORT_XDP_H

/* What an af_xdp port has of its own in its SPEC. */

enum port_xdp_mode {
	PORT_XDP_ANY, /* the best that there is */
	PORT_XDP_ZEROCOPY,
	PORT_XDP_COPY,
	PORT_XDP_SKB,
};

struct port_xdp_spec {
	unsigned queue; /* of the interface, the first */
	enum port_xdp_mode mode;
};

struct port_spec;

/* Says, in `why`, what to do about a step of its opening that failed; returns err. The second is of the XDP program. */
int xdp_explain(const struct port_spec *spec, int err, char *why);
int xdp_explain_program(const struct port_spec *spec, int err, char *why);

#endif
