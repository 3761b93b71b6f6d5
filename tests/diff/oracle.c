// SPDX-License-Identifier: MIT
/*
 * What the host's processor cannot answer, row by row, and where the emulator is
 * known to deviate from it. A row that raises a fault for its privilege is covered as
 * far as that goes: the fault is compared.
 */
#include <string.h>

#include "case.h"
#include "insn/host.h"

static const struct {
	uint16_t op;
	const char *why;
} none[] = {
	{ X86_OP_SYSCALL, "enters the host's kernel" },
	{ X86_OP_SYSENTER, "enters the host's kernel" },
	{ X86_OP_VMCALL, "enters the host's hypervisor" },
	{ X86_OP_VMMCALL, "enters the host's hypervisor" },
	{ X86_OP_SGDT, "the host's kernel answers for it (UMIP)" },
	{ X86_OP_SIDT, "the host's kernel answers for it (UMIP)" },
	{ X86_OP_SLDT, "the host's kernel answers for it (UMIP)" },
	{ X86_OP_STR, "the host's kernel answers for it (UMIP)" },
	{ X86_OP_SMSW, "the host's kernel answers for it (UMIP)" },
};

const char *no_oracle(unsigned id)
{
	const struct opcode *row = x86_rows[id];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(none); i++)
		if (none[i].op == row->op)
			return none[i].why;
	if (row->op == X86_OP_INVALID)
		return "never offered: #UD";
	if (!host_has(row->feature))
		return "absent on this host";
	return NULL;
}

bool is_forbidden(const struct tcase *t)
{
	/* A system call. */
	return t->insn.row->op == X86_OP_INT && (uint8_t)t->insn.imm == 0x80;
}

/* --- known deviations ------------------------------------------------------------ */

#define OUT_RAX BIT(0)
#define OUT_RDX BIT(1)
#define OUT_RCX BIT(2)
#define OUT_RM	BIT(3)		/* the register of ModRM.rm */

/* Values that are not the same twice. */
static const struct {
	uint16_t op;
	uint8_t out;
} changing[] = {
	{ X86_OP_RDTSC, OUT_RAX | OUT_RDX },
	{ X86_OP_RDTSCP, OUT_RAX | OUT_RDX },
	{ X86_OP_RDPMC, OUT_RAX | OUT_RDX },
	{ X86_OP_RDRAND, OUT_RM },
	{ X86_OP_RDSEED, OUT_RM },
};

/*
 * What processors do with an instruction of many accesses that faults in the middle,
 * and the manuals leave open (docs/errata.md). Each only for a fault. The two CR2 may
 * be of different bytes of the operand, which has @span.
 */
#define PARTS_MEM	BIT(0)	/* parts are stored */
#define PARTS_REGS	BIT(1)	/* registers are loaded: POPA */

#define XSAVE_SPAN	0x3000

static const struct {
	uint16_t op, span;
	uint8_t what;
} in_parts[] = {
	{ X86_OP_POPA, 0, PARTS_REGS },
	{ X86_OP_ENTER, 0, PARTS_MEM }, { X86_OP_PUSHA, 0, PARTS_MEM },
	{ X86_OP_CALL, 0, PARTS_MEM },		/* a target that is not canonical */
	{ X86_OP_IRET, 48, 0 },
	{ X86_OP_FXSAVE, 512, 0 }, { X86_OP_FXRSTOR, 512, 0 },
	{ X86_OP_XSAVE, XSAVE_SPAN, 0 }, { X86_OP_XSAVEC, XSAVE_SPAN, 0 },
	{ X86_OP_XSAVEOPT, XSAVE_SPAN, 0 }, { X86_OP_XRSTOR, XSAVE_SPAN, 0 },
	{ X86_OP_FNSAVE, 108, 0 }, { X86_OP_FRSTOR, 108, 0 },
	{ X86_OP_FNSTENV, 28, 0 }, { X86_OP_FLDENV, 28, 0 },
	{ X86_OP_MASKMOV, 16, 0 }, { X86_OP_VMASKMOV, 32, 0 },
};

static void changing_values(const struct x86_insn *i, struct masks *m)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(changing); k++) {
		if (changing[k].op != i->row->op)
			continue;
		if (changing[k].out & OUT_RAX)
			m->gpr[X86_RAX] = ~0ull;
		if (changing[k].out & OUT_RDX)
			m->gpr[X86_RDX] = ~0ull;
		if (changing[k].out & OUT_RM)
			m->gpr[i->rm] = ~0ull;
	}
}

/* The operand that is in memory. */
static const struct x86_opnd *memory_operand(const struct x86_insn *i)
{
	static const uint64_t kinds = BIT_ULL(OPK_E) | BIT_ULL(OPK_M) |
				      BIT_ULL(OPK_Q) | BIT_ULL(OPK_W);
	unsigned k;

	for (k = 0; k < X86_MAX_OPERANDS && i->mod != 3; k++)
		if (kinds >> i->row->opnd[k].kind & 1)
			return &i->row->opnd[k];
	return NULL;
}

/* Stores, by what is known of the operand and not of the op. */
static void faulting_store(const struct x86_insn *i, struct masks *m)
{
	const struct x86_opnd *o = memory_operand(i);
	bool maskmovq = i->row->op == X86_OP_MASKMOV && i->row->attr & I_FPU;

	/* MMX has made TOP 0 before it stores, MASKMOVQ has marked its registers. */
	m->top = maskmovq || (o && o->access & OPA_W && i->row->op == X86_OP_SIMD &&
			      i->row->attr & I_FPU);
	m->tags = maskmovq;
	if (!o || !(o->access & OPA_W))
		return;
	/* Which of the elements that a mask selects is touched first. */
	if (i->row->attr & I_EVEX && i->evex & INSN_EVEX_AAA)
		m->span = 64;
	/* FSTP and FBSTP of 10 bytes are two stores. */
	if (o->size == OPS_t)
		m->memory = true;
}

static void faults(const struct tcase *t, struct masks *m)
{
	const struct x86_insn *i = &t->insn;
	unsigned k, r;

	for (k = 0; k < ARRAY_SIZE(in_parts); k++) {
		if (in_parts[k].op != i->row->op)
			continue;
		for (r = 0; r < 8 && in_parts[k].what & PARTS_REGS; r++)
			m->gpr[r] = r == X86_RSP ? 0 : ~0ull;
		m->memory = in_parts[k].what & PARTS_MEM;
		m->span = in_parts[k].span;
	}
	faulting_store(i, m);
}

void known_deviation(const struct tcase *t, const struct outcome *host,
		     struct masks *m)
{
	unsigned i;

	memset(m, 0, sizeof(*m));
	changing_values(&t->insn, m);
	if (host->res.end == END_FAULT)
		faults(t, m);
	/* From 64-bit mode to compatibility mode: upper halves are undefined. */
	if (t->mode == X86_MODE_PROT64 &&
	    host->state.sel[X86_CS] != USER_CS64)
		for (i = 0; i < X86_NR_GPRS; i++)
			m->gpr[i] |= 0xffffffff00000000;
}
