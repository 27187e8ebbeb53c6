/* SPDX-License-Identifier: BSD-3-Clause */
/* The command table itself, and that vireoctl(1), named on the command line, lists exactly its rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "ctl/switchd_commands.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ctl_command commands[] = {CTL_SWITCHD_COMMANDS(CTL_ROW_TEXT)};
static const char *man_path;

/* The row as the man page writes it: ".It Cm port add Ar SPEC", ".It Cm fdb flush Op Ar PORT". */
static void man_item(const struct ctl_command *row, char *item, size_t bytes)
{
	size_t n = (size_t)snprintf(item, bytes, ".It Cm %s", row->words);
	const char *params = row->params;

	while (*params) {
		size_t len = strcspn(params, " ");
		bool optional = *params == '[';
		int name = (int)strcspn(params, "=") - 3;

		if (!strncmp(params, "[--", 3)) /* "[--to=WHERE]" */
			n += (size_t)snprintf(item + n, bytes - n, " Op Fl -%.*s Ar %.*s", name, params + 3, (int)len - name - 5,
					      params + name + 4);
		else
			n += (size_t)snprintf(item + n, bytes - n, " %sAr %.*s", optional ? "Op " : "",
				      (int)len - (optional ? 2 : 0), params + optional);
		params += len + (params[len] == ' ');
	}
	if (row->flags & CTL_WATCH)
		snprintf(item + n, bytes - n, " Op Fl -watch");
}

static void the_man_page_lists_the_commands_in_the_tables_order(void **state)
{
	FILE *man = fopen(man_path, "re");
	char *line = NULL, item[256];
	size_t capacity = 0, row = 0;

	assert_non_null(man);
	while (getline(&line, &capacity, man) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, ".It Cm ", 7) != 0)
			continue;
		if (row == ARRAY_SIZE(commands))
			fail_msg("%s: '%s' is not in the table", man_path, line);
		man_item(&commands[row++], item, sizeof(item));
		assert_string_equal(line, item);
	}
	assert_int_equal(row, ARRAY_SIZE(commands));
	free(line);
	fclose(man);
}

static void words_find_their_row_and_no_other(void **state)
{
	char *argv[] = {(char[]){"port"}, (char[]){"add"}, (char[]){"null:x"}};
	int words = 0;

	assert_string_equal(ctl_command_by_words(commands, ARRAY_SIZE(commands), 3, argv, &words)->method,
			    "port.add");
	assert_int_equal(words, 2);
	assert_null(ctl_command_by_words(commands, ARRAY_SIZE(commands), 1, argv, &words));
	assert_null(ctl_command_by_words(commands, ARRAY_SIZE(commands), 0, argv, &words));
	argv[0][3] = '\0'; /* "por" */
	assert_null(ctl_command_by_words(commands, ARRAY_SIZE(commands), 3, argv, &words));
}

static void params_have_names_and_may_be_optional(void **state)
{
	const struct ctl_command row = {.params = "SPEC [PORT] LAST"};
	char name[CTL_PARAM_NAME_BYTES];
	bool required = false;

	assert_true(ctl_command_param(&row, 0, name, &required));
	assert_string_equal(name, "spec");
	assert_true(required);
	assert_true(ctl_command_param(&row, 1, name, &required));
	assert_string_equal(name, "port");
	assert_false(required);
	assert_true(ctl_command_param(&row, 2, name, &required));
	assert_string_equal(name, "last");
	assert_true(required);
	assert_false(ctl_command_param(&row, 3, name, &required));
	assert_false(ctl_command_param_is_option(&row, 1));
}

static void a_param_may_be_an_option(void **state)
{
	const struct ctl_command row = {.params = "PORT [--to=WHERE]"};
	char name[CTL_PARAM_NAME_BYTES];
	bool required = true;

	assert_true(ctl_command_param(&row, 1, name, &required));
	assert_string_equal(name, "to");
	assert_false(required);
	assert_true(ctl_command_param_is_option(&row, 1));
	assert_false(ctl_command_param_is_option(&row, 0));
	assert_false(ctl_command_param_is_option(&row, 2));
}

static void no_two_rows_have_the_same_words(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(commands[i].words, commands[j].words);
}

static void the_default_path_is_under_run_for_root_only(void **state)
{
	char path[64];

	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_int_equal(ctl_default_path("switchd", path, sizeof(path)), 0);
	assert_string_equal(path,
			    geteuid() == 0 ? "/run/vireo/switchd.sock" : "/run/user/7/vireo/switchd.sock");
	assert_int_not_equal(ctl_default_path("switchd", path, 10), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_man_page_lists_the_commands_in_the_tables_order),
		cmocka_unit_test(words_find_their_row_and_no_other),
		cmocka_unit_test(params_have_names_and_may_be_optional),
		cmocka_unit_test(a_param_may_be_an_option),
		cmocka_unit_test(no_two_rows_have_the_same_words),
		cmocka_unit_test(the_default_path_is_under_run_for_root_only),
	};

	man_path = argc > 1 ? argv[1] : "man/vireoctl.1";
	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
