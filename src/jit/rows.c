/* SPDX-License-Identifier: MIT */
/*
 * The classifier over the opcode rows: who does an instruction, which flags it reads
 * and writes, and which part of the FPU state it needs.
 *
 * What an instruction touches is in its row's operands; registers that the row does
 * not name (rDX:rAX of MUL, CL of shifts, rAX of CMPXCHG) are among those that have
 * the same number on the host. Everything that asks for a privilege, may exit, or
 * changes system state is left to the interpreter. So is what has no encoding here:
 * AH to BH beside a register that needs REX, and more registers in memory than there
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
	[X86_OP_LDMXCSR] = SAME, [X86_OP_STMXCSR] = SAME,
	[X86_OP_EMMS] = SAME, [X86_OP_VSIMD] = SAME,
	[X86_OP_VMASKMOV] = SAME, [X86_OP_VZERO] = SAME,
	[X86_OP_LEA] = IS(LEA), [X86_OP_NOP] = IS(NOTHING),
	[X86_OP_CBW] = IS(RAW), [X86_OP_CWD] = IS(RAW), [X86_OP_CLC] = IS(RAW),
	[X86_OP_STC] = IS(RAW), [X86_OP_CMC] = IS(RAW), [X86_OP_LAHF] = IS(RAW),
	[X86_OP_SAHF] = IS(RAW), [X86_OP_FENCE] = IS(RAW),
	[X86_OP_PUSH] = IS(PUSH), [X86_OP_POP] = IS(POP),
	[X86_OP_MOVS] = IS(STRING), [X86_OP_CMPS] = IS(STRING),
	[X86_OP_STOS] = IS(STRING), [X86_OP_LODS] = IS(STRING),
	[X86_OP_SCAS] = IS(STRING), [X86_OP_X87] = IS(X87),
	[X86_OP_FWAIT] = IS(X87), [X86_OP_FNSTSW_AX] = IS(X87),
	[X86_OP_FNCLEX] = IS(X87),
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

int jit_mem_operand(const struct x86_insn *i)
{
	const uint64_t kinds = BIT_ULL(OPK_E) | BIT_ULL(OPK_M) |
			       BIT_ULL(OPK_Q) | BIT_ULL(OPK_W) |
			       BIT_ULL(OPK_KM);
	int k;

	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		uint8_t kind = i->row->opnd[k].kind;

		if (kind == OPK_O || (i->mod != 3 && kinds >> kind & 1))
			return k;
	}
	return -1;
}

/* Its lengths are in rAX and rDX. */
static bool is_pcmpestr(const struct x86_insn *i)
{
	return i->map == X86_MAP_0F3A && (i->opcode & ~1) == 0x60;
}

/* VEX.W and EVEX.W say nothing about general registers outside of 64-bit mode. */
static bool has_idle_w(const struct x86_insn *i)
{
	const uint64_t kinds = BIT_ULL(OPK_E) | BIT_ULL(OPK_G) | BIT_ULL(OPK_R) |
			       BIT_ULL(OPK_B);
	int k;

	if (i->mode == X86_MODE_PROT64 || !(i->prefix & PFX_REX_W))
		return false;
	for (k = 0; k < X86_MAX_OPERANDS; k++)
		if (kinds >> i->row->opnd[k].kind & 1)
			return true;
	return is_pcmpestr(i);
}

