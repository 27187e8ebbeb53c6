/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch is one text from a client: a single request or an array of them. Each request that asks for an
 * answer becomes a call. `pending` counts the calls that are not answered yet, and one more while
 * rpc_handle() is still handing them out, so that answers given at once do not end the batch too early. Each
 * answer is turned to text as it comes, so a batch never holds more than one result tree and
 * RPC_REPLY_MAX_BYTES of text.
 */
#include "ctl/rpc.h"
#include "base/visible.h"
#include "ctl/catalogue.h"
#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rpc_batch {
	rpc_done_fn *done; /* NULL: abandoned */
	void *done_opaque;
	unsigned pending;
	bool array;
	char *text;
	size_t text_bytes;
};

struct rpc_call {
	struct rpc_batch *batch;
	json_t *id;	/* NULL: a notification, nobody waits for the answer */
	json_t *params; /* an object of strings, checked against the table's row */
	int *fd;        /* NULL: none can come; valid until its serve function returns */
};

static json_t *error_json(int code, const char *message, json_t *id)
{
	return json_pack("{s:s, s:{s:i, s:s}, s:O?}", "jsonrpc", "2.0", "error", "code", code, "message",
			 message, "id", id);
}

char *rpc_error_text(int code, const char *message)
{
	json_t *reply = error_json(code, message, json_null());
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	return text;
}

static bool batch_append(struct rpc_batch *batch, const char *text, size_t bytes, size_t max_bytes)
{
	size_t total = batch->text_bytes + bytes + 2; /* separator before, closing bracket after */
	char *grown;

	if (total > max_bytes)
		return false;
	grown = realloc(batch->text, total);
	if (!grown)
		return false;
	batch->text = grown;
	if (batch->array) {
		grown[batch->text_bytes] = batch->text_bytes ? ',' : '[';
		batch->text_bytes++;
	}
	memcpy(grown + batch->text_bytes, text, bytes);
	batch->text_bytes += bytes;
	return true;
}

/* Takes `reply` over. What does not fit is answered with a short error in its place. */
static void batch_add(struct rpc_batch *batch, json_t *reply, json_t *id)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	if (!text || !batch_append(batch, text, strlen(text), RPC_REPLY_MAX_BYTES)) {
		free(text);
		reply = error_json(RPC_INTERNAL_ERROR, "the reply is too large or memory is short", id);
		text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
		json_decref(reply);
		if (text)
			batch_append(batch, text, strlen(text),
				     SIZE_MAX); /* at most RPC_BATCH_MAX of these */
	}
	free(text);
}

/* True: that was the last one, the batch is gone. */
static bool batch_put(struct rpc_batch *batch)
{
	if (--batch->pending)
		return false;
	if (batch->text && batch->array)
		batch->text[batch->text_bytes++] = ']';
	if (batch->done)
		batch->done(batch->done_opaque, batch->text, batch->text_bytes);
	else
		free(batch->text);
	free(batch);
	return true;
}

void rpc_batch_abandon(struct rpc_batch *batch)
{
	batch->done = NULL;
}

static void call_end(struct rpc_call *call, json_t *reply)
{
	if (call->id && call->batch->done)
		batch_add(call->batch, reply, call->id);
	else
		json_decref(reply);
	batch_put(call->batch);
	json_decref(call->id);
	json_decref(call->params);
	free(call);
}

const char *rpc_call_param(const struct rpc_call *call, const char *name)
{
	return json_string_value(json_object_get(call->params, name));
}

int rpc_call_fd(const struct rpc_call *call)
{
	return call->fd ? *call->fd : -1;
}

void rpc_call_fd_take(struct rpc_call *call)
{
	if (call->fd)
		*call->fd = -1;
}

