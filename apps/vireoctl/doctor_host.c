/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor.h"
#include "base/util.h"
#include "doctor_process.h"
#include "field.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- memory ---- */

/*
 * The daemon has mapped a guest's memory shared. Its front end has mapped the same file, but private: what the guest writes goes to copies
 * of the pages that nobody else sees.
 */
void doctor_shared_memory(struct doctor *doctor)
{
	struct process_file *ours, *its;
	size_t our_count = process_files(doctor->root, doctor->daemon, &ours), its_count;
	const json_t *port;

	for (size_t i = 0; our_count && (port = doctor_port(doctor, i)); i++) {
		its_count = process_files(doctor->root, number_of(port, "peer_pid"), &its);
		for (size_t j = 0; j < its_count; j++) {
			const struct process_file *our = process_file_find(ours, our_count, &its[j]);

			if (!our || !our->shared || its[j].shared)
				continue;
			doctor_find(doctor, "memory", port, json_sprintf("process %lld has mapped its memory for itself alone, and what its "
				    "guest writes is not seen here", number_of(port, "peer_pid")),
				    json_string("let it be shared: " DOCTOR_SHARE_ON));
			break;
		}
		free(its);
	}
	free(ours);
}

/* ---- sockets ---- */

static void socket_of_client(struct doctor *doctor, const json_t *port, const char *path)
{
	struct process_user user;
	const char *lacks = NULL;
	char where[512];

	if (process_user_of(doctor->root, doctor->daemon, &user))
		lacks = process_may_not_write(&user, path, where);
	if (lacks)
		doctor_find(doctor, "socket", port, json_sprintf("the daemon (user %u) may not %s %s", user.uid, lacks, where),
			    json_sprintf("chgrp %u %s && chmod g+%s %s", user.gid, where, *lacks == 'w' ? "w" : "x", where));
}

/* A front end that comes again and again, as with reconnect= of QEMU, and is not let in. */
static void socket_of_server(struct doctor *doctor, const json_t *port, const char *path)
{
	struct process_user user, own = {.uid = 0};
	const char *lacks = NULL;
	char where[512];
	long pid = 0;

	if (process_user_of(doctor->root, doctor->daemon, &own))
		while (!lacks && (pid = process_with_word(doctor->root, path, pid)))
			if (pid != doctor->daemon && process_user_of(doctor->root, pid, &user))
				lacks = process_may_not_write(&user, path, where);
	if (lacks)
		doctor_find(doctor, "socket", port, json_sprintf("process %ld (user %u) is to connect to it, and may not %s %s", pid, user.uid,
			    lacks, where),
			    json_sprintf("chgrp %u %s && chmod g+%s %s", user.gid, where, *lacks == 'w' ? "w" : "x", where));
}

void doctor_sockets(struct doctor *doctor)
{
	const json_t *port;
	struct stat st;

	for (size_t i = 0; (port = doctor_port(doctor, i)); i++) {
		const char *path = text_of(port, "address");
		bool listens = doctor_port_is(port, "state", "listening"), connects = doctor_port_is(port, "state", "connecting");

		if (!doctor_port_is(port, "type", "vhost-user") || *path != '/' || (!listens && !connects))
			continue;
		if (connects)
			socket_of_client(doctor, port, path);
		else if (process_stat(path, &st) == PROCESS_GONE || (process_stat(path, &st) == PROCESS_THERE && !S_ISSOCK(st.st_mode)))
			doctor_find(doctor, "socket", port, json_sprintf("somebody has removed its socket %s", path),
				    json_sprintf("vireoctl port remove %s, and vireoctl port add vhost-user:%s,...", text_of(port, "name"), path));
		else
			socket_of_server(doctor, port, path);
	}
}

/* ---- the kernel ---- */

static bool there(const struct doctor *doctor, const char *path)
{
	char full[512];
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", doctor->root, path);
	return !stat(full, &st);
}

void doctor_modules(struct doctor *doctor)
{
	bool vdpa = there(doctor, "/sys/bus/vdpa/drivers/virtio_vdpa") || there(doctor, "/sys/bus/vdpa/drivers/vhost_vdpa");
	const json_t *port;

	for (size_t i = 0; !vdpa && (port = doctor_port(doctor, i)); i++)
		if (doctor_port_is(port, "type", "vduse"))
			doctor_find(doctor, "kernel", port, json_string("this kernel has no driver for vDPA devices, and nobody can use its device"),
				    json_string("modprobe virtio-vdpa (an interface of this machine), or modprobe vhost-vdpa (for QEMU)"));
}

/* ---- CPUs ---- */

/* A thread of a front end may run where one worker does, and nowhere else: the two take turns. */
static void cpu_of_peer(struct doctor *doctor, const json_t *worker, const json_t *port)
{
	long long cpu = number_of(worker, "cpu");
	long thread = process_thread_only_at(doctor->root, number_of(port, "peer_pid"), cpu);

	if (thread)
		doctor_find(doctor, "cpu", port, json_sprintf("thread %ld of its process %lld may run on CPU %lld alone, which is worker %lld's", thread,
			    number_of(port, "peer_pid"), cpu, number_of(worker, "worker")),
			    json_string("pin it elsewhere (taskset -p, or vcpupin of virsh), or start the daemon with --workers CPU-LIST of others"));
}

/* Where there is one CPU only, nobody can do better. */
static void worker_look(struct doctor *doctor, const json_t *worker, const char *isolated, size_t cpus)
{
	long long cpu = number_of(worker, "cpu");
	const json_t *port;

	if (*isolated && !process_list_has(isolated, cpu))
		doctor_find(doctor, "cpu", NULL, json_sprintf("worker %lld is on CPU %lld, where anybody may run, and CPUs %s are isolated",
			    number_of(worker, "worker"), cpu, isolated),
			    json_sprintf("start the daemon with --workers CPU-LIST, of CPUs of %s", isolated));
	for (size_t i = 0; cpus > 1 && (port = doctor_port(doctor, i)); i++)
		cpu_of_peer(doctor, worker, port);
}

void doctor_cpus(struct doctor *doctor)
{
	const json_t *workers = json_object_get(doctor->stats, "workers"), *worker;
	char isolated[256] = "";
	size_t loose = 0, cpus = process_cpu_count(doctor->root, doctor->daemon);

	process_line(doctor->root, "/sys/devices/system/cpu/isolated", isolated, sizeof(isolated));
	for (size_t i = 0; (worker = json_array_get(workers, i)); i++)
		if (json_is_integer(json_object_get(worker, "cpu")))
			worker_look(doctor, worker, isolated, cpus);
		else
			loose++;
	if (cpus && loose > cpus)
		doctor_find(doctor, "cpu", NULL, json_sprintf("%zu workers share the %zu CPUs that the daemon may run on", loose, cpus),
			    json_sprintf("start it with --workers %zu, or give it more CPUs (CPUAffinity= of the unit, or taskset)", cpus));
}
