// SPDX-License-Identifier: MIT
/* canonical.c with 5-level paging: SDM Vol. 3A, "4-Level Paging and 5-Level Paging". */
#define FIVE_LEVELS
#include "canonical.c"
