/* SPDX-License-Identifier: BSD-3-Clause */
/* A table goes out as JSON and comes back as rows; what is no table is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "ctl/catalogue.h"
#include <errno.h>
#include <string.h>

static void serve(struct rpc_call *call, void *opaque)
{
}

static void show(struct show *show)
{
}

static const struct ctl_command table[] = {
	{"disk list", "disk.list", "", CTL_WATCH, "list the disks", serve, NULL},
	{"disk add", "disk.add", "SPEC [NAME]", 0, "add a disk", serve, NULL},
	{"top", "stats", "", CTL_REPEAT, "show rates", serve, NULL},
	{"local", NULL, "", 0, "is the client's own", NULL, NULL},
};
static const struct ctl_command own[] = {
	{"help", NULL, "", 0, "show this list", NULL, show},
	{"top", NULL, "", 0, "is the daemon's", NULL, show},
};

static void rows_come_out_as_they_went_in(void **state)
{
	json_t *answer = ctl_catalogue_json(table, ARRAY_SIZE(table));
	struct ctl_catalogue *catalogue;
	const struct ctl_command *rows;
	size_t count;

	assert_int_equal(ctl_catalogue_new(answer, show, own, ARRAY_SIZE(own), &catalogue), 0);
	json_decref(answer);
	rows = ctl_catalogue_rows(catalogue, &count);
	assert_int_equal(count, 4); /* three that are served, and one of the client's */
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(rows[i].words, table[i].words);
		assert_string_equal(rows[i].method, table[i].method);
		assert_string_equal(rows[i].params, table[i].params);
		assert_string_equal(rows[i].help, table[i].help);
		assert_int_equal(rows[i].flags, table[i].flags);
		assert_null(rows[i].serve);
		assert_ptr_equal(rows[i].show, show);
	}
	assert_string_equal(rows[3].words, "help");
	assert_null(rows[3].method);
	ctl_catalogue_free(catalogue);
}

static void what_is_no_table_is_refused(void **state)
{
	static const char *const lies[] = {
		"{}", "[]", "{\"commands\": 1}", "{\"commands\": [1]}", "{\"commands\": [{}]}",
		"{\"commands\": [{\"words\": \"a\", \"method\": \"a\", \"params\": \"\"}]}",
		"{\"commands\": [{\"words\": \"a\", \"method\": 1, \"params\": \"\", \"help\": \"\"}]}",
		"{\"commands\": [{\"words\": \"\", \"method\": \"a\", \"params\": \"\", \"help\": \"\"}]}",
		"{\"commands\": [{\"words\": \" a\", \"method\": \"a\", \"params\": \"\", \"help\": \"\"}]}",
		"{\"commands\": [{\"words\": \"a\", \"method\": \"\", \"params\": \"\", \"help\": \"\"}]}",
		"{\"commands\": [{\"words\": \"a\", \"method\": \"a\", \"params\": \"\", \"help\": \"\", \"watch\": 1}]}",
	};
	struct ctl_catalogue *catalogue;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		json_t *answer = json_loads(lies[i], 0, NULL);

		assert_non_null(answer);
		assert_int_equal(ctl_catalogue_new(answer, show, own, ARRAY_SIZE(own), &catalogue), -EPROTO);
		json_decref(answer);
	}
}

static void row_that_goes_on_and_on_is_refused(void **state)
{
	struct ctl_catalogue *catalogue;
	char params[300];
	json_t *answer;

	for (unsigned len = 100; len < sizeof(params); len += 150) {
		memset(params, 'A', len);
		params[len] = '\0';
		answer = json_pack("{s:[{s:s, s:s, s:s, s:s}]}", "commands", "words", "a", "method", "a", "params", params, "help", "");
		assert_int_equal(ctl_catalogue_new(answer, show, NULL, 0, &catalogue), len == 100 ? 0 : -EPROTO);
		if (len == 100)
			ctl_catalogue_free(catalogue);
		json_decref(answer);
	}
}

static void table_of_too_many_rows_is_refused(void **state)
{
	json_t *rows = json_array(), *answer = json_pack("{s:o}", "commands", rows);
	struct ctl_catalogue *catalogue;

	for (unsigned i = 0; i < CTL_CATALOGUE_ROWS_MAX; i++)
		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s}", "words", "a", "method", "a", "params", "", "help", ""));
	assert_int_equal(ctl_catalogue_new(answer, show, NULL, 0, &catalogue), 0);
	ctl_catalogue_free(catalogue);
	json_array_append(rows, json_array_get(rows, 0));
	assert_int_equal(ctl_catalogue_new(answer, show, NULL, 0, &catalogue), -EPROTO);
	json_decref(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_come_out_as_they_went_in),
		cmocka_unit_test(what_is_no_table_is_refused),
		cmocka_unit_test(row_that_goes_on_and_on_is_refused),
		cmocka_unit_test(table_of_too_many_rows_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
