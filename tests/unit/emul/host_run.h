/* SPDX-License-Identifier: MIT */
/* Runs one instruction on the host's processor with given registers, and says what
 * that processor has. */
#ifndef TESTS_EMUL_HOST_RUN_H
#define TESTS_EMUL_HOST_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "isa/insn.h"

struct host_regs {
	uint64_t gpr[16];	/* RSP is not loaded */
	uint64_t eflags;
};

/* @code must not use RSP, branch or fault. */
void host_run(struct host_regs *r, const uint8_t *code, size_t n);

/* Does the host have @f (CPUID)? X86_FEATURE_NONE: true. */
bool host_has_feature(enum x86_feature f);
/* Whether an operand of @i is a register that a test beside the host needs itself: RSP, R14, R15. */
bool has_taken_operand(const struct x86_insn *i);

#endif
