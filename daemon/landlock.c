/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/landlock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "daemon/settings.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/landlock.h, of which a machine that we are built on may have none, or an older one. The numbers are those of all architectures. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule	    445
#define SYS_landlock_restrict_self  446
#endif
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH      1

#define RUN_FOLDER "/run/vireo"

#define FS_EXECUTE    (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE  (UINT64_C(1) << 2)
#define FS_READ_DIR   (UINT64_C(1) << 3)
#define FS_FIRST      ((UINT64_C(1) << 13) - 1) /* all of the first version */
#define FS_REFER      (UINT64_C(1) << 13) /* of the second */
#define FS_TRUNCATE   (UINT64_C(1) << 14) /* of the third */
#define FS_IOCTL_DEV  (UINT64_C(1) << 15) /* of the fifth */
#define FS_OF_FILES   (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define FS_READ	      (FS_READ_FILE | FS_READ_DIR)

struct ruleset {
	int fd;
	uint64_t handled;
};

static bool in_force; /* written before any thread is made */

static const char *const readable[] = {"/etc", "/usr", "/lib", "/lib32", "/lib64", "/libx32"};
static const char *const kernels[] = {"/dev", "/proc", "/sys"};

/* ---- rules ---- */

static uint64_t handled_by(long version)
{
	return FS_FIRST | (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0) | (version >= 5 ? FS_IOCTL_DEV : 0);
}

static int ruleset_new(struct ruleset *ret_ruleset)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, CREATE_RULESET_VERSION);
	struct {
		uint64_t handled_access_fs;
	} attributes;

	if (version < 0)
		return -errno;
	attributes.handled_access_fs = ret_ruleset->handled = handled_by(version);
	ret_ruleset->fd = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0u);
	return ret_ruleset->fd < 0 ? -errno : 0;
}

static int rule_add(const struct ruleset *ruleset, const char *path, uint64_t access)
{
	struct {
		uint64_t allowed_access;
		int32_t parent_fd;
	} __attribute__((packed)) rule = {.parent_fd = open(path, O_PATH | O_CLOEXEC)};
	int fd = rule.parent_fd, err = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	access &= ruleset->handled & ~FS_EXECUTE;
	rule.allowed_access = !fstat(fd, &st) && S_ISDIR(st.st_mode) ? access : access & FS_OF_FILES;
	if (syscall(SYS_landlock_add_rule, ruleset->fd, RULE_PATH_BENEATH, &rule, 0u))
		err = -errno;
	fd_close(&fd);
	return err;
}

/* Those that there are. */
static int rules_add(const struct ruleset *ruleset, const char *const *paths, unsigned count, uint64_t access)
{
	int err = 0;

	for (unsigned i = 0; i < count && (!err || err == -ENOENT); i++)
		err = rule_add(ruleset, paths[i], access);
	return err == -ENOENT ? 0 : err;
}

/* Returns the folder of a path, of which it takes the rest away. */
static const char *folder_of(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash)
		return ".";
	slash[slash == path] = '\0';
	return path;
}

/*
 * RUN_FOLDER has the state of VDUSE devices, and the control socket of root, who makes it: a rule is about what is there when it is made.
 * Another user may make what is usual for that beneath its own.
 */
static int rules_of_run(const struct ruleset *ruleset, const char *control)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	const char *const usual[] = {RUN_FOLDER, runtime && !control ? runtime : RUN_FOLDER};

	if (geteuid() == 0)
		(void)!mkdir(RUN_FOLDER, 0755); /* who needs it complains */
	return rules_add(ruleset, usual, ARRAY_SIZE(usual), UINT64_MAX);
}

static int rule_of_control(const struct ruleset *ruleset, const char *control)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s", control);
	return rule_add(ruleset, folder_of(path), UINT64_MAX);
}

/* It may be a link to where a program keeps it that makes it anew: then its folder is to be read. */
static int rule_of_names(const struct ruleset *ruleset)
{
	char path[PATH_MAX];
	const char *const folder = realpath("/etc/resolv.conf", path) ? folder_of(path) : "/etc";

	return rules_add(ruleset, &folder, 1, FS_READ);
}

/*
 * The file, and what lies in its folder: an editor makes a new file of that name, and the rule of a file would be the old one's. So does who puts
 * another link in the place of a link. The folder / would be all files: there it is the file alone.
 */
static int rules_of_config(const struct ruleset *ruleset, const char *config)
{
	char file[PATH_MAX], path[PATH_MAX];
	const char *const paths[] = {config, realpath(config, file) ? file : config};
	int err = rule_add(ruleset, config, FS_READ_FILE);

	for (unsigned i = 0; i < ARRAY_SIZE(paths) && !err; i++) {
		const char *at;

		snprintf(path, sizeof(path), "%s", paths[i]);
		at = folder_of(path);
		if (strcmp(at, "/") != 0)
			err = rule_add(ruleset, at, FS_READ_FILE);
	}
	return err;
}

static int rules_of_setting(const struct ruleset *ruleset, const char *beneath, const struct vireo_log *log)
{
	char *paths = strdup(beneath), *rest = paths;
	const char *path;
	int err = paths ? 0 : -ENOMEM;

	while (!err && (path = strsep(&rest, ":"))) {
		err = rule_add(ruleset, path, UINT64_MAX);
		if (err)
			log_error(log, "beneath %.200s: %s", path, strerror(-err));
	}
	free(paths);
	return err;
}

static int rules_of_machine(const struct ruleset *ruleset, const struct daemon_options *options)
{
	int err = rules_add(ruleset, readable, ARRAY_SIZE(readable), FS_READ);

	if (!err)
		err = rules_add(ruleset, kernels, ARRAY_SIZE(kernels), UINT64_MAX);
	if (!err)
		err = rule_of_names(ruleset);
	if (!err)
		err = rules_of_run(ruleset, options->control);
	if (!err && options->control)
		err = rule_of_control(ruleset, options->control);
	if (!err && options->config)
		err = rules_of_config(ruleset, options->config);
	return err;
}

/* ---- the setting ---- */

bool landlock_paths_valid(const char *paths)
{
	const char *end;

	for (; *paths == '/'; paths = end + 1) {
		end = strchrnul(paths, ':');
		if (!*end)
			return true;
	}
	return false;
}

int landlock_enter(const struct daemon_options *options, const struct vireo_log *log)
{
	struct ruleset ruleset = {.fd = -1};
	int err = ruleset_new(&ruleset);

	if (err == -EPERM) {
		log_error(log, "beneath: Landlock is refused by a filter of system calls: let the service manager, or the container, allow "
			       "landlock_create_ruleset, landlock_add_rule and landlock_restrict_self");
		return err;
	}
	if (err == -ENOSYS || err == -EOPNOTSUPP) {
		log_warning(log, "beneath: all files are left open to this daemon: %s: the kernel has Landlock from Linux 5.13 on, by lsm=landlock,...",
			    strerror(-err));
		return 0;
	}
	if (!err)
		err = rules_of_setting(&ruleset, options->beneath, log);
	if (!err)
		err = rules_of_machine(&ruleset, options);
	if (!err && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, ruleset.fd, 0u)))
		err = -errno;
	fd_close(&ruleset.fd);
	in_force = !err;
	return err;
}

bool landlock_in_force(void)
{
	return in_force;
}
