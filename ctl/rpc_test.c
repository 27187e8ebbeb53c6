/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/rpc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned served;
static struct rpc_call *parked[RPC_BATCH_MAX];
static unsigned parked_count;
static char *reply_text;
static unsigned done_count;

static void serve_echo(struct rpc_call *call, void *opaque)
{
	const char *text = rpc_call_param(call, "text");

	served++;
	rpc_call_reply(call, json_pack("{s:s?}", "text", text));
}

static void serve_fail(struct rpc_call *call, void *opaque)
{
	served++;
	rpc_call_error(call, RPC_NOT_FOUND, "no %s", "thing");
}

static void serve_park(struct rpc_call *call, void *opaque)
{
	parked[parked_count++] = call;
}

static void serve_huge(struct rpc_call *call, void *opaque)
{
	size_t bytes = RPC_REPLY_MAX_BYTES / 4;
	char *text = malloc(bytes);

	memset(text, 'x', bytes);
	rpc_call_reply(call, json_stringn(text, bytes));
	free(text);
}

static const struct ctl_command commands[] = {
	{"echo", "echo", "TEXT", 0, "", serve_echo, NULL},
	{"maybe", "maybe", "[TEXT]", 0, "", serve_echo, NULL},
	{"fail", "fail", "", 0, "", serve_fail, NULL},
	{"park", "park", "", 0, "", serve_park, NULL},
	{"huge", "huge", "", 0, "", serve_huge, NULL},
};

static void on_done(void *opaque, char *reply, size_t bytes)
{
	done_count++;
	free(reply_text);
	reply_text = reply ? strndup(reply, bytes) : NULL;
	free(reply);
}

static int reset(void **state)
{
	free(reply_text);
	reply_text = NULL;
	served = parked_count = done_count = 0;
	return 0;
}

static struct rpc_batch *handle(const char *text)
{
	return rpc_handle(commands, ARRAY_SIZE(commands), NULL, text, strlen(text), NULL, on_done, NULL);
}

/* `expected` is JSON with the blanks that read well. */
static void assert_reply(const char *expected)
{
	json_t *want = json_loads(expected, 0, NULL), *got;

	assert_non_null(want);
	assert_non_null(reply_text);
	got = json_loads(reply_text, 0, NULL);
	if (!json_equal(want, got))
		fail_msg("expected %s, got %s", expected, reply_text);
	json_decref(want);
	json_decref(got);
}

static void assert_answers(const char *request, const char *expected)
{
	assert_null(handle(request));
	assert_int_equal(done_count, 1);
	assert_reply(expected);
}

#define ERROR(code, message, id) \
	"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":" #code ",\"message\":\"" message "\"},\"id\":" #id "}"
#define RESULT(text, id) "{\"jsonrpc\":\"2.0\",\"result\":{\"text\":\"" text "\"},\"id\":" #id "}"

static void text_that_is_no_json_is_a_parse_error(void **state)
{
	static const char *const texts[] = {"x",	   "{",
					    "{\"a\":}",	   "[1,",
					    "\"\\u0000\"", "{\"id\":1,\"id\":2}",
					    "\xff\xfe",	   "[99999999999999999999]"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		reset(NULL);
		assert_answers(texts[i], ERROR(-32700, "not JSON", null));
	}
}

static void bytes_after_a_nul_are_not_ignored(void **state)
{
	rpc_handle(commands, ARRAY_SIZE(commands), NULL, "{}\0{}", 5, NULL, on_done, NULL);
	assert_reply(ERROR(-32700, "not JSON", null));
}

static void json_nested_without_end_is_a_parse_error(void **state)
{
	char deep[100001];

	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_answers(deep, ERROR(-32700, "not JSON", null));
}

static void what_is_no_request_is_invalid(void **state)
{
	static const char *const texts[] = {"{}",
					    "{\"jsonrpc\":\"1.0\",\"method\":\"fail\"}",
					    "{\"jsonrpc\":2.0,\"method\":\"fail\"}",
					    "{\"jsonrpc\":\"2.0\",\"method\":1}",
					    "{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"params\":1}",
					    "{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":[1]}",
					    "{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":true}"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		reset(NULL);
		assert_answers(texts[i], ERROR(-32600, "not a JSON-RPC 2.0 request", null));
		assert_int_equal(served, 0);
	}
}

