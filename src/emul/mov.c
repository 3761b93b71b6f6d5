/* SPDX-License-Identifier: MIT */
/*
 * Data movement: MOV and its kin, LEA, exchanges, conditional moves, conversions.
 *
 * CMOVcc reads its source and zero-extends a 32-bit destination whether or not the
 * condition holds. CMPXCHG stores to memory even when it fails (what was there),
 * so a write fault comes first. CMPXCHG8B/16B is one locked operation of the
 * host, with LOCK or without.
 */
#include "emul/by_size.h"
#include "emul/fpu.h"
#include "emul/mem.h"

int em_mov(struct x86_emulate_ctxt *c)
{
	c->dst.val = c->src.val;
	return X86EMUL_CONTINUE;
}

int em_movzx(struct x86_emulate_ctxt *c)
{
	c->dst.val = c->src.val;
	return X86EMUL_CONTINUE;
}

int em_movsx(struct x86_emulate_ctxt *c)
{
	c->dst.val = emul_sext(c->src.val, c->src.bytes);
	return X86EMUL_CONTINUE;
}

int em_movbe(struct x86_emulate_ctxt *c)
{
	c->dst.val = __builtin_bswap64(c->src.val) >> (64 - 8 * c->src.bytes);
	return X86EMUL_CONTINUE;
}

int em_lea(struct x86_emulate_ctxt *c)
{
	emul_set_gpr(c, c->insn->reg, emul_ea(c), c->insn->opsize);
	return X86EMUL_CONTINUE;
}

int em_xchg(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	uint64_t t = c->dst.val;

	/* 90: NOP, which does not zero-extend EAX. */
	if (i->row->opnd[0].kind == OPK_Z && i->rm == X86_RAX)
		c->wb = 0;
	c->dst.val = c->src.val;
	c->src.val = t;
	return X86EMUL_CONTINUE;
}

int em_xadd(struct x86_emulate_ctxt *c)
{
	uint64_t t = c->dst.val;

	BY_SIZE(c->dst.val =, c->dst.bytes, add, c->dst.val, c->src.val,
		&c->eflags);
	c->src.val = t;
	return X86EMUL_CONTINUE;
}

int em_cmpxchg(struct x86_emulate_ctxt *c)
{
	unsigned bytes = c->dst.bytes;
	uint64_t acc = c->gpr[X86_RAX] & emul_mask(bytes);

	BY_SIZE(, bytes, cmp, acc, c->dst.val, &c->eflags);
	if (acc == c->dst.val) {
		c->dst.val = c->src.val;
		return X86EMUL_CONTINUE;
	}
	/* Memory is stored to all the same; a register keeps its upper half. */
	if (c->dst.type == OPERAND_REG)
		c->wb &= ~WB_DST;
	/* The accumulator is loaded by the write-back, after memory. */
	c->src2 = (struct x86_operand){
		.type = OPERAND_REG,
		.reg = X86_RAX,
		.bytes = bytes,
		.val = c->dst.val,
	};
	c->wb |= WB_SRC2;
	return X86EMUL_CONTINUE;
}

/* 16 bytes: straight on host memory, or the owner's. */
static int cmpxchg16(struct x86_emulate_ctxt *c, uint64_t la, uint64_t old[2],
		     const uint64_t new[2], bool *done)
{
	void *p = emul_tlb(c, la, 16, X86_TLB_WRITE);

	if (p && !host_cmpxchg_128(p, old, new, done))
		return X86EMUL_CONTINUE;
	if (!c->ops->cmpxchg)
		return X86EMUL_UNHANDLEABLE;
	return c->ops->cmpxchg(c, la, old, new, 16, done);
}

int em_cmpxchg8b(struct x86_emulate_ctxt *c)
{
	unsigned half = c->insn->prefix & PFX_REX_W ? 8 : 4;
	uint64_t mask = emul_mask(half), la;
	uint64_t old[2] = { c->gpr[X86_RAX] & mask, c->gpr[X86_RDX] & mask };
	uint64_t new[2] = { c->gpr[X86_RBX] & mask, c->gpr[X86_RCX] & mask };
	bool done;
	int rc = half == 8 ? fpu_image_la(c, 16, 16, ACC_WRITE, &la) :
			     emul_linearize_operand(c, 8, ACC_WRITE, &la);

	if (rc)
		return rc;
	if (half == 8) {
		rc = cmpxchg16(c, la, old, new, &done);
	} else {
		old[0] |= old[1] << 32;
		rc = emul_cmpxchg_la(c, la, &old[0], new[0] | new[1] << 32, 8,
				     &done);
		old[1] = old[0] >> 32;
	}
	if (rc)
		return rc;
	emul_set_flags(c, X86_EFLAGS_ZF, done ? X86_EFLAGS_ZF : 0);
	if (!done) {
		emul_set_gpr(c, X86_RAX, old[0], half);
		emul_set_gpr(c, X86_RDX, old[1], half);
	}
	return X86EMUL_CONTINUE;
}

int em_cmovcc(struct x86_emulate_ctxt *c)
{
	if (alu_cond(c->eflags, c->insn->opcode))
		c->dst.val = c->src.val;
	return X86EMUL_CONTINUE;
}

int em_setcc(struct x86_emulate_ctxt *c)
{
	c->dst.val = alu_cond(c->eflags, c->insn->opcode);
	return X86EMUL_CONTINUE;
}

/* CBW, CWDE, CDQE */
int em_cbw(struct x86_emulate_ctxt *c)
{
	unsigned bytes = c->insn->opsize;

	emul_set_gpr(c, X86_RAX, emul_sext(c->gpr[X86_RAX], bytes / 2), bytes);
	return X86EMUL_CONTINUE;
}

/* CWD, CDQ, CQO */
int em_cwd(struct x86_emulate_ctxt *c)
{
	unsigned bytes = c->insn->opsize;
	bool neg = c->gpr[X86_RAX] >> (8 * bytes - 1) & 1;

	emul_set_gpr(c, X86_RDX, neg ? ~0ull : 0, bytes);
	return X86EMUL_CONTINUE;
}

int em_xlat(struct x86_emulate_ctxt *c)
{
	uint64_t ea = c->gpr[X86_RBX] + (uint8_t)c->gpr[X86_RAX], v;
	int rc = emul_read(c, c->insn->seg, emul_trunc_ea(c->insn, ea), &v, 1, 0);

	if (rc == X86EMUL_CONTINUE)
		emul_set_gpr(c, X86_RAX, v, 1);
	return rc;
}

int em_salc(struct x86_emulate_ctxt *c)
{
	emul_set_gpr(c, X86_RAX, c->eflags & X86_EFLAGS_CF ? 0xff : 0, 1);
	return X86EMUL_CONTINUE;
}

/* 64 bytes to ES:reg, which must be aligned. */
int em_movdir64b(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	uint64_t ea = emul_trunc_ea(i, c->gpr[i->reg]), la;
	uint64_t buf[8];
	int rc = emul_read_bytes(c, i->seg, emul_ea(c), buf, sizeof(buf), 0);

	if (rc)
		return rc;
	rc = emul_linearize(c, X86_ES, ea, sizeof(buf), ACC_WRITE, &la);
	if (rc)
		return rc;
	if (la & 63)
		return emul_gp(c, 0);
	return emul_write_bytes_la(c, la, buf, sizeof(buf), ACC_WRITE);
}
