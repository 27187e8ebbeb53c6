/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/util.h"
#include "store/disks.h"
#include "blk_spec.h"
#include "options.h"
#include "vireo/device.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORDS_MAX 16u

static enum settings_verdict parse(struct store_options *o, const char *const *words, char **ret_said)
{
	char *argv[WORDS_MAX + 2] = {(char *)(uintptr_t)"vireo-blkd"};
	enum settings_verdict verdict;
	size_t bytes;
	int argc = 1;
	FILE *out = open_memstream(ret_said, &bytes);

	while (words[argc - 1] && argc <= (int)WORDS_MAX) {
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
		argc++;
	}
	verdict = options_parse(argc, argv, out, out, o);
	fclose(out);
	return verdict;
}

static void disks_and_exports_are_kept_in_order(void **state)
{
	static const char *const words[] = {"--disk",	"a=mem:1M",			     "--disk",
					    "b=null:2M", "--export",			     "vhost-user:/x/e.sock,disk=b,queues=3,serial=S",
					    "--workers", "2", NULL};
	struct store_options o;
	char *said;

	assert_int_equal(parse(&o, words, &said), SETTINGS_RUN);
	assert_int_equal(o.disk_count, 2);
	assert_string_equal(o.disks[0], "a=mem:1M");
	assert_string_equal(o.disks[1], "b=null:2M");
	assert_int_equal(o.export_count, 1);
	assert_string_equal(o.exports[0]->at.name, "e");
	assert_string_equal(blk_spec_of(o.exports[0])->disk, "b");
	assert_string_equal(blk_spec_of(o.exports[0])->serial, "S");
	assert_int_equal(blk_spec_queues(o.exports[0]), 3);
	assert_int_equal(o.run.workers, 2);
	assert_false(store_options_conventional(&o));
	store_options_free(&o);
	free(said);
}

static void defaults_of_an_export_are_what_machines_want(void **state)
{
	char why[SPEC_WHY_BYTES];
	struct blk_spec spec;

	assert_int_equal(blk_spec_parse("vhost-user:/x/e,disk=d", &spec, why), 0);
	assert_int_equal(blk_spec_queues(&spec.export), 64); /* QEMU takes no less than one for each CPU */
	assert_false(spec.use.read_only || spec.use.shared || *spec.serial);
	assert_int_equal(spec.export.at.endpoint.ring_features_off, 0);
	assert_int_equal(blk_spec_parse("vhost-user:/x/e,disk=d,packed=off", &spec, why), 0);
	assert_true(spec.export.at.endpoint.ring_features_off == VIREO_FEATURE(VIREO_F_RING_PACKED_BIT));
}

static void a_lifetime_is_three_numbers_that_the_specification_knows(void **state)
{
	static const char *const bad[] = {"", "1", "1/2", "1/2/", "1/2/3/", "1/2/3/4", "4/1/1", "1/12/1", "1/1/12", "-1/1/1", "+1/1/1", " 1/1/1",
					  "1/ 1/1", "1:1:1", "1/1/0x1", "1/1/99999999999999999999", "//"};
	char why[SPEC_WHY_BYTES], text[128];
	struct blk_spec spec;

	assert_int_equal(blk_spec_parse("vhost-user:/x/e,disk=d", &spec, why), 0);
	assert_false(spec.lifetime_told);
	assert_int_equal(blk_spec_parse("vduse:e,disk=d,lifetime=3/0/11", &spec, why), 0);
	assert_true(spec.lifetime_told);
	assert_int_equal(spec.lifetime.pre_eol_info, 3);
	assert_int_equal(spec.lifetime.used_a, 0);
	assert_int_equal(spec.lifetime.used_b, 11);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "vhost-user:/x/e,disk=d,lifetime=%s", bad[i]);
		assert_int_equal(blk_spec_parse(text, &spec, why), -EINVAL);
	}
}

static void a_name_stands_before_the_first_equals_sign(void **state)
{
	static const char *const bad[] = {"mem:1M", "=mem:1M", "a b=mem:1M", "a=", "a=mem:", "a=mem:1M,read-only=2"};
	char why[SPEC_WHY_BYTES];
	struct store_spec spec;

	assert_int_equal(store_spec_parse("a=mem:1M,read-only=on", &spec, why), 0);
	assert_string_equal(spec.name, "a");
	assert_string_equal(spec.text, "mem:1M,read-only=on");
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		*why = '\0';
		assert_int_equal(store_spec_parse(bad[i], &spec, why), -EINVAL);
		assert_true(*why);
	}
}

