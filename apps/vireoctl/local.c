/* SPDX-License-Identifier: BSD-3-Clause */
#include "local.h"
#include "base/util.h"
#include "base/visible.h"
#include "ctl/line.h"
#include "vireo/pci.h"
#include <errno.h>
#include <string.h>

static void complain(void *opaque, enum vireo_log_level level, const char *line)
{
	line_print(stderr, "vireoctl: %s", line);
}

static const struct vireo_log complaints = {.write = complain, .max_level = VIREO_LOG_ERROR};

/* The kernel lets an interface's name be any bytes. */
static json_t *text_or_null(const char *text)
{
	char shown[1024];

	visible_copy(shown, sizeof(shown), text);
	return *text ? json_string(shown) : json_null();
}

/* virtio 1.3, section 5. */
static const char *type_name(unsigned device_id)
{
	static const char *const names[] = {
		[1] = "net",  [2] = "block",  [3] = "console", [4] = "entropy", [5] = "balloon", [8] = "scsi",
		[16] = "gpu", [18] = "input", [19] = "vsock",  [20] = "crypto", [26] = "fs",
	};

	return device_id < ARRAY_SIZE(names) && names[device_id] ? names[device_id] : "";
}

static json_t *function_json(const struct vireo_pci_function *f)
{
	return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "address", f->address, "device_id",
			 (int)f->device_id, "type", text_or_null(type_name(f->device_id)), "driver",
			 text_or_null(f->driver), "node", text_or_null(f->node), "interface",
			 text_or_null(f->interface), "iommu_group",
			 f->iommu_group < 0 ? json_null() : json_integer(f->iommu_group));
}

static void list_add(void *opaque, const struct vireo_pci_function *function)
{
	json_array_append_new(opaque, function_json(function));
}

static int pci_list(const char *root, int argc, char *const *argv, json_t **ret_result)
{
	json_t *list = json_array();
	int err = vireo_pci_list(root, list_add, list);

	if (err) {
		line_print(stderr, "vireoctl: no PCI bus is here: /sys/bus/pci/devices: %s", strerror(-err));
		json_decref(list);
		return err;
	}
	*ret_result = json_pack("{s:o}", "functions", list);
	return 0;
}

struct search {
	const char *address;
	json_t *found;
};

static void search_look(void *opaque, const struct vireo_pci_function *function)
{
	struct search *search = opaque;

	if (!search->found && !strcmp(function->address, search->address))
		search->found = function_json(function);
}

/* What has become of the function. */
static int pci_show(const char *root, const char *address, json_t **ret_result)
{
	struct search search = {.address = address};
	int err = vireo_pci_list(root, search_look, &search);

	if (!err && !search.found)
		err = -ENODEV;
	if (!err)
		*ret_result = search.found;
	return err;
}

static int pci_bind(const char *root, int argc, char *const *argv, json_t **ret_result)
{
	int err = vireo_pci_bind(root, argv[0], argc > 1 ? argv[1] : NULL, &complaints);

	return err ? err : pci_show(root, argv[0], ret_result);
}

static int pci_unbind(const char *root, int argc, char *const *argv, json_t **ret_result)
{
	int err = vireo_pci_unbind(root, argv[0], &complaints);

	return err ? err : pci_show(root, argv[0], ret_result);
}

static int help(const char *root, int argc, char *const *argv, json_t **ret_result)
{
	*ret_result = NULL;
	return 0;
}

static const struct {
	const char *words;
	int (*call)(const char *root, int argc, char *const *argv, json_t **ret_result);
} calls[] = {
	{"pci list", pci_list},
	{"pci bind", pci_bind},
	{"pci unbind", pci_unbind},
	{"help", help},
};

int local_call(const char *words, const char *root, int argc, char *const *argv, json_t **ret_result)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (!strcmp(calls[i].words, words))
			return calls[i].call(root, argc, argv, ret_result);
	return -ENOSYS;
}
