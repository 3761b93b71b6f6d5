/* SPDX-License-Identifier: MIT */
/*
 * The inside of the emulator: what the driver (emulate.c) and the handlers
 * (one file per family) agree on.
 *
 * A handler is `int em_<op>(struct x86_emulate_ctxt *c)`, one per line of
 * isa/ops.def, listed in handlers.def with how the driver treats it. It is
 * called after the driver's checks, in the architectural order:
 *
 *   1. #UD: mode (I_INV64, I_ONLY64, I_PROT), guest feature (row->feature)
 *   2. #GP(0): I_PRIV at CPL > 0
 *   3. ops->intercept(row->intercept, 0, 0), unless HOW_ICPT: then the handler
 *      calls it, because an operand or a further privilege check comes first
 *   4. operands, unless HOW_SELF
 *   5. the handler
 *   6. write-back, unless HOW_SELF: memory, then registers (src2, src, dst)
 *   7. rip = next_rip
 *
 * What CR0.EM/TS, CR4.OSFXSR/OSXSAVE and XCR0 forbid (I_FPU, I_SSE, I_VEX,
 * I_EVEX) is checked by the handlers of fpu*.c, simd.c and xsave.c.
 *
 * Operands (HOW_SELF not set): c->dst, c->src, c->src2 are row->opnd[0..2].
 * - Kinds E M G B R Z O REG with sizes b w d q v y z are fetched: registers
 *   always, memory when the row reads it. A memory operand that is only written
 *   is linearized at write-back, with dst.bytes as the handler left it.
 * - I, J, ONE: val = the immediate as decoded (sign-extended to 64 bits).
 * - Every other kind or size has type OPERAND_NONE; the handler looks at
 *   c->insn, and uses emul_ea() and mem.h.
 * - val is zero-extended from bytes; write-back truncates to bytes.
 * - c->wb says what is written back: bit per operand, preset with the row's
 *   OPA_W; a handler may clear a bit (LAR that fails) or set one.
 * - Handlers without HOW_SELF may be called again when a locked memory operand
 *   has changed meanwhile: they change dst, src, src2, wb and eflags only.
 */
#ifndef ANYKVM_EMUL_EMUL_H
#define ANYKVM_EMUL_EMUL_H

#include "emul/emulate.h"

#define HOW_OPS		0		/* driver fetches and writes operands */
#define HOW_SELF	BIT(0)		/* handler does */
#define HOW_ICPT	BIT(1)		/* handler calls ops->intercept */
#define HOW_BITS	BIT(2)		/* BT family: src's bit offset moves dst */
#define HOW_LOCKED	BIT(3)		/* XCHG: memory is locked, always */
#define HOW_READ	BIT(4)		/* a memory dst is fetched as a read; before it
					 * lets it be written the handler linearizes */

/* c->wb */
#define WB_DST		BIT(0)
#define WB_SRC		BIT(1)
#define WB_SRC2		BIT(2)

struct emul_handler {
	x86_exec_fn fn;			/* NULL: not implemented */
	uint8_t how;			/* HOW_* */
};

extern const struct emul_handler emul_handlers[X86_NR_OPS];

#define HANDLER(op, fn, how) int fn(struct x86_emulate_ctxt *c);
#include "emul/handlers.def"
#undef HANDLER

/* --- exceptions: each fills c->exception and returns PROPAGATE_FAULT ------- */

int emul_fault(struct x86_emulate_ctxt *c, enum x86_vector vector);
int emul_fault_code(struct x86_emulate_ctxt *c, enum x86_vector vector,
		    uint32_t error_code);

static inline int emul_ud(struct x86_emulate_ctxt *c)
{
	return emul_fault(c, X86_UD);
}

static inline int emul_de(struct x86_emulate_ctxt *c)
{
	return emul_fault(c, X86_DE);
}

static inline int emul_nm(struct x86_emulate_ctxt *c)
{
	return emul_fault(c, X86_NM);
}

static inline int emul_gp(struct x86_emulate_ctxt *c, uint32_t error_code)
{
	return emul_fault_code(c, X86_GP, error_code);
}

static inline int emul_ss(struct x86_emulate_ctxt *c, uint32_t error_code)
{
	return emul_fault_code(c, X86_SS_FAULT, error_code);
}

static inline int emul_np(struct x86_emulate_ctxt *c, uint32_t error_code)
{
	return emul_fault_code(c, X86_NP, error_code);
}

static inline int emul_ts(struct x86_emulate_ctxt *c, uint32_t error_code)
{
	return emul_fault_code(c, X86_TS, error_code);
}

/* --- state ------------------------------------------------------------------ */

static inline bool emul_has(const struct x86_emulate_ctxt *c,
			    enum x86_feature f)
{
	return c->features[f / 64] >> (f % 64) & 1;
}

static inline bool emul_is_64bit(const struct x86_emulate_ctxt *c)
{
	return c->mode == X86_MODE_PROT64;
}

