/* SPDX-License-Identifier: BSD-3-Clause */
#include "mem/kind.h"
#include "base/stubborn_test.h"
#include "mem/map.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/vfs.h>

#include <cmocka.h>

#define MIB (1u << 20)
#define EXT4_MAGIC 0xef53

/* A file of a MiB, without a name, in `folder`; -1: it cannot be made there. */
static int file_in(const char *folder)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		assert_int_equal(ftruncate(fd, MIB), 0);
	return fd;
}

/* What becomes of it as guest memory; closes the fd. */
static int outcome(int fd, bool disks, const char **why)
{
	const struct map_spec spec = { .size_bytes = MIB, .uaddr = UINT64_C(0x7f0000000000) };
	const struct map_faults faults = { .event_fd = -1, .disks = disks };
	struct map *map = NULL;
	int r = map_new(NULL, &spec, &fd, 1, &faults, &map, why);

	map_unref(map);
	close(fd);
	return r;
}

/* A file system of type `type` at a new folder in a mount namespace of our own. False: not permitted. */
static bool mounted(const char *type, const char *options, char *folder)
{
	assert_non_null(mkdtemp(folder));
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount(type, folder, type, 0, options);
}

static void unmount(const char *folder)
{
	umount2(folder, MNT_DETACH);
	rmdir(folder);
}

static void files_of_memory_are_memory(void **state)
{
	int fds[] = { memfd_create("kind", MFD_CLOEXEC), file_in("/dev/shm"),
		      memfd_create("kind", MFD_CLOEXEC | MFD_ALLOW_SEALING), memfd_create("kind", MFD_CLOEXEC | MFD_HUGETLB) };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] < 0) /* a machine without huge pages */
			continue;
		assert_int_equal(file_kind(fds[i]), FILE_MEMORY);
		close(fds[i]);
	}
}

static void a_file_of_ramfs_is_memory(void **state)
{
	char folder[] = "/tmp/vireo-kind-XXXXXX";
	bool there = mounted("ramfs", NULL, folder);
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/file", folder);
	fd = there ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (there)
		assert_int_equal(file_kind(fd), FILE_MEMORY);
	close(fd);
	unmount(folder);
	if (!there)
		skip();
}

static void what_is_no_file_is_told_apart(void **state)
{
	int fds[] = { open("/dev/null", O_RDWR | O_CLOEXEC), open("/", O_RDONLY | O_CLOEXEC) }, event = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(file_kind(event), FILE_KERNELS);
	close(event);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(file_kind(fds[i]), FILE_NONE);
		close(fds[i]);
	}
	assert_int_equal(file_kind(-1), FILE_NONE);
}

/* Below a chroot(2) into a folder that is no mount nobody is told of the mount that the folder lies on. */
static bool mounts_are_told(void)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char line[4096], point[4096];
	bool told = false;

	assert_non_null(mounts);
	while (!told && fgets(line, sizeof(line), mounts))
		told = sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1 && !strcmp(point, "/");
	fclose(mounts);
	return told;
}

/* Each of its pages may have to be fetched, whenever the peer likes. */
static void memory_in_a_disk_file_is_taken_only_where_it_is_permitted(void **state)
{
	const char *why = NULL;
	struct statfs fs;
	int fd = file_in("/var/tmp");

	if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != EXT4_MAGIC) {
		close(fd);
		skip();
	}
	if (!mounts_are_told()) {
		assert_int_equal(file_kind(fd), FILE_FOREIGN);
		assert_int_equal(outcome(fd, true, &why), -EINVAL);
		skip();
	}
	assert_int_equal(file_kind(fd), FILE_DISK);
	assert_int_equal(outcome(dup(fd), false, &why), -EINVAL);
	assert_non_null(strstr(why, "lies on a disk"));
	assert_non_null(strstr(why, "files=any")); /* what to do */
	assert_int_equal(outcome(fd, true, &why), 0);
}

/* What lies below it may be anything: FUSE, too. Its own file system says "overlay" and nothing else. */
static void memory_in_a_file_of_an_overlay_is_refused(void **state)
{
	char below[] = "/dev/shm/vireo-kind-XXXXXX", folder[] = "/tmp/vireo-kind-XXXXXX", options[160];
	const char *why = NULL, *parts[] = { "lower", "upper", "work" };
	char path[64];
	bool there;
	int fd = -1;

	assert_non_null(mkdtemp(below));
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", below, parts[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", below, below, below);
	there = mounted("overlay", options, folder);
	snprintf(path, sizeof(path), "%s/file", folder);
	if (there)
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	unmount(folder);
	snprintf(options, sizeof(options), "rm -rf %s", below);
	assert_int_equal(system(options), 0);
	if (fd < 0)
		skip();
	assert_int_equal(ftruncate(fd, MIB), 0);
	assert_int_equal(file_kind(fd), FILE_FOREIGN);
	assert_int_equal(outcome(fd, true, &why), -EINVAL);
}

static void a_file_whose_server_never_answers_is_refused_without_asking_it(void **state)
{
	struct stubborn file;
	struct map_spec spec = { .size_bytes = MIB, .uaddr = UINT64_C(0x7f0000000000) };
	const struct map_faults faults = { .event_fd = -1, .disks = true };
	const char *why = NULL;
	struct map *map;

	if (!stubborn_new(&file, S_IFREG, O_RDWR))
		skip();
	assert_int_equal(file_kind(file.fd), FILE_FOREIGN);
	assert_int_equal(map_new(NULL, &spec, &file.fd, 1, &faults, &map, &why), -EINVAL);
	assert_non_null(strstr(why, "another program may serve"));
	stubborn_kill(&file);
	close(file.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_of_memory_are_memory),
		cmocka_unit_test(a_file_of_ramfs_is_memory),
		cmocka_unit_test(what_is_no_file_is_told_apart),
		cmocka_unit_test(memory_in_a_disk_file_is_taken_only_where_it_is_permitted),
		cmocka_unit_test(memory_in_a_file_of_an_overlay_is_refused),
		cmocka_unit_test(a_file_whose_server_never_answers_is_refused_without_asking_it),
	};

	alarm(100); /* who waits for a server waits for ever */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
