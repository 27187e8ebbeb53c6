/* SPDX-License-Identifier: BSD-3-Clause */
#include "scsi_export.h"
#include "base/log.h"
#include "luns.h"
#include "report.h"
#include "scsi/scsi.h"
#include "vireo/endpoint.h"
#include "vireo/mailbox.h"
#include "vireo/scsi.h"
#include <stdlib.h>
#include <string.h>

#define SEGMENTS 126u /* of a command, each way: as QEMU says to its guests */

/* ---- task management ---- */

/*
 * Of its own, and not in the room of the device's request: a function on a unit that machines share waits for the queues of their exports,
 * too, and this export may go before they do.
 */
struct managing {
	struct scsi_management scsi;
	struct scsi_export *export; /* control thread; NULL: it has gone, and the driver has been answered */
	struct managing *next, **at; /* of the export's; `at` is what points to it */
	struct vireo_scsi_management *vireo;
	struct vireo_mailbox *mailbox;
	struct vireo_letter letter;
};

static void managing_end(struct managing *m, uint8_t answer)
{
	*m->at = m->next;
	if (m->next)
		m->next->at = m->at;
	m->export = NULL;
	vireo_scsi_managed(m->vireo, answer);
}

static uint8_t answer_of(const struct scsi_management *scsi)
{
	static const uint8_t answers[] = {
		[SCSI_FUNCTION_COMPLETE] = VIREO_SCSI_FUNCTION_COMPLETE,
		[SCSI_FUNCTION_SUCCEEDED] = VIREO_SCSI_FUNCTION_SUCCEEDED,
		[SCSI_FUNCTION_REJECTED] = VIREO_SCSI_FUNCTION_REJECTED,
		[SCSI_INCORRECT_LUN] = VIREO_SCSI_INCORRECT_LUN,
		[SCSI_NO_TARGET] = VIREO_SCSI_BAD_TARGET,
	};

	return answers[scsi->answer];
}

static void answer(struct vireo_letter *letter)
{
	struct managing *m = container_of(letter, struct managing, letter);

	if (m->export)
		managing_end(m, answer_of(&m->scsi));
	free(m);
}

/* Any thread. */
static void managed(struct scsi_management *scsi)
{
	struct managing *m = container_of(scsi, struct managing, scsi);

	m->letter.deliver = answer;
	vireo_mailbox_post(m->mailbox, &m->letter);
}

static uint8_t function_of(uint32_t function)
{
	static const uint8_t functions[] = {
		[VIREO_SCSI_ABORT_TASK] = SCSI_ABORT_TASK,
		[VIREO_SCSI_ABORT_TASK_SET] = SCSI_ABORT_TASK_SET,
		[VIREO_SCSI_CLEAR_ACA] = SCSI_CLEAR_ACA,
		[VIREO_SCSI_CLEAR_TASK_SET] = SCSI_CLEAR_TASK_SET,
		[VIREO_SCSI_I_T_NEXUS_RESET] = SCSI_I_T_NEXUS_RESET,
		[VIREO_SCSI_LOGICAL_UNIT_RESET] = SCSI_LOGICAL_UNIT_RESET,
		[VIREO_SCSI_QUERY_TASK] = SCSI_QUERY_TASK,
		[VIREO_SCSI_QUERY_TASK_SET] = SCSI_QUERY_TASK_SET,
	};

	return function < ARRAY_SIZE(functions) ? functions[function] : SCSI_FUNCTIONS;
}

static void manage(void *opaque, struct vireo_scsi_management *management)
{
	struct scsi_export *e = opaque;
	struct managing *m = malloc(sizeof(*m));

	if (!m) {
		vireo_scsi_managed(management, VIREO_SCSI_BUSY);
		return;
	}
	*m = (struct managing){
		.scsi = {
			.function = function_of(management->function),
			.target = management->target,
			.tag = management->id,
			.done = managed,
		},
		.export = e,
		.next = e->managing,
		.at = &e->managing,
		.vireo = management,
		.mailbox = e->export.exports->drained,
	};
	if (m->next)
		m->next->at = &m->next;
	e->managing = m;
	memcpy(m->scsi.lun, management->lun, sizeof(m->scsi.lun));
	scsi_bus_manage(e->bus, &m->scsi);
}

/* ---- the device ---- */

