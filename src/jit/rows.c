/* SPDX-License-Identifier: MIT */
/*
 * The classifier over the opcode rows, and JIT_SAME: an instruction that runs on the
 * host as it is, with its registers renamed and its memory operand replaced by the
 * host's (jit_lookup()).
 *
 * What an instruction touches is in its row's operands; registers that the row does
 * not name (rDX:rAX of MUL, CL of shifts, rAX of CMPXCHG) are among those that have
 * the same number on the host. Everything that asks for a privilege, may exit, or
 * changes system state is left to the interpreter. So is what has no encoding here:
 * AH to BH beside an operand that needs REX, and more registers in memory than there
 * are scratch registers.
 */
#include "jit/jit.h"

#define SAME	(1 + JIT_SAME)
#define IS(c)	(1 + JIT_##c)

/* By enum x86_op; 0: the interpreter's. */
static const uint8_t classes[X86_NR_OPS] = {
	[X86_OP_ADD] = SAME, [X86_OP_ADC] = SAME, [X86_OP_SUB] = SAME,
	[X86_OP_SBB] = SAME, [X86_OP_CMP] = SAME, [X86_OP_INC] = SAME,
	[X86_OP_DEC] = SAME, [X86_OP_NEG] = SAME, [X86_OP_ADCX] = SAME,
	[X86_OP_ADOX] = SAME, [X86_OP_AND] = SAME, [X86_OP_OR] = SAME,
	[X86_OP_XOR] = SAME, [X86_OP_NOT] = SAME, [X86_OP_TEST] = SAME,
	[X86_OP_SHL] = SAME, [X86_OP_SHR] = SAME, [X86_OP_SAR] = SAME,
	[X86_OP_ROL] = SAME, [X86_OP_ROR] = SAME, [X86_OP_RCL] = SAME,
	[X86_OP_RCR] = SAME, [X86_OP_SHLD] = SAME, [X86_OP_SHRD] = SAME,
	[X86_OP_SARX] = SAME, [X86_OP_SHLX] = SAME, [X86_OP_SHRX] = SAME,
	[X86_OP_RORX] = SAME, [X86_OP_MUL] = SAME, [X86_OP_IMUL1] = SAME,
	[X86_OP_IMUL] = SAME, [X86_OP_DIV] = SAME, [X86_OP_IDIV] = SAME,
	[X86_OP_MULX] = SAME, [X86_OP_BT] = SAME, [X86_OP_BTS] = SAME,
	[X86_OP_BTR] = SAME, [X86_OP_BTC] = SAME, [X86_OP_BSF] = SAME,
	[X86_OP_BSR] = SAME, [X86_OP_TZCNT] = SAME, [X86_OP_LZCNT] = SAME,
	[X86_OP_POPCNT] = SAME, [X86_OP_BSWAP] = SAME, [X86_OP_ANDN] = SAME,
	[X86_OP_BEXTR] = SAME, [X86_OP_BLSI] = SAME, [X86_OP_BLSMSK] = SAME,
	[X86_OP_BLSR] = SAME, [X86_OP_BZHI] = SAME, [X86_OP_PDEP] = SAME,
	[X86_OP_PEXT] = SAME, [X86_OP_CRC32] = SAME, [X86_OP_MOV] = SAME,
	[X86_OP_MOVZX] = SAME, [X86_OP_MOVSX] = SAME, [X86_OP_MOVBE] = SAME,
	[X86_OP_XCHG] = SAME, [X86_OP_XADD] = SAME, [X86_OP_CMPXCHG] = SAME,
	[X86_OP_CMPXCHG8B] = SAME, [X86_OP_CMOVCC] = SAME,
	[X86_OP_SETCC] = SAME, [X86_OP_SIMD] = SAME,
	[X86_OP_LEA] = IS(LEA), [X86_OP_NOP] = IS(NOTHING),
	[X86_OP_CBW] = IS(RAW), [X86_OP_CWD] = IS(RAW), [X86_OP_CLC] = IS(RAW),
	[X86_OP_STC] = IS(RAW), [X86_OP_CMC] = IS(RAW), [X86_OP_LAHF] = IS(RAW),
	[X86_OP_SAHF] = IS(RAW), [X86_OP_FENCE] = IS(RAW),
	[X86_OP_PUSH] = IS(PUSH), [X86_OP_POP] = IS(POP),
	[X86_OP_MOVS] = IS(STRING), [X86_OP_CMPS] = IS(STRING),
	[X86_OP_STOS] = IS(STRING), [X86_OP_LODS] = IS(STRING),
	[X86_OP_SCAS] = IS(STRING),
	[X86_OP_LEAVE] = IS(LEAVE), [X86_OP_JCC] = IS(JCC),
	[X86_OP_LOOP] = IS(LOOP), [X86_OP_LOOPE] = IS(LOOP),
	[X86_OP_LOOPNE] = IS(LOOP), [X86_OP_JCXZ] = IS(LOOP),
	[X86_OP_JMP] = IS(JMP), [X86_OP_CALL] = IS(CALL), [X86_OP_RET] = IS(RET),
};

