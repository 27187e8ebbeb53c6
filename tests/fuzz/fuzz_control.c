/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The control socket: bytes of any kind in pieces of any size, to a real server with a table of commands that
 * answer at once, later, or not before their client has gone, and that parse port specifications.
 */
#include "apps/vireo-switchd/port_spec.h"
#include "base/loop.h"
#include "ctl/rpc.h"
#include "ctl/server.h"
#include "fuzz.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LATER_MAX 64u

static struct {
	struct loop *loop;
	struct ctl_server *server;
	struct sockaddr_un address;
	struct rpc_call *later[LATER_MAX];
	unsigned later_count;
} target;

static void serve_add(struct rpc_call *call, void *opaque)
{
	char why[SPEC_WHY_BYTES] = "";
	struct port_spec spec;

	if (port_spec_parse(rpc_call_param(call, "spec"), &spec, why) < 0) {
		assert(why[0] && memchr(why, '\0', sizeof(why)));
		rpc_call_error(call, RPC_INVALID_PARAMS, "%s", why);
		return;
	}
	assert(spec.queues && memchr(spec.at.name, '\0', sizeof(spec.at.name)));
	rpc_call_reply(call, json_pack("{s:s}", "name", spec.at.name));
}

static void serve_later(struct rpc_call *call, void *opaque)
{
	if (target.later_count == LATER_MAX)
		rpc_call_error(call, RPC_FAILED, "too many");
	else
		target.later[target.later_count++] = call;
}

static void serve_now(struct rpc_call *call, void *opaque)
{
	const char *port = rpc_call_param(call, "port");

	rpc_call_reply(call, json_pack("[s?]", port));
}

static const struct ctl_command commands[] = {
	{.words = "port add", .method = "port.add", .params = "SPEC", .serve = serve_add},
	{.words = "port remove", .method = "port.remove", .params = "NAME", .serve = serve_later},
	{.words = "stats", .method = "stats", .params = "[PORT]", .serve = serve_now},
};

static void init(void)
{
	char folder[] = "/tmp/vireo-fuzz-XXXXXX";
	struct ctl_server_config config = {
		.path = target.address.sun_path, .commands = commands, .command_count = ARRAY_SIZE(commands)};
	int ret;

	if (!mkdtemp(folder))
		abort();
	target.address.sun_family = AF_UNIX;
	snprintf(target.address.sun_path, sizeof(target.address.sun_path), "%s/c", folder);
	ret = loop_new(&target.loop);
	assert(ret == 0);
	ret = ctl_server_new(&config, target.loop, &target.server);
	assert(ret == 0);
}

static void turn(int sock)
{
	char replies[8192];

	while (loop_dispatch(target.loop, 0) > 0)
		;
	while (sock >= 0 && recv(sock, replies, sizeof(replies), MSG_DONTWAIT) > 0)
		;
}

/* A request that is right but for one field, in which the rest of the input goes. */
static size_t shaped(struct fuzz_input *in, char *line, size_t bytes, uint8_t how)
{
	static const char *const shapes[] = {
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"port.add\",\"params\":{\"spec\":\"%s\"}}\n",
		"{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"stats\"}\n",
		"[{\"jsonrpc\":\"2.0\",\"method\":\"stats\",\"params\":[\"%s\"]},1,{\"method\":\"port.remove\"}]\n",
		"{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"port.remove\",\"params\":{\"name\":\"%s\"}}\n",
		"%s\n",
	};
	char text[200];
	size_t n = fuzz_u8(in) % sizeof(text);

	fuzz_take(in, text, n);
	text[n < sizeof(text) ? n : n - 1] = '\0';
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-nonliteral"
	return (size_t)snprintf(line, bytes, shapes[how % ARRAY_SIZE(shapes)], text);
#pragma clang diagnostic pop
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	int sock;

	if (!target.loop)
		init();
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&target.address, sizeof(target.address)))
		abort();
	turn(sock);
	for (unsigned i = 0; i < 16 && in.left; i++) {
		char line[512];
		uint8_t how = fuzz_u8(&in);
		size_t bytes;

		if (how & 1) {
			bytes = shaped(&in, line, sizeof(line), how >> 2);
		} else {
			bytes = fuzz_u8(&in);
			fuzz_take(&in, line, bytes);
		}
		if (send(sock, line, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		turn(sock);
		if (how & 2 && target.later_count)
			rpc_call_reply(target.later[--target.later_count], json_true());
	}
	close(sock);
	turn(-1);
	while (target.later_count)
		rpc_call_error(target.later[--target.later_count], RPC_FAILED, "gone");
	turn(-1);
	return 0;
}
