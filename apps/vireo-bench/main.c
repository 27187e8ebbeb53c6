/* SPDX-License-Identifier: BSD-3-Clause */

/* vireo-bench: numbered frames into one virtio-net port, checked at another. See vireo-bench(1). */

#include "ctl/line.h"
#include "frame.h"
#include "options.h"
#include "report.h"
#include "traffic.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1, /* frames were corrupted, duplicated, or (if asked to care) lost or reordered */
	EXIT_OPTION = 2,
	EXIT_UNREACHABLE = 3,
};

static volatile bool interrupted;

static void on_signal(int signo)
{
	interrupted = true;
}

/* Notes that an error has been told, so that it is told once. */
static void log_line(void *opaque, enum vireo_log_level level, const char *line)
{
	if (level == VIREO_LOG_ERROR)
		*(bool *)opaque = true;
	fprintf(stderr, "vireo-bench: %s\n", line);
}

static void tick_none(const struct traffic *t)
{
}

static int fail(const char *path, int error)
{
	const char *why = strerror(-error);

	if (error == -ENOTSUP)
		why = "the back end lacks a feature that was asked for";
	else if (error == -EPROTO)
		why = "the back end broke the protocol or hung up";
	fprintf(stderr, "vireo-bench: %s: %s\n", path, why);
	return EXIT_UNREACHABLE;
}

static int check_mtu(const struct port *port, uint32_t frame_bytes_max)
{
	if (!port->mtu || frame_bytes_max <= port->mtu + FRAME_ETHERNET_BYTES)
		return 0;
	fprintf(stderr, "vireo-bench: --size: expected at most %u, since %s has an MTU of %u\n",
		port->mtu + FRAME_ETHERNET_BYTES, port->path, port->mtu);
	return EXIT_OPTION;
}

static int run(struct traffic *t)
{
	bool progress = !t->o->json && isatty(STDERR_FILENO);
	int ret = traffic_warm_up(t);

	if (ret == -ETIMEDOUT) {
		fprintf(stderr, "vireo-bench: no frame gets through from %s to %s%s\n", t->from->path,
			t->to->path, t->hello_forth ? " on some queue pair" : "");
		return EXIT_UNREACHABLE;
	}
	if (!ret)
		ret = traffic_run(t, progress ? progress_line : tick_none, &interrupted);
	if (progress)
		progress_end();
	if (ret)
		return fail(t->from->error ? t->from->path : t->to->path, ret);
	if (t->o->json)
		report_json(t);
	else
		report_table(t);
	if (t->from->error || t->to->error)
		return fail(t->from->error ? t->from->path : t->to->path, -EPROTO);
	if (t->gone)
		return EXIT_UNREACHABLE;
	return report_failed(t) ? EXIT_FAILED : EXIT_OK;
}

static int run_between(const struct options *o, struct port *from, struct port *to)
{
	struct traffic *t = calloc(1, sizeof(*t));
	int status = EXIT_UNREACHABLE;

	if (!t || getrandom(&t->run, sizeof(t->run), 0) != sizeof(t->run)) {
		free(t);
		return fail(from->path, -ENOMEM);
	}
	t->o = o;
	t->from = from;
	t->to = to;
	t->streams = calloc(o->queues, sizeof(*t->streams));
	if (t->streams)
		status = run(t);
	free(t->streams);
	free(t);
	return status;
}

static int open_failed(const char *path, int error, bool told)
{
	return told ? EXIT_UNREACHABLE : fail(path, error);
}

static int net_main(const struct options *o)
{
	bool told = false;
	struct vireo_log log = {
		.write = log_line,
		.opaque = &told,
		.max_level = o->verbose ? VIREO_LOG_DEBUG : VIREO_LOG_ERROR,
	};
	uint32_t frame_bytes_max = o->frame_bytes == SIZE_IMIX ? 1514 : o->frame_bytes;
	struct port from, to;
	int ret, status;

	ret = port_open(o, o->from, frame_bytes_max, &log, &from);
	if (ret)
		return open_failed(o->from, ret, told);
	ret = port_open(o, o->to, frame_bytes_max, &log, &to);
	if (ret) {
		port_close(&from);
		return open_failed(o->to, ret, told);
	}
	status = check_mtu(&from, frame_bytes_max);
	if (!status)
		status = check_mtu(&to, frame_bytes_max);
	if (!status)
		status = run_between(o, &from, &to);
	port_close(&from);
	port_close(&to);
	return status;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };
	struct options o;
	int status;

	switch (options_parse(argc, argv, &o)) {
	case OPTIONS_DONE:
		return line_output_arrived(stdout, stderr, "vireo-bench") ? EXIT_OK : EXIT_FAILED;
	case OPTIONS_BAD:
		return EXIT_OPTION;
	case OPTIONS_RUN:
		break;
	}
	sigaction(SIGINT, &action,
		  NULL); /* the first one ends the run with a report, a second one ends all */
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	status = net_main(&o);
	return line_output_arrived(stdout, stderr, "vireo-bench") || status ? status : EXIT_FAILED;
}
