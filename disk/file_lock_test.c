/* SPDX-License-Identifier: BSD-3-Clause */

/* Who may have a file beside whom, and how a lock changes hands. */

#include "disk/file.h"
#include "disk/test_file.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

/* "process PID (NAME)", as the kernel has it: under an emulator of programs the name is the emulator's. */
static void say_ours(char *text, size_t bytes, const char *what)
{
	char name[16] = "";
	FILE *file = fopen("/proc/self/comm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%15s", name), 1);
	fclose(file);
	snprintf(text, bytes, "process %d (%s) %s", (int)getpid(), name, what);
}

static void two_writers_are_refused_but_by_option(void **state)
{
	struct place *place = *state;
	struct test_disk t = test_disk_open(way_spec(place, ""));
	struct test_disk other;
	char ours_uses[60], ours_writes[60];

	say_ours(ours_uses, sizeof(ours_uses), "uses it");
	say_ours(ours_writes, sizeof(ours_writes), "writes to it");
	refused(way_spec(place, ""), -EBUSY, ours_uses);
	refused(way_spec(place, "read-only=on"), -EBUSY, ours_writes);
	refused(way_spec(place, "lock=shared"), -EBUSY, "lock=shared for both");
	other = test_disk_open(way_spec(place, "lock=off"));
	test_disk_close(&other);
	test_disk_close(&t);
	t = test_disk_open(way_spec(place, "lock=shared"));
	other = test_disk_open(way_spec(place, "lock=shared"));
	refused(way_spec(place, ""), -EBUSY, ours_uses);
	test_disk_close(&other);
	test_disk_close(&t);
	t = test_disk_open(way_spec(place, "read-only=on"));
	other = test_disk_open(way_spec(place, "read-only=on"));
	test_disk_close(&other);
	test_disk_close(&t);
}

/* As QEMU does. A process may call itself what a terminal would obey. */
static void another_kind_of_lock_is_named_too(void **state)
{
	struct place *place = *state;
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};
	int ready[2], end[2];
	char because[60];
	pid_t child;

	assert_int_equal(pipe(ready) | pipe(end), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		int fd = open(place->path, O_RDWR);
		bool locked = fd >= 0 && !prctl(PR_SET_NAME, "a\033b") && !fcntl(fd, F_SETLK, &range) && write(ready[1], "x", 1) == 1;

		close(end[1]);
		_exit(!locked || read(end[0], ready, 1) < 0);
	}
	assert_int_equal(read(ready[0], because, 1), 1);
	snprintf(because, sizeof(because), "process %d (a\\x1bb) uses it", (int)child);
	refused(way_spec(place, ""), -EBUSY, because);
	close(end[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(end[0]);
	close(ready[0]);
	close(ready[1]);
}

static void fd_send(int sock, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
	char byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	assert_int_equal(sendmsg(sock, &message, 0), 1);
}

/* ---- a lock that no process has ---- */

/* As that of a process that was killed is until the kernel has ended its rings: the open file is in no process, but under way in a socket. */
static int under_way[2];

static void lock_nobody_has(const struct place *place)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(place->path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &range), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, under_way), 0);
	fd_send(under_way[0], fd);
	close(fd);
}

static void lock_gone(void)
{
	close(under_way[0]);
	close(under_way[1]);
}

/* The clock of a machine with so much to do that a nap takes 300 ms. The lock goes at gone_ms, and each look at all processes is counted. */
static struct {
	bool goes;
	uint64_t now_ms, gone_ms;
	unsigned looks;
} slow;

int __real_clock_gettime(clockid_t id, struct timespec *now);
int __wrap_clock_gettime(clockid_t id, struct timespec *now);
int __real_nanosleep(const struct timespec *pause, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *pause, struct timespec *rest);
DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);

int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
	if (!slow.goes || id != CLOCK_MONOTONIC)
		return __real_clock_gettime(id, now);
	*now = (struct timespec){(time_t)(slow.now_ms / 1000), (long)(slow.now_ms % 1000) * 1000000};
	return 0;
}

int __wrap_nanosleep(const struct timespec *pause, struct timespec *rest)
{
	if (!slow.goes)
		return __real_nanosleep(pause, rest);
	if (slow.now_ms < slow.gone_ms && slow.now_ms + 300 >= slow.gone_ms)
		lock_gone();
	slow.now_ms += 300;
	return 0;
}

DIR *__wrap_opendir(const char *path)
{
	slow.looks += !strcmp(path, "/proc");
	return __real_opendir(path);
}

static void slow_begin(uint64_t gone_ms)
{
	slow.goes = true;
	slow.now_ms = slow.looks = 0;
	slow.gone_ms = gone_ms;
}

static enum file_owner owner_now(const struct place *place)
{
	const struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[FILE_OWNER_BYTES];
	int fd = open(place->path, O_RDWR | O_CLOEXEC);
	enum file_owner owner;

	assert_true(fd >= 0);
	owner = file_owner(fd, &range, text);
	assert_string_equal(text, "somebody else");
	close(fd);
	return owner;
}

