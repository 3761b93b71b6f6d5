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

void known_deviation(const struct tcase *t, struct masks *m)
{
	const struct x86_insn *i = &t->insn;
	unsigned k;

	memset(m, 0, sizeof(*m));
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
