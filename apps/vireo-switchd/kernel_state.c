/* SPDX-License-Identifier: BSD-3-Clause */
#include "kernel_state.h"
#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MAGIC "vireokrn"
#define VERSION 1u

void kernel_state_say(struct kernel_state *told, uint32_t what, unsigned offloads, const int *fds, unsigned count,
		      struct vireo_endpoint_state *ret_state)
{
	*told = (struct kernel_state){.version = VERSION, .what = what, .offloads = offloads};
	memcpy(told->magic, MAGIC, sizeof(told->magic));
	ret_state->data = told;
	ret_state->bytes = sizeof(*told);
	ret_state->fds = fds;
	ret_state->fd_count = count;
}

static const char *bytes_problem(const struct vireo_endpoint_state *state, uint32_t what, unsigned offloads_known,
				 struct kernel_state *told)
{
	if (state->bytes < sizeof(*told))
		return "it is cut short";
	memcpy(told, state->data, sizeof(*told));
	if (memcmp(told->magic, MAGIC, sizeof(told->magic)) != 0)
		return "it is no state of a port at the kernel";
	if (told->version != VERSION)
		return "its version is not known";
	if (told->what != what)
		return "it is a port of another kind's";
	if (state->bytes != sizeof(*told) || told->zero || told->offloads & ~offloads_known)
		return "it says what is not known here";
	return NULL;
}

static const char *fds_problem(const struct vireo_endpoint_state *state, const struct port_spec *spec, kernel_fd_problem_fn *problem)
{
	const char *text = state->fd_count == spec->queues ? NULL : "its queues are not as many as the port's";

	for (unsigned i = 0; !text && i < state->fd_count; i++)
		text = problem(spec, state->fds[0], state->fds[i]);
	return text;
}

static int fds_copy(const struct vireo_endpoint_state *state, int *fds)
{
	int err = 0;

	for (unsigned i = 0; i < state->fd_count; i++) {
		fds[i] = err ? -1 : fcntl(state->fds[i], F_DUPFD_CLOEXEC, 0);
		if (fds[i] < 0 && !err)
			err = -errno;
	}
	for (unsigned i = 0; err && i < state->fd_count; i++)
		fd_close(&fds[i]);
	return err;
}

int kernel_state_take(const struct vireo_endpoint_state *state, const struct port_spec *spec, uint32_t what, unsigned offloads_known,
		      kernel_fd_problem_fn *problem, int *fds, unsigned *ret_offloads, char why[SPEC_WHY_BYTES])
{
	struct kernel_state told = {.version = 0};
	const char *text = bytes_problem(state, what, offloads_known, &told);
	int err = -EINVAL;

	if (!text)
		text = fds_problem(state, spec, problem);
	if (!text) {
		err = fds_copy(state, fds);
		text = err ? strerror(-err) : NULL;
	}
	if (text)
		snprintf(why, SPEC_WHY_BYTES, "%s '%.15s': the state of %zu bytes and %u fds that was handed over is refused: %s", spec->at.kind->type,
			 spec->at.address, state->bytes, state->fd_count, text);
	else
		*ret_offloads = told.offloads;
	return err;
}
