/* SPDX-License-Identifier: MIT */
/*
 * JIT_SAME: an instruction that runs on the host as it is, with its general registers
 * renamed and its memory operand replaced by the host's (jit_lookup()). Vector, MMX,
 * opmask registers and flags are the host's own.
 *
 * An instruction with a mask touches less of memory than its operand is long; that the
 * TLB has all of it in one page is enough. Where it has not the interpreter goes
 * element by element.
 */
#include "jit/jit.h"

int jit_gpr_operand(const struct x86_insn *i, int k)
{
	switch (i->row->opnd[k].kind) {
	case OPK_G:
		return i->reg;
	case OPK_E:
	case OPK_R:
		return i->mod == 3 ? i->rm : -1;
	case OPK_Z:
		return i->rm;
	case OPK_B:
		return i->vvvv;
	default:
		return -1;
	}
}

bool jit_is_high8(const struct x86_insn *i, int k)
{
	int r = jit_gpr_operand(i, k);

	return r >= 4 && r < 8 && x86_opnd_bytes(i, k) == 1 &&
	       !(i->prefix & (PFX_REX | PFX_VEX | PFX_EVEX));
}

/* What an encoding is made of. */
struct same {
	unsigned reg, rm, vvvv;
	const struct jit_mem *mem;	/* the operand in memory, or NULL */
	bool force_rex;
	uint8_t guest[2], host[2];	/* registers in memory and their scratch */
	unsigned nr;
};

/* The scratch register for guest register @r, that is in memory. */
static unsigned scratch_of(struct jit *j, struct same *s, unsigned r)
{
	unsigned k;

	for (k = 0; k < s->nr; k++)
		if (s->guest[k] == r)
			return s->host[k];
	s->guest[s->nr] = r;
	s->host[s->nr] = s->nr ? T1 : T2;
	if (s->nr)
		j->t1 = 0;
	return s->host[s->nr++];
}

static void set_field(struct same *s, unsigned kind, unsigned h)
{
	if (kind == OPK_G)
		s->reg = h;
	else if (kind == OPK_B)
		s->vvvv = h;
	else
		s->rm = h;
}

/* Renames registers; loads those that are in memory. */
static void rename_all(struct jit *j, const struct x86_insn *i, struct same *s)
{
	int k;

	s->reg = i->reg;
	s->rm = i->rm;
	s->vvvv = i->vvvv;
	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		const struct x86_opnd *o = &i->row->opnd[k];
		unsigned bytes, h;
		int r = jit_gpr_operand(i, k);

		if (r < 0 || jit_is_high8(i, k))
			continue;
		bytes = x86_opnd_bytes(i, k);
		h = jit_host_reg(r);
		if (h == IN_MEM) {
			h = scratch_of(j, s, r);
			if ((o->access & OPA_R) || bytes < 4)
				emit_load(j, h, GPR_OFF(r));
		}
		s->force_rex |= bytes == 1 && h >= 4;
		set_field(s, o->kind, h);
	}
}

static void store_all(struct jit *j, const struct x86_insn *i,
		      const struct same *s)
{
	unsigned k, n;

	for (n = 0; n < s->nr; n++)
		for (k = 0; k < X86_MAX_OPERANDS; k++)
			if (jit_gpr_operand(i, k) == s->guest[n] &&
			    (i->row->opnd[k].access & OPA_W)) {
				emit_store(j, s->host[n], GPR_OFF(s->guest[n]));
				break;
			}
}

static bool has_modrm(const struct x86_insn *i)
{
	const uint64_t kinds = BIT_ULL(OPK_E) | BIT_ULL(OPK_G) | BIT_ULL(OPK_R) |
		BIT_ULL(OPK_M) | BIT_ULL(OPK_V) | BIT_ULL(OPK_W) |
		BIT_ULL(OPK_U) | BIT_ULL(OPK_P) | BIT_ULL(OPK_Q) |
		BIT_ULL(OPK_N) | BIT_ULL(OPK_O);
	int k;

	if (i->prefix & (PFX_VEX | PFX_EVEX))
		return i->row->op != X86_OP_VZERO;
	for (k = 0; k < X86_MAX_OPERANDS; k++)
		if (kinds >> i->row->opnd[k].kind & 1)
			return true;
	return false;
}

