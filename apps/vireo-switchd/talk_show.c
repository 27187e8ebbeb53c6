/* SPDX-License-Identifier: BSD-3-Clause */
/* talk show: who talks to whom. To ask for it is to have it counted. */
#include "talk_show.h"
#include "ctl/rpc.h"
#include "port.h"
#include "switch/talk.h"
#include <string.h>

/* Sums over workers: {from: {to: pair}}, whose pairs are those of the list as well. */
struct talk_listing {
	json_t *pairs, *by_from;
};

static json_t *child_of(json_t *object, const char *key)
{
	json_t *child = json_object_get(object, key);

	if (!child && !json_object_set_new(object, key, json_object()))
		child = json_object_get(object, key);
	return child;
}

static void number_grow(json_t *pair, const char *key, uint64_t n)
{
	json_t *number = json_object_get(pair, key);

	json_integer_set(number, json_integer_value(number) + (json_int_t)n);
}

static void list_pair(void *opaque, const struct sw_talk_pair *pair)
{
	const struct talk_listing *listing = opaque;
	json_t *by_to = child_of(listing->by_from, pair->from), *known = json_object_get(by_to, pair->to);

	if (!known) {
		known = json_pack("{s:s, s:s, s:i, s:i}", "from", pair->from, "to", pair->to, "frames", 0, "bytes", 0);
		json_array_append(listing->pairs, known);
		json_object_set_new(by_to, pair->to, known);
	}
	number_grow(known, "frames", pair->frames);
	number_grow(known, "bytes", pair->bytes);
}

void serve_talk_show(struct rpc_call *call, void *opaque)
{
	const struct ports *ports = opaque;
	struct talk_listing listing = {json_array(), json_object()};
	int err = sw_talk_ask(ports->sw);

	if (!err)
		sw_talk_each(ports->sw, list_pair, &listing);
	json_decref(listing.by_from);
	if (!err) {
		rpc_call_reply(call, json_pack("{s:I, s:I, s:o}", "since_us", (json_int_t)sw_talk_since_us(ports->sw), "uncounted",
					       (json_int_t)sw_talk_uncounted(ports->sw), "pairs", listing.pairs));
		return;
	}
	json_decref(listing.pairs);
	rpc_call_error(call, RPC_FAILED, "cannot count who talks to whom: %s", strerror(-err));
}
