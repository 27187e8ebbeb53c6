/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"
#include "base/util.h"
#include "vireo/base.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct config {
	size_t size;
	uint32_t known;
	uint32_t newer;
};

struct future_config {
	struct config now;
	uint64_t unknown;
};

static void config_of_our_size_is_copied(void **state)
{
	struct config from = { .size = sizeof(from), .known = 1, .newer = 2 }, to;

	assert_int_equal(config_copy(&to, sizeof(to), &from), 0);
	assert_memory_equal(&to, &from, sizeof(to));
}

static void fields_that_an_older_caller_does_not_know_are_zero(void **state)
{
	struct config from = { .size = offsetof(struct config, newer), .known = 1, .newer = 0xdead }, to;

	memset(&to, 0xff, sizeof(to));
	assert_int_equal(config_copy(&to, sizeof(to), &from), 0);
	assert_int_equal(to.known, 1);
	assert_int_equal(to.newer, 0);
}

static void fields_that_we_do_not_know_must_be_zero(void **state)
{
	struct future_config from = { .now = { .size = sizeof(from), .known = 1 } };
	struct config to = { .known = 7 };

	from.unknown = UINT64_C(1) << 63;
	assert_int_equal(config_copy(&to, sizeof(to), &from), -EINVAL);
	assert_int_equal(to.known, 7);
	from.unknown = 0;
	assert_int_equal(config_copy(&to, sizeof(to), &from), 0);
	assert_int_equal(to.known, 1);
}

static void config_without_a_size_is_refused(void **state)
{
	struct config from = { .known = 1 }, to = { .known = 7 };

	for (size_t size = 0; size < sizeof(size_t); size++) {
		from.size = size;
		assert_int_equal(config_copy(&to, sizeof(to), &from), -EINVAL);
	}
	assert_int_equal(config_copy(&to, sizeof(to), NULL), -EINVAL);
	assert_int_equal(to.known, 7);
	from.size = sizeof(size_t);
	assert_int_equal(config_copy(&to, sizeof(to), &from), 0);
	assert_int_equal(to.known, 0);
}

static void version_has_three_numbers(void **state)
{
	unsigned major, minor, patch;
	char rest;

	assert_int_equal(sscanf(vireo_version(), "%u.%u.%u%c", &major, &minor, &patch, &rest), 3);
}

struct sink {
	int lines;
	enum vireo_log_level level;
	char last[1024];
};

static void keep(void *opaque, enum vireo_log_level level, const char *line)
{
	struct sink *sink = opaque;

	sink->lines++;
	sink->level = level;
	snprintf(sink->last, sizeof(sink->last), "%s", line);
}

static void lines_above_the_level_are_dropped(void **state)
{
	struct sink sink = { 0 };
	struct vireo_log log = { .write = keep, .opaque = &sink, .max_level = VIREO_LOG_WARNING };

	log_info(&log, "info");
	log_debug(&log, "debug");
	assert_int_equal(sink.lines, 0);
	log_warning(&log, "%s %d", "number", 7);
	assert_int_equal(sink.lines, 1);
	assert_int_equal(sink.level, VIREO_LOG_WARNING);
	assert_string_equal(sink.last, "number 7");
	log.write = NULL;
	log_error(&log, "nowhere to go");
	log_error(NULL, "nowhere to go");
	assert_int_equal(sink.lines, 1);
}

static void peer_cannot_forge_a_line(void **state)
{
	struct sink sink = { 0 };
	struct vireo_log log = { .write = keep, .opaque = &sink };
	char lengthy[2000];

	log_error(&log, "name is %s", "a\nERROR: forged\r\x1b[2J");
	assert_string_equal(sink.last, "name is a\\x0aERROR: forged\\x0d\\x1b[2J");
	memset(lengthy, 'x', sizeof(lengthy));
	lengthy[sizeof(lengthy) - 1] = 0;
	errno = 77;
	log_error(&log, "%s", lengthy);
	assert_int_equal(errno, 77);
	assert_true(strlen(sink.last) > 100 && strlen(sink.last) < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_of_our_size_is_copied),
		cmocka_unit_test(fields_that_an_older_caller_does_not_know_are_zero),
		cmocka_unit_test(fields_that_we_do_not_know_must_be_zero),
		cmocka_unit_test(config_without_a_size_is_refused),
		cmocka_unit_test(version_has_three_numbers),
		cmocka_unit_test(lines_above_the_level_are_dropped),
		cmocka_unit_test(peer_cannot_forge_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