/* Operands that JIT_SAME knows what to do with. */
static bool operands_fit(const struct x86_insn *i)
{
	const uint64_t known = BIT_ULL(OPK_NONE) | BIT_ULL(OPK_E) |
		BIT_ULL(OPK_G) | BIT_ULL(OPK_R) | BIT_ULL(OPK_Z) |
		BIT_ULL(OPK_B) | BIT_ULL(OPK_I) | BIT_ULL(OPK_REG) |
		BIT_ULL(OPK_ONE) | BIT_ULL(OPK_M) | BIT_ULL(OPK_O) |
		BIT_ULL(OPK_V) | BIT_ULL(OPK_W) | BIT_ULL(OPK_U) |
		BIT_ULL(OPK_P) | BIT_ULL(OPK_Q) | BIT_ULL(OPK_N) |
		BIT_ULL(OPK_H) | BIT_ULL(OPK_L) | BIT_ULL(OPK_K) |
		BIT_ULL(OPK_KM) | BIT_ULL(OPK_KR) | BIT_ULL(OPK_KV);
	int mem = jit_mem_operand(i), k;
	bool high = false, rex = mem >= 0;
	uint16_t in_mem = 0;

	if (mem >= 0 && !x86_opnd_bytes(i, mem))
		return false;
	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		int r = jit_gpr_operand(i, k);

		if (!(known >> i->row->opnd[k].kind & 1))
			return false;
		if (jit_is_high8(i, k)) {
			high = true;
		} else if (r >= 0) {
			unsigned h = jit_host_reg(r);

			rex |= h >= 8;
			if (h == IN_MEM)
				in_mem |= BIT(r);
		}
	}
	/* Beside REX it takes AL's to BL's place, if that is free. */
	if (high && rex && (mem < 0 || i->row->op == X86_OP_CMPXCHG))
		return false;
	return __builtin_popcount(in_mem) <= (mem >= 0 ? 1 : 2);
}

static bool is_avx(const struct x86_insn *i)
{
	unsigned op = i->row->op;

	return op == X86_OP_VSIMD || op == X86_OP_VMASKMOV ||
	       op == X86_OP_VZERO;
}

/* Beside the row's own feature. */
static bool avx_is_there(const struct jit *j, const struct x86_insn *i)
{
	if (i->prefix & PFX_EVEX)
		return has(j, X86_FEATURE_AVX512F) &&
		       (i->veclen == 64 || (i->row->evex & EV_S) ||
			has(j, X86_FEATURE_AVX512VL));
	return has(j, X86_FEATURE_AVX) &&
	       (!(i->row->attr & I_YMM) || i->veclen < 32 ||
		has(j, X86_FEATURE_AVX2));
}

/* The opmask instructions have VEX and want the state of AVX-512. */
static bool is_opmask(const struct opcode *row)
{
	return row->feature == X86_FEATURE_AVX512F ||
	       row->feature == X86_FEATURE_AVX512BW ||
	       row->feature == X86_FEATURE_AVX512DQ;
}

static enum hw_jit_fpu fpu_of(const struct opcode *row)
{
	switch (row->op) {
	case X86_OP_SIMD:
	case X86_OP_EMMS:
	case X86_OP_LDMXCSR:
	case X86_OP_STMXCSR:
	case X86_OP_VSIMD:
	case X86_OP_VMASKMOV:
	case X86_OP_VZERO:
		break;
	default:
		return HW_JIT_NO_FPU;
	}
	if (row->attr & I_EVEX)
		return HW_JIT_ZMM;
	if (row->attr & I_VEX)
		return is_opmask(row) ? HW_JIT_ZMM : HW_JIT_YMM;
	return HW_JIT_SSE;
}

static enum jit_class same_class(const struct jit *j, const struct x86_insn *i)
{
	unsigned op = i->row->op;

#ifdef ANYKVM_SANITIZE
	/* The state is not kept in registers (hw/sysops.c). */
	if (fpu_of(i->row))
		return JIT_EXEC;
#endif
	if (is_avx(i) && !avx_is_there(j, i))
		return JIT_EXEC;
	/* Of the registers that 32-bit code has. */
	if (op == X86_OP_VZERO && i->mode != X86_MODE_PROT64)
		return JIT_EXEC;
	if (jit_is_bit_string(i))
		return jit_bit_string_fits(i) ? JIT_BIT_STRING : JIT_EXEC;
	if (op == X86_OP_TZCNT && !has(j, X86_FEATURE_BMI1))
		return JIT_EXEC;
	if (op == X86_OP_LZCNT && !has(j, X86_FEATURE_LZCNT))
		return JIT_EXEC;
	return operands_fit(i) && !has_idle_w(i) ? JIT_SAME : JIT_EXEC;
}

static enum jit_class flow_class(const struct x86_insn *i, enum jit_class c)
{
	bool rel = i->row->opnd[0].kind == OPK_J;

