/* SPDX-License-Identifier: BSD-3-Clause */

/* bench-blk: the driver of a vhost-user block device or SCSI host, which measures whoever serves it. Without a guest. */

#include "bench/common/clock.h"
#include "bench/common/options.h"
#include "bench/common/protocol.h"
#include "load.h"
#include "vireo/blk.h"
#include "vireo/device.h"
#include "wire/virtio_blk.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES_MAX  8u
#define QUEUE_SIZE  256u
#define BLOCK_BYTES 4096u

static const char usage[] =
	"usage: bench-blk --socket PATH [OPTIONS]\n"
	"  --queues N        that many, each with a thread of its own (1)\n"
	"  --ring split|packed\n"
	"  --cpu N[,N...]    where the threads run, in turn (anywhere)\n"
	"  --scsi            it is a SCSI host: target 0, LUN 0 of it\n"
	"  --verify          each block names itself, and is looked at when it is read\n"
	"then on standard input: window read|write DEPTH poll|sleep MS\n";

struct blk_options {
	const char *socket;
	unsigned queues, packed;
	unsigned cpus[QUEUES_MAX], cpu_count; /* 0: anywhere */
	bool scsi, verify;
};

struct blk {
	struct blk_options options;
	struct vireo_front *front;
	struct load loads[QUEUES_MAX];
};

static const struct options_program program = {"bench-blk", usage};

static void cpus_parse(char *text, struct blk_options *o)
{
	char *rest = text, *one;

	o->cpu_count = 0;
	while ((one = strsep(&rest, ",")) && o->cpu_count < QUEUES_MAX)
		o->cpus[o->cpu_count++] = options_number(&program, "--cpu", one, 0, 1023);
}