static void a_name_or_a_spec_that_is_too_long_is_refused(void **state)
{
	char text[SPEC_ADDRESS_BYTES + 64], why[SPEC_WHY_BYTES];
	struct store_spec spec;

	memset(text, 'n', sizeof(text));
	memcpy(text + SPEC_NAME_BYTES, "=mem:1M", sizeof("=mem:1M"));
	assert_int_equal(store_spec_parse(text, &spec, why), -EINVAL);
	memset(text, '1', sizeof(text));
	memcpy(text, "a=mem:", 6);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(store_spec_parse(text, &spec, why), -EINVAL);
}

static void the_conventions_are_one_disk_at_one_socket(void **state)
{
	static const char *const path[] = {"--socket-path=fd:7", "--blk-file=/a,b", "--read-only", NULL};
	static const char *const fd[] = {"--fd=9", "--blk-file=/a", NULL};
	struct store_options o;
	char *said;

	assert_int_equal(parse(&o, path, &said), SETTINGS_RUN);
	assert_true(store_options_conventional(&o));
	assert_string_equal(o.exports[0]->at.address, "./fd:7"); /* a path, as it was said */
	assert_true(blk_spec_of(o.exports[0])->use.read_only);
	assert_string_equal(o.disks[0], "disk=file:/a,,b,read-only=on");
	store_options_free(&o);
	free(said);
	assert_int_equal(parse(&o, fd, &said), SETTINGS_RUN);
	assert_string_equal(o.exports[0]->at.address, "fd:9");
	assert_string_equal(blk_spec_of(o.exports[0])->disk, "disk");
	assert_false(blk_spec_of(o.exports[0])->use.read_only);
	store_options_free(&o);
	free(said);
}

static void capabilities_are_told_and_nothing_is_run(void **state)
{
	static const char *const words[] = {"--print-capabilities", NULL};
	struct store_options o;
	char *said;

	assert_int_equal(parse(&o, words, &said), SETTINGS_DONE);
	assert_non_null(strstr(said, "\"type\": \"block\""));
	free(said);
}

/* What is said of a file with that text. */
static enum settings_verdict file_parse(const char *how, const char *text, char **ret_said)
{
	char path[64];
	const char *words[] = {how, path, NULL};
	enum settings_verdict verdict;
	struct store_options o;
	int fd = memfd_create("settings", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	verdict = parse(&o, words, ret_said);
	if (verdict == SETTINGS_RUN)
		store_options_free(&o);
	close(fd);
	return verdict;
}

/* A file is checked to know whether the daemon would start with it. */
static void a_check_says_what_a_start_says(void **state)
{
	static const char *const bad[] = {"read-only\n", "blk-file /a\n", "socket-path /s\n", "fd 7\nsocket-path /s\nblk-file /a\n", "takeover\n"};
	static const char *const good[] = {"socket-path /s\nblk-file /a\nread-only\n", "disk a=mem:1M\n", ""};
	char *said, *checked;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(file_parse("--config", bad[i], &said), SETTINGS_BAD);
		assert_int_equal(file_parse("--check", bad[i], &checked), SETTINGS_BAD);
		assert_non_null(strstr(said, "expected "));
		assert_string_equal(strstr(said, "expected "), strstr(checked, "expected "));
		free(said);
		free(checked);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(file_parse("--config", good[i], &said), SETTINGS_RUN);
		assert_int_equal(file_parse("--check", good[i], &checked), SETTINGS_DONE);
		free(said);
		free(checked);
	}
}

/* It would be done at every start, and from the second on there is nothing to take over from. */
static void what_is_done_once_stands_in_no_file(void **state)
{
	char *said;

	assert_int_equal(file_parse("--config", "disk a=mem:1M\n takeover\n", &said), SETTINGS_BAD);
	assert_non_null(strstr(said, ":2:2: takeover: expected on the command line only\n"));
	free(said);
	assert_int_equal(file_parse("--config", "upgrade\n", &said), SETTINGS_BAD);
	assert_non_null(strstr(said, ":1:1: upgrade: expected on the command line only\n"));
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_says_what_a_start_says),
		cmocka_unit_test(what_is_done_once_stands_in_no_file),
		cmocka_unit_test(disks_and_exports_are_kept_in_order),
		cmocka_unit_test(defaults_of_an_export_are_what_machines_want),
		cmocka_unit_test(a_lifetime_is_three_numbers_that_the_specification_knows),
		cmocka_unit_test(a_name_stands_before_the_first_equals_sign),
		cmocka_unit_test(a_name_or_a_spec_that_is_too_long_is_refused),
		cmocka_unit_test(the_conventions_are_one_disk_at_one_socket),
		cmocka_unit_test(capabilities_are_told_and_nothing_is_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