void rpc_call_reply(struct rpc_call *call, json_t *result)
{
	if (!result) {
		rpc_call_error(call, RPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	call_end(call, json_pack("{s:s, s:o, s:O?}", "jsonrpc", "2.0", "result", result, "id", call->id));
}

void rpc_call_error(struct rpc_call *call, int code, const char *fmt, ...)
{
	char message[1024], shown[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	visible_copy(shown, sizeof(shown), message);
	call_end(call, error_json(code, shown, call->id));
}

/* By name or by position: JSON-RPC allows both. NULL: left out. */
static json_t *param_of(json_t *params, const char *name, unsigned index)
{
	return json_is_array(params) ? json_array_get(params, index) : json_object_get(params, name);
}

/* A new object with the row's parameters, or NULL and why not. */
static json_t *params_check(const struct ctl_command *row, json_t *params, char *why, size_t why_bytes)
{
	json_t *checked = json_object();
	char name[CTL_PARAM_NAME_BYTES];
	size_t taken = 0;
	bool required;

	for (unsigned i = 0; checked && ctl_command_param(row, i, name, &required); i++) {
		json_t *value = param_of(params, name, i);

		taken += value ? 1 : 0;
		if (!value && !required)
			continue;
		if (!json_is_string(value) || json_object_set(checked, name, value)) {
			snprintf(why, why_bytes, "parameter '%s': expected a string", name);
			json_decref(checked);
			return NULL;
		}
	}
	if (taken == (json_is_array(params) ? json_array_size(params) : json_object_size(params)))
		return checked;
	snprintf(why, why_bytes, "unknown parameters: expected %s", *row->params ? row->params : "none");
	json_decref(checked);
	return NULL;
}

static bool request_valid(const json_t *request, json_t *id)
{
	const char *version = json_string_value(json_object_get(request, "jsonrpc"));
	const json_t *params = json_object_get(request, "params");

	return version && !strcmp(version, "2.0") && json_is_string(json_object_get(request, "method")) &&
	       (!params || json_is_array(params) || json_is_object(params)) &&
	       (!id || json_is_string(id) || json_is_number(id) || json_is_null(id));
}

struct rpc_context {
	const struct ctl_command *commands;
	size_t command_count;
	void *serve_opaque;
	int *fd;
};

static void serve_catalogue(struct rpc_call *call, void *opaque)
{
	const struct rpc_context *context = opaque;

	rpc_call_reply(call, ctl_catalogue_json(context->commands, context->command_count));
}

/* Of every table. */
static const struct ctl_command catalogue_row = {
	.words = "", .method = CTL_CATALOGUE_METHOD, .params = "", .serve = serve_catalogue};

static const struct ctl_command *row_of(const struct rpc_context *context, const json_t *request)
{
	const char *method = json_string_value(json_object_get(request, "method"));

	return strcmp(method, CTL_CATALOGUE_METHOD) ? ctl_command_by_method(context->commands, context->command_count, method) :
						      &catalogue_row;
}

static void request_serve(const struct rpc_context *context, struct rpc_batch *batch, json_t *request)
{
	json_t *id = json_object_get(request, "id");
	const struct ctl_command *row;
	struct rpc_call *call;
	char why[128];

	if (!request_valid(request, id)) {
		bool usable = json_is_string(id) || json_is_number(id);

		id = usable ? id : json_null();
		batch_add(batch, error_json(RPC_INVALID_REQUEST, "not a JSON-RPC 2.0 request", id), id);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		if (id)
			batch_add(batch, NULL, id);
		return;
	}
	batch->pending++;
	call->batch = batch;
	call->id = json_incref(id);
	row = row_of(context, request);
	if (!row || !row->serve) {
		rpc_call_error(call, RPC_METHOD_NOT_FOUND, "no such method");
		return;
	}
	call->params = params_check(row, json_object_get(request, "params"), why, sizeof(why));
	call->fd = row->flags & CTL_FD ? context->fd : NULL;
	if (!call->params)
		rpc_call_error(call, RPC_INVALID_PARAMS, "%s", why);
	else
		row->serve(call, row == &catalogue_row ? (void *)(uintptr_t)context : context->serve_opaque);
}

static void requests_serve(const struct rpc_context *context, struct rpc_batch *batch, json_t *root)
{
	size_t count = json_array_size(root);
	json_t *null = json_null();

	if (!json_is_array(root)) {
		request_serve(context, batch, root);
	} else if (count == 0) {
		batch_add(batch, error_json(RPC_INVALID_REQUEST, "empty batch", null), null);
	} else if (count > RPC_BATCH_MAX) {
		batch_add(batch, error_json(RPC_INVALID_REQUEST, "batch of more than 64 requests", null),
			  null);
	} else {
		batch->array = true;
		for (size_t i = 0; i < count; i++)
			request_serve(context, batch, json_array_get(root, i));
	}
}

struct rpc_batch *rpc_handle(const struct ctl_command *commands, size_t command_count, void *serve_opaque,
			     const char *text, size_t text_bytes, int *fd, rpc_done_fn *done, void *done_opaque)
{
	const struct rpc_context context = {commands, command_count, serve_opaque, fd};
	struct rpc_batch *batch = calloc(1, sizeof(*batch));
	json_error_t error;
	json_t *root;

	if (!batch) {
		done(done_opaque, NULL, 0);
		return NULL;
	}
	batch->done = done;
	batch->done_opaque = done_opaque;
	batch->pending = 1;
	root = json_loadb(text, text_bytes, JSON_REJECT_DUPLICATES, &error);
	if (root)
		requests_serve(&context, batch, root);
	else
		batch_add(batch, error_json(RPC_PARSE_ERROR, "not JSON", json_null()), json_null());
	json_decref(root);
	return batch_put(batch) ? NULL : batch;
}
