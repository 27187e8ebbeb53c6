/* SPDX-License-Identifier: BSD-3-Clause */
#include "serve/serve.h"
#include "base/util.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka.h wants those before it */
#include <cmocka.h>

static void numbers_and_localhost_are_ours(void **state)
{
	static const char *const ours[] = {"127.0.0.1", "127.0.0.1:9871", "[::1]", "[::1]:9871", "localhost", "LocalHost:80", "192.0.2.7:1"};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		assert_true(serve_host_is_ours(ours[i], NULL));
}

static void names_are_not_unless_they_are_told(void **state)
{
	assert_false(serve_host_is_ours("rebound.example", NULL));
	assert_false(serve_host_is_ours("rebound.example", "kvm1.example,kvm2"));
	assert_true(serve_host_is_ours("kvm1.example:9871", "kvm1.example,kvm2"));
	assert_true(serve_host_is_ours("KVM2", "kvm1.example,kvm2"));
	assert_false(serve_host_is_ours("kvm", "kvm1.example,kvm2"));
	assert_false(serve_host_is_ours("kvm22", "kvm1.example,kvm2"));
}

static void what_is_no_host_is_nobody_s(void **state)
{
	static const char *const lies[] = {
		"", ":", ":80", "[", "[]", "[::1", "[::1]x", "127.0.0.1:80x", "127.0.0.1:80:90", "localhost.rebound.example",
		"127.0.0.1.rebound.example", "127.0.0.1@rebound.example", "rebound.example#127.0.0.1", ",", " localhost",
	};
	char name[1024];

	assert_false(serve_host_is_ours(NULL, "a"));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++)
		assert_false(serve_host_is_ours(lies[i], "kvm1,,"));
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_false(serve_host_is_ours(name, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_and_localhost_are_ours),
		cmocka_unit_test(names_are_not_unless_they_are_told),
		cmocka_unit_test(what_is_no_host_is_nobody_s),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
