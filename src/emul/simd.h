/* SPDX-License-Identifier: MIT */
/*
 * What simd.c and avx*.c share: the operands of a SIMD instruction that are not
 * vector registers, and running it on the host.
 */
#ifndef ANYKVM_EMUL_SIMD_H
#define ANYKVM_EMUL_SIMD_H

#include "emul/fpu.h"

/* Number of the operand that is a general register now, of the memory operand;
 * -1: none. */
int simd_gpr_operand(const struct x86_insn *i);
int simd_mem_operand(const struct x86_insn *i);
bool simd_has_imm(const struct x86_insn *i);

/* General registers that the stub reads and has written; @gpr: as above. */
void simd_registers_in(const struct x86_emulate_ctxt *c, int gpr,
		       struct stub_regs *r);
void simd_registers_out(struct x86_emulate_ctxt *c, int gpr,
			const struct stub_regs *r);

/* Runs @h on the guest's FPU state. A host fault is the guest's. */
int simd_run(struct x86_emulate_ctxt *c, const struct host_insn *h,
	     struct stub_regs *r);

static inline void simd_put(struct host_insn *h, uint8_t byte)
{
	h->bytes[h->len++] = byte;
}

/* --- avx.c -------------------------------------------------------------------- */

/* CR4, XCR0, features and CR0.TS for an instruction with VEX or EVEX. */
int avx_check(struct x86_emulate_ctxt *c);

/* The host's form of @i: operand @gpr (or -1) in rAX, memory at [rDI]. */
void avx_build(const struct x86_insn *i, int gpr, struct host_insn *h);

/* An opmask register, read and written. */
int avx_get_opmask(struct x86_emulate_ctxt *c, unsigned k, uint64_t *val);
int avx_set_opmask(struct x86_emulate_ctxt *c, unsigned k, uint64_t val);

/* --- avx_mem.c ----------------------------------------------------------------- */

/* Elements in memory at the instruction's operand. */
struct avx_elements {
	uint64_t need;		/* which of them are accessed */
	unsigned bytes;		/* of one */
};

/*
 * Loads, or stores, those of @e that are needed, at their places in @buf. The others
 * do not fault. A store that faults has changed nothing.
 */
int avx_load(struct x86_emulate_ctxt *c, struct fpu_buf *buf,
	     const struct avx_elements *e);
int avx_store(struct x86_emulate_ctxt *c, const struct fpu_buf *buf,
	      const struct avx_elements *e);

/* The segment checks of all of @e. */
int avx_check_segment(struct x86_emulate_ctxt *c, const struct avx_elements *e,
		      unsigned acc);

/* Whether all of @e can be written: segment and, where there are more pages than one
 * or @pages asks for it, pages. */
int avx_probe_store(struct x86_emulate_ctxt *c, const struct avx_elements *e,
		    bool pages);

/* Elements of memory operand @mem that opmask value @mask lets the instruction
 * touch. */
void avx_masked_elements(const struct x86_insn *i, int mem, uint64_t mask,
			 struct avx_elements *e);

#endif