/* The guest has it, and so has the host. */
static bool has(const struct jit *j, enum x86_feature f)
{
	return (j->cpu->features[f / 64] & hw_features_model()[f / 64]) >>
	       (f % 64) & 1;
}

static uint8_t pack(uint16_t eflags)
{
	return (eflags & FLAG_ALL & ~FLAG_OF) |
	       (eflags & X86_EFLAGS_OF ? FLAG_OF : 0);
}

int jit_mem_operand(const struct x86_insn *i)
{
	const uint64_t kinds = BIT_ULL(OPK_E) | BIT_ULL(OPK_M) |
			       BIT_ULL(OPK_Q) | BIT_ULL(OPK_W);
	int k;

	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		uint8_t kind = i->row->opnd[k].kind;

		if (kind == OPK_O || (i->mod != 3 && kinds >> kind & 1))
			return k;
	}
	return -1;
}

/* The general register that operand @k is, or -1. */
static int gpr_operand(const struct x86_insn *i, int k)
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

static bool is_high8(const struct x86_insn *i, int k)
{
	int r = gpr_operand(i, k);

	return r >= 4 && r < 8 && x86_opnd_bytes(i, k) == 1 &&
	       !(i->prefix & (PFX_REX | PFX_VEX));
}

/* Operands that JIT_SAME knows what to do with. */
static bool operands_fit(const struct x86_insn *i)
{
	const uint64_t known = BIT_ULL(OPK_NONE) | BIT_ULL(OPK_E) |
		BIT_ULL(OPK_G) | BIT_ULL(OPK_R) | BIT_ULL(OPK_Z) |
		BIT_ULL(OPK_B) | BIT_ULL(OPK_I) | BIT_ULL(OPK_REG) |
		BIT_ULL(OPK_ONE) | BIT_ULL(OPK_M) | BIT_ULL(OPK_O) |
		BIT_ULL(OPK_V) | BIT_ULL(OPK_W) | BIT_ULL(OPK_U) |
		BIT_ULL(OPK_P) | BIT_ULL(OPK_Q) | BIT_ULL(OPK_N);
	int mem = jit_mem_operand(i), k;
	bool high = false, rex = mem >= 0;
	uint16_t in_mem = 0;

	if (mem >= 0 && !x86_opnd_bytes(i, mem))
		return false;
	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		int r = gpr_operand(i, k);

		if (!(known >> i->row->opnd[k].kind & 1))
			return false;
		if (is_high8(i, k)) {
			high = true;
		} else if (r >= 0) {
			unsigned h = jit_host_reg(r);

			rex |= h >= 8;
			if (h == IN_MEM)
				in_mem |= BIT(r);
		}
	}
	if (high && rex)
		return false;
	return __builtin_popcount(in_mem) <= (mem >= 0 ? 1 : 2);
}

static enum jit_class same_class(const struct jit *j, const struct x86_insn *i)
{
	unsigned op = i->row->op;

	if (i->prefix & PFX_EVEX)
		return JIT_EXEC;
	if (op == X86_OP_SIMD && i->prefix & PFX_VEX)
		return JIT_EXEC;
#ifdef ANYKVM_SANITIZE
	/* The state is not kept in registers (hw/sysops.c). */
	if (op == X86_OP_SIMD)
		return JIT_EXEC;
#endif
	/* The memory operand of a bit string is elsewhere. */
	if (op >= X86_OP_BT && op <= X86_OP_BTC && i->mod != 3 &&
	    i->row->opnd[1].kind == OPK_G)
		return JIT_EXEC;
	if (op == X86_OP_TZCNT && !has(j, X86_FEATURE_BMI1))
		return JIT_EXEC;
	if (op == X86_OP_LZCNT && !has(j, X86_FEATURE_LZCNT))
		return JIT_EXEC;
	return operands_fit(i) ? JIT_SAME : JIT_EXEC;
}

