/* SPDX-License-Identifier: MIT */
/*
 * Fast special forms: one function per operation, size and operand shape, with
 * no operand structures between registers and the host's ALU. They do what the
 * driver and the generic handler do together, for the ordinary case:
 *
 * - memory is in the translation cache and its segment is flat (or 64-bit);
 * - branch targets are canonical or within CS's limit;
 * - the row has no privilege, mode or intercept to check (a feature is checked).
 *
 * In every other case a fast form changes nothing and calls x86_emulate_insn(),
 * which starts over: the generic form is the only place where faults are made.
 *
 * A resolved function must not be used for another instruction or mode.
 */
#ifndef ANYKVM_EMUL_FAST_H
#define ANYKVM_EMUL_FAST_H

#include "emul/alu.h"
#include "emul/mem.h"

/* Where the operands of a two-operand instruction are. */
enum fast_shape {
	SHAPE_RR,	/* rm, reg */
	SHAPE_RR2,	/* reg, rm */
	SHAPE_RM,	/* reg, memory */
	SHAPE_MR,	/* memory, reg */
	SHAPE_RI,	/* rm, immediate */
	SHAPE_MI,	/* memory, immediate */
	SHAPE_AI,	/* rAX, immediate */
	SHAPE_RC,	/* rm, CL */
	SHAPE_R,	/* rm */
	SHAPE_M,	/* memory */
	SHAPE_NR, SHAPE_NONE = SHAPE_NR
};

/* 1, 2, 4, 8 -> 0, 1, 2, 3 */
static inline unsigned fast_size(unsigned bytes)
{
	return __builtin_ctz(bytes);
}

enum fast_shape emul_fast_shape(const struct x86_insn *i);

/* Each looks into its own table; NULL: no fast form. */
x86_exec_fn emul_fast_alu(const struct x86_insn *i, enum fast_shape shape);
x86_exec_fn emul_fast_shift(const struct x86_insn *i, enum fast_shape shape);
x86_exec_fn emul_fast_mov(const struct x86_insn *i, enum fast_shape shape);
x86_exec_fn emul_fast_flow(const struct x86_insn *i, enum fast_shape shape);
x86_exec_fn emul_fast_misc(const struct x86_insn *i, enum fast_shape shape);
/* For locked instructions only. */
x86_exec_fn emul_fast_lock(const struct x86_insn *i, enum fast_shape shape);

/* --- completion ----------------------------------------------------------------- */

static __force_inline uint64_t fast_next(const struct x86_emulate_ctxt *c,
					 const struct x86_insn *i)
{
	uint64_t rip = c->rip + i->len;

	return likely(i->mode == X86_MODE_PROT64) ? rip : (uint32_t)rip;
}

static __force_inline int fast_done(struct x86_emulate_ctxt *c,
				    const struct x86_insn *i)
{
	c->rip = fast_next(c, i);
	return X86EMUL_CONTINUE;
}

/* --- registers -------------------------------------------------------------------- */

static __force_inline bool fast_is_high(const struct x86_insn *i, unsigned r)
{
	return (r & ~3) == 4 && !(i->prefix & PFX_REX);
}

static __force_inline uint8_t fast_get8(const struct x86_emulate_ctxt *c,
					const struct x86_insn *i, unsigned r)
{
	return unlikely(fast_is_high(i, r)) ? c->gpr[r - 4] >> 8 : c->gpr[r];
}

/* Whole registers are stored, so that a wider read later is not held up by a
 * narrow store before it. */
static __force_inline void fast_set8(struct x86_emulate_ctxt *c,
				     const struct x86_insn *i, unsigned r,
				     uint8_t v)
{
	if (unlikely(fast_is_high(i, r)))
		c->gpr[r - 4] = (c->gpr[r - 4] & ~0xff00ull) | (uint64_t)v << 8;
	else
		c->gpr[r] = (c->gpr[r] & ~0xffull) | v;
}

#define FAST_GPR(bits)							\
static __force_inline uint##bits##_t fast_get##bits(			\
	const struct x86_emulate_ctxt *c, const struct x86_insn *i,	\
	unsigned r)							\
{									\
	return c->gpr[r];						\
}									\
static __force_inline void fast_set##bits(struct x86_emulate_ctxt *c,	\
	const struct x86_insn *i, unsigned r, uint##bits##_t v)		\
{									\
	c->gpr[r] = emul_merge(c->gpr[r], v, bits / 8);			\
}

FAST_GPR(16)
FAST_GPR(32)
FAST_GPR(64)
#undef FAST_GPR

/* --- memory ------------------------------------------------------------------------ */

static __force_inline uint64_t fast_ea(const struct x86_emulate_ctxt *c,
				       const struct x86_insn *i)
{
	uint64_t ea = i->disp;

	if (likely(i->base < X86_NR_GPRS))
		ea += c->gpr[i->base];
	else if (i->base == X86_RIP)
		ea += c->rip + i->len;
	if (i->index != X86_REG_NONE)
		ea += c->gpr[i->index] << i->scale;
	return likely(i->adsize == 8) ? ea : emul_trunc_ea(i, ea);
}

/* The memory operand's @bytes in the host, for accesses of @kind; NULL: not the
 * ordinary case. */
static __force_inline void *fast_ptr(const struct x86_emulate_ctxt *c,
				     const struct x86_insn *i, unsigned bytes,
				     int kind)
{
	uint64_t la = fast_ea(c, i);

	if (likely(i->mode == X86_MODE_PROT64)) {
		if (unlikely(i->seg >= X86_FS))
			la += c->seg[i->seg].base;
	} else if (!(c->flat >> (i->seg & 7) & 1)) {
		return NULL;
	}
	return emul_tlb(c, la, bytes, kind);
}

/* [@sp, @sp + @bytes) of the stack in the host, or NULL. */
static __force_inline void *fast_stack(const struct x86_emulate_ctxt *c,
				       uint64_t sp, unsigned bytes, int kind)
{
	if (unlikely(c->stack_size != 8)) {
		if (c->stack_size != 4 || !(c->flat >> X86_SS & 1))
			return NULL;
		sp = (uint32_t)sp;
	}
	return emul_tlb(c, sp, bytes, kind);
}

#define FAST(name) static int name(struct x86_emulate_ctxt *c)

/* Loads the operand into @v, or leaves to the generic form. */
#define FAST_READ(bits, v)						\
	do {								\
		void *p_ = fast_ptr(c, i, bits / 8, X86_TLB_READ);	\
									\
		if (unlikely(!p_) || unlikely(host_read_##bits(p_, &(v)))) \
			return x86_emulate_insn(c);			\
	} while (0)

#define FAST_WRITE(bits, v)						\
	do {								\
		void *p_ = fast_ptr(c, i, bits / 8, X86_TLB_WRITE);	\
									\
		if (unlikely(!p_) || unlikely(host_write_##bits(p_, v)))	\
			return x86_emulate_insn(c);			\
	} while (0)

#endif