static uint8_t unit_look(void *opaque, uint8_t target, const uint8_t lun[8])
{
	const struct scsi_export *e = opaque;
	int number = scsi_lun_decode(lun);

	if (number >= 0 && lun_at(e, target, (unsigned)number))
		return VIREO_SCSI_FUNCTION_COMPLETE;
	return lun_target_there(e, target) ? VIREO_SCSI_INCORRECT_LUN : VIREO_SCSI_BAD_TARGET;
}

static void reset(void *opaque)
{
	const struct scsi_export *e = opaque;

	scsi_bus_reset(e->bus);
}

static const struct vireo_scsi_ops scsi_ops = {
	.size = sizeof(scsi_ops),
	.submit = host_queue_submit,
	.manage = manage,
	.unit_look = unit_look,
	.queue_started = export_queue_started,
	.queue_stop = export_queue_stop,
	.queue_enabled = export_queue_enabled,
	.queue_renew = export_queue_renew,
	.reset = reset,
};

static int device_new(struct export *export)
{
	struct scsi_export *e = scsi_export_of(export);
	const struct spec *at = &export->spec->at;
	const struct exports *exports = export->exports;
	const struct vireo_scsi_config config = {
		.size = sizeof(config),
		.queues = export->queue_count,
		.segments_max = SEGMENTS,
		.change_untold = true, /* QEMU lets its guests agree on CHANGE without a word to us */
		.features_off = at->endpoint.ring_features_off | UINT64_C(1) << VIREO_SCSI_F_INOUT_BIT, /* no command moves both ways */
		.command_room_bytes = host_queue_room_bytes,
		.ops = &scsi_ops,
		.opaque = export,
		.log = logger_log(&export->peer_logger),
		.name = at->name,
		.faults = exports->faults,
		.notifier = exports->notifier,
		.memory = exports->memory,
		.memory_max_bytes = at->endpoint.memory_max_bytes,
	};

	return vireo_scsi_new(&config, &e->scsi);
}

static const char *initiator_of(const struct export *export)
{
	const struct scsi_spec *spec = scsi_spec_of(export->spec);

	return *spec->initiator ? spec->initiator : export->spec->at.name;
}

/* As a machine has it that moves from one of them to the other; two machines would be let through by each other's reservations. */
static void initiator_look(const struct export *export)
{
	for (const struct export *other = export->exports->first; other; other = other->next)
		if (other != export && !other->closing && !strcmp(initiator_of(other), initiator_of(export)))
			log_warning(&export->log, "initiator '%s' is export '%s', too: to reservations the two are one machine",
				    initiator_of(export), other->spec->at.name);
}

static int export_open(struct export *export, char why[SPEC_WHY_BYTES])
{
	struct scsi_export *e = scsi_export_of(export);
	const struct scsi_bus_config config = {
		.initiator = initiator_of(export),
		.segments_max = SEGMENTS,
	};
	int err = scsi_bus_new(&config, &e->bus);

	initiator_look(export);
	if (!err)
		err = device_new(export);
	if (!err)
		export->device = vireo_scsi_device(e->scsi);
	return err;
}

static void config(const struct export *export, struct vireo_endpoint_config *ret_config)
{
	const struct scsi_spec *spec = scsi_spec_of(export->spec);

	if (spec->export.at.kind->endpoint == &endpoint_cuse)
		ret_config->cuse.target = spec->wwpn;
}

/* Its queues have left, and with them all that its LUNs waited for. Functions may still wait for another export's queues. */
static void export_close(struct export *export)
{
	struct scsi_export *e = scsi_export_of(export);

	luns_end(e);
	while (e->managing)
		managing_end(e->managing, VIREO_SCSI_FAILURE);
	vireo_scsi_free(e->scsi);
	scsi_bus_free(e->bus);
}

static const struct export_queue_ops *ops_of(const struct export *export, unsigned queue)
{
	return &host_queue_ops;
}

static const char *subject(const struct export *export, char text[SPEC_WHY_BYTES])
{
	return "";
}

const struct export_kind scsi_export_kind = {
	.specs = &scsi_spec_kinds,
	.export_bytes = sizeof(struct scsi_export),
	.queue_bytes = sizeof(struct host_queue),
	.first_queue = VIREO_SCSI_REQUEST_QUEUE,
	.queues = scsi_spec_queues,
	.queue_ops = ops_of,
	.open = export_open,
	.config = config,
	.close = export_close,
	.subject = subject,
	.brief = report_host_brief,
	.full = report_host_full,
};
