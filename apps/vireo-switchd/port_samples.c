/* SPDX-License-Identifier: BSD-3-Clause */
#include "port_samples.h"
#include "base/util.h"
#include "switch/switch.h"

/* Upper bounds are `min`, twice that and so on. */
static json_t *histogram(uint64_t min, unsigned bounds, const uint64_t *counts, uint64_t beyond, uint64_t sum)
{
	json_t *le = json_array(), *list = json_array();

	for (unsigned i = 0; i < bounds; i++) {
		json_array_append_new(le, json_integer((json_int_t)min << i));
		json_array_append_new(list, json_integer((json_int_t)counts[i]));
	}
	json_array_append_new(list, json_integer((json_int_t)beyond));
	return json_pack("{s:o, s:o, s:I}", "le", le, "counts", list, "sum", (json_int_t)sum);
}

json_t *port_samples_report(const struct sw_port *port)
{
	struct sw_port_samples s;

	sw_port_samples(port, &s);
	return json_pack("{s:o, s:o}", "latency_ns", histogram(SW_STAY_NS_MIN, SW_STAY_BUCKETS, s.stay, s.stay[SW_STAY_BUCKETS], s.stay_ns),
			 "burst_frames", histogram(1, SW_BURST_BUCKETS, s.burst, 0, s.burst_frames));
}
