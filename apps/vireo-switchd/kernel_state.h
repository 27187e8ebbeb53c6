/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SWITCHD_KERNEL_STATE_H
#define SWITCHD_KERNEL_STATE_H

/*
 * A port at the host's kernel as one process hands it over to another (handover.h): an fd for each queue, with what the kernel keeps
 * behind it, and bytes in this machine's order:
 *
 *	0	"vireokrn"
 *	8	version, 1
 *	12	the kind of the port
 *	16	VIREO_OFFLOAD_* that it takes
 *	20	0
 *
 * Interface and offloads are left as they are: who looks after the host may have set them otherwise since the port was made.
 */

#include "port_spec.h"
#include "vireo/endpoint.h"
#include <stdint.h>

#define KERNEL_STATE_TAP       1u
#define KERNEL_STATE_AF_PACKET 2u
#define KERNEL_STATE_MACVTAP   3u

struct kernel_state {
	char magic[8];
	uint32_t version, what, offloads, zero;
};

/* What `told` says of a port, and its fds, which *ret_state points to. */
void kernel_state_say(struct kernel_state *told, uint32_t what, unsigned offloads, const int *fds, unsigned count,
		      struct vireo_endpoint_state *ret_state);

/*
 * NULL, or what is wrong (static) with an fd that is to be a queue of the port with this SPEC; `first` is the one of the first queue,
 * which has been looked at before.
 */
typedef const char *kernel_fd_problem_fn(const struct port_spec *spec, int first, int fd);

/*
 * Copies of the fds, close-on-exec, one for each queue of the SPEC, and the offloads, which are among `offloads_known`. -EINVAL and why:
 * the bytes are cut short, foreign, of another version or kind, or say what cannot be; or an fd is none of such a port. Or -errno of
 * fcntl(2).
 */
int kernel_state_take(const struct vireo_endpoint_state *state, const struct port_spec *spec, uint32_t what, unsigned offloads_known,
		      kernel_fd_problem_fn *problem, int *fds, unsigned *ret_offloads, char why[SPEC_WHY_BYTES]);

#endif
