/* SPDX-License-Identifier: BSD-3-Clause */
#define FUZZ_PACKED 0
#include "ring.h"
