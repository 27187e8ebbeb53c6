/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIREO_H
#define VIREO_H

/* Everything that libvireo offers: the device side of virtio. */
#include "base.h"
#include "blk.h"
#include "chain.h"
#include "cursor.h"
#include "device.h"
#include "endpoint.h"
#include "fault.h"
#include "frame.h"
#include "mailbox.h"
#include "memory.h"
#include "net.h"
#include "notifier.h"
#include "rng.h"
#include "scsi.h"

#endif
