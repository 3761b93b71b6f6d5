/* SPDX-License-Identifier: MIT */
/* Random instructions and state; see random.c. */
#ifndef TESTS_EMUL_RANDOM_H
#define TESTS_EMUL_RANDOM_H

#include "harness.h"

#define RANDOM_MEM	0x20000u	/* where memory is */

/* Never 0. Other numbers come after it has been changed. */
extern uint64_t rnd_state;
uint64_t rnd(void);
/* A register's value. */
uint64_t random_value(void);
/* Fills @code with X86_MAX_INSN_LEN bytes that often are an instruction. */
void random_code(uint8_t *code);
/* Bases, limits and kinds of the user segments. */
void random_segments(struct x86_emulate_ctxt *c);

#endif
