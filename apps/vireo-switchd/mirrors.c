/* SPDX-License-Identifier: BSD-3-Clause */
/* mirror add, list and remove: what the switch copies (switch/mirror.h). Who reads a copy has opened the file: its descriptor comes with the call. */
#include "mirrors.h"
#include "base/fd.h"
#include "base/log.h"
#include "commands.h"
#include "ctl/rpc.h"
#include "port.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- parameters ---- */

/* What is kept as long as the mirror is there. False: the call has been answered. */
static bool text_fits(struct rpc_call *call, const char *name)
{
	const char *text = rpc_call_param(call, name);

	if (!text || strnlen(text, MIRROR_TEXT_MAX + 1) <= MIRROR_TEXT_MAX)
		return true;
	rpc_call_error(call, RPC_INVALID_PARAMS, "%s '%.40s...': expected %u bytes at most", name, text, MIRROR_TEXT_MAX);
	return false;
}

/* From 0 to max; its end is where the next one begins. */
static bool number_take(const char **text, unsigned long max, uint32_t *ret)
{
	char *end;
	unsigned long n;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	n = strtoul(*text, &end, 10);
	if (errno || n > max)
		return false;
	*text = end;
	*ret = (uint32_t)n;
	return true;
}

static bool step_take(const char **text, struct packet_filter_step *step)
{
	const uint32_t max[4] = {UINT16_MAX, UINT8_MAX, UINT8_MAX, UINT32_MAX};
	uint32_t field[4];

	for (unsigned i = 0; i < 4; i++) {
		*text += strspn(*text, i ? " " : " ,\n");
		if (!number_take(text, max[i], &field[i]))
			return false;
	}
	*step = (struct packet_filter_step){(uint16_t)field[0], (uint8_t)field[1], (uint8_t)field[2], field[3]};
	return true;
}

int mirror_program_parse(const char *text, struct packet_filter_step **ret_steps, unsigned *ret_count)
{
	struct packet_filter_step *steps;
	uint32_t count, i = 0;

	if (!number_take(&text, PACKET_FILTER_STEPS_MAX, &count) || !count)
		return -EINVAL;
	steps = calloc(count, sizeof(*steps));
	if (!steps)
		return -ENOMEM;
	while (i < count && step_take(&text, &steps[i]))
		i++;
	if (i < count || text[strspn(text, " ,\n")] || !packet_filter_valid(steps, count)) {
		free(steps);
		return -EINVAL;
	}
	*ret_steps = steps;
	*ret_count = count;
	return 0;
}

/* False: the call has been answered. */
static bool filter_take(struct rpc_call *call, struct sw_mirror_config *config, struct packet_filter_step **ret_steps)
{
	const char *program = rpc_call_param(call, "program");
	int err;

	config->expression = rpc_call_param(call, "filter");
	if (config->expression && !program) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "filter: its program is missing, which vireoctl makes of it, and tcpdump -ddd");
		return false;
	}
	if (!program)
		return true;
	err = mirror_program_parse(program, ret_steps, &config->filter_steps);
	config->filter = *ret_steps;
	if (err == -ENOMEM)
		rpc_call_error(call, RPC_INTERNAL_ERROR, "out of memory");
	else if (err)
		rpc_call_error(call, RPC_INVALID_PARAMS, "program: expected a filter as tcpdump -ddd prints it, of at most %u steps",
			       PACKET_FILTER_STEPS_MAX);
	return !err;
}

static bool snaplen_take(struct rpc_call *call, struct sw_mirror_config *config)
{
	const char *text = rpc_call_param(call, "snaplen"), *at = text;

	if (!text || (number_take(&at, SW_MIRROR_SNAPLEN, &config->snaplen) && !*at && config->snaplen >= MIRROR_SNAPLEN_MIN))
		return true;
	rpc_call_error(call, RPC_INVALID_PARAMS, "snaplen '%.40s': expected bytes of each frame, from %u to %u", text, MIRROR_SNAPLEN_MIN,
		       SW_MIRROR_SNAPLEN);
	return false;
}

bool mirror_fd_usable(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct fd_file file;

	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || flags & O_PATH || fd_look(fd, &file))
		return false;
	if (file.type == S_IFIFO || file.type == S_IFSOCK)
		return !fd_nonblocking(fd);
	return file.type == S_IFREG;
}

