/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/logger.h"
#include "base/util.h"
#include "base/visible.h"
#include "daemon/log_queue.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* One standard error, one queue. NULL: lines are written by who has them. */
static struct log_queue *queue;
static enum vireo_log_level level_now = VIREO_LOG_INFO; /* atomic */

static const char *const level_names[] = {
	[VIREO_LOG_ERROR] = "error",
	[VIREO_LOG_WARNING] = "warning",
	[VIREO_LOG_INFO] = "info",
	[VIREO_LOG_DEBUG] = "debug",
};

bool logger_level_parse(const char *name, enum vireo_log_level *ret_level)
{
	for (unsigned i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(name, level_names[i]) != 0)
			continue;
		*ret_level = (enum vireo_log_level)i;
		return true;
	}
	return false;
}

const char *logger_level_name(enum vireo_log_level level)
{
	return level_names[level];
}

void logger_level_set(enum vireo_log_level level)
{
	__atomic_store_n(&level_now, level, __ATOMIC_RELAXED);
}

enum vireo_log_level logger_level(void)
{
	return __atomic_load_n(&level_now, __ATOMIC_RELAXED);
}

static size_t line_make(char text[LOG_QUEUE_LINE_BYTES], enum vireo_log_level level, const struct timespec *now,
			const char *subject, const char *line)
{
	char stamp[32], whole[LOG_QUEUE_LINE_BYTES];
	struct tm utc;
	size_t bytes;
	int n;

	gmtime_r(&now->tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	n = snprintf(whole, sizeof(whole), "%s.%03ldZ %-7s %s%s%s", stamp, now->tv_nsec / 1000000,
		     level_names[level], subject ? subject : "", subject ? ": " : "", line);
	if (n < 0)
		return 0;
	bytes = visible_copy(text, LOG_QUEUE_LINE_BYTES - 1, whole); /* our own words repeat those of others, too */
	text[bytes] = '\n';
	return bytes + 1;
}

static void line_write(enum vireo_log_level level, const struct timespec *now, const char *subject,
		       const char *line)
{
	char text[LOG_QUEUE_LINE_BYTES];
	size_t bytes = line_make(text, level, now, subject, line);

	if (bytes && queue)
		log_queue_put(queue, text, bytes);
	else if (bytes)
		(void)!write(STDERR_FILENO, text, bytes);
}

static size_t lost_line(char text[LOG_QUEUE_LINE_BYTES], uint32_t lost)
{
	struct timespec now;
	char line[80];

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(line, sizeof(line), "%u lines lost here: standard error did not take them", lost);
	return line_make(text, VIREO_LOG_WARNING, &now, NULL, line);
}

int logger_start(void)
{
	return log_queue_new(STDERR_FILENO, lost_line, &queue);
}

void logger_end(void)
{
	if (queue && !log_queue_end(queue, LOGGER_END_MS))
		queue = NULL;
}

void logger_hold(bool on)
{
	if (queue)
		log_queue_hold(queue, on);
}

static bool rate_passes(const struct logger *logger, const struct timespec *now)
{
	uint32_t left_out;
	char line[80];

	if (!rate_pass_now(logger->rate, &left_out))
		return false;
	if (left_out) {
		snprintf(line, sizeof(line), "too many lines: %u were left out", left_out);
		line_write(VIREO_LOG_WARNING, now, logger->rated, line);
	}
	return true;
}

static void logger_write(void *opaque, enum vireo_log_level level, const char *line)
{
	const struct logger *logger = opaque;
	struct timespec now;

	if (level > logger_level())
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	if (!logger->rate || level >= VIREO_LOG_DEBUG || rate_passes(logger, &now))
		line_write(level, &now, logger->subject, line);
}

struct vireo_log logger_log(struct logger *logger)
{
	return (struct vireo_log){.write = logger_write, .opaque = logger, .max_level = VIREO_LOG_DEBUG};
}
