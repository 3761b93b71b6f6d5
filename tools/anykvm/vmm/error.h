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

/* Writes the line. */
void vmm_error_set(struct vmm_error *e, const char *fmt, ...) __printf(2, 3);

/* The same with the value false: `return vmm_fail(e, ...);`. */
#define vmm_fail(e, ...) (vmm_error_set(e, __VA_ARGS__), false)

#endif