	if (i->opsize != jit_insn_word(i))
		return JIT_EXEC_END;
	if (c == JIT_CALL && !rel)
		return JIT_CALL_IND;
	if (c == JIT_JMP && !rel)
		return JIT_JMP_IND;
	return c;
}

static enum jit_class stack_class(const struct x86_insn *i, enum jit_class c)
{
	if (i->opsize != jit_insn_word(i) || (c == JIT_POP && i->mod != 3))
		return JIT_EXEC;
	/* A segment override or 67 on PUSH [mem] is an operand's like any other. */
	return c;
}

/* Loads a segment register: 32-bit code counts on what they are. */
static bool loads_segment(const struct opcode *row)
{
	return row->op == X86_OP_MOV_SREG || row->op == X86_OP_POP_SREG ||
	       row->op == X86_OP_LFP;
}

/* Left to the interpreter: can the block go on after it? */
static bool ends(const struct x86_insn *i)
{
	const struct opcode *row = i->row;
	static const uint16_t goes_on[] = {
		X86_OP_STAC, X86_OP_CLAC, X86_OP_SWAPGS,
		X86_OP_MOV_FROM_CR, X86_OP_MOV_FROM_DR, X86_OP_RDMSR,
		X86_OP_WRMSR,
	};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(goes_on); k++)
		if (row->op == goes_on[k])
			return false;
	if (i->mode != X86_MODE_PROT64 && loads_segment(row))
		return true;
	return row->attr & (I_JUMP | I_SERIALIZE | I_SHADOW | I_PRIV | I_UNDEF);
}

/* In 64-bit mode, without prefixes but REX.W: @len tells. */
static bool is_bare(const struct x86_insn *i, unsigned len)
{
	return i->mode == X86_MODE_PROT64 && i->len == len;
}

/* System instructions that are done in line; JIT_EXEC: it is none of them. */
static enum jit_class system_class(const struct jit *j, const struct x86_insn *i)
{
	switch (i->row->op) {
	case X86_OP_PUSHF:
		return i->opsize == jit_insn_word(i) ? JIT_PUSHF : JIT_EXEC;
	case X86_OP_POPF:
		return i->opsize == jit_insn_word(i) ? JIT_POPF : JIT_EXEC;
	case X86_OP_STI:
		return JIT_STI;
	case X86_OP_CLI:
		return JIT_CLI;
	case X86_OP_SWAPGS:
		return JIT_SWAPGS;
	case X86_OP_STAC:
		return has(j, X86_FEATURE_SMAP) ? JIT_STAC : JIT_EXEC;
	case X86_OP_SERIALIZE:
		return has(j, X86_FEATURE_SERIALIZE) ? JIT_SERIALIZE : JIT_EXEC;
	case X86_OP_CLAC:
		return has(j, X86_FEATURE_SMAP) ? JIT_CLAC : JIT_EXEC;
	case X86_OP_RDFSBASE:
	case X86_OP_RDGSBASE:
	case X86_OP_WRFSBASE:
	case X86_OP_WRGSBASE:
		return has(j, X86_FEATURE_FSGSBASE) && i->mode == X86_MODE_PROT64 ?
			JIT_FSGSBASE : JIT_EXEC;
	case X86_OP_RDTSC:
		return JIT_RDTSC;
	case X86_OP_RDTSCP:
		return has(j, X86_FEATURE_RDTSCP) ? JIT_RDTSC : JIT_EXEC;
	case X86_OP_CPUID:
		return JIT_CPUID;
	case X86_OP_RDMSR:
		return has(j, X86_FEATURE_MSR) ? JIT_RDMSR : JIT_EXEC;
	case X86_OP_WRMSR:
		return has(j, X86_FEATURE_MSR) && i->mode == X86_MODE_PROT64 ?
			JIT_WRMSR : JIT_EXEC;
	case X86_OP_CLD:
	case X86_OP_STD:
		return JIT_DF;
	case X86_OP_SYSCALL:
		return is_bare(i, 2) ? JIT_SYSCALL : JIT_EXEC_END;
	case X86_OP_SYSRET:
		return is_bare(i, 3) && i->opsize == 8 ? JIT_SYSRET : JIT_EXEC_END;
	case X86_OP_MOV_FROM_SREG:
		return (i->reg & 7) < X86_NR_USER_SEGS ? JIT_FROM_SREG : JIT_EXEC;
	default:
		return JIT_EXEC;
	}
}

