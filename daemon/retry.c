/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/retry.h"
#include "base/log.h"
#include "base/loop.h"
#include <string.h>

static void retry_now(void *opaque)
{
	struct retry *retry = opaque;

	retry->failed = false;
	retry->again(retry->opaque);
	if (retry->failed || !retry->told)
		return;
	retry->told = false;
	log_info(&retry->log, "all queues are served again");
}

int retry_init(struct retry *retry, struct loop *loop, const struct vireo_log *log, void (*again)(void *opaque),
	       void *opaque)
{
	*retry = (struct retry){.log = *log, .again = again, .opaque = opaque};
	return loop_timer_new(loop, retry_now, retry, &retry->timer);
}

void retry_fini(struct retry *retry)
{
	if (retry->timer)
		loop_timer_free(&retry->timer);
}

void retry_later(struct retry *retry, unsigned queue, int err)
{
	if (!retry->told)
		log_error(&retry->log, "queue %u is not served: %s; trying again", queue, strerror(-err));
	retry->told = retry->failed = true;
	loop_timer_start(retry->timer, RETRY_MS);
}

void retry_wait(struct retry *retry, unsigned ms)
{
	retry->failed = true;
	loop_timer_start(retry->timer, ms);
}
