/* SPDX-License-Identifier: MIT */
/*
 * The same code from the same state on three processors: the interpreter, the
 * translator (twice: pages that it has never met, then code that is linked and places
 * that are known; and with hw_config.jit_exact_flags), and the host's.
 *
 * Those of ours are guests without a hypervisor (unit/hw/guest.h) in long mode, whose
 * user mode is a process of Linux as far as a program can see: selectors, flags, gates,
 * and the arena at its addresses with its rights.
 */
#ifndef ANYKVM_TESTS_DIFF_TRIO_H
#define ANYKVM_TESTS_DIFF_TRIO_H

#include "case.h"

enum trio_engine { TRIO_INTERP, TRIO_JIT, TRIO_JIT_AGAIN, TRIO_JIT_EXACT, TRIO_RUNS };

struct trio {
	struct outcome guest[TRIO_RUNS], host;
	/* The frame of a fault may have others of these: the code would have overwritten
	 * them before it could look (docs/errata.md). */
	uint64_t unseen;
};

/* After arena_init() and host_init(), once a process. */
void trio_init(void);
/*
 * Runs the @n bytes @code at t->in.rip. NOT_RUN: they would leave the arena, or do not
 * end. DIFFER: @who does. t->insn becomes the instruction that has faulted, t->bytes too.
 *
 * @wrong	[IN] what the engine @who sees instead of @code, or NULL
 */
enum verdict trio_run(struct tcase *t, const uint8_t *code, unsigned n,
		      const uint8_t *wrong, struct trio *r, enum trio_engine *who);
/* Blocks that the translator has made: none, and it has not been tested. */
uint64_t trio_blocks(void);
/* The engine @wrong is for: TRIO_INTERP, or TRIO_JIT, whose runs are all wrong. */
extern enum trio_engine trio_wrong_for;

#endif
