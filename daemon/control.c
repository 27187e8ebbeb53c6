/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's control socket: where it is, and what is said when it cannot be had. */
#include "base/fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "ctl/rpc.h"
#include "ctl/server.h"
#include "daemon/aside.h"
#include "daemon/daemon.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Without a folder that has to be made. */
static int path_of(const struct daemon_options *options, const char *name, char path[DAEMON_PATH_BYTES])
{
	if (!options->control)
		return ctl_default_path(name, path, DAEMON_PATH_BYTES);
	if (strlen(options->control) >= DAEMON_PATH_BYTES)
		return -ENAMETOOLONG;
	memcpy(path, options->control, strlen(options->control) + 1);
	return 0;
}

/* The default path's folder is ours to make; one that the user named is not. */
static int control_path(struct daemon *daemon, const char *name)
{
	char *path = daemon->control_path, *slash;
	int err = path_of(daemon->options, name, path);

	if (err || daemon->options->control)
		return err;
	slash = strrchr(path, '/');
	*slash = '\0';
	if (mkdir(path, geteuid() == 0 ? 0755 : 0700) && errno != EEXIST)
		err = -errno;
	*slash = '/';
	return err;
}

static const char *advice(int err)
{
	switch (-err) {
	case EADDRINUSE:
		return "another daemon answers there: stop it, or give --control another path";
	case EEXIST:
		return "something that is no socket is there: remove it, or give --control another path";
	case ENOENT:
		return "its folder does not exist: make it, or give --control another path";
	case EACCES:
		return "no permission there: give --control a path in a folder that this user may read and write";
	case EBUSY:
		return "somebody holds a lock on its folder (lslocks): end that, or give --control another path";
	case EPERM:
		return "not permitted: --control-group must be a group that this user is in";
	case EROFS:
		return "its file system is read-only: make its folder writable, or give --control another path";
	case ENAMETOOLONG:
		return "its last part is too long: at most 80 bytes after the last '/'";
	default:
		return strerror(-err);
	}
}

bool daemon_control_answers(const struct daemon_options *options, const char *name)
{
	char path[DAEMON_PATH_BYTES] = "";
	int fd = -1, err = path_of(options, name, path);

	if (!err)
		err = unix_connect(path, NULL, &fd);
	fd_close(&fd);
	return !err || err == -EAGAIN;
}

int daemon_control_path(struct daemon *daemon, const char *name)
{
	char where[SETTINGS_WHERE_BYTES];
	int err = control_path(daemon, name);

	if (err)
		log_error(&daemon->log, "%scontrol socket '%s': %s",
			  settings_where(daemon->options, daemon->options->control_line, where), daemon->control_path, advice(err));
	return err;
}

int daemon_control(struct daemon *daemon, const char *name, const struct ctl_command *commands, size_t count, void *opaque)
{
	const struct ctl_server_config config = {
		.path = daemon->control_path,
		.set_group = daemon->options->set_control_group,
		.group = daemon->options->control_group,
		.commands = commands,
		.command_count = count,
		.opaque = opaque,
		.log = daemon->control_log,
		.close_aside = aside_run,
		.listener_fd = daemon->taken_fd >= 0 ? &daemon->taken_fd : NULL,
	};
	char where[SETTINGS_WHERE_BYTES];
	int err = control_path(daemon, name);

	if (err == -ENOENT && !*daemon->control_path) {
		log_error(&daemon->log, "no place for the control socket: set XDG_RUNTIME_DIR, or give --control");
		return err;
	}
	if (!err)
		err = ctl_server_new(&config, daemon->loop, &daemon->control);
	if (err)
		log_error(&daemon->log, "%scontrol socket '%s': %s",
			  settings_where(daemon->options, daemon->options->control_line, where), daemon->control_path, advice(err));
	return err;
}

void daemon_serve_version(struct rpc_call *call, const char *program)
{
	rpc_call_reply(call, json_pack("{s:s, s:s, s:i, s:i}", "daemon", program, "version", VIREO_VERSION, "protocol", 1,
				       "pid", (int)getpid()));
}

/* Who reads the log at either level is to find why there is more, or less, of it from here on. */
static void log_level_change(enum vireo_log_level level, const struct vireo_log *log)
{
	enum vireo_log_level before = logger_level();

	if (level == before)
		return;
	if (level > before)
		logger_level_set(level);
	log_info(log, "log level is %s, and was %s", logger_level_name(level), logger_level_name(before));
	logger_level_set(level);
}

void daemon_serve_log_level(struct rpc_call *call, const struct vireo_log *log)
{
	const char *name = rpc_call_param(call, "level");
	enum vireo_log_level level = logger_level();

	if (name && !logger_level_parse(name, &level)) {
		rpc_call_error(call, RPC_INVALID_PARAMS, "LEVEL '%.40s': expected error, warning, info or debug", name);
		return;
	}
	log_level_change(level, log);
	rpc_call_reply(call, json_pack("{s:s}", "level", logger_level_name(level)));
}