static unsigned imm_bytes(const struct x86_insn *i)
{
	unsigned n = i->row->opnd[3].kind == OPK_L;
	int k;

	for (k = 0; k < X86_MAX_OPERANDS; k++)
		if (i->row->opnd[k].kind == OPK_I)
			n += x86_opnd_bytes(i, k);
	return n;
}

/* REX.X and REX.B */
static unsigned rm_rex(const struct same *s)
{
	return s->mem ? jit_mem_rex(s->mem) : s->rm >> 3;
}

/* The maps' numbers are those of VEX and EVEX. */
_Static_assert(X86_MAP_0F == 1 && X86_MAP_0F3A == 3 && X86_MAP_6 == 6, "mmm");

static void encode_vex(struct jit *j, const struct x86_insn *i,
		       const struct same *s)
{
	unsigned rex = s->reg >> 3 << 2 | rm_rex(s);

	e8(j, 0xc4);
	e8(j, (~rex & 7) << 5 | i->map);
	e8(j, !!(i->prefix & PFX_REX_W) << 7 | (~s->vvvv & 15) << 3 |
	      (i->veclen == 32) << 2 | i->pp);
	e8(j, i->opcode);
}

/* A register in ModRM.rm has its fourth bit in X. */
static void encode_evex(struct jit *j, const struct x86_insn *i,
			const struct same *s)
{
	unsigned rm = s->mem ? jit_mem_rex(s->mem) :
			       (s->rm >> 4 & 1) << 1 | (s->rm >> 3 & 1);
	unsigned rxb = (s->reg >> 3 & 1) << 2 | rm;

	e8(j, 0x62);
	e8(j, (~rxb & 7) << 5 | !(s->reg & 16) << 4 | i->map);
	e8(j, !!(i->prefix & PFX_REX_W) << 7 | (~s->vvvv & 15) << 3 | 4 | i->pp);
	e8(j, i->evex | !(s->vvvv & 16) << 3);
	e8(j, i->opcode);
}

static void encode_legacy(struct jit *j, const struct x86_insn *i,
			  const struct same *s, unsigned opcode, bool modrm)
{
	bool locked = i->prefix & PFX_LOCK;
	unsigned rex = !!(i->prefix & PFX_REX_W) << 3 | rm_rex(s);

	if (modrm)
		rex |= s->reg >> 3 << 2;
	if (locked)
		e8(j, 0xf0);
	if (i->prefix & PFX_OPSIZE)
		e8(j, 0x66);
	if (i->map != X86_MAP_1B && !locked &&
	    i->prefix & (PFX_REP | PFX_REPNE))
		e8(j, i->prefix & PFX_REPNE ? 0xf2 : 0xf3);
	if (rex || s->force_rex)
		e8(j, 0x40 | rex);
	if (i->map != X86_MAP_1B)
		e8(j, 0x0f);
	if (i->map == X86_MAP_0F38 || i->map == X86_MAP_0F3A)
		e8(j, i->map == X86_MAP_0F38 ? 0x38 : 0x3a);
	e8(j, modrm ? opcode : (opcode & ~7) | (s->rm & 7));
}

/* Opcodes that mean something else, or nothing, in 64-bit mode. */
static unsigned opcode64(const struct x86_insn *i, struct same *s, bool *modrm)
{
	if (i->mode == X86_MODE_PROT64 || i->map != X86_MAP_1B)
		return i->opcode;
	if ((i->opcode & 0xf0) == 0x40) {	/* INC, DEC */
		s->reg = i->opcode >> 3 & 1;
		*modrm = true;
		return 0xff;
	}
	return i->opcode == 0x82 ? 0x80 : i->opcode;
}

static void encode(struct jit *j, const struct x86_insn *i, int mem,
		   struct same *s)
{
	bool modrm = has_modrm(i);
	unsigned n = imm_bytes(i), k, opcode = opcode64(i, s, &modrm);

