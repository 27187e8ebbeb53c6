/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch/fake_switch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* cmocka wants the four above */
#include <cmocka.h>

const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void mac_of(uint8_t mac[6], unsigned port, unsigned i)
{
	memcpy(mac, (uint8_t[]){2, 0, 0, (uint8_t)port, (uint8_t)(i >> 8), (uint8_t)i}, 6);
}

void step(struct fixture *x)
{
	loop_dispatch(x->loop, 0);
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

void settle(struct fixture *x)
{
	for (unsigned i = 0; i < WAIT_MS_MAX * 5; i++) {
		bool idle = true;

		for (unsigned p = 0; p < PORTS; p++)
			idle &= !x->fake[p] || fake_port_idle(x->fake[p]);
		if (idle)
			return;
		step(x);
	}
	fail_msg("frames are stuck");
}

static void on_passed(void *opaque)
{
	*(bool *)opaque = true;
}

void pass_grace(struct fixture *x)
{
	struct sw_port_config config = {.ops = &fake_port_ops, .name = "passing"};
	struct sw_port *port;
	bool passed = false;

	assert_int_equal(sw_port_new(x->sw, &config, &port), 0);
	sw_port_free(port, on_passed, &passed);
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && !passed; i++)
		step(x);
	assert_true(passed);
}

void add_port_with(struct fixture *x, unsigned p, unsigned outs, struct sw_port_config *config)
{
	char name[8] = {'p', (char)('0' + p)};

	x->fake[p] = fake_port_new(true);
	if (!config->ops)
		config->ops = &fake_port_ops;
	config->flood_copies = SW_FLOOD_ANY;
	config->name = name;
	config->opaque = x->fake[p];
	assert_int_equal(sw_port_new(x->sw, config, &x->port[p]), 0);
	assert_int_equal(sw_queue_add(x->port[p], false, 0), 0);
	for (unsigned i = 0; i < outs; i++)
		assert_int_equal(sw_queue_add(x->port[p], true, i), 0);
	pass_grace(x);
}

void add_port_in(struct fixture *x, unsigned p, unsigned outs, uint16_t vlan)
{
	struct sw_port_config config = {.vlan = vlan};

	add_port_with(x, p, outs, &config);
}

void add_port(struct fixture *x, unsigned p, unsigned outs)
{
	add_port_in(x, p, outs, 0);
}

void on_gone(void *opaque)
{
	struct fixture *x = opaque;

	x->gone++;
}

void wait_gone(struct fixture *x, unsigned count)
{
	for (unsigned i = 0; i < WAIT_MS_MAX * 5 && x->gone < count; i++)
		step(x);
	assert_int_equal(x->gone, count);
}

void remove_port(struct fixture *x, unsigned p)
{
	unsigned before = x->gone;

	sw_port_free(x->port[p], on_gone, x);
	wait_gone(x, before + 1);
	fake_port_free(x->fake[p]);
	x->fake[p] = NULL;
	x->port[p] = NULL;
}

int setup(void **state)
{
	return setup_as(state, &(struct sw_config){.workers = 1});
}

int setup_as(void **state, const struct sw_config *config)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	assert_int_equal(loop_new(&x->loop), 0);
	assert_int_equal(sw_new(config, x->loop, &x->sw), 0);
	for (unsigned p = 0; p < 3; p++)
		add_port(x, p, 1);
	*state = x;
	return 0;
}

int teardown(void **state)
{
	struct fixture *x = *state;

	for (unsigned p = 0; p < PORTS; p++) {
		if (x->port[p])
			remove_port(x, p);
	}
	sw_free(x->sw);
	loop_free(x->loop);
	free(x);
	return 0;
}

void send_raw(struct fixture *x, unsigned from, const uint8_t *to, const uint8_t *source, unsigned number)
{
	uint8_t frame[64] = {0};

	memcpy(frame, to, 6);
	memcpy(frame + 6, source, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5; /* local experimental */
	memcpy(frame + 14, &number, sizeof(number));
	fake_port_send(x->fake[from], 0, frame, sizeof(frame), NULL);
}

struct sw_port_stats stats_of(struct fixture *x, unsigned p)
{
	struct sw_port_stats stats;

	sw_port_stats(x->port[p], &stats);
	return stats;
}
