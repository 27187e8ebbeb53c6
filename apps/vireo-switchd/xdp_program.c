/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two maps: of an interface and a queue the place, and at a place the socket. The program is seen at its interface (ip link), and a
 * daemon that is killed leaves none behind: it hangs on a link, which is an fd.
 */
#include "xdp_program.h"
#include "base/util.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACES 1024u

struct queue_key {
	uint32_t interface, queue;
};

/* The process's. */
static int places_map = -1, sockets_map = -1, program_fd = -1;
static int load_err = -EOPNOTSUPP;
static bool taken[PLACES];

#define LOAD(to, from, at) {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = (from), .off = (at)}
#define STORE(to, at, from) {.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = (from), .off = (at)}
#define MOVE(to, from) {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from)}
#define SET(to, value) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (to), .imm = (value)}
#define ADD(to, value) {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = (to), .imm = (value)}
#define MAP(to, fd) {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = (to), .src_reg = BPF_PSEUDO_MAP_FD, .imm = (fd)}, {.code = 0}
#define CALL(function) {.code = BPF_JMP | BPF_CALL, .imm = (function)}
#define IF_ZERO(of, skip) {.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = (of), .off = (skip)}
#define EXIT {.code = BPF_JMP | BPF_EXIT}

static int program_make(void)
{
	const struct bpf_insn program[] = {
		LOAD(BPF_REG_2, BPF_REG_1, offsetof(struct xdp_md, ingress_ifindex)),
		STORE(BPF_REG_10, -8, BPF_REG_2),
		LOAD(BPF_REG_2, BPF_REG_1, offsetof(struct xdp_md, rx_queue_index)),
		STORE(BPF_REG_10, -4, BPF_REG_2),
		MOVE(BPF_REG_2, BPF_REG_10),
		ADD(BPF_REG_2, -8),
		MAP(BPF_REG_1, places_map),
		CALL(BPF_FUNC_map_lookup_elem),
		IF_ZERO(BPF_REG_0, 6),
		LOAD(BPF_REG_2, BPF_REG_0, 0),
		MAP(BPF_REG_1, sockets_map),
		SET(BPF_REG_3, XDP_PASS), /* if nobody is there */
		CALL(BPF_FUNC_redirect_map),
		EXIT,
		SET(BPF_REG_0, XDP_PASS),
		EXIT,
	};
	/* Frames may lie in several pieces (Linux 5.18): it looks at none of their bytes. */
	const uint32_t flags[] = {BPF_F_XDP_HAS_FRAGS, 0};
	int fd = -1;

	for (unsigned i = 0; fd < 0 && i < ARRAY_SIZE(flags); i++) {
		const struct bpf_prog_load_opts options = {.sz = sizeof(options), .prog_flags = flags[i]};

		fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "vireo", "BSD", program, ARRAY_SIZE(program), &options);
	}
	return fd;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

int xdp_program_ready(void)
{
	return load_err < 0 ? load_err : 0;
}

int xdp_program_load(void)
{
	libbpf_set_print(quiet);
	places_map = bpf_map_create(BPF_MAP_TYPE_HASH, "vireo_places", sizeof(struct queue_key), sizeof(uint32_t), PLACES, NULL);
	load_err = places_map;
	if (places_map >= 0)
		load_err = sockets_map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "vireo_sockets", sizeof(uint32_t), sizeof(uint32_t), PLACES, NULL);
	if (load_err >= 0)
		load_err = program_fd = program_make();
	return xdp_program_ready();
}

int xdp_program_attach(int interface, unsigned flags, int *ret_fd)
{
	const struct bpf_link_create_opts options = {.sz = sizeof(options), .flags = flags};
	int fd;

	if (load_err < 0)
		return load_err;
	fd = bpf_link_create(program_fd, interface, BPF_XDP, &options);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int xdp_program_place(int interface, unsigned queue, int socket_fd, int *ret_place)
{
	const struct queue_key key = {(uint32_t)interface, queue};
	uint32_t place = 0;
	int err;

	while (place < PLACES && taken[place])
		place++;
	if (place == PLACES)
		return -ENOSPC;
	err = bpf_map_update_elem(sockets_map, &place, &socket_fd, BPF_ANY);
	if (!err)
		err = bpf_map_update_elem(places_map, &key, &place, BPF_ANY);
	if (err)
		return err;
	taken[place] = true;
	*ret_place = (int)place;
	return 0;
}

void xdp_program_displace(int interface, unsigned queue, int *place)
{
	const struct queue_key key = {(uint32_t)interface, queue};

	if (*place < 0)
		return;
	(void)bpf_map_delete_elem(places_map, &key);
	taken[*place] = false;
	*place = -1;
}