	if (mem >= 0 && i->row->opnd[mem].kind == OPK_O) {
		/* MOV rAX, moffs as the form with ModRM. */
		static const uint8_t with_modrm[] = { 0x8a, 0x8b, 0x88, 0x89 };

		opcode = with_modrm[opcode & 3];
		s->reg = X86_RAX;
	}
	if (i->prefix & PFX_EVEX)
		encode_evex(j, i, s);
	else if (i->prefix & PFX_VEX)
		encode_vex(j, i, s);
	else
		encode_legacy(j, i, s, opcode, modrm);
	if (s->mem)
		emit_modrm(j, s->reg, s->mem, i->prefix & PFX_EVEX);
	else if (modrm)
		e8(j, 0xc0 | (s->reg & 7) << 3 | (s->rm & 7));
	for (k = 0; k < n; k++)
		e8(j, i->bytes[i->len - n + k]);
	/* Of a register there are 3 bits in 32-bit code. */
	if (i->row->opnd[3].kind == OPK_L && i->mode != X86_MODE_PROT64)
		j->rw[j->pos - 1] &= 0x7f;
}

static bool may_fault(const struct jit_insn *n)
{
	return n->fpu || n->i.row->op == X86_OP_DIV ||
	       n->i.row->op == X86_OP_IDIV;
}

/* Once a block and part of it: the state is live, CR0, CR4 and XCR0 allow it. */
void jit_check_fpu(struct jit *j, unsigned kind, struct jit_slow *s)
{
	if (j->fpu_checked & BIT(kind))
		return;
	j->fpu_checked |= BIT(kind) | (kind == HW_JIT_ZMM ? BIT(HW_JIT_YMM) : 0);
	jit_flags_free(j, jit_live_before(j->cur));
	emit_cpu(j, 0x80, 7, CPU_OFF(jit.fpu_ready[0]) + kind, 4);
	e8(j, 0);
	jit_slow_jump(j, s, CC_E);
}

void jit_swap_high(struct jit *j, unsigned high)
{
	e8(j, 0x86), e8(j, 0xc0 | high << 3 | (high - 4));
}

/* The instruction's register of 8 bits that has no encoding beside @mem's; 0: none. */
static unsigned high_beside(const struct x86_insn *i, int mem)
{
	int k;

	for (k = 0; mem >= 0 && k < X86_MAX_OPERANDS; k++)
		if (jit_is_high8(i, k))
			return jit_gpr_operand(i, k);
	return 0;
}

/*
 * Beside an operand in memory, whose address needs REX: the byte changes places with
 * the low one, which no such instruction has for another operand. The address is all
 * in T1 then. A fault finds them swapped.
 */
static void same_high(struct jit *j, struct jit_insn *n, int mem, struct same *e,
		      unsigned high)
{
	static const struct jit_mem in_t1 = { .base = T1, .index = NO_INDEX };
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);

	emit_mem(j, 0x8d, T1, e->mem);			/* lea */
	j->t1 = 0;
	jit_swap_high(j, high);
	e->mem = &in_t1;
	e->reg = high - 4;
	s->swapped = high;
	jit_may_fault(j, s);
	encode(j, &n->i, mem, e);
	jit_swap_high(j, high);
	jit_flags_done(j, n);
	jit_slow_back(j, n, s);
}

void jit_same(struct jit *j, struct jit_insn *n)
{
	const struct x86_insn *i = &n->i;
	int mem = jit_mem_operand(i);
	unsigned high = high_beside(i, mem);
	struct jit_slow *s = NULL;
	struct same e = { .nr = 0 };
	struct jit_addr a;
	struct jit_mem m;

	if (mem >= 0 || may_fault(n))
		s = jit_slow_add(j, SLOW_EXEC, n->rip);
	if (n->fpu)
		jit_check_fpu(j, n->fpu, s);
	if (mem >= 0) {
		jit_operand_addr(n, &a);
		m = jit_lookup(j, &a, x86_opnd_bytes(i, mem),
			       i->row->opnd[mem].access & OPA_W ?
			       X86_TLB_WRITE : X86_TLB_READ, s);
		e.mem = &m;
	}
	jit_flags_need(j, n);
	rename_all(j, i, &e);
	if (high) {
		same_high(j, n, mem, &e, high);
	} else {
		if (s)
			jit_may_fault(j, s);
		encode(j, i, mem, &e);
		store_all(j, i, &e);
		jit_flags_done(j, n);
	}
	if (s)
		jit_slow_back(j, n, s);
}