static bool target_take(struct rpc_call *call, const struct ports *ports, struct sw_mirror_config *config)
{
	const char *to = rpc_call_param(call, "to");
	struct port *port;

	config->where = to ? to : "-";
	if (config->fd >= 0 && mirror_fd_usable(config->fd))
		return true;
	if (config->fd >= 0 || !to || !strcmp(to, "-") || strchr(to, '/')) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "to '%.64s': expected a port, or, along with the call, the descriptor of a file, a pipe or a socket "
			       "that can be written to", config->where);
		return false;
	}
	port = port_named(call, ports, to);
	if (port)
		config->to = port->sw;
	return port;
}

/* ---- commands ---- */

static json_t *mirror_json(const struct sw_mirror *mirror)
{
	struct sw_mirror_status status;

	sw_mirror_status(mirror, &status);
	return json_pack("{s:i, s:s, s:s, s:s?, s:b, s:i, s:s, s:s?, s:I, s:I, s:I}", "id", (int)status.id, "port", status.source, "to",
			 status.where, "filter", status.expression, "filtered", status.filters, "snaplen", (int)status.snaplen, "state",
			 status.err ? "failed" : "on", "error", status.err ? strerror(-status.err) : NULL, "frames",
			 (json_int_t)status.frames, "bytes", (json_int_t)status.bytes, "lost", (json_int_t)status.lost);
}

static void explain(struct rpc_call *call, const struct sw_mirror_config *config, int err)
{
	if (err == -ELOOP)
		rpc_call_error(call, RPC_FAILED, "a port that a mirror goes to cannot be mirrored itself, nor the other way round: frames could go round for ever");
	else if (err == -ENOSPC)
		rpc_call_error(call, RPC_FAILED, "there are as many mirrors as there may be, %u, or %u of this port: remove one", SW_MIRRORS_MAX,
			       SW_PORT_MIRRORS_MAX);
	else
		rpc_call_error(call, RPC_FAILED, "mirror to %.64s: %s", config->where, strerror(-err));
}

/* All but the descriptor. False: the call has been answered. */
static bool config_take(struct rpc_call *call, const struct ports *ports, struct sw_mirror_config *config, struct packet_filter_step **ret_steps)
{
	struct port *port = port_named(call, ports, rpc_call_param(call, "port"));

	if (!port || !text_fits(call, "to") || !text_fits(call, "filter"))
		return false;
	config->source = port->sw;
	return snaplen_take(call, config) && filter_take(call, config, ret_steps) && target_take(call, ports, config);
}

void serve_mirror_add(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	struct sw_mirror_config config = {.fd = rpc_call_fd(call), .program = MIRROR_PROGRAM};
	struct packet_filter_step *steps = NULL;
	struct sw_mirror *mirror;
	int err;

	if (!config_take(call, ports, &config, &steps)) {
		free(steps);
		return;
	}
	err = sw_mirror_add(ports->sw, &config, &mirror);
	if (err) {
		explain(call, &config, err);
	} else {
		rpc_call_fd_take(call);
		log_info(&ports->control_log, "%s: mirrored to %s", sw_port_name(config.source), config.where);
		rpc_call_reply(call, json_pack("{s:o}", "mirror", mirror_json(mirror)));
	}
	free(steps);
}

void serve_mirror_list(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	json_t *list = json_array();

	for (struct sw_mirror *mirror = NULL; (mirror = sw_mirror_next(ports->sw, mirror));)
		json_array_append_new(list, mirror_json(mirror));
	rpc_call_reply(call, json_pack("{s:o}", "mirrors", list));
}

static void mirror_removed(void *opaque)
{
	rpc_call_reply(opaque, json_object());
}

void serve_mirror_remove(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	const char *text = rpc_call_param(call, "id"), *at = text;
	struct sw_mirror *mirror = NULL;
	uint32_t id = 0;

	if (number_take(&at, UINT32_MAX, &id) && !*at)
		mirror = sw_mirror_find(ports->sw, id);
	if (!mirror)
		rpc_call_error(call, RPC_NOT_FOUND, "there is no mirror '%.40s': mirror list shows those that there are", text);
	else
		sw_mirror_remove(mirror, mirror_removed, call);
}
