/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MODE SENSE and MODE SELECT (SPC-4, 6.11 to 6.14). A page says of each of its bytes what it is, what may be
 * changed, and what it is by default; a list that changes anything else is refused as a whole. What is
 * changed holds for all who see the unit, and is not saved.
 */
#include "scsi/internal.h"

#define LIST_BYTES   4096u
#define PAGE_ALL     0x3fu
#define SUBPAGE_ALL  0xffu
#define PAGE_FORMAT  0x10u
#define SAVE	     0x01u
#define LONG_BLOCKS  0x10u
#define NO_BLOCKS    0x08u
#define WRITE_CACHE  0x04u
#define D_SENSE	     0x04u
#define REORDERS     0x10u
#define SWP	     0x08u
#define SPF	     0x40u

enum { CURRENT, CHANGEABLE, DEFAULT, SAVED };

struct mode_page {
	uint8_t code, length;
	void (*fill)(const struct scsi_unit *unit, const struct scsi_modes *modes, unsigned which, uint8_t *page);
	void (*take)(struct scsi_modes *modes, const uint8_t *page); /* NULL: nothing may be changed */
};

static void recovery_fill(const struct scsi_unit *unit, const struct scsi_modes *modes, unsigned which, uint8_t *page)
{
}

static void caching_fill(const struct scsi_unit *unit, const struct scsi_modes *modes, unsigned which, uint8_t *page)
{
	if (which == CHANGEABLE ? unit->info.volatile_cache : modes->write_cache)
		page[2] = WRITE_CACHE;
}

static void caching_take(struct scsi_modes *modes, const uint8_t *page)
{
	modes->write_cache = page[2] & WRITE_CACHE;
}

static void control_fill(const struct scsi_unit *unit, const struct scsi_modes *modes, unsigned which, uint8_t *page)
{
	bool may = which == CHANGEABLE;

	if (may || modes->descriptor_sense)
		page[2] = D_SENSE;
	if (may || modes->write_protect)
		page[4] = SWP;
	if (may)
		return;
	page[3] = REORDERS;
	put_be16(page + 8, 0xffff); /* busy for as long as it takes */
}

static void control_take(struct scsi_modes *modes, const uint8_t *page)
{
	modes->descriptor_sense = page[2] & D_SENSE;
	modes->write_protect = page[4] & SWP;
}

static const struct mode_page pages[] = {
	{0x01, 10, recovery_fill, NULL}, /* read-write error recovery */
	{0x08, 18, caching_fill, caching_take},
	{0x0a, 10, control_fill, control_take},
	{0x1c, 10, recovery_fill, NULL}, /* informational exceptions */
};

static size_t page_write(const struct scsi_unit *unit, const struct mode_page *page, unsigned which, uint8_t *at)
{
	struct scsi_modes modes = unit->modes;

	if (which == DEFAULT)
		modes = (struct scsi_modes){.write_cache = unit->info.volatile_cache};
	memset(at, 0, 2 + (size_t)page->length);
	at[0] = page->code;
	at[1] = page->length;
	page->fill(unit, &modes, which, at);
	return 2 + (size_t)page->length;
}

/* ---- MODE SENSE ---- */

struct asked {
	bool ten;	 /* MODE SENSE (10) */
	unsigned page, subpage, which;
	size_t allowed;
};

/* Returns their length; 0: there is no such page. */
static size_t pages_write(const struct scsi_unit *unit, const struct asked *asked, uint8_t *at)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		if (asked->page == PAGE_ALL || asked->page == pages[i].code)
			bytes += page_write(unit, &pages[i], asked->which, at + bytes);
	return bytes;
}

static size_t blocks_write(const struct scsi_task *task, bool long_form, uint8_t *at)
{
	const struct scsi_unit *unit = unit_of(task);
	uint64_t blocks = scsi_unit_blocks(unit);

	if (task->cdb[1] & NO_BLOCKS)
		return 0;
	if (long_form) {
		put_be64(at, blocks);
		put_be32(at + 12, unit->info.logical_block_bytes);
		return 16;
	}
	put_be32(at, (uint32_t)min_u64(blocks, UINT32_MAX));
	put_be24(at + 5, unit->info.logical_block_bytes);
	return 8;
}

static void header_write(const struct scsi_unit *unit, bool ten, bool long_form, size_t bytes, size_t blocks, uint8_t *at)
{
	uint8_t specific = __atomic_load_n(&unit->write_protect, __ATOMIC_RELAXED) ? 0x90 : 0x10; /* WP, and DPOFUA */

	if (ten) {
		put_be16(at, (uint16_t)(bytes - 2));
		at[3] = specific;
		at[4] = long_form;
		put_be16(at + 6, (uint16_t)blocks);
	} else {
		at[0] = (uint8_t)(bytes - 1);
		at[2] = specific;
		at[3] = (uint8_t)blocks;
	}
}

static void sense(struct scsi_task *task, const struct asked *asked)
{
	uint8_t data[256] = {0};
	bool long_form = asked->ten && task->cdb[1] & LONG_BLOCKS;
	size_t header = asked->ten ? 8 : 4, blocks = blocks_write(task, long_form, data + header), bytes;
	struct scsi_unit *unit = unit_of(task);

	pthread_mutex_lock(&unit->lock);
	bytes = pages_write(unit, asked, data + header + blocks);
	pthread_mutex_unlock(&unit->lock);
	if (!bytes) {
		scsi_end_cdb(task, 2, 5);
		return;
	}
	bytes += header + blocks;
	header_write(unit, asked->ten, long_form, bytes, blocks, data);
	scsi_end_data(task, data, bytes, asked->allowed);
}

