/* SPDX-License-Identifier: MIT */
/* What string.c, string_bulk.c and io.c share: the REP loop and its parts. */
#ifndef ANYKVM_EMUL_STR_H
#define ANYKVM_EMUL_STR_H

#include "emul/mem.h"

/*
 * Does up to @max iterations at once, without a fault, with the index registers
 * advanced. Returns how many; 0: the caller does one the slow way.
 */
typedef uint64_t (*emul_bulk_fn)(struct x86_emulate_ctxt *c, uint64_t max);

uint64_t emul_movs_bulk(struct x86_emulate_ctxt *c, uint64_t max);
uint64_t emul_stos_bulk(struct x86_emulate_ctxt *c, uint64_t max);
uint64_t emul_cmps_bulk(struct x86_emulate_ctxt *c, uint64_t max);
uint64_t emul_scas_bulk(struct x86_emulate_ctxt *c, uint64_t max);

/* Bytes of an element: INS and OUTS have no 8-byte form. */
static inline unsigned emul_string_size(const struct x86_insn *i)
{
	bool io = i->row->op == X86_OP_INS || i->row->op == X86_OP_OUTS;

	return io && i->opsize == 8 ? 4 : i->opsize;
}

/* Runs @one (an iteration, rCX aside) once, or as REP says. */
int emul_string_loop(struct x86_emulate_ctxt *c, x86_exec_fn one,
		     emul_bulk_fn bulk);

/* Index register @reg moves by @n elements in DF's direction. */
void emul_string_advance(struct x86_emulate_ctxt *c, unsigned reg, uint64_t n);
/* rCX of the address size, and its decrement. */
uint64_t emul_rep_count(const struct x86_emulate_ctxt *c);
void emul_rep_done(struct x86_emulate_ctxt *c, uint64_t n);

/* Not at the end: the instruction goes on with the next call. */
void emul_rep_stop(struct x86_emulate_ctxt *c);

/*
 * The run of elements at @seg:@reg that are inside one page, one segment and
 * one turn of the address size, in DF's direction.
 *
 * @n	[IN/OUT] how many are wanted; how many there are
 * Returns the host address of the first element, NULL where there is no run.
 */
void *emul_string_run(struct x86_emulate_ctxt *c, unsigned seg, unsigned reg,
		      unsigned acc, uint64_t *n);

#endif
