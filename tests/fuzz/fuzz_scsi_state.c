/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What another process says that a unit and a lun hold (scsi/state.c). The first byte says which of the two it is, and whether it begins as
 * it has to. Whatever is taken can be said again, and is the same then.
 */
#include "fuzz.h"
#include "scsi/internal.h"
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES 8192u

static struct {
	struct scsi_unit *unit;
	struct scsi_bus *bus;
} t;

static void keep(void *opaque, struct scsi_keep *k)
{
	scsi_keep_done(k, 0);
}

static void init(void)
{
	struct scsi_bus_config bus = {.initiator = "vm"};
	struct scsi_unit_config config = {.name = "u", .keep = keep};
	struct disk_config disk_config = {0};
	char why[DISK_WHY_BYTES];
	struct disk *disk;

	if (disk_open("null:1M", &disk_config, &disk, why))
		abort();
	config.disk = disk;
	if (scsi_unit_new(&config, &t.unit) || scsi_bus_new(&bus, &t.bus) || scsi_bus_add(t.bus, 0, 0, t.unit))
		abort();
}

static int load(bool unit, const char *text)
{
	return unit ? scsi_unit_load(t.unit, text) : scsi_lun_load(t.bus, 0, 0, text);
}

static char *save(bool unit)
{
	return unit ? scsi_unit_save(t.unit) : scsi_lun_save(t.bus, 0, 0);
}

static const char *begin(uint8_t how, char text[TEXT_BYTES])
{
	static const char *const units[] = {"", "vireo-unit 1\n", "vireo-unit 1\nmodes 0 0 0\nstopped 0\nkept 0\n"};
	static const char *const luns[] = {"", "vireo-lun 1\nattentions 0\n", "vireo-lun 1\nattentions 3ff\ncopies 1\n"};

	if (how & 1 && how >> 1 == 3)
		snprintf(text, TEXT_BYTES, "%svireo-reservations 1\nunit naa.%016llx\n", units[2], (unsigned long long)scsi_naa("u"));
	else
		snprintf(text, TEXT_BYTES, "%s", (how & 1 ? units : luns)[(how >> 1) % 3]);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	char text[TEXT_BYTES], *said, *again;
	size_t at;

	if (!ready)
		init();
	ready = true;
	if (!size || size > TEXT_BYTES / 2)
		return 0;
	at = strlen(begin(data[0] & 7, text));
	memcpy(text + at, data + 1, size - 1);
	text[at + size - 1] = '\0';
	if (load(data[0] & 1, text))
		return 0;
	said = save(data[0] & 1);
	assert(said && !load(data[0] & 1, said));
	again = save(data[0] & 1);
	assert(again && !strcmp(said, again));
	free(said);
	free(again);
	return 0;
}
