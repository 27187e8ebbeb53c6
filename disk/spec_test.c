/* SPDX-License-Identifier: BSD-3-Clause */
#include "disk/disk.h"
#include "disk/spec.h"
#include "disk/kind.h"
#include "disk/layer.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void refused(const char *text, const char *because)
{
	char why[DISK_WHY_BYTES] = "";

	assert_int_equal(disk_spec_check(text, why), -EINVAL);
	if (!strstr(why, because))
		print_error("'%s': '%s' is not in '%s'\n", text, because, why);
	assert_non_null(strstr(why, because));
}

static void each_mistake_is_named(void **state)
{
	refused("", "expected ");
	refused("mem", "mem:SIZE");
	refused("memory:1G", "null:SIZE");
	refused("mem:", "nothing after the colon");
	refused("mem:0", "a size in bytes");
	refused("mem:-1", "a size in bytes");
	refused("mem:1X", "a size in bytes");
	refused("mem:K", "a size in bytes");
	refused("mem:1000", "a multiple of 512");
	refused("mem:9223372036854775808", "a size in bytes");
	refused("mem:8388608T", "a size in bytes");
	refused("mem:18446744073709551616", "a size in bytes");
	refused("mem:1M,colour=red", "unknown key 'colour': mem takes zone-size");
	refused("null:1M,colour=red", "unknown key 'colour': null takes read-only");
	refused("mem:1M,read-only", "one of off|on");
	refused("mem:1M,read-only=", "one of off|on");
	refused("mem:1M,read-only=o", "one of off|on");
	refused("mem:1M,read-only=off|on", "one of off|on");
	refused("mem:1M,read-only=on,read-only=on", "given twice");
	refused("mem:1M,", "unknown key ''");
	refused("mem:1M,iops=10000001", "a number from 0 to 10000000");
	refused("mem:1M,iopps=10", "iops");
	refused("mem:1M,bps=1X", "bytes");
	refused("mem:1M,throttle-group=", "something after");
	refused("mem:1M,fail=EPERM", "one of EIO|ENOSPC");
	refused("mem:1M,fail=EIO,fail-op=reed", "one of read|write|flush|discard|zero");
	refused("mem:1M,fail=EIO,fail-ppm=0", "a number from 1 to 1000000");
	refused("mem:1M,fail=EIO,fail-nth=0", "a number from 1 to 4294967295");
	refused("mem:1M,slow-ms=0", "a number from 1 to 3600000");
	refused("mem:1M,slow-first-sector=-1", "a number from 0 to ");
	refused("mem:1M\n", "control characters");
	refused("file:/nowhere,lock=running,forget=64K", "leave one of them out");
	refused("file:/nowhere,zones=maybe", "one of off|on");
	refused("rbd:pool", "POOL/IMAGE");
	refused("rbd:/image", "POOL/IMAGE");
	refused("rbd:pool/", "POOL/IMAGE");
	refused("rbd:pool//image", "POOL/IMAGE");
	refused("rbd:pool/@before", "POOL/IMAGE");
	refused("rbd:pool/image@", "POOL/IMAGE");
	refused("rbd:pool/a/b/image", "POOL/IMAGE");
	refused("rbd:pool/image,cluster=a", "unknown key 'cluster': rbd takes conf");
}

static void sizes_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {{"512", 512}, {"4K", 4096}, {"3M", 3 << 20}, {"2G", UINT64_C(2) << 30}, {"8388607T", UINT64_C(8388607) << 40}};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t bytes = 0;

		assert_true(disk_size_parse(sizes[i].text, &bytes));
		assert_true(bytes == sizes[i].bytes);
	}
}

static void comma_that_is_written_twice_is_one(void **state)
{
	char why[DISK_WHY_BYTES];

	refused("mem:1M,,read-only=on", "mem '1M,read-only=on'");
	assert_int_equal(disk_spec_check("mem:1M,read-only=on", why), 0);
}

static void help_names_each_kind_and_key(void **state)
{
	char text[8192] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_non_null(out);
	disk_spec_help(out);
	fclose(out);
	assert_non_null(strstr(text, "read-only=off|on"));
	for (unsigned i = 0; i < DISK_LAYERS; i++)
		for (unsigned k = 0; k < disk_layer_kinds[i]->key_count; k++)
			assert_non_null(strstr(text, disk_layer_kinds[i]->keys[k].name));
	for (unsigned i = 0; i < disk_kind_count; i++) {
		assert_non_null(strstr(text, disk_kinds[i]->name));
		for (unsigned k = 0; k < disk_kinds[i]->key_count; k++)
			assert_non_null(strstr(text, disk_kinds[i]->keys[k].name));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mistake_is_named),
		cmocka_unit_test(sizes_have_units),
		cmocka_unit_test(comma_that_is_written_twice_is_one),
		cmocka_unit_test(help_names_each_kind_and_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
