/* SPDX-License-Identifier: BSD-3-Clause */
#define FUZZ_PACKED 1
#include "ring.h"
