/* SPDX-License-Identifier: MIT */
/*
 * What went wrong, as the one line a person reads. Functions that can fail for
 * a reason that needs words take a struct vmm_error and answer false.
 */
#ifndef ANYKVM_VMM_ERROR_H
#define ANYKVM_VMM_ERROR_H

#include <stdbool.h>
#include "base/types.h"

struct vmm_error {
	char text[512];
};

/* Writes the line. Always false, so that `return vmm_fail(...)` reads well. */
bool vmm_fail(struct vmm_error *e, const char *fmt, ...) __printf(2, 3);

#endif