static enum jit_class flow_class(const struct x86_insn *i, enum jit_class c)
{
	bool rel = i->row->opnd[0].kind == OPK_J;

	if (i->opsize != 8)
		return JIT_EXEC_END;
	if (c == JIT_CALL && !rel)
		return JIT_CALL_IND;
	if (c == JIT_JMP && !rel)
		return JIT_JMP_IND;
	return c;
}

static enum jit_class stack_class(const struct x86_insn *i, enum jit_class c)
{
	if (i->opsize != 8 || (c == JIT_POP && i->mod != 3))
		return JIT_EXEC;
	/* A segment override or 67 on PUSH [mem] is an operand's like any other. */
	return c;
}

/* Left to the interpreter: can the block go on after it? */
static bool ends(const struct opcode *row)
{
	static const uint16_t goes_on[] = {
		X86_OP_STAC, X86_OP_CLAC, X86_OP_SWAPGS, X86_OP_CPUID,
		X86_OP_MOV_FROM_CR, X86_OP_MOV_FROM_DR, X86_OP_RDMSR,
	};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(goes_on); k++)
		if (row->op == goes_on[k])
			return false;
	return row->attr & (I_JUMP | I_SERIALIZE | I_SHADOW | I_PRIV | I_UNDEF);
}

static enum jit_class class_of(const struct jit *j, const struct x86_insn *i)
{
	const struct opcode *row = i->row;
	enum jit_class c;

	if (i->opsize == 8 && row->op == X86_OP_PUSHF)
		return JIT_PUSHF;
	if (i->opsize == 8 && row->op == X86_OP_POPF)
		return JIT_POPF;
	if (row->op == X86_OP_STI || row->op == X86_OP_CLI)
		return row->op == X86_OP_STI ? JIT_STI : JIT_CLI;
	if (!classes[row->op] || row->intercept ||
	    (row->feature && !has(j, row->feature)) ||
	    row->attr & (I_PRIV | I_UNDEF | I_SERIALIZE))
		return ends(row) ? JIT_EXEC_END : JIT_EXEC;
	c = classes[row->op] - 1;
	if (c == JIT_SAME)
		return same_class(j, i);
	if (c == JIT_LEA)
		return i->opsize >= 4 ? c : JIT_EXEC;
	if (c == JIT_STRING)
		return jit_string_fits(i) ? c : JIT_EXEC;
	if (c >= JIT_JCC)
		return flow_class(i, c);
	if (c >= JIT_PUSH)
		return stack_class(i, c);
	return c;
}

/* A shift by a constant that is not 0 reads no more than the carry. */
static uint8_t shift_reads(const struct x86_insn *i, uint8_t reads)
{
	unsigned op = i->row->op, k;

	if (op == X86_OP_RCL || op == X86_OP_RCR || op < X86_OP_SHL ||
	    op > X86_OP_SHRD)
		return reads;
	for (k = 0; k < X86_MAX_OPERANDS; k++)
		if (i->row->opnd[k].kind == OPK_I)
			return i->imm & (i->opsize == 8 ? 63 : 31) ? 0 : reads;
	return reads;
}

void jit_classify(const struct jit *j, struct jit_insn *n)
{
	const struct opcode *row = n->i.row;
	uint64_t next = n->rip + n->i.len;

	n->class = class_of(j, &n->i);
	n->reads = shift_reads(&n->i, pack(row->flags_read));
	n->writes = pack(row->flags_written);
	/* What they leave undefined, processors leave alone. */
	if (row->op >= X86_OP_BT && row->op <= X86_OP_BSR)
		n->reads |= n->writes;
	if (n->class == JIT_STRING && jit_is_rep(&n->i))
		n->reads |= n->writes;
	n->fpu = row->op == X86_OP_SIMD && n->class == JIT_SAME;
	/* A branch out of canonical space is the interpreter's to refuse. */
	if ((n->class >= JIT_JCC && n->class <= JIT_CALL &&
	     !is_canonical(next + n->i.imm, false)) ||
	    (n->class >= JIT_JCC && !is_canonical(next, false)))
		n->class = JIT_EXEC_END;
}

/* --- JIT_SAME ------------------------------------------------------------------- */

/* What an encoding is made of. */
struct same {
	unsigned reg, rm, vvvv;
	const struct jit_mem *mem;	/* the operand in memory, or NULL */
	bool force_rex;
	uint8_t guest[2], host[2];	/* registers in memory and their scratch */
	unsigned nr;
};