static void an_invalid_request_keeps_its_id(void **state)
{
	assert_answers("{\"jsonrpc\":\"2.0\",\"id\":4}", ERROR(-32600, "not a JSON-RPC 2.0 request", 4));
}

static void an_unknown_method_is_told(void **state)
{
	assert_answers("{\"jsonrpc\":\"2.0\",\"method\":\"nope\",\"id\":1}",
		       ERROR(-32601, "no such method", 1));
}

static void an_id_comes_back_as_it_was(void **state)
{
	assert_answers("{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":\"a\"}",
		       ERROR(-32002, "no thing", "a"));
	reset(NULL);
	assert_answers("{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":-7}", ERROR(-32002, "no thing", -7));
	reset(NULL);
	assert_answers("{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":null}",
		       ERROR(-32002, "no thing", null));
}

static void params_go_by_name_or_by_position(void **state)
{
	assert_answers("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"text\":\"a\"},\"id\":1}",
		       RESULT("a", 1));
	reset(NULL);
	assert_answers("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"b\"],\"id\":1}",
		       RESULT("b", 1));
}

static void params_that_do_not_fit_the_row_are_invalid(void **state)
{
	static const char *const params[] = {"{}", "[]", "[1]", "{\"text\":null}", "{\"text\":{}}"};
	static const char *const extra[] = {"[\"a\",\"b\"]", "{\"text\":\"a\",\"more\":\"b\"}"};
	char request[128];

	for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
		reset(NULL);
		snprintf(request, sizeof(request),
			 "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":%s,\"id\":1}", params[i]);
		assert_answers(request, ERROR(-32602, "parameter 'text': expected a string", 1));
	}
	for (size_t i = 0; i < ARRAY_SIZE(extra); i++) {
		reset(NULL);
		snprintf(request, sizeof(request),
			 "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":%s,\"id\":1}", extra[i]);
		assert_answers(request, ERROR(-32602, "unknown parameters: expected TEXT", 1));
	}
	assert_int_equal(served, 0);
}

static void an_optional_param_may_be_left_out(void **state)
{
	assert_answers("{\"jsonrpc\":\"2.0\",\"method\":\"maybe\",\"id\":1}",
		       "{\"jsonrpc\":\"2.0\",\"result\":{\"text\":null},\"id\":1}");
}

static void a_notification_is_served_and_never_answered(void **state)
{
	assert_null(handle("{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}"));
	assert_int_equal(served, 1);
	assert_int_equal(done_count, 1);
	assert_null(reply_text);
	assert_null(handle("{\"jsonrpc\":\"2.0\",\"method\":\"nope\"}"));
	assert_null(reply_text);
}

static void a_batch_is_answered_by_an_array(void **state)
{
	assert_answers("[{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"a\"],\"id\":1},"
		       "{\"jsonrpc\":\"2.0\",\"method\":\"fail\"},17,"
		       "{\"jsonrpc\":\"2.0\",\"method\":\"nope\",\"id\":2}]",
		       "[" RESULT("a", 1) "," ERROR(-32600, "not a JSON-RPC 2.0 request",
						    null) "," ERROR(-32601, "no such method", 2) "]");
	assert_int_equal(served, 2);
}

static void a_batch_of_notifications_is_not_answered(void **state)
{
	assert_null(handle(
		"[{\"jsonrpc\":\"2.0\",\"method\":\"fail\"},{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}]"));
	assert_int_equal(served, 2);
	assert_null(reply_text);
}

static void an_empty_batch_is_invalid(void **state)
{
	assert_answers("[]", ERROR(-32600, "empty batch", null));
}

static void a_batch_has_a_largest_size(void **state)
{
	char text[65 * 64 + 8];
	size_t n = 0;

	for (int i = 0; i < 65; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "%c{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":1}", i ? ',' : '[');
	snprintf(text + n, sizeof(text) - n, "]");
	assert_answers(text, ERROR(-32600, "batch of more than 64 requests", null));
	assert_int_equal(served, 0);
}

static void a_batch_waits_for_its_last_call(void **state)
{
	struct rpc_batch *batch = handle("[{\"jsonrpc\":\"2.0\",\"method\":\"park\",\"id\":1},"
					 "{\"jsonrpc\":\"2.0\",\"method\":\"park\",\"id\":2}]");

	assert_non_null(batch);
	rpc_call_reply(parked[1], json_pack("{s:s}", "text", "b"));
	assert_int_equal(done_count, 0);
	rpc_call_reply(parked[0], json_pack("{s:s}", "text", "a"));
	assert_int_equal(done_count, 1);
	assert_reply("[" RESULT("b", 2) "," RESULT("a", 1) "]");
}