static void skip_unless_all_are_seen(const struct place *place)
{
	if (owner_now(place) == FILE_OWNER_NONE)
		return;
	print_message("left out: not all processes may be looked into\n");
	lock_gone();
	skip();
}

static void a_lock_that_nobody_has_is_waited_for(void **state)
{
	struct place *place = *state;
	struct test_disk t;

	lock_nobody_has(place);
	skip_unless_all_are_seen(place);
	slow_begin(9000);
	t = test_disk_open(way_spec(place, ""));
	slow.goes = false;
	assert_int_equal(slow.now_ms, 9000);
	assert_int_equal(slow.looks, 4); /* after 1, 2, 4 and 8 seconds */
	test_disk_close(&t);
}

static void a_lock_that_nobody_has_is_waited_for_ten_seconds(void **state)
{
	struct place *place = *state;

	lock_nobody_has(place);
	skip_unless_all_are_seen(place);
	slow_begin(0);
	refused(way_spec(place, ""), -EBUSY, "somebody else uses it");
	slow.goes = false;
	assert_in_range(slow.now_ms, 10000, 10300);
	assert_int_equal(slow.looks, 5); /* and for the line that says why */
	lock_gone();
}

/* Whom another user may not look into. */
static pid_t process_of_ours(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return child;
}

/* Another user's process may have it. */
static void a_lock_is_not_waited_for_where_not_all_processes_may_be_looked_into(void **state)
{
	struct place *place = *state;
	pid_t child;

	if (geteuid() || seteuid(65534))
		skip();
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(place->path, 0666), 0);
	lock_nobody_has(place);
	child = process_of_ours();
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(owner_now(place), FILE_OWNER_UNSEEN);
	slow_begin(0);
	refused(way_spec(place, ""), -EBUSY, "somebody else uses it");
	slow.goes = false;
	assert_in_range(slow.now_ms, 1000, 1300);
	assert_int_equal(seteuid(0) | prctl(PR_SET_DUMPABLE, 1), 0);
	lock_gone();
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

/* ---- whose it is ---- */