/* The scratch register for guest register @r, that is in memory. */
static unsigned scratch_of(struct same *s, unsigned r)
{
	unsigned k;

	for (k = 0; k < s->nr; k++)
		if (s->guest[k] == r)
			return s->host[k];
	s->guest[s->nr] = r;
	s->host[s->nr] = s->nr ? T1 : T2;
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
		int r = gpr_operand(i, k);

		if (r < 0 || is_high8(i, k))
			continue;
		bytes = x86_opnd_bytes(i, k);
		h = jit_host_reg(r);
		if (h == IN_MEM) {
			h = scratch_of(s, r);
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
			if (gpr_operand(i, k) == s->guest[n] &&
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

	for (k = 0; k < X86_MAX_OPERANDS; k++)
		if (kinds >> i->row->opnd[k].kind & 1)
			return true;
	return false;
}

static unsigned imm_bytes(const struct x86_insn *i)
{
	unsigned n = 0;
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

static void encode_vex(struct jit *j, const struct x86_insn *i,
		       const struct same *s)
{
	unsigned map = i->map == X86_MAP_0F ? 1 : i->map == X86_MAP_0F38 ? 2 : 3;
	unsigned rex = s->reg >> 3 << 2 | rm_rex(s);

	e8(j, 0xc4);
	e8(j, (~rex & 7) << 5 | map);
	e8(j, !!(i->prefix & PFX_REX_W) << 7 | (~s->vvvv & 15) << 3 | i->pp);
	e8(j, i->opcode);
}

static void encode_legacy(struct jit *j, const struct x86_insn *i,
			  const struct same *s, unsigned opcode)
{
	bool modrm = has_modrm(i), locked = i->prefix & PFX_LOCK;
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

static void encode(struct jit *j, const struct x86_insn *i, int mem,
		   struct same *s)
{
	unsigned n = imm_bytes(i), k, opcode = i->opcode;

	if (mem >= 0 && i->row->opnd[mem].kind == OPK_O) {
		/* MOV rAX, moffs as the form with ModRM. */
		static const uint8_t with_modrm[] = { 0x8a, 0x8b, 0x88, 0x89 };

		opcode = with_modrm[opcode & 3];
		s->reg = X86_RAX;
	}
	if (i->prefix & PFX_VEX)
		encode_vex(j, i, s);
	else
		encode_legacy(j, i, s, opcode);
	if (s->mem)
		emit_modrm(j, s->reg, s->mem);
	else if (has_modrm(i))
		e8(j, 0xc0 | (s->reg & 7) << 3 | (s->rm & 7));
	for (k = 0; k < n; k++)
		e8(j, i->bytes[i->len - n + k]);
}

static bool may_fault(const struct jit_insn *n)
{
	return n->fpu || n->i.row->op == X86_OP_DIV ||
	       n->i.row->op == X86_OP_IDIV;
}

/* Once a block: the state is live, and CR0 and CR4 allow it. */
static void check_fpu(struct jit *j, struct jit_insn *n, struct jit_slow *s)
{
	if (j->fpu_checked)
		return;
	j->fpu_checked = true;
	jit_flags_free(j, jit_live_before(n));
	emit_gs(j, 0x80, 7, CPU_OFF(jit.fpu_ready), 4);
	e8(j, 0);
	jit_slow_jump(j, s, 4 /* e */);
}

void jit_same(struct jit *j, struct jit_insn *n)
{
	const struct x86_insn *i = &n->i;
	int mem = jit_mem_operand(i);
	struct jit_slow *s = NULL;
	struct same e = { .nr = 0 };
	struct jit_addr a;
	struct jit_mem m;

	if (mem >= 0 || may_fault(n))
		s = jit_slow_add(j, SLOW_EXEC, n->rip);
	if (n->fpu)
		check_fpu(j, n, s);
	if (mem >= 0) {
		jit_flags_free(j, jit_live_before(n));
		jit_operand_addr(n, &a);
		m = jit_lookup(j, &a, x86_opnd_bytes(i, mem),
			       i->row->opnd[mem].access & OPA_W ?
			       X86_TLB_WRITE : X86_TLB_READ, s);
		e.mem = &m;
	} else if (s) {
		s->save = j->loc == FL_HOST && jit_live_before(n);
	}
	jit_flags_need(j, n);
	rename_all(j, i, &e);
	if (s)
		jit_may_fault(j, s);
	encode(j, i, mem, &e);
	store_all(j, i, &e);
	jit_flags_done(j, n);
	if (s) {
		s->back = j->pos;
		s->restore = j->loc == FL_HOST && n->live;
	}
}
