/* SPDX-License-Identifier: BSD-3-Clause */
#include "front.h"
#include "bench/common/options.h"
#include <getopt.h>

static const char usage[] =
	"usage: bench-front EAL-OPTIONS -- --mode send|receive|turn|circulate|latency [OPTIONS]\n"
	"  --size BYTES|imix     64 to 1518, or 64, 594 and 1518 mixed 7 : 4 : 1 (default 64)\n"
	"  --burst N             frames per call, 1 to 128 (default 32)\n"
	"  --window N            turn, circulate: frames in flight per direction, 1 to 2048 (default 512)\n"
	"  --touch none|line     before a frame is sent, write its first 64 bytes anew\n"
	"                        (default: line for send, none for the others)\n"
	"  --flows N             pairs of addresses per direction (default 1)\n"
	"  --gap-us N            latency: pause between frames (default 0)\n"
	"  --verify              number the frames, fill them with a pattern, check bytes and order\n"
	"  --any-address         with --verify: the back end rewrites addresses\n";

static const struct options_program program = { "bench-front", usage };

/* Frames that circulate untouched keep their flow, so there are no more flows than frames. */
static void check_flows(const struct front_options *o)
{
	unsigned frames = o->mode == FRONT_SEND ? EAL_POOL_FRAMES : o->window;

	if (o->mode != FRONT_RECEIVE && !o->verify && !o->touch && o->flows > frames)
		options_refuse(&program, "--flows: more than frames; add --touch line", "");
}

enum {
	OPTION_MODE,
	OPTION_SIZE,
	OPTION_BURST,
	OPTION_WINDOW,
	OPTION_TOUCH,
	OPTION_FLOWS,
	OPTION_GAP,
	OPTION_VERIFY,
	OPTION_ANY_ADDRESS
};

static void option_take(int option, struct front_options *o, int *mode, int *touch)
{
	static const char *const modes[] = { "send", "receive", "turn", "circulate", "latency", NULL };
	static const char *const touches[] = { "none", "line", NULL };

	switch (option) {
	case OPTION_MODE:
		*mode = (int)options_word(&program, "--mode", optarg, modes);
		break;
	case OPTION_SIZE:
		options_sizes(&program, optarg, &o->sizes);
		break;
	case OPTION_BURST:
		o->burst = options_number(&program, "--burst", optarg, 1, EAL_BURST_MAX);
		break;
	case OPTION_WINDOW:
		o->window = options_number(&program, "--window", optarg, 1, FRONT_WINDOW_MAX);
		break;
	case OPTION_TOUCH:
		*touch = (int)options_word(&program, "--touch", optarg, touches);
		break;
	case OPTION_FLOWS:
		o->flows = options_number(&program, "--flows", optarg, 1, FRAMES_FLOWS_MAX);
		break;
	case OPTION_GAP:
		o->gap_us = options_number(&program, "--gap-us", optarg, 0, 1000000);
		break;
	case OPTION_VERIFY:
		o->verify = true;
		break;
	case OPTION_ANY_ADDRESS:
		o->any_address = true;
		break;
	default:
		options_refuse(&program, "unknown option", "");
	}
}

void front_options_parse(int argc, char **argv, struct front_options *ret)
{
	static const struct option long_options[] = {
		{ "mode", required_argument, NULL, OPTION_MODE },
		{ "size", required_argument, NULL, OPTION_SIZE },
		{ "burst", required_argument, NULL, OPTION_BURST },
		{ "window", required_argument, NULL, OPTION_WINDOW },
		{ "touch", required_argument, NULL, OPTION_TOUCH },
		{ "flows", required_argument, NULL, OPTION_FLOWS },
		{ "gap-us", required_argument, NULL, OPTION_GAP },
		{ "verify", no_argument, NULL, OPTION_VERIFY },
		{ "any-address", no_argument, NULL, OPTION_ANY_ADDRESS },
		{ NULL, 0, NULL, 0 },
	};
	struct front_options o = { .burst = 32, .window = 512, .flows = 1 };
	int option, mode = -1, touch = -1;

	frame_sizes_parse("64", &o.sizes);
	optind = 1;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		option_take(option, &o, &mode, &touch);
	if (optind < argc)
		options_refuse(&program, "what is ", argv[optind]);
	if (mode < 0)
		options_refuse(&program, "--mode is missing", "");
	o.mode = (enum front_mode)mode;
	o.touch = touch < 0 ? o.mode == FRONT_SEND : touch;
	check_flows(&o);
	*ret = o;
}
