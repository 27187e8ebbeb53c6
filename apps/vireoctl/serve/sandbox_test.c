/* SPDX-License-Identifier: BSD-3-Clause */
/* Each rule in a child of its own: what it can do before, and what is left to it. */
#include "serve/serve.h"
#include "base/util.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants those before it */
#include <cmocka.h>

/* Exit codes of a child. */
enum { DONE, FAILED_BEFORE, NO_SANDBOX, REFUSED, FAILED_OTHERWISE };

/* Whether it could be done; errno says why not. */
typedef bool trial_fn(void);

static bool fd_given(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool network_socket(void)
{
	return fd_given(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static bool unix_socket(void)
{
	return fd_given(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static bool file_read(void)
{
	return fd_given(open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
}

/* Takes the way of fd_unix_address(). */
static bool folder(void)
{
	return fd_given(open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

static bool file_without_name(void)
{
	return fd_given(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static bool file_made(void)
{
	char path[] = "/tmp/vireo-sandbox-XXXXXX";
	int fd = mkstemp(path);

	if (fd >= 0)
		unlink(path);
	return fd_given(fd);
}

static bool code_mapped(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page != MAP_FAILED && !munmap(page, 4096);
}

static bool child_made(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static void try(trial_fn *trial)
{
	if (!trial())
		_exit(FAILED_BEFORE);
	if (!serve_sandbox_enter())
		_exit(NO_SANDBOX);
	if (trial())
		_exit(DONE);
	_exit(errno == EPERM ? REFUSED : FAILED_OTHERWISE);
}

static int outcome(trial_fn *trial)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		try(trial);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool filter_expected(void)
{
	return VIREO_HAS_SECCOMP && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 && outcome(unix_socket) != NO_SANDBOX;
}

static void it_still_connects_to_unix_sockets(void **state)
{
	int got = outcome(unix_socket);

	if (got == NO_SANDBOX)
		skip();
	assert_int_equal(got, DONE);
	assert_int_equal(outcome(folder), DONE);
}

static void it_reaches_no_network_file_program_or_code(void **state)
{
	static trial_fn *const refused[] = {network_socket, file_read, file_made, code_mapped, child_made};

	if (!filter_expected())
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		assert_int_equal(outcome(refused[i]), REFUSED);
}

static void a_file_without_a_name_is_no_folder(void **state)
{
	int got = outcome(file_without_name);

	if (!filter_expected() || got == FAILED_BEFORE) /* not every file system has such files */
		skip();
	assert_int_equal(got, REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_still_connects_to_unix_sockets),
		cmocka_unit_test(it_reaches_no_network_file_program_or_code),
		cmocka_unit_test(a_file_without_a_name_is_no_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
