/* SPDX-License-Identifier: MIT */
/*
 * Shifts and rotates: SHL SHR SAR ROL ROR RCL RCR SHLD SHRD, and BMI2's
 * SARX SHLX SHRX RORX, which have no flags.
 *
 * The count is masked to 5 bits (6 for 64-bit operands), for byte and word
 * operands too (SDM Vol. 2B, "SAL/SAR/SHL/SHR"). A masked count of 0 changes
 * neither flags nor value; a 32-bit register is still zero-extended by the
 * write-back.
 */
#include "emul/by_size.h"

bool emul_rotate_keeps_of;

/* OF after a rotate of a register by an immediate other than 1 is undefined: as the
 * host has it. Memory forms are like those by CL. */
static __attribute__((constructor)) void probe_rotate(void)
{
	uint8_t kept = 0x7f, v = 0;

	/* 7f + 1 sets OF; a rotate of 0 would clear it. */
	__asm__("addb $1, %0\n\trolb $4, %1\n\tseto %0"
		: "+q"(kept), "+q"(v) : : "cc");
	emul_rotate_keeps_of = kept;
}

static unsigned count(const struct x86_emulate_ctxt *c, uint64_t v)
{
	return v & (c->dst.bytes == 8 ? 63 : 31);
}

#define HANDLER_SHIFT(op)						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	unsigned n = count(c, c->src.val);				\
									\
	if (n)								\
		BY_SIZE(c->dst.val =, c->dst.bytes, op, c->dst.val, n,	\
			&c->eflags);					\
	return X86EMUL_CONTINUE;					\
}

HANDLER_SHIFT(shl)
HANDLER_SHIFT(shr)
HANDLER_SHIFT(sar)
#define HANDLER_ROTATE(op)						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	unsigned n = count(c, c->src.val);				\
	uint64_t old = c->eflags;					\
									\
	if (n)								\
		BY_SIZE(c->dst.val =, c->dst.bytes, op, c->dst.val, n,	\
			&c->eflags);					\
	if (c->src.type == OPERAND_IMM && c->dst.type == OPERAND_REG)	\
		emul_rotated_by_imm(&c->eflags, old, n);		\
	return X86EMUL_CONTINUE;					\
}

HANDLER_ROTATE(rol)
HANDLER_ROTATE(ror)
HANDLER_SHIFT(rcl)
HANDLER_SHIFT(rcr)

#define HANDLER_DSHIFT(op)						\
int em_##op(struct x86_emulate_ctxt *c)					\
{									\
	unsigned n = count(c, c->src2.val);				\
									\
	if (n)								\
		BY_SIZE_WIDE(c->dst.val =, c->dst.bytes, op, c->dst.val, \
			     c->src.val, n, &c->eflags);		\
	return X86EMUL_CONTINUE;					\
}

HANDLER_DSHIFT(shld)
HANDLER_DSHIFT(shrd)

/* dst = src shifted by src2. */
int em_sarx(struct x86_emulate_ctxt *c)
{
	int64_t v = emul_sext(c->src.val, c->src.bytes);

	c->dst.val = v >> count(c, c->src2.val);
	return X86EMUL_CONTINUE;
}

int em_shlx(struct x86_emulate_ctxt *c)
{
	c->dst.val = c->src.val << count(c, c->src2.val);
	return X86EMUL_CONTINUE;
}

int em_shrx(struct x86_emulate_ctxt *c)
{
	c->dst.val = c->src.val >> count(c, c->src2.val);
	return X86EMUL_CONTINUE;
}

int em_rorx(struct x86_emulate_ctxt *c)
{
	unsigned n = count(c, c->src2.val), width = c->dst.bytes * 8;
	uint64_t v = c->src.val;

	c->dst.val = n ? v >> n | v << (width - n) : v;
	return X86EMUL_CONTINUE;
}
