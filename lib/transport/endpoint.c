/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/endpoint.h"
#include "base/util.h"
#include <errno.h>
#include <string.h>

static const struct endpoint_ops *const transports[] = {
	&vhost_user_endpoint_ops,
#if VIREO_HAS_VDUSE
	&vduse_endpoint_ops,
#endif
#if VIREO_HAS_CUSE
	&cuse_endpoint_ops,
#endif
};

/* Transports that need what this library may have been built without. */
static bool left_out(const char *address)
{
	return (!VIREO_HAS_VDUSE && !strncmp(address, "vduse:", 6)) ||
	       (!VIREO_HAS_CUSE && !strncmp(address, "cuse:", 5));
}

#define RESERVED_IS_ZERO(part) all_zero((part).reserved, ARRAY_SIZE((part).reserved))

static bool all_zero(const uint64_t *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (words[i])
			return false;
	return true;
}

static bool config_valid(const struct vireo_endpoint_config *config)
{
	return config->files <= VIREO_FILES_ANY && RESERVED_IS_ZERO(config->vhost_user) &&
	       RESERVED_IS_ZERO(config->vduse) && RESERVED_IS_ZERO(config->cuse);
}

int vireo_endpoint_open(struct vireo_device *device, const char *address,
			const struct vireo_endpoint_config *user_config, struct vireo_endpoint **ret_endpoint)
{
	struct vireo_endpoint_config config = { .size = sizeof(config) };
	struct vireo_endpoint_state state;

	if (user_config) {
		int r = config_copy(&config, sizeof(config), user_config);

		if (r)
			return r;
	}
	if (!config_valid(&config))
		return -EINVAL;
	if (config.state && config_copy(&state, sizeof(state), config.state))
		return -EINVAL;
	config.state = config.state ? &state : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(transports); i++) {
		size_t prefix_chars = strlen(transports[i]->prefix);

		if (strncmp(address, transports[i]->prefix, prefix_chars) != 0)
			continue;
		if (!device && !(transports[i]->many && config.cuse.device_new))
			return -EINVAL;
		if (config.state && !transports[i]->go_on)
			return -EOPNOTSUPP;
		return transports[i]->open(device, address + prefix_chars, &config, ret_endpoint);
	}
	return left_out(address) ? -EOPNOTSUPP : -EINVAL;
}

int endpoint_drop_new(const struct vireo_endpoint_config *config, bool run_aside_too, struct drop **ret_drop)
{
	drop_run_fn *run = config->close_aside;

	if (!run && run_aside_too)
		run = config->run_aside;
	*ret_drop = NULL;
	return run ? drop_new(run, config->run_opaque, ret_drop) : 0;
}

int vireo_endpoint_fd(const struct vireo_endpoint *endpoint)
{
	return endpoint->ops->fd(endpoint);
}

int vireo_endpoint_dispatch(struct vireo_endpoint *endpoint)
{
	return endpoint->ops->dispatch(endpoint);
}

bool vireo_endpoint_connected(const struct vireo_endpoint *endpoint)
{
	return endpoint->ops->connected(endpoint);
}

bool vireo_endpoint_peer(const struct vireo_endpoint *endpoint, struct vireo_endpoint_peer *ret_peer)
{
	struct vireo_endpoint_peer peer = { .size = sizeof(peer) };

	if (!endpoint->ops->peer || !endpoint->ops->peer(endpoint, &peer))
		return false;
	peer.size = min_u64(peer.size, ret_peer->size);
	memcpy(ret_peer, &peer, peer.size);
	return true;
}

int vireo_endpoint_hello_set(struct vireo_endpoint *endpoint, unsigned hello_ms)
{
	return endpoint->ops->hello_set ? endpoint->ops->hello_set(endpoint, hello_ms) : -EOPNOTSUPP;
}

int vireo_endpoint_hold(struct vireo_endpoint *endpoint, void (*held)(void *opaque, int err), void *opaque)
{
	return endpoint->ops->hold ? endpoint->ops->hold(endpoint, held, opaque) : -EOPNOTSUPP;
}

int vireo_endpoint_export(struct vireo_endpoint *endpoint, struct vireo_endpoint_state *ret_state)
{
	struct vireo_endpoint_state state = { .size = sizeof(state) };
	int r = endpoint->ops->export ? endpoint->ops->export(endpoint, &state) : -EOPNOTSUPP;

	if (r)
		return r;
	state.size = min_u64(state.size, ret_state->size);
	memcpy(ret_state, &state, state.size);
	return 0;
}

int vireo_endpoint_go_on(struct vireo_endpoint *endpoint)
{
	return endpoint->ops->go_on ? endpoint->ops->go_on(endpoint) : -EOPNOTSUPP;
}

void vireo_endpoint_close(struct vireo_endpoint *endpoint, void (*done)(void *opaque), void *opaque)
{
	if (endpoint)
		endpoint->ops->close(endpoint, done, opaque);
	else if (done)
		done(opaque);
}