/* Each file system has a file with inode 12. */
static void a_lock_elsewhere_is_not_this_one(void **state)
{
	static const struct file_place at = {0xfe, 1, 395};
	static const struct {
		const char *line;
		bool any, writers;
	} lines[] = {
		{"lock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:01:395 0 EOF\n", true, true},
		{"lock:\t17: OFDLCK  ADVISORY  READ -1 fe:01:395 0 EOF\n", true, false},
		{"lock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:02:395 0 EOF\n", false, false},
		{"lock:\t1: OFDLCK  ADVISORY  WRITE -1 fd:01:395 0 EOF\n", false, false},
		{"lock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:01:396 0 EOF\n", false, false},
		{"lock:\t1: POSIX  ADVISORY  WRITE 77 fe:01:395 0 EOF\n", false, false},
		{"lock:\t1: OFDLCK  ADVISORY  WRITE -1 <none>:0 0 EOF\n", false, false},
		{"ino:\t395\n", false, false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(file_owner_line(lines[i].line, &at, false), lines[i].any);
		assert_int_equal(file_owner_line(lines[i].line, &at, true), lines[i].writers);
	}
}

/* Whoever has queues has the lock; what is merely open has not, and waits for it. */
static void check_running(struct place *place, const char *spec)
{
	char running[sizeof(place->spec) + 40];
	struct disk_config config = {0};
	struct disk *there;
	struct disk_queue *queue;
	struct test_disk here;
	char why[DISK_WHY_BYTES];

	snprintf(running, sizeof(running), "%s,lock=running", spec);
	here = test_disk_open(running);
	refused(spec, -EBUSY, "uses it");
	assert_int_equal(disk_open(running, &config, &there, why), 0);
	assert_int_equal(disk_queue_open(there, 8, &queue), -EBUSY);
	assert_int_equal(disk_resize(there, 2 * MIB), -EBUSY);
	assert_int_equal(disk_resize(here.disk, 2 * MIB), 0);
	disk_queue_close(here.queue);
	assert_int_equal(disk_queue_open(there, 8, &queue), 0);
	assert_int_equal(disk_queue_open(here.disk, 8, &here.queue), -EBUSY);
	disk_queue_close(queue);
	assert_int_equal(disk_queue_open(here.disk, 8, &here.queue), 0);
	assert_int_equal(disk_queue_open(here.disk, 8, &queue), 0);
	disk_queue_close(here.queue);
	assert_int_equal(disk_queue_open(there, 8, &here.queue), -EBUSY);
	disk_queue_close(queue);
	disk_close(here.disk);
	disk_close(there);
	here = test_disk_open(spec);
	test_disk_close(&here);
	snprintf(running, sizeof(running), "%s,lock=running,forget=64K", spec);
	refused(running, -EINVAL, "leave one of them out");
}

/* Who holds a disk has its lock between two queues as well. */
static void check_holding(struct place *place, const char *spec)
{
	char running[sizeof(place->spec) + 40];
	struct disk_config config = {0};
	struct test_disk here, plain;
	struct disk_queue *queue;
	struct disk *there;
	char why[DISK_WHY_BYTES];

	snprintf(running, sizeof(running), "%s,lock=running", spec);
	here = test_disk_open(running);
	assert_true(disk_changes_hands(here.disk));
	assert_int_equal(disk_open(running, &config, &there, why), 0);
	assert_int_equal(disk_hold(there), -EBUSY);
	assert_int_equal(disk_hold(here.disk), 0);
	disk_queue_close(here.queue);
	assert_int_equal(disk_hold(there), -EBUSY);
	assert_int_equal(disk_queue_open(there, 8, &queue), -EBUSY);
	assert_int_equal(disk_queue_open(here.disk, 8, &here.queue), 0);
	disk_let_go(here.disk);
	assert_int_equal(disk_hold(there), -EBUSY);
	disk_queue_close(here.queue);
	assert_int_equal(disk_hold(there), 0);
	assert_int_equal(disk_queue_open(here.disk, 8, &here.queue), -EBUSY);
	disk_let_go(there);
	disk_close(here.disk);
	disk_close(there);
	plain = test_disk_open(spec);
	assert_false(disk_changes_hands(plain.disk));
	assert_int_equal(disk_hold(plain.disk), 0);
	disk_let_go(plain.disk);
	test_disk_close(&plain);
}

static void a_disk_that_is_held_is_nobody_elses(void **state)
{
	for_all_ways(state, check_holding);
}

static void a_lock_that_is_held_while_queues_are_there_is_handed_over(void **state)
{
	for_all_ways(state, check_running);
}

/* ---- a device that cannot be had alone ---- */

#define NO_DEVICE makedev(4095, 1048575)

/* Until it is given up, in the time of the machine above. */
static uint64_t device_waits_ms(const char *path)
{
	uint64_t look_ms = 0, waited_ms;

	slow_begin(UINT64_MAX);
	while (file_lock_device_nap(path, NO_DEVICE, slow.now_ms, &look_ms))
		;
	waited_ms = slow.now_ms;
	slow.goes = false;
	return waited_ms;
}

static void a_device_that_nobody_is_seen_to_have_is_waited_for(void **state)
{
	struct place *place = *state;
	int fd;

	if (file_opened(place->path) == FILE_OWNER_UNSEEN) {
		print_message("left out: not all processes may be looked into\n");
		skip();
	}
	assert_int_equal(file_opened(place->path), FILE_OWNER_NONE);
	assert_int_equal(device_waits_ms(place->path), 10200);
	assert_int_equal(slow.looks, 4);
	fd = open(place->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(device_waits_ms(place->path), 1200);
	assert_int_equal(slow.looks, 1);
	close(fd);
	assert_int_equal(device_waits_ms("/nowhere/at/all"), 1200); /* it cannot be said who has it */
}

static void a_device_is_mounted_where_a_line_says_so(void **state)
{
	static const struct {
		const char *line;
		bool is;
	} cases[] = {
		{"36 35 4095:1048575 / /mnt rw,noatime shared:1 - ext4 /dev/made-up rw", true},
		{"36 35 4095:1048575 / /mnt rw - ext4 /dev/made-up rw", true},
		{"36 35 4095:1048574 / /mnt rw - ext4 /dev/made-up rw", false},
		{"36 35 0:45 / /mnt rw - nfs host:/export rw", false},
		{"36 35 0:45 / /mnt rw - btrfs /dev/null rw", false}, /* a device, but of another sort */
		{"36 35 0:45 / /mnt rw - tmpfs", false},
		{"36 35 nonsense", false},
		{"", false},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		assert_true(file_device_mounted(cases[i].line, NO_DEVICE) == cases[i].is);
	assert_false(file_device_used(NO_DEVICE));
}

/* What this machine has mounted is found in its own list, if it has mounted a device at all; a part of it, or its whole, with it. */
static void a_device_of_this_machine_is_in_use(void **state)
{
	char line[4096], path[64];
	unsigned major, minor, found = 0;
	FILE *in = fopen("/proc/self/mountinfo", "r");

	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%*d %*d %u:%u", &major, &minor) != 2)
			continue;
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major, minor);
		if (access(path, F_OK))
			continue;
		assert_true(file_device_used(makedev(major, minor)));
		found++;
	}
	fclose(in);
	if (!found)
		print_message("left out: no device is mounted\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(two_writers_are_refused_but_by_option),
		CASE(another_kind_of_lock_is_named_too),
		CASE(a_lock_that_nobody_has_is_waited_for),
		CASE(a_lock_that_nobody_has_is_waited_for_ten_seconds),
		CASE(a_lock_is_not_waited_for_where_not_all_processes_may_be_looked_into),
		CASE(a_lock_elsewhere_is_not_this_one),
		CASE(a_device_that_nobody_is_seen_to_have_is_waited_for),
		cmocka_unit_test(a_device_is_mounted_where_a_line_says_so),
		cmocka_unit_test(a_device_of_this_machine_is_in_use),
		CASE(a_lock_that_is_held_while_queues_are_there_is_handed_over),
		CASE(a_disk_that_is_held_is_nobody_elses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
