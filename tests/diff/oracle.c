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
	if (!host_has(row->feature))
		return "absent on this host";
	return NULL;
}

bool is_forbidden(const struct tcase *t)
{
	unsigned op = t->insn.row->op;
	bool far = op == X86_OP_CALL_FAR || op == X86_OP_RET_FAR ||
		   op == X86_OP_IRET;

	/*
	 * Far calls, returns and IRET with a stack that faults: which of the two reasons
	 * to fault wins, and with what stack pointer, is not settled
	 * (docs/errata.md). They are tested on good stacks.
	 */
	if (far && t->in.gpr[X86_RSP] - ARENA_DATA - 64 >= 2 * PAGE_SIZE - 128)
		return true;
	/* A system call. */
	return op == X86_OP_INT && (uint8_t)t->insn.imm == 0x80;
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
 * and the manuals leave open. Each only for a fault.
 */
#define PARTS_MEM	BIT(0)	/* parts are stored */
#define PARTS_REGS	BIT(1)	/* registers are loaded: POPA */
#define PARTS_CR2	BIT(2)	/* another part is touched first */
#define PARTS_ORDER	BIT(3)	/* #GP for an image's header, #PF for its end */

static const struct {
	uint16_t op;
	uint8_t what;
} in_parts[] = {
	{ X86_OP_POPA, PARTS_REGS | PARTS_CR2 },
	{ X86_OP_PUSHA, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_ENTER, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_CALL_FAR, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_RET_FAR, PARTS_CR2 }, { X86_OP_IRET, PARTS_CR2 },
	{ X86_OP_JMP_FAR, PARTS_CR2 }, { X86_OP_LFP, PARTS_CR2 },
	{ X86_OP_FXSAVE, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_FXRSTOR, PARTS_CR2 },
	{ X86_OP_XSAVE, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_XSAVEC, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_XSAVEOPT, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_XRSTOR, PARTS_CR2 | PARTS_ORDER },
	{ X86_OP_CALL, PARTS_MEM },		/* a target that is not canonical */
	{ X86_OP_FNSAVE, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_FRSTOR, PARTS_CR2 },
	{ X86_OP_FNSTENV, PARTS_MEM | PARTS_CR2 },
	{ X86_OP_FLDENV, PARTS_CR2 },
	{ X86_OP_X87, PARTS_MEM },		/* FSTP m80, FBSTP */
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

static void faults(const struct tcase *t, struct masks *m)
{
	const struct x86_insn *i = &t->insn;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(in_parts); k++) {
		if (in_parts[k].op != i->row->op)
			continue;
		if (in_parts[k].what & PARTS_REGS)
			memset(m->gpr, 0xff, sizeof(m->gpr));
		m->memory = in_parts[k].what & PARTS_MEM;
		m->address = in_parts[k].what & PARTS_CR2;
		m->order = in_parts[k].what & PARTS_ORDER;
	}
	/* A REP with 32-bit addresses cuts its registers before the fault. */
	if (i->row->attr & I_REP && i->adsize == 4 &&
	    t->mode == X86_MODE_PROT64)
		m->gpr[X86_RCX] = m->gpr[X86_RSI] = m->gpr[X86_RDI] =
			0xffffffff00000000;
	/* Which of the bytes that a mask selects is touched first; flags of results
	 * that could then not be stored. */
	if ((i->row->attr & I_EVEX && i->evex & INSN_EVEX_AAA) ||
	    strstr(i->row->mnemonic, "maskmov"))
		m->address = m->memory = true;
	if (i->row->attr & (I_VEX | I_EVEX) && i->mod != 3)
		m->mxcsr = 0x3f;
	/* A conversion's store that faults, and its own exception. */
	if (!strcmp(i->row->mnemonic, "vcvtps2ph"))
		m->order = true;
	/* An MMX instruction has made TOP 0 before it touches memory. */
	m->tags = i->row->op == X86_OP_MASKMOV;
	m->top = i->row->attr & I_FPU && i->map != X86_MAP_1B;
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
	    host->state.sel[X86_CS] == USER_CS32)
		for (i = 0; i < X86_NR_GPRS; i++)
			m->gpr[i] |= 0xffffffff00000000;
}