void scsi_do_mode_sense(struct scsi_task *task)
{
	const uint8_t *cdb = task->cdb;
	struct asked asked = {
		.ten = task->command->cdb_bytes == 10,
		.page = cdb[2] & 0x3fu,
		.which = cdb[2] >> 6,
		.subpage = cdb[3],
	};

	asked.allowed = asked.ten ? get_be16(cdb + 7) : cdb[4];
	if (asked.subpage && asked.subpage != SUBPAGE_ALL)
		scsi_end_cdb(task, 3, -1);
	else if (asked.which == SAVED)
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_SAVING);
	else
		sense(task, &asked);
}

/* ---- MODE SELECT ---- */

static const struct mode_page *page_of(uint8_t code)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		if (pages[i].code == code)
			return &pages[i];
	return NULL;
}

/* What may not be changed has to be as it is: the byte that is not, or -1. */
static int page_differs(const struct scsi_unit *unit, const struct mode_page *page, const uint8_t *new)
{
	uint8_t now[32], may[32];
	size_t bytes = page_write(unit, page, CURRENT, now);

	page_write(unit, page, CHANGEABLE, may);
	for (size_t i = 2; i < bytes; i++)
		if ((now[i] ^ new[i]) & ~may[i] & 0xff)
			return (int)i;
	return -1;
}

/*
 * Of a list, from `at` on; unit.lock is held. Returns what is wrong: 0, an ASC, or ASC_LIST_FIELD with *at
 * there.
 */
static uint16_t pages_take(const struct scsi_unit *unit, const uint8_t *list, size_t bytes, size_t *at, struct scsi_modes *modes)
{
	while (*at < bytes) {
		const struct mode_page *page = page_of(list[*at] & 0x3f);
		int wrong;

		if (!page || list[*at] & SPF)
			return ASC_LIST_FIELD;
		if (bytes - *at < 2 || list[*at + 1] > bytes - *at - 2)
			return ASC_LIST_LENGTH;
		if (list[*at + 1] != page->length) {
			*at += 1;
			return ASC_LIST_FIELD;
		}
		wrong = page_differs(unit, page, list + *at);
		if (wrong >= 0) {
			*at += (size_t)wrong;
			return ASC_LIST_FIELD;
		}
		if (page->take)
			page->take(modes, list + *at);
		*at += 2 + (size_t)page->length;
	}
	return 0;
}

/* Where the pages begin; or what is wrong, as above. The block descriptor may say what is so already. */
static uint16_t header_take(const struct scsi_unit *unit, const uint8_t *list, size_t bytes, bool ten, size_t *at)
{
	size_t header = ten ? 8 : 4, blocks;
	bool long_form = ten && bytes >= header && list[4] & 1;
	uint32_t block;

	*at = 0;
	if (bytes < header)
		return ASC_LIST_LENGTH;
	blocks = ten ? get_be16(list + 6) : list[3];
	if (blocks > bytes - header)
		return ASC_LIST_LENGTH;
	*at = ten ? 6 : 3;
	if (blocks && blocks != (long_form ? 16 : 8))
		return ASC_LIST_FIELD;
	block = !blocks ? 0 : long_form ? get_be32(list + header + 12) : get_be24(list + header + 5);
	*at = header + (long_form ? 12 : 5);
	if (block && block != unit->info.logical_block_bytes)
		return ASC_LIST_FIELD;
	*at = header + blocks;
	return 0;
}

static uint16_t select_locked(struct scsi_task *task, const uint8_t *list, size_t bytes, size_t *at)
{
	struct scsi_unit *unit = unit_of(task);
	struct scsi_modes modes = unit->modes;
	uint16_t wrong = header_take(unit, list, bytes, task->command->cdb_bytes == 10, at);

	if (!wrong)
		wrong = pages_take(unit, list, bytes, at, &modes);
	if (wrong || !memcmp(&modes, &unit->modes, sizeof(modes)))
		return wrong;
	unit->modes = modes;
	scsi_modes_apply(unit);
	scsi_attend_others(unit, task->path->lun, ATTENTION_MODES);
	return 0;
}

void scsi_do_mode_select(struct scsi_task *task)
{
	size_t bytes = task->command->cdb_bytes == 10 ? get_be16(task->cdb + 7) : task->cdb[4], at = 0;
	struct scsi_unit *unit = unit_of(task);
	uint8_t list[LIST_BYTES];
	uint16_t wrong;

	if (task->cdb[1] & SAVE) {
		scsi_end_cdb(task, 1, 0);
		return;
	}
	if (!(task->cdb[1] & PAGE_FORMAT)) {
		scsi_end_cdb(task, 1, 4);
		return;
	}
	if (bytes > sizeof(list)) {
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, ASC_LIST_LENGTH);
		return;
	}
	if (!bytes) {
		scsi_end(task);
		return;
	}
	if (!scsi_list_take(task, list, bytes))
		return;
	pthread_mutex_lock(&unit->lock);
	wrong = select_locked(task, list, bytes, &at);
	pthread_mutex_unlock(&unit->lock);
	if (wrong == ASC_LIST_FIELD)
		scsi_end_list(task, (unsigned)at, -1);
	else if (wrong)
		scsi_end_check(task, KEY_ILLEGAL_REQUEST, wrong);
	else
		scsi_end(task);
}