/* Real-address or virtual-8086 mode: no descriptors. */
static inline bool emul_is_real_like(const struct x86_emulate_ctxt *c)
{
	return c->mode <= X86_MODE_VM86;
}

static inline bool emul_is_la57(const struct x86_emulate_ctxt *c)
{
	return c->cr4 & X86_CR4_LA57;
}

static inline bool emul_is_canonical(const struct x86_emulate_ctxt *c,
				     uint64_t la)
{
	return is_canonical(la, emul_is_la57(c));
}

static inline unsigned emul_iopl(const struct x86_emulate_ctxt *c)
{
	return FIELD_GET(X86_EFLAGS_IOPL, c->eflags);
}

/* ops->intercept, where there is one. */
static inline int emul_intercept(struct x86_emulate_ctxt *c,
				 enum x86_intercept id, uint64_t arg,
				 uint64_t val)
{
	if (!c->ops->intercept)
		return X86EMUL_CONTINUE;
	return c->ops->intercept(c, id, arg, val);
}

/* Replaces the flags in @mask by those of @val. */
static inline void emul_set_flags(struct x86_emulate_ctxt *c, uint64_t mask,
				  uint64_t val)
{
	c->eflags = (c->eflags & ~mask) | (val & mask);
}

/* As above, for system flags: tells the owner when one of them has changed. */
void emul_change_eflags(struct x86_emulate_ctxt *c, uint64_t mask, uint64_t val);

/* --- values and registers ---------------------------------------------------- */

/* All ones in the low @bytes (1, 2, 4, 8). */
static inline uint64_t emul_mask(unsigned bytes)
{
	return ~0ull >> (64 - 8 * bytes);
}

static inline uint64_t emul_sext(uint64_t v, unsigned bytes)
{
	unsigned s = 64 - 8 * bytes;

	return (uint64_t)((int64_t)(v << s) >> s);
}

/* Replaces the low @bytes of a register's @old value; 4 bytes zero the rest. */
static inline uint64_t emul_merge(uint64_t old, uint64_t val, unsigned bytes)
{
	if (bytes == 8)
		return val;
	if (bytes == 4)
		return (uint32_t)val;
	return (old & ~emul_mask(bytes)) | (val & emul_mask(bytes));
}

static inline void emul_set_gpr(struct x86_emulate_ctxt *c, unsigned reg,
				uint64_t val, unsigned bytes)
{
	c->gpr[reg] = emul_merge(c->gpr[reg], val, bytes);
}

/* Rotates by an immediate other than 1 leave OF alone on this host (shift.c). */
extern bool emul_rotate_keeps_of;

/* OF after ROL or ROR by the immediate @n; @old: the flags before. */
static inline void emul_rotated_by_imm(uint64_t *eflags, uint64_t old, unsigned n)
{
	if (n != 1 && emul_rotate_keeps_of)
		*eflags = (*eflags & ~(uint64_t)X86_EFLAGS_OF) |
			  (old & X86_EFLAGS_OF);
}

/* --- flow ------------------------------------------------------------------- */

/*
 * Makes @target (truncated to @opsize bytes, 2, 4 or 8) the next_rip of a near
 * transfer: #GP(0) when it is not canonical or beyond CS's limit.
 */
int emul_branch(struct x86_emulate_ctxt *c, uint64_t target, unsigned opsize);

/* --- operands (operand.c) --------------------------------------------------- */

int emul_fetch_operands(struct x86_emulate_ctxt *c, uint8_t how);
int emul_writeback(struct x86_emulate_ctxt *c);
/* Runs @fn on fetched operands and stores dst by compare and exchange. */
int emul_locked(struct x86_emulate_ctxt *c, x86_exec_fn fn);
/* The value in @op's register, and @op's value into it. */
uint64_t emul_operand_reg(const struct x86_emulate_ctxt *c,
			  const struct x86_operand *op);
void emul_store_reg(struct x86_emulate_ctxt *c, const struct x86_operand *op);

/* PKRU becomes @val (pkru.c). */
void emul_set_pkru(struct x86_emulate_ctxt *c, uint32_t val);

/* I/O permission for @bytes ports from @port: IOPL, then the TSS's bitmap
 * (SDM Vol. 1, "I/O Permission Bit Map"). #GP(0) when denied. */
int emul_io_permitted(struct x86_emulate_ctxt *c, uint16_t port,
		      unsigned bytes);

/* MUL, IMUL, DIV, IDIV of rAX, or rDX:rAX, by @v (zero-extended from @bytes):
 * registers and flags, or #DE (muldiv.c). */
int emul_mul(struct x86_emulate_ctxt *c, uint64_t v, unsigned bytes);
int emul_imul(struct x86_emulate_ctxt *c, uint64_t v, unsigned bytes);
int emul_div(struct x86_emulate_ctxt *c, uint64_t v, unsigned bytes);
int emul_idiv(struct x86_emulate_ctxt *c, uint64_t v, unsigned bytes);

/* The fast special form for @insn, or NULL (fast.c). */
x86_exec_fn emul_fast_form(const struct x86_insn *insn);

#endif
