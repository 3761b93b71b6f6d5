/* SPDX-License-Identifier: MIT */
/*
 * Fast forms of MOV MOVZX MOVSX LEA XCHG CMOVcc SETcc, CBW/CWD and NOP. Rules:
 * fast.h.
 *
 * MOVZX and MOVSX write 32 or 64 bits; a word destination takes the generic form.
 * CMOVcc and SETcc have one function per condition, so that a condition costs no
 * jump of its own.
 */
#include "emul/fast.h"

#define INSN const struct x86_insn *i = c->insn

#define MOV_REG(bits, name, D, S)					\
FAST(mov##bits##_##name)						\
{									\
	INSN;								\
									\
	fast_set##bits(c, i, D, S);					\
	return fast_done(c, i);						\
}

#define MOV_STORE(bits, name, S)					\
FAST(mov##bits##_##name)						\
{									\
	INSN;								\
									\
	FAST_WRITE(bits, S);						\
	return fast_done(c, i);						\
}

#define MOV_FORMS(bits)							\
MOV_REG(bits, rr, i->rm, fast_get##bits(c, i, i->reg))			\
MOV_REG(bits, rr2, i->reg, fast_get##bits(c, i, i->rm))			\
MOV_REG(bits, ri, i->rm, i->imm)					\
MOV_STORE(bits, mr, fast_get##bits(c, i, i->reg))			\
MOV_STORE(bits, mi, i->imm)						\
FAST(mov##bits##_rm)							\
{									\
	INSN;								\
	uint##bits##_t v;						\
									\
	FAST_READ(bits, v);						\
	fast_set##bits(c, i, i->reg, v);				\
	return fast_done(c, i);						\
}

MOV_FORMS(8)
MOV_FORMS(16)
MOV_FORMS(32)
MOV_FORMS(64)

/* @sbits from rm, as @stype, into a register of @dbits. */
#define EXTEND(op, sbits, dbits, stype)					\
FAST(op##sbits##to##dbits##_rr2)					\
{									\
	INSN;								\
									\
	c->gpr[i->reg] = (uint##dbits##_t)(stype)			\
		fast_get##sbits(c, i, i->rm);				\
	return fast_done(c, i);						\
}									\
FAST(op##sbits##to##dbits##_rm)						\
{									\
	INSN;								\
	uint##sbits##_t v;						\
									\
	FAST_READ(sbits, v);						\
	c->gpr[i->reg] = (uint##dbits##_t)(stype)v;			\
	return fast_done(c, i);						\
}

EXTEND(movzx, 8, 32, uint8_t)
EXTEND(movzx, 16, 32, uint16_t)
EXTEND(movsx, 8, 32, int8_t)
EXTEND(movsx, 16, 32, int16_t)
EXTEND(movsx, 8, 64, int8_t)
EXTEND(movsx, 16, 64, int16_t)
EXTEND(movsx, 32, 64, int32_t)

FAST(lea32)
{
	INSN;

	c->gpr[i->reg] = (uint32_t)fast_ea(c, i);
	return fast_done(c, i);
}

FAST(lea64)
{
	INSN;

	c->gpr[i->reg] = fast_ea(c, i);
	return fast_done(c, i);
}

#define XCHG_FORM(bits, name, A, B)					\
FAST(xchg##bits##_##name)						\
{									\
	INSN;								\
	uint##bits##_t a = c->gpr[A], b = c->gpr[B];			\
									\
	c->gpr[A] = b;							\
	c->gpr[B] = a;							\
	return fast_done(c, i);						\
}

XCHG_FORM(32, rr, i->rm, i->reg)
XCHG_FORM(64, rr, i->rm, i->reg)
XCHG_FORM(32, ra, i->rm, X86_RAX)
XCHG_FORM(64, ra, i->rm, X86_RAX)

FAST(nop)
{
	return fast_done(c, c->insn);
}

FAST(cbw)
{
	INSN;

	emul_set_gpr(c, X86_RAX, emul_sext(c->gpr[X86_RAX], i->opsize / 2),
		     i->opsize);
	return fast_done(c, i);
}

FAST(cwd)
{
	INSN;
	uint64_t sign = emul_sext(c->gpr[X86_RAX], i->opsize) >> 63;

	emul_set_gpr(c, X86_RDX, -sign, i->opsize);
	return fast_done(c, i);
}

/* --- conditions ------------------------------------------------------------------- */

#define COND_FORMS(cc)							\
FAST(cmov32_##cc)							\
{									\
	INSN;								\
	uint32_t v = c->gpr[i->reg], s = c->gpr[i->rm];			\
									\
	if (unlikely(!emul_has(c, X86_FEATURE_CMOV)))			\
		return x86_emulate_insn(c);				\
	c->gpr[i->reg] = alu_cond(c->eflags, cc) ? s : v;		\
	return fast_done(c, i);						\
}									\
FAST(cmov64_##cc)							\
{									\
	INSN;								\
	uint64_t v = c->gpr[i->reg], s = c->gpr[i->rm];			\
									\
	if (unlikely(!emul_has(c, X86_FEATURE_CMOV)))			\
		return x86_emulate_insn(c);				\
	c->gpr[i->reg] = alu_cond(c->eflags, cc) ? s : v;		\
	return fast_done(c, i);						\
}									\
FAST(set_##cc)								\
{									\
	INSN;								\
									\
	fast_set8(c, i, i->rm, alu_cond(c->eflags, cc));		\
	return fast_done(c, i);						\
}

/* clang-format off */
COND_FORMS(0) COND_FORMS(1) COND_FORMS(2) COND_FORMS(3)
COND_FORMS(4) COND_FORMS(5) COND_FORMS(6) COND_FORMS(7)
COND_FORMS(8) COND_FORMS(9) COND_FORMS(10) COND_FORMS(11)
COND_FORMS(12) COND_FORMS(13) COND_FORMS(14) COND_FORMS(15)

#define COND16(f) { f##0, f##1, f##2, f##3, f##4, f##5, f##6, f##7, f##8, \
		    f##9, f##10, f##11, f##12, f##13, f##14, f##15 }
/* clang-format on */

static const x86_exec_fn cmov32[16] = COND16(cmov32_);
static const x86_exec_fn cmov64[16] = COND16(cmov64_);
static const x86_exec_fn setcc[16] = COND16(set_);

/* --- tables ----------------------------------------------------------------------- */

#define BY_SIZE4(f) { mov8_##f, mov16_##f, mov32_##f, mov64_##f }

static const x86_exec_fn movs[SHAPE_NR][4] = {
	[SHAPE_RR] = BY_SIZE4(rr), [SHAPE_RR2] = BY_SIZE4(rr2),
	[SHAPE_RM] = BY_SIZE4(rm), [SHAPE_MR] = BY_SIZE4(mr),
	[SHAPE_RI] = BY_SIZE4(ri), [SHAPE_MI] = BY_SIZE4(mi),
};

static x86_exec_fn extend_form(const struct x86_insn *i)
{
	/* by source size, memory */
	static const x86_exec_fn zx[2][2] = {
		{ movzx8to32_rr2, movzx8to32_rm },
		{ movzx16to32_rr2, movzx16to32_rm },
	};
	static const x86_exec_fn sx32[2][2] = {
		{ movsx8to32_rr2, movsx8to32_rm },
		{ movsx16to32_rr2, movsx16to32_rm },
	};
	static const x86_exec_fn sx64[3][2] = {
		{ movsx8to64_rr2, movsx8to64_rm },
		{ movsx16to64_rr2, movsx16to64_rm },
		{ movsx32to64_rr2, movsx32to64_rm },
	};
	unsigned s = fast_size(x86_opnd_bytes(i, 1));
	bool mem = i->mod != 3;

	if (i->opsize < 4)
		return NULL;
	if (i->row->op == X86_OP_MOVZX)
		return s < 2 ? zx[s][mem] : NULL;
	if (i->opsize == 8)
		return s < 3 ? sx64[s][mem] : NULL;
	return s < 2 ? sx32[s][mem] : NULL;
}

static x86_exec_fn xchg_form(const struct x86_insn *i)
{
	bool q = i->opsize == 8;

	if (i->mod != 3 || i->opsize < 4)
		return NULL;
	if (i->row->opnd[0].kind == OPK_E)
		return q ? xchg64_rr : xchg32_rr;
	/* XCHG Zv, rAX; with rAX itself it is NOP, upper half and all. */
	if (i->rm == X86_RAX)
		return nop;
	return q ? xchg64_ra : xchg32_ra;
}

static x86_exec_fn cmov_form(const struct x86_insn *i)
{
	if (i->mod != 3 || i->opsize < 4)
		return NULL;
	return (i->opsize == 8 ? cmov64 : cmov32)[i->opcode & 15];
}

x86_exec_fn emul_fast_mov(const struct x86_insn *i, enum fast_shape shape)
{
	switch (i->row->op) {
	case X86_OP_MOV:
		if (shape == SHAPE_NONE || i->row->feature)
			return NULL;
		return movs[shape][fast_size(i->opsize)];
	case X86_OP_MOVZX:
	case X86_OP_MOVSX:
		return extend_form(i);
	case X86_OP_LEA:
		return i->opsize == 8 ? lea64 : i->opsize == 4 ? lea32 : NULL;
	case X86_OP_XCHG:
		return xchg_form(i);
	case X86_OP_CMOVCC:
		return cmov_form(i);
	case X86_OP_SETCC:
		return i->mod == 3 ? setcc[i->opcode & 15] : NULL;
	case X86_OP_CBW:
		return cbw;
	case X86_OP_CWD:
		return cwd;
	case X86_OP_NOP:
		return i->row->feature || i->row->intercept ? NULL : nop;
	default:
		return NULL;
	}
}
