/* SPDX-License-Identifier: BSD-3-Clause */
/* cuse:NAME, a character device /dev/NAME that takes the kernel's vhost ioctls. */
#include "daemon/endpoint.h"
#include "daemon/landlock.h"
#include "vireo/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

const char *endpoint_cuse_name_problem(const char *address)
{
	if (!spec_name_valid(address) || *address == '.')
		return "a name has 1 to 63 letters, digits, '.', '_' or '-', and does not begin with '.'";
	return NULL;
}

static void config(const struct spec *spec, struct vireo_endpoint_config *ret)
{
	ret->cuse.access = endpoint_access(spec);
}

/* The kernel lets nobody who is restricted look at a caller's memory and fds, and each ioctl would fail. */
static int permit(const struct spec *spec)
{
	return landlock_in_force() ? -EACCES : 0;
}

#define BENEATH "none can be had with --beneath, by which the kernel lets this daemon look at no caller: leave that out"
#define NO_CUSE "there is no /dev/cuse: load the kernel's module (modprobe cuse)"
#define NO_PERMISSION "no permission for /dev/cuse: run as root"

static const struct endpoint_advice advices[] = {
	{EMFILE, ENDPOINT_NO_FDS},
	{ENOENT, NO_CUSE},
	{ENODEV, NO_CUSE},
	{ENXIO, NO_CUSE},
	{EACCES, NO_PERMISSION},
	{EPERM, NO_PERMISSION},
	{ESRCH, "/proc is not mounted, or of another pid namespace: mount the one of ours"},
	{ETIMEDOUT, "the kernel has not asked for the device on /dev/cuse: look into its log (dmesg)"},
	{EOPNOTSUPP, "this build has no CUSE: build it with libfuse3"},
};

/* What lies there tells what to do about it. */
static const char *name_is_taken(const char *name)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/class/cuse/%.63s", name);
	if (!lstat(path, &st))
		return "another program serves /dev/%s: stop that, or choose another name";
	snprintf(path, sizeof(path), "/dev/%.63s", name);
	if (!lstat(path, &st) && S_ISREG(st.st_mode))
		return "/dev/%s is a regular file, as is left by who writes there while no node is: remove it (rm /dev/%s)";
	if (!lstat(path, &st) && S_ISDIR(st.st_mode))
		return "/dev/%s is a folder: choose another name";
	return "/dev/%s is there, and is none of ours: choose another name";
}

static void explain(int err, const struct spec *spec, char *why)
{
	const char *advice = err == -EADDRINUSE ? name_is_taken(spec->address)
			     : err == -EACCES && landlock_in_force() ? BENEATH : endpoint_advice(advices, ARRAY_SIZE(advices), err);
	int n = snprintf(why, SPEC_WHY_BYTES, "CUSE node '%.63s': ", spec->address);

	endpoint_advice_fill(why + n, SPEC_WHY_BYTES - (size_t)n, advice, spec->address);
}

static const char *waiting(const struct spec *spec)
{
	return "waiting";
}

const struct endpoint_kind endpoint_cuse = {
	.what = "node",
	.permit = permit,
	.config = config,
	.explain = explain,
	.waiting = waiting,
};
