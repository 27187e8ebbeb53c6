/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words of commands come from the command table, and what a parameter may be from the daemon: NAME of "port remove" is a name of
 * what "port list" lists, and PORT of "fdb flush" is, too; WORKER of "worker move" a number of "worker list", or any; ADDRESS of "pci bind" is an address of what "pci list" lists.
 */
#include "complete.h"
#include "base/util.h"
#include "ctl/catalogue.h"
#include "ctl/client.h"
#include "foreign.h"
#include "local.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 1000u /* somebody sits at the keyboard */

/* Options whose value is the next word, and all others. */
static const char *const with_value[] = {"-s", "--socket", "-d", "--daemon", "--interval", "--count", "--timeout", "--root", "--to", "--filter", "--program", "--snaplen", "--id"};
static const char *const levels[] = {"error", "warning", "info", "debug"}; /* LEVEL of "log level", whatever daemon */
static const char *const links[] = {"up", "down"}; /* STATE of "port link" */
static const char *const alone[] = {"--json", "--watch", "--version", "--help"};

struct completion {
	struct invocation *inv;
	struct ctl_client *client;
	struct ctl_catalogue *catalogue;
	const char *begun;  /* the word that is being typed */
	char *const *words; /* those before it that are no options */
	int count;
};

static bool is_one_of(const char *word, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(word, list[i]))
			return true;
	return false;
}

/* A line is one candidate. */
static void offer(const struct completion *c, const char *word, size_t len)
{
	size_t begun = strlen(c->begun);

	if (len && len >= begun && !memcmp(word, c->begun, begun) && !memchr(word, '\n', len))
		printf("%.*s\n", (int)len, word);
}

static void offer_options(const struct completion *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(with_value); i++)
		if (with_value[i][1] == '-')
			offer(c, with_value[i], strlen(with_value[i]));
	for (size_t i = 0; i < ARRAY_SIZE(alone); i++)
		offer(c, alone[i], strlen(alone[i]));
}

/* ---- words of commands ---- */

/* How many of the typed words begin the row's, and where the row's next word is. -1: another row is meant. */
static int row_matches(const struct completion *c, const struct ctl_command *row, const char **ret_next)
{
	const char *at = row->words;
	int n = 0;

	for (; n < c->count && *at; n++) {
		size_t len = strcspn(at, " ");

		if (strlen(c->words[n]) != len || memcmp(c->words[n], at, len) != 0)
			return -1;
		at += len + (at[len] == ' ');
	}
	*ret_next = at;
	return n;
}

/* "port" once, although several commands begin so. */
static bool offered_before(const struct completion *c, size_t row, const char *word, size_t len)
{
	const char *next;

	for (size_t i = 0; i < row; i++)
		if (row_matches(c, &c->inv->commands[i], &next) == c->count && strcspn(next, " ") == len &&
		    !memcmp(next, word, len))
			return true;
	return false;
}

/* ---- parameters ---- */

static const struct ctl_command *list_of(const struct completion *c, const char *noun, size_t len)
{
	for (size_t i = 0; i < c->inv->command_count; i++) {
		const char *words = c->inv->commands[i].words;

		if (!strncmp(words, noun, len) && !strcmp(words + len, " list"))
			return &c->inv->commands[i];
	}
	return NULL;
}

static bool connected(struct completion *c)
{
	struct invocation *inv = c->inv;

	if (c->client)
		return true;
	if (!inv->socket) {
		if (ctl_default_path(inv->daemon, inv->default_socket, sizeof(inv->default_socket)))
			return false;
		inv->socket = inv->default_socket;
	}
	return !ctl_client_new(inv->socket, ANSWER_MS, &c->client);
}

/* What a "list" answers: an object with one array of objects. NULL: nothing. */
static json_t *list_answer(struct completion *c, const struct ctl_command *list)
{
	struct ctl_failure failure;
	json_t *answer = NULL, *visible;
	int err;

	if (!list->method)
		err = local_call(list->words, c->inv->root, 0, NULL, &answer);
	else
		err = connected(c) ? ctl_client_call(c->client, list->method, json_object(), &answer, &failure) : -1;
	visible = !err && answer ? foreign_visible(answer) : NULL;
	if (!err)
		json_decref(answer);
	return visible;
}

static void offer_value(const struct completion *c, const json_t *value)
{
	const char *word = json_string_value(value);
	char number[24];

	if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		word = number;
	}
	if (word)
		offer(c, word, strlen(word));
}