static void options_parse(int argc, char **argv, struct blk_options *o)
{
	static const struct option long_options[] = {
		{"socket", required_argument, NULL, 's'}, {"queues", required_argument, NULL, 'q'},
		{"ring", required_argument, NULL, 'r'},	  {"cpu", required_argument, NULL, 'c'},
		{"scsi", no_argument, NULL, 'S'},	  {"verify", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	static const char *const rings[] = {"split", "packed", NULL};
	int option;

	*o = (struct blk_options){.queues = 1};
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		switch (option) {
		case 's':
			o->socket = optarg;
			break;
		case 'q':
			o->queues = options_number(&program, "--queues", optarg, 1, QUEUES_MAX);
			break;
		case 'r':
			o->packed = options_word(&program, "--ring", optarg, rings);
			break;
		case 'c':
			cpus_parse(optarg, o);
			break;
		case 'S':
			o->scsi = true;
			break;
		case 'v':
			o->verify = true;
			break;
		default:
			options_refuse(&program, "unknown option", "");
		}
	if (!o->socket || optind < argc)
		options_refuse(&program, "--socket is needed, and nothing but options", "");
}

/* ---- the device ---- */

static const struct load_format *format_of(const struct blk *blk)
{
	return blk->options.scsi ? &load_scsi : &load_blk;
}

static int front_open(struct blk *blk)
{
	const struct blk_options *o = &blk->options;
	const uint64_t needed = VIREO_FEATURE(VIREO_F_VERSION_1_BIT) | VIREO_FEATURE(VIREO_F_RING_INDIRECT_DESC_BIT) |
				(o->packed ? VIREO_FEATURE(VIREO_F_RING_PACKED_BIT) : 0);
	struct vireo_front_config config = {
		.size = sizeof(config),
		.path = o->socket,
		.features = needed | VIREO_FEATURE(VIREO_F_RING_EVENT_IDX_BIT) | format_of(blk)->features |
			    (o->queues > 1 && !o->scsi ? VIREO_FEATURE(VIREO_BLK_F_MQ_BIT) : 0),
		.features_required = needed,
		.queue_count = format_of(blk)->first_ring + o->queues,
		.queue_size = QUEUE_SIZE,
		.memory_bytes = o->queues * load_memory_bytes(format_of(blk), BLOCK_BYTES),
	};

	return vireo_front_open(&config, &blk->front);
}

static int loads_init(struct blk *blk)
{
	const struct blk_options *o = &blk->options;
	const struct load_format *format = format_of(blk);
	uint64_t sectors = 0;
	int err = 0;

	for (unsigned i = 0; i < o->queues && !err; i++) {
		struct load *load = &blk->loads[i];

		load->format = format;
		load->ring = vireo_front_ring(blk->front, format->first_ring + i);
		load->memory = (uint8_t *)vireo_front_memory(blk->front) + i * load_memory_bytes(format, BLOCK_BYTES);
		load->block_bytes = BLOCK_BYTES;
		err = i ? 0 : format->sectors_find(blk->front, load, &sectors);
		load->blocks = sectors / (BLOCK_BYTES / BLK_SECTOR_BYTES);
		load->verify = o->verify;
		load->random = i + 1;
		load->cpu = o->cpu_count ? (int)o->cpus[i % o->cpu_count] : -1;
		if (!err)
			err = load->blocks ? load_init(load) : -EINVAL;
	}
	return err;
}

/* ---- a window ---- */

static bool job_parse(const char *argument, struct load_job *job)
{
	char op[8], wait[8], more;
	unsigned ms;

	if (sscanf(argument, "%7s %u %7s %u %c", op, &job->depth, wait, &ms, &more) != 4 || !ms || ms > 600000 || !job->depth ||
	    job->depth > LOAD_DEPTH_MAX)
		return false;
	job->write = !strcmp(op, "write");
	job->polling = !strcmp(wait, "poll");
	job->until = clock_now() + clock_hz() / 1000 * ms;
	return (job->write || !strcmp(op, "read")) && (job->polling || !strcmp(wait, "sleep"));
}

static void histogram_take(struct histogram *all, const struct histogram *one)
{
	all->min = !all->count || (one->count && one->min < all->min) ? one->min : all->min;
	all->max = one->max > all->max ? one->max : all->max;
	all->count += one->count;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		all->buckets[i] += one->buckets[i];
}

static void window_tell(const struct blk *blk, uint64_t begin, FILE *out)
{
	static struct histogram all;
	uint64_t failed = 0, end = begin, hz = clock_hz();

	memset(&all, 0, sizeof(all));
	for (unsigned i = 0; i < blk->options.queues; i++) {
		histogram_take(&all, &blk->loads[i].latency);
		failed += blk->loads[i].failed;
		end = blk->loads[i].end > end ? blk->loads[i].end : end;
	}
	fprintf(out, "{\"requests\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"seconds\": %.6f", all.count, failed,
		(double)(end - begin) / (double)hz);
	fprintf(out, ", \"median_ns\": %.0f, \"p99_ns\": %.0f, \"p999_ns\": %.0f}",
		(double)histogram_quantile(&all, 500000) * 1e9 / (double)hz,
		(double)histogram_quantile(&all, 990000) * 1e9 / (double)hz,
		(double)histogram_quantile(&all, 999000) * 1e9 / (double)hz);
}

static void answer_window(void *opaque, const char *argument, FILE *out)
{
	struct blk *blk = opaque;
	struct load_job job;
	uint64_t begin = clock_now();
	unsigned started = 0;
	int err = 0;

	if (!job_parse(argument, &job)) {
		fputs("{\"error\": \"window read|write DEPTH poll|sleep MS\"}", out);
		return;
	}
	while (started < blk->options.queues && !err) {
		err = load_start(&blk->loads[started], &job);
		started += !err;
	}
	for (unsigned i = 0; i < started; i++)
		load_join(&blk->loads[i]);
	if (err)
		fprintf(out, "{\"error\": \"no thread: %s\"}", strerror(-err));
	else
		window_tell(blk, begin, out);
}

int main(int argc, char **argv)
{
	static const struct protocol_command commands[] = {{"window", answer_window}, {NULL, NULL}};
	static struct blk blk;
	int err;

	options_parse(argc, argv, &blk.options);
	err = front_open(&blk);
	if (!err)
		err = loads_init(&blk);
	if (err) {
		fprintf(stderr, "bench-blk: no disk at %s: %s\n", blk.options.socket, strerror(-err));
	} else {
		protocol_ready();
		protocol_serve(commands, &blk);
	}
	for (unsigned i = 0; i < blk.options.queues; i++)
		load_free(&blk.loads[i]);
	vireo_front_close(blk.front);
	return err ? 1 : 0;
}