/* Of 32-bit code: addresses of 16 bits, and operands in CS, which need not be readable. */
static bool is_odd32(const struct x86_insn *i)
{
	return i->mode != X86_MODE_PROT64 && (i->adsize != 4 || i->seg == X86_CS);
}

static enum jit_class class_of(const struct jit *j, const struct x86_insn *i)
{
	const struct opcode *row = i->row;
	enum jit_class c = is_odd32(i) ? JIT_EXEC : system_class(j, i);

	if (c != JIT_EXEC)
		return c;
	if (!classes[row->op] || row->intercept ||
	    (row->feature && !has(j, row->feature)) ||
	    row->attr & (I_PRIV | I_UNDEF | I_SERIALIZE) || is_odd32(i))
		return ends(i) ? JIT_EXEC_END : JIT_EXEC;
	c = classes[row->op] - 1;
	if (c == JIT_SAME)
		return same_class(j, i);
	if (c == JIT_LEA)
		return i->opsize >= 4 ? c : JIT_EXEC;
#ifdef ANYKVM_SANITIZE
	if (c == JIT_X87)
		return JIT_EXEC;
#endif
	if (c == JIT_X87)
		return c;
	if (c == JIT_STRING)
		return jit_string_fits(i) ? c : JIT_EXEC;
	if (c >= JIT_JCC)
		return flow_class(i, c);
	if (c >= JIT_PUSH)
		return stack_class(i, c);
	return c;
}

/*
 * Flags that are among those that the row writes, but may stay what they were: all with
 * a shift's count in CL, or a constant of 0, and OF with a rotation by more than 1. What
 * the manual calls undefined, processors leave alone there.
 */
static uint8_t shift_keeps(const struct x86_insn *i, uint8_t writes)
{
	unsigned op = i->row->op, k, count;

	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		if (i->row->opnd[k].kind == OPK_ONE)
			return 0;
		if (i->row->opnd[k].kind != OPK_I)
			continue;
		count = i->imm & (i->opsize == 8 ? 63 : 31);
		if (!count)
			return writes;
		return count > 1 && op >= X86_OP_ROL && op <= X86_OP_RCR ? FLAG_OF : 0;
	}
	return writes;
}

static uint8_t keeps(const struct jit_insn *n)
{
	unsigned op = n->i.row->op;

	if (op >= X86_OP_SHL && op <= X86_OP_SHRD)
		return shift_keeps(&n->i, n->changes);
	if ((op >= X86_OP_BT && op <= X86_OP_BSR) ||
	    op == X86_OP_DIV || op == X86_OP_IDIV ||
	    (op >= X86_OP_MOV_CR && op <= X86_OP_MOV_FROM_DR) ||
	    (n->class == JIT_STRING && jit_is_rep(&n->i)))
		return n->changes;
	return 0;
}

/* A shift's row reads what it may keep. */
static uint8_t reads(const struct x86_insn *i)
{
	unsigned op = i->row->op;

	if (op == X86_OP_RCL || op == X86_OP_RCR)
		return FLAG_CF;
	if (op >= X86_OP_SHL && op <= X86_OP_SHRD)
		return 0;
	return jit_pack_flags(i->row->flags_read);
}

void jit_classify(const struct jit *j, struct jit_insn *n)
{
	const struct opcode *row = n->i.row;
	uint64_t next = n->rip + n->i.len;

	n->class = class_of(j, &n->i);
	n->reads = reads(&n->i);
	n->changes = jit_pack_flags(row->flags_written);
	n->writes = n->changes & ~keeps(n);
	n->fpu = n->class == JIT_SAME ? fpu_of(row) : HW_JIT_NO_FPU;
	/* A branch out of canonical space is the interpreter's to refuse. */
	if ((n->class >= JIT_JCC && n->class <= JIT_CALL &&
	     !is_canonical(next + n->i.imm, false)) ||
	    (n->class >= JIT_JCC && !is_canonical(next, false)))
		n->class = JIT_EXEC_END;
}