static void offer_listed(struct completion *c, const struct ctl_command *list, const char *field)
{
	json_t *answer = list_answer(c, list), *item;
	size_t i;

	for (void *it = json_object_iter(answer); it; it = json_object_iter_next(answer, it)) {
		const json_t *array = json_object_iter_value(it);

		for (i = 0; (item = json_array_get(array, i)); i++)
			offer_value(c, json_object_get(item, field));
	}
	json_decref(answer);
}

static void offer_all(const struct completion *c, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		offer(c, list[i], strlen(list[i]));
}

/* A switch's queues may be any worker's as well. */
static void offer_workers(struct completion *c, const struct ctl_command *row, const struct ctl_command *list)
{
	static const char *const any[] = {"any"};

	offer_listed(c, list, "worker");
	if (!strncmp(row->params, "PORT ", 5))
		offer_all(c, any, ARRAY_SIZE(any));
}

static void offer_parameter(struct completion *c, const struct ctl_command *row, unsigned index)
{
	char name[CTL_PARAM_NAME_BYTES];
	const struct ctl_command *list;
	bool required;

	if (!ctl_command_param(row, index, name, &required))
		return;
	list = list_of(c, name, strlen(name));
	if (!strcmp(row->words, "port link") && index == 1)
		offer_all(c, links, ARRAY_SIZE(links));
	else if (!strcmp(row->words, "worker move") && index == 1 && list)
		offer_workers(c, row, list);
	else if (!strcmp(row->words, "log level"))
		offer_all(c, levels, ARRAY_SIZE(levels));
	else if (list)
		offer_listed(c, list, "name");
	else if ((list = list_of(c, row->words, strcspn(row->words, " "))))
		offer_listed(c, list, name);
}

static void offer_words(struct completion *c)
{
	const char *next;

	for (size_t i = 0; i < c->inv->command_count; i++) {
		const struct ctl_command *row = &c->inv->commands[i];
		int matched = row_matches(c, row, &next);

		if (matched < 0)
			continue;
		if (!*next) {
			offer_parameter(c, row, (unsigned)(c->count - matched));
			return;
		}
		if (!offered_before(c, i, next, strcspn(next, " ")))
			offer(c, next, strcspn(next, " "));
	}
}

/* ---- the line so far ---- */

/* Takes the options out that decide who is asked; behind the `argc` words is one more. Returns how many are left in `words`. */
static int read_line(struct invocation *inv, int argc, char *const *argv, char **words)
{
	int count = 0;

	for (int i = 0; i < argc; i++) {
		const char *value = argv[i + 1];

		if (argv[i][0] != '-') {
			words[count++] = argv[i];
			continue;
		}
		if (!is_one_of(argv[i], with_value, ARRAY_SIZE(with_value)))
			continue;
		if (!strcmp(argv[i], "-s") || !strcmp(argv[i], "--socket"))
			inv->socket = value;
		else if (!strcmp(argv[i], "-d") || !strcmp(argv[i], "--daemon"))
			inv->daemon = value;
		else if (!strcmp(argv[i], "--root"))
			inv->root = value;
		i++;
	}
	return count;
}

/* The table of a daemon that is not known here; false: it does not tell. */
static bool ask_for_table(struct completion *c)
{
	json_t *answer, *visible;
	struct ctl_failure failure;

	if (!strcmp(c->inv->daemon, "switchd"))
		return true;
	if (!connected(c) || ctl_client_call(c->client, CTL_CATALOGUE_METHOD, json_object(), &answer, &failure))
		return false;
	visible = foreign_visible(answer);
	json_decref(answer);
	if (visible && !ctl_catalogue_new(visible, NULL, NULL, 0, &c->catalogue))
		c->inv->commands = ctl_catalogue_rows(c->catalogue, &c->inv->command_count);
	json_decref(visible);
	return c->catalogue;
}

void complete(struct invocation *inv, int argc, char *const *argv)
{
	struct completion c = {.inv = inv};
	char **words;

	if (argc < 1)
		return;
	words = calloc((size_t)argc, sizeof(*words));
	c.words = words;
	/* What is said to a terminal would stand in the middle of the line. */
	if (!words || !freopen("/dev/null", "w", stderr))
		goto out;
	c.begun = argv[argc - 1];
	c.count = read_line(inv, argc - 1, argv, words);
	if (*c.begun == '-')
		offer_options(&c);
	else if (argc < 2 || !is_one_of(argv[argc - 2], with_value, ARRAY_SIZE(with_value)))
		if (ask_for_table(&c))
			offer_words(&c);
out:
	ctl_catalogue_free(c.catalogue);
	ctl_client_free(c.client);
	free(words);
}