static void an_abandoned_batch_is_not_answered(void **state)
{
	struct rpc_batch *batch = handle("{\"jsonrpc\":\"2.0\",\"method\":\"park\",\"id\":1}");

	assert_non_null(batch);
	rpc_batch_abandon(batch);
	rpc_call_reply(parked[0], json_object());
	assert_int_equal(done_count, 0);
}

static void a_batch_of_huge_replies_is_bounded(void **state)
{
	size_t oversize = 0;
	json_t *replies, *reply;
	size_t i;

	assert_null(handle("[{\"jsonrpc\":\"2.0\",\"method\":\"huge\",\"id\":1},"
			   "{\"jsonrpc\":\"2.0\",\"method\":\"huge\",\"id\":2},"
			   "{\"jsonrpc\":\"2.0\",\"method\":\"huge\",\"id\":3},"
			   "{\"jsonrpc\":\"2.0\",\"method\":\"huge\",\"id\":4},"
			   "{\"jsonrpc\":\"2.0\",\"method\":\"huge\",\"id\":5}]"));
	assert_true(strlen(reply_text) < RPC_REPLY_MAX_BYTES + 1024);
	replies = json_loads(reply_text, 0, NULL);
	assert_int_equal(json_array_size(replies), 5);
	for (i = 0; (reply = json_array_get(replies, i)); i++)
		oversize += json_object_get(reply, "error") != NULL;
	assert_int_equal(oversize, 2);
	json_decref(replies);
}

static void a_message_that_is_no_utf8_does_not_lose_the_answer(void **state)
{
	handle("{\"jsonrpc\":\"2.0\",\"method\":\"park\",\"id\":1}");
	rpc_call_error(parked[0], RPC_FAILED, "path \xff");
	assert_reply(ERROR(-32000, "path \\\\xff", 1));
}

static void a_message_stays_one_line(void **state)
{
	handle("{\"jsonrpc\":\"2.0\",\"method\":\"park\",\"id\":1}");
	rpc_call_error(parked[0], RPC_FAILED, "port 'a\nb\033'");
	assert_reply(ERROR(-32000, "port 'a\\\\x0ab\\\\x1b'", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(text_that_is_no_json_is_a_parse_error, reset, reset),
		cmocka_unit_test_setup_teardown(bytes_after_a_nul_are_not_ignored, reset, reset),
		cmocka_unit_test_setup_teardown(json_nested_without_end_is_a_parse_error, reset, reset),
		cmocka_unit_test_setup_teardown(what_is_no_request_is_invalid, reset, reset),
		cmocka_unit_test_setup_teardown(an_invalid_request_keeps_its_id, reset, reset),
		cmocka_unit_test_setup_teardown(an_unknown_method_is_told, reset, reset),
		cmocka_unit_test_setup_teardown(an_id_comes_back_as_it_was, reset, reset),
		cmocka_unit_test_setup_teardown(params_go_by_name_or_by_position, reset, reset),
		cmocka_unit_test_setup_teardown(params_that_do_not_fit_the_row_are_invalid, reset, reset),
		cmocka_unit_test_setup_teardown(an_optional_param_may_be_left_out, reset, reset),
		cmocka_unit_test_setup_teardown(a_notification_is_served_and_never_answered, reset, reset),
		cmocka_unit_test_setup_teardown(a_batch_is_answered_by_an_array, reset, reset),
		cmocka_unit_test_setup_teardown(a_batch_of_notifications_is_not_answered, reset, reset),
		cmocka_unit_test_setup_teardown(an_empty_batch_is_invalid, reset, reset),
		cmocka_unit_test_setup_teardown(a_batch_has_a_largest_size, reset, reset),
		cmocka_unit_test_setup_teardown(a_batch_waits_for_its_last_call, reset, reset),
		cmocka_unit_test_setup_teardown(an_abandoned_batch_is_not_answered, reset, reset),
		cmocka_unit_test_setup_teardown(a_batch_of_huge_replies_is_bounded, reset, reset),
		cmocka_unit_test_setup_teardown(a_message_that_is_no_utf8_does_not_lose_the_answer, reset,
						reset),
		cmocka_unit_test_setup_teardown(a_message_stays_one_line, reset, reset),
	};

	return cmocka_run_group_tests_name("rpc", tests, NULL, NULL);
}
